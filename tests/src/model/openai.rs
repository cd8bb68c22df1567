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
    let chunk = json!({"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": seen.body["model"],
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    format!("data: {chunk}\n\n").into()
}

pub(super) fn usage(tokens: usize) -> Value {
    json!({"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens})
}

pub(super) fn whole(seen: &Seen, tokens: usize) -> Value {
    if seen.path.ends_with("/embeddings") {
        let data = json!([{"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}]);
        return json!({"object": "list", "data": data, "model": seen.body["model"], "usage": {"prompt_tokens": 7, "total_tokens": 7}});
    }
    let text: String = (0..tokens).map(|n| token(seen, n)).collect();
    json!({"id": "chatcmpl-fake", "object": "chat.completion", "created": 1, "model": seen.body["model"], "usage": usage(tokens),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
}

pub(super) fn json_reply(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}
