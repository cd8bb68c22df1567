//! The committer: one thread that owns the log, writes each group of events with one flush, and only then gives the
//! answers that promise something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pullyard_schemas::{JobId, Seq, Token};
use tokio::sync::{mpsc, oneshot};

use super::handle::{Accepted, Done, End, Ended, Input, Refusal, View};
use super::output::OutputHub;
use crate::log::{Durability, EventLog, Record};
use crate::readmodel::{ProjectorHandle, Update};
use pullyard_schemas::job::Job;
use pullyard_worker::transport::Receipt;

/// How often a group that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Bytes of bodies that are written at once where nobody waits for a flush.
const UNFLUSHED: usize = 64 << 10;

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

/// An answer that waits for the log.
#[derive(Debug)]
pub(super) enum Ack {
    /// The client gets a job id.
    Accepted(oneshot::Sender<Result<Accepted, Refusal>>, Accepted),
    /// The client waits for the end and has been promised nothing yet: written is enough.
    Taken(oneshot::Sender<Result<Accepted, Refusal>>, Accepted),
    /// The same, and it is told nothing at all before the end, unless this cannot be written.
    Silent(JobId),
    Ended(oneshot::Sender<End>, Ended),
    Changed(Done, Arc<Job>),
    Viewed(oneshot::Sender<Option<View>>, View),
    /// An attempt has begun; with `awaited` there are readers for whose sake this is not put off.
    Begun {
        job: JobId,
        token: Token,
        awaited: bool,
    },
    /// The job has ended: its live output closes.
    Close(JobId),
    /// The transport need not keep the word any longer. One that ended an attempt must not be lost in a power cut; that
    /// one began is told by its end too.
    Kept {
        receipt: Receipt,
        ends: bool,
    },
}

impl Ack {
    /// Whether somebody waits for it, so that it is not put off until there is more to write.
    fn hurries(&self) -> bool {
        !matches!(self, Self::Silent(_) | Self::Kept { ends: false, .. } | Self::Begun { awaited: false, .. })
    }

    /// Whether somebody relies on it, so that it must survive a power cut.
    fn promises(&self) -> bool {
        match self {
            Self::Accepted(..) | Self::Ended(..) | Self::Changed(..) | Self::Viewed(..) | Self::Kept { ends: true, .. } => true,
            Self::Kept { ends: false, .. } | Self::Taken(..) | Self::Silent(_) | Self::Begun { .. } | Self::Close(_) => false,
        }
    }
}

/// The events of one turn, with what follows from them once they are in the log.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) records: Vec<Record>,
    pub(super) acks: Vec<Ack>,
    pub(super) updates: Vec<Update>,
    pub(super) floor: Seq,
    /// Events before this one may go.
    pub(super) retain: Option<Seq>,
}

impl Group {
    /// Whether somebody waits for it to be written, or it is large enough to go by itself.
    pub(super) fn is_awaited(&self) -> bool {
        self.retain.is_some() || self.acks.iter().any(Ack::hurries) || self.bytes() > UNFLUSHED
    }

    fn bytes(&self) -> usize {
        self.records.iter().map(|record| record.body.len()).sum()
    }

    /// Takes a later group behind this one.
    fn absorb(&mut self, later: Self) {
        self.records.extend(later.records);
        self.acks.extend(later.acks);
        self.updates.extend(later.updates);
        self.floor = later.floor;
        self.retain = later.retain.or(self.retain);
    }
}

pub(super) struct Committer {
    pub(super) groups: Option<Sender<Group>>,
    pub(super) thread: Option<JoinHandle<()>>,
    written: Arc<AtomicU64>,
}

impl Committer {
    /// Everything up to here can be read back from the log.
    pub(super) fn written(&self) -> Seq {
        Seq(self.written.load(Ordering::Acquire))
    }
}

/// How soon events must be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flushing {
    /// Whether answers wait for the disk, and not only for the operating system.
    pub(super) before_answers: bool,
    /// The most that a power cut takes of what nobody was promised.
    pub(super) every: Duration,
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
    let written = Arc::new(AtomicU64::new(log.last().0));
    let worker =
        Worker { log, flushing, hub, projector, engine, stall: stall.clone(), written: written.clone(), unsynced: None, held: None };
    let thread = std::thread::Builder::new().name("pullyard-log".into()).spawn(move || worker.run(&waiting))?;
    Ok((Committer { groups: Some(groups), thread: Some(thread), written }, stall))
}

struct Worker {
    log: Box<dyn EventLog>,
    flushing: Flushing,
    hub: Arc<OutputHub>,
    projector: ProjectorHandle,
    engine: mpsc::WeakUnboundedSender<Input>,
    stall: Stall,
    written: Arc<AtomicU64>,
    /// Since when there is something that a power cut would take.
    unsynced: Option<Instant>,
    /// What the read model learns once it is on disk: it must never know more than the log.
    held: Option<(Vec<Update>, Seq)>,
}

impl Worker {
    fn run(mut self, waiting: &Receiver<Group>) {
        loop {
            let due = self.unsynced.map(|since| (since + self.flushing.every).saturating_duration_since(Instant::now()));
            let first = match due {
                None => match waiting.recv() {
                    Ok(group) => group,
                    Err(_) => break,
                },
                Some(Duration::ZERO) => {
                    self.sync();
                    continue;
                }
                Some(wait) => match waiting.recv_timeout(wait) {
                    Ok(group) => group,
                    Err(RecvTimeoutError::Timeout) => {
                        self.sync();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            let mut group = first;
            self.gather(&mut group, waiting);
            if !self.write(&mut group, waiting) {
                break;
            }
            self.hold(group.updates, group.floor);
            for ack in group.acks {
                deliver(ack, &self.hub);
            }
            self.release();
            if let Some(keep) = group.retain {
                match self.log.retain(keep) {
                    Ok(0) => {}
                    Ok(bytes) => tracing::info!(bytes, "old events are gone, as `log.retain` says"),
                    Err(error) => tracing::warn!(%error, "old events cannot be removed"),
                }
            }
        }
        self.sync();
    }

    /// Takes what waits into the same write. Where that saves no flush, answers do not wait for more than a little.
    fn gather(&self, group: &mut Group, waiting: &Receiver<Group>) {
        let mut bytes = group.bytes();
        while (self.flushing.before_answers || bytes < UNFLUSHED)
            && let Ok(more) = waiting.try_recv()
        {
            bytes += more.bytes();
            group.absorb(more);
        }
    }

    fn sync(&mut self) {
        match self.log.sync() {
            Ok(()) => self.unsynced = None,
            Err(error) => {
                tracing::error!(%error, "event log cannot be flushed");
                // Tried again with the next group, or when as much time has passed again.
                self.unsynced = Some(Instant::now());
            }
        }
        self.release();
    }

    fn hold(&mut self, updates: Vec<Update>, floor: Seq) {
        if updates.is_empty() {
            return;
        }
        match &mut self.held {
            Some((held, at)) => {
                held.extend(updates);
                *at = floor;
            }
            None => self.held = Some((updates, floor)),
        }
    }

    fn release(&mut self) {
        if self.unsynced.is_none()
            && let Some((updates, floor)) = self.held.take()
        {
            self.projector.send(updates, floor);
        }
    }

    /// Returns only when the group is written: events that were applied are never dropped. Until then intake is
    /// closed, and who waits for a promise, in this group or in one that comes meanwhile, is told that there will be none.
    /// `false` when the engine has stopped instead: nobody was promised what is lost then, and the program must end.
    fn write(&mut self, group: &mut Group, waiting: &Receiver<Group>) -> bool {
        let mut told = false;
        while let Err(error) = self.append(&group.records, self.flushing.before_answers && group.acks.iter().any(Ack::promises)) {
            let why: Arc<str> = error.to_string().into();
            if !told {
                tracing::error!(%error, "event log cannot be written; intake is closed until it can");
                told = true;
            }
            self.stall.set(Some(why.clone()));
            loop {
                match waiting.try_recv() {
                    Ok(more) => group.absorb(more),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        tracing::error!(events = group.records.len(), "the broker stops without the events that could not be written");
                        return false;
                    }
                }
            }
            refuse(&mut group.acks, &why, &self.engine);
            std::thread::sleep(RETRY);
        }
        if told {
            tracing::info!("event log can be written again; intake is open");
            self.stall.set(None);
        }
        if let Some(last) = group.records.last() {
            self.written.store(last.envelope.seq.0, Ordering::Release);
        }
        true
    }

    fn append(&mut self, records: &[Record], flush: bool) -> Result<(), crate::log::Error> {
        if records.is_empty() {
            if flush && self.unsynced.is_some() {
                self.log.sync()?;
                self.unsynced = None;
            }
            return Ok(());
        }
        self.log.append(records, if flush { Durability::Flush } else { Durability::Written })?;
        if flush {
            self.unsynced = None;
        } else {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        Ok(())
    }
}

/// A client that hears "no" must be able to rely on it, so its job is cancelled before it could run.
fn refuse(acks: &mut Vec<Ack>, why: &Arc<str>, engine: &mpsc::WeakUnboundedSender<Input>) {
    let tell = |job: JobId| {
        if let Some(engine) = engine.upgrade() {
            let _ = engine.send(Input::Refuse { job, why: why.clone() });
        }
    };
    for ack in std::mem::take(acks) {
        match ack {
            Ack::Accepted(answer, accepted) | Ack::Taken(answer, accepted) if !accepted.repeated => {
                tell(accepted.view.job.id);
                let _ = answer.send(Err(Refusal::Stalled(why.clone())));
            }
            Ack::Silent(job) => tell(job),
            // What cannot be said now is asked again by who wants to know it.
            Ack::Changed(..) | Ack::Viewed(..) => {}
            other @ (Ack::Accepted(..) | Ack::Taken(..) | Ack::Ended(..) | Ack::Begun { .. } | Ack::Close(_) | Ack::Kept { .. }) => {
                acks.push(other);
            }
        }
    }
}

fn deliver(ack: Ack, hub: &OutputHub) {
    // A closed channel means that nobody waits any more, which is the client's right.
    match ack {
        Ack::Accepted(answer, accepted) | Ack::Taken(answer, accepted) => drop(answer.send(Ok(accepted))),
        Ack::Silent(_) => {}
        Ack::Ended(answer, ended) => drop(answer.send(Ok(ended))),
        Ack::Changed(answer, job) => drop(answer.send(Ok(job))),
        Ack::Viewed(answer, view) => drop(answer.send(Some(view))),
        Ack::Begun { job, token, .. } => hub.written(job, token),
        Ack::Close(job) => hub.close(job),
        Ack::Kept { receipt, .. } => receipt.give(),
    }
}
