//! A server's error, sorted by what can be done about it.
//!
//! Every message is what the server did, such as "says: no such model": the endpoint puts the server's name before it.

use std::time::{Duration, SystemTime};

use pullyard_schemas::{Failure, FailureKind};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

/// No server may hold a job longer than this with one `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Characters of a server's own words that are kept.
const MOST_WORDS: usize = 1000;

/// An answer with a status that is no success.
pub(super) fn of_status(status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let told = Told::read(body);
    let mut failure = told.failure(Some(status));
    failure.retry_after_ms = retry_after(headers).map(|d| u64::try_from(d.min(LONGEST_WAIT).as_millis()).unwrap_or(u64::MAX));
    failure
}

/// An error object where a reply should be.
pub(super) fn of_object(error: &[u8]) -> Failure {
    Told::read(error).failure(None)
}

pub(super) fn garbage(what: &str) -> Failure {
    Failure::new(FailureKind::Garbage, format!("sent no usable reply: {what}"))
}

struct Told {
    message: String,
    /// The message as the server worded it.
    words: String,
    /// `type` and `code` together: servers put the telling word into either.
    kind: String,
}

impl Told {
    /// `{"error":{"message","type","code"}}`, `{"error":"text"}`, `{"message"}`, `{"detail"}`, or just text.
    fn read(body: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let error = value.get("error").unwrap_or(&value);
        let text =
            |name: &str| error.get(name).and_then(|v| v.as_str().map(str::to_owned).or_else(|| v.is_number().then(|| v.to_string())));
        let message = error
            .as_str()
            .map(str::to_owned)
            .or_else(|| text("message"))
            .or_else(|| text("detail"))
            .unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(2000)]).trim().to_owned());
        let kind = format!("{} {}", text("type").unwrap_or_default(), text("code").unwrap_or_default());
        let words = message.trim().chars().take(MOST_WORDS).collect();
        Self { message: short(&message), words, kind }
    }

    fn failure(self, status: Option<u16>) -> Failure {
        let says = |words: &[&str]| words.iter().any(|w| self.kind.contains(w));
        let text = self.message.to_lowercase();
        let tells = |words: &[&str]| words.iter().any(|w| text.contains(w));
        let code = status.or_else(|| self.kind.split(' ').find_map(|word| word.parse().ok())).unwrap_or(0);
        let context = says(&["context_length_exceeded", "exceed_context_size"])
            || tells(&[
                "maximum context length",
                "prompt is too long",
                "context size",
                "context window",
                "input length exceeds",
                "exceeds the context",
                "exceed context limit",
                "maximum model length",
                "context length is only",
                "too large to process",
            ]);
        let kind = match code {
            400 | 413 | 422 | 500 if context => FailureKind::ContextLength,
            _ if context && code == 0 => FailureKind::ContextLength,
            _ if says(&["insufficient_quota", "billing", "authentication_error", "permission_error", "invalid_api_key"]) => {
                FailureKind::Unauthorized
            }
            // Anthropic says this with a 400 like that of a wrong request.
            400 if tells(&["credit balance is too low"]) => FailureKind::Unauthorized,
            _ if says(&["overloaded", "rate_limit"]) => FailureKind::Busy,
            _ if says(&["model_not_found"]) => FailureKind::NoModel,
            401..=403 | 407 => FailureKind::Unauthorized,
            // 501 is a model that serves something else, such as a chat model asked for vectors.
            404 | 501 => FailureKind::NoModel,
            408 | 504 => FailureKind::Timeout,
            429 | 503 | 529 => FailureKind::Busy,
            // Some servers answer 500 to a request that they cannot read; trying again would not help.
            500 if tells(&["parse error", "json.exception", "invalid json"]) => FailureKind::BadRequest,
            // llama-server's word for an image or a sound that its model cannot read.
            500 if tells(&["input is not supported"]) => FailureKind::BadRequest,
            400 if text.contains("model") && text.contains("not found") => FailureKind::NoModel,
            400..=499 if code != 409 && code != 425 && code != 499 => FailureKind::BadRequest,
            0 if says(&["invalid_request"]) => FailureKind::BadRequest,
            _ => FailureKind::Backend,
        };
        // The failure has the status in a field of its own.
        let message = match status {
            Some(status) if self.message.is_empty() => format!("answered with status {status}"),
            Some(_) | None => format!("says: {}", self.message),
        };
        let words = (!self.words.is_empty()).then_some(self.words);
        Failure { kind, message, status, retry_after_ms: None, words }
    }
}

/// Errors are for people: a page of HTML is not.
fn short(text: &str) -> String {
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = line.char_indices().nth(400) {
        line.truncate(at);
        line.push('…');
    }
    line
}

/// `retry-after-ms`, or `Retry-After` in seconds or as a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|t| t.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok()
}
