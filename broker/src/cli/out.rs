//! Writing for people and for programs. A closed pipe is a reader that has seen enough, never a reason to panic.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::client::Error;

/// Where results go. Cheap to clone.
#[derive(Clone)]
pub(super) struct Out {
    /// The user asked for JSON.
    pub(super) json: bool,
    /// A person is looking at it.
    pub(super) terminal: bool,
    to: Arc<Mutex<dyn Write + Send>>,
}

impl Out {
    pub(super) fn stdout(json: bool) -> Self {
        Self { json, terminal: io::stdout().is_terminal(), to: Arc::new(Mutex::new(io::stdout())) }
    }

    #[cfg(test)]
    pub(super) fn captured(json: bool) -> (Self, Arc<Mutex<Vec<u8>>>) {
        let to = Arc::new(Mutex::new(Vec::new()));
        (Self { json, terminal: false, to: to.clone() }, to)
    }

    /// Writes text that may be other people's, at once. A pipe gets it as it is.
    pub(super) fn text(&self, text: &str) -> Result<(), Error> {
        self.bytes(if self.terminal { clean(text) } else { text.into() }.as_bytes())
    }

    pub(super) fn line(&self, text: &str) -> Result<(), Error> {
        self.text(&format!("{text}\n"))
    }

    /// Makes room for what replaces the last output: the whole terminal, or an empty line.
    pub(super) fn clear(&self) -> Result<(), Error> {
        if self.terminal {
            return self.bytes(b"\x1b[H\x1b[2J");
        }
        if self.json { Ok(()) } else { self.bytes(b"\n") }
    }

    /// Writes text and ends its last line.
    pub(super) fn paragraph(&self, text: &str) -> Result<(), Error> {
        if text.ends_with('\n') { self.text(text) } else { self.line(text) }
    }

    /// Writes the broker's answer: for a program as it came, for a person indented.
    pub(super) fn answer(&self, json: &[u8]) -> Result<(), Error> {
        if self.terminal
            && let Ok(value) = serde_json::from_slice::<Value>(json)
        {
            return self.line(&format!("{value:#}"));
        }
        let mut line = json.trim_ascii_end().to_vec();
        line.push(b'\n');
        self.bytes(&line)
    }

    /// Writes what is for programs only.
    pub(super) fn raw(&self, bytes: &[u8]) -> Result<(), Error> {
        if self.terminal { self.text(&String::from_utf8_lossy(bytes)) } else { self.bytes(bytes) }
    }

    fn bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        to.write_all(bytes).and_then(|()| to.flush()).map_err(Error::output)
    }
}

/// Tells the user something that is not the result. There is nobody to tell when this fails.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", clean(text));
}

/// An error with the causes that it does not name itself: some say theirs in their own text, others leave it to the reader.
pub(super) fn with_causes(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        match told.as_str() {
            "" => cause,
            before if before.contains(&cause) => told,
            before => format!("{before}: {cause}"),
        }
    })
}

/// Whether a line on stderr can be rewritten.
pub(super) fn can_update() -> bool {
    io::stderr().is_terminal()
}

/// Rewrites the last line on stderr; an empty text clears it.
pub(super) fn update(text: &str) {
    let mut to = io::stderr();
    let _ = write!(to, "\r\x1b[2K{}", flat(text)).and_then(|()| to.flush());
}

/// What an interrupted program says last.
static PARTING: Mutex<Option<String>> = Mutex::new(None);

/// Sets what the user is told who interrupts what goes on without this program.
pub(super) fn parting(text: Option<String>) {
    *PARTING.lock().unwrap_or_else(PoisonError::into_inner) = text;
}

/// Says it.
pub(super) fn part() {
    if let Some(text) = &*PARTING.lock().unwrap_or_else(PoisonError::into_inner) {
        note(text);
    }
}

/// Without the characters that could make a terminal do more than show text.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(bad) { text.replace(bad, "").into() } else { text.into() }
}

/// The same on one line.
pub(super) fn flat(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect::<String>().into()
}

/// A JSON value as a table shows it: text without quotes, nothing as a dash.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => flat(text).into_owned(),
        other => flat(&other.to_string()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("nope.yaml: {source}")]
        struct Unread {
            source: io::Error,
        }
        let error = anyhow::Error::new(Unread { source: io::Error::other("no such file") }).context("cannot start");
        assert_eq!(with_causes(&error), "cannot start: nope.yaml: no such file");
    }

    #[test]
    fn nothing_can_steer_a_terminal() {
        assert_eq!(clean("a\x1b[31mb\u{9b}c\r\n\td\x7f"), "a[31mbc\n\td");
        assert_eq!(flat("a\nb\x1b"), "a b");
    }
}
