//! Which path of the document is at which place of the text.

use serde_saphyr::granit_parser::{Event, Parser};

/// The paths of a YAML text, such as `backends[0].slots`, in its order.
#[derive(Debug, Default)]
pub(super) struct Places {
    entries: Vec<Entry>,
    blank: bool,
}

#[derive(Debug)]
struct Entry {
    line: u64,
    column: u64,
    path: String,
    /// Whether this is the name of a map's field rather than a value.
    is_key: bool,
}

enum Frame {
    /// A map at this path, with the key whose value comes next.
    Map(String, Option<String>),
    /// A sequence at this path, with the index of the item that comes next.
    Seq(String, usize),
}

impl Places {
    /// Reads as far as the text is YAML.
    pub(super) fn of(text: &str) -> Self {
        let mut places = Self { entries: Vec::new(), blank: true };
        let mut stack = Vec::new();
        for next in Parser::new_from_str(text) {
            let Ok((event, span)) = next else {
                places.blank = false;
                break;
            };
            let key = match &event {
                Event::Scalar(text, ..) => Some(text.to_string()),
                Event::Alias(_) | Event::MappingStart(..) | Event::SequenceStart(..) => None,
                Event::MappingEnd | Event::SequenceEnd => {
                    stack.pop();
                    continue;
                }
                _ => continue,
            };
            places.blank = false;
            let (path, is_key) = advance(&mut stack, key.as_deref());
            let (line, column) = (span.start.line() as u64, span.start.col() as u64 + 1);
            places.entries.push(Entry { line, column, path: path.clone(), is_key });
            match event {
                Event::MappingStart(..) => stack.push(Frame::Map(path, None)),
                Event::SequenceStart(..) => stack.push(Frame::Seq(path, 0)),
                _ => {}
            }
        }
        places
    }

    /// Whether the text has nothing but comments.
    pub(super) fn is_blank(&self) -> bool {
        self.blank
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.entries.iter().any(|entry| entry.path == path)
    }

    /// The path at a place, or the last one before it.
    pub(super) fn path_at(&self, line: u64, column: u64) -> &str {
        self.entry_at(line, column).map_or("", |entry| &entry.path)
    }

    /// The path of the map that has the field at a place, or of what begins there.
    pub(super) fn map_at(&self, line: u64, column: u64) -> &str {
        let Some(entry) = self.entry_at(line, column) else { return "" };
        if entry.is_key { parent(&entry.path).unwrap_or_default() } else { &entry.path }
    }

    fn entry_at(&self, line: u64, column: u64) -> Option<&Entry> {
        self.entries.iter().rfind(|entry| (entry.line, entry.column) <= (line, column))
    }

    /// The place of a path's value, or of the nearest part of the document that has it.
    pub(super) fn find(&self, path: &str) -> Option<(u64, u64)> {
        let mut path = path;
        loop {
            if let Some(entry) = self.entries.iter().rfind(|entry| entry.path == path) {
                return Some((entry.line, entry.column));
            }
            path = parent(path)?;
        }
    }
}

/// The path of what has this one; nothing for the document itself.
fn parent(path: &str) -> Option<&str> {
    if path.is_empty() { None } else { Some(path.rfind(['.', '[']).map_or("", |end| &path[..end])) }
}

/// The path of a node that begins, and whether it is a field's name; moves the frame on to what comes after it.
fn advance(stack: &mut [Frame], scalar: Option<&str>) -> (String, bool) {
    match stack.last_mut() {
        None => (String::new(), false),
        Some(Frame::Seq(path, index)) => {
            *index += 1;
            (format!("{path}[{}]", *index - 1), false)
        }
        Some(Frame::Map(path, key)) => {
            let step = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            if let Some(key) = key.take() {
                return (step(&key), false);
            }
            let name = scalar.unwrap_or("?").to_owned();
            let found = step(&name);
            *key = Some(name);
            (found, true)
        }
    }
}
