//! What it says, in OpenAI's shapes.

use axum::body::Body;
use bytes::Bytes;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::Seen;
use super::behave::Sender;

/// The first token names the prompt, so that an answer can be told from another's.
fn token(seen: &Seen, n: usize) -> String {
    if n == 0 { format!("re {}", seen.prompt) } else { format!(" {n}") }
}

/// `false` when the client has left.
pub(super) async fn send_tokens(seen: &Seen, which: std::ops::Range<usize>, to: &Sender) -> bool {
    for n in which {
        if to.send(Ok(chunk(seen, &json!({"role": "assistant", "content": token(seen, n)}), None))).await.is_err() {
            return false;
        }
    }
    true
}

pub(super) fn chunk(seen: &Seen, delta: &Value, finish: Option<&str>) -> Bytes {
    if seen.is_ollama() {
        return super::ollama::line(seen, delta, finish, 0);
    }
    let chunk = json!({"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": seen.body["model"],
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    format!("data: {chunk}\n\n").into()
}

pub(super) fn usage(tokens: usize) -> Value {
    json!({"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens})
}

pub(super) fn whole(seen: &Seen, tokens: usize) -> Value {
    let text: String = (0..tokens).map(|n| token(seen, n)).collect();
    if seen.is_ollama() {
        return super::ollama::whole(seen, &text, tokens);
    }
    if seen.path.ends_with("/embeddings") {
        let data = json!([{"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}]);
        return json!({"object": "list", "data": data, "model": seen.body["model"], "usage": {"prompt_tokens": 7, "total_tokens": 7}});
    }
    json!({"id": "chatcmpl-fake", "object": "chat.completion", "created": 1, "model": seen.body["model"], "usage": usage(tokens),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
}

/// The one call that it ever makes.
const ARGUMENTS: [&str; 3] = ["{\"city\"", ": \"Os", "lo\"}"];

fn offered(seen: &Seen) -> &Value {
    &seen.body["tools"][0]["function"]["name"]
}

pub(super) fn tool_call(seen: &Seen) -> Value {
    let mut reply = whole(seen, 1);
    let function = json!({"name": offered(seen), "arguments": ARGUMENTS.concat()});
    reply["choices"][0]["message"] =
        json!({"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]});
    reply["choices"][0]["finish_reason"] = json!("tool_calls");
    reply
}

/// Its name comes once, and then what it is called with, in pieces.
pub(super) fn tool_call_chunks(seen: &Seen) -> Vec<Bytes> {
    let call = |call: Value| chunk(seen, &json!({"tool_calls": [call]}), None);
    let name = json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": offered(seen), "arguments": ""}});
    let mut chunks = vec![chunk(seen, &json!({"role": "assistant", "content": null}), None), call(name)];
    chunks.extend(ARGUMENTS.map(|piece| call(json!({"index": 0, "function": {"arguments": piece}}))));
    chunks.push(chunk(seen, &json!({}), Some("tool_calls")));
    chunks
}

pub(super) fn json_reply(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}
