//! The conversation: OpenAI's messages to Anthropic's turns.

use std::borrow::Cow;

use pullyard_schemas::Failure;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::extra::Kept;
use super::{field, quoted, refused};

/// What goes into `system` and `messages`, both separated by commas.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) system: String,
    pub(super) turns: String,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow, default)]
    tool_call_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function: Function<'a>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(borrow, default)]
    arguments: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    image_url: Option<Url<'a>>,
    #[serde(borrow, default)]
    file: Option<File<'a>>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Url<'a> {
    In {
        #[serde(borrow)]
        url: Cow<'a, str>,
    },
    Plain(#[serde(borrow)] Cow<'a, str>),
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow, default)]
    file_data: Option<Cow<'a, str>>,
}

/// One turn of the reply.
enum Turn<'a> {
    Sent(&'a str),
    Made(&'static str, Vec<String>),
}

/// System messages go into `system`; tool results are a user's turn; neighbours with one role are one turn. Turns that were
/// kept go as they were sent.
pub(super) fn turns(raw: &[u8], kept: &[Kept<'_>]) -> Result<Turns, Failure> {
    if !raw.starts_with(b"[") {
        return Err(refused("`messages` must be a list"));
    }
    let messages: Vec<Message<'_>> = serde_json::from_slice(raw).map_err(|e| refused(format!("`messages`: {e}")))?;
    let mut kept = kept.iter().peekable();
    let mut system = Vec::new();
    let mut turns: Vec<Turn<'_>> = Vec::new();
    let mut at = 0;
    loop {
        if let Some(own) = kept.next_if(|kept| kept.at <= at) {
            turns.extend(own.sent.map(|sent| Turn::Sent(sent.get())));
            at = at.saturating_add(own.of);
            continue;
        }
        let Some(message) = messages.get(at) else { break };
        match blocks(at, message)? {
            (None, blocks) => system.extend(blocks),
            (Some(side), blocks) => match turns.last_mut() {
                Some(Turn::Made(last, into)) if *last == side => into.extend(blocks),
                Some(_) | None => turns.push(Turn::Made(side, blocks)),
            },
        }
        at += 1;
    }
    let shown = turns.into_iter().filter_map(|turn| match turn {
        Turn::Sent(sent) => Some(sent.to_owned()),
        Turn::Made(_, blocks) if blocks.is_empty() => None,
        Turn::Made(role, blocks) => Some(format!(r#"{{"role":"{role}","content":[{}]}}"#, blocks.join(","))),
    });
    Ok(Turns { system: system.join(","), turns: shown.collect::<Vec<_>>().join(",") })
}

/// A message's blocks and whose they are; nobody's are the system's.
fn blocks(at: usize, message: &Message<'_>) -> Result<(Option<&'static str>, Vec<String>), Failure> {
    let role = message.role.as_deref().ok_or_else(|| refused(format!("`messages[{at}].role` must be a text")))?;
    let mut blocks = parts(at, message.content)?;
    let side = match role {
        "system" | "developer" => None,
        "tool" => {
            let content = match message.content.map(RawValue::get) {
                Some(text) if text.starts_with('"') => text.to_owned(),
                _ => format!("[{}]", blocks.join(",")),
            };
            let id = quoted(&usable_id(message.tool_call_id.as_deref().unwrap_or_default()));
            let mut result = format!(r#"{{"type":"tool_result","tool_use_id":{id},"content":{content}"#);
            cached(&mut result, message.cache_control);
            blocks = vec![result];
            Some("user")
        }
        "assistant" => {
            for call in message.tool_calls.iter().flatten() {
                blocks.push(tool_use(at, call)?);
            }
            Some("assistant")
        }
        "user" => Some("user"),
        other => return Err(refused(format!("`messages[{at}].role` is {other:?}; it must be system, user, assistant or tool"))),
    };
    Ok((side, blocks))
}

fn tool_use(at: usize, call: &ToolCall<'_>) -> Result<String, Failure> {
    let arguments = call.function.arguments.as_deref().map(str::trim).filter(|text| !text.is_empty()).unwrap_or("{}");
    if !arguments.starts_with('{') || serde_json::from_str::<&RawValue>(arguments).is_err() {
        return Err(refused(format!("`messages[{at}].tool_calls` has arguments that are no JSON object")));
    }
    let id = quoted(&usable_id(call.id.as_deref().unwrap_or_default()));
    let mut block = format!(r#"{{"type":"tool_use","id":{id},"name":{},"input":{arguments}"#, call.function.name.get());
    cached(&mut block, call.cache_control);
    Ok(block)
}

/// Anthropic takes letters, digits, `_` and `-` alone; some servers name their calls `functions.f:0`.
fn usable_id(id: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if id.chars().all(fits) { id.into() } else { id.chars().map(|c| if fits(c) { c } else { '_' }).collect::<String>().into() }
}

fn parts(at: usize, content: Option<&RawValue>) -> Result<Vec<String>, Failure> {
    match content.map(RawValue::get) {
        // Anthropic refuses an empty text block.
        None | Some("null" | "\"\"") => Ok(Vec::new()),
        Some(text) if text.starts_with('"') => Ok(vec![format!(r#"{{"type":"text","text":{text}}}"#)]),
        Some(list) if list.starts_with('[') => {
            let parts: Vec<Part<'_>> = serde_json::from_str(list).map_err(|e| refused(format!("`messages[{at}].content`: {e}")))?;
            parts.iter().filter(|part| part.text.is_none_or(|text| text.get() != "\"\"")).map(|part| one_part(at, part)).collect()
        }
        Some(_) => Err(refused(format!("`messages[{at}].content` must be a text or a list of parts"))),
    }
}

fn one_part(at: usize, part: &Part<'_>) -> Result<String, Failure> {
    let kind = part.r#type.as_deref();
    let mut block = match (kind, part) {
        (Some("text"), Part { text: Some(text), .. }) => format!(r#"{{"type":"text","text":{}"#, text.get()),
        (Some("image_url"), Part { image_url: Some(Url::In { url } | Url::Plain(url)), .. }) => match inline(url) {
            Some((media, data)) => format!(r#"{{"type":"image","source":{}"#, base64(media, data)),
            None => format!(r#"{{"type":"image","source":{{"type":"url","url":{}}}"#, quoted(url)),
        },
        (Some("file"), Part { file: Some(File { file_data: Some(data) }), .. }) if let Some((media, data)) = inline(data) => {
            format!(r#"{{"type":"document","source":{}"#, base64(media, data))
        }
        _ => {
            let kind = kind.unwrap_or("none");
            return Err(refused(format!("`messages[{at}]` has a part of type {kind:?}, which Anthropic does not take")));
        }
    };
    cached(&mut block, part.cache_control);
    Ok(block)
}

fn inline(url: &str) -> Option<(&str, &str)> {
    url.strip_prefix("data:")?.split_once(";base64,")
}

fn base64(media: &str, data: &str) -> String {
    format!(r#"{{"type":"base64","media_type":{},"data":{}}}"#, quoted(media), quoted(data))
}

/// Ends a block, with the mark up to which a prompt is to be cached.
fn cached(block: &mut String, cache: Option<&RawValue>) {
    if let Some(cache) = cache {
        field(block, "cache_control", cache.get());
    }
    block.push('}');
}
