//! `multipart/form-data` (RFC 7578), as it comes: of a part's content no more is held than might be the beginning of its
//! end.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem;

/// Bytes of a part's headers.
const MOST_HEADERS: usize = 16 << 10;
/// Bytes of what may stand before the first part, which nobody needs.
const MOST_PREAMBLE: usize = 4 << 10;

/// What comes next in a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Part {
        name: String,
        filename: Option<String>,
    },
    Data(Bytes),
    /// The part is whole.
    PartEnd,
    /// The form is whole; what follows does not count.
    End,
}

/// Why a form cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the `Content-Type` must be multipart/form-data with a boundary of 1 to 70 characters")]
    ContentType,
    #[error("the form does not begin with its boundary")]
    Preamble,
    #[error("a part's headers cannot be read: {0}")]
    Headers(&'static str),
    #[error("the form ends before its last boundary")]
    Cut,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a boundary.
    Behind,
    Headers,
    Content,
    Done,
}

/// Takes bytes and gives events.
#[derive(Debug)]
pub(super) struct Parser {
    /// With the end of the line before it.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
}

impl Parser {
    /// For a request with this `Content-Type`.
    pub(super) fn new(content_type: &str) -> Result<Self, Malformed> {
        let mut params = content_type.split(';');
        if !params.next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("multipart/form-data")) {
            return Err(Malformed::ContentType);
        }
        let boundary = params.find_map(|param| {
            let (name, value) = param.split_once('=')?;
            name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
        });
        let boundary = boundary.filter(|boundary| (1..=70).contains(&boundary.len())).ok_or(Malformed::ContentType)?;
        // The first boundary may stand at the very beginning.
        Ok(Self { delimiter: format!("\r\n--{boundary}").into_bytes(), buffer: BytesMut::from(&b"\r\n"[..]), state: State::Preamble })
    }

    pub(super) fn feed(&mut self, data: &[u8]) {
        if self.state != State::Done {
            self.buffer.extend_from_slice(data);
        }
    }

    /// The body is over.
    pub(super) fn finish(&self) -> Result<(), Malformed> {
        if self.state == State::Done { Ok(()) } else { Err(Malformed::Cut) }
    }

    /// Nothing when more has to be fed first.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            match self.state {
                State::Done => return Ok(None),
                State::Preamble => match memmem::find(&self.buffer, &self.delimiter) {
                    Some(at) => {
                        self.buffer.advance(at + self.delimiter.len());
                        self.state = State::Behind;
                    }
                    None if self.buffer.len() > MOST_PREAMBLE => return Err(Malformed::Preamble),
                    None => return Ok(None),
                },
                State::Behind => {
                    if self.buffer.starts_with(b"--") {
                        self.buffer.clear();
                        self.state = State::Done;
                        return Ok(Some(Event::End));
                    }
                    match memmem::find(&self.buffer, b"\r\n") {
                        Some(at) if self.buffer.iter().take(at).all(|b| matches!(b, b' ' | b'\t')) => {
                            self.buffer.advance(at + 2);
                            self.state = State::Headers;
                        }
                        Some(_) => return Err(Malformed::Headers("a boundary has something behind it")),
                        None if self.buffer.len() > MOST_HEADERS => return Err(Malformed::Headers("they do not end")),
                        None => return Ok(None),
                    }
                }
                State::Headers => match memmem::find(&self.buffer, b"\r\n\r\n") {
                    Some(at) if at <= MOST_HEADERS => {
                        let headers = self.buffer.split_to(at);
                        self.buffer.advance(4);
                        self.state = State::Content;
                        let (name, filename) = disposition(&headers)?;
                        return Ok(Some(Event::Part { name, filename }));
                    }
                    _ if self.buffer.len() > MOST_HEADERS => return Err(Malformed::Headers("they are too long")),
                    _ => return Ok(None),
                },
                State::Content => {
                    let (data, over) = match memmem::find(&self.buffer, &self.delimiter) {
                        Some(at) => (at, true),
                        None => (self.buffer.len().saturating_sub(self.delimiter.len() - 1), false),
                    };
                    if data > 0 {
                        return Ok(Some(Event::Data(self.buffer.split_to(data).freeze())));
                    }
                    if !over {
                        return Ok(None);
                    }
                    self.buffer.advance(self.delimiter.len());
                    self.state = State::Behind;
                    return Ok(Some(Event::PartEnd));
                }
            }
        }
    }
}

/// Name and file name of a part.
fn disposition(headers: &[u8]) -> Result<(String, Option<String>), Malformed> {
    let headers = std::str::from_utf8(headers).map_err(|_| Malformed::Headers("they are not UTF-8"))?;
    let value = headers.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let mut params = params(value.ok_or(Malformed::Headers("there is no Content-Disposition"))?).into_iter();
    if !params.next().is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("form-data")) {
        return Err(Malformed::Headers("the Content-Disposition is not form-data"));
    }
    let (mut name, mut filename, mut extended) = (None, None, None);
    for (param, value) in params {
        match param.to_ascii_lowercase().as_str() {
            "name" => name = Some(value),
            "filename" => filename = Some(value),
            "filename*" => extended = value.split('\'').nth(2).map(percent_decoded),
            _ => {}
        }
    }
    Ok((name.ok_or(Malformed::Headers("a part has no name"))?, extended.or(filename)))
}

/// What is between semicolons, unless they are quoted; the first has no value.
fn params(text: &str) -> Vec<(String, String)> {
    let mut all = vec![(String::new(), String::new())];
    let (mut quoted, mut in_value) = (false, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let Some((name, value)) = all.last_mut() else { break };
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => value.extend(chars.next()),
            ';' if !quoted => {
                in_value = false;
                all.push((String::new(), String::new()));
            }
            '=' if !quoted && !in_value => in_value = true,
            c if in_value => value.push(c),
            c => name.push(c),
        }
    }
    // Browsers and most libraries write a quote in a name so.
    let tidy = |text: &str| text.trim().replace("%22", "\"");
    all.iter().map(|(name, value)| (tidy(name), tidy(value))).collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let code = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, more.get(..2).and_then(code)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = more.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
                        --b \r\ncontent-type: x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a;%22b.jsonl\"\r\n\r\n\
                        one\r\n--not\r\n\r\n--b--\r\nepilogue";

    /// Names, file names and contents, when fed so many bytes at a time.
    fn parts(form: &str, step: usize) -> Result<Vec<(String, Option<String>, String)>, Malformed> {
        let mut parser = Parser::new("multipart/form-data; boundary=b")?;
        let (mut parts, mut most) = (Vec::<(String, Option<String>, String)>::new(), 0);
        for piece in form.as_bytes().chunks(step) {
            parser.feed(piece);
            while let Some(event) = parser.next()? {
                match event {
                    Event::Part { name, filename } => parts.push((name, filename, String::new())),
                    Event::Data(data) => parts.last_mut().unwrap().2.push_str(std::str::from_utf8(&data).unwrap()),
                    Event::PartEnd | Event::End => {}
                }
            }
            if parser.state == State::Content {
                most = most.max(parser.buffer.len());
            }
        }
        assert!(most < parser.delimiter.len(), "{most} bytes of a content were held");
        parser.finish().map(|()| parts)
    }

    #[test]
    fn a_form_is_the_same_in_any_pieces() {
        let part = |name: &str, file: Option<&str>, content: &str| (name.to_owned(), file.map(str::to_owned), content.to_owned());
        let whole = vec![part("purpose", None, "batch"), part("file", Some("a;\"b.jsonl"), "one\r\n--not\r\n")];
        for step in 1..FORM.len() {
            assert_eq!(parts(FORM, step).unwrap(), whole, "{step}");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for content_type in ["application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=b"] {
            assert_eq!(Parser::new(content_type).unwrap_err(), Malformed::ContentType, "{content_type}");
        }
        assert!(Parser::new("Multipart/Form-Data; charset=utf-8; Boundary=\"b c\"").is_ok());
        assert_eq!(parts(&FORM[..FORM.len() - 20], 7), Err(Malformed::Cut));
        assert_eq!(parts("", 7), Err(Malformed::Cut));
        assert_eq!(parts(&"x".repeat(MOST_PREAMBLE + 1), 100), Err(Malformed::Preamble));
        assert!(matches!(parts("--b\r\nX: y\r\n\r\n\r\n--b--", 7), Err(Malformed::Headers(_))));
        assert!(matches!(parts(&format!("--b\r\n{}", "x".repeat(MOST_HEADERS + 1)), 100), Err(Malformed::Headers(_))));
        assert!(matches!(parts("--bc\r\n", 100), Err(Malformed::Headers(_))));
    }

    #[test]
    fn a_file_name_may_be_of_any_letters() {
        let headers = b"Content-Disposition: form-data; name=file; filename=\"x\"; filename*=UTF-8''na%C3%AFve%2.jsonl";
        assert_eq!(disposition(headers).unwrap(), ("file".to_owned(), Some("na\u{ef}ve%2.jsonl".to_owned())));
        let escaped = br#"Content-Disposition: form-data; name="f"; filename="a\"b""#;
        assert_eq!(disposition(escaped).unwrap().1.as_deref(), Some("a\"b"));
    }
}
