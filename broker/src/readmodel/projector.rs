//! The thread that feeds the read model, in batches, behind the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use pullyard_schemas::Seq;

use super::{ReadModel, Update};

/// Updates in one batch at the most.
const BATCH: usize = 1_000;

/// Feeds the read model. The thread ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct ProjectorHandle {
    updates: SyncSender<(Vec<Update>, Seq)>,
    cursor: Arc<AtomicU64>,
    damaged: Arc<AtomicBool>,
}

impl ProjectorHandle {
    /// Queues updates; waits when the read model is far behind, which bounds memory.
    pub fn send(&self, updates: Vec<Update>, floor: Seq) {
        // The thread goes on whatever happens to sled, so a closed channel is the end of the program.
        let _ = self.updates.send((updates, floor));
    }

    /// Everything up to here has been applied.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        Seq(self.cursor.load(Ordering::Acquire))
    }

    /// The read model could not be written; it will be rebuilt at the next start.
    #[must_use]
    pub fn damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }
}

/// Starts the thread.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(model: ReadModel) -> std::io::Result<ProjectorHandle> {
    let (updates, waiting) = sync_channel(1_024);
    let cursor = Arc::new(AtomicU64::new(model.cursor().0));
    let damaged = Arc::new(AtomicBool::new(false));
    let handle = ProjectorHandle { updates, cursor: cursor.clone(), damaged: damaged.clone() };
    std::thread::Builder::new().name("pullyard-read".into()).spawn(move || run(&model, &waiting, &cursor, &damaged))?;
    Ok(handle)
}

fn run(model: &ReadModel, waiting: &Receiver<(Vec<Update>, Seq)>, cursor: &AtomicU64, damaged: &AtomicBool) {
    while let Ok((mut updates, mut floor)) = waiting.recv() {
        while updates.len() < BATCH
            && let Ok((more, newer)) = waiting.try_recv()
        {
            updates.extend(more);
            floor = newer;
        }
        if damaged.load(Ordering::Relaxed) {
            continue;
        }
        let Some(last) = updates.last().map(|u| u.seq) else { continue };
        match model.apply(&updates, floor) {
            Ok(()) => cursor.store(last.0, Ordering::Release),
            Err(error) => {
                damaged.store(true, Ordering::Release);
                tracing::error!(%error, "the read model cannot be written; it will be rebuilt at the next start");
            }
        }
    }
}
