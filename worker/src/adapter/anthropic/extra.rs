//! What a request through Anthropic's own API holds that OpenAI's shape has no place for.

use std::borrow::Cow;

use pullyard_schemas::Failure;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::json::Fields;

/// The body's `anthropic`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Extra<'a> {
    #[serde(borrow)]
    pub(super) version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) beta: Option<Cow<'a, str>>,
    /// Fields of the request as they were sent; each goes before what is made of OpenAI's.
    #[serde(borrow)]
    pub(super) fields: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) turns: Vec<Kept<'a>>,
    #[serde(borrow)]
    pub(super) tools: Vec<Kept<'a>>,
}

/// An element of a list as it was sent.
#[derive(Debug, Deserialize)]
pub(super) struct Kept<'a> {
    /// Where it is in OpenAI's list, and for how many elements of that it stands.
    pub(super) at: usize,
    #[serde(default)]
    pub(super) of: usize,
    #[serde(borrow, default, rename = "as")]
    pub(super) sent: Option<&'a RawValue>,
    /// Fields that the one element lacks.
    #[serde(borrow, default)]
    pub(super) more: Option<&'a RawValue>,
}

impl<'a> Extra<'a> {
    pub(super) fn read(fields: &Fields<'a>) -> Result<Self, Failure> {
        Ok(fields.take("anthropic")?.unwrap_or_default())
    }

    pub(super) fn fields(&self) -> Result<Fields<'a>, Failure> {
        self.fields.map_or_else(|| Ok(Fields(Vec::new())), |raw| Fields::read(raw.get().as_bytes()))
    }
}
