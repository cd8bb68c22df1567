//! Refusals in the way of Anthropic's own: the path first, then what would be right.

use serde_json::Value;

use super::super::error::Error;

/// Refuses what is at a path such as `messages.2.content.0.type`.
pub(super) fn wrong(path: &str, why: impl std::fmt::Display) -> Error {
    Error::bad_request(path, format!("{path}: {why}"))
}

/// Refuses a value by its path.
pub(super) fn must_be(path: &str, needed: &str, found: &str) -> Error {
    let mut found = found.to_owned();
    if let Some((at, _)) = found.char_indices().nth(60) {
        found.truncate(at);
        found.push('…');
    }
    wrong(path, format_args!("must be {needed}, and is {found}"))
}

/// What is wrong with a list of objects that could not be read as one.
pub(super) fn list(path: &str, raw: &str, of: &str) -> Error {
    match serde_json::from_str(raw) {
        Ok(Value::Array(list)) => match list.iter().enumerate().find(|(_, value)| !value.is_object()) {
            Some((at, value)) => must_be(&format!("{path}.{at}"), "an object", &value.to_string()),
            None => wrong(path, "cannot be read"),
        },
        Ok(other) => must_be(path, of, &other.to_string()),
        Err(error) => wrong(path, error),
    }
}
