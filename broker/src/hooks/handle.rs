//! The runner as everyone else sees it. Cheap to clone.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use pullyard_schemas::{JobId, Timestamp};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::document::{Document, State};
use super::runner::{Order, Runner};
use super::send::Sender;
use super::store::Store;
use super::{Settings, Subjects, Webhook};

/// Why nothing is told again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    #[error("there is no webhook for this")]
    None,
    #[error("there is nothing to tell yet")]
    NotYet,
    #[error("the broker is stopping")]
    Stopping,
}

/// Sums since the start, and what is so now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ends that are awaited.
    pub waiting: u64,
    /// Messages that are to be delivered.
    pub pending: u64,
    pub delivered: u64,
    pub failed_attempts: u64,
    pub given_up: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) waiting: AtomicU64,
    pub(super) pending: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) failed_attempts: AtomicU64,
    pub(super) given_up: AtomicU64,
}

/// Tells the runner what is to be told.
#[derive(Clone, Debug)]
pub struct Hooks {
    orders: mpsc::UnboundedSender<Order>,
    store: Store,
    settings: Arc<RwLock<Arc<Settings>>>,
    counters: Arc<Counters>,
}

/// What is to be run.
#[derive(Debug)]
pub struct Unstarted(Runner);

impl Unstarted {
    /// Takes up what a former life of the broker has left, and runs until the last handle is dropped. Nothing in here keeps
    /// the subjects alive.
    pub fn start(self, subjects: Arc<dyn Subjects>) {
        tokio::spawn(self.0.run(subjects));
    }
}

impl Hooks {
    /// # Errors
    /// When the folder cannot be used, or no connection can be made from this machine.
    pub fn open(dir: &Path, settings: Settings, clock: fn() -> Timestamp) -> io::Result<(Self, Unstarted)> {
        let store = Store::open(dir)?;
        let (orders, queue) = mpsc::unbounded_channel();
        let hooks = Self { orders, store: store.clone(), settings: Arc::new(RwLock::new(Arc::new(settings))), counters: Arc::default() };
        let sender = Sender::new().map_err(io::Error::other)?;
        let runner = Runner::new(store, queue, sender, hooks.settings.clone(), hooks.counters.clone(), clock);
        Ok((hooks, Unstarted(runner)))
    }

    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn configure(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Before a job is submitted: what is to be told of it is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then the job must not be submitted.
    pub async fn prepare(&self, job: JobId, webhook: Webhook) -> io::Result<()> {
        let (store, document) = (self.store.clone(), Document::new(job.to_string().into(), webhook));
        tokio::task::spawn_blocking(move || store.put(&document, true)).await.map_err(io::Error::other)?
    }

    /// The job that was prepared for, or requeued, is live: its end is awaited.
    pub fn await_end(&self, job: JobId) {
        let subject = job.to_string();
        if self.store.has(&subject) {
            self.send(Order::Await(subject.into()));
        }
    }

    /// The job that was prepared for is not to be.
    pub async fn drop_prepared(&self, job: JobId) {
        let store = self.store.clone();
        let _ = tokio::task::spawn_blocking(move || store.remove(&job.to_string())).await;
    }

    /// Tells something that is no job's end: `event` is one such as `batch.completed`, `data` what goes with it. What is told
    /// is on disk when this returns. A subject has one event at a time; the next one replaces what was not delivered.
    ///
    /// # Errors
    /// When it cannot be written, or the subject is no id.
    pub async fn notify(&self, subject: &str, event: &str, data: Box<RawValue>, webhook: Webhook) -> io::Result<()> {
        if !webhook.wants(event) {
            return Ok(());
        }
        let mut document = Document::new(subject.into(), webhook);
        document.data = Some(data.into());
        document.event = Some(event.into());
        let (done, written) = oneshot::channel();
        self.send(Order::Notify(Box::new(document), done));
        written.await.unwrap_or_else(|_| Err(io::Error::other("the broker is stopping")))
    }

    /// How the delivery of this subject's event stands; nothing where it has no webhook.
    pub async fn status(&self, subject: &str) -> Option<Document> {
        if !self.store.has(subject) {
            return None;
        }
        let (store, subject) = (self.store.clone(), subject.to_owned());
        tokio::task::spawn_blocking(move || store.get(&subject)).await.ok()?.ok()?
    }

    /// Tells the last event again, as if for the first time.
    ///
    /// # Errors
    /// When there is none.
    pub async fn again(&self, subject: &str) -> Result<Document, Unheard> {
        let (done, answer) = oneshot::channel();
        self.send(Order::Again(subject.into(), done));
        answer.await.unwrap_or(Err(Unheard::Stopping))
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { waiting, pending, delivered, failed_attempts, given_up } = &*self.counters;
        Counts {
            waiting: of(waiting),
            pending: of(pending),
            delivered: of(delivered),
            failed_attempts: of(failed_attempts),
            given_up: of(given_up),
        }
    }

    /// Removes what has been told, or been given up, before `until`, where nobody knows its job any more. Touches the disk.
    ///
    /// # Errors
    /// When a file cannot be looked at.
    pub fn sweep(&self, until: SystemTime, known: &dyn Fn(JobId) -> bool) -> io::Result<usize> {
        let over = |document: &Document| matches!(document.state, State::Delivered | State::Failed) && !document.job().is_some_and(known);
        self.store.sweep(until, &over)
    }

    fn send(&self, order: Order) {
        // A closed channel means that the broker stops; what is on disk is taken up at the next start.
        let _ = self.orders.send(order);
    }
}
