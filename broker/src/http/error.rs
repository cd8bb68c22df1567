//! The one place that picks status codes, in the envelope that OpenAI's clients parse.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::{StatusCode, header};
use pullyard_schemas::{Failure, FailureKind};
use serde_json::json;

use crate::core::decide::Rejection;
use crate::core::policy::Unroutable;
use crate::engine::Refusal;

/// An answer that says no: to people in `message`, to programs in `type`, `param` and `code`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Error {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    pub(crate) code: Option<&'static str>,
    pub(crate) retry_after: Option<u64>,
}

impl Error {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, code: None, retry_after: None }
    }

    pub(crate) fn bad_request(param: &str, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        error.param = (!param.is_empty()).then(|| param.to_owned());
        error
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message)
    }

    pub(crate) fn unauthorized() -> Self {
        let mut error =
            Self::new(StatusCode::UNAUTHORIZED, "authentication_error", "a valid API key is needed: Authorization: Bearer <key>");
        error.code = Some("invalid_api_key");
        error
    }

    pub(crate) fn too_large(limit: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", format!("the body is larger than the limit of {limit} bytes"))
    }

    pub(crate) fn method(allowed: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", format!("use {allowed} here"))
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>, retry_after: u64) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message);
        error.retry_after = Some(retry_after);
        error
    }

    pub(crate) fn stopping() -> Self {
        Self::unavailable(Refusal::Draining.to_string(), 5)
    }

    pub(crate) fn body(&self) -> serde_json::Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Full { per_key: true, retry_after, .. } => {
                let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
                error.code = Some("rate_limit_exceeded");
                error.retry_after = Some(retry_after.as_secs().max(1));
                error
            }
            Refusal::Full { retry_after, .. } => Self::unavailable(message, retry_after.as_secs().max(1)),
            Refusal::Stalled(_) => Self::unavailable(message, 5),
            Refusal::Draining => Self::unavailable(message, 5),
            Refusal::KeyReused(_) => {
                let mut error = Self::new(StatusCode::CONFLICT, "invalid_request_error", message);
                error.param = Some("Idempotency-Key".to_owned());
                error.code = Some("idempotency_key_reused");
                error
            }
        }
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        let message = rejection.to_string();
        match rejection {
            Rejection::Unknown => Self::not_found(message),
            Rejection::Exists | Rejection::Fenced | Rejection::Ended(_) | Rejection::NotParked(_) => {
                Self::new(StatusCode::CONFLICT, "invalid_request_error", message)
            }
        }
    }
}

impl From<Unroutable> for Error {
    fn from(why: Unroutable) -> Self {
        let mut error = match &why {
            Unroutable::NoModel(..) => Self::not_found(why.to_string()),
            Unroutable::Incapable { .. } | Unroutable::NoTarget { .. } | Unroutable::NotLocal(_) => {
                Self::bad_request("model", why.to_string())
            }
        };
        error.param = Some("model".to_owned());
        error.code = Some(if error.status == StatusCode::NOT_FOUND { "model_not_found" } else { "model_not_capable" });
        error
    }
}

impl From<&Failure> for Error {
    fn from(failure: &Failure) -> Self {
        let message = failure.message.clone();
        match failure.kind {
            FailureKind::BadRequest => Self::bad_request("", message),
            FailureKind::ContextLength => {
                let mut error = Self::bad_request("messages", message);
                error.code = Some("context_length_exceeded");
                error
            }
            FailureKind::NoModel => {
                let mut error = Self::not_found(message);
                error.code = Some("model_not_found");
                error
            }
            FailureKind::Busy => Self::unavailable(message, failure.retry_after().map_or(5, |d| d.as_secs().max(1))),
            FailureKind::Timeout => Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", message),
            // The backend refused our credentials, not the client's.
            FailureKind::Unauthorized | FailureKind::Connect | FailureKind::Backend | FailureKind::Garbage => {
                Self::new(StatusCode::BAD_GATEWAY, "server_error", message)
            }
            FailureKind::Cancelled | FailureKind::Drained => Self::unavailable(message, 5),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
