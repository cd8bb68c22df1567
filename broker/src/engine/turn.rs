//! The loop and its turn.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::job::{BodyAt, Envelope, Event, Job, Outcome, SCHEMA_VERSION, State, apply};
use pullyard_schemas::work::{Offer, Report};
use pullyard_schemas::{Failure, FailureKind, JobId, Lane, Seq, Timestamp, Token};
use pullyard_worker::transport::embedded::Incoming;
use pullyard_worker::transport::{Body, BodySource, BoxFuture, Transport};
use tokio::sync::{mpsc, oneshot};

use super::commit::{self, Ack, Committer, Flushing, Group, Stall};
use super::handle::{Accepted, Ended, Handle, Input, NewJob, Refusal, View};
use super::output::OutputHub;
use super::recover::{Error, live_jobs, update_of};
use super::timers::{Timer, Timers};
use crate::core::decide::{Command, Policy, Rejection, decide};
use crate::core::schedule::{Entry, Full, FullScope, Schedule, expected_wait};
use crate::log::{EventLog, LogReader, Record};
use crate::readmodel::ProjectorHandle;

/// How many inputs one turn takes at the most, so that a flood cannot delay answers for long.
const TURN: usize = 512;

/// What serves a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    pub slots: usize,
}

/// What the operator sets.
#[derive(Debug)]
pub struct Options {
    pub policy: Policy,
    pub schedule: crate::core::schedule::Options,
    /// `None`: every promise waits for the disk.
    pub flush_every: Option<Duration>,
}

/// What the engine stands on.
#[derive(Debug)]
pub struct Parts {
    pub log: Box<dyn EventLog>,
    pub projector: ProjectorHandle,
    /// The read model's floor and cursor, as of its opening.
    pub floor: Seq,
    pub cursor: Seq,
    pub hub: Arc<OutputHub>,
    pub clock: fn() -> Timestamp,
}

/// Recovers the live jobs and starts the loop. `transport` is made from the sender of reports.
///
/// # Errors
/// When the log cannot be read back.
pub fn start(
    parts: Parts,
    options: Options,
    transport: Arc<dyn Transport>,
    reports: mpsc::UnboundedReceiver<Incoming>,
) -> Result<(Handle, tokio::task::JoinHandle<()>), Error> {
    let reader = parts.log.reader();
    let last = parts.log.last();
    let jobs = live_jobs(&*reader, parts.floor, parts.cursor, &parts.projector)?;
    let (inputs, queue) = mpsc::unbounded_channel();
    let flushing = Flushing { every: options.flush_every };
    let (committer, stall) = commit::spawn(parts.log, flushing, parts.hub.clone(), parts.projector.clone(), inputs.downgrade())?;
    let handle = Handle { inputs, hub: parts.hub.clone(), stall: stall.clone() };
    let mut engine = Engine {
        jobs: HashMap::new(),
        submitted: std::collections::BTreeSet::new(),
        idempotent: HashMap::new(),
        recent: HashMap::new(),
        recent_order: VecDeque::new(),
        schedule: Schedule::new(options.schedule),
        timers: Timers::default(),
        lanes: HashMap::new(),
        touched: Vec::new(),
        group: Group::default(),
        last,
        draining: false,
        policy: options.policy,
        clock: parts.clock,
        transport,
        reader,
        hub: parts.hub,
        projector: parts.projector,
        committer,
        stall,
    };
    engine.adopt(jobs);
    let task = tokio::spawn(engine.run(queue, reports));
    Ok((handle, task))
}

struct Live {
    job: Job,
    /// In hand from the submission until the first attempt takes it.
    body: Option<Bytes>,
    waiters: Vec<oneshot::Sender<Ended>>,
    /// The token that has been put on the lane and not started yet.
    offered: Option<Token>,
    lease_until: Timestamp,
}

#[derive(Default)]
struct LaneState {
    slots: usize,
    /// Offered and not started.
    offered: usize,
    running: usize,
    /// Moving average of an attempt, in milliseconds.
    mean_ms: f64,
}

struct Engine {
    jobs: HashMap<JobId, Live>,
    /// Submission seqs of the live jobs: the first is the floor.
    submitted: std::collections::BTreeSet<Seq>,
    idempotent: HashMap<Arc<str>, JobId>,
    /// Ended jobs that the read model may not have yet.
    recent: HashMap<JobId, Arc<Job>>,
    recent_order: VecDeque<(Seq, JobId)>,
    schedule: Schedule,
    timers: Timers,
    lanes: HashMap<Lane, LaneState>,
    touched: Vec<Lane>,
    group: Group,
    last: Seq,
    draining: bool,
    policy: Policy,
    clock: fn() -> Timestamp,
    transport: Arc<dyn Transport>,
    reader: Arc<dyn LogReader>,
    hub: Arc<OutputHub>,
    projector: ProjectorHandle,
    committer: Committer,
    stall: Stall,
}

impl Engine {
    async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>, mut reports: mpsc::UnboundedReceiver<Incoming>) {
        let mut batch = Vec::with_capacity(TURN);
        let mut words = Vec::with_capacity(TURN);
        self.finish_turn();
        loop {
            let wait = self.timers.next().map(|at| at.since((self.clock)()));
            tokio::select! {
                n = inputs.recv_many(&mut batch, TURN) => if n == 0 { break },
                _ = reports.recv_many(&mut words, TURN), if !reports.is_closed() || !reports.is_empty() => {}
                () = tokio::time::sleep(wait.unwrap_or(Duration::from_secs(3600))) => {}
            }
            // Whatever else is there goes into the same flush.
            while words.len() < TURN
                && let Ok(word) = reports.try_recv()
            {
                words.push(word);
            }
            while batch.len() < TURN
                && let Ok(input) = inputs.try_recv()
            {
                batch.push(input);
            }
            let now = (self.clock)();
            for word in words.drain(..) {
                self.reported(word, now);
            }
            for input in batch.drain(..) {
                self.input(input, now);
            }
            while let Some((job, timer)) = self.timers.due(now) {
                self.fired(job, timer, now);
            }
            self.finish_turn();
        }
        drop(self.committer.groups.take());
        if let Some(thread) = self.committer.thread.take() {
            // The last group must be on disk before the program says that it has stopped.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Running attempts died with the process; clients that waited on a connection are gone.
    fn adopt(&mut self, jobs: HashMap<JobId, Job>) {
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
            self.jobs.insert(id, Live { job, body: None, waiters: Vec::new(), offered: None, lease_until: Timestamp::default() });
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

    fn input(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Submit { new, accepted, ended } => self.submit(new, accepted, ended, now),
            Input::Cancel { job, why, done } => self.answer(job, Command::Cancel { why }, done, now),
            Input::Requeue { job, max_attempts, done } => self.answer(job, Command::Requeue { max_attempts }, Some(done), now),
            Input::Get { job, view } => match self.view(job) {
                Some(found) => self.group.acks.push(Ack::Viewed(view, found)),
                None => drop(view.send(None)),
            },
            Input::Live { list } => drop(list.send(self.jobs.values().map(|l| Arc::new(l.job.clone())).collect())),
            Input::Await { job, ended } => {
                if let Some(live) = self.jobs.get_mut(&job) {
                    live.waiters.push(ended);
                }
            }
            Input::Capacity(lanes) => {
                for state in self.lanes.values_mut() {
                    state.slots = 0;
                }
                for (lane, capacity) in lanes {
                    self.lanes.entry(lane.clone()).or_default().slots = capacity.slots;
                    self.touched.push(lane);
                }
            }
            Input::Drain => self.draining = true,
        }
    }

    fn submit(
        &mut self,
        new: NewJob,
        accepted: oneshot::Sender<Result<Accepted, Refusal>>,
        ended: Option<oneshot::Sender<Ended>>,
        now: Timestamp,
    ) {
        let key = idempotency(new.spec.labels.key.as_deref(), new.spec.idempotency_key.as_deref());
        if let Some(id) = key.as_ref().and_then(|k| self.idempotent.get(k)).copied() {
            self.repeat(id, &new, accepted, ended);
            return;
        }
        if let Some(refusal) = self.refusal(&new) {
            drop(accepted.send(Err(refusal)));
            return;
        }
        let id = new.id;
        if new.spec.stream {
            self.hub.open(id);
        }
        let deadline = new.spec.deadline;
        let command = Command::Submit { spec: new.spec, body: BodyAt::Inline };
        let Ok(events) = decide(None, command, now, &self.policy) else { return };
        for event in events {
            let envelope = self.envelope(id, event, now);
            let Ok(job) = apply(None, &envelope) else { return };
            self.submitted.insert(envelope.seq);
            self.group.updates.push(update_of(&envelope, Some(&job)));
            self.group.records.push(Record { envelope, body: new.body.clone() });
            self.group.acks.push(Ack::Accepted(accepted, Accepted { job: Arc::new(job.clone()), repeated: false }));
            let waiters = ended.into_iter().collect();
            self.jobs.insert(id, Live { job, body: Some(new.body), waiters, offered: None, lease_until: now });
            break;
        }
        if let Some(key) = key {
            self.idempotent.insert(key, id);
        }
        if let Some(at) = deadline {
            self.timers.set(at, id, Timer::Deadline);
        }
        self.place(id, now);
    }

    fn repeat(
        &mut self,
        id: JobId,
        new: &NewJob,
        accepted: oneshot::Sender<Result<Accepted, Refusal>>,
        ended: Option<oneshot::Sender<Ended>>,
    ) {
        let job = match self.jobs.get_mut(&id) {
            Some(live) => {
                if live.job.spec.fingerprint == new.spec.fingerprint {
                    live.waiters.extend(ended);
                }
                Arc::new(live.job.clone())
            }
            None => match self.recent.get(&id) {
                Some(job) => job.clone(),
                None => return,
            },
        };
        if job.spec.fingerprint == new.spec.fingerprint {
            self.group.acks.push(Ack::Accepted(accepted, Accepted { job, repeated: true }));
        } else {
            drop(accepted.send(Err(Refusal::KeyReused(id))));
        }
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
        Some(Refusal::Full { per_key, what, limit: full.limit, have: full.have, retry_after: Duration::from_secs(5) })
    }

    fn answer(&mut self, id: JobId, command: Command, done: Option<oneshot::Sender<Result<Arc<Job>, Rejection>>>, now: Timestamp) {
        if self.jobs.contains_key(&id) {
            self.change(id, command, now, done);
        } else if let Some(done) = done {
            let rejection = self.recent.get(&id).map_or(Rejection::Unknown, |job| Rejection::Ended(job.state.name()));
            drop(done.send(Err(rejection)));
        }
    }

    /// Decides a command on a live job and carries out what follows.
    fn change(&mut self, id: JobId, command: Command, now: Timestamp, done: Option<oneshot::Sender<Result<Arc<Job>, Rejection>>>) {
        self.change_with(id, command, &Bytes::new(), now, done);
    }

    fn change_with(
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
        if let Some(done) = done
            && let Some(job) = self.jobs.get(&id).map(|l| Arc::new(l.job.clone())).or_else(|| self.recent.get(&id).cloned())
        {
            self.group.acks.push(Ack::Changed(done, job));
        }
    }

    fn happened(&mut self, id: JobId, event: Event, output: &Bytes, now: Timestamp) {
        let envelope = self.envelope(id, event, now);
        let Some(live) = self.jobs.remove(&id) else { return };
        let Live { job, body, waiters, offered, lease_until } = live;
        let before = job.lease().cloned();
        let lane = job.lane();
        let job = match apply(Some(job), &envelope) {
            Ok(job) => job,
            Err(error) => {
                tracing::error!(job = %id, %error, "the engine decided an impossible event; the job is dropped from memory");
                return;
            }
        };
        self.group.updates.push(update_of(&envelope, Some(&job)));
        let body_bytes = if matches!(envelope.event, Event::Completed { .. }) { output.clone() } else { Bytes::new() };
        self.group.records.push(Record { envelope, body: body_bytes });
        if let Some(lease) = &before
            && job.lease().is_none()
        {
            let state = self.lanes.entry(lane.clone()).or_default();
            state.running = state.running.saturating_sub(1);
            let took = now.since(lease.since).as_millis() as f64;
            state.mean_ms = if state.mean_ms == 0.0 { took } else { state.mean_ms * 0.9 + took * 0.1 };
            self.touched.push(lane.clone());
        }
        if job.state.is_terminal() {
            self.end(Live { job, body, waiters, offered, lease_until }, &lane, before.map(|l| l.token), output);
            return;
        }
        let parked = matches!(job.state, State::Parked { .. });
        let mut waiters = waiters;
        if parked {
            // A parked job is an end for who waits on the connection, though a person may still requeue it.
            let ended = Ended { job: Arc::new(job.clone()), output: Bytes::new() };
            self.group.acks.extend(waiters.drain(..).map(|w| Ack::Ended(w, ended.clone())));
        }
        let running = job.lease().is_some();
        self.jobs.insert(id, Live { job, body, waiters, offered, lease_until });
        if !running && !parked {
            self.place(id, now);
        }
    }

    fn end(&mut self, live: Live, lane: &Lane, held: Option<Token>, output: &Bytes) {
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
        self.recent_order.push_back((self.last, id));
        self.recent.insert(id, job);
    }

    /// Puts a job where its state says: on the schedule, or on the timers.
    fn place(&mut self, id: JobId, now: Timestamp) {
        let Some(live) = self.jobs.get(&id) else { return };
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
            }
            State::Running { .. } | State::Parked { .. } | State::Ended(_) => {}
        }
    }

    fn reported(&mut self, word: Incoming, now: Timestamp) {
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
                    self.started(job, token, Command::Start { token, worker, backend, model }, now)
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
        live.body = None;
        live.lease_until = now.after(self.policy.lease);
        self.timers.set(live.lease_until, id, Timer::Lease);
        self.lanes.entry(lane).or_default().running += 1;
        self.change(id, command, now, None);
    }

    /// A late attempt of a job that has left memory.
    fn bill(&mut self, id: JobId, token: Token, charge: pullyard_schemas::Charge, now: Timestamp) {
        let labels = self.recent.get(&id).map(|j| j.spec.labels.clone()).unwrap_or_default();
        let envelope = self.envelope(id, Event::Accounted { token, charge, key: labels.key, class: labels.class }, now);
        self.group.updates.push(update_of(&envelope, None));
        self.group.records.push(Record { envelope, body: Bytes::new() });
    }

    fn fired(&mut self, id: JobId, timer: Timer, now: Timestamp) {
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

    /// Fills the lanes' windows, gives the group to the committer, and forgets what the read model has.
    fn finish_turn(&mut self) {
        let now = (self.clock)();
        let mut lanes = std::mem::take(&mut self.touched);
        lanes.sort();
        lanes.dedup();
        if self.stall.why().is_none() {
            for lane in &lanes {
                self.fill(lane, now);
            }
        } else {
            // Nothing starts while its end could not be recorded; the lanes are looked at again with the next turn.
            self.touched = lanes;
            self.timers.set(now.after(Duration::from_millis(200)), JobId(uuid::Uuid::nil()), Timer::Ready);
        }
        if !self.group.records.is_empty() || !self.group.acks.is_empty() {
            self.group.floor = self.submitted.first().copied().unwrap_or_else(|| self.last.next());
            if let Some(groups) = &self.committer.groups {
                let _ = groups.send(std::mem::take(&mut self.group));
            }
        }
        let applied = self.projector.cursor();
        while let Some((seq, id)) = self.recent_order.front().copied().filter(|(seq, _)| *seq <= applied) {
            self.recent_order.pop_front();
            debug_assert!(seq <= applied);
            if let Some(key) = self.recent.remove(&id).and_then(|job| idempotency_of(&job)) {
                self.idempotent.remove(&key);
            }
        }
    }

    fn fill(&mut self, lane: &Lane, now: Timestamp) {
        loop {
            let state = self.lanes.entry(lane.clone()).or_default();
            if state.offered >= state.slots {
                return;
            }
            let Some(entry) = self.schedule.next(lane, now) else { return };
            state.offered += 1;
            let Some(live) = self.jobs.get_mut(&entry.job) else { continue };
            let job = &live.job;
            let token = job.next_token;
            live.offered = Some(token);
            let offer = Offer {
                job: job.id,
                token,
                lane: lane.clone(),
                band: job.spec.band,
                kind: job.spec.kind,
                needs: job.spec.needs,
                stream: job.spec.stream,
                on_interrupt: job.spec.on_interrupt,
                timeout_ms: job.spec.timeout_ms,
            };
            let body = live
                .body
                .take()
                .map_or_else(|| Body::Stored(Arc::new(Stored { reader: self.reader.clone(), seq: job.submitted_seq() })), Body::Ready);
            self.transport.offer(offer, body);
        }
    }

    fn view(&self, id: JobId) -> Option<View> {
        let Some(live) = self.jobs.get(&id) else {
            return self.recent.get(&id).map(|job| View { job: job.clone(), ahead: None, expected_start: None });
        };
        let ahead = self.schedule.position(id).map(|p| p.ahead);
        let expected_start = ahead.and_then(|ahead| {
            let state = self.lanes.get(&live.job.lane())?;
            expected_wait(ahead + state.offered, state.slots, Duration::from_secs_f64(state.mean_ms / 1000.0))
        });
        Some(View { job: Arc::new(live.job.clone()), ahead, expected_start })
    }

    fn envelope(&mut self, job: JobId, event: Event, now: Timestamp) -> Envelope {
        self.last = self.last.next();
        Envelope { seq: self.last, at: now, v: SCHEMA_VERSION, job, event }
    }
}

/// A key is unique within the API key that used it.
fn idempotency(key: Option<&str>, idempotency_key: Option<&str>) -> Option<Arc<str>> {
    idempotency_key.map(|i| format!("{}\u{1f}{i}", key.unwrap_or("")).into())
}

fn idempotency_of(job: &Job) -> Option<Arc<str>> {
    idempotency(job.spec.labels.key.as_deref(), job.spec.idempotency_key.as_deref())
}

/// A waiting job's body, read from the log when its attempt starts.
#[derive(Debug)]
struct Stored {
    reader: Arc<dyn LogReader>,
    seq: Seq,
}

impl BodySource for Stored {
    fn fetch(&self, _job: JobId) -> BoxFuture<'_, Result<Bytes, String>> {
        Box::pin(async move {
            let (reader, seq) = (self.reader.clone(), self.seq);
            let read = tokio::task::spawn_blocking(move || reader.read(seq)).await.map_err(|e| e.to_string())?;
            match read {
                Ok(Some(record)) => Ok(record.body),
                Ok(None) => Err(format!("event {} is not in the log (yet)", self.seq)),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}
