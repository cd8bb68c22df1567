//! What clients and operators may ask, and why not.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use pullyard_schemas::Band;

use super::document::Status;
use super::lines::Endpoint;
use crate::files;
use crate::hooks::Webhook;

/// Batches that are not over, of all keys together. More is a mistake, and each has a file.
pub(super) const MOST_OPEN: usize = 1_000;

/// What may be asked of one batch, and of all together.
#[derive(Clone, Debug)]
pub struct Options {
    /// Batches that run at once; others wait.
    pub running: usize,
    /// Lines of a batch that are jobs at once.
    pub window: usize,
    /// Bytes of their bodies.
    pub window_bytes: usize,
    /// Lines of a batch.
    pub lines: u32,
    /// Bytes of its file.
    pub bytes: u64,
    /// Bytes of a line.
    pub line_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { running: 4, window: 1_024, window_bytes: 32 << 20, lines: 50_000, bytes: 200_000_000, line_bytes: 64_000_000 }
    }
}

/// A batch that a client asks for.
#[derive(Clone, Debug)]
pub struct New {
    pub key: Option<Arc<str>>,
    pub endpoint: Endpoint,
    pub input_file: String,
    pub completion_window: String,
    pub window: Duration,
    pub band: Band,
    pub metadata: BTreeMap<String, String>,
    pub output_expires_after: Option<Duration>,
    /// Who is told of the batch's end.
    pub webhook: Option<Webhook>,
    pub idempotency_key: Option<String>,
    pub fingerprint: u64,
}

/// Why a client does not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no batch `{0}`")]
    Unknown(String),
    #[error(transparent)]
    File(#[from] files::Error),
    #[error("the file `{id}` was uploaded for `{purpose}`; a batch takes one whose `purpose` is `batch`")]
    Purpose { id: String, purpose: &'static str },
    #[error("the idempotency key was used with another request (batch {0})")]
    KeyReused(Arc<str>),
    #[error("{MOST_OPEN} batches are not over yet; try again when some are")]
    TooMany,
    #[error("the batch is {0} and cannot be cancelled any more")]
    TooLate(&'static str),
    #[error("the file is used by a batch that is not over (batch {0}); cancel that first")]
    InUse(Arc<str>),
    #[error("the broker is shutting down")]
    Draining,
    #[error("the batch cannot be kept: {0}")]
    Io(io::Error),
}

/// How many there are.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    pub by_status: Vec<(Status, u64)>,
    /// Of all batches that have been known since the start.
    pub lines_completed: u64,
    pub lines_failed: u64,
}
