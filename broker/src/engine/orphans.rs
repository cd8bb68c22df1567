//! Jobs whose clients left without the answer, though they will be back for it: SDKs send a request again by themselves when
//! its connection breaks or a timeout passes, and say so. Then the first job is the one that answers.
//!
//! A job is claimed once, and only after its own client has gone. So of several requests that are the same word for word
//! each still has an answer of its own.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use pullyard_schemas::job::{Job, Outcome, State};
use pullyard_schemas::{JobId, Timestamp};

use super::timers::Timer;
use super::turn::Engine;
use crate::core::decide::Command;

/// How long the answer of one that completed meanwhile can be had.
const KEPT: Duration = Duration::from_secs(60);

/// How a client comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Back {
    /// By what its request is recognised: whose it is, and all that it asks.
    pub print: u64,
    /// How long the job goes on without it.
    pub within: Duration,
}

/// By what their requests are recognised.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    jobs: HashMap<JobId, Orphan>,
    /// Oldest first.
    prints: HashMap<u64, VecDeque<JobId>>,
}

#[derive(Debug)]
struct Orphan {
    print: u64,
    until: Timestamp,
    /// It is cancelled when nobody comes.
    cancel: bool,
}

impl Orphans {
    fn add(&mut self, job: JobId, orphan: Orphan) {
        self.prints.entry(orphan.print).or_default().push_back(job);
        self.jobs.insert(job, orphan);
    }

    fn remove(&mut self, job: JobId) -> Option<Orphan> {
        let orphan = self.jobs.remove(&job)?;
        if let Some(same) = self.prints.get_mut(&orphan.print) {
            same.retain(|other| *other != job);
            if same.is_empty() {
                self.prints.remove(&orphan.print);
            }
        }
        Some(orphan)
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    fn oldest(&self, print: u64) -> Option<JobId> {
        self.prints.get(&print)?.front().copied()
    }
}

impl Engine {
    /// The connection that waited for a job has ended before it. With `back` its client may come back.
    pub(super) fn left(&mut self, job: JobId, back: Option<Back>, cancel: bool, now: Timestamp) {
        if !self.jobs.contains_key(&job) {
            return;
        }
        match back {
            Some(Back { print, within }) => {
                let until = now.after(within);
                self.timers.set(until, job, Timer::Left);
                self.orphans.add(job, Orphan { print, until, cancel });
            }
            None if cancel => self.give_up(job, now),
            None => {}
        }
    }

    /// The job that such a request was left with, which is the claimer's from now on.
    pub(super) fn claim(&mut self, print: u64) -> Option<JobId> {
        let job = self.orphans.oldest(print)?;
        let orphan = self.orphans.remove(job)?;
        self.timers.clear(orphan.until, job, Timer::Left);
        Some(job)
    }

    /// Nobody has come in time.
    pub(super) fn not_back(&mut self, job: JobId, now: Timestamp) {
        if self.orphans.jobs.get(&job).is_some_and(|orphan| orphan.until <= now)
            && let Some(Orphan { cancel: true, .. }) = self.orphans.remove(job)
        {
            self.give_up(job, now);
        }
    }

    /// A job that nobody waits for has come to rest: its answer is kept, where it has one.
    pub(super) fn rests_alone(&mut self, job: &Job, now: Timestamp) {
        let Some(orphan) = self.orphans.jobs.get_mut(&job.id) else { return };
        let old = orphan.until;
        if matches!(job.state, State::Ended(Outcome::Completed { .. })) {
            (orphan.until, orphan.cancel) = (now.after(KEPT), false);
            self.timers.set(orphan.until, job.id, Timer::Left);
        } else {
            self.orphans.remove(job.id);
        }
        self.timers.clear(old, job.id, Timer::Left);
    }

    fn give_up(&mut self, job: JobId, now: Timestamp) {
        self.change(job, Command::Cancel { why: "the client left".into() }, now, None);
    }
}
