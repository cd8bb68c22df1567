//! A stream's chunks, folded into the response that a client which does not stream expects.

use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Whether a chunk carries usage and no choice.
pub(crate) fn is_usage_only(chunk: &[u8]) -> bool {
    memchr::memmem::find(chunk, b"\"choices\":[]").is_some()
}

/// One JSON object: the chunks' text, tool calls and log probabilities joined per choice.
pub(crate) fn response(lines: &[u8]) -> Bytes {
    let mut folded = Folded::default();
    for line in lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        if let Ok(Value::Object(chunk)) = serde_json::from_slice(line) {
            folded.add(chunk);
        }
    }
    Bytes::from(folded.finish().to_string())
}

#[derive(Default)]
struct Folded {
    head: Map<String, Value>,
    choices: Vec<Map<String, Value>>,
    text: bool,
}

impl Folded {
    fn add(&mut self, mut chunk: Map<String, Value>) {
        let choices = chunk.remove("choices");
        self.text |= chunk.get("object").and_then(Value::as_str) == Some("text_completion");
        for (name, value) in chunk {
            // What an API of the broker is told aside is no part of the reply.
            if !value.is_null() && name != "anthropic" {
                self.head.insert(name, value);
            }
        }
        let Some(Value::Array(choices)) = choices else { return };
        for choice in choices {
            if let Value::Object(choice) = choice {
                self.choice(choice);
            }
        }
    }

    fn choice(&mut self, mut choice: Map<String, Value>) {
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        // A backend that lies about indices must not make us allocate.
        let index = usize::try_from(index.min(127)).unwrap_or(0);
        while self.choices.len() <= index {
            let next = self.choices.len();
            self.choices.push(Map::from_iter([("index".to_owned(), json!(next))]));
        }
        let Some(into) = self.choices.get_mut(index) else { return };
        // A whole message is a stream of one.
        let delta = choice.remove("delta").or_else(|| choice.remove("message"));
        for (name, value) in choice {
            match (name.as_str(), value) {
                ("index", _) | (_, Value::Null) => {}
                ("text", value) => join(into, "text", value),
                ("logprobs", Value::Object(more)) => {
                    let probs = into.entry("logprobs").or_insert_with(|| json!({}));
                    if let Value::Object(probs) = probs {
                        more.into_iter().for_each(|(n, v)| join(probs, &n, v));
                    }
                }
                (_, value) => drop(into.insert(name, value)),
            }
        }
        if let Some(Value::Object(delta)) = delta {
            let message = into.entry("message").or_insert_with(|| json!({"role": "assistant", "content": null}));
            if let Value::Object(message) = message {
                merge(message, delta);
            }
        }
    }

    fn finish(self) -> Value {
        let mut head = self.head;
        head.insert("object".to_owned(), json!(if self.text { "text_completion" } else { "chat.completion" }));
        let choices = self.choices.into_iter().map(|mut choice| {
            choice.entry("finish_reason").or_insert(Value::Null);
            choice.entry("logprobs").or_insert(Value::Null);
            Value::Object(choice)
        });
        head.insert("choices".to_owned(), choices.collect());
        Value::Object(head)
    }
}

fn merge(message: &mut Map<String, Value>, delta: Map<String, Value>) {
    for (name, value) in delta {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("role", value) => drop(message.insert(name, value)),
            ("tool_calls", Value::Array(calls)) => tool_calls(message, calls),
            (_, value) => join(message, &name, value),
        }
    }
}

/// Fragments of a call share its index; name and id come once, arguments in pieces.
fn tool_calls(message: &mut Map<String, Value>, calls: Vec<Value>) {
    let Value::Array(into) = message.entry("tool_calls").or_insert_with(|| json!([])) else { return };
    for call in calls {
        let Value::Object(mut call) = call else { continue };
        let index = call.remove("index").and_then(|i| i.as_u64()).map_or(into.len(), |i| usize::try_from(i.min(127)).unwrap_or(0));
        while into.len() <= index {
            into.push(json!({}));
        }
        let Some(Value::Object(known)) = into.get_mut(index) else { continue };
        for (name, value) in call {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("function", Value::Object(function)) => {
                    if let Value::Object(known) = known.entry("function").or_insert_with(|| json!({})) {
                        function
                            .into_iter()
                            .for_each(|(n, v)| if n == "arguments" { join(known, &n, v) } else { drop(known.insert(n, v)) });
                    }
                }
                (_, value) => drop(known.insert(name, value)),
            }
        }
    }
}

fn join(into: &mut Map<String, Value>, name: &str, more: Value) {
    match (into.get_mut(name), more) {
        (Some(Value::String(have)), Value::String(more)) => have.push_str(&more),
        (Some(Value::Array(have)), Value::Array(more)) => have.extend(more),
        (_, Value::Null) => {}
        (_, more) => drop(into.insert(name.to_owned(), more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(lines: &[Value]) -> Value {
        let text: String = lines.iter().map(|l| format!("{l}\n")).collect();
        serde_json::from_slice(&response(text.as_bytes())).unwrap()
    }

    #[test]
    fn text_and_usage_are_joined() {
        let whole = fold(&[
            json!({"id": "a", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "He"}, "finish_reason": null}]}),
            json!({"id": "a", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "llo"}, "finish_reason": "stop"}]}),
            json!({"id": "a", "object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 3}}),
        ]);
        assert_eq!(whole["choices"][0]["message"], json!({"role": "assistant", "content": "Hello"}));
        assert_eq!(whole["choices"][0]["finish_reason"], "stop");
        assert_eq!(whole["usage"]["total_tokens"], 3);
        assert_eq!(whole["object"], "chat.completion");
    }

    #[test]
    fn tool_call_fragments_are_joined_by_index() {
        let call = |d: Value| json!({"choices": [{"index": 0, "delta": {"tool_calls": [d]}}]});
        let whole = fold(&[
            call(json!({"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\""}})),
            call(json!({"index": 0, "function": {"arguments": ":1}"}})),
            call(json!({"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}})),
        ]);
        let calls = &whole["choices"][0]["message"]["tool_calls"];
        assert_eq!(calls[0]["function"]["arguments"], "{\"a\":1}");
        assert_eq!(calls[1]["id"], "c2");
    }

    #[test]
    fn wild_indices_do_not_allocate() {
        let whole = fold(&[json!({"choices": [{"index": 4_000_000_000u64, "delta": {"content": "x"}}]})]);
        assert!(whole["choices"].as_array().unwrap().len() <= 128);
    }
}
