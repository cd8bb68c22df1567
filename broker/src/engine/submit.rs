//! New jobs, repeats of old ones, and the jobs of a former life.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pullyard_schemas::job::{BodyAt, Job, State, apply};
use pullyard_schemas::{Failure, FailureKind, JobId, Timestamp};

use super::commit::Ack;
use super::handle::{Accepted, Ended, NewJob, Refusal, Submission, View};
use super::recover::update_of;
use super::timers::Timer;
use super::turn::{Engine, Live};
use crate::core::decide::{Command, decide};
use crate::core::schedule::{Full, FullScope};
use crate::log::Record;

/// What a client is told to wait when nothing is known of the queue's pace.
const FULL_RETRY: Duration = Duration::from_secs(5);

impl Engine {
    /// Running attempts died with the process; clients that waited on a connection are gone, unless they can come back
    /// with their idempotency key.
    pub(super) fn adopt(&mut self, jobs: HashMap<JobId, Job>) {
        let now = (self.clock)();
        let mut jobs: Vec<Job> = jobs.into_values().collect();
        jobs.sort_by_key(Job::submitted_seq);
        for job in jobs {
            let id = job.id;
            self.submitted.insert(job.submitted_seq());
            if let Some(key) = idempotency_of(&job) {
                self.idempotent.insert(key, id);
            }
            if let Some(at) = job.spec.deadline {
                self.timers.set(at, id, Timer::Deadline);
            }
            if job.spec.stream {
                self.hub.open(id);
            }
            let lost = job.lease().map(|l| l.token);
            let abandoned = job.spec.live && job.spec.idempotency_key.is_none() && !matches!(job.state, State::Parked { .. });
            let live = Live { job, body: None, waiters: Vec::new(), offered: None, lease_until: Timestamp::default() };
            self.jobs.insert(id, Box::new(live));
            if abandoned {
                self.change(id, Command::Cancel { why: "the client's connection ended with the broker".into() }, now, None);
            } else if let Some(token) = lost {
                let failure = Failure::new(FailureKind::Drained, "the broker stopped during the attempt");
                self.change(id, Command::Fail { token, failure, charge: None, delivered: false }, now, None);
            } else {
                self.place(id, now);
            }
        }
    }

    pub(super) fn submit(&mut self, submission: Submission, now: Timestamp) {
        let Submission { new, accepted, ended, promise } = submission;
        let key = idempotency(new.spec.labels.key.as_deref(), new.spec.idempotency_key.as_deref());
        if let Some(id) = key.as_ref().and_then(|k| self.idempotent.get(k)).copied() {
            self.repeat(id, Submission { new, accepted, ended, promise });
            return;
        }
        if let Some(refusal) = self.refusal(&new) {
            drop(accepted.send(Err(refusal)));
            return;
        }
        let NewJob { id, spec, body } = new;
        let (deadline, stream) = (spec.deadline, spec.stream);
        let Some(event) = decide(None, Command::Submit { spec, body: BodyAt::Inline }, now, &self.policy).ok().and_then(|mut e| e.pop())
        else {
            return;
        };
        let envelope = self.envelope(id, event, now);
        let seq = envelope.seq;
        let Ok(job) = apply(None, &envelope) else { return };
        self.submitted.insert(seq);
        self.group.updates.push(update_of(&envelope, Some(&job)));
        self.group.records.push(Record { envelope, body: body.clone() });
        let size = body.len() as u64;
        self.in_hand.push_back((seq, id, size));
        self.in_hand_bytes += size;
        let live = Live { job, body: Some(body), waiters: ended.into_iter().collect(), offered: None, lease_until: now };
        self.jobs.insert(id, Box::new(live));
        if stream {
            self.hub.open(id);
        }
        if let Some(key) = key {
            self.idempotent.insert(key, id);
        }
        if let Some(at) = deadline {
            self.timers.set(at, id, Timer::Deadline);
        }
        self.counters.accepted += 1;
        self.place(id, now);
        if let Some(view) = self.view(id) {
            let known = Accepted { view, repeated: false };
            self.group.acks.push(if promise { Ack::Accepted(accepted, known) } else { Ack::Taken(accepted, known) });
        }
    }

    fn repeat(&mut self, id: JobId, submission: Submission) {
        let Submission { new, accepted, ended, .. } = submission;
        let Some(view) = self.view(id) else { return };
        if view.job.spec.fingerprint != new.spec.fingerprint {
            drop(accepted.send(Err(Refusal::KeyReused(id))));
            return;
        }
        if let Some(live) = self.jobs.get_mut(&id) {
            if let State::Parked { .. } = live.job.state {
                // Nothing will happen to it by itself, so who waits hears of it now.
                let end = Ended { job: view.job.clone(), output: bytes::Bytes::new() };
                self.group.acks.extend(ended.map(|waiter| Ack::Ended(waiter, end)));
            } else {
                live.waiters.extend(ended);
            }
        }
        self.group.acks.push(Ack::Accepted(accepted, Accepted { view, repeated: true }));
    }

    fn refusal(&self, new: &NewJob) -> Option<Refusal> {
        if self.draining {
            return Some(Refusal::Draining);
        }
        if let Some(why) = self.stall.why() {
            return Some(Refusal::Stalled(why));
        }
        let key = new.spec.labels.key.as_deref().unwrap_or("");
        let full: Full = self.schedule.admit(key, new.spec.size).err()?;
        let per_key = full.scope == FullScope::Key;
        let what = if per_key { "this key's queue is full" } else { "the queue is full" };
        Some(Refusal::Full { per_key, what, limit: full.limit, have: full.have, retry_after: FULL_RETRY })
    }

    /// A job in memory, with its place in the queue.
    pub(super) fn view(&self, id: JobId) -> Option<View> {
        let Some(live) = self.jobs.get(&id) else {
            return self.recent.get(&id).map(|job| View { job: job.clone(), ahead: None, expected_start: None });
        };
        let ahead = self.schedule.position(id).map(|p| p.ahead);
        let expected_start = ahead.and_then(|ahead| self.expected_start(&live.job.lane(), ahead));
        Some(View { job: Arc::new(live.job.clone()), ahead, expected_start })
    }
}

/// A key is unique within the API key that used it.
fn idempotency(key: Option<&str>, idempotency_key: Option<&str>) -> Option<Arc<str>> {
    idempotency_key.map(|i| format!("{}\u{1f}{i}", key.unwrap_or("")).into())
}

pub(super) fn idempotency_of(job: &Job) -> Option<Arc<str>> {
    idempotency(job.spec.labels.key.as_deref(), job.spec.idempotency_key.as_deref())
}
