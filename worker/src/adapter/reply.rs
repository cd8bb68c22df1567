//! OpenAI-shaped replies for servers that speak otherwise.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pullyard_schemas::{Failure, Usage};
use serde_json::{Map, Value, json};

use super::failure::garbage;
use super::{Call, Chunk};

/// What every chunk of a reply repeats.
#[derive(Debug)]
pub(super) struct Reply {
    id: String,
    model: Arc<str>,
    created: u64,
}

impl Reply {
    pub(super) fn new(call: &Call) -> Self {
        Self { id: call.id.clone(), model: call.model.clone(), created: call.created }
    }

    /// A piece of a chat message.
    pub(super) fn delta(&self, delta: Value, finish: Option<&str>) -> Chunk {
        self.likely_delta(delta, finish, None)
    }

    /// The same, with the log probabilities of its tokens.
    pub(super) fn likely_delta(&self, delta: Value, finish: Option<&str>, probabilities: Option<Value>) -> Chunk {
        let filled = |name: &str| delta.get(name).is_some_and(|v| !v.is_null() && v.as_str() != Some(""));
        let has_content = filled("content") || filled("tool_calls") || filled("reasoning_content");
        let mut choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        if let Some(probabilities) = probabilities {
            choice["logprobs"] = json!({"content": probabilities});
        }
        self.chunk(json!([choice]), "chat.completion.chunk", None, has_content)
    }

    /// A piece of a completion's text.
    pub(super) fn text(&self, text: &str, finish: Option<&str>, probabilities: Option<Value>) -> Chunk {
        let (has_content, logprobs) = (!text.is_empty(), probabilities.map(|content| json!({"content": content})));
        self.chunk(json!([{"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish}]), "text_completion", None, has_content)
    }

    /// The last chunk of a stream.
    pub(super) fn usage(&self, usage: &Usage, object: &str) -> Chunk {
        self.chunk(json!([]), object, Some(usage), false)
    }

    /// A whole chat reply.
    pub(super) fn message(&self, message: Value, finish: Option<&str>, usage: &Usage) -> Chunk {
        self.likely_message(message, finish, usage, None)
    }

    /// The same, with the log probabilities of its tokens.
    pub(super) fn likely_message(&self, message: Value, finish: Option<&str>, usage: &Usage, probabilities: Option<Value>) -> Chunk {
        let logprobs = probabilities.map(|content| json!({"content": content}));
        self.chunk(
            json!([{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish}]),
            "chat.completion",
            Some(usage),
            true,
        )
    }

    /// A whole completion.
    pub(super) fn completion(&self, text: &str, finish: Option<&str>, usage: &Usage, probabilities: Option<Value>) -> Chunk {
        let logprobs = probabilities.map(|content| json!({"content": content}));
        let choices = json!([{"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish}]);
        self.chunk(choices, "text_completion", Some(usage), true)
    }

    /// Vectors, as numbers or as base64 of little-endian floats, as the client asked.
    pub(super) fn embeddings(&self, vectors: &[Value], base64: bool, usage: &Usage) -> Chunk {
        let data: Vec<Value> = vectors
            .iter()
            .enumerate()
            .map(|(index, vector)| {
                let vector = if base64 { Value::String(packed(vector)) } else { vector.clone() };
                json!({"object": "embedding", "index": index, "embedding": vector})
            })
            .collect();
        let reply = json!({
            "object": "list", "data": data, "model": &*self.model,
            "usage": {"prompt_tokens": usage.prompt, "total_tokens": usage.prompt},
        });
        Chunk { data: reply.to_string().into(), has_content: true }
    }

    /// The chunk with a field more, which is JSON.
    pub(super) fn with(chunk: Chunk, name: &str, raw: &str) -> Chunk {
        let Chunk { data, has_content } = chunk;
        let mut longer = data.strip_suffix(b"}").unwrap_or(&data).to_vec();
        longer.extend_from_slice(format!(",\"{name}\":{raw}}}").as_bytes());
        Chunk { data: longer.into(), has_content }
    }

    fn chunk(&self, choices: Value, object: &str, usage: Option<&Usage>, has_content: bool) -> Chunk {
        let mut chunk = Map::new();
        chunk.insert("id".to_owned(), self.id.as_str().into());
        chunk.insert("object".to_owned(), object.into());
        chunk.insert("created".to_owned(), self.created.into());
        chunk.insert("model".to_owned(), (&*self.model).into());
        chunk.insert("choices".to_owned(), choices);
        if let Some(usage) = usage {
            let total = usage.prompt + usage.completion;
            let mut shown = json!({"prompt_tokens": usage.prompt, "completion_tokens": usage.completion, "total_tokens": total});
            if usage.cached > 0 {
                shown["prompt_tokens_details"] = json!({"cached_tokens": usage.cached});
            }
            chunk.insert("usage".to_owned(), shown);
        }
        Chunk { data: Value::Object(chunk).to_string().into(), has_content }
    }
}

/// A vector as base64 of little-endian floats.
pub(super) fn packed(vector: &Value) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "embeddings are 32-bit floats on the wire")]
    let floats = vector.as_array().into_iter().flatten().filter_map(Value::as_f64).map(|f| f as f32);
    let bytes: Vec<u8> = floats.flat_map(f32::to_le_bytes).collect();
    STANDARD.encode(bytes)
}

/// The numbers of a vector in base64.
pub(super) fn unpacked(vector: &Value) -> Result<Value, Failure> {
    let bytes = STANDARD.decode(vector.as_str().unwrap_or_default()).map_err(|e| garbage(&format!("a vector is no base64: {e}")))?;
    let (floats, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(garbage("a vector has half a number at its end"));
    }
    Ok(floats.iter().map(|float| f32::from_le_bytes(*float)).collect())
}
