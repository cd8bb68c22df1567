//! Anthropic's reply and events as OpenAI's.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use pullyard_schemas::{Failure, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::failure::{garbage, of_object};
use super::super::framing::Frame;
use super::super::json::Fields;
use super::super::reply::Reply;
use super::super::{Call, Chunk, Progress};
use super::field;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(default)]
    index: u64,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(default)]
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Begun {
    #[serde(default)]
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    partial_json: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    stop_reason: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

#[derive(Debug)]
pub(in super::super) struct Decoder {
    reply: Reply,
    /// The client speaks their language: it is told what OpenAI's shape has no place for.
    native: bool,
    usage: Usage,
    /// Prompt tokens that were neither read from the cache nor written to it.
    input: u64,
    /// Prompt tokens that were written to the cache.
    written: u64,
    first: bool,
    /// The block of each tool call, in the order of OpenAI's indices.
    calls: Vec<u64>,
}

impl Decoder {
    pub(in super::super) fn new(call: &Call) -> Self {
        let native = Fields::read(&call.body).is_ok_and(|fields| fields.get("anthropic").is_some());
        Self { reply: Reply::new(call), native, usage: Usage::default(), input: 0, written: 0, first: true, calls: Vec::new() }
    }

    pub(in super::super) fn frame(&mut self, frame: &Frame, progress: &mut Progress, out: &mut Vec<Chunk>) -> Result<(), Failure> {
        let event: Event<'_> = serde_json::from_slice(&frame.data).map_err(|e| garbage(&format!("an event is not JSON: {e}")))?;
        match event.r#type.as_deref() {
            Some("message_start") => {
                let begun = event.message.and_then(|message| serde_json::from_str::<Begun>(message.get()).ok());
                self.count(begun.and_then(|begun| begun.usage), progress);
                let chunk = self.delta(json!({"content": ""}), None);
                out.push(self.with(chunk, "message", event.message.map(RawValue::get)));
            }
            Some("content_block_start") => self.start(&event, out),
            Some("content_block_delta") => self.piece(&event, out),
            Some("content_block_stop") => self.aside("stop", "true", false, out),
            Some("message_delta") => {
                self.count(event.usage, progress);
                let reason = event.delta.and_then(|delta| serde_json::from_str::<Delta<'_>>(delta.get()).ok()).and_then(|d| d.stop_reason);
                if let Some(reason) = reason {
                    let finish = finish(&reason);
                    progress.finish = Some(Arc::from(finish));
                    let chunk = self.delta(json!({}), Some(finish));
                    let end = self.native.then(|| without_type(&frame.data)).transpose()?;
                    out.push(self.with(chunk, "end", end.as_deref()));
                }
            }
            Some("message_stop") => {
                progress.done = true;
                out.push(self.reply.usage(&self.usage, "chat.completion.chunk"));
            }
            Some("error") => return Err(of_object(&frame.data)),
            Some("ping") | None => {}
            // Whatever comes next year.
            Some(_) => {
                if let Ok(event) = std::str::from_utf8(&frame.data) {
                    self.aside("event", event, false, out);
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, event: &Event<'_>, out: &mut Vec<Chunk>) {
        let Some(raw) = event.content_block else { return };
        let block: Option<Block<'_>> = serde_json::from_str(raw.get()).ok();
        match block.as_ref().and_then(|block| block.r#type.as_deref()) {
            Some("tool_use") => {
                let index = self.calls.len();
                self.calls.push(event.index);
                let (id, name) = block.map(|block| (block.id, block.name)).unwrap_or_default();
                let call = json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}});
                let chunk = self.delta(json!({"tool_calls": [call]}), None);
                out.push(self.with(chunk, "start", Some(raw.get())));
            }
            kind => self.aside("start", raw.get(), !matches!(kind, Some("text" | "thinking")), out),
        }
    }

    fn piece(&mut self, event: &Event<'_>, out: &mut Vec<Chunk>) {
        let Some(raw) = event.delta else { return };
        let Ok(delta) = serde_json::from_str::<Delta<'_>>(raw.get()) else { return };
        let call = self.calls.iter().position(|block| *block == event.index);
        let delta = match (delta, call) {
            (Delta { text: Some(text), .. }, _) => json!({"content": text}),
            (Delta { thinking: Some(thinking), .. }, _) => json!({"reasoning_content": thinking}),
            (Delta { partial_json: Some(piece), .. }, Some(_)) if piece.is_empty() => return,
            (Delta { partial_json: Some(piece), .. }, Some(index)) => {
                json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            }
            // Signatures, citations, and pieces of blocks that only they know.
            _ => return self.aside("delta", raw.get(), true, out),
        };
        out.push(self.delta(delta, None));
    }

    fn delta(&mut self, mut delta: Value, finish: Option<&str>) -> Chunk {
        if std::mem::take(&mut self.first) {
            delta["role"] = "assistant".into();
        }
        self.reply.delta(delta, finish)
    }

    /// A chunk for those who speak their language alone.
    fn aside(&mut self, name: &str, raw: &str, has_content: bool, out: &mut Vec<Chunk>) {
        if self.native {
            let mut chunk = self.delta(json!({}), None);
            chunk.has_content = has_content;
            out.push(self.with(chunk, name, Some(raw)));
        }
    }

    fn with(&self, mut chunk: Chunk, name: &str, raw: Option<&str>) -> Chunk {
        if let Some(raw) = raw.filter(|_| self.native)
            && let Some(body) = chunk.data.strip_suffix(b"}")
        {
            let mut data = Vec::with_capacity(body.len() + raw.len() + 32);
            for part in [body, b",\"anthropic\":{\"", name.as_bytes(), b"\":", raw.as_bytes(), b"}}"] {
                data.extend_from_slice(part);
            }
            chunk.data = super::super::framing::one_line(data.into());
        }
        chunk
    }

    pub(in super::super) fn whole(&mut self, body: &[u8], progress: &mut Progress) -> Result<Chunk, Failure> {
        let message: Value = serde_json::from_slice(body).map_err(|e| garbage(&format!("the reply is not JSON: {e}")))?;
        if message.get("type").is_some_and(|t| t == "error") {
            return Err(of_object(body));
        }
        let Some(Value::Array(blocks)) = message.get("content") else { return Err(garbage("the reply has no content")) };
        self.count(message.get("usage").and_then(|usage| Counts::deserialize(usage).ok()), progress);
        let join = |kind: &str| blocks.iter().filter_map(|b| b.get(kind).and_then(Value::as_str)).collect::<String>();
        let (text, thinking) = (join("text"), join("thinking"));
        let calls: Vec<Value> = blocks
            .iter()
            .filter(|b| b.get("type").is_some_and(|t| t == "tool_use"))
            .map(|b| {
                let arguments = b.get("input").map(ToString::to_string).unwrap_or_default();
                json!({"id": b.get("id"), "type": "function", "function": {"name": b.get("name"), "arguments": arguments}})
            })
            .collect();
        let mut shown =
            json!({"role": "assistant", "content": if text.is_empty() && !calls.is_empty() { Value::Null } else { text.into() }});
        if !calls.is_empty() {
            shown["tool_calls"] = calls.into();
        }
        if !thinking.is_empty() {
            shown["reasoning_content"] = thinking.into();
        }
        let finish = message.get("stop_reason").and_then(Value::as_str).map(finish);
        progress.finish = finish.map(Arc::from);
        progress.done = true;
        let chunk = self.reply.message(shown, finish, &self.usage);
        Ok(self.with(chunk, "message", std::str::from_utf8(body).ok().map(str::trim)))
    }

    /// Counts are cumulative, and a later event may repeat only some of them.
    fn count(&mut self, counts: Option<Counts>, progress: &mut Progress) {
        let Some(counts) = counts else { return };
        let more = |counted: Option<u64>, so_far: u64| counted.map_or(so_far, |n| n.max(so_far));
        self.input = more(counts.input_tokens, self.input);
        self.written = more(counts.cache_creation_input_tokens, self.written);
        self.usage.cached = more(counts.cache_read_input_tokens, self.usage.cached);
        self.usage.prompt = self.input + self.written + self.usage.cached;
        self.usage.completion = more(counts.output_tokens, self.usage.completion);
        progress.usage = Some(self.usage);
    }
}

/// An event's fields without its type.
fn without_type(event: &Bytes) -> Result<String, Failure> {
    let mut rest = String::from("{");
    for (name, value) in Fields::read(event)?.0 {
        if name != "type" {
            field(&mut rest, &name, std::str::from_utf8(value).map_err(|_| garbage("an event is not valid UTF-8"))?);
        }
    }
    rest.push('}');
    Ok(rest)
}

fn finish(stop_reason: &str) -> &'static str {
    match stop_reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        _ => "stop",
    }
}
