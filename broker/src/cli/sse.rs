//! Server-sent events from the bytes of a connection.

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) id: String,
    /// Empty unless the sender named it.
    pub(super) event: String,
    pub(super) data: String,
}

/// Cuts bytes, which come in pieces of any size, into events.
#[derive(Debug, Default)]
pub(super) struct Parser {
    bytes: Vec<u8>,
    /// Where the next line starts.
    at: usize,
    /// Up to where there is no end of a line.
    looked: usize,
    frame: Frame,
}

impl Parser {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.looked -= self.at;
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next event that is complete and not empty.
    pub(super) fn next(&mut self) -> Option<Frame> {
        while let Some(end) = memchr::memchr(b'\n', &self.bytes[self.looked..]).map(|n| self.looked + n) {
            let line = String::from_utf8_lossy(&self.bytes[self.at..end]);
            let line = line.strip_suffix('\r').unwrap_or(&line);
            let done = if line.is_empty() { Some(std::mem::take(&mut self.frame)) } else { None };
            if done.is_none() {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match name {
                    "id" => value.clone_into(&mut self.frame.id),
                    "event" => value.clone_into(&mut self.frame.event),
                    "data" => {
                        if !self.frame.data.is_empty() {
                            self.frame.data.push('\n');
                        }
                        self.frame.data.push_str(value);
                    }
                    // A comment has no name.
                    _ => {}
                }
            }
            self.at = end + 1;
            self.looked = self.at;
            if let Some(frame) = done.filter(|frame| !frame.data.is_empty()) {
                return Some(frame);
            }
        }
        self.looked = self.bytes.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_do_not_depend_on_how_the_bytes_are_cut() {
        let text = ": waiting\n\nid: 1.0\ndata: {\"a\":\"ä\"}\n\nid: 1.1\r\ndata:x\r\ndata: y\r\n\r\nevent: end\ndata: {}\n\n".as_bytes();
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut frames = Vec::new();
            for piece in text.chunks(size) {
                parser.push(piece);
                while let Some(frame) = parser.next() {
                    frames.push((frame.id, frame.event, frame.data));
                }
            }
            let frame = |id: &str, event: &str, data: &str| (id.to_owned(), event.to_owned(), data.to_owned());
            assert_eq!(frames, [frame("1.0", "", "{\"a\":\"ä\"}"), frame("1.1", "", "x\ny"), frame("", "end", "{}")]);
        }
    }
}
