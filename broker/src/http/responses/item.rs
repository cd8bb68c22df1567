//! The items of a response's output. Texts are as they are escaped, without their quotes.

use std::io::Write as _;

/// An item that may still grow, or one that is done.
#[derive(Debug)]
pub(super) enum Item {
    Reasoning(Reasoning),
    Message(Message),
    Call(Call),
    /// As JSON.
    Closed(String),
}

/// What the model thought.
#[derive(Debug, Default)]
pub(super) struct Reasoning {
    pub(super) text: String,
    pub(super) summarised: bool,
}

#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) parts: Vec<Part>,
}

#[derive(Debug)]
pub(super) enum Part {
    Text {
        text: String,
        /// A list without its brackets.
        probabilities: String,
    },
    Refusal(String),
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

pub(super) const IN_PROGRESS: &str = "in_progress";
pub(super) const COMPLETED: &str = "completed";
pub(super) const INCOMPLETE: &str = "incomplete";

impl Item {
    /// What ids of such items begin with.
    pub(super) fn prefix(&self) -> &'static str {
        match self {
            Self::Reasoning(_) => "rs",
            Self::Message(_) | Self::Closed(_) => "msg",
            Self::Call(_) => "fc",
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(self, Self::Closed(_))
    }

    /// Appends the item; one that is done is as it was then.
    pub(super) fn write(&self, job: &str, at: usize, status: &str, out: &mut Vec<u8>) {
        let begin = |out: &mut Vec<u8>, kind: &str| {
            out.extend_from_slice(b"{\"id\":\"");
            put_id(out, self.prefix(), job, at);
            out.push(b'"');
            text_field(out, "type", kind);
            text_field(out, "status", status);
        };
        match self {
            Self::Reasoning(Reasoning { text, summarised }) => {
                begin(out, "reasoning");
                let mut part = Vec::new();
                if !text.is_empty() {
                    part.extend_from_slice(if *summarised {
                        b"{\"type\":\"summary_text\"".as_slice()
                    } else {
                        b"{\"type\":\"reasoning_text\""
                    });
                    text_field(&mut part, "text", text);
                    part.push(b'}');
                }
                let (summary, content) = if *summarised { (part, Vec::new()) } else { (Vec::new(), part) };
                for (name, part) in [(b",\"summary\":[".as_slice(), summary), (b",\"content\":[", content)] {
                    out.extend_from_slice(name);
                    out.extend_from_slice(&part);
                    out.push(b']');
                }
                out.push(b'}');
            }
            Self::Message(message) => {
                begin(out, "message");
                out.extend_from_slice(b",\"role\":\"assistant\",\"content\":[");
                for (at, part) in message.parts.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    part.write(out);
                }
                out.extend_from_slice(b"]}");
            }
            Self::Call(call) => {
                begin(out, "function_call");
                text_field(out, "call_id", &call.id);
                text_field(out, "name", &call.name);
                text_field(out, "arguments", &call.arguments);
                out.push(b'}');
            }
            Self::Closed(item) => out.extend_from_slice(item.as_bytes()),
        }
    }
}

impl Reasoning {
    /// Appends a part of a summary as the field that announces it.
    pub(super) fn part(text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"part\":{\"type\":\"summary_text\"");
        text_field(out, "text", text);
        out.push(b'}');
    }
}

impl Part {
    pub(super) fn text() -> Self {
        Self::Text { text: String::new(), probabilities: String::new() }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text { text, probabilities } => {
                out.extend_from_slice(b"{\"type\":\"output_text\"");
                text_field(out, "text", text);
                out.extend_from_slice(b",\"annotations\":[]");
                list_field(out, "logprobs", probabilities);
            }
            Self::Refusal(text) => {
                out.extend_from_slice(b"{\"type\":\"refusal\"");
                text_field(out, "refusal", text);
            }
        }
        out.push(b'}');
    }
}

/// Appends a field whose value is a text as it is escaped.
pub(super) fn text_field(out: &mut Vec<u8>, name: &str, escaped: &str) {
    key(out, name);
    out.push(b'"');
    out.extend_from_slice(escaped.as_bytes());
    out.push(b'"');
}

/// Appends a field whose value is a list, of which this is between the brackets.
pub(super) fn list_field(out: &mut Vec<u8>, name: &str, elements: &str) {
    key(out, name);
    out.push(b'[');
    out.extend_from_slice(elements.as_bytes());
    out.push(b']');
}

/// Appends a field whose value is a number.
pub(super) fn number_field(out: &mut Vec<u8>, name: &str, number: impl std::fmt::Display) {
    key(out, name);
    // A vector takes all that is written.
    let _ = write!(out, "{number}");
}

/// Appends the id of the item at this place of the response that this job is.
pub(super) fn put_id(out: &mut Vec<u8>, prefix: &str, job: &str, at: usize) {
    let _ = write!(out, "{prefix}_{job}_{at}");
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
