//! A batch in memory: its document, and how far it has come.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pullyard_schemas::Timestamp;
use tokio_util::sync::CancellationToken;

use super::document::{Batch, Status, Tokens};
use super::folder::Folder;

/// A batch as clients see it now.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// With its counts as they are now.
    pub batch: Batch,
    /// Of this run, when enough is done to tell.
    pub lines_per_second: Option<f64>,
    pub expected_end: Option<Timestamp>,
}

/// Shared by a batch's runner and those who ask about it.
#[derive(Debug)]
pub(super) struct Live {
    state: Mutex<State>,
    /// Fires when a client has cancelled it.
    pub(super) cancelled: CancellationToken,
    /// Held while the document is written, so that an older one never takes the place of a newer.
    saving: Mutex<()>,
}

#[derive(Debug)]
struct State {
    batch: Batch,
    /// Since when its lines run, and how many were done then.
    pace: Option<(Instant, u32)>,
}

impl Live {
    pub(super) fn new(batch: Batch) -> Self {
        let cancelled = CancellationToken::new();
        if batch.status == Status::Cancelling {
            cancelled.cancel();
        }
        Self { state: Mutex::new(State { batch, pace: None }), cancelled, saving: Mutex::default() }
    }

    /// Hands the document to the disk, as it is when that is done.
    pub(super) fn save(&self, folder: &Folder) -> io::Result<()> {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        folder.save(&self.batch())
    }

    /// As it is now.
    pub(super) fn batch(&self) -> Batch {
        self.lock().batch.clone()
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&Batch) -> T) -> T {
        look(&self.lock().batch)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Batch) -> T) -> T {
        change(&mut self.lock().batch)
    }

    /// Its lines begin to run, and these are done already.
    pub(super) fn begins(&self, completed: u32, failed: u32, tokens: Tokens) {
        let mut state = self.lock();
        state.batch.counts.completed = completed;
        state.batch.counts.failed = failed;
        state.batch.tokens = tokens;
        state.pace = Some((Instant::now(), completed + failed));
    }

    /// One more line is done.
    pub(super) fn done(&self, well: bool, tokens: Tokens) {
        let mut state = self.lock();
        let counts = &mut state.batch.counts;
        if well {
            counts.completed += 1;
        } else {
            counts.failed += 1;
        }
        state.batch.tokens.add(tokens);
    }

    pub(super) fn progress(&self, now: Timestamp) -> Progress {
        let state = self.lock();
        let counts = state.batch.counts;
        let done = counts.completed + counts.failed;
        let runs = state.pace.filter(|_| state.batch.status == Status::InProgress);
        let lines_per_second = runs.and_then(|(since, before)| pace(done.saturating_sub(before), since.elapsed()));
        let left = counts.total.saturating_sub(done);
        let expected_end = lines_per_second.map(|pace| now.after(Duration::from_secs_f64((f64::from(left) / pace).min(1e9))));
        Progress { batch: state.batch.clone(), lines_per_second, expected_end }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing as long as a single line says too little.
fn pace(done: u32, took: Duration) -> Option<f64> {
    (done > 0 && took >= Duration::from_millis(100)).then(|| f64::from(done) / took.as_secs_f64())
}

/// Cheap to clone.
pub(super) type Shared = Arc<Live>;
