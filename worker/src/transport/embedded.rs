//! Lanes in memory, for a broker and its workers in one process.
//!
//! It redelivers like the real thing: a delivery that is dropped unsettled, or not extended in time, goes back to the
//! front of its lane.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::work::Offer;
use pullyard_schemas::{Band, JobId, Lane, Token, WorkerId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Body, BoxFuture, BrokerEnd, Delivery, Incoming, OutputSink, Place, Receipt, Word, WorkerEnd};

/// The in-process transport.
#[derive(Debug)]
pub struct EmbeddedTransport {
    inner: Mutex<Inner>,
    reports: mpsc::UnboundedSender<Incoming>,
    sink: Arc<dyn OutputSink>,
    hold: Duration,
    /// For deliveries, which must be able to come back.
    me: Weak<Self>,
}

type Attempt = (JobId, Token);

#[derive(Debug)]
struct Waiting {
    offer: Arc<Offer>,
    body: Body,
}

#[derive(Debug)]
struct Held {
    offer: Arc<Offer>,
    body: Body,
    until: Instant,
    /// It was late once and has been given more time.
    doubted: bool,
    cancelled: CancellationToken,
    /// Tells a redelivered attempt from the delivery that lost it.
    pull: u64,
}

#[derive(Debug, Default)]
struct Inner {
    /// High and low track of each lane.
    lanes: HashMap<Lane, [VecDeque<Waiting>; 2]>,
    held: HashMap<Attempt, Held>,
    /// No delivery is late before this; `None` when none is held.
    late_from: Option<Instant>,
    /// Pulls that found nothing, by arrival.
    pulls: BTreeMap<u64, (Vec<Place>, oneshot::Sender<()>)>,
    counter: u64,
}

impl EmbeddedTransport {
    /// `hold` is how long a delivery may go without being extended.
    pub fn new(reports: mpsc::UnboundedSender<Incoming>, sink: Arc<dyn OutputSink>, hold: Duration) -> Arc<Self> {
        Arc::new_cyclic(|me| Self { inner: Mutex::default(), reports, sink, hold, me: me.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, word: Incoming) {
        // The broker is gone only when the whole process is going.
        let _ = self.reports.send(word);
    }
}

impl Inner {
    fn put(&mut self, waiting: Waiting, front: bool) {
        let lane = waiting.offer.lane.clone();
        let tracks = self.lanes.entry(lane.clone()).or_default();
        let track = &mut tracks[usize::from(waiting.offer.band == Band::Batch)];
        if front {
            track.push_front(waiting);
        } else {
            track.push_back(waiting);
        }
        self.wake(&lane);
    }

    /// Takes an offer off its lane.
    fn remove(&mut self, job: JobId, token: Token) {
        for tracks in self.lanes.values_mut() {
            for track in tracks {
                track.retain(|w| w.offer.job != job || w.offer.token != token);
            }
        }
    }

    /// Wakes the best pull that takes from this lane and is still there.
    fn wake(&mut self, lane: &Lane) {
        let rank = |from: &[Place]| from.iter().find(|place| place.lane == *lane).map(|place| place.rank);
        while let Some((_, pull)) = self.pulls.iter().filter_map(|(pull, (from, _))| Some((rank(from)?, *pull))).min() {
            if self.pulls.remove(&pull).is_some_and(|(_, wake)| wake.send(()).is_ok()) {
                return;
            }
        }
    }

    /// Puts back what nobody extended; answers when to look again. What is late for the first time is given half a hold more:
    /// the process may have stood still, and whoever holds it has had no more time than this has.
    fn reclaim(&mut self, now: Instant, hold: Duration) -> Option<Instant> {
        // Extending only makes it later, so most calls have nothing to look through.
        if self.late_from.is_none_or(|at| at > now) {
            return self.late_from;
        }
        let mut late = Vec::new();
        for (attempt, held) in self.held.iter_mut().filter(|(_, held)| held.until <= now) {
            if std::mem::replace(&mut held.doubted, true) {
                late.push(*attempt);
            } else {
                held.until = now + hold / 2;
            }
        }
        for attempt in late {
            if let Some(held) = self.held.remove(&attempt) {
                self.put(Waiting { offer: held.offer, body: held.body }, true);
            }
        }
        self.late_from = self.held.values().map(|held| held.until).min();
        self.late_from
    }

    fn take(&mut self, from: &[Place], n: usize, until: Instant) -> Vec<(Attempt, u64)> {
        let mut taken = Vec::new();
        for track in 0..2 {
            for Place { lane, .. } in from {
                while taken.len() < n
                    && let Some(waiting) = self.lanes.get_mut(lane).and_then(|tracks| tracks[track].pop_front())
                {
                    self.counter += 1;
                    let attempt = (waiting.offer.job, waiting.offer.token);
                    let Waiting { offer, body } = waiting;
                    let held = Held { offer, body, until, doubted: false, cancelled: CancellationToken::new(), pull: self.counter };
                    self.late_from = Some(self.late_from.map_or(until, |at| at.min(until)));
                    self.held.insert(attempt, held);
                    taken.push((attempt, self.counter));
                }
            }
        }
        taken
    }
}

impl BrokerEnd for EmbeddedTransport {
    fn offer(&self, offer: Offer, body: Body) {
        self.lock().put(Waiting { offer: Arc::new(offer), body }, false);
    }

    fn withdraw(&self, job: JobId, token: Token, _: Option<&WorkerId>) {
        let mut inner = self.lock();
        if let Some(held) = inner.held.remove(&(job, token)) {
            held.cancelled.cancel();
            return;
        }
        inner.remove(job, token);
    }

    fn recall(&self, job: JobId, token: Token) -> bool {
        let mut inner = self.lock();
        if inner.held.contains_key(&(job, token)) {
            return false;
        }
        inner.remove(job, token);
        true
    }

    /// Nothing gets lost on the way.
    fn repeat_output(&self, _: JobId, _: Token, _: &WorkerId) {}
}

impl WorkerEnd for EmbeddedTransport {
    fn pull<'a>(&'a self, from: &'a [Place], n: usize, wait: Duration) -> BoxFuture<'a, Vec<Box<dyn Delivery>>> {
        Box::pin(async move {
            let deadline = Instant::now() + wait;
            loop {
                let (woken, look_again) = {
                    let now = Instant::now();
                    let mut inner = self.lock();
                    let next = inner.reclaim(now, self.hold);
                    let taken = inner.take(from, n, now + self.hold);
                    if !taken.is_empty() || now >= deadline {
                        return taken.into_iter().filter_map(|(attempt, pull)| Held::delivery(&inner, attempt, pull, &self.me)).collect();
                    }
                    // Registered under the same lock that found nothing, so that no offer falls in between.
                    let (wake, woken) = oneshot::channel();
                    inner.counter += 1;
                    let pull = inner.counter;
                    inner.pulls.insert(pull, (from.to_vec(), wake));
                    (Woken { pull, woken, of: self }, next.map_or(deadline, |next| next.min(deadline)))
                };
                let mut woken = woken;
                tokio::select! {
                    _ = &mut woken.woken => {}
                    () = tokio::time::sleep_until(look_again) => {}
                }
            }
        })
    }

    fn report(&self, word: Word) -> BoxFuture<'_, ()> {
        self.tell(Incoming::Word(word, Receipt::default()));
        Box::pin(std::future::ready(()))
    }

    fn output(&self, job: JobId, token: Token, number: u32, chunk: Bytes) {
        self.sink.chunk(job, token, number, chunk);
    }
}

/// A registered pull; leaves the list when it is dropped, and hands a wake-up that it did not use to the next.
struct Woken<'a> {
    pull: u64,
    woken: oneshot::Receiver<()>,
    of: &'a EmbeddedTransport,
}

impl Drop for Woken<'_> {
    fn drop(&mut self) {
        let mut inner = self.of.lock();
        if inner.pulls.remove(&self.pull).is_none() {
            let ready: Vec<Lane> =
                inner.lanes.iter().filter(|(_, t)| t.iter().any(|t| !t.is_empty())).map(|(lane, _)| lane.clone()).collect();
            for lane in ready {
                inner.wake(&lane);
            }
        }
    }
}

impl Held {
    fn delivery(inner: &Inner, attempt: Attempt, pull: u64, me: &Weak<EmbeddedTransport>) -> Option<Box<dyn Delivery>> {
        let held = inner.held.get(&attempt)?;
        Some(Box::new(Pulled {
            offer: held.offer.clone(),
            body: held.body.clone(),
            cancelled: held.cancelled.clone(),
            pull,
            transport: me.clone(),
            settled: false,
        }))
    }
}

#[derive(Debug)]
struct Pulled {
    offer: Arc<Offer>,
    body: Body,
    cancelled: CancellationToken,
    pull: u64,
    transport: Weak<EmbeddedTransport>,
    settled: bool,
}

impl Pulled {
    fn attempt(&self) -> Attempt {
        (self.offer.job, self.offer.token)
    }
}

impl Delivery for Pulled {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn body(&self) -> &Body {
        &self.body
    }

    fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    fn extend(&self) {
        let Some(transport) = self.transport.upgrade() else { return };
        let until = Instant::now() + transport.hold;
        let mine = match transport.lock().held.get_mut(&self.attempt()) {
            Some(held) if held.pull == self.pull => {
                (held.until, held.doubted) = (until, false);
                true
            }
            Some(_) | None => false,
        };
        if mine {
            transport.tell(Incoming::Alive { worker: None, attempts: vec![self.attempt()] });
        }
    }

    fn settle(mut self: Box<Self>) {
        self.settled = true;
    }
}

impl Drop for Pulled {
    fn drop(&mut self) {
        let Some(transport) = self.transport.upgrade() else { return };
        let mut inner = transport.lock();
        let mine = inner.held.get(&self.attempt()).is_some_and(|held| held.pull == self.pull);
        if mine
            && let Some(held) = inner.held.remove(&self.attempt())
            && !self.settled
        {
            inner.put(Waiting { offer: held.offer, body: held.body }, true);
        }
    }
}
