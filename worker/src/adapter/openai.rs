//! OpenAI's dialect, which is also the shape that Pullyard keeps: the body is spliced and never rebuilt, and what the
//! server says is passed on as it came.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use pullyard_schemas::job::Kind;
use pullyard_schemas::{Failure, FailureKind, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::{garbage, of_object};
use super::framing::{self, Frame, one_line};
use super::json::Fields;
use super::reply::{packed, unpacked};
use super::{Call, Chunk, Progress, Quirks, Wire, plain};

pub(super) fn request(call: &Call, quirks: Quirks) -> Result<Wire, Failure> {
    let fields = Fields::read(&call.body)?;
    fields.refuse_ollama()?;
    plain::check(&fields)?;
    let mut body = Vec::with_capacity(call.body.len() + 64);
    body.extend_from_slice(b"{\"model\":");
    string(&mut body, &call.model)?;
    for (name, value) in &fields.0 {
        let name: &str = match &**name {
            "model" | "stream" | "stream_options" => continue,
            // Under one name, the two would be one field twice.
            "max_tokens" if quirks.max_completion_tokens && fields.get("max_completion_tokens").is_some() => continue,
            "max_completion_tokens" if quirks.max_completion_tokens && *value == b"null" => continue,
            "max_tokens" if quirks.max_completion_tokens => "max_completion_tokens",
            name if fields.is_ours(name) => continue,
            name => name,
        };
        body.push(b',');
        string(&mut body, name)?;
        body.push(b':');
        body.extend_from_slice(&plain::field(&fields, name, value));
    }
    let stream = call.stream && call.kind != Kind::Embedding;
    if stream {
        body.extend_from_slice(b",\"stream\":true");
        if quirks.stream_usage {
            body.extend_from_slice(b",\"stream_options\":{\"include_usage\":true}");
        }
    }
    body.push(b'}');
    Ok(Wire { body: body.into(), framing: if stream { framing::Kind::Sse } else { framing::Kind::Whole }, headers: Vec::new() })
}

fn string(body: &mut Vec<u8>, text: &str) -> Result<(), Failure> {
    serde_json::to_writer(body, text).map_err(|e| Failure::new(FailureKind::BadRequest, e.to_string()))
}

/// What Pullyard reads of a reply or a chunk; the rest passes by.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<Tokens>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    /// vLLM's newer name for it; some versions send both, so this is no alias.
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize, Default)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl Tokens {
    fn usage(&self) -> Usage {
        Usage {
            prompt: self.prompt_tokens.unwrap_or(0),
            completion: self.completion_tokens.unwrap_or(0),
            cached: self.prompt_tokens_details.as_ref().and_then(|d| d.cached_tokens).unwrap_or(0),
        }
    }
}

fn filled(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|r| !matches!(r.get(), "null" | "\"\"" | "[]"))
}

impl Choice<'_> {
    fn has_content(&self) -> bool {
        let delta = self
            .delta
            .as_ref()
            .is_some_and(|d| [d.content, d.tool_calls, d.reasoning_content, d.reasoning, d.refusal].into_iter().any(filled));
        delta || filled(self.text) || self.message.is_some()
    }
}

#[derive(Debug)]
pub(super) struct Decoder {
    /// The form of vectors that the client decodes; `None` where there are none.
    base64: Option<bool>,
}

impl Decoder {
    pub(super) fn new(call: &Call) -> Self {
        Self { base64: (call.kind == Kind::Embedding).then(|| wants_base64(call)) }
    }

    pub(super) fn frame(&mut self, frame: Frame, progress: &mut Progress, out: &mut Vec<Chunk>) -> Result<(), Failure> {
        if &*frame.data == b"[DONE]" {
            progress.done = true;
            return Ok(());
        }
        if frame.data.is_empty() {
            return Ok(());
        }
        let seen = read(&frame.data, progress)?;
        let Some(choices) = &seen.choices else { return Ok(()) };
        // Azure opens with filters and no choices, and some servers keep alive with empty ones: clients break on them.
        if choices.is_empty() && seen.usage.is_none() {
            return Ok(());
        }
        let has_content = choices.iter().any(Choice::has_content);
        drop(seen);
        out.push(Chunk { data: one_line(frame.data), has_content });
        Ok(())
    }

    pub(super) fn whole(&mut self, body: Bytes, progress: &mut Progress) -> Result<Chunk, Failure> {
        let seen = read(&body, progress)?;
        if seen.choices.is_none() && seen.data.is_none() {
            return Err(garbage("the reply has neither `choices` nor `data`"));
        }
        drop(seen);
        progress.done = true;
        let body = match self.base64 {
            Some(base64) => in_form(body, base64)?,
            None => body,
        };
        Ok(Chunk { data: one_line(body), has_content: true })
    }
}

/// Whether the client asked for vectors in base64.
pub(super) fn wants_base64(call: &Call) -> bool {
    Fields::read(&call.body).ok().and_then(|fields| fields.get("encoding_format")) == Some(b"\"base64\"")
}

/// Some servers know one form of vectors only, and some clients decode the one that they asked for without looking.
fn in_form(body: Bytes, base64: bool) -> Result<Bytes, Failure> {
    const NAME: &[u8] = b"\"embedding\":";
    let form = memmem::find_iter(&body, NAME).find_map(|at| body[at + NAME.len()..].trim_ascii_start().first());
    if form.is_none_or(|first| (*first == b'"') == base64) {
        return Ok(body);
    }
    let mut reply: serde_json::Value = serde_json::from_slice(&body).map_err(|e| garbage(&e.to_string()))?;
    for item in reply.get_mut("data").and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
        if let Some(vector) = item.get_mut("embedding") {
            *vector = if base64 { packed(vector).into() } else { unpacked(vector)? };
        }
    }
    Ok(reply.to_string().into())
}

/// A whole reply as the one chunk of a stream: for servers that answer in one piece whatever they are asked.
pub(super) fn as_chunk(whole: &[u8]) -> Result<Bytes, Failure> {
    let mut reply: serde_json::Value = serde_json::from_slice(whole).map_err(|e| garbage(&e.to_string()))?;
    for choice in reply.get_mut("choices").and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
        if let Some(choice) = choice.as_object_mut()
            && let Some(mut message) = choice.remove("message")
        {
            let calls = message.get_mut("tool_calls").and_then(serde_json::Value::as_array_mut);
            for (index, call) in calls.into_iter().flatten().enumerate() {
                if let Some(call) = call.as_object_mut() {
                    call.insert("index".to_owned(), index.into());
                }
            }
            choice.insert("delta".to_owned(), message);
        }
    }
    if let Some(reply) = reply.as_object_mut()
        && reply.get("object").is_some_and(|o| o == "chat.completion")
    {
        reply.insert("object".to_owned(), "chat.completion.chunk".into());
    }
    Ok(reply.to_string().into())
}

fn read<'a>(data: &'a [u8], progress: &mut Progress) -> Result<Seen<'a>, Failure> {
    let text = std::str::from_utf8(data).map_err(|_| garbage("the reply is not valid UTF-8"))?;
    let seen: Seen<'_> = serde_json::from_str(text).map_err(|e| garbage(&format!("the reply is not the JSON that was expected: {e}")))?;
    if let Some(error) = seen.error.filter(|e| e.get() != "null") {
        return Err(of_object(error.get().as_bytes()));
    }
    if let Some(usage) = &seen.usage {
        progress.usage = Some(usage.usage());
    }
    if let Some(finish) = seen.choices.iter().flatten().find_map(|c| c.finish_reason.as_deref()) {
        progress.finish = Some(finish.into());
    }
    Ok(seen)
}
