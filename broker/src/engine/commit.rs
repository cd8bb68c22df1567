//! The committer: one thread that owns the log, writes each group of events with one flush, and only then gives the
//! answers that promise something.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pullyard_schemas::{JobId, Seq};
use tokio::sync::{mpsc, oneshot};

use super::handle::{Accepted, Ended, Input, Refusal, View};
use super::output::OutputHub;
use crate::core::decide::Rejection;
use crate::log::{Durability, EventLog, Record};
use crate::readmodel::{ProjectorHandle, Update};
use pullyard_schemas::job::Job;

/// How often a group that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Tells, while the log cannot be written, why.
#[derive(Clone, Debug, Default)]
pub struct Stall(Arc<Mutex<Option<Arc<str>>>>);

impl Stall {
    #[must_use]
    pub fn why(&self) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, why: Option<Arc<str>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// An answer that waits for the disk.
#[derive(Debug)]
pub(super) enum Ack {
    Accepted(oneshot::Sender<Result<Accepted, Refusal>>, Accepted),
    Ended(oneshot::Sender<Ended>, Ended),
    Changed(oneshot::Sender<Result<Arc<Job>, Rejection>>, Arc<Job>),
    Viewed(oneshot::Sender<Option<View>>, View),
    /// The job has ended: its live output closes.
    Close(JobId),
}

/// The events of one turn, with what follows from them once they are on disk.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) records: Vec<Record>,
    pub(super) acks: Vec<Ack>,
    pub(super) updates: Vec<Update>,
    pub(super) floor: Seq,
}

pub(super) struct Committer {
    pub(super) groups: Option<Sender<Group>>,
    pub(super) thread: Option<JoinHandle<()>>,
}

/// How soon events must be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flushing {
    /// `None`: before any answer. Otherwise answers wait for the write only, and this is the most that a power cut loses.
    pub(super) every: Option<Duration>,
}

pub(super) fn spawn(
    log: Box<dyn EventLog>,
    flushing: Flushing,
    hub: Arc<OutputHub>,
    projector: ProjectorHandle,
    engine: mpsc::WeakUnboundedSender<Input>,
) -> std::io::Result<(Committer, Stall)> {
    let (groups, waiting) = channel();
    let stall = Stall::default();
    let worker = Worker { log, flushing, hub, projector, engine, stall: stall.clone(), unsynced: false };
    let thread = std::thread::Builder::new().name("pullyard-log".into()).spawn(move || worker.run(&waiting))?;
    Ok((Committer { groups: Some(groups), thread: Some(thread) }, stall))
}

struct Worker {
    log: Box<dyn EventLog>,
    flushing: Flushing,
    hub: Arc<OutputHub>,
    projector: ProjectorHandle,
    engine: mpsc::WeakUnboundedSender<Input>,
    stall: Stall,
    unsynced: bool,
}

impl Worker {
    fn run(mut self, waiting: &Receiver<Group>) {
        loop {
            let first = match self.flushing.every.filter(|_| self.unsynced) {
                None => match waiting.recv() {
                    Ok(group) => group,
                    Err(_) => break,
                },
                Some(every) => match waiting.recv_timeout(every) {
                    Ok(group) => group,
                    Err(RecvTimeoutError::Timeout) => {
                        self.sync();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            let mut group = first;
            for more in waiting.try_iter() {
                group.records.extend(more.records);
                group.acks.extend(more.acks);
                group.updates.extend(more.updates);
                group.floor = more.floor;
            }
            self.write(&mut group);
            for ack in group.acks {
                deliver(ack, &self.hub);
            }
            if !group.updates.is_empty() {
                self.projector.send(group.updates, group.floor);
            }
        }
        self.sync();
    }

    fn sync(&mut self) {
        if let Err(error) = self.log.sync() {
            tracing::error!(%error, "event log cannot be flushed");
        }
        self.unsynced = false;
    }

    /// Returns only when the group is written: events that were applied are never dropped. Until then intake is
    /// closed, and who waits for a promise in this group is told that there will be none.
    fn write(&mut self, group: &mut Group) {
        if group.records.is_empty() {
            return;
        }
        let durability = if self.flushing.every.is_some() { Durability::Written } else { Durability::Flush };
        let mut told = false;
        while let Err(error) = self.log.append(&group.records, durability) {
            let why: Arc<str> = error.to_string().into();
            if !told {
                tracing::error!(%error, "event log cannot be written; intake is closed until it can");
                told = true;
            }
            self.stall.set(Some(why.clone()));
            refuse(&mut group.acks, &why, &self.engine);
            std::thread::sleep(RETRY);
        }
        if told {
            tracing::info!("event log can be written again; intake is open");
            self.stall.set(None);
        }
        self.unsynced = self.flushing.every.is_some();
    }
}

/// A client that hears "no" must be able to rely on it, so its job is cancelled before it could run.
fn refuse(acks: &mut Vec<Ack>, why: &Arc<str>, engine: &mpsc::WeakUnboundedSender<Input>) {
    for ack in std::mem::take(acks) {
        match ack {
            Ack::Accepted(answer, accepted) if !accepted.repeated => {
                if let Some(engine) = engine.upgrade() {
                    let _ =
                        engine.send(Input::Cancel { job: accepted.job.id, why: "the event log could not be written".into(), done: None });
                }
                let _ = answer.send(Err(Refusal::Stalled(why.clone())));
            }
            other @ (Ack::Accepted(..) | Ack::Ended(..) | Ack::Changed(..) | Ack::Viewed(..) | Ack::Close(_)) => acks.push(other),
        }
    }
}

fn deliver(ack: Ack, hub: &OutputHub) {
    // A closed channel means that nobody waits any more, which is the client's right.
    match ack {
        Ack::Accepted(answer, accepted) => drop(answer.send(Ok(accepted))),
        Ack::Ended(answer, ended) => drop(answer.send(ended)),
        Ack::Changed(answer, job) => drop(answer.send(Ok(job))),
        Ack::Viewed(answer, view) => drop(answer.send(Some(view))),
        Ack::Close(job) => hub.close(job),
    }
}
