//! Reads a request's body in one pass, borrowing every text that has no escapes and skipping everything that is not text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::sensitivity::Level;
use super::{Purpose, Request, Role, Turn};

/// Why a body could not be read; the message names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// Reads what a request says.
///
/// # Errors
/// When the body is not JSON, or a message has a wrong shape.
pub fn read(body: &[u8]) -> Result<Request<'_>, Unreadable> {
    let Node::Object(fields) = serde_json::from_slice(body).map_err(|e| Unreadable(format!("the body is not readable JSON: {e}")))? else {
        return Err(Unreadable("the body must be a JSON object".to_owned()));
    };
    let mut request = Request {
        bytes: body.len(),
        tools: matches!(&fields.tools, Node::List(list) if !list.is_empty()),
        tool_names: tool_names(&fields.tools),
        json: matches!(&fields.format, Node::Object(format) if format.kind.is("json_object") || format.kind.is("json_schema")),
        max_tokens: if let Node::Number(n) = fields.limit { Some(u32::try_from(n).unwrap_or(u32::MAX)) } else { None },
        ..Request::default()
    };
    if let Node::Object(own) = &fields.pullyard {
        request.level = own.sensitivity.text().and_then(Level::parse).unwrap_or_default();
        request.purpose = own.request_class.text().and_then(Purpose::parse);
    }
    // Where the translation of Anthropic's API keeps Claude Code's header.
    if let Node::Object(metadata) = &fields.metadata {
        request.purpose = request.purpose.or_else(|| metadata.request_class.text().and_then(Purpose::parse));
    }
    match (fields.messages, fields.prompt, fields.input) {
        (Node::List(list), ..) => messages(list, &mut request)?,
        (Node::Nothing, Node::Nothing, Node::Nothing) => {
            return Err(Unreadable("the body needs messages, prompt or input".to_owned()));
        }
        (Node::Nothing, Node::Nothing, input) => plain(input, "input", &mut request)?,
        (Node::Nothing, prompt, _) => plain(prompt, "prompt", &mut request)?,
        _ => return Err(Unreadable("messages must be a list".to_owned())),
    }
    Ok(request)
}

fn messages<'a>(list: Vec<Node<'a>>, request: &mut Request<'a>) -> Result<(), Unreadable> {
    for (at, message) in list.into_iter().enumerate() {
        let Node::Object(message) = message else {
            return Err(Unreadable(format!("messages[{at}] must be an object")));
        };
        let Node::Text(role) = message.role else {
            return Err(Unreadable(format!("messages[{at}].role must be a string")));
        };
        if let Node::List(calls) = message.tool_calls {
            request.others.extend(calls.into_iter().filter_map(arguments));
        }
        let text = match message.content {
            Node::Nothing => Cow::Borrowed(""),
            Node::Text(text) => text,
            Node::List(parts) => join(parts, request, |part| format!("messages[{at}].content[{part}] must be an object"))?,
            _ => return Err(Unreadable(format!("messages[{at}].content must be a string or a list of parts"))),
        };
        match &*role {
            "system" | "developer" => request.system.push(text),
            "assistant" => request.turns.push(Turn { role: Role::Assistant, text }),
            "tool" | "function" => request.others.push(text),
            _ => request.turns.push(Turn { role: Role::User, text }),
        }
    }
    Ok(())
}

/// A `prompt` or an `input` is one user turn; token numbers in it are no text.
fn plain<'a>(node: Node<'a>, name: &str, request: &mut Request<'a>) -> Result<(), Unreadable> {
    let text = match node {
        Node::Text(text) => text,
        // The list may hold messages, as in OpenAI's newer API.
        Node::List(list) if list.iter().any(|item| matches!(item, Node::Object(item) if matches!(item.role, Node::Text(_)))) => {
            return messages(list, request);
        }
        Node::List(list) if list.iter().all(|item| matches!(item, Node::Number(_) | Node::List(_))) => Cow::Borrowed(""),
        Node::List(list) => join(list, request, |item| format!("{name}[{item}] must be a string"))?,
        _ => return Err(Unreadable(format!("{name} must be a string or a list of strings"))),
    };
    request.turns.push(Turn { role: Role::User, text });
    Ok(())
}

/// What an assistant gave a tool.
fn arguments(call: Node<'_>) -> Option<Cow<'_, str>> {
    let Node::Object(call) = call else { return None };
    let Node::Object(function) = call.function else { return None };
    if let Node::Text(arguments) = function.arguments { Some(arguments) } else { None }
}

fn tool_names<'a>(tools: &Node<'a>) -> Vec<Cow<'a, str>> {
    let Node::List(list) = tools else { return Vec::new() };
    let name = |tool: &Node<'a>| match tool {
        Node::Object(tool) => match (&tool.name, &tool.function) {
            (Node::Text(name), _) => Some(name.clone()),
            (_, Node::Object(function)) => {
                if let Node::Text(name) = &function.name {
                    Some(name.clone())
                } else {
                    None
                }
            }
            _ => None,
        },
        _ => None,
    };
    list.iter().filter_map(name).take(MOST_TOOLS).collect()
}

/// So many tools' names are looked at.
const MOST_TOOLS: usize = 32;

fn join<'a>(parts: Vec<Node<'a>>, request: &mut Request<'a>, wrong: impl Fn(usize) -> String) -> Result<Cow<'a, str>, Unreadable> {
    let mut joined: Option<Cow<'a, str>> = None;
    for (at, part) in parts.into_iter().enumerate() {
        let text = match part {
            Node::Text(text) => text,
            Node::Object(part) => {
                request.images |= part.image || ["image_url", "input_image", "image"].iter().any(|kind| part.kind.is(kind));
                request.audio |= part.kind.is("input_audio");
                let Node::Text(text) = part.text else { continue };
                text
            }
            _ => return Err(Unreadable(wrong(at))),
        };
        joined = Some(match joined {
            None => text,
            Some(before) => Cow::Owned(format!("{before}\n{text}")),
        });
    }
    Ok(joined.unwrap_or_default())
}

/// Any JSON value, of which only what matters here is kept.
///
/// A value of a wrong type is kept as `Other` rather than refused by serde, so that the refusal can name its place.
#[derive(Default)]
enum Node<'a> {
    #[default]
    Nothing,
    Text(Cow<'a, str>),
    Number(u64),
    List(Vec<Self>),
    Object(Box<Fields<'a>>),
    Other,
}

impl Node<'_> {
    fn is(&self, text: &str) -> bool {
        self.text() == Some(text)
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(own) = self { Some(own) } else { None }
    }
}

#[derive(Default)]
struct Fields<'a> {
    role: Node<'a>,
    content: Node<'a>,
    kind: Node<'a>,
    text: Node<'a>,
    messages: Node<'a>,
    prompt: Node<'a>,
    input: Node<'a>,
    tools: Node<'a>,
    format: Node<'a>,
    limit: Node<'a>,
    name: Node<'a>,
    function: Node<'a>,
    arguments: Node<'a>,
    tool_calls: Node<'a>,
    pullyard: Node<'a>,
    metadata: Node<'a>,
    sensitivity: Node<'a>,
    request_class: Node<'a>,
    image: bool,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Role,
    Content,
    Type,
    Text,
    Messages,
    Prompt,
    Input,
    #[serde(alias = "functions")]
    Tools,
    ResponseFormat,
    #[serde(alias = "max_completion_tokens", alias = "max_output_tokens")]
    MaxTokens,
    Name,
    Function,
    Arguments,
    ToolCalls,
    Pullyard,
    Metadata,
    Sensitivity,
    #[serde(alias = "claude-code-request-class")]
    RequestClass,
    ImageUrl,
    #[serde(other)]
    Unknown,
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Nothing)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
        Ok(Node::Number(n))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Box::<Fields<'de>>::default();
        while let Some(key) = map.next_key()? {
            let field = match key {
                Key::Role => &mut fields.role,
                Key::Content => &mut fields.content,
                Key::Type => &mut fields.kind,
                Key::Text => &mut fields.text,
                Key::Messages => &mut fields.messages,
                Key::Prompt => &mut fields.prompt,
                Key::Input => &mut fields.input,
                Key::Tools => &mut fields.tools,
                Key::ResponseFormat => &mut fields.format,
                Key::MaxTokens => &mut fields.limit,
                Key::Name => &mut fields.name,
                Key::Function => &mut fields.function,
                Key::Arguments => &mut fields.arguments,
                Key::ToolCalls => &mut fields.tool_calls,
                Key::Pullyard => &mut fields.pullyard,
                Key::Metadata => &mut fields.metadata,
                Key::Sensitivity => &mut fields.sensitivity,
                Key::RequestClass => &mut fields.request_class,
                // An image may be megabytes long, so it is skipped rather than kept.
                Key::ImageUrl => {
                    map.next_value::<IgnoredAny>()?;
                    fields.image = true;
                    continue;
                }
                Key::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = map.next_value()?;
        }
        Ok(Node::Object(fields))
    }
}
