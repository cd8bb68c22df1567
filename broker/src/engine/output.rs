//! Live output of running attempts, for readers that come, leave and come back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use pullyard_schemas::{JobId, Token};
use tokio::sync::Notify;

/// Chunks of every streamed job that has not ended; what has ended is read from the log.
#[derive(Debug, Default)]
pub struct OutputHub {
    jobs: Mutex<HashMap<JobId, Arc<Live>>>,
}

#[derive(Debug, Default)]
struct Live {
    buffer: Mutex<Buffer>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Buffer {
    token: Option<Token>,
    chunks: Vec<Bytes>,
    closed: bool,
}

/// What a reader gets next.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// The chunk with this number within this attempt.
    Chunk(Token, u32, Bytes),
    /// No more chunks: the job has ended, or the broker is stopping.
    Closed,
}

/// One reader's place in a job's output. Reading is cancel-safe.
#[derive(Debug)]
pub struct Subscription {
    live: Arc<Live>,
    token: Option<Token>,
    next: usize,
}

impl OutputHub {
    /// From now on chunks of this job are kept until [`Self::close`].
    pub fn open(&self, job: JobId) {
        self.lock().entry(job).or_default();
    }

    /// Adds a chunk; a repeat, or a job that nobody opened, is ignored.
    pub fn push(&self, job: JobId, token: Token, number: u32, chunk: Bytes) {
        let Some(live) = self.lock().get(&job).cloned() else { return };
        {
            let mut buffer = live.buffer.lock().unwrap_or_else(PoisonError::into_inner);
            if buffer.token < Some(token) {
                buffer.token = Some(token);
                buffer.chunks.clear();
            }
            if buffer.token != Some(token) || buffer.chunks.len() != number as usize {
                return;
            }
            buffer.chunks.push(chunk);
        }
        live.changed.notify_waiters();
    }

    /// Ends every subscription once it has read what is there.
    pub fn close(&self, job: JobId) {
        let Some(live) = self.lock().remove(&job) else { return };
        live.buffer.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        live.changed.notify_waiters();
    }

    /// A reader from the start, or `None` when the job has no live output (any more).
    pub fn subscribe(&self, job: JobId) -> Option<Subscription> {
        self.lock().get(&job).map(|live| Subscription { live: live.clone(), token: None, next: 0 })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Arc<Live>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Goes on behind the chunk that a reader says it has seen.
    pub fn resume(&mut self, token: Token, number: u32) {
        self.token = Some(token);
        self.next = number as usize + 1;
    }

    /// The next chunk as soon as there is one.
    pub async fn next(&mut self) -> Part {
        let live = self.live.clone();
        loop {
            // Registered before looking, so that a chunk in between is not missed.
            let changed = live.changed.notified();
            if let Some(part) = self.ready() {
                return part;
            }
            changed.await;
        }
    }

    /// The next chunk if it is there already.
    pub fn ready(&mut self) -> Option<Part> {
        let buffer = self.live.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = buffer.token {
            if self.token != Some(token) {
                self.token = Some(token);
                self.next = 0;
            }
            if let Some(chunk) = buffer.chunks.get(self.next) {
                self.next += 1;
                return Some(Part::Chunk(token, u32::try_from(self.next - 1).unwrap_or(u32::MAX), chunk.clone()));
            }
        }
        buffer.closed.then_some(Part::Closed)
    }
}
