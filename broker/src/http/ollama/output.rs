//! What is read of the canonical output: borrowed, because it is read once for each chunk.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A chunk, or a whole reply.
#[derive(Deserialize)]
pub(super) struct Output<'a> {
    #[serde(borrow, default)]
    pub(super) choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    pub(super) usage: Option<Counts>,
    /// What an Ollama server measured.
    #[serde(default)]
    pub(super) ollama: Option<Timings>,
    #[serde(borrow, default)]
    pub(super) data: Option<Vec<Vector<'a>>>,
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(borrow, default, alias = "message")]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    pub(super) text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) logprobs: Option<Probabilities<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, default)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) reasoning_content: Option<&'a RawValue>,
    /// Another name for it; some servers send both.
    #[serde(borrow, default)]
    pub(super) reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) tool_calls: Option<Vec<Piece<'a>>>,
}

/// A tool call or a fragment of one.
#[derive(Deserialize)]
pub(super) struct Piece<'a> {
    #[serde(default)]
    pub(super) index: Option<u32>,
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) function: Option<Named<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Named<'a> {
    #[serde(borrow, default)]
    pub(super) name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) arguments: Option<Cow<'a, str>>,
}

/// Ollama's are a list of the same objects.
#[derive(Deserialize)]
pub(super) struct Probabilities<'a> {
    #[serde(borrow, default)]
    pub(super) content: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    pub(super) prompt_tokens: Option<u64>,
    pub(super) completion_tokens: Option<u64>,
}

/// In nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Timings {
    pub(super) total_duration: u64,
    pub(super) load_duration: u64,
    pub(super) prompt_eval_duration: u64,
    pub(super) eval_duration: u64,
}

#[derive(Deserialize)]
pub(super) struct Vector<'a> {
    #[serde(borrow)]
    pub(super) embedding: &'a RawValue,
}

/// A text that has something in it, as JSON.
pub(super) fn filled(raw: Option<&RawValue>) -> Option<&str> {
    raw.map(RawValue::get).filter(|raw| raw.starts_with('"') && *raw != "\"\"")
}

impl<'a> Delta<'a> {
    pub(super) fn thinking(&self) -> Option<&'a str> {
        filled(self.reasoning_content).or_else(|| filled(self.reasoning))
    }

    pub(super) fn said(&self) -> Option<&'a str> {
        filled(self.content).or_else(|| filled(self.refusal))
    }
}
