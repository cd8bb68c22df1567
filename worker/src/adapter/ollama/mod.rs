//! Ollama's own dialect: `/api/chat`, `/api/generate` and `/api/embed`, streamed as JSON lines.
//!
//! - this file: requests; `messages` their conversations, `options` what they set.
//! - `forced`: a tool that must be called.
//! - `decode`: replies.
//! - `models`: what a server has, and how it is in memory.

mod decode;
mod forced;
mod messages;
pub(super) mod models;
mod options;

use std::sync::LazyLock;

use memchr::memmem::Finder;
use pullyard_schemas::job::Kind;
use pullyard_schemas::{Failure, FailureKind, Usage};
use serde_json::{Value, json};

use super::framing;
use super::json::Fields;
use super::reply::Reply;
use super::{Call, Chunk, Wire, plain};

pub(super) use decode::Decoder;
use forced::Forced;

/// A request's body, field by field and each as JSON: a schema's order is the client's, and Ollama's grammar follows it.
struct Body(Vec<(String, String)>);

impl Body {
    fn put(&mut self, name: &str, json: impl ToString) {
        if !self.0.iter().any(|(known, _)| known == name) {
            self.0.push((name.to_owned(), json.to_string()));
        }
    }

    fn put_raw(&mut self, name: &str, raw: &[u8]) {
        self.put(name, String::from_utf8_lossy(raw));
    }

    fn end(self) -> String {
        let fields: Vec<String> = self.0.iter().map(|(name, json)| format!("{}:{json}", Value::from(name.as_str()))).collect();
        format!("{{{}}}", fields.join(","))
    }
}

pub(super) fn request(call: &Call) -> Result<Wire, Failure> {
    let fields = Fields::read(&call.body)?;
    plain::check(&fields)?;
    let own = fields.ollama()?;
    let mut body = Body(Vec::with_capacity(8));
    body.put("model", Value::from(&*call.model));
    if own.get("load").is_some() {
        body.put("messages", "[]");
        body.put("stream", call.stream);
        keep_alive(&fields, &own, &mut body);
        return Ok(wire(body, call.stream));
    }
    match call.kind {
        Kind::Chat => {
            options::refuse_undoable(&fields, call.kind)?;
            let mut messages = messages::messages(&fields)?;
            if let Some(forced) = Forced::read(&fields)? {
                forced.explain(&mut messages);
                body.put("format", &forced.parameters);
            } else if fields.get("tool_choice") != Some(b"\"none\"")
                // A client that forbids tools is not tempted with them.
                && let Some(tools) = fields.get("tools").filter(|raw| raw.len() > 2)
            {
                body.put_raw("tools", tools);
            }
            body.put("messages", messages);
            if fields.get("logprobs") == Some(b"true") {
                body.put("logprobs", true);
                if let Some(top) = fields.get("top_logprobs") {
                    body.put_raw("top_logprobs", top);
                }
            }
        }
        Kind::Completion => {
            options::refuse_undoable(&fields, call.kind)?;
            let prompt = match fields.value("prompt")? {
                Some(Value::String(prompt)) => prompt,
                Some(Value::Array(list)) if list.len() == 1 && list[0].is_string() => list[0].as_str().unwrap_or_default().to_owned(),
                Some(_) | None => return Err(refused("`prompt` must be one text for an Ollama model")),
            };
            body.put("prompt", Value::from(prompt));
            if let Some(suffix) = fields.get("suffix") {
                body.put_raw("suffix", suffix);
            }
        }
        Kind::Embedding => {
            body.put_raw("input", fields.get("input").unwrap_or(b"null"));
            if let Some(dimensions) = fields.get("dimensions") {
                body.put_raw("dimensions", dimensions);
            }
        }
    }
    if call.kind != Kind::Embedding {
        body.put("stream", call.stream);
        if let Some(format) = options::format(&fields)? {
            body.put("format", format);
        }
        if let Some(think) = own.get("think").or_else(|| fields.get("think")) {
            body.put_raw("think", think);
        } else if let Some(effort) = fields.value("reasoning_effort")? {
            body.put("think", if effort == "none" { false.into() } else { effort });
        }
    }
    keep_alive(&fields, &own, &mut body);
    let options = options::options(&fields, &own, call)?;
    if !options.is_empty() {
        body.put("options", Value::Object(options));
    }
    // What is not known here was meant for the server.
    for (name, raw) in own.0.iter().filter(|(name, raw)| !matches!(&**name, "options" | "load" | "think") && *raw != b"null") {
        body.put_raw(name, raw);
    }
    Ok(wire(body, call.stream && call.kind != Kind::Embedding))
}

fn wire(body: Body, streamed: bool) -> Wire {
    let framing = if streamed { framing::Kind::Lines } else { framing::Kind::Whole };
    Wire { body: body.end().into(), framing, headers: Vec::new() }
}

fn refused(why: impl Into<String>) -> Failure {
    Failure::new(FailureKind::BadRequest, why)
}

/// How long the model stays is the server's to say, unless the client does. A number in quotes is one without a unit, which
/// Ollama does not read.
fn keep_alive(fields: &Fields<'_>, own: &Fields<'_>, body: &mut Body) {
    let Some(raw) = own.get("keep_alive").or_else(|| fields.get("keep_alive")) else { return };
    let bare = raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\""));
    match bare.filter(|bare| std::str::from_utf8(bare).is_ok_and(|text| text.parse::<i64>().is_ok())) {
        Some(number) => body.put("keep_alive", String::from_utf8_lossy(number).trim_start_matches('+')),
        None => body.put_raw("keep_alive", raw),
    }
}

/// Whether the model shall only be loaded or unloaded.
pub(super) fn is_load(call: &Call) -> bool {
    static LOAD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"load\":true"));
    LOAD.find(&call.body).is_some()
        && Fields::read(&call.body).and_then(|fields| Ok(fields.ollama()?.get("load").is_some())).unwrap_or(false)
}

/// What a server answers to that which neither loads nor unloads: its models are always there.
pub(super) fn loaded(call: &Call) -> Chunk {
    let (reply, message) = (Reply::new(call), json!({"role": "assistant", "content": ""}));
    if call.stream { reply.delta(message, Some("stop")) } else { reply.message(message, Some("stop"), &Usage::default()) }
}
