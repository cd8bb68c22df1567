//! Bytes to frames: server-sent events and JSON lines, cut anywhere by the network.

use bytes::{Bytes, BytesMut};
use pullyard_schemas::Failure;

use super::failure::garbage;

/// A single frame above this is a server gone wild.
const MAX_FRAME: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    Sse,
    Lines,
}

/// One event: for JSON lines there is only data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) event: Option<Bytes>,
    pub(super) data: Bytes,
}

/// Collects bytes and gives out what is complete.
#[derive(Debug)]
pub(super) struct Framer {
    kind: Kind,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no line end.
    searched: usize,
    pending: Frame,
}

impl Framer {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, buffer: BytesMut::new(), searched: 0, pending: Frame::default() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() - self.searched > MAX_FRAME + bytes.len() || self.pending.data.len() > MAX_FRAME {
            return Err(garbage(&format!("one frame has more than {MAX_FRAME} bytes")));
        }
        Ok(())
    }

    /// The next complete frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Failure> {
        while let Some(line) = self.line() {
            if let Some(frame) = self.took(line) {
                return Ok(Some(frame));
            }
        }
        if self.buffer.len() > MAX_FRAME {
            return Err(garbage(&format!("one frame has more than {MAX_FRAME} bytes")));
        }
        Ok(None)
    }

    /// What is left when the server has closed: a last line without its end still counts.
    pub(super) fn last(&mut self) -> Option<Frame> {
        let rest = self.buffer.split().freeze();
        self.searched = 0;
        let mut frame = self.took(rest);
        if frame.is_none() && self.kind == Kind::Sse {
            frame = self.took(Bytes::new());
        }
        frame
    }

    /// Lines end with `\n` or `\r\n`. A lone `\r`, which the specification of server-sent events allows, no model server uses.
    fn line(&mut self) -> Option<Bytes> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let mut line = self.buffer.split_to(self.searched + end + 1);
        self.searched = 0;
        line.truncate(line.len() - 1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(line.freeze())
    }

    fn took(&mut self, line: Bytes) -> Option<Frame> {
        if self.kind != Kind::Sse {
            return (!line.iter().all(u8::is_ascii_whitespace)).then_some(Frame { event: None, data: line });
        }
        if line.is_empty() {
            let frame = std::mem::take(&mut self.pending);
            return (!frame.data.is_empty() || frame.event.is_some()).then_some(frame);
        }
        let (field, value) = match memchr::memchr(b':', &line) {
            Some(0) => return None,
            Some(at) => (&line[..at], line.slice(at + 1 + usize::from(line.get(at + 1) == Some(&b' '))..)),
            None => (&line[..], Bytes::new()),
        };
        match field {
            b"data" if self.pending.data.is_empty() => self.pending.data = value,
            b"data" => {
                // Taken back and extended in place, so that many lines do not cost their square.
                let mut joined = std::mem::take(&mut self.pending.data).try_into_mut().unwrap_or_else(|data| BytesMut::from(&*data));
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(&value);
                self.pending.data = joined.freeze();
            }
            // Older llama-servers put an error into a field of this name.
            b"error" if self.pending.data.is_empty() => self.pending.data = [b"{\"error\":", &*value, b"}"].concat().into(),
            b"event" => self.pending.event = Some(value),
            _ => {}
        }
        None
    }
}

/// JSON has no raw line end inside a string, so each one between its tokens can become a space.
pub(super) fn one_line(data: Bytes) -> Bytes {
    if memchr::memchr2(b'\n', b'\r', &data).is_none() {
        return data;
    }
    data.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }).collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(kind: Kind, pieces: &[&[u8]]) -> Vec<(String, String)> {
        let text = |b: &Bytes| String::from_utf8_lossy(b).into_owned();
        let mut framer = Framer::new(kind);
        let mut found = Vec::new();
        for piece in pieces {
            framer.push(piece).unwrap();
            while let Some(frame) = framer.next().unwrap() {
                found.push((frame.event.as_ref().map(text).unwrap_or_default(), text(&frame.data)));
            }
        }
        found.extend(framer.last().map(|f| (f.event.as_ref().map(text).unwrap_or_default(), text(&f.data))));
        found
    }

    #[test]
    fn frames_do_not_depend_on_where_the_network_cuts() {
        let stream = b": hello\nevent: a\r\ndata: {\"x\":\r\ndata: 1}\r\n\r\ndata:two\n\ndata: [DONE]\n\n";
        let whole = frames(Kind::Sse, &[stream]);
        assert_eq!(whole[0], ("a".into(), "{\"x\":\n1}".into()));
        assert_eq!(whole[1].1, "two");
        for cut in 0..stream.len() {
            assert_eq!(frames(Kind::Sse, &[&stream[..cut], &stream[cut..]]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn lines_skip_blanks_and_keep_an_unended_last_one() {
        assert_eq!(
            frames(Kind::Lines, &[b"{}\n\n \r\n{\"a\"", b":1}"]).iter().map(|f| f.1.as_str()).collect::<Vec<_>>(),
            ["{}", "{\"a\":1}"]
        );
    }

    #[test]
    fn many_lines_of_one_event_are_joined() {
        let stream = "data: 1,\n".repeat(300_000) + "\n";
        assert_eq!(frames(Kind::Sse, &[stream.as_bytes()])[0].1.len(), 899_999);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut framer = Framer::new(Kind::Sse);
        let mut refused = false;
        for _ in 0..20 {
            refused |= framer.push(&vec![b'x'; 1 << 20]).is_err() || framer.next().is_err();
        }
        assert!(refused);
    }
}
