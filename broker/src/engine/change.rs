//! Commands on live jobs, and what follows from their events.

use std::sync::Arc;

use bytes::Bytes;
use pullyard_schemas::job::{Event, Job, Outcome, State, apply};
use pullyard_schemas::{JobId, Lane, Timestamp, Token};
use tokio::sync::oneshot;

use super::commit::Ack;
use super::handle::Ended;
use super::recover::update_of;
use super::timers::Timer;
use super::turn::{Engine, Live};
use crate::core::decide::{Command, Rejection, decide};
use crate::core::schedule::Entry;
use crate::log::Record;

impl Engine {
    pub(super) fn answer(
        &mut self,
        id: JobId,
        command: Command,
        done: Option<oneshot::Sender<Result<Arc<Job>, Rejection>>>,
        now: Timestamp,
    ) {
        if self.jobs.contains_key(&id) {
            self.change(id, command, now, done);
        } else if let Some(done) = done {
            let rejection = self.recent.get(&id).map_or(Rejection::Unknown, |job| Rejection::Ended(job.state.name()));
            drop(done.send(Err(rejection)));
        }
    }

    /// Decides a command on a live job and carries out what follows.
    pub(super) fn change(
        &mut self,
        id: JobId,
        command: Command,
        now: Timestamp,
        done: Option<oneshot::Sender<Result<Arc<Job>, Rejection>>>,
    ) {
        self.change_with(id, command, &Bytes::new(), now, done);
    }

    pub(super) fn change_with(
        &mut self,
        id: JobId,
        command: Command,
        output: &Bytes,
        now: Timestamp,
        done: Option<oneshot::Sender<Result<Arc<Job>, Rejection>>>,
    ) {
        let Some(live) = self.jobs.get(&id) else { return };
        let events = match decide(Some(&live.job), command, now, &self.policy) {
            Ok(events) => events,
            Err(rejection) => {
                if let Some(done) = done {
                    drop(done.send(Err(rejection)));
                }
                return;
            }
        };
        for event in events {
            self.happened(id, event, output, now);
        }
        // Only now: between two events of one decision, a job that is about to be parked looks as if it waited.
        self.place(id, now);
        if let Some(done) = done
            && let Some(job) = self.jobs.get(&id).map(|l| Arc::new(l.job.clone())).or_else(|| self.recent.get(&id).cloned())
        {
            self.group.acks.push(Ack::Changed(done, job));
        }
    }

    fn happened(&mut self, id: JobId, event: Event, output: &Bytes, now: Timestamp) {
        let envelope = self.envelope(id, event, now);
        let Some(live) = self.jobs.remove(&id) else { return };
        let Live { job, body, waiters, offered, lease_until } = *live;
        let before = job.lease().cloned();
        let lane = job.lane();
        let job = match apply(Some(job), &envelope) {
            Ok(job) => job,
            Err(error) => {
                tracing::error!(job = %id, %error, "the engine decided an impossible event; the job is dropped from memory");
                return;
            }
        };
        self.count(&envelope.event);
        self.group.updates.push(update_of(&envelope, Some(&job)));
        let body_bytes = if matches!(envelope.event, Event::Completed { .. }) { output.clone() } else { Bytes::new() };
        self.group.records.push(Record { envelope, body: body_bytes });
        if let Some(lease) = &before
            && job.lease().is_none()
        {
            let state = self.lanes.entry(lane.clone()).or_default();
            state.ended(now.since(lease.since));
            self.touched.push(lane.clone());
        }
        if job.state.is_terminal() {
            self.end(Live { job, body, waiters, offered, lease_until }, &lane, before.map(|l| l.token), output, now);
            return;
        }
        let parked = matches!(job.state, State::Parked { .. });
        let mut waiters = waiters;
        if parked {
            // A parked job is an end for who waits on the connection, though a person may still requeue it.
            let ended = Ended { job: Arc::new(job.clone()), output: Bytes::new() };
            self.group.acks.extend(waiters.drain(..).map(|w| Ack::Ended(w, ended.clone())));
        }
        self.jobs.insert(id, Box::new(Live { job, body, waiters, offered, lease_until }));
    }

    fn end(&mut self, live: Live, lane: &Lane, held: Option<Token>, output: &Bytes, now: Timestamp) {
        let Live { job, waiters, offered, .. } = live;
        let id = job.id;
        self.schedule.remove(id);
        if let Some(token) = offered {
            let state = self.lanes.entry(lane.clone()).or_default();
            state.offered = state.offered.saturating_sub(1);
            self.touched.push(lane.clone());
            self.transport.withdraw(id, token);
        }
        let completed = matches!(job.state, State::Ended(Outcome::Completed { .. }));
        if let Some(token) = held.filter(|_| !completed) {
            self.transport.withdraw(id, token);
        }
        if let Some(at) = job.spec.deadline {
            self.timers.clear(at, id, Timer::Deadline);
        }
        self.submitted.remove(&job.submitted_seq());
        let job = Arc::new(job);
        let ended = Ended { job: job.clone(), output: output.clone() };
        self.group.acks.extend(waiters.into_iter().map(|w| Ack::Ended(w, ended.clone())));
        if job.spec.stream {
            self.group.acks.push(Ack::Close(id));
        }
        self.recent_order.push_back((self.last, id, now));
        self.recent.insert(id, job);
    }

    /// Puts a job where its state says: on the schedule, or on the timers. One that has been offered has its place.
    pub(super) fn place(&mut self, id: JobId, now: Timestamp) {
        let Some(live) = self.jobs.get(&id).filter(|live| live.offered.is_none()) else { return };
        match &live.job.state {
            State::Deferred { until } if *until > now => self.timers.set(*until, id, Timer::Ready),
            State::Queued | State::Deferred { .. } => {
                let job = &live.job;
                let entry = Entry {
                    job: id,
                    lane: job.lane(),
                    band: job.spec.band,
                    key: job.spec.labels.key.clone().unwrap_or_else(|| "".into()),
                    size: job.spec.size,
                    queued_at: job.submitted_at,
                };
                self.touched.push(entry.lane.clone());
                self.schedule.push(entry);
                self.reroute(id, now);
            }
            State::Running { .. } | State::Parked { .. } | State::Ended(_) => {}
        }
    }

    fn count(&mut self, event: &Event) {
        let counters = &mut self.counters;
        match event {
            Event::Completed { .. } => counters.completed += 1,
            Event::Cancelled { .. } => counters.cancelled += 1,
            Event::Expired => counters.expired += 1,
            Event::Parked { .. } => counters.parked += 1,
            Event::AttemptFailed { .. } => counters.failed_attempts += 1,
            Event::LeaseLost { .. } => counters.lost_leases += 1,
            Event::Rerouted { .. } => counters.rerouted += 1,
            Event::Submitted { .. }
            | Event::Leased { .. }
            | Event::Checkpointed { .. }
            | Event::Requeued { .. }
            | Event::Accounted { .. } => {}
        }
    }
}
