//! A model server that does as it is told and remembers what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::until;

/// How a request is answered that is answered well.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Before anything is sent.
    pub wait: Duration,
    pub tokens: usize,
    /// Between tokens; a reply in one piece takes as long as its stream would.
    pub gap: Duration,
    /// After this many tokens it waits for [`FakeModel::release`]; 0 means before anything is sent.
    pub hold: Option<usize>,
}

impl Default for Answer {
    fn default() -> Self {
        Self { wait: Duration::ZERO, tokens: 3, gap: Duration::ZERO, hold: None }
    }
}

/// What a request meets.
#[derive(Clone, Debug)]
pub enum Behaviour {
    Answer(Answer),
    /// An error with these headers.
    Refuse(u16, Vec<(&'static str, String)>),
    /// Silence before the first token, for ever.
    Hang,
    /// So many tokens, and then silence.
    StallAfter(usize),
    /// So many tokens, and then the connection breaks.
    CutAfter(usize),
    /// Bytes that are no reply.
    Garbage,
    /// Output without end, as fast as it is taken.
    Flood,
}

impl Behaviour {
    #[must_use]
    pub fn after(millis: u64) -> Self {
        Self::Answer(Answer { wait: Duration::from_millis(millis), ..Answer::default() })
    }

    /// Waits for [`FakeModel::release`] after so many tokens.
    #[must_use]
    pub fn hold(tokens: usize) -> Self {
        Self::Answer(Answer { hold: Some(tokens), ..Answer::default() })
    }

    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Refuse(status, Vec::new())
    }
}

/// What a server does with a request for which it has no slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    Queue,
    Refuse,
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub body: Value,
    /// The last message, or else the prompt or the input.
    pub prompt: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub seen: usize,
    /// Requests that are being served or wait here.
    pub inside: usize,
    /// The most that there ever were inside.
    pub highest: usize,
    /// Replies that were sent whole, errors included.
    pub answered: usize,
    /// Requests refused for want of a slot.
    pub refused: usize,
    /// Requests whose client went away before the end.
    pub gone: usize,
}

#[derive(Debug)]
struct State {
    models: Vec<String>,
    script: Mutex<VecDeque<Behaviour>>,
    usual: Mutex<Behaviour>,
    slots: Option<(usize, Full)>,
    places: Semaphore,
    gate: Semaphore,
    seen: Mutex<Vec<Seen>>,
    counts: watch::Sender<Counts>,
}

/// An OpenAI-compatible model server in this process; it and its connections are gone when it is dropped.
#[derive(Debug)]
pub struct FakeModel {
    state: Arc<State>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for FakeModel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeModel {
    /// Serves the model `m` at once, as often as it is asked.
    pub async fn start() -> Self {
        Self::serving(&["m"]).await
    }

    pub async fn serving(models: &[&str]) -> Self {
        Self::run(models, None).await
    }

    /// Serves the model `m` with so many slots of its own.
    pub async fn with_slots(slots: usize, full: Full) -> Self {
        Self::run(&["m"], Some((slots, full))).await
    }

    async fn run(models: &[&str], slots: Option<(usize, Full)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            models: models.iter().map(|&m| m.into()).collect(),
            script: Mutex::default(),
            usual: Mutex::new(Behaviour::Answer(Answer::default())),
            slots,
            places: Semaphore::new(slots.map_or(Semaphore::MAX_PERMITS, |(n, _)| n)),
            gate: Semaphore::new(0),
            seen: Mutex::default(),
            counts: watch::Sender::default(),
        });
        let all = state.clone();
        let task = tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                let state = all.clone();
                let service = service_fn(move |request| answer(state.clone(), request));
                connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { state, address, task }
    }

    /// What a request meets when nothing was said about it.
    #[must_use]
    pub fn usually(self, behaviour: Behaviour) -> Self {
        self.from_now_on(behaviour);
        self
    }

    pub fn from_now_on(&self, behaviour: Behaviour) {
        *self.state.usual.lock().unwrap() = behaviour;
    }

    /// What the next requests meet, in order.
    pub fn then(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.state.script.lock().unwrap().extend(behaviours);
    }

    /// Lets so many requests go on that hold.
    pub fn release(&self, requests: usize) {
        self.state.gate.add_permits(requests);
    }

    /// An entry of the configuration's `backends`, with more of its fields.
    #[must_use]
    pub fn backend(&self, name: &str, more: &str) -> String {
        format!("  - {{name: {name}, adapter: openai, url: \"http://{}\", {more}}}\n", self.address)
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.state.counts.borrow()
    }

    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How often this prompt came.
    #[must_use]
    pub fn times(&self, prompt: &str) -> usize {
        self.state.seen.lock().unwrap().iter().filter(|s| s.prompt == prompt).count()
    }

    /// Waits until its counts are so.
    pub async fn until(&self, what: &str, are: impl Fn(&Counts) -> bool) {
        until(&format!("{what}; the model server has {:?}", self.counts()), async || are(&self.counts()).then_some(())).await;
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    if path == "/v1/models" {
        let list: Vec<Value> = state.models.iter().map(|m| json!({"id": m, "object": "model"})).collect();
        return Ok(json_reply(200, &json!({"object": "list", "data": list})));
    }
    let Ok(body) = request.into_body().collect().await else { return Ok(json_reply(400, &json!({}))) };
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let prompt = [body["messages"].as_array().and_then(|m| m.last()).map(|m| &m["content"]), body.get("prompt"), body.get("input")];
    let prompt = prompt.into_iter().flatten().find_map(Value::as_str).unwrap_or_default().to_owned();
    let seen = Seen { path, body, prompt };
    state.seen.lock().unwrap().push(seen.clone());
    let mut visit = Visit::enter(state);
    let behaviour = visit.state.script.lock().unwrap().pop_front();
    let behaviour = behaviour.unwrap_or_else(|| visit.state.usual.lock().unwrap().clone());
    let state = visit.state.clone();
    let _place = match state.slots {
        Some((_, Full::Queue)) | None => state.places.acquire().await,
        Some((slots, Full::Refuse)) if visit.inside > slots => {
            visit.state.counts.send_modify(|c| c.refused += 1);
            visit.end();
            return Ok(json_reply(
                503,
                &json!({"error": {"message": "no slot is free", "type": "server_error", "param": null, "code": null}}),
            ));
        }
        Some((_, Full::Refuse)) => state.places.acquire().await,
    };
    Ok(visit.behave(behaviour, seen).await)
}

/// A request inside the server; it is over when it was answered, or when its connection is.
#[derive(Debug)]
struct Visit {
    state: Arc<State>,
    inside: usize,
    over: bool,
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.over {
            self.state.counts.send_modify(|c| (c.inside, c.gone) = (c.inside - 1, c.gone + 1));
        }
    }
}

impl Visit {
    fn enter(state: Arc<State>) -> Self {
        let mut inside = 0;
        state.counts.send_modify(|c| {
            c.seen += 1;
            c.inside += 1;
            c.highest = c.highest.max(c.inside);
            inside = c.inside;
        });
        Self { state, inside, over: false }
    }

    /// Its slot is free before the last byte is sent, as it is at real servers.
    fn end(&mut self) {
        self.over = true;
        self.state.counts.send_modify(|c| (c.inside, c.answered) = (c.inside - 1, c.answered + 1));
    }

    async fn released(&self) {
        self.state.gate.acquire().await.unwrap().forget();
    }

    async fn behave(mut self, behaviour: Behaviour, seen: Seen) -> Response<Body> {
        let streamed = seen.body["stream"] == true;
        match behaviour {
            Behaviour::Refuse(status, headers) => {
                self.end();
                let mut response =
                    json_reply(status, &json!({"error": {"message": "told to refuse", "type": "server_error", "code": null}}));
                for (name, value) in headers {
                    response.headers_mut().insert(name, value.parse().unwrap());
                }
                response
            }
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Answer(how) => {
                tokio::time::sleep(how.wait).await;
                if how.hold == Some(0) {
                    self.released().await;
                }
                if streamed {
                    return stream(|to| self.tokens(seen, how, to));
                }
                tokio::time::sleep(how.gap * u32::try_from(how.tokens).unwrap()).await;
                if how.hold.is_some_and(|n| n > 0) {
                    self.released().await;
                }
                self.end();
                json_reply(200, &whole(&seen, how.tokens))
            }
            Behaviour::StallAfter(n) => stream(async move |to| {
                send_tokens(&seen, 0..n, &to).await;
                to.closed().await;
                drop(self);
            }),
            Behaviour::CutAfter(n) => stream(async move |to| {
                send_tokens(&seen, 0..n, &to).await;
                // The client must have had the time to read what was sent.
                tokio::time::sleep(Duration::from_millis(50)).await;
                self.end();
                let _ = to.send(Err("cut")).await;
            }),
            Behaviour::Garbage => {
                self.end();
                let mut response = Response::new(Body::from(&b"\xff\xfe<html>data: [1,2\n\n\x00{]"[..]));
                response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
                response
            }
            Behaviour::Flood => stream(async move |to| {
                let text = "flood ".repeat(20);
                while to.send(Ok(chunk(&seen, &json!({"content": text}), None))).await.is_ok() {}
                drop(self);
            }),
        }
    }

    async fn tokens(mut self, seen: Seen, how: Answer, to: Sender) {
        let work = async {
            for n in 0..how.tokens {
                if how.hold == Some(n) && n > 0 {
                    self.released().await;
                }
                tokio::time::sleep(if n > 0 { how.gap } else { Duration::ZERO }).await;
                send_tokens(&seen, n..n + 1, &to).await;
            }
            let _ = to.send(Ok(chunk(&seen, &json!({}), Some("stop")))).await;
            if seen.body["stream_options"]["include_usage"] == true {
                let usage = json!({"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": seen.body["model"],
                    "choices": [], "usage": usage(how.tokens)});
                let _ = to.send(Ok(format!("data: {usage}\n\n").into())).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = to.closed() => return,
        }
        self.end();
        let _ = to.send(Ok("data: [DONE]\n\n".into())).await;
    }
}

type Sender = mpsc::Sender<Result<Bytes, &'static str>>;

/// A reply whose bytes a future sends as it goes.
fn stream<F: Future<Output = ()> + Send + 'static>(work: impl FnOnce(Sender) -> F) -> Response<Body> {
    let (to, mut bytes) = mpsc::channel(4);
    tokio::spawn(work(to));
    let mut response = Response::new(Body::from_stream(futures_util::stream::poll_fn(move |cx| bytes.poll_recv(cx))));
    response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    response
}

/// The first token names the prompt, so that an answer can be told from another's.
fn token(seen: &Seen, n: usize) -> String {
    if n == 0 { format!("re {}", seen.prompt) } else { format!(" {n}") }
}

async fn send_tokens(seen: &Seen, which: std::ops::Range<usize>, to: &Sender) {
    for n in which {
        let _ = to.send(Ok(chunk(seen, &json!({"role": "assistant", "content": token(seen, n)}), None))).await;
    }
}

fn chunk(seen: &Seen, delta: &Value, finish: Option<&str>) -> Bytes {
    let chunk = json!({"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": seen.body["model"],
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    format!("data: {chunk}\n\n").into()
}

fn usage(tokens: usize) -> Value {
    json!({"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens})
}

fn whole(seen: &Seen, tokens: usize) -> Value {
    if seen.path.ends_with("/embeddings") {
        let data = json!([{"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}]);
        return json!({"object": "list", "data": data, "model": seen.body["model"], "usage": {"prompt_tokens": 7, "total_tokens": 7}});
    }
    let text: String = (0..tokens).map(|n| token(seen, n)).collect();
    json!({"id": "chatcmpl-fake", "object": "chat.completion", "created": 1, "model": seen.body["model"], "usage": usage(tokens),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
}

fn json_reply(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}
