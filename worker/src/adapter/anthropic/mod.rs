//! Anthropic's Messages, in both directions: OpenAI's request to theirs, their reply and events to OpenAI's.
//!
//! A client that speaks their language too gets all of it: what OpenAI's shape has no place for comes under `anthropic` in
//! the request and goes under `anthropic` in the chunks.

mod extra;
mod reply;
mod request;
mod turns;

pub(super) use reply::Decoder;
pub(super) use request::request;

use pullyard_schemas::{Failure, FailureKind};

fn refused(why: impl Into<String>) -> Failure {
    Failure::new(FailureKind::BadRequest, why)
}

/// Adds a field to an object that is being written.
fn field(out: &mut String, name: &str, value: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push_str(&quoted(name));
    out.push(':');
    out.push_str(value);
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
