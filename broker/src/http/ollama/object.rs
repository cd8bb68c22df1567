//! A request's top level with the values untouched, and the canonical body that is made of them: a schema's order and a
//! number's digits are the client's and stay so.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::http::error::Error;
use crate::http::fields::{self, must_be};

/// More than Ollama's API has; what it does not know is passed on.
const MOST_FIELDS: usize = 256;

/// The fields of a JSON object that nobody has asked for yet.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(pub(super) Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Object<'a> {
    /// A request's body.
    pub(super) fn body(body: &'a [u8]) -> Result<Self, Error> {
        match std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str(text).ok()) {
            Some(Raw(fields)) => Ok(Self(fields)),
            // The same body meets the same mistakes there, and is told which.
            None => fields::read(body).and_then(|_| Err(Error::bad_request("", "the body has a field twice, or more than 256 fields"))),
        }
    }

    /// An object inside of it.
    pub(super) fn inner(name: &str, raw: &'a str) -> Result<Self, Error> {
        serde_json::from_str(raw).map(|Raw(fields)| Self(fields)).map_err(|_| must_be(name, "an object", &value(raw)))
    }

    /// A field's value as it was sent; `null` is none.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        let (_, raw) = self.0.remove(at);
        (raw != "null").then_some(raw)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Error> {
        self.take(name).map(|raw| text(raw).ok_or_else(|| must_be(name, "a text", &value(raw)))).transpose()
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Error> {
        self.take(name)
            .map(|raw| match raw {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(must_be(name, "true or false", &value(raw))),
            })
            .transpose()
    }
}

/// A JSON text's content.
pub(super) fn text(raw: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(raw).ok().map(|Text(text)| text)
}

/// Only for errors.
pub(super) fn value(raw: &str) -> Value {
    serde_json::from_str(raw).unwrap_or_default()
}

struct Raw<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Vec<(Cow<'de, str>, &'de str)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                #[serde(transparent)]
                struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut fields: Self::Value = Vec::new();
                while let Some((Name(name), raw)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if fields.len() == MOST_FIELDS || fields.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("twice, or too many"));
                    }
                    fields.push((name, raw.get()));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Fields).map(Self)
    }
}

/// A JSON object that is being written.
#[derive(Debug)]
pub(super) struct Json(String);

impl Json {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self(text)
    }

    /// `raw` is JSON.
    pub(super) fn raw(&mut self, name: &str, raw: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quoted(name));
        self.0.push(':');
        self.0.push_str(raw);
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.raw(name, &quoted(text));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
