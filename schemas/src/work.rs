//! What passes between broker and worker: offers, reports and output.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::job::{Kind, OnInterrupt};
use crate::{Band, Charge, Failure, JobId, Lane, Needs, Token, WorkerId};

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
}

/// A worker's durable word about an attempt.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    Started {
        worker: WorkerId,
        backend: Arc<str>,
        model: Arc<str>,
    },
    /// The output travels beside it: see [`Output`].
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

/// What an attempt produced, in OpenAI's shape whatever the backend speaks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Output {
    /// One JSON object per line: a whole response, or the stream's chunks in order.
    pub lines: Vec<u8>,
}
