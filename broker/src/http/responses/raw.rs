//! JSON that is read as far as it matters and passed on as it came.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// An object's fields in their order, each once, with the values untouched.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// A field that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value).filter(|value| value.get() != "null")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut object = Object::default();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if object.0.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format!("duplicate field `{name}`")));
                    }
                    object.0.push((name, value));
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A text, borrowed where nothing in it is escaped. (A plain `Cow` is always copied.)
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Whether a value is a text; all other values begin otherwise.
pub(super) fn is_text(raw: &RawValue) -> bool {
    raw.get().starts_with('"')
}

/// Appends a value as JSON.
pub(super) fn put(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Neither a text nor a number can fail, and nothing else is written here.
    let _ = serde_json::to_writer(out, value);
}

/// Appends `,"name":`, without the comma at an object's beginning.
pub(super) fn name(out: &mut Vec<u8>, name: &str) {
    if !out.ends_with(b"{") {
        out.push(b',');
    }
    put(out, name);
    out.push(b':');
}

/// Appends a field with a value that is JSON already.
pub(super) fn field(out: &mut Vec<u8>, called: &str, json: &str) {
    name(out, called);
    out.extend_from_slice(json.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_bytes_and_come_once() {
        let object: Object<'_> = serde_json::from_str(r#"{"b":1e400,"a\u0061":[ 1 ],"n":null}"#).unwrap();
        let fields: Vec<(&str, &str)> = object.0.iter().map(|(name, value)| (&**name, value.get())).collect();
        assert_eq!(fields, [("b", "1e400"), ("aa", "[ 1 ]"), ("n", "null")]);
        assert!(object.get("n").is_none() && object.get("aa").is_some());
        assert!(serde_json::from_str::<Object<'_>>(r#"{"a":1,"a":2}"#).unwrap_err().to_string().contains("duplicate field `a`"));
    }
}
