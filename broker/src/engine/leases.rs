//! Leases: who holds one, what renews it, and when silence means that its worker is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::job::Event;
use pullyard_schemas::{FailureKind, JobId, Lane, Timestamp, Token, WorkerId};

use super::timers::Timer;
use super::turn::Engine;
use crate::core::decide::{Command, waits_for};
use crate::log::Record;

/// A turn that comes later than planned by less than this was only busy.
const BUSY: Duration = Duration::from_secs(1);

/// The words of a worker that has gone are on another way than the news of it, and may come a little later.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Which workers are inside this process, so that their attempts died with the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnWorkers {
    /// There are no others, whatever the one of the former life was called: a container has a new name each time.
    All,
    Named(Vec<WorkerId>),
}

impl OwnWorkers {
    pub(super) fn has(&self, worker: &WorkerId) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(worker),
        }
    }
}

/// Tells since when the way to the workers is closed, in milliseconds; 0 while it is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Way(Arc<AtomicU64>);

impl Way {
    pub(super) fn closed_since(&self) -> Option<Timestamp> {
        Some(Timestamp(self.0.load(Ordering::Acquire))).filter(|since| since.0 > 0)
    }

    fn set(&self, closed_since: Option<Timestamp>) {
        self.0.store(closed_since.map_or(0, |since| since.0.max(1)), Ordering::Release);
    }
}

impl Engine {
    /// A running attempt is watched from now on.
    pub(super) fn watch_lease(&mut self, id: JobId, lane: Lane, now: Timestamp) {
        self.renew(id, now);
        self.lanes.entry(lane).or_default().running += 1;
    }

    fn renew(&mut self, id: JobId, now: Timestamp) {
        let until = now.after(self.policy.lease);
        self.leases.insert(id, until);
        self.timers.set(until, id, Timer::Lease);
    }

    fn renew_all(&mut self, now: Timestamp) {
        for id in self.leases.keys().copied().collect::<Vec<_>>() {
            self.renew(id, now);
        }
    }

    /// A worker says what it runs. Where it runs what it should not, because it missed that its attempt was withdrawn, it
    /// is told again.
    pub(super) fn alive(&mut self, worker: Option<&WorkerId>, attempts: Vec<(JobId, Token)>, now: Timestamp) {
        let until = now.after(self.policy.lease);
        for (id, token) in attempts {
            let job = self.jobs.get(&id);
            let lease = job.and_then(|job| job.lease()).filter(|lease| lease.token == token);
            if lease.is_some_and(|lease| worker.is_none_or(|worker| *worker == lease.worker)) {
                self.leases.insert(id, until);
                continue;
            }
            let Some(worker) = worker else { continue };
            // Its start may be on its way.
            let unheard = job.is_some_and(|job| waits_for(job, token));
            if !unheard && !self.is_over(id, token, worker) {
                self.transport.withdraw(id, token, Some(worker));
            }
        }
    }

    /// What workers say does not come through while the way is closed, so their silence is no sign; and once it is open
    /// they need a while to be heard again.
    pub(super) fn way(&mut self, open: bool, now: Timestamp) {
        let closed = self.way.closed_since();
        if open == closed.is_none() {
            return;
        }
        if let (true, Some(since)) = (open, closed) {
            tracing::info!(after = ?now.since(since), "the way to the workers is open again");
            self.renew_all(now);
        } else {
            tracing::warn!("the way to the workers is closed; no lease is lost until it is open");
        }
        self.way.set((!open).then_some(now));
    }

    /// How long the engine may sleep while leases are held: if it slept much longer, it has not listened.
    pub(super) fn nap(&self) -> Option<Duration> {
        (!self.leases.is_empty()).then(|| (self.policy.lease / 4).max(Duration::from_millis(50)))
    }

    /// A process that was stopped, or whose machine slept, has heard nobody meanwhile; and a clock that jumps says nothing
    /// about workers either. `wait` is what the turn that began at `since` was to be followed by.
    pub(super) fn woke(&mut self, since: Timestamp, wait: Duration, now: Timestamp) {
        let busy = (self.policy.lease / 4).max(BUSY);
        let (overslept, went_back) = (now > since.after(wait + busy), now.after(busy) < since);
        if (overslept || went_back) && !self.leases.is_empty() {
            tracing::warn!(leases = self.leases.len(), "the broker stood still, or its clock was set; all leases begin anew");
            self.renew_all(now);
        }
    }

    pub(super) fn lease_due(&mut self, id: JobId, now: Timestamp) {
        let Some(until) = self.leases.get(&id).copied() else { return };
        // Where it is aside, the attempt has ended and its output is being written.
        if self.way.closed_since().is_some() || self.aside.contains_key(&id) {
            self.renew(id, now);
        } else if until > now {
            self.timers.set(until, id, Timer::Lease);
        } else {
            self.lose(id, now);
        }
    }

    /// A worker has come or gone. Of one that has gone nobody need wait for its leases to run out, but for its last words.
    pub(super) fn worker(&mut self, event: Event, now: Timestamp) {
        let left = if let Event::WorkerLeft { worker, .. } = &event { Some(worker.clone()) } else { None };
        let envelope = self.envelope(JobId::NONE, event, now);
        self.group.records.push(Record { envelope, body: Bytes::new() });
        let Some(left) = left else { return };
        let holds = |id: &JobId| self.jobs.get(id).and_then(|job| job.lease()).is_some_and(|lease| lease.worker == left);
        let held: Vec<JobId> = self.leases.keys().copied().filter(|id| holds(id) && !self.aside.contains_key(id)).collect();
        let until = now.after(LAST_WORDS);
        for id in held {
            if self.leases.get(&id).is_some_and(|lease| *lease > until) {
                self.leases.insert(id, until);
                self.timers.set(until, id, Timer::Lease);
            }
        }
    }

    fn lose(&mut self, id: JobId, now: Timestamp) {
        let Some(lease) = self.jobs.get(&id).and_then(|job| job.lease()) else { return };
        let (token, worker) = (lease.token, lease.worker.clone());
        tracing::warn!(job = %id, attempt = %token, %worker, "lease lost");
        self.transport.withdraw(id, token, Some(&worker));
        self.interrupted(id, token, FailureKind::Connect, Command::LoseLease { token }, now);
    }
}
