//! What was fired, in one small file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pullyard_schemas::{JobId, Timestamp};
use serde::{Deserialize, Serialize};

/// A schedule's last time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// The time that was due; where nothing was yet, since when the schedule is known.
    pub at: Timestamp,
    /// Its job; the one before it where it has none of its own.
    #[serde(default)]
    pub job: Option<JobId>,
    /// Why there is no job of that time.
    #[serde(default)]
    pub error: Option<String>,
    /// Whether it was due, or is only known since.
    #[serde(default)]
    pub due: bool,
}

/// A schedule as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub name: Arc<str>,
    pub cron: String,
    pub zone: String,
    pub next: Option<Timestamp>,
    pub last: Option<Last>,
}

/// The file. What is lost of it with the power is looked up by the idempotency key, so it is not flushed.
#[derive(Debug)]
pub(super) struct File(pub(super) PathBuf);

impl File {
    pub(super) fn read(&self) -> BTreeMap<Arc<str>, Last> {
        match fs::read(&self.0).map(|text| serde_json::from_slice(&text)) {
            Ok(Ok(known)) => known,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(file = %self.0.display(), "it cannot be read when schedules were last due; what was missed is not made up for");
                BTreeMap::new()
            }
        }
    }

    pub(super) fn write(path: &Path, known: &BTreeMap<Arc<str>, Last>) -> io::Result<()> {
        let part = path.with_extension("part");
        fs::write(&part, serde_json::to_vec(known)?)?;
        fs::rename(part, path)
    }
}
