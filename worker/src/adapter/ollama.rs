//! Ollama's own dialect: `/api/chat`, `/api/generate` and `/api/embed`, streamed as JSON lines.

use pullyard_schemas::job::Kind;
use pullyard_schemas::{Failure, FailureKind, Usage};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::failure::{garbage, of_object};
use super::framing::{self, Frame};
use super::json::Fields;
use super::openai::wants_base64;
use super::reply::Reply;
use super::{Call, Chunk, Progress, Wire, plain};

/// OpenAI's names of sampling options, and Ollama's.
const OPTIONS: [(&str, &str); 9] = [
    ("max_completion_tokens", "num_predict"),
    ("max_tokens", "num_predict"),
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("top_k", "top_k"),
    ("seed", "seed"),
    ("stop", "stop"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
];

pub(super) fn request(call: &Call) -> Result<Wire, Failure> {
    let fields = Fields::read(&call.body)?;
    plain::check(&fields)?;
    let mut body = Map::new();
    body.insert("model".to_owned(), (&*call.model).into());
    match call.kind {
        Kind::Chat => {
            body.insert("messages".to_owned(), messages(&fields)?);
            if let Some(tools) = fields.value("tools")?.filter(|t| t.as_array().is_some_and(|t| !t.is_empty())) {
                body.insert("tools".to_owned(), tools);
            }
        }
        Kind::Completion => {
            let prompt = match fields.value("prompt")? {
                Some(Value::String(prompt)) => prompt,
                Some(Value::Array(list)) if list.len() == 1 && list[0].is_string() => list[0].as_str().unwrap_or_default().to_owned(),
                Some(_) | None => return Err(refused("`prompt` must be one text for an Ollama model")),
            };
            body.insert("prompt".to_owned(), prompt.into());
            if let Some(suffix) = fields.value("suffix")? {
                body.insert("suffix".to_owned(), suffix);
            }
        }
        Kind::Embedding => {
            body.insert("input".to_owned(), fields.value("input")?.unwrap_or_default());
            if let Some(dimensions) = fields.value("dimensions")? {
                body.insert("dimensions".to_owned(), dimensions);
            }
        }
    }
    if call.kind != Kind::Embedding {
        body.insert("stream".to_owned(), call.stream.into());
        if let Some(format) = format(&fields)? {
            body.insert("format".to_owned(), format);
        }
        if let Some(effort) = fields.value("reasoning_effort")? {
            body.insert("think".to_owned(), if effort == "none" { false.into() } else { effort });
        }
    }
    for name in ["keep_alive", "think"] {
        if let Some(value) = fields.value(name)? {
            body.insert(name.to_owned(), value);
        }
    }
    let options = options(&fields)?;
    if !options.is_empty() {
        body.insert("options".to_owned(), Value::Object(options));
    }
    let streamed = call.stream && call.kind != Kind::Embedding;
    let framing = if streamed { framing::Kind::Lines } else { framing::Kind::Whole };
    Ok(Wire { body: Value::Object(body).to_string().into(), framing, headers: Vec::new() })
}

fn refused(why: impl Into<String>) -> Failure {
    Failure::new(FailureKind::BadRequest, why)
}

/// `options` of the client's own go through, except `num_ctx`: another value than the loaded one makes Ollama load the
/// model anew, for everybody.
fn options(fields: &Fields<'_>) -> Result<Map<String, Value>, Failure> {
    let mut options = match fields.value("options")? {
        Some(Value::Object(options)) => options,
        Some(_) => return Err(refused("`options` must be an object")),
        None => Map::new(),
    };
    options.remove("num_ctx");
    for (theirs, ours) in OPTIONS {
        if let Some(value) = fields.value(theirs)? {
            let value = if ours == "stop" && value.is_string() { json!([value]) } else { value };
            options.entry(ours).or_insert(value);
        }
    }
    Ok(options)
}

fn format(fields: &Fields<'_>) -> Result<Option<Value>, Failure> {
    let Some(format) = fields.value("response_format")? else { return Ok(None) };
    Ok(match format.get("type").and_then(Value::as_str) {
        Some("json_object") => Some("json".into()),
        Some("json_schema") => format.pointer("/json_schema/schema").cloned(),
        _ => None,
    })
}

fn messages(fields: &Fields<'_>) -> Result<Value, Failure> {
    let messages = plain::field(fields, "messages", fields.get("messages").unwrap_or_default());
    let Ok(Value::Array(messages)) = serde_json::from_slice(&messages) else { return Err(refused("`messages` must be a list")) };
    let called: Vec<&Value> = messages.iter().filter_map(|m| m.get("tool_calls")?.as_array()).flatten().collect();
    messages.iter().enumerate().map(|(at, message)| one_message(at, message, &called)).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn one_message(at: usize, message: &Value, called: &[&Value]) -> Result<Value, Failure> {
    let Value::Object(message) = message else { return Err(refused(format!("`messages[{at}]` must be an object"))) };
    let role = message.get("role").and_then(Value::as_str).unwrap_or("user");
    let mut text = String::new();
    let mut images = Vec::new();
    match message.get("content") {
        None | Some(Value::Null) => {}
        Some(Value::String(content)) => text.push_str(content),
        Some(Value::Array(parts)) => {
            for part in parts {
                match part.get("type").and_then(Value::as_str) {
                    Some("text") => text.push_str(part.get("text").and_then(Value::as_str).unwrap_or_default()),
                    Some("image_url") => images.push(image(at, part)?),
                    Some(other) => {
                        return Err(refused(format!("`messages[{at}]` has a part of type {other:?}, which an Ollama model does not take")));
                    }
                    None => return Err(refused(format!("`messages[{at}]` has a part without a type"))),
                }
            }
        }
        Some(_) => return Err(refused(format!("`messages[{at}].content` must be a text or a list of parts"))),
    }
    let mut shown = json!({"role": if role == "developer" { "system" } else { role }, "content": text});
    if !images.is_empty() {
        shown["images"] = Value::Array(images);
    }
    if let Some(Value::Array(calls)) = message.get("tool_calls") {
        shown["tool_calls"] = calls.iter().map(call_to_ollama).collect();
    }
    if role == "tool" {
        let id = message.get("tool_call_id");
        // OpenAI's clients name the call alone; Ollama's templates name the tool.
        let of_call = || called.iter().rev().find(|c| id.is_some() && c.get("id") == id)?.pointer("/function/name");
        for (name, value) in [("tool_call_id", id), ("tool_name", message.get("name").or_else(of_call))] {
            if let Some(value) = value {
                shown[name] = value.clone();
            }
        }
    }
    Ok(shown)
}

/// Arguments are text for OpenAI and an object for Ollama.
fn call_to_ollama(call: &Value) -> Value {
    let arguments = call.pointer("/function/arguments").and_then(Value::as_str).and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({
        "id": call.get("id").cloned().unwrap_or_default(),
        "function": {"name": call.pointer("/function/name"), "arguments": arguments.unwrap_or_else(|| json!({}))},
    })
}

fn image(at: usize, part: &Value) -> Result<Value, Failure> {
    let url = part.pointer("/image_url/url").or_else(|| part.get("image_url")).and_then(Value::as_str).unwrap_or_default();
    let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    data.map(|(_, data)| data.into())
        .ok_or_else(|| refused(format!("`messages[{at}]` links to an image; an Ollama model needs it inline, as data:image/…;base64,…")))
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    response: Option<String>,
    #[serde(default)]
    done: bool,
    #[serde(default)]
    done_reason: Option<String>,
    #[serde(default)]
    prompt_eval_count: Option<u64>,
    #[serde(default)]
    eval_count: Option<u64>,
    #[serde(default)]
    embeddings: Option<Vec<Value>>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: String,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    tool_calls: Vec<Value>,
}

#[derive(Debug)]
pub(super) struct Decoder {
    reply: Reply,
    kind: Kind,
    base64: bool,
    first: bool,
    /// Tool calls so far: each has its index in OpenAI's stream.
    calls: usize,
    id: String,
}

impl Decoder {
    pub(super) fn new(call: &Call) -> Self {
        let base64 = call.kind == Kind::Embedding && wants_base64(call);
        Self { reply: Reply::new(call), kind: call.kind, base64, first: true, calls: 0, id: call.id.clone() }
    }

    pub(super) fn frame(&mut self, frame: &Frame, progress: &mut Progress, out: &mut Vec<Chunk>) -> Result<(), Failure> {
        let line = read(&frame.data)?;
        let finish = self.note(&line, progress);
        if self.kind == Kind::Completion {
            out.push(self.reply.text(line.response.as_deref().unwrap_or(""), finish.as_deref()));
        } else if let Some(delta) = self.delta(line.message, finish.is_some()) {
            out.push(self.reply.delta(delta, finish.as_deref()));
        }
        if line.done {
            let object = if self.kind == Kind::Completion { "text_completion" } else { "chat.completion.chunk" };
            out.push(self.reply.usage(&progress.usage.unwrap_or_default(), object));
        }
        Ok(())
    }

    /// A delta without anything in it is worth sending only to carry the finish.
    fn delta(&mut self, message: Option<Message>, last: bool) -> Option<Value> {
        let mut delta = Map::new();
        if self.first {
            self.first = false;
            delta.insert("role".to_owned(), "assistant".into());
        }
        if let Some(message) = message {
            if let Some(thinking) = message.thinking.filter(|t| !t.is_empty()) {
                delta.insert("reasoning_content".to_owned(), thinking.into());
            }
            if !message.content.is_empty() || (message.tool_calls.is_empty() && !delta.is_empty() && !last) {
                delta.insert("content".to_owned(), message.content.into());
            }
            if !message.tool_calls.is_empty() {
                let calls = self.tool_calls(&message.tool_calls);
                delta.insert("tool_calls".to_owned(), calls);
            }
        }
        (!delta.is_empty() || last).then_some(Value::Object(delta))
    }

    fn tool_calls(&mut self, calls: &[Value]) -> Value {
        calls
            .iter()
            .map(|call| {
                let index = self.calls;
                self.calls += 1;
                let id = call.get("id").and_then(Value::as_str).map_or_else(|| format!("call_{}_{index}", self.id), str::to_owned);
                let arguments = call.pointer("/function/arguments").cloned().unwrap_or_else(|| json!({}));
                let name = call.pointer("/function/name").cloned().unwrap_or_default();
                json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}})
            })
            .collect()
    }

    pub(super) fn whole(&mut self, body: &[u8], progress: &mut Progress) -> Result<Chunk, Failure> {
        let line = read(body)?;
        if let Some(vectors) = &line.embeddings {
            let usage = Usage { prompt: line.prompt_eval_count.unwrap_or(0), ..Usage::default() };
            progress.usage = Some(usage);
            progress.done = true;
            return Ok(self.reply.embeddings(vectors, self.base64, &usage));
        }
        if !line.done || self.kind == Kind::Embedding {
            return Err(garbage("the reply is not what Ollama answers"));
        }
        let finish = self.note(&line, progress);
        let usage = progress.usage.unwrap_or_default();
        if self.kind == Kind::Completion {
            return Ok(self.reply.completion(line.response.as_deref().unwrap_or(""), finish.as_deref(), &usage));
        }
        let message = line.message.ok_or_else(|| garbage("the reply has no message"))?;
        let mut shown = json!({"role": "assistant", "content": message.content});
        if let Some(thinking) = message.thinking.filter(|t| !t.is_empty()) {
            shown["reasoning_content"] = thinking.into();
        }
        if !message.tool_calls.is_empty() {
            let mut calls = self.tool_calls(&message.tool_calls);
            calls.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut).for_each(|c| drop(c.remove("index")));
            shown["tool_calls"] = calls;
            if shown["content"] == "" {
                shown["content"] = Value::Null;
            }
        }
        Ok(self.reply.message(shown, finish.as_deref(), &usage))
    }

    /// Notes counts and end; answers OpenAI's finish reason on the last line.
    fn note(&mut self, line: &Line, progress: &mut Progress) -> Option<String> {
        if !line.done {
            return None;
        }
        let usage = Usage { prompt: line.prompt_eval_count.unwrap_or(0), completion: line.eval_count.unwrap_or(0), cached: 0 };
        let calls = self.calls > 0 || line.message.as_ref().is_some_and(|m| !m.tool_calls.is_empty());
        let finish = match line.done_reason.as_deref() {
            Some("length") => "length",
            _ if calls => "tool_calls",
            Some(_) | None => "stop",
        };
        progress.usage = Some(usage);
        progress.finish = Some(finish.into());
        progress.done = true;
        Some(finish.to_owned())
    }
}

fn read(data: &[u8]) -> Result<Line, Failure> {
    let line: Line = serde_json::from_slice(data).map_err(|e| garbage(&format!("the reply is not the JSON that was expected: {e}")))?;
    match &line.error {
        Some(_) => Err(of_object(data)),
        None if line.message.is_none() && line.response.is_none() && line.embeddings.is_none() && !line.done => {
            Err(garbage("the reply has neither a message nor an end"))
        }
        None => Ok(line),
    }
}
