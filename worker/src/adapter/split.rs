//! A request's top level by its outlines alone: what is spliced through untouched need not be read.

use std::borrow::Cow;

use memchr::memchr2;

/// The fields of a JSON object with their values as they were sent, in order; `None` when the outlines are not an
/// object's. What is inside the values is not checked: the broker has, and the server will.
pub(super) fn split(body: &[u8]) -> Option<Vec<(Cow<'_, str>, &[u8])>> {
    let mut fields = Vec::with_capacity(16);
    let mut at = expect(body, 0, b'{')?;
    if body.get(space(body, at)) == Some(&b'}') {
        return ends(body, space(body, at) + 1).then_some(fields);
    }
    loop {
        let start = space(body, at);
        let end = string(body, start)?;
        let name = name(&body[start..end])?;
        let start = space(body, expect(body, end, b':')?);
        let end = value(body, start)?;
        fields.push((name, &body[start..end]));
        at = space(body, end);
        match body.get(at)? {
            b',' => at += 1,
            b'}' => return ends(body, at + 1).then_some(fields),
            _ => return None,
        }
    }
}

fn name(quoted: &[u8]) -> Option<Cow<'_, str>> {
    if quoted.contains(&b'\\') {
        return serde_json::from_slice::<String>(quoted).ok().map(Cow::Owned);
    }
    std::str::from_utf8(&quoted[1..quoted.len() - 1]).ok().map(Cow::Borrowed)
}

/// Behind the white space from here on.
fn space(body: &[u8], at: usize) -> usize {
    at + body.get(at..).map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_whitespace()).count())
}

fn ends(body: &[u8], at: usize) -> bool {
    space(body, at) >= body.len()
}

fn expect(body: &[u8], at: usize, byte: u8) -> Option<usize> {
    let at = space(body, at);
    (body.get(at) == Some(&byte)).then_some(at + 1)
}

/// Behind the string that starts here.
fn string(body: &[u8], at: usize) -> Option<usize> {
    let mut at = expect(body, at, b'"')?;
    loop {
        at += memchr2(b'"', b'\\', body.get(at..)?)?;
        if body[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Behind the value that starts here.
fn value(body: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut depth = 0usize;
    loop {
        match body.get(at)? {
            b'"' => at = string(body, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            b',' | b':' if depth > 0 => {
                at += 1;
                continue;
            }
            b if b.is_ascii_whitespace() && depth > 0 => {
                at += 1;
                continue;
            }
            b if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.') => {
                at += body[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.')).count();
            }
            _ => return None,
        }
        if depth == 0 {
            return (at > start).then_some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn values_are_as_they_were_sent() {
        let body = br#" { "a" : [1, {"b": "]}\\\""}] ,"c\u0064":-1.5e+3,"e":"","f":null , "g":{} } "#;
        let fields: Vec<_> =
            split(body).unwrap().into_iter().map(|(n, v)| (n.into_owned(), String::from_utf8_lossy(v).into_owned())).collect();
        let expected = [("a", r#"[1, {"b": "]}\\\""}]"#), ("cd", "-1.5e+3"), ("e", r#""""#), ("f", "null"), ("g", "{}")];
        assert_eq!(fields, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert!(split(b"{}").is_some_and(|f| f.is_empty()));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1} x", "{\"a\":\"", "{\"a\":[1}", "{\"a\":\"\\"] {
            assert!(split(body.as_bytes()).is_none(), "{body}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..4).prop_map(|m| json!(m)),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_splits_what_serde_reads(object in prop::collection::btree_map(".*", any_json(), 0..5)) {
            let body = serde_json::to_vec_pretty(&object).unwrap();
            let read = |(name, value): (Cow<'_, str>, &[u8])| (name.into_owned(), serde_json::from_slice(value).unwrap());
            let fields: std::collections::BTreeMap<String, Value> = split(&body).unwrap().into_iter().map(read).collect();
            prop_assert_eq!(json!(fields), serde_json::from_slice::<Value>(&body).unwrap());
        }

        #[test]
        fn garbage_never_panics(body in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ a1-".to_vec()), 0..40)) {
            let _ = split(&body);
        }
    }
}
