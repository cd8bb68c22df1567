//! What is known of a batch, and kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use pullyard_schemas::{Band, Timestamp};
use serde::{Deserialize, Serialize};

use super::lines::Endpoint;
use crate::hooks::Webhook;

/// Where a batch is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its turn, or its file is being read.
    Validating,
    /// The file has lines that cannot be run; nothing was.
    Failed,
    InProgress,
    /// All lines are done; the files are being handed over.
    Finalizing,
    Completed,
    Expired,
    Cancelling,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Validating,
        Self::Failed,
        Self::InProgress,
        Self::Finalizing,
        Self::Completed,
        Self::Expired,
        Self::Cancelling,
        Self::Cancelled,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing more happens to it.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Failed | Self::Completed | Self::Expired | Self::Cancelled => true,
            Self::Validating | Self::InProgress | Self::Finalizing | Self::Cancelling => false,
        }
    }
}

/// What is wrong with an input file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineError {
    pub code: String,
    pub message: String,
    pub param: Option<String>,
    /// From 1; none where it is the file as a whole.
    pub line: Option<u32>,
}

/// Lines by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub total: u32,
    pub completed: u32,
    /// With an error, expired and cancelled ones too.
    pub failed: u32,
}

/// What all lines used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
    pub reasoning: u64,
    pub cost_nanos: u64,
}

impl Tokens {
    pub(super) fn add(&mut self, more: Self) {
        self.input += more.input;
        self.cached += more.cached;
        self.output += more.output;
        self.reasoning += more.reasoning;
        self.cost_nanos += more.cost_nanos;
    }
}

/// A batch's document. What changes while it runs, its counts and tokens, is kept when it is over; before that it is a
/// fold over its results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub id: Arc<str>,
    /// The name of the API key that it belongs to, and whose share its jobs take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
    pub endpoint: Endpoint,
    pub input_file: Arc<str>,
    /// As the client said it.
    pub completion_window: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub band: Band,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How long what it writes is kept, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_expires_after: Option<u64>,
    /// Who is told of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Hash of the request that made it.
    pub fingerprint: u64,
    pub status: Status,
    /// When it came to each status but the first.
    #[serde(default)]
    pub times: BTreeMap<Status, Timestamp>,
    /// Where all lines name the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<LineError>,
    /// The number of the file's last line; blank ones have numbers too.
    #[serde(default)]
    pub last_line: u32,
    pub counts: Counts,
    #[serde(default)]
    pub tokens: Tokens,
    /// What it becomes as soon as its results are among the files; set when they are on disk as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Status>,
    /// The names that its files will have.
    pub output_file: Arc<str>,
    pub error_file: Arc<str>,
    /// Whether they are there: one without a line is not made.
    #[serde(default)]
    pub has_output: bool,
    #[serde(default)]
    pub has_errors: bool,
}

impl Batch {
    /// A key sees what is its own; where there are no keys, everybody sees everything.
    #[must_use]
    pub fn is_seen_by(&self, key: Option<&str>) -> bool {
        key.is_none() || self.key.as_deref() == key
    }

    pub(super) fn becomes(&mut self, status: Status, now: Timestamp) {
        self.status = status;
        self.times.insert(status, now);
    }

    /// Whether this file must stay.
    pub(super) fn uses(&self, file: &str) -> bool {
        !self.status.is_over() && *self.input_file == *file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_clients_know() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        for endpoint in Endpoint::ALL {
            assert_eq!(serde_json::to_value(endpoint).unwrap(), endpoint.path());
            assert_eq!(Endpoint::of(endpoint.path()), Some(endpoint));
        }
    }
}
