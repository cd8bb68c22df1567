//! A model server that does as it is told and remembers what it was asked.

mod behave;
mod ollama;
mod openai;
mod prompted;
mod scripted;

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use self::behave::Visit;
use self::openai::json_reply;
use crate::until;

pub use self::behave::{Answer, Behaviour};
pub use self::scripted::{Asked, Scripted, ScriptedModel};

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
    /// Tokens of the reply that the request ends with, at a server that goes on behind them.
    pub said: usize,
}

impl Seen {
    /// By its path: it speaks Ollama's dialect to those who do.
    fn is_ollama(&self) -> bool {
        self.path.starts_with("/api/")
    }

    /// A request that ends with the beginning of its reply asks for the rest of it.
    fn go_on(&mut self) {
        let Some([.., question, said]) = self.body["messages"].as_array().map(Vec::as_slice) else { return };
        let (question, text) = (question["content"].as_str().unwrap_or_default(), said["content"].as_str().unwrap_or_default());
        if said["role"] == "assistant"
            && let Some(rest) = text.strip_prefix("re ").and_then(|text| text.strip_prefix(question))
        {
            (self.said, self.prompt) = (1 + rest.split_whitespace().count(), question.to_owned());
        }
    }
}

/// A request's time in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Its place in [`FakeModel::seen`].
    pub request: usize,
    pub from: Instant,
    /// Nothing while it is here.
    pub until: Option<Instant>,
    /// Its client went away before the end.
    pub left: bool,
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
    stays: Mutex<Vec<Stay>>,
    goes_on: AtomicBool,
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
            stays: Mutex::default(),
            goes_on: AtomicBool::new(false),
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

    /// Whatever was said about requests to come, this is what they meet.
    pub fn only(&self, behaviour: Behaviour) {
        self.state.script.lock().unwrap().clear();
        self.from_now_on(behaviour);
    }

    /// It goes on behind the beginning of a reply that a request ends with, as a server with a prefill does.
    #[must_use]
    pub fn going_on(self) -> Self {
        self.state.goes_on.store(true, Ordering::Relaxed);
        self
    }

    /// Lets so many requests go on that hold.
    pub fn release(&self, requests: usize) {
        self.state.gate.add_permits(requests);
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// An entry of the configuration's `backends`, with more of its fields.
    #[must_use]
    pub fn backend(&self, name: &str, more: &str) -> String {
        format!("  - {{name: {name}, adapter: openai, url: \"http://{}\", {more}}}\n", self.address)
    }

    /// The same, where Ollama's dialect is spoken to it.
    #[must_use]
    pub fn ollama_backend(&self, name: &str, more: &str) -> String {
        self.backend(name, more).replacen("adapter: openai", "adapter: ollama", 1)
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.state.counts.borrow()
    }

    /// The requests that were here when most were. That a client has left is noticed only a little later, when another
    /// request may be here in its place: so the last so much time of one that was left does not count.
    #[must_use]
    pub fn crowd(&self, notice: Duration) -> Vec<Stay> {
        let stays = self.state.stays.lock().unwrap().clone();
        let mut changes = Vec::new();
        for stay in &stays {
            let until = stay.until.unwrap_or_else(Instant::now);
            let until = if stay.left { until.checked_sub(notice).unwrap_or(stay.from) } else { until };
            if until > stay.from {
                changes.extend([(stay.from, true, stay.request), (until, false, stay.request)]);
            }
        }
        // Who leaves makes room for who comes at the same moment.
        changes.sort_unstable();
        let (mut inside, mut most) = (BTreeSet::new(), BTreeSet::new());
        for (_, comes, request) in changes {
            if comes {
                inside.insert(request);
            } else {
                inside.remove(&request);
            }
            if inside.len() > most.len() {
                most.clone_from(&inside);
            }
        }
        stays.into_iter().filter(|stay| most.contains(&stay.request)).collect()
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
    if let Some(rest) = path.strip_prefix("/told/") {
        return Ok(prompted::told(&state, rest));
    }
    let Ok(body) = request.into_body().collect().await else { return Ok(json_reply(400, &json!({}))) };
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    if let Some(told) = ollama::about(&path, &state.models, &body) {
        return Ok(told);
    }
    let prompt = [body["messages"].as_array().and_then(|m| m.last()).map(|m| &m["content"]), body.get("prompt"), body.get("input")];
    let prompt = prompt.into_iter().flatten().find_map(Value::as_str).unwrap_or_default().to_owned();
    let mut seen = Seen { path, body, prompt, said: 0 };
    if state.goes_on.load(Ordering::Relaxed) {
        seen.go_on();
    }
    let mut visit = Visit::enter(state, seen.clone());
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
