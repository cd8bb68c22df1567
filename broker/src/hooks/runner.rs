//! The one owner of what is not delivered yet.
//!
//! Deliveries are bounded, in all and by receiver, so that one that is slow or gone takes nothing from the others. The
//! document is written behind every attempt; a crash in between tells the same message once more, with the same id.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use pullyard_schemas::Timestamp;
use reqwest::Url;
use tokio::sync::{mpsc, oneshot};

use super::address::origin;
use super::document::{Document, Outcome, State};
use super::handle::{Counters, Unheard};
use super::send::Sender;
use super::store::Store;
use super::{Found, Settings, Soon, Subjects};

/// Deliveries at once, in all and to one receiver.
const MOST: usize = 32;
const MOST_EACH: usize = 4;
/// How soon a question about a job is asked again when nothing could be said.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How long a clock that was set may go unnoticed.
const LOOK: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) enum Order {
    Await(Arc<str>),
    Notify(Box<Document>, oneshot::Sender<io::Result<()>>),
    Again(Arc<str>, oneshot::Sender<Result<Document, Unheard>>),
}

/// What is due for one receiver, and how much of it is on its way.
#[derive(Default)]
struct Receiver {
    due: BTreeSet<(Timestamp, Arc<str>)>,
    busy: usize,
}

pub(super) struct Runner {
    store: Store,
    orders: mpsc::UnboundedReceiver<Order>,
    sender: Sender,
    settings: Arc<RwLock<Arc<Settings>>>,
    counters: Arc<Counters>,
    clock: fn() -> Timestamp,
    /// What is to be told.
    pending: HashMap<Arc<str>, Document>,
    receivers: HashMap<String, Receiver>,
    /// Subjects whose end is awaited.
    awaited: HashSet<Arc<str>>,
    ends: FuturesUnordered<Soon<(Arc<str>, Found)>>,
    sends: FuturesUnordered<Soon<Sent>>,
    /// What the former life has left.
    left: Vec<Arc<str>>,
}

/// An attempt that has ended.
struct Sent {
    subject: Arc<str>,
    receiver: String,
    /// The event that was told: another one may have come meanwhile.
    round: u32,
    outcome: Outcome,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Runner {
    pub(super) fn new(
        store: Store,
        orders: mpsc::UnboundedReceiver<Order>,
        sender: Sender,
        settings: Arc<RwLock<Arc<Settings>>>,
        counters: Arc<Counters>,
        clock: fn() -> Timestamp,
    ) -> Self {
        let (pending, receivers, awaited) = (HashMap::new(), HashMap::new(), HashSet::new());
        let (ends, sends) = (FuturesUnordered::new(), FuturesUnordered::new());
        // What is prepared from now on is of jobs that may not be submitted yet.
        let left = store.subjects();
        Self { store, orders, sender, settings, counters, clock, pending, receivers, awaited, ends, sends, left }
    }

    pub(super) async fn run(mut self, subjects: Arc<dyn Subjects>) {
        self.take_up(&*subjects).await;
        loop {
            self.send_due(&subjects);
            self.count();
            let wait = self.wait();
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.carry_out(order, &*subjects).await,
                    None => return,
                },
                Some((subject, found)) = self.ends.next() => self.ended(subject, found, &*subjects).await,
                Some(sent) = self.sends.next() => self.sent(sent).await,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// What a former life has left: ends that were awaited, messages that were not delivered, and parked jobs, which may have
    /// been requeued.
    async fn take_up(&mut self, subjects: &dyn Subjects) {
        let (store, left) = (self.store.clone(), std::mem::take(&mut self.left));
        let left = tokio::task::spawn_blocking(move || {
            let read = |subject: Arc<str>| match store.get(&subject) {
                Ok(document) => document,
                Err(error) => {
                    tracing::warn!(%subject, %error, "the state of a webhook cannot be read, and nobody is told of it");
                    None
                }
            };
            left.into_iter().filter_map(read).filter(|d| d.state != State::Delivered || d.may_go_on()).collect::<Vec<_>>()
        });
        for document in left.await.unwrap_or_default() {
            match document.state {
                State::Waiting => self.await_end(document.subject, subjects),
                State::Pending => {
                    self.schedule(document);
                }
                State::Delivered | State::Failed if document.may_go_on() => self.await_other_end(&document, subjects).await,
                State::Delivered | State::Failed => {}
            }
        }
    }

    /// A parked job rests with what has been told of it already; another end follows only if somebody has requeued it.
    async fn await_other_end(&mut self, document: &Document, subjects: &dyn Subjects) {
        let Some(job) = document.job() else { return };
        if subjects.is_live(job).await {
            self.await_end(document.subject.clone(), subjects);
            return;
        }
        // It may have ended since.
        if let Found::Rests { event, .. } = subjects.rest(job).await
            && document.event.as_deref() != Some(event)
        {
            self.await_end(document.subject.clone(), subjects);
        }
    }

    async fn carry_out(&mut self, order: Order, subjects: &dyn Subjects) {
        match order {
            Order::Await(subject) => self.await_end(subject, subjects),
            Order::Notify(mut document, done) => {
                let (event, now) = (document.event.take().unwrap_or_default(), (self.clock)());
                if let Some(before) = self.known(&document.subject).await {
                    document.round = before.round;
                }
                document.tell(event, now, now);
                let written = self.write(&document, true).await;
                if written.is_ok() {
                    self.unschedule(&document.subject);
                    self.schedule(*document);
                }
                let _ = done.send(written);
            }
            Order::Again(subject, done) => {
                let told = match self.known(&subject).await {
                    None => Err(Unheard::None),
                    Some(document) if document.event.is_none() => Err(Unheard::NotYet),
                    Some(mut document) => {
                        self.unschedule(&subject);
                        document.begin((self.clock)());
                        self.save(&document).await;
                        self.schedule(document.clone());
                        Ok(document)
                    }
                };
                let _ = done.send(told);
            }
        }
    }

    fn await_end(&mut self, subject: Arc<str>, subjects: &dyn Subjects) {
        let Some(job) = subject.parse().ok().filter(|_| self.awaited.insert(subject.clone())) else { return };
        let rest = subjects.rest(job);
        self.ends.push(Box::pin(async move { (subject, rest.await) }));
    }

    async fn ended(&mut self, subject: Arc<str>, found: Found, subjects: &dyn Subjects) {
        self.awaited.remove(&subject);
        match found {
            Found::Rests { event, at } => {
                let Some(mut document) = self.known(&subject).await else { return };
                // A job ends once, and is parked as often as it is requeued.
                if document.event.as_deref() == Some(event) && (event != "job.failed" || document.at == Some(at)) {
                    return;
                }
                if document.webhook.wants(event) {
                    self.unschedule(&subject);
                    document.tell(event.into(), at, (self.clock)());
                    self.save(&document).await;
                    self.schedule(document);
                } else if event != "job.failed" && document.state == State::Waiting {
                    // Nothing will follow that anybody wants to hear.
                    self.remove(&subject).await;
                }
            }
            Found::Unknown => self.remove(&subject).await,
            Found::Later => {
                let Ok(job) = subject.parse() else { return };
                self.awaited.insert(subject.clone());
                let rest = subjects.rest(job);
                self.ends.push(Box::pin(async move {
                    tokio::time::sleep(ASK_AGAIN).await;
                    (subject, rest.await)
                }));
            }
        }
    }

    async fn sent(&mut self, sent: Sent) {
        let Sent { subject, receiver, round, outcome } = sent;
        let now = (self.clock)();
        let settings = self.settings();
        if let Some(receiver) = self.receivers.get_mut(&receiver) {
            receiver.busy = receiver.busy.saturating_sub(1);
        }
        let Some(document) = self.pending.get_mut(&subject).filter(|document| document.round == round) else { return };
        let failed = outcome != Outcome::Delivered;
        document.tried(outcome, &settings, now);
        let document = document.clone();
        if failed {
            self.counters.failed_attempts.fetch_add(1, Ordering::Relaxed);
        }
        self.save(&document).await;
        match document.state {
            State::Pending => self.schedule(document),
            State::Delivered => {
                self.counters.delivered.fetch_add(1, Ordering::Relaxed);
                self.pending.remove(&subject);
            }
            State::Failed | State::Waiting => {
                let why = document.last_error.as_deref().unwrap_or_default();
                tracing::warn!(%subject, why, "a webhook is given up");
                self.counters.given_up.fetch_add(1, Ordering::Relaxed);
                self.pending.remove(&subject);
            }
        }
    }

    /// Begins what is due, as far as there is room.
    fn send_due(&mut self, subjects: &Arc<dyn Subjects>) {
        let now = (self.clock)();
        let settings = self.settings();
        self.receivers.retain(|_, receiver| receiver.busy > 0 || !receiver.due.is_empty());
        let mut busy: usize = self.sends.len();
        for (name, receiver) in &mut self.receivers {
            while busy < MOST && receiver.busy < MOST_EACH && receiver.due.first().is_some_and(|(at, _)| *at <= now) {
                let Some((_, subject)) = receiver.due.pop_first() else { break };
                let Some(document) = self.pending.get(&subject).cloned() else { continue };
                receiver.busy += 1;
                busy += 1;
                let (sender, settings, subjects, clock) = (self.sender.clone(), settings.clone(), subjects.clone(), self.clock);
                let name = name.clone();
                self.sends.push(Box::pin(async move {
                    let outcome = sender.send(&document, &*subjects, &settings, clock()).await;
                    Sent { subject, receiver: name, round: document.round, outcome }
                }));
            }
        }
    }

    fn wait(&self) -> Duration {
        let now = (self.clock)();
        // One that has no room is looked at when something of it ends.
        let open = self.receivers.values().filter(|receiver| receiver.busy < MOST_EACH && self.sends.len() < MOST);
        let next = open.filter_map(|receiver| receiver.due.first()).map(|(at, _)| at.since(now)).min();
        next.unwrap_or(LOOK).min(LOOK)
    }

    fn schedule(&mut self, document: Document) {
        let at = document.next_at.unwrap_or_default();
        self.receivers.entry(receiver_of(&document)).or_default().due.insert((at, document.subject.clone()));
        self.pending.insert(document.subject.clone(), document);
    }

    /// What is on its way of it goes on, and changes nothing any more.
    fn unschedule(&mut self, subject: &Arc<str>) {
        if let Some(document) = self.pending.get(subject)
            && let Some(receiver) = self.receivers.get_mut(&receiver_of(document))
        {
            receiver.due.retain(|(_, due)| due != subject);
        }
    }

    /// A document as it is now, wherever it is.
    async fn known(&mut self, subject: &Arc<str>) -> Option<Document> {
        if let Some(document) = self.pending.get(subject) {
            return Some(document.clone());
        }
        let (store, subject) = (self.store.clone(), subject.clone());
        tokio::task::spawn_blocking(move || store.get(&subject)).await.ok()?.ok()?
    }

    async fn save(&mut self, document: &Document) {
        if let Err(error) = self.write(document, false).await {
            // It is told all the same; what is not known after a crash is told once more.
            tracing::warn!(subject = %document.subject, %error, "the state of a webhook cannot be written");
        }
    }

    async fn write(&mut self, document: &Document, flush: bool) -> io::Result<()> {
        let (store, document) = (self.store.clone(), document.clone());
        tokio::task::spawn_blocking(move || store.put(&document, flush)).await.map_err(io::Error::other)?
    }

    async fn remove(&mut self, subject: &Arc<str>) {
        let (store, subject) = (self.store.clone(), subject.clone());
        let _ = tokio::task::spawn_blocking(move || store.remove(&subject)).await;
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self) {
        self.counters.waiting.store(self.awaited.len() as u64, Ordering::Relaxed);
        self.counters.pending.store(self.pending.len() as u64, Ordering::Relaxed);
    }
}

/// Whose answers a delivery waits for.
fn receiver_of(document: &Document) -> String {
    Url::parse(&document.webhook.url).map(|url| origin(&url)).unwrap_or_default()
}
