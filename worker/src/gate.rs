//! What a backend's own attempts say against pulling for it.

use std::time::Duration;

use pullyard_schemas::{FailureKind, JobId};
use tokio::time::Instant;

use crate::attempt::Verdict;
use crate::breaker::{Allowance, Breaker};

/// How long a backend that said that it is full, but not for how long, is left alone.
const BUSY: Duration = Duration::from_millis(250);

/// Opens and closes with how the attempts end.
#[derive(Debug)]
pub(crate) struct Gate {
    breaker: Breaker,
    busy_until: Instant,
}

/// What an attempt's end changed for its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Broken,
    Recovered,
}

impl Gate {
    pub(crate) fn new(breaker: Breaker, now: Instant) -> Self {
        Self { breaker, busy_until: now }
    }

    pub(crate) fn is_broken(&self) -> bool {
        !self.breaker.is_closed()
    }

    /// How many may be pulled, or when to look again; `None`: when an attempt has ended.
    pub(crate) fn open(&mut self, now: Instant) -> Result<usize, Option<Instant>> {
        if self.busy_until > now {
            return Err(Some(self.busy_until));
        }
        match self.breaker.allowance(now) {
            Allowance::All => Ok(usize::MAX),
            Allowance::Probe => Ok(1),
            Allowance::Nothing(until) => Err(until),
        }
    }

    pub(crate) fn pulled(&mut self, jobs: usize, now: Instant) {
        if jobs > 0 {
            self.breaker.started(now);
        }
    }

    pub(crate) fn judge(&mut self, job: JobId, verdict: &Verdict, now: Instant) -> Option<Change> {
        let Some(failure) = &verdict.failure else {
            return self.breaker.succeeded().then_some(Change::Recovered);
        };
        match failure.kind {
            // It was never asked.
            _ if !verdict.asked => {}
            FailureKind::Connect | FailureKind::Unauthorized => return self.breaker.failed(None, now).then_some(Change::Broken),
            FailureKind::Timeout | FailureKind::Backend | FailureKind::Garbage => {
                return self.breaker.failed(Some(job), now).then_some(Change::Broken);
            }
            FailureKind::Busy => self.busy_until = self.busy_until.max(now + failure.retry_after().unwrap_or(BUSY)),
            // The request's fault, or ours.
            FailureKind::NoModel
            | FailureKind::BadRequest
            | FailureKind::ContextLength
            | FailureKind::CannotContinue
            | FailureKind::Cancelled
            | FailureKind::Drained => {}
        }
        self.breaker.undecided();
        None
    }
}
