//! Live output of running attempts, for readers that come, leave and come back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// One behind the other, they are the output so far: those of sealed attempts, then that of the running one.
    parts: Vec<Spoken>,
    /// Attempts up to this one have ended: what still comes of them is ignored, because the next one goes on behind what
    /// was there when they did.
    sealed: Option<Token>,
    /// Attempts before this one are over, whoever still makes one of them.
    from: Option<Token>,
    /// Attempts up to this one are known to the log.
    written: Option<Token>,
    closed: bool,
    /// Held by every reader that can come back.
    followers: Arc<()>,
}

/// What one attempt said.
#[derive(Debug)]
struct Spoken {
    token: Token,
    chunks: Vec<Bytes>,
}

/// What a reader gets next.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// The chunk with this number within this attempt.
    Chunk(Token, u32, Bytes),
    /// What this reader has had does not count any more: the output begins anew, with this attempt's.
    Restart(Token),
    /// No more chunks: the job has ended, or the broker is stopping.
    Closed,
}

/// One reader's place in a job's output. Reading is cancel-safe.
#[derive(Debug)]
pub struct Subscription {
    live: Arc<Live>,
    token: Option<Token>,
    next: usize,
    following: Option<Arc<()>>,
}

impl OutputHub {
    /// From now on chunks of this job's attempts from this one on are kept until [`Self::close`].
    pub fn open(&self, job: JobId, from: Token) {
        let live = self.lock().entry(job).or_default().clone();
        let mut buffer = live.buffer();
        buffer.from = buffer.from.max(Some(from));
    }

    /// Attempts before this one are over: what still comes of them is another worker's that was given one too, or late, and
    /// no reader shall have it before the output of the next.
    pub fn begin_at(&self, job: JobId, from: Token) {
        if let Some(live) = self.get(job) {
            let mut buffer = live.buffer();
            buffer.from = buffer.from.max(Some(from));
        }
    }

    /// Adds a chunk; a repeat, a late one, or one of a job that nobody opened, is ignored.
    pub fn push(&self, job: JobId, token: Token, number: u32, chunk: Bytes) {
        let Some(live) = self.get(job) else { return };
        {
            let mut buffer = live.buffer();
            if Some(token) < buffer.from || buffer.sealed >= Some(token) || buffer.parts.last().is_some_and(|part| part.token > token) {
                return;
            }
            // An attempt that was not sealed is not gone on behind: this one starts over.
            while buffer.parts.last().is_some_and(|part| part.token < token && Some(part.token) > buffer.sealed) {
                buffer.parts.pop();
            }
            if buffer.parts.last().is_none_or(|part| part.token != token) {
                if number > 0 {
                    return;
                }
                buffer.parts.push(Spoken { token, chunks: Vec::new() });
            }
            let Some(part) = buffer.parts.last_mut().filter(|part| part.chunks.len() == number as usize) else { return };
            part.chunks.push(chunk);
        }
        live.changed.notify_waiters();
    }

    /// The log knows that this attempt has begun, so that no other will ever have its number: readers that can come back may
    /// have what it says.
    pub fn written(&self, job: JobId, token: Token) {
        let Some(live) = self.get(job) else { return };
        {
            let mut buffer = live.buffer();
            buffer.written = buffer.written.max(Some(token));
        }
        live.changed.notify_waiters();
    }

    /// Whether a reader that can come back waits for this job's output.
    pub fn is_followed(&self, job: JobId) -> bool {
        self.get(job).is_some_and(|live| Arc::strong_count(&live.buffer().followers) > 1)
    }

    /// Takes no more of this attempt and of those before it; tells how many chunks it had.
    pub fn seal(&self, job: JobId, token: Token) -> u32 {
        let Some(live) = self.get(job) else { return 0 };
        let mut buffer = live.buffer();
        buffer.sealed = buffer.sealed.max(Some(token));
        let chunks = buffer.parts.iter().find(|part| part.token == token).map_or(0, |part| part.chunks.len());
        u32::try_from(chunks).unwrap_or(u32::MAX)
    }

    /// Forgets the sealed attempts that the next one does not go on behind.
    pub fn retain(&self, job: JobId, kept: impl Fn(Token) -> bool) {
        let Some(live) = self.get(job) else { return };
        let mut buffer = live.buffer();
        let sealed = buffer.sealed;
        buffer.parts.retain(|part| Some(part.token) > sealed || kept(part.token));
    }

    /// Puts back what a former life of the broker had kept.
    pub fn restore(&self, job: JobId, parts: impl IntoIterator<Item = (Token, Vec<Bytes>)>) {
        let live = self.lock().entry(job).or_default().clone();
        let mut buffer = live.buffer();
        buffer.parts = parts.into_iter().map(|(token, chunks)| Spoken { token, chunks }).collect();
        buffer.sealed = buffer.parts.last().map(|part| part.token);
        buffer.written = buffer.sealed;
    }

    /// The output up to the end of this attempt, a line for each chunk, and how many they are.
    pub fn lines(&self, job: JobId, last: Token) -> (Bytes, u32) {
        let Some(live) = self.get(job) else { return (Bytes::new(), 0) };
        let buffer = live.buffer();
        let chunks = || buffer.parts.iter().filter(|part| part.token <= last).flat_map(|part| &part.chunks);
        let mut lines = Vec::with_capacity(chunks().map(|chunk| chunk.len() + 1).sum());
        for chunk in chunks() {
            lines.extend_from_slice(chunk);
            lines.push(b'\n');
        }
        (lines.into(), u32::try_from(chunks().count()).unwrap_or(u32::MAX))
    }

    /// Ends every subscription once it has read what is there.
    pub fn close(&self, job: JobId) {
        let Some(live) = self.lock().remove(&job) else { return };
        live.buffer().closed = true;
        live.changed.notify_waiters();
    }

    /// A reader from the start, or `None` when the job has no live output (any more).
    pub fn subscribe(&self, job: JobId) -> Option<Subscription> {
        self.get(job).map(|live| Subscription { live, token: None, next: 0, following: None })
    }

    fn get(&self, job: JobId) -> Option<Arc<Live>> {
        self.lock().get(&job).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Live>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// For a reader that is told which chunk it gets, and may ask for what is behind it when the broker has been killed: it
    /// gets nothing of an attempt that the log does not know, because another one may have its number then.
    #[must_use]
    pub fn following(mut self) -> Self {
        let followers = self.live.buffer().followers.clone();
        self.following = Some(followers);
        self
    }

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
        let buffer = self.live.buffer();
        let all = buffer.parts.len();
        let shown = if self.following.is_some() { buffer.parts.partition_point(|part| Some(part.token) <= buffer.written) } else { all };
        let parts = &buffer.parts[..shown];
        let mut at = 0;
        if let (Some(token), Some(first)) = (self.token, parts.first()) {
            match parts.iter().position(|part| part.token == token) {
                Some(found) => at = found,
                None => {
                    self.token = None;
                    return Some(Part::Restart(first.token));
                }
            }
        }
        for part in parts.iter().skip(at) {
            if self.token != Some(part.token) {
                self.token = Some(part.token);
                self.next = 0;
            }
            if let Some(chunk) = part.chunks.get(self.next) {
                self.next += 1;
                return Some(Part::Chunk(part.token, u32::try_from(self.next - 1).unwrap_or(u32::MAX), chunk.clone()));
            }
        }
        buffer.closed.then_some(Part::Closed)
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
