//! A request through Anthropic's own API, for servers that do not speak its language: without marks that they would refuse,
//! with texts in one piece, which all of them take, and with the system's words at the beginning, where templates of many
//! local models want them and fail otherwise.

use std::borrow::Cow;

use memchr::memmem;
use pullyard_schemas::{Failure, FailureKind};
use serde::Deserialize;
use serde_json::Value;

use super::json::Fields;

/// Refuses, by its place, what only Anthropic's models take.
pub(super) fn check(fields: &Fields<'_>) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Extra {
        #[serde(default)]
        only: Vec<String>,
    }
    let extra: Option<Extra> = fields.take("anthropic")?;
    match extra.as_ref().map(|extra| extra.only.as_slice()) {
        None | Some([]) => Ok(()),
        Some(only) => Err(Failure::new(FailureKind::BadRequest, format!("only Anthropic's own models take {}", only.join(", ")))),
    }
}

/// A field of such a request as it is sent.
pub(super) fn field<'a>(fields: &Fields<'_>, name: &str, value: &'a [u8]) -> Cow<'a, [u8]> {
    let has = |what: &[u8]| memmem::find(value, what).is_some();
    // Quotes inside of a text are escaped.
    let interrupted = || memmem::find_iter(value, b"{\"role\":\"system\"").any(|at| at > 1);
    let marked = || has(b"\"cache_control\":") || (name == "messages" && (has(b"\"content\":[") || interrupted()));
    if !matches!(name, "messages" | "tools") || fields.get("anthropic").is_none() || !marked() {
        return value.into();
    }
    let Ok(Value::Array(mut list)) = serde_json::from_slice(value) else { return value.into() };
    for one in &mut list {
        unmark(one);
        for below in ["content", "tool_calls"] {
            one.get_mut(below).and_then(Value::as_array_mut).into_iter().flatten().for_each(unmark);
        }
        if let Some(content) = one.get_mut("content") {
            join(content);
        }
    }
    let list = if name == "messages" { in_order(list) } else { list };
    Value::Array(list).to_string().into_bytes().into()
}

/// What the system says in between is said by the user, in a frame that tells it apart.
fn in_order(messages: Vec<Value>) -> Vec<Value> {
    let mut list: Vec<Value> = Vec::with_capacity(messages.len());
    for mut message in messages {
        let role = |message: &Value| message.get("role").and_then(Value::as_str).map(str::to_owned);
        let before = list.last().and_then(role);
        let (Some("system"), Some(before)) = (role(&message).as_deref(), before.as_deref()) else {
            list.push(message);
            continue;
        };
        let text = message.get("content").and_then(Value::as_str).unwrap_or_default();
        let text = if before == "system" { text.to_owned() } else { format!("<system>\n{text}\n</system>") };
        match (before, list.last_mut().and_then(|last| last.get_mut("content"))) {
            ("system" | "user", Some(Value::String(said))) => *said = format!("{said}\n\n{text}"),
            ("user", Some(Value::Array(parts))) => parts.push(serde_json::json!({"type": "text", "text": text})),
            _ => {
                message["role"] = "user".into();
                message["content"] = text.into();
                list.push(message);
            }
        }
    }
    list
}

fn unmark(value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.remove("cache_control");
    }
}

fn join(content: &mut Value) {
    let Some(parts) = content.as_array() else { return };
    let texts: Option<Vec<&str>> =
        parts.iter().map(|part| part.get("text").filter(|_| part.get("type").is_some_and(|kind| kind == "text"))?.as_str()).collect();
    if let Some(texts) = texts {
        *content = texts.join("\n").into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_go_and_texts_are_joined_only_where_the_client_speaks_anthropic() {
        let part = json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}});
        let image = json!({"type": "image_url", "image_url": {"url": "x"}, "cache_control": {}});
        let mut body = json!({"messages": [
            {"role": "system", "content": [part, {"type": "text", "text": "b"}]},
            {"role": "user", "content": [image]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "cache_control": {}}]},
            {"role": "tool", "content": "c", "cache_control": {}},
        ]});
        let sent = |body: &Value| -> Value {
            let raw = body.to_string();
            let fields = Fields::read(raw.as_bytes()).unwrap();
            serde_json::from_slice(&field(&fields, "messages", fields.get("messages").unwrap())).unwrap()
        };
        assert_eq!(sent(&body), body["messages"]);
        body["anthropic"] = json!({});
        assert_eq!(
            sent(&body),
            json!([
                {"role": "system", "content": "a\nb"},
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
                {"role": "assistant", "content": null, "tool_calls": [{"id": "1"}]},
                {"role": "tool", "content": "c"},
            ])
        );
    }

    #[test]
    fn what_the_system_says_in_between_is_said_by_the_user() {
        let turn = |role: &str, content: &Value| json!({"role": role, "content": content});
        let said = |role: &str, text: &str| turn(role, &text.into());
        let image = json!([{"type": "image_url", "image_url": {"url": "x"}}]);
        let messages = [
            said("system", "a"),
            said("system", "b"),
            said("user", "c"),
            said("system", "d"),
            said("assistant", "e"),
            turn("user", &image),
            said("system", "f"),
            said("tool", "g"),
            said("system", "h"),
        ];
        let list: Vec<String> = messages.iter().map(|m| format!(r#"{{"role":{},"content":{}}}"#, m["role"], m["content"])).collect();
        let body = format!(r#"{{"messages":[{}],"anthropic":{{}}}}"#, list.join(","));
        let fields = Fields::read(body.as_bytes()).unwrap();
        let sent: Vec<Value> = serde_json::from_slice(&field(&fields, "messages", fields.get("messages").unwrap())).unwrap();
        let shown = json!([image[0], {"type": "text", "text": "<system>\nf\n</system>"}]);
        let expected = [
            said("system", "a\n\nb"),
            said("user", "c\n\n<system>\nd\n</system>"),
            said("assistant", "e"),
            turn("user", &shown),
            said("tool", "g"),
            said("user", "<system>\nh\n</system>"),
        ];
        assert_eq!(sent, expected);
    }

    #[test]
    fn what_only_anthropic_takes_is_refused_by_its_place() {
        let check = |body: &str| check(&Fields::read(body.as_bytes()).unwrap());
        assert!(check("{}").is_ok() && check(r#"{"anthropic":{}}"#).is_ok());
        let refusal = check(r#"{"anthropic":{"only":["tools.0 (web_search_20250305)"]}}"#).unwrap_err();
        assert_eq!(refusal.message, "only Anthropic's own models take tools.0 (web_search_20250305)");
    }
}
