//! Why an attempt ended without a result.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What went wrong, sorted by what can be done about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No connection, or it broke before a reply.
    Connect,
    /// One of the four timeouts.
    Timeout,
    /// The backend is full (429, 503): it did no work.
    Busy,
    /// The backend failed (5xx), or its stream was cut.
    Backend,
    /// The reply could not be understood, or exceeded its size cap.
    Garbage,
    /// The backend's credentials were refused (401, 403).
    Unauthorized,
    /// The backend does not have the model (404).
    NoModel,
    /// The request itself is wrong; no other try can help.
    BadRequest,
    /// The prompt exceeds the model's context; a target with more may help.
    ContextLength,
    /// The backend cannot go on behind the output of an earlier attempt: it did no work.
    CannotContinue,
    /// The worker was told to stop.
    Cancelled,
    /// The worker is shutting down; this attempt does not count.
    Drained,
}

/// Whether trying again can help, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// The same target may answer later.
    Retry,
    /// Only another target may answer.
    OtherTarget,
    /// Nothing helps.
    Final,
}

impl FailureKind {
    /// The name that it has in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Backend => "backend",
            Self::Garbage => "garbage",
            Self::Unauthorized => "unauthorized",
            Self::NoModel => "no_model",
            Self::BadRequest => "bad_request",
            Self::ContextLength => "context_length",
            Self::CannotContinue => "cannot_continue",
            Self::Cancelled => "cancelled",
            Self::Drained => "drained",
        }
    }

    #[must_use]
    pub fn remedy(self) -> Remedy {
        match self {
            Self::Connect | Self::Timeout | Self::Busy | Self::Backend | Self::Garbage | Self::Drained => Remedy::Retry,
            Self::Unauthorized | Self::NoModel | Self::ContextLength | Self::CannotContinue => Remedy::OtherTarget,
            Self::BadRequest | Self::Cancelled => Remedy::Final,
        }
    }
}

/// A failed attempt, as a worker reports it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// For people; never holds a secret.
    pub message: String,
    /// The backend's HTTP status, when it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the backend asked for with `Retry-After`, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The backend's own words, where it said any: some clients look for a certain wording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: None, retry_after_ms: None, words: None }
    }

    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}
