//! The thread that feeds the read model, in batches, behind the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use pullyard_schemas::Seq;

use super::{ReadModel, Update};

/// Updates in one batch at the most.
const BATCH: usize = 1_000;

#[derive(Debug)]
enum Work {
    Batch(Vec<Update>, Seq),
    /// Answered when everything before it has been applied.
    Barrier(SyncSender<()>),
}

/// Feeds the read model. The thread ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct ProjectorHandle {
    work: SyncSender<Work>,
    cursor: Arc<AtomicU64>,
    damaged: Arc<AtomicBool>,
}

impl ProjectorHandle {
    /// Queues updates; waits when the read model is far behind, which bounds memory.
    pub fn send(&self, updates: Vec<Update>, floor: Seq) {
        // The thread goes on whatever happens to sled, so a closed channel is the end of the program.
        let _ = self.work.send(Work::Batch(updates, floor));
    }

    /// Waits until everything that was sent has been applied.
    pub fn catch_up(&self) {
        let (done, applied) = sync_channel(1);
        if self.work.send(Work::Barrier(done)).is_ok() {
            let _ = applied.recv();
        }
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
    let (work, waiting) = sync_channel(1_024);
    let cursor = Arc::new(AtomicU64::new(model.cursor().0));
    let damaged = Arc::new(AtomicBool::new(false));
    let handle = ProjectorHandle { work, cursor: cursor.clone(), damaged: damaged.clone() };
    std::thread::Builder::new().name("pullyard-read".into()).spawn(move || run(&model, &waiting, &cursor, &damaged))?;
    Ok(handle)
}

fn run(model: &ReadModel, waiting: &Receiver<Work>, cursor: &AtomicU64, damaged: &AtomicBool) {
    while let Ok(work) = waiting.recv() {
        let (mut updates, mut floor) = match work {
            Work::Batch(updates, floor) => (updates, floor),
            Work::Barrier(done) => {
                let _ = done.send(());
                continue;
            }
        };
        let mut barrier = None;
        while updates.len() < BATCH
            && barrier.is_none()
            && let Ok(more) = waiting.try_recv()
        {
            match more {
                Work::Batch(more, newer) => {
                    updates.extend(more);
                    floor = newer;
                }
                Work::Barrier(done) => barrier = Some(done),
            }
        }
        if !damaged.load(Ordering::Relaxed)
            && let Some(last) = updates.last().map(|u| u.seq)
        {
            match model.apply(&updates, floor) {
                Ok(()) => cursor.store(last.0, Ordering::Release),
                Err(error) => {
                    damaged.store(true, Ordering::Release);
                    tracing::error!(%error, "the read model cannot be written; it will be rebuilt at the next start");
                }
            }
        }
        if let Some(done) = barrier {
            let _ = done.send(());
        }
    }
}
