//! How it answers, well or not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use hyper::Response;
use serde_json::json;
use tokio::sync::mpsc;

use super::openai::{chunk, json_reply, send_tokens, tool_call, tool_call_chunks, usage, whole};
use super::{Seen, State, Stay};

/// How a request is answered that is answered well.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Before anything is sent.
    pub wait: Duration,
    pub tokens: usize,
    /// The first token that is said; those before it are in the request already.
    pub from: usize,
    /// Says the request's last message first.
    pub echo: bool,
    /// Between tokens; a reply in one piece takes as long as its stream would.
    pub gap: Duration,
    /// After this many tokens it waits for [`FakeModel::release`](super::FakeModel::release); 0 means before anything is sent.
    pub hold: Option<usize>,
}

impl Default for Answer {
    fn default() -> Self {
        Self { wait: Duration::ZERO, tokens: 3, from: 0, echo: false, gap: Duration::ZERO, hold: None }
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
    /// So many tokens of the reply, and then silence.
    StallAfter(usize),
    /// So many tokens of the reply, and then the connection breaks.
    CutAfter(usize),
    /// Bytes that are no reply.
    Garbage,
    /// These bytes, in one piece.
    Verbatim(String),
    /// Output without end, as fast as it is taken.
    Flood,
    /// A call of the first tool that is offered.
    CallTool,
    /// As the prompt says.
    AsPrompted,
}

impl Behaviour {
    #[must_use]
    pub fn after(millis: u64) -> Self {
        Self::Answer(Answer { wait: Duration::from_millis(millis), ..Answer::default() })
    }

    /// Waits for [`FakeModel::release`](super::FakeModel::release) after so many tokens.
    #[must_use]
    pub fn hold(tokens: usize) -> Self {
        Self::Answer(Answer { hold: Some(tokens), ..Answer::default() })
    }

    /// Goes on behind the tokens that the request ends with.
    #[must_use]
    pub fn rest(from: usize, tokens: usize) -> Self {
        Self::Answer(Answer { from, tokens, ..Answer::default() })
    }

    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Refuse(status, Vec::new())
    }
}

/// A request inside the server; it is over when it was answered, or when its connection is.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) state: Arc<State>,
    pub(super) inside: usize,
    /// Its place among the stays.
    number: usize,
    over: bool,
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.over {
            self.leave(true);
            self.state.counts.send_modify(|c| (c.inside, c.gone) = (c.inside - 1, c.gone + 1));
        }
    }
}

impl Visit {
    pub(super) fn enter(state: Arc<State>, seen: Seen) -> Self {
        let number = {
            let (mut all, mut stays) = (state.seen.lock().unwrap(), state.stays.lock().unwrap());
            stays.push(Stay { request: all.len(), from: Instant::now(), until: None, left: false });
            all.push(seen);
            all.len() - 1
        };
        let mut inside = 0;
        state.counts.send_modify(|c| {
            c.seen += 1;
            c.inside += 1;
            c.highest = c.highest.max(c.inside);
            inside = c.inside;
        });
        Self { state, inside, number, over: false }
    }

    fn leave(&self, left: bool) {
        let stay = &mut self.state.stays.lock().unwrap()[self.number];
        (stay.until, stay.left) = (Some(Instant::now()), left);
    }

    /// Its slot is free before the last byte is sent, as it is at real servers.
    pub(super) fn end(&mut self) {
        self.over = true;
        self.leave(false);
        self.state.counts.send_modify(|c| (c.inside, c.answered) = (c.inside - 1, c.answered + 1));
    }

    async fn released(&self) {
        self.state.gate.acquire().await.unwrap().forget();
    }

    pub(super) async fn behave(mut self, behaviour: Behaviour, seen: Seen) -> Response<Body> {
        let streamed = seen.body["stream"] == true;
        let behaviour = if matches!(behaviour, Behaviour::AsPrompted) { Behaviour::prompted(&seen) } else { behaviour };
        match behaviour {
            Behaviour::AsPrompted => unreachable!("a prompt says what it does"),
            Behaviour::CallTool if streamed => stream(async move |to| {
                for chunk in tool_call_chunks(&seen) {
                    let _ = to.send(Ok(chunk)).await;
                }
                self.end();
                let _ = to.send(Ok("data: [DONE]\n\n".into())).await;
            }),
            Behaviour::CallTool => {
                self.end();
                json_reply(200, &tool_call(&seen))
            }
            Behaviour::Refuse(status, headers) => {
                self.end();
                let error = if seen.is_ollama() {
                    json!({"error": "told to refuse"})
                } else {
                    json!({"error": {"message": "told to refuse", "type": "server_error", "code": null}})
                };
                let mut response = json_reply(status, &error);
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
                send_tokens(&seen, seen.said..n, &to).await;
                to.closed().await;
                drop(self);
            }),
            Behaviour::CutAfter(n) => stream(async move |to| {
                send_tokens(&seen, seen.said..n, &to).await;
                // The client must have had the time to read what was sent.
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                    () = to.closed() => return drop(self),
                }
                self.end();
                let _ = to.send(Err("cut")).await;
            }),
            Behaviour::Garbage => {
                self.end();
                let mut response = Response::new(Body::from(&b"\xff\xfe<html>data: [1,2\n\n\x00{]"[..]));
                response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
                response
            }
            Behaviour::Verbatim(text) => {
                self.end();
                let kind = if text.starts_with("data:") { "text/event-stream" } else { "application/json" };
                let mut response = Response::new(Body::from(text));
                response.headers_mut().insert("content-type", kind.parse().unwrap());
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
            if how.echo {
                let _ = to.send(Ok(chunk(&seen, &json!({"role": "assistant", "content": seen.prompt}), None))).await;
            }
            for n in how.from.max(seen.said)..how.tokens {
                if how.hold == Some(n) && n > 0 {
                    self.released().await;
                }
                // A sleep of nothing is one of a millisecond.
                if n > 0 && !how.gap.is_zero() {
                    tokio::time::sleep(how.gap).await;
                }
                if !send_tokens(&seen, n..n + 1, &to).await {
                    return;
                }
            }
            if seen.is_ollama() {
                let _ = to.send(Ok(super::ollama::line(&seen, &json!({}), Some("stop"), how.tokens))).await;
                return;
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
        if to.is_closed() {
            return;
        }
        self.end();
        if !seen.is_ollama() {
            let _ = to.send(Ok("data: [DONE]\n\n".into())).await;
        }
    }
}

pub(super) type Sender = mpsc::Sender<Result<Bytes, &'static str>>;

/// A reply whose bytes a future sends as it goes.
fn stream<F: Future<Output = ()> + Send + 'static>(work: impl FnOnce(Sender) -> F) -> Response<Body> {
    let (to, mut bytes) = mpsc::channel(4);
    tokio::spawn(work(to));
    let mut response = Response::new(Body::from_stream(futures_util::stream::poll_fn(move |cx| bytes.poll_recv(cx))));
    response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    response
}
