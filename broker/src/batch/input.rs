//! The lines of an input file: read one by one, never all at once.

use std::borrow::Cow;
use std::io::{self, BufRead};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::document::LineError;
use crate::core::nearest::suggest;

const FIELDS: [&str; 4] = ["custom_id", "method", "url", "body"];
/// Bytes of a `custom_id`.
const LONGEST_ID: usize = 512;

/// A line as a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request<'a> {
    #[serde(borrow)]
    pub(super) custom_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) url: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) body: &'a RawValue,
}

/// Reads lines that are not blank, and counts those that are.
#[derive(Debug)]
pub(super) struct Reader<R> {
    from: R,
    number: u32,
    /// Bytes of a line.
    limit: usize,
    line: Vec<u8>,
}

/// A line of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    Line(u32, &'a [u8]),
    /// It is passed over.
    TooLong(u32),
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(from: R, limit: usize) -> Self {
        Self { from, number: 0, limit, line: Vec::new() }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Read<'_>>> {
        loop {
            self.line.clear();
            let mut long = false;
            loop {
                let buffer = self.from.fill_buf()?;
                if buffer.is_empty() && self.line.is_empty() && !long {
                    return Ok(None);
                }
                let end = memchr::memchr(b'\n', buffer);
                let piece = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
                long |= self.line.len() + piece.len() > self.limit;
                if !long {
                    self.line.extend_from_slice(piece);
                }
                let (read, over) = (end.map_or(buffer.len(), |at| at + 1), end.is_some() || buffer.is_empty());
                self.from.consume(read);
                if over {
                    break;
                }
            }
            self.number = self.number.saturating_add(1);
            if long {
                return Ok(Some(Read::TooLong(self.number)));
            }
            // What Windows programs put before the first line, and what they end all of them with.
            let mark = if self.number == 1 && self.line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            if !self.line.get(mark..).unwrap_or_default().trim_ascii().is_empty() {
                return Ok(Some(Read::Line(self.number, self.line.get(mark..).unwrap_or_default().trim_ascii())));
            }
        }
    }
}

/// Reads a line's own fields; its body's are another matter.
pub(super) fn parse<'a>(line: &'a [u8], url: &str) -> Result<Request<'a>, Box<LineError>> {
    let request: Request<'_> = serde_json::from_slice(line).map_err(|error| Box::new(explain(line, &error)))?;
    let wrong = |code: &str, param: &str, message: String| Err(Box::new(fault(code, Some(param), message)));
    if request.custom_id.is_empty() || request.custom_id.len() > LONGEST_ID {
        return wrong("invalid_custom_id", "custom_id", format!("`custom_id` must have 1 to {LONGEST_ID} bytes"));
    }
    if request.method != "POST" {
        return wrong("invalid_method", "method", format!("`method` must be \"POST\", and is {}", shown(&request.method)));
    }
    if request.url != url {
        let message = format!("`url` must be the batch's endpoint {url:?}, and is {}", shown(&request.url));
        return wrong("mismatched_url", "url", message);
    }
    if !request.body.get().starts_with('{') {
        return wrong("invalid_body", "body", "`body` must be an object".to_owned());
    }
    Ok(request)
}

pub(super) fn fault(code: &str, param: Option<&str>, message: String) -> LineError {
    LineError { code: code.to_owned(), message, param: param.map(str::to_owned), line: None }
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(60).collect::<String>())
}

/// What is wrong with a line that could not be read, looked for only now.
fn explain(line: &[u8], error: &serde_json::Error) -> LineError {
    let object = match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return fault("invalid_json_line", None, "the line is not a JSON object".to_owned()),
        Err(error) => return fault("invalid_json_line", None, format!("the line is not valid JSON: {error}")),
    };
    if let Some(name) = object.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let name: String = name.chars().take(60).collect();
        let message = format!("a line has no field `{name}`; {}", suggest(&name, &FIELDS));
        return fault("unknown_parameter", Some(&name), message);
    }
    for name in FIELDS {
        match object.get(name) {
            None => return fault("missing_required_parameter", Some(name), format!("the line has no `{name}`")),
            Some(value) if name != "body" && !value.is_string() => {
                return fault("invalid_type", Some(name), format!("`{name}` must be a text"));
            }
            Some(_) => {}
        }
    }
    fault("invalid_json_line", None, format!("the line cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, limit: usize) -> Vec<(u32, Option<String>)> {
        // A buffer of three bytes, so that lines and marks lie across its ends.
        let mut reader = Reader::new(io::BufReader::with_capacity(3, text.as_bytes()), limit);
        let mut all = Vec::new();
        while let Some(read) = reader.next().unwrap() {
            all.push(match read {
                Read::Line(number, line) => (number, Some(String::from_utf8(line.to_vec()).unwrap())),
                Read::TooLong(number) => (number, None),
            });
        }
        all
    }

    #[test]
    fn lines_are_numbered_as_an_editor_does() {
        let some = |n, text: &str| (n, Some(text.to_owned()));
        assert_eq!(lines("one\n\n  \r\nfour\r\nfive", 100), [some(1, "one"), some(4, "four"), some(5, "five")]);
        assert_eq!(lines("\u{feff}one\n", 100), [some(1, "one")]);
        assert_eq!(lines("\u{feff}\n", 100), []);
        assert_eq!(lines("", 100), []);
        assert_eq!(lines("abc\nabcdefghijkl\nabcd", 4), [some(1, "abc"), (2, None), some(3, "abcd")]);
        assert_eq!(lines("abcdefgh", 4), [(1, None)]);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        let refused = |line: &str| {
            let error = parse(line.as_bytes(), "/v1/embeddings").unwrap_err();
            (error.code, error.param.unwrap_or_default())
        };
        let good = r#"{"custom_id":"a\u0041","method":"POST","url":"/v1/embeddings","body":{"x":1}}"#;
        let request = parse(good.as_bytes(), "/v1/embeddings").unwrap();
        assert_eq!((&*request.custom_id, request.body.get()), ("aA", r#"{"x":1}"#));
        for (line, code, param) in [
            ("{", "invalid_json_line", ""),
            ("[]", "invalid_json_line", ""),
            (r#"{"method":"POST","url":"/v1/embeddings","body":{}}"#, "missing_required_parameter", "custom_id"),
            (r#"{"custom_id":1,"method":"POST","url":"/v1/embeddings","body":{}}"#, "invalid_type", "custom_id"),
            (r#"{"custom_id":"","method":"POST","url":"/v1/embeddings","body":{}}"#, "invalid_custom_id", "custom_id"),
            (r#"{"custom_id":"a","method":"GET","url":"/v1/embeddings","body":{}}"#, "invalid_method", "method"),
            (r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{}}"#, "mismatched_url", "url"),
            (r#"{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":[]}"#, "invalid_body", "body"),
            (r#"{"custom_id":"a","method":"POST","url":"/v1/embeddings"}"#, "missing_required_parameter", "body"),
            (r#"{"custom_id":"a","methud":"POST","url":"/v1/embeddings","body":{}}"#, "unknown_parameter", "methud"),
        ] {
            assert_eq!(refused(line), (code.to_owned(), param.to_owned()), "{line}");
        }
    }
}
