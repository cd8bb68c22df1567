//! Anthropic's Messages, in both directions: OpenAI's request to theirs, their reply and events to OpenAI's.

use std::sync::Arc;

use pullyard_schemas::job::Kind;
use pullyard_schemas::{Failure, FailureKind, Usage};
use serde_json::{Map, Value, json};

use super::failure::{garbage, of_object};
use super::framing::{self, Frame};
use super::json::Fields;
use super::reply::Reply;
use super::{Call, Chunk, Progress, Wire};

/// Messages needs a limit; OpenAI's clients often give none.
const MAX_TOKENS: u64 = 4096;

pub(super) fn request(call: &Call) -> Result<Wire, Failure> {
    if call.kind != Kind::Chat {
        return Err(Failure::new(FailureKind::NoModel, "Anthropic serves chat alone"));
    }
    let fields = Fields::read(&call.body)?;
    fields.refuse_ollama()?;
    let Some(Value::Array(messages)) = fields.value("messages")? else { return Err(refused("`messages` must be a list")) };
    let (system, turns) = conversation(&messages)?;
    let limit = fields.value("max_completion_tokens")?.or(fields.value("max_tokens")?).unwrap_or_else(|| MAX_TOKENS.into());
    let mut body = json!({"model": &*call.model, "max_tokens": limit, "messages": turns, "stream": call.stream});
    if !system.is_empty() {
        body["system"] = Value::Array(system);
    }
    for (theirs, ours) in [("temperature", "temperature"), ("top_p", "top_p"), ("top_k", "top_k"), ("thinking", "thinking")] {
        if let Some(value) = fields.value(theirs)? {
            body[ours] = value;
        }
    }
    if let Some(stop) = fields.value("stop")? {
        body["stop_sequences"] = if stop.is_string() { json!([stop]) } else { stop };
    }
    if let Some(Value::Array(tools)) = fields.value("tools")?
        && !tools.is_empty()
    {
        body["tools"] = tools.iter().map(tool).collect();
        if let Some(choice) = tool_choice(fields.value("tool_choice")?.as_ref(), fields.value("parallel_tool_calls")?.as_ref()) {
            body["tool_choice"] = choice;
        }
    }
    let framing = if call.stream { framing::Kind::Sse } else { framing::Kind::Whole };
    Ok(Wire { body: body.to_string().into(), framing })
}

fn refused(why: impl Into<String>) -> Failure {
    Failure::new(FailureKind::BadRequest, why)
}

/// System messages go into `system`; tool results are a user's turn; neighbours with one role are one turn.
fn conversation(messages: &[Value]) -> Result<(Vec<Value>, Vec<Value>), Failure> {
    let mut system = Vec::new();
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str).ok_or_else(|| refused(format!("`messages[{at}].role` must be a text")))?;
        let mut blocks = Vec::new();
        let side = match role {
            "system" | "developer" => {
                system.extend(parts(at, message)?);
                continue;
            }
            "tool" => {
                let content = parts(at, message)?;
                let id = message.get("tool_call_id").cloned().unwrap_or_default();
                blocks.push(json!({"type": "tool_result", "tool_use_id": id, "content": content}));
                "user"
            }
            "assistant" => {
                blocks.extend(parts(at, message)?);
                for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                    let arguments = call.pointer("/function/arguments").and_then(Value::as_str).unwrap_or("{}");
                    let input: Value = serde_json::from_str(if arguments.is_empty() { "{}" } else { arguments })
                        .map_err(|_| refused(format!("`messages[{at}].tool_calls` has arguments that are no JSON")))?;
                    blocks.push(json!({"type": "tool_use", "id": call.get("id"), "name": call.pointer("/function/name"), "input": input}));
                }
                "assistant"
            }
            "user" => {
                blocks.extend(parts(at, message)?);
                "user"
            }
            other => return Err(refused(format!("`messages[{at}].role` is {other:?}; it must be system, user, assistant or tool"))),
        };
        match turns.last_mut() {
            Some((last, into)) if *last == side => into.extend(blocks),
            Some(_) | None => turns.push((side, blocks)),
        }
    }
    let turns = turns.into_iter().filter(|(_, b)| !b.is_empty()).map(|(role, content)| json!({"role": role, "content": content})).collect();
    Ok((system, turns))
}

fn parts(at: usize, message: &Value) -> Result<Vec<Value>, Failure> {
    match message.get("content") {
        None | Some(Value::Null) => Ok(Vec::new()),
        // Anthropic refuses an empty text block.
        Some(Value::String(text)) => Ok(if text.is_empty() { Vec::new() } else { vec![json!({"type": "text", "text": text})] }),
        Some(Value::Array(parts)) => {
            parts.iter().filter(|p| p.get("text").is_none_or(|t| t != "")).map(|part| one_part(at, part)).collect()
        }
        Some(_) => Err(refused(format!("`messages[{at}].content` must be a text or a list of parts"))),
    }
}

fn one_part(at: usize, part: &Value) -> Result<Value, Failure> {
    let mut block = match part.get("type").and_then(Value::as_str) {
        Some("text") => json!({"type": "text", "text": part.get("text")}),
        Some("image_url") => {
            let url = part.pointer("/image_url/url").or_else(|| part.get("image_url")).and_then(Value::as_str).unwrap_or_default();
            match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
                Some((media, data)) => json!({"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}),
                None => json!({"type": "image", "source": {"type": "url", "url": url}}),
            }
        }
        other => {
            return Err(refused(format!(
                "`messages[{at}]` has a part of type {:?}, which Anthropic does not take",
                other.unwrap_or("none")
            )));
        }
    };
    if let Some(cache) = part.get("cache_control") {
        block["cache_control"] = cache.clone();
    }
    Ok(block)
}

fn tool(tool: &Value) -> Value {
    let function = tool.get("function").unwrap_or(tool);
    let mut shown = json!({"name": function.get("name"), "input_schema": function.get("parameters").cloned().unwrap_or_else(|| json!({"type": "object"}))});
    if let Some(description) = function.get("description") {
        shown["description"] = description.clone();
    }
    shown
}

fn tool_choice(choice: Option<&Value>, parallel: Option<&Value>) -> Option<Value> {
    let mut shown = match choice {
        None => json!({"type": "auto"}),
        Some(Value::String(word)) => match word.as_str() {
            "required" => json!({"type": "any"}),
            "none" => return Some(json!({"type": "none"})),
            _ => json!({"type": "auto"}),
        },
        Some(choice) => json!({"type": "tool", "name": choice.pointer("/function/name")}),
    };
    if parallel == Some(&Value::Bool(false)) {
        shown["disable_parallel_tool_use"] = true.into();
    } else if choice.is_none() {
        return None;
    }
    Some(shown)
}

#[derive(Debug)]
pub(super) struct Decoder {
    reply: Reply,
    usage: Usage,
    /// Prompt tokens that were neither read from the cache nor written to it.
    input: u64,
    /// Prompt tokens that were written to the cache.
    written: u64,
    first: bool,
    /// OpenAI's index of each tool call, by the block that it is in.
    calls: Map<String, Value>,
}

impl Decoder {
    pub(super) fn new(call: &Call) -> Self {
        Self { reply: Reply::new(call), usage: Usage::default(), input: 0, written: 0, first: true, calls: Map::new() }
    }

    pub(super) fn frame(&mut self, frame: &Frame, progress: &mut Progress, out: &mut Vec<Chunk>) -> Result<(), Failure> {
        let event: Value = serde_json::from_slice(&frame.data).map_err(|e| garbage(&format!("an event is not JSON: {e}")))?;
        let block = || event.get("index").map(ToString::to_string).unwrap_or_default();
        match event.get("type").and_then(Value::as_str) {
            Some("message_start") => {
                self.count(event.pointer("/message/usage"), progress);
                out.push(self.delta(json!({"content": ""}), None));
            }
            Some("content_block_start") if event.pointer("/content_block/type").is_some_and(|t| t == "tool_use") => {
                let index = self.calls.len();
                self.calls.insert(block(), index.into());
                let (id, name) = (event.pointer("/content_block/id"), event.pointer("/content_block/name"));
                let call = json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}});
                out.push(self.delta(json!({"tool_calls": [call]}), None));
            }
            Some("content_block_delta") => {
                let text = |name: &str| event.pointer(&format!("/delta/{name}")).and_then(Value::as_str);
                if let Some(text) = text("text") {
                    out.push(self.delta(json!({"content": text}), None));
                } else if let Some(thinking) = text("thinking") {
                    out.push(self.delta(json!({"reasoning_content": thinking}), None));
                } else if let Some(json) = text("partial_json")
                    && let Some(index) = self.calls.get(&block())
                {
                    let call = json!({"index": index, "function": {"arguments": json}});
                    out.push(self.delta(json!({"tool_calls": [call]}), None));
                }
            }
            Some("message_delta") => {
                self.count(event.get("usage"), progress);
                if let Some(reason) = event.pointer("/delta/stop_reason").and_then(Value::as_str) {
                    let finish = finish(reason);
                    progress.finish = Some(Arc::from(finish));
                    out.push(self.delta(json!({}), Some(finish)));
                }
            }
            Some("message_stop") => {
                progress.done = true;
                out.push(self.reply.usage(&self.usage, "chat.completion.chunk"));
            }
            Some("error") => return Err(of_object(&frame.data)),
            // Pings, starts and stops of text blocks, and whatever comes next year.
            Some(_) | None => {}
        }
        Ok(())
    }

    fn delta(&mut self, mut delta: Value, finish: Option<&str>) -> Chunk {
        if std::mem::take(&mut self.first) {
            delta["role"] = "assistant".into();
        }
        self.reply.delta(delta, finish)
    }

    pub(super) fn whole(&mut self, body: &[u8], progress: &mut Progress) -> Result<Chunk, Failure> {
        let message: Value = serde_json::from_slice(body).map_err(|e| garbage(&format!("the reply is not JSON: {e}")))?;
        if message.get("type").is_some_and(|t| t == "error") {
            return Err(of_object(body));
        }
        let Some(Value::Array(blocks)) = message.get("content") else { return Err(garbage("the reply has no content")) };
        self.count(message.get("usage"), progress);
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
        Ok(self.reply.message(shown, finish, &self.usage))
    }

    /// Counts are cumulative, and a later event may repeat only some of them.
    fn count(&mut self, usage: Option<&Value>, progress: &mut Progress) {
        let Some(usage) = usage else { return };
        let more = |name: &str, so_far: u64| usage.get(name).and_then(Value::as_u64).map_or(so_far, |n| n.max(so_far));
        self.input = more("input_tokens", self.input);
        self.written = more("cache_creation_input_tokens", self.written);
        self.usage.cached = more("cache_read_input_tokens", self.usage.cached);
        self.usage.prompt = self.input + self.written + self.usage.cached;
        self.usage.completion = more("output_tokens", self.usage.completion);
        progress.usage = Some(self.usage);
    }
}

fn finish(stop_reason: &str) -> &'static str {
    match stop_reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        _ => "stop",
    }
}
