//! A model server of any dialect that says word for word what it was given, and remembers what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// What a request is answered with.
#[derive(Clone, Debug)]
pub struct Scripted {
    status: u16,
    kind: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    frames: Vec<String>,
    cut: bool,
    hold: bool,
}

impl Scripted {
    fn new(status: u16, kind: &'static str, frames: Vec<String>) -> Self {
        Self { status, kind, headers: Vec::new(), frames, cut: false, hold: false }
    }

    #[must_use]
    pub fn whole(body: &Value) -> Self {
        Self::status(200, body)
    }

    #[must_use]
    pub fn status(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", vec![body.to_string()])
    }

    /// Events that are named after the type in their data, as Anthropic's are.
    #[must_use]
    pub fn events(events: &[Value]) -> Self {
        let frame = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("message"));
        Self::new(200, "text/event-stream", events.iter().map(frame).collect())
    }

    /// Chunks as OpenAI sends them, with their end.
    #[must_use]
    pub fn chunks(chunks: &[Value]) -> Self {
        let mut frames: Vec<String> = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        frames.push("data: [DONE]\n\n".to_owned());
        Self::new(200, "text/event-stream", frames)
    }

    /// Lines as Ollama sends them.
    #[must_use]
    pub fn lines(lines: &[Value]) -> Self {
        Self::new(200, "application/x-ndjson", lines.iter().map(|line| format!("{line}\n")).collect())
    }

    /// These bytes, as a reply of this content type.
    #[must_use]
    pub fn raw(kind: &'static str, bytes: &str) -> Self {
        Self::new(200, kind, vec![bytes.to_owned()])
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The connection breaks behind the last frame.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    /// Nothing is sent before [`ScriptedModel::release`].
    #[must_use]
    pub fn held(mut self) -> Self {
        self.hold = true;
        self
    }

    fn response(self) -> Response<Body> {
        let frames = stream::iter(self.frames.into_iter().map(|frame| Ok(Bytes::from(frame))));
        let cut = stream::iter(self.cut.then_some(())).then(async |()| {
            // What was sent is lost with a connection that breaks at once.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err("cut")
        });
        let mut response = Response::new(Body::from_stream(frames.chain(cut)));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        response.headers_mut().insert("content-type", self.kind.parse().unwrap());
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    }
}

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

#[derive(Debug)]
struct State {
    models: Vec<String>,
    script: Mutex<VecDeque<Scripted>>,
    asked: Mutex<Vec<Asked>>,
    gate: Semaphore,
}

/// Serves these models in whatever dialect the script has; gone when it is dropped.
#[derive(Debug)]
pub struct ScriptedModel {
    state: Arc<State>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ScriptedModel {
    pub async fn serving(models: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            models: models.iter().map(|&model| model.into()).collect(),
            script: Mutex::default(),
            asked: Mutex::default(),
            gate: Semaphore::new(0),
        });
        let all = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let state = all.clone();
                let service = service_fn(move |request| answer(state.clone(), request));
                connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { state, address, task }
    }

    /// What the next requests get, in order. A request beyond them gets 500.
    pub fn then(&self, replies: impl IntoIterator<Item = Scripted>) {
        self.state.script.lock().unwrap().extend(replies);
    }

    /// Lets so many requests go on that are held.
    pub fn release(&self, requests: usize) {
        self.state.gate.add_permits(requests);
    }

    /// An entry of the configuration's `backends`.
    #[must_use]
    pub fn backend(&self, name: &str, adapter: &str, more: &str) -> String {
        format!("  - {{name: {name}, adapter: {adapter}, url: \"http://{}\", {more}}}\n", self.address)
    }

    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// The latest request.
    ///
    /// # Panics
    /// When there was none.
    #[must_use]
    pub fn last(&self) -> Asked {
        self.asked().pop().unwrap()
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    // What a server has, in the lists of all dialects.
    let known = match path.as_str() {
        "/v1/models" => {
            Some(json!({"data": state.models.iter().map(|m| json!({"id": m, "object": "model", "type": "model"})).collect::<Vec<_>>()}))
        }
        "/api/tags" => {
            Some(json!({"models": state.models.iter().map(|m| json!({"name": m, "model": m, "digest": "d"})).collect::<Vec<_>>()}))
        }
        "/api/ps" => Some(json!({"models": []})),
        "/api/show" => Some(json!({"capabilities": ["completion", "tools", "vision"], "model_info": {}})),
        "/api/version" => Some(json!({"version": "0.12.0"})),
        _ => None,
    };
    if let Some(known) = known {
        return Ok(Scripted::whole(&known).response());
    }
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    state.asked.lock().unwrap().push(Asked { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() });
    let reply = state.script.lock().unwrap().pop_front();
    let reply = reply.unwrap_or_else(|| Scripted::status(500, &json!({"error": {"message": "the script is at its end"}})));
    if reply.hold {
        state.gate.acquire().await.unwrap().forget();
    }
    Ok(reply.response())
}
