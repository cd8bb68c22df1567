//! What workers say, and what time says.

use bytes::Bytes;
use pullyard_schemas::job::{BodyAt, Event, State};
use pullyard_schemas::work::Report;
use pullyard_schemas::{Charge, JobId, Timestamp, Token};
use pullyard_worker::transport::embedded::Incoming;

use super::recover::update_of;
use super::timers::Timer;
use super::turn::Engine;
use crate::core::decide::{Command, decide};
use crate::log::Record;

impl Engine {
    pub(super) fn reported(&mut self, word: Incoming, now: Timestamp) {
        match word {
            Incoming::Extended { job, token } => {
                if let Some(live) = self.jobs.get_mut(&job)
                    && live.job.lease().is_some_and(|l| l.token == token)
                {
                    live.lease_until = now.after(self.policy.lease);
                }
            }
            Incoming::Report { job, token, report, output } => match report {
                Report::Started { worker, backend, model } => {
                    self.started(job, token, Command::Start { token, worker, backend, model }, now);
                }
                Report::Completed { charge, finish } => {
                    if self.jobs.contains_key(&job) {
                        self.change_with(job, Command::Complete { token, charge, finish, body: BodyAt::Inline }, &output, now, None);
                    } else {
                        self.bill(job, token, charge, now);
                    }
                }
                Report::Failed { failure, charge, delivered } => {
                    if self.jobs.contains_key(&job) {
                        self.change(job, Command::Fail { token, failure, charge, delivered }, now, None);
                    } else if let Some(charge) = charge {
                        self.bill(job, token, charge, now);
                    }
                }
            },
        }
    }

    fn started(&mut self, id: JobId, token: Token, command: Command, now: Timestamp) {
        let Some(live) = self.jobs.get_mut(&id) else {
            self.transport.withdraw(id, token);
            return;
        };
        let lane = live.job.lane();
        if live.offered == Some(token) {
            live.offered = None;
            let state = self.lanes.entry(lane.clone()).or_default();
            state.offered = state.offered.saturating_sub(1);
        }
        if decide(Some(&live.job), command.clone(), now, &self.policy).is_err() {
            self.transport.withdraw(id, token);
            return;
        }
        if self.committer.written() >= live.job.submitted_seq() {
            live.body = None;
        }
        live.lease_until = now.after(self.policy.lease);
        self.timers.set(live.lease_until, id, Timer::Lease);
        self.lanes.entry(lane).or_default().running += 1;
        self.change(id, command, now, None);
    }

    /// A late attempt of a job that has left memory.
    fn bill(&mut self, id: JobId, token: Token, charge: Charge, now: Timestamp) {
        let labels = self.recent.get(&id).map(|j| j.spec.labels.clone()).unwrap_or_default();
        let envelope = self.envelope(id, Event::Accounted { token, charge, key: labels.key, class: labels.class }, now);
        self.group.updates.push(update_of(&envelope, None));
        self.group.records.push(Record { envelope, body: Bytes::new() });
    }

    pub(super) fn fired(&mut self, id: JobId, timer: Timer, now: Timestamp) {
        let Some(live) = self.jobs.get(&id) else { return };
        match timer {
            Timer::Ready => {
                if matches!(live.job.state, State::Deferred { until } if until <= now) && live.offered.is_none() {
                    self.place(id, now);
                }
            }
            Timer::Deadline => {
                if live.job.spec.deadline.is_some_and(|at| at <= now) && !matches!(live.job.state, State::Parked { .. }) {
                    self.change(id, Command::Expire, now, None);
                }
            }
            Timer::Lease => {
                let Some(lease) = live.job.lease() else { return };
                if live.lease_until > now {
                    self.timers.set(live.lease_until, id, Timer::Lease);
                } else {
                    let token = lease.token;
                    tracing::warn!(job = %id, attempt = %token, worker = %lease.worker, "lease lost");
                    self.transport.withdraw(id, token);
                    self.change(id, Command::LoseLease { token }, now, None);
                }
            }
        }
    }
}
