//! What Ollama answers, in OpenAI's shape.

use pullyard_schemas::job::Kind;
use pullyard_schemas::{Failure, Usage};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::failure::{garbage, of_object};
use super::super::framing::Frame;
use super::super::openai::wants_base64;
use super::super::reply::Reply;
use super::super::{Call, Chunk, Progress};
use super::forced::Forced;

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
    #[serde(default)]
    logprobs: Option<Value>,
    #[serde(flatten)]
    timings: Timings,
}

/// In nanoseconds, as Ollama measured.
#[derive(Deserialize, Serialize, Clone, Copy, Default)]
#[serde(default)]
struct Timings {
    #[serde(skip_serializing_if = "Option::is_none")]
    total_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_duration: Option<u64>,
}

impl Timings {
    /// Adds them to the chunk that has the counts.
    fn onto(self, chunk: Chunk) -> Chunk {
        if self.total_duration.is_none() {
            return chunk;
        }
        Reply::with(chunk, "ollama", &json!(self).to_string())
    }
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
pub(in super::super) struct Decoder {
    reply: Reply,
    kind: Kind,
    base64: bool,
    first: bool,
    /// Tool calls so far: each has its index in OpenAI's stream.
    calls: usize,
    id: String,
    /// The tool whose arguments the text is.
    forced: Option<String>,
}

impl Decoder {
    pub(in super::super) fn new(call: &Call) -> Self {
        let base64 = call.kind == Kind::Embedding && wants_base64(call);
        let forced = Forced::of(call);
        Self { reply: Reply::new(call), kind: call.kind, base64, first: true, calls: 0, id: call.id.clone(), forced }
    }

    pub(in super::super) fn frame(&mut self, frame: &Frame, progress: &mut Progress, out: &mut Vec<Chunk>) -> Result<(), Failure> {
        let mut line = read(&frame.data)?;
        let finish = self.note(&line, progress);
        let probabilities = line.logprobs.take();
        if self.kind == Kind::Completion {
            out.push(self.reply.text(line.response.as_deref().unwrap_or(""), finish.as_deref(), probabilities));
        } else if let Some(delta) = self.delta(line.message, finish.is_some()) {
            out.push(self.reply.likely_delta(delta, finish.as_deref(), probabilities));
        }
        if line.done {
            let object = if self.kind == Kind::Completion { "text_completion" } else { "chat.completion.chunk" };
            out.push(line.timings.onto(self.reply.usage(&progress.usage.unwrap_or_default(), object)));
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
        if let Some(mut message) = message {
            if let Some(call) = self.forced_call(&mut message.content) {
                delta.insert("tool_calls".to_owned(), json!([call]));
            }
            if let Some(thinking) = message.thinking.filter(|t| !t.is_empty()) {
                delta.insert("reasoning_content".to_owned(), thinking.into());
            }
            let bare = message.tool_calls.is_empty() && !delta.contains_key("tool_calls");
            if !message.content.is_empty() || (bare && !delta.is_empty() && !last) {
                delta.insert("content".to_owned(), message.content.into());
            }
            if !message.tool_calls.is_empty() {
                let calls = self.tool_calls(&message.tool_calls);
                delta.insert("tool_calls".to_owned(), calls);
            }
        }
        (!delta.is_empty() || last).then_some(Value::Object(delta))
    }

    /// Takes the text, where it is a part of a call's arguments.
    fn forced_call(&mut self, content: &mut String) -> Option<Value> {
        let name = self.forced.as_ref().filter(|_| !content.is_empty())?;
        let arguments = std::mem::take(content);
        let begins = self.calls == 0;
        self.calls = 1;
        Some(if begins {
            json!({"index": 0, "id": format!("call_{}_0", self.id), "type": "function", "function": {"name": name, "arguments": arguments}})
        } else {
            json!({"index": 0, "function": {"arguments": arguments}})
        })
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

    pub(in super::super) fn whole(&mut self, body: &[u8], progress: &mut Progress) -> Result<Chunk, Failure> {
        let mut line = read(body)?;
        if let Some(vectors) = &line.embeddings {
            let usage = Usage { prompt: line.prompt_eval_count.unwrap_or(0), ..Usage::default() };
            progress.usage = Some(usage);
            progress.done = true;
            return Ok(line.timings.onto(self.reply.embeddings(vectors, self.base64, &usage)));
        }
        if !line.done || self.kind == Kind::Embedding {
            return Err(garbage("the reply is not what Ollama answers"));
        }
        let finish = self.note(&line, progress);
        let usage = progress.usage.unwrap_or_default();
        let probabilities = line.logprobs.take();
        if self.kind == Kind::Completion {
            let text = line.response.as_deref().unwrap_or("");
            return Ok(line.timings.onto(self.reply.completion(text, finish.as_deref(), &usage, probabilities)));
        }
        let mut message = line.message.take().ok_or_else(|| garbage("the reply has no message"))?;
        let forced = self.forced_call(&mut message.content);
        let mut shown = json!({"role": "assistant", "content": message.content});
        if let Some(thinking) = message.thinking.filter(|t| !t.is_empty()) {
            shown["reasoning_content"] = thinking.into();
        }
        if forced.is_some() || !message.tool_calls.is_empty() {
            let mut calls = forced.map_or_else(|| self.tool_calls(&message.tool_calls), |call| json!([call]));
            calls.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut).for_each(|c| drop(c.remove("index")));
            shown["tool_calls"] = calls;
            if shown["content"] == "" {
                shown["content"] = Value::Null;
            }
        }
        Ok(line.timings.onto(self.reply.likely_message(shown, finish.as_deref(), &usage, probabilities)))
    }

    /// Notes counts and end; answers OpenAI's finish reason on the last line.
    fn note(&mut self, line: &Line, progress: &mut Progress) -> Option<String> {
        if !line.done {
            return None;
        }
        let usage = Usage { prompt: line.prompt_eval_count.unwrap_or(0), completion: line.eval_count.unwrap_or(0), cached: 0 };
        let calls = self.calls > 0
            || line.message.as_ref().is_some_and(|m| !m.tool_calls.is_empty() || (self.forced.is_some() && !m.content.is_empty()));
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
