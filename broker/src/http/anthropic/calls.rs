//! Tool calls that a stream brings in fragments, perhaps of several at once.

/// One call.
#[derive(Debug, Default)]
pub(super) struct ToolCall {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    /// Arguments that nobody has been told yet.
    pub(super) pending: String,
    pub(super) stage: Stage,
    outline: Outline,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    New,
    /// It waits for another call's end.
    Waiting,
    Open,
    Closed,
}

impl ToolCall {
    pub(super) fn hear(&mut self, arguments: &str) {
        self.outline.read(arguments);
    }

    /// Whether its arguments are an object that has ended.
    pub(super) fn is_whole(&self) -> bool {
        self.outline.began && self.outline.depth == 0
    }
}

/// As much of a JSON text as tells where it ends.
#[derive(Debug, Default)]
struct Outline {
    depth: usize,
    began: bool,
    in_string: bool,
    escaped: bool,
}

impl Outline {
    fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => {
                    self.depth += 1;
                    self.began = true;
                }
                b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_whole_where_their_object_ends() {
        let mut call = ToolCall::default();
        assert!(!call.is_whole());
        for piece in [r#"{"a":"#, r#""}\""#, r#"{","b":[{}"#, "]"] {
            call.hear(piece);
            assert!(!call.is_whole(), "{piece}");
        }
        call.hear("} ");
        assert!(call.is_whole());
    }
}
