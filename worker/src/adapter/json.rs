//! A request's top level, in order, with the values untouched.

use std::borrow::Cow;
use std::fmt;

use pullyard_schemas::{Failure, FailureKind};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// Fields of a JSON object as they were sent.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

/// Pullyard's own fields; a model server that is strict would refuse them.
const OURS: [&str; 9] = ["class", "band", "scope", "deadline", "not_before", "max_attempts", "on_interrupt", "tags", "timeout"];

impl<'a> Fields<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Failure> {
        serde_json::from_slice(body).map_err(|e| Failure::new(FailureKind::BadRequest, format!("the request is not a JSON object: {e}")))
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| *v).filter(|v| v.get() != "null")
    }

    /// A field in a type of one's own.
    pub(super) fn take<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.get(name)
            .map(|raw| serde_json::from_str(raw.get()).map_err(|e| Failure::new(FailureKind::BadRequest, format!("`{name}`: {e}"))))
            .transpose()
    }

    pub(super) fn value(&self, name: &str) -> Result<Option<serde_json::Value>, Failure> {
        self.take(name)
    }
}

/// Whether a field is the operator's and not the model's. `metadata` is OpenAI's only where the reply is `stored`.
pub(super) fn is_ours(name: &str, stored: bool) -> bool {
    OURS.contains(&name) || (name == "metadata" && !stored)
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some((Name(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object).map(Fields)
    }
}

/// Borrows a key that has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text).map(Name)
    }
}
