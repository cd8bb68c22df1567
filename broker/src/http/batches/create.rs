//! What a client asks for when it makes a batch.

use std::collections::BTreeMap;
use std::time::Duration;

use pullyard_schemas::Band;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::kept_seconds;
use crate::batch::{Endpoint, New};
use crate::config::parse_duration;
use crate::core::nearest::suggest;
use crate::hooks::Webhook;
use crate::http::Request;
use crate::http::error::Error;
use crate::http::fields::must_be;
use crate::http::intake::fingerprint;

const FIELDS: [&str; 6] = ["input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after", "webhook"];
/// The most that OpenAI allows.
const MOST_PAIRS: usize = 16;
const LONGEST_NAME: usize = 64;
const LONGEST_VALUE: usize = 512;
/// The band of all lines that do not say their own.
const BAND: &str = "pullyard_band";
const LONGEST_WINDOW: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Reads the request.
/// `webhook` checks that field's value.
pub(super) fn new(request: &Request, webhook: impl FnOnce(&RawValue) -> Result<Webhook, Error>) -> Result<New, Error> {
    let mut body = match serde_json::from_slice(&request.body) {
        Ok(Value::Object(body)) => body,
        Ok(_) => return Err(Error::bad_request("", "the body must be a JSON object")),
        Err(error) => return Err(Error::bad_request("", format!("the body is not valid JSON: {error}"))),
    };
    if let Some(name) = body.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let name: String = name.chars().take(64).collect();
        return Err(Error::bad_request(&name, format!("a batch has no field `{name}`; {}", suggest(&name, &FIELDS))));
    }
    let input_file = text(&mut body, "input_file_id")?;
    let endpoint = text(&mut body, "endpoint")?;
    let endpoint = Endpoint::of(&endpoint).ok_or_else(|| {
        let instead = suggest(&endpoint, &Endpoint::ALL.map(Endpoint::path));
        Error::bad_request("endpoint", format!("batches for {:?} cannot be run; {instead}", endpoint.chars().take(64).collect::<String>()))
    })?;
    let completion_window = text(&mut body, "completion_window")?;
    let window = parse_duration(&completion_window).ok().filter(|window| !window.is_zero() && *window <= LONGEST_WINDOW);
    let window = window.ok_or_else(|| {
        Error::bad_request("completion_window", "`completion_window` must be `24h`, or another duration of up to 30d, such as 8h")
    })?;
    let metadata = metadata(body.remove("metadata").unwrap_or_default())?;
    let band = match metadata.get(BAND).map(String::as_str) {
        None | Some("batch") => Band::Batch,
        Some("normal") => Band::Normal,
        Some("interactive") => Band::Interactive,
        Some(_) => {
            let param = format!("metadata.{BAND}");
            return Err(Error::bad_request(&param, format!("`{param}` must be `interactive`, `normal` or `batch`")));
        }
    };
    let output_expires_after = output_expires_after(body.remove("output_expires_after").unwrap_or_default())?;
    let webhook = match body.remove("webhook") {
        None | Some(Value::Null) => None,
        Some(value) => Some(webhook(&to_raw_value(&value).map_err(|error| Error::internal(error.to_string()))?)?),
    };
    Ok(New {
        webhook,
        key: request.key.clone(),
        endpoint,
        input_file,
        completion_window,
        window,
        band,
        metadata,
        output_expires_after,
        idempotency_key: request.idempotency_key.clone(),
        fingerprint: fingerprint(&request.body),
    })
}

fn text(body: &mut Map<String, Value>, name: &str) -> Result<String, Error> {
    match body.remove(name) {
        Some(Value::String(text)) => Ok(text),
        None | Some(Value::Null) => Err(Error::bad_request(name, format!("the request has no `{name}`"))),
        Some(other) => Err(must_be(name, "a text", &other)),
    }
}

fn metadata(value: Value) -> Result<BTreeMap<String, String>, Error> {
    let pairs = match value {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Object(pairs) => pairs,
        other => return Err(must_be("metadata", "an object of texts", &other)),
    };
    if pairs.len() > MOST_PAIRS {
        return Err(Error::bad_request("metadata", format!("`metadata` has {} pairs; {MOST_PAIRS} are allowed", pairs.len())));
    }
    let pair = |(name, value): (String, Value)| {
        let shown: String = name.chars().take(LONGEST_NAME).collect();
        let param = format!("metadata.{shown}");
        let Value::String(value) = value else { return Err(must_be(&param, "a text", &value)) };
        if name.chars().count() > LONGEST_NAME || value.chars().count() > LONGEST_VALUE {
            let message = format!("`{param}` is too long; names have up to {LONGEST_NAME} characters and values up to {LONGEST_VALUE}");
            return Err(Error::bad_request(&param, message));
        }
        Ok((name, value))
    };
    pairs.into_iter().map(pair).collect()
}

fn output_expires_after(value: Value) -> Result<Option<Duration>, Error> {
    let fields = match value {
        Value::Null => return Ok(None),
        Value::Object(fields) => fields,
        other => return Err(must_be("output_expires_after", "an object with `anchor` and `seconds`", &other)),
    };
    if fields.get("anchor").and_then(Value::as_str) != Some("created_at") {
        return Err(Error::bad_request("output_expires_after.anchor", "`output_expires_after.anchor` must be `created_at`"));
    }
    let seconds = kept_seconds("output_expires_after.seconds", fields.get("seconds").and_then(Value::as_u64))?;
    Ok(Some(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<New, Error> {
        let body = Bytes::from(body.to_string());
        let request = Request { body, headers: Default::default(), key: None, idempotency_key: None };
        new(&request, |_| Err(Error::bad_request("webhook", "none is asked for")))
    }

    fn good() -> Value {
        json!({"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"})
    }

    #[test]
    fn a_batch_is_read_as_openai_has_it() {
        let mut body = good();
        body["metadata"] = json!({"a": "b", "pullyard_band": "normal"});
        body["output_expires_after"] = json!({"anchor": "created_at", "seconds": 3600});
        let new = read(&body).unwrap();
        assert_eq!((new.endpoint, new.band, new.window.as_secs()), (Endpoint::Chat, Band::Normal, 86_400));
        assert_eq!((new.metadata["a"].as_str(), new.output_expires_after), ("b", Some(Duration::from_secs(3600))));
        assert_eq!(read(&good()).unwrap().band, Band::Batch);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many: Map<String, Value> = (0..17).map(|n| (n.to_string(), json!("x"))).collect();
        for (field, value, param) in [
            ("input_file_id", json!(null), "input_file_id"),
            ("input_file_id", json!(7), "input_file_id"),
            ("endpoint", json!("/v1/chat/completion"), "endpoint"),
            ("completion_window", json!("31d"), "completion_window"),
            ("completion_window", json!("soon"), "completion_window"),
            ("metadata", json!([]), "metadata"),
            ("metadata", json!({"a": 1}), "metadata.a"),
            ("metadata", json!({"a": "x".repeat(513)}), "metadata.a"),
            ("metadata", many.into(), "metadata"),
            ("metadata", json!({"pullyard_band": "fast"}), "metadata.pullyard_band"),
            ("output_expires_after", json!({"anchor": "created_at", "seconds": 1}), "output_expires_after.seconds"),
            ("output_expires_after", json!({"seconds": 3600}), "output_expires_after.anchor"),
            ("windows", json!("x"), "windows"),
        ] {
            let mut body = good();
            body[field] = value;
            assert_eq!(read(&body).unwrap_err().param.as_deref(), Some(param));
        }
    }
}
