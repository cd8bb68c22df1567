//! A log that lasts as long as its process, for tests and for trying Pullyard out.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock};

use pullyard_schemas::Seq;

use super::{Durability, Error, EventLog, LogReader, Record, check};

/// Keeps records in memory: nothing survives the process, whatever [`Durability`] is asked for.
#[derive(Debug, Default)]
pub struct MemoryLog {
    kept: Arc<Kept>,
    last: Seq,
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[derive(Debug, Default)]
struct Kept(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many records were dropped; positions start at 1 and have no gaps.
    dropped: u64,
    records: VecDeque<Record>,
}

impl Inner {
    fn get(&self, seq: Seq) -> Option<Record> {
        let at = seq.0.checked_sub(self.dropped + 1)?;
        self.records.get(usize::try_from(at).ok()?).cloned()
    }
}

impl EventLog for MemoryLog {
    fn append(&mut self, batch: &[Record], _: Durability) -> Result<(), Error> {
        check(self.last, batch)?;
        self.kept.0.write().unwrap_or_else(PoisonError::into_inner).records.extend(batch.iter().cloned());
        self.last.0 += batch.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn last(&self) -> Seq {
        self.last
    }

    /// Each record is a segment of its own, and the bytes are those of the bodies.
    fn retain(&mut self, keep: Seq) -> Result<u64, Error> {
        let mut inner = self.kept.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut freed = 0;
        while inner.records.front().is_some_and(|r| r.envelope.seq < keep) {
            freed += inner.records.pop_front().map_or(0, |r| r.body.len() as u64);
            inner.dropped += 1;
        }
        Ok(freed)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::<Kept>::clone(&self.kept)
    }
}

impl LogReader for Kept {
    fn read(&self, seq: Seq) -> Result<Option<Record>, Error> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(seq))
    }

    fn replay(&self, from: Seq, each: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<(), Error> {
        let mut next = from.max(self.first());
        // The lock is not held while `each` runs, which may take long or append.
        while let Some(record) = self.read(next)? {
            if each(record).is_break() {
                break;
            }
            next = next.next();
        }
        Ok(())
    }

    fn first(&self) -> Seq {
        Seq(self.0.read().unwrap_or_else(PoisonError::into_inner).dropped + 1)
    }
}
