//! Where a reply goes on behind an earlier attempt's: clients see one reply, with one beginning and nothing twice.

use serde_json::{Map, Value};

use super::Chunk;
use super::resume::Said;

/// A reply that begins with so many bytes of the text so far repeats it; fewer may be chance.
const ECHO: usize = 16;

/// What is done to each chunk of a reply that goes on behind another.
#[derive(Debug)]
pub(super) struct Seam {
    head: Map<String, Value>,
    /// What the reply may begin with and must not be said again: all of the text, or the white space at its end, which
    /// was not sent. Empty once that is settled.
    echoes: Vec<String>,
    /// The reply's text so far, while it may still be an echo, and the chunks that it came in.
    heard: String,
    held: Vec<Map<String, Value>>,
}

impl Seam {
    pub(super) fn new(said: Said) -> Self {
        let blank = said.text[said.text.trim_end().len()..].to_owned();
        let whole = if said.text.len() < ECHO { String::new() } else { said.text };
        let echoes = [whole, blank].into_iter().filter(|echo| !echo.is_empty()).collect();
        Self { head: said.head, echoes, heard: String::new(), held: Vec::new() }
    }

    /// What a client gets of this chunk, and of those that were held back before it.
    pub(super) fn pass(&mut self, chunk: Chunk) -> Vec<Chunk> {
        let Ok(Value::Object(mut object)) = serde_json::from_slice(&chunk.data) else { return vec![chunk] };
        for (name, value) in &self.head {
            object.insert(name.clone(), value.clone());
        }
        for choice in choices(&mut object) {
            if let Some(delta) = choice.get_mut("delta").and_then(Value::as_object_mut) {
                delta.remove("role");
            }
        }
        if self.echoes.is_empty() {
            return shown(object).into_iter().collect();
        }
        let Some(text) = text(&mut object).map(|text| text.clone()).filter(|text| !text.is_empty()) else {
            // Nothing but a beginning, as long as it is empty; anything else says that the text is over.
            if is_hollow(&mut object) {
                return Vec::new();
            }
            self.held.push(object);
            return self.rest();
        };
        self.heard.push_str(&text);
        self.held.push(object);
        if self.echoes.iter().any(|echo| echo.len() > self.heard.len() && echo.starts_with(&self.heard)) {
            return Vec::new();
        }
        let echo = self.echoes.iter().filter(|echo| self.heard.starts_with(echo.as_str())).map(String::len).max();
        if let Some(echo) = echo
            && let Some(mut last) = self.held.pop()
        {
            self.held.clear();
            if let Some(text) = self::text(&mut last) {
                self.heard[echo..].clone_into(text);
            }
            self.held.push(last);
        }
        self.rest()
    }

    /// What is still held back when the reply ends: it was no echo.
    pub(super) fn rest(&mut self) -> Vec<Chunk> {
        self.echoes.clear();
        std::mem::take(&mut self.held).into_iter().filter_map(shown).collect()
    }
}

fn choices(chunk: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    chunk.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The text that a chunk adds to the reply.
fn text(chunk: &mut Map<String, Value>) -> Option<&mut String> {
    let choice = choices(chunk).next()?;
    let text = if choice.contains_key("delta") { choice.get_mut("delta")?.get_mut("content") } else { choice.get_mut("text") };
    match text? {
        Value::String(text) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether a chunk says nothing: not even that the reply has ended, or what it used.
fn is_hollow(chunk: &mut Map<String, Value>) -> bool {
    let empty = |value: &Value| value.is_null() || value == "";
    let used = chunk.get("usage").is_some_and(|usage| !usage.is_null());
    let mut any = false;
    let said = choices(chunk).any(|choice| {
        any = true;
        let delta = choice.get("delta").and_then(Value::as_object).is_some_and(|delta| !delta.values().all(empty));
        delta || ["text", "message", "finish_reason"].into_iter().any(|name| choice.get(name).is_some_and(|value| !empty(value)))
    });
    any && !said && !used
}

fn shown(mut chunk: Map<String, Value>) -> Option<Chunk> {
    if is_hollow(&mut chunk) {
        return None;
    }
    let has_content = choices(&mut chunk).any(|choice| {
        let filled = |value: &Value| !value.is_null() && value != "" && value.as_array().is_none_or(|list| !list.is_empty());
        let delta = choice.get("delta").and_then(Value::as_object).is_some_and(|delta| delta.values().any(filled));
        delta || choice.get("text").is_some_and(filled) || choice.contains_key("message")
    });
    Some(Chunk { data: Value::Object(chunk).to_string().into(), has_content })
}
