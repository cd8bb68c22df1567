//! From a client's bytes to a job that cannot be wrong: the body is parsed once, and kept as it was sent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::job::{Kind, Labels, OnInterrupt, Spec};
use pullyard_schemas::{Band, JobId, Needs, Scope, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::error::Error;
use super::{App, LiveConfig};
use crate::core::classify::{self, Tags};
use crate::core::policy::{Ask, Route};
use crate::engine::NewJob;

/// The fields that Pullyard reads; all others are the model server's and pass through untouched.
#[derive(Debug, Deserialize)]
pub(crate) struct Fields<'a> {
    #[serde(borrow, default)]
    pub(crate) model: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) stream: Option<bool>,
    #[serde(default)]
    pub(crate) stream_options: Option<StreamOptions>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    class: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) band: Option<Band>,
    #[serde(default)]
    scope: Option<Scope>,
    #[serde(borrow, default)]
    deadline: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    not_before: Option<Cow<'a, str>>,
    #[serde(default)]
    max_attempts: Option<u32>,
    #[serde(default)]
    on_interrupt: Option<OnInterrupt>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamOptions {
    #[serde(default)]
    pub(crate) include_usage: bool,
}

/// What the connection adds to the body.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) key: Option<Arc<str>>,
    pub(crate) idempotency_key: Option<&'a str>,
    /// A client waits on the connection.
    pub(crate) live: bool,
    pub(crate) default_band: Band,
}

/// Reads a body's fields.
pub(crate) fn fields(body: &[u8]) -> Result<Fields<'_>, Error> {
    if std::str::from_utf8(body).is_err() {
        return Err(Error::bad_request("", "the body is not valid UTF-8"));
    }
    match body.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(_) => return Err(Error::bad_request("", "the body must be a JSON object")),
        None => return Err(Error::bad_request("", "the body is empty; a JSON object is needed")),
    }
    let wrong = |e: serde_json::Error| Error::bad_request("", format!("the body is not the JSON that is needed: {e}"));
    // Half of a surrogate pair is valid JSON to a reader that does not decode it, and stops model servers that do.
    if memchr::memmem::find(body, b"\\ud").is_some() || memchr::memmem::find(body, b"\\uD").is_some() {
        serde_json::from_slice::<serde_json::Value>(body).map_err(wrong)?;
    }
    serde_json::from_slice(body).map_err(|e| if e.is_data() { misfit(body).unwrap_or_else(|| wrong(e)) } else { wrong(e) })
}

/// Names the field that does not fit. The body is read once more for it, so that only wrong requests pay.
fn misfit(body: &[u8]) -> Option<Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let error = serde_path_to_error::deserialize::<_, Fields<'_>>(&mut json).err()?;
    let field = error.path().to_string();
    (field != ".").then(|| Error::bad_request(&field, format!("`{field}` does not fit: {}", error.inner())))
}

/// Where a request would go, and what was read from it to decide that.
pub(crate) struct Routed {
    pub(crate) kind: Kind,
    pub(crate) needs: Needs,
    pub(crate) scope: Scope,
    pub(crate) route: Route,
    /// Only where the model was left to Pullyard.
    pub(crate) tags: Option<Tags>,
}

/// Classifies where the client left the choice to us, and routes.
pub(crate) fn routed(live: &LiveConfig, body: &[u8], fields: &Fields<'_>) -> Result<Routed, Error> {
    let kind = kind_of(fields)?;
    let needs = needs_of(fields, kind);
    let scope = fields.scope.unwrap_or_default();
    let model = fields.model.as_deref().unwrap_or("auto");
    let class = fields.class.as_deref().or_else(|| live.catalog.is_class(model).then_some(model));
    let (route, tags) = match class {
        Some(class) => (live.catalog.route(Ask::Class(class), &needs, scope)?, None),
        None if model == "auto" => {
            let tags = classify::classify(&classify::read(body).map_err(|e| Error::bad_request("messages", e.to_string()))?);
            (live.catalog.route(Ask::Class(tags.class.as_str()), &needs, scope)?, Some(tags))
        }
        None => (live.catalog.route(Ask::Model(model), &needs, scope)?, None),
    };
    Ok(Routed { kind, needs, scope, route, tags })
}

/// Checks, classifies and routes.
pub(crate) fn new_job(app: &App, body: Bytes, fields: &Fields<'_>, arrival: &Arrival<'_>, now: Timestamp) -> Result<NewJob, Error> {
    let live = app.live_config();
    let Routed { kind, needs, scope, route, .. } = routed(&live, &body, fields)?;
    let metadata = match fields.metadata.filter(|m| m.get() != "null") {
        None => BTreeMap::new(),
        Some(raw) => {
            serde_json::from_str(raw.get()).map_err(|_| Error::bad_request("metadata", "`metadata` must be an object of strings"))?
        }
    };
    let max_attempts = fields.max_attempts.unwrap_or(live.max_attempts);
    if max_attempts == 0 || max_attempts > 100 {
        return Err(Error::bad_request("max_attempts", format!("`max_attempts` is {max_attempts}; it must be from 1 to 100")));
    }
    if fields.on_interrupt == Some(OnInterrupt::Continue) {
        return Err(Error::bad_request("on_interrupt", "`on_interrupt: continue` is not supported yet; use `fail` or `restart`"));
    }
    // A job that nobody waits for is streamed too, so that it can be watched; embeddings have nothing to stream.
    let stream = kind != Kind::Embedding && fields.stream.unwrap_or(!arrival.live);
    let spec = Spec {
        kind,
        targets: route.targets,
        scope,
        band: fields.band.unwrap_or(arrival.default_band),
        needs,
        labels: Labels { key: arrival.key.clone(), class: route.class },
        max_attempts,
        max_attempts_per_target: live.max_attempts_per_target,
        on_interrupt: fields.on_interrupt.unwrap_or_default(),
        stream,
        live: arrival.live,
        deadline: moment("deadline", fields.deadline.as_deref(), now)?,
        not_before: moment("not_before", fields.not_before.as_deref(), now)?,
        timeout_ms: live.attempt_timeout_ms,
        size: body.len() as u64,
        idempotency_key: arrival.idempotency_key.map(Into::into),
        fingerprint: arrival.idempotency_key.map(|_| fingerprint(&body)),
        metadata,
        tags: fields.tags.clone().unwrap_or_default(),
        decision: route.decision,
    };
    Ok(NewJob { id: JobId::new(), spec: Arc::new(spec), body })
}

fn kind_of(fields: &Fields<'_>) -> Result<Kind, Error> {
    match (fields.messages.map(RawValue::get), fields.prompt.map(RawValue::get), fields.input.map(RawValue::get)) {
        (Some(messages), _, _) => {
            if !messages.starts_with('[') {
                return Err(Error::bad_request("messages", "`messages` must be a list of messages"));
            }
            if messages[1..].trim_start().starts_with(']') {
                return Err(Error::bad_request("messages", "`messages` is empty; at least one message is needed"));
            }
            Ok(Kind::Chat)
        }
        (None, Some(prompt), _) if prompt.starts_with(['"', '[']) => Ok(Kind::Completion),
        (None, Some(_), _) => Err(Error::bad_request("prompt", "`prompt` must be a string or a list")),
        (None, None, Some(input)) if input.starts_with(['"', '[']) => Ok(Kind::Embedding),
        (None, None, Some(_)) => Err(Error::bad_request("input", "`input` must be a string or a list")),
        (None, None, None) => {
            Err(Error::bad_request("messages", "the request has no `messages` (chat), `prompt` (completion) or `input` (embedding)"))
        }
    }
}

fn needs_of(fields: &Fields<'_>, kind: Kind) -> Needs {
    let images = fields.messages.is_some_and(|m| memchr_image(m.get()));
    let tools = fields.tools.is_some_and(|t| t.get() != "null" && !t.get()[1..].trim_start().starts_with(']'));
    Needs { context: 0, images, tools, json: false, embedding: kind == Kind::Embedding }
}

/// Whether a message has an image part. The text `"image_url"` inside a prompt is escaped in JSON (`\"image_url\"`),
/// so the bytes with plain quotes can only be a part's type or field.
fn memchr_image(messages: &str) -> bool {
    let mut rest = messages;
    while let Some(at) = rest.find("\"image_url\"") {
        if !rest[..at].ends_with('\\') {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// RFC 3339, or a duration from now such as `90s`, `5m`, `2h`.
fn moment(field: &'static str, text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(Some(Timestamp(u64::try_from(at.as_millisecond()).unwrap_or(0))));
    }
    duration(text).map(|d| Some(now.after(d))).ok_or_else(|| {
        Error::bad_request(
            field,
            format!("`{field}` is {text:?}; a time such as 2026-11-22T07:00:00Z or a duration such as 30s, 5m, 2h is needed"),
        )
    })
}

/// `500ms`, `30s`, `5m`, `2h`, `7d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(unit)?))
}

/// Goes into the log, so it must mean the same in every version.
fn fingerprint(body: &[u8]) -> u64 {
    Sha256::digest(body).iter().take(8).fold(0, |print, byte| (print << 8) | u64::from(*byte))
}
