//! Going on behind the output of an earlier attempt: the request ends with what has been said, and the reply's chunks are
//! made to follow it as if nothing had happened in between.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use pullyard_schemas::job::Kind;
use pullyard_schemas::{Failure, FailureKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::json::Fields;
use super::{Call, Prefill};

/// With one of these, what a server generates must be well-formed from its first character on.
const SHAPED: [&str; 9] = [
    "format",
    "grammar",
    "json_schema",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "structural_tag",
];

pub(super) fn cannot(why: &str) -> Failure {
    Failure::new(FailureKind::CannotContinue, format!("cannot continue the text that broke off: {why}"))
}

/// What has been said so far.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) text: String,
    /// Chunks with text: as many tokens, as nearly every server streams them.
    tokens: u64,
    /// The reply had ended, and only the server's last words were missing.
    pub(super) finish: Option<Arc<str>>,
    /// What every chunk of a reply repeats.
    pub(super) head: Map<String, Value>,
}

impl Said {
    /// From the chunks of earlier attempts, one per line.
    pub(super) fn read(lines: &[u8]) -> Result<Self, Failure> {
        let mut said = Self::default();
        for line in lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let Ok(Value::Object(chunk)) = serde_json::from_slice(line) else { return Err(cannot("it cannot be read")) };
            if said.head.is_empty() {
                said.head = chunk.iter().filter(|(name, _)| matches!(name.as_str(), "id" | "created" | "model")).map(own).collect();
            }
            if let Some(aside) = chunk.get("anthropic")
                && (aside.get("delta").is_some() || aside.pointer("/start/type").is_some_and(|kind| kind != "text"))
            {
                return Err(cannot("it holds more than text"));
            }
            for choice in chunk.get("choices").and_then(Value::as_array).into_iter().flatten() {
                said.choice(choice)?;
            }
        }
        Ok(said)
    }

    fn choice(&mut self, choice: &Value) -> Result<(), Failure> {
        let delta = choice.get("delta").and_then(Value::as_object);
        let text = delta.and_then(|delta| delta.get("content")).or_else(|| choice.get("text")).and_then(Value::as_str).unwrap_or("");
        let other = delta.into_iter().flatten().any(|(name, value)| !matches!(name.as_str(), "role" | "content") && is_filled(value));
        if other {
            return Err(cannot("it holds more than text"));
        }
        if !text.is_empty() {
            if choice.get("index").and_then(Value::as_u64).unwrap_or(0) > 0 {
                return Err(cannot("it is one of several"));
            }
            self.text.push_str(text);
            self.tokens += 1;
        }
        if let Some(finish) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish = Some(finish.into());
        }
        Ok(())
    }

    /// The client's request with the text so far at its end.
    pub(super) fn behind(&self, call: &Call, prefill: Prefill) -> Result<Bytes, Failure> {
        if self.text.is_empty() {
            return Ok(call.body.clone());
        }
        let fields = Fields::read(&call.body)?;
        self.check(&fields)?;
        let text = match prefill {
            Prefill::None => return Err(cannot("the server is not known to take the beginning of its reply (`quirks.prefill`)")),
            // It refuses a text with white space at its end.
            Prefill::Trimmed => self.text.trim_end(),
            Prefill::Native | Prefill::Vllm => &self.text,
        };
        let place = match call.kind {
            Kind::Chat => "messages",
            Kind::Completion => "prompt",
            Kind::Embedding => return Err(cannot("it is no text")),
        };
        let mut body = Vec::with_capacity(call.body.len() + text.len() + 128);
        for (name, value) in &fields.0 {
            let value: Cow<'_, [u8]> = match &**name {
                "messages" if place == "messages" => with_message(value, text)?.into(),
                "prompt" if place == "prompt" => with_prompt(value, text)?.into(),
                "max_tokens" | "max_completion_tokens" => self.fewer(value),
                "continue_final_message" | "add_generation_prompt" if prefill == Prefill::Vllm => continue,
                _ => Cow::Borrowed(value),
            };
            field(&mut body, name, &value);
        }
        if prefill == Prefill::Vllm && call.kind == Kind::Chat {
            field(&mut body, "continue_final_message", b"true");
            field(&mut body, "add_generation_prompt", b"false");
        }
        body.push(b'}');
        Ok(body.into())
    }

    fn check(&self, fields: &Fields<'_>) -> Result<(), Failure> {
        for name in ["n", "best_of"] {
            if fields.value(name)?.is_some_and(|n| n != 1) {
                return Err(cannot("it is one of several"));
            }
        }
        let shaped = fields.value("response_format")?.is_some_and(|format| format.get("type").is_some_and(|t| t != "text"));
        if shaped || SHAPED.iter().any(|name| fields.get(name).is_some()) {
            return Err(cannot("it has a prescribed form, which a server keeps to from the first character on"));
        }
        if fields.get("echo") == Some(b"true") {
            return Err(cannot("it begins with the prompt"));
        }
        Ok(())
    }

    /// What is left of a limit on tokens.
    fn fewer<'a>(&self, limit: &'a [u8]) -> Cow<'a, [u8]> {
        match serde_json::from_slice::<u64>(limit) {
            Ok(limit) => limit.saturating_sub(self.tokens).max(1).to_string().into_bytes().into(),
            Err(_) => limit.into(),
        }
    }
}

fn own((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn field(body: &mut Vec<u8>, name: &str, value: &[u8]) {
    body.push(if body.is_empty() { b'{' } else { b',' });
    body.extend_from_slice(Value::from(name).to_string().as_bytes());
    body.push(b':');
    body.extend_from_slice(value);
}

/// The messages with one of the assistant's behind them.
fn with_message(messages: &[u8], text: &str) -> Result<Vec<u8>, Failure> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow, default)]
        role: Cow<'a, str>,
    }
    let all: Vec<Message<'_>> = serde_json::from_slice(messages).map_err(|e| cannot(&format!("the messages cannot be read ({e})")))?;
    // Some servers go on behind such a message, some begin a new one: what this one did with it is not known.
    if all.last().is_none_or(|last| last.role == "assistant") {
        return Err(cannot("the request itself ends with a message of the assistant"));
    }
    let end = messages.iter().rposition(|b| *b == b']').unwrap_or(messages.len());
    let message = serde_json::json!({"role": "assistant", "content": text}).to_string();
    Ok([&messages[..end], b",", message.as_bytes(), b"]"].concat())
}

fn with_prompt(prompt: &[u8], text: &str) -> Result<Vec<u8>, Failure> {
    let prompt = match serde_json::from_slice(prompt) {
        Ok(Value::String(prompt)) => prompt,
        Ok(Value::Array(list)) if list.len() == 1 && list[0].is_string() => list[0].as_str().unwrap_or_default().to_owned(),
        Ok(_) | Err(_) => return Err(cannot("the prompt is not one text")),
    };
    Ok(Value::from(prompt + text).to_string().into_bytes())
}
