//! Conversations in Ollama's shape: texts with images beside them, and tools by name.

use pullyard_schemas::Failure;
use serde_json::{Value, json};

use super::super::json::Fields;
use super::super::plain;
use super::refused;

pub(super) fn messages(fields: &Fields<'_>) -> Result<Value, Failure> {
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
    if let Some(thinking) = message.get("reasoning_content").filter(|_| role == "assistant") {
        shown["thinking"] = thinking.clone();
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
