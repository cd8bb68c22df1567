//! What workers say, and what time says.

use std::sync::Arc;

use bytes::Bytes;
use pullyard_schemas::job::{BodyAt, State};
use pullyard_schemas::work::Report;
use pullyard_schemas::{JobId, Timestamp, Token, WorkerId};
use pullyard_worker::transport::{Incoming, Receipt, Word};

use super::bill::Bill;
use super::commit::Ack;
use super::timers::Timer;
use super::turn::Engine;
use crate::blobs::LARGE;
use crate::core::decide::{Command, decide};

impl Engine {
    pub(super) fn heard(&mut self, incoming: Incoming, now: Timestamp) {
        match incoming {
            Incoming::Word(word, receipt) => self.reported(word, receipt, BodyAt::Inline, now),
            Incoming::Alive { attempts, .. } => {
                for (job, token) in attempts {
                    if self.jobs.get(&job).and_then(|job| job.lease()).is_some_and(|l| l.token == token) {
                        self.leases.insert(job, now.after(self.policy.lease));
                    }
                }
            }
            Incoming::Way { .. } => {}
        }
    }

    /// `at` tells where the output is by now.
    pub(super) fn reported(&mut self, word: Word, receipt: Receipt, at: BodyAt, now: Timestamp) {
        if at == BodyAt::Inline && word.output.len() >= LARGE {
            self.output_aside(word, receipt, now);
            return;
        }
        let Word { job, token, worker, report, output } = word;
        let ends = !matches!(report, Report::Started { .. });
        let live = self.jobs.contains_key(&job);
        match report {
            Report::Started { backend, model } => self.started(job, token, worker, backend, model, now),
            Report::Completed { charge, .. } | Report::Failed { charge: Some(charge), .. } if !live => {
                return self.bill(Bill { job, token, worker, charge, receipt }, now);
            }
            Report::Completed { charge, finish } => {
                self.change_with(job, Command::Complete { token, worker, charge, finish, body: at }, &output, now, None);
            }
            Report::Failed { failure, charge, delivered } => {
                self.change(job, Command::Fail { token, worker, failure, charge, delivered }, now, None);
            }
        }
        if !receipt.is_idle() {
            self.group.acks.push(Ack::Kept { receipt, ends });
        }
    }

    fn started(&mut self, id: JobId, token: Token, worker: WorkerId, backend: Arc<str>, model: Arc<str>, now: Timestamp) {
        if let Some(offered) = self.offered.remove(&id) {
            if offered.token == token {
                let state = self.lanes.entry(offered.lane).or_default();
                state.offered = state.offered.saturating_sub(1);
            } else {
                self.offered.insert(id, offered);
            }
        }
        let command = Command::Start { token, worker: worker.clone(), backend, model };
        let decided = self.jobs.get(&id).map(|job| (decide(Some(job), command, now, &self.policy), job.lane()));
        let Some((Ok(events), lane)) = decided else {
            self.transport.withdraw(id, token, Some(&worker));
            return;
        };
        // Said twice, it is one attempt.
        if events.is_empty() {
            return;
        }
        let until = now.after(self.policy.lease);
        self.leases.insert(id, until);
        self.timers.set(until, id, Timer::Lease);
        self.lanes.entry(lane).or_default().running += 1;
        self.carry_out(id, events, &Bytes::new(), now);
    }

    pub(super) fn fired(&mut self, id: JobId, timer: Timer, now: Timestamp) {
        let Some(job) = self.jobs.get(&id) else { return };
        match timer {
            Timer::Ready => {
                if matches!(job.state, State::Deferred { until } if until <= now) {
                    self.place(id, now);
                }
            }
            Timer::Deadline => {
                if job.spec.deadline.is_some_and(|at| at <= now) {
                    self.change(id, Command::Expire, now, None);
                }
            }
            Timer::Lease => {
                let (Some(lease), Some(until)) = (job.lease(), self.leases.get(&id).copied()) else { return };
                if until > now {
                    self.timers.set(until, id, Timer::Lease);
                } else {
                    let (token, worker) = (lease.token, lease.worker.clone());
                    tracing::warn!(job = %id, attempt = %token, %worker, "lease lost");
                    self.transport.withdraw(id, token, Some(&worker));
                    self.change(id, Command::LoseLease { token }, now, None);
                }
            }
        }
    }
}
