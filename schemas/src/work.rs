//! What passes between broker and worker: offers, reports and output.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::job::{Kind, OnInterrupt};
use crate::{Band, Charge, Failure, JobId, Lane, Needs, Token};

/// One attempt, put on a lane for a worker to pull.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    pub job: JobId,
    pub token: Token,
    pub lane: Lane,
    pub band: Band,
    pub kind: Kind,
    pub needs: Needs,
    /// Whether the backend is asked to stream.
    pub stream: bool,
    pub on_interrupt: OnInterrupt,
    /// Milliseconds that the whole attempt may take.
    pub timeout_ms: u64,
    /// Where in the body the request ends and the output so far begins, one JSON object per line: the attempt goes on
    /// behind that output. `None`: the body is the request alone, and the attempt starts from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_at: Option<u64>,
}

/// A worker's durable word about an attempt.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    Started {
        backend: Arc<str>,
        model: Arc<str>,
    },
    /// The output travels beside it: one JSON object per line in OpenAI's shape, whatever the backend speaks.
    Completed {
        charge: Charge,
        finish: Option<Arc<str>>,
    },
    Failed {
        failure: Failure,
        charge: Option<Charge>,
        delivered: bool,
    },
}
