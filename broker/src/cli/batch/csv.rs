//! Comma-separated values (RFC 4180): as much as spreadsheets write.

/// The rows of a text; the first is the header. A quoted field may have commas, quotes (doubled) and line ends in it.
pub(super) fn rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let (mut row, mut field, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            c if quoted => field.push(c),
            '"' if field.is_empty() => (quoted, begun) = (true, true),
            ',' => {
                row.push(std::mem::take(&mut field));
                begun = true;
            }
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                end(&mut rows, &mut row, &mut field, begun);
                begun = false;
            }
            c => {
                field.push(c);
                begun = true;
            }
        }
    }
    end(&mut rows, &mut row, &mut field, begun);
    rows
}

/// A line with nothing on it is no row.
fn end(rows: &mut Vec<Vec<String>>, row: &mut Vec<String>, field: &mut String, begun: bool) {
    if begun {
        row.push(std::mem::take(field));
        rows.push(std::mem::take(row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_quoted() {
        let text = "\u{feff}name,\"city\"\r\nAda,\"London, \"\"UK\"\"\"\n\n\"two\nlines\",\nlast,one";
        assert_eq!(rows(text), [vec!["name", "city"], vec!["Ada", "London, \"UK\""], vec!["two\nlines", ""], vec!["last", "one"]]);
        assert_eq!(rows("a\n\"\"\n"), [vec!["a"], vec![""]]);
        assert!(rows("").is_empty() && rows("\n\r\n").is_empty());
    }
}
