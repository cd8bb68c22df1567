//! The pull loop: a backend takes a job only when it has a free slot, and nothing else stands against it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::work::Offer;
use pullyard_schemas::{FailureKind, JobId, Lane, Usage, WorkerId};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::{self, Surroundings, Verdict};
use crate::breaker::{self, Allowance, Breaker};
use crate::end::{Broken, Finished};
use crate::limits::PerMinute;
use crate::transport::{BoxFuture, Delivery, Place, WorkerEnd};

/// A pull that finds nothing is repeated after this long.
const PULL: Duration = Duration::from_secs(20);
/// More than this is never pulled at once, so that one worker does not take what another could start sooner.
const AT_ONCE: usize = 16;
/// How long a backend that said that it is full, but not for how long, is left alone.
const BUSY: Duration = Duration::from_millis(250);

/// What runs an attempt at a backend.
pub trait Executor: Send + Sync + Debug {
    /// Gives out each line of output as it comes. Dropping the future ends the attempt at once; `cancel` asks for its end.
    fn run<'a>(
        &'a self,
        model: &'a Arc<str>,
        offer: &'a Offer,
        body: Bytes,
        on_chunk: &'a mut (dyn FnMut(Bytes) + Send),
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Finished, Broken>>;

    /// What an attempt cost, in billionths of a US dollar.
    fn cost(&self, model: &str, usage: &Usage, busy_ms: u64) -> u64;

    /// How long this backend must be left alone now; `None`: it may be used.
    fn closed_for(&self) -> Option<Duration>;
}

/// A lane that a backend serves, and the model that it means there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    pub lane: Lane,
    pub model: Arc<str>,
    /// The model can answer at once.
    pub loaded: bool,
}

/// One model server and what it bears.
#[derive(Clone, Debug)]
pub struct BackendSpec {
    pub name: Arc<str>,
    /// Concurrent attempts.
    pub slots: usize,
    /// Who of several waiting backends goes first: the lowest. One that has to load a model first counts as one higher.
    pub rank: u8,
    /// Requests per minute.
    pub rpm: Option<u32>,
    /// Tokens per minute, of prompts and replies together.
    pub tpm: Option<u32>,
    pub breaker: breaker::Options,
    /// How long it stays with the lane it served last while others wait, because changing models costs time.
    pub max_swap_wait: Duration,
    pub executor: Arc<dyn Executor>,
}

/// How a backend does, as of its last attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Nothing is pulled because too much failed.
    pub broken: bool,
}

/// Backends that pull; stops with [`Self::drain`].
#[derive(Debug)]
pub struct Worker {
    id: WorkerId,
    transport: Arc<dyn WorkerEnd>,
    extend_every: Duration,
    stop: CancellationToken,
    abort: CancellationToken,
    attempts: TaskTracker,
    /// Of each backend, by its name.
    slots: Mutex<HashMap<Arc<str>, Slots>>,
}

/// A backend's slots. They outlive a change of its settings, because what runs then still holds them.
#[derive(Debug)]
struct Slots {
    free: Arc<Semaphore>,
    total: usize,
}

impl Worker {
    /// `hold` is how long the transport lets a delivery go without being extended.
    #[must_use]
    pub fn new(id: WorkerId, transport: Arc<dyn WorkerEnd>, hold: Duration) -> Self {
        let extend_every = (hold / 3).max(Duration::from_millis(10));
        Self {
            id,
            transport,
            extend_every,
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            attempts: TaskTracker::new(),
            slots: Mutex::default(),
        }
    }

    /// Starts to pull for a backend, until `removed` fires or the worker drains.
    pub fn add(&self, spec: BackendSpec, lanes: watch::Receiver<Arc<[Serving]>>, removed: &CancellationToken) -> watch::Receiver<Health> {
        let (health, seen) = watch::channel(Health::default());
        let now = Instant::now();
        let gate = Gate {
            breaker: Breaker::new(spec.breaker),
            rpm: spec.rpm.map(|n| PerMinute::new(n, now)),
            tpm: spec.tpm.map(|n| PerMinute::new(n, now)),
            busy_until: now,
        };
        let around = Surroundings {
            transport: self.transport.clone(),
            worker: self.id.clone(),
            backend: spec.name.clone(),
            executor: spec.executor.clone(),
            extend_every: self.extend_every,
            abort: self.abort.clone(),
        };
        let puller = Puller {
            slots: self.slots(&spec),
            spec,
            gate: Arc::new((Mutex::new(gate), Notify::new())),
            around,
            attempts: self.attempts.clone(),
            last: None,
            health,
        };
        let (stop, removed) = (self.stop.clone(), removed.clone());
        self.attempts.spawn(async move {
            tokio::select! {
                () = puller.run(lanes) => {}
                () = stop.cancelled() => {}
                () = removed.cancelled() => {}
            }
        });
        seen
    }

    /// The backend's slots, as many as it shall have now.
    fn slots(&self, spec: &BackendSpec) -> Arc<Semaphore> {
        let mut all = lock(&self.slots);
        let slots = all.entry(spec.name.clone()).or_insert_with(|| Slots { free: Arc::new(Semaphore::new(0)), total: 0 });
        slots.free.add_permits(spec.slots.saturating_sub(slots.total));
        let surplus = slots.total.saturating_sub(spec.slots);
        let held = surplus - slots.free.forget_permits(surplus);
        if held > 0 {
            // They go as the attempts that hold them end.
            let (free, held) = (slots.free.clone(), u32::try_from(held).unwrap_or(u32::MAX));
            tokio::spawn(async move {
                if let Ok(permits) = free.acquire_many_owned(held).await {
                    permits.forget();
                }
            });
        }
        slots.total = spec.slots;
        slots.free.clone()
    }

    /// Stops pulling, lets running attempts end until `patience` is over, and gives the rest back.
    pub async fn drain(&self, patience: Duration) {
        self.stop.cancel();
        self.attempts.close();
        if tokio::time::timeout(patience, self.attempts.wait()).await.is_err() {
            self.abort.cancel();
            self.attempts.wait().await;
        }
    }
}

/// What stands against pulling, apart from slots.
#[derive(Debug)]
struct Gate {
    breaker: Breaker,
    rpm: Option<PerMinute>,
    tpm: Option<PerMinute>,
    busy_until: Instant,
}

/// What an attempt's end changed for its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Broken,
    Recovered,
}

impl Gate {
    /// How many may be pulled, or when to look again; `None`: when an attempt has ended.
    fn open(&mut self, now: Instant) -> Result<usize, Option<Instant>> {
        if self.busy_until > now {
            return Err(Some(self.busy_until));
        }
        let mut many = match self.breaker.allowance(now) {
            Allowance::All => usize::MAX,
            Allowance::Probe => 1,
            Allowance::Nothing(until) => return Err(until),
        };
        for bucket in [&mut self.rpm, &mut self.tpm].into_iter().flatten() {
            many = many.min(bucket.ready(now).map_err(|wait| Some(now + wait))?);
        }
        Ok(many)
    }

    fn pulled(&mut self, jobs: usize, now: Instant) {
        if jobs > 0 {
            self.breaker.started(now);
        }
        if let Some(rpm) = &mut self.rpm {
            rpm.spend(jobs as u64, now);
        }
    }

    fn judge(&mut self, job: JobId, verdict: &Verdict, now: Instant) -> Option<Change> {
        if let Some(tpm) = &mut self.tpm {
            tpm.spend(verdict.tokens, now);
        }
        let Some(failure) = &verdict.failure else {
            return self.breaker.succeeded().then_some(Change::Recovered);
        };
        match failure.kind {
            // It was never asked.
            _ if !verdict.asked => {}
            FailureKind::Connect | FailureKind::Unauthorized => return self.breaker.failed(None, now).then_some(Change::Broken),
            FailureKind::Timeout | FailureKind::Backend | FailureKind::Garbage => {
                return self.breaker.failed(Some(job), now).then_some(Change::Broken);
            }
            FailureKind::Busy => self.busy_until = self.busy_until.max(now + failure.retry_after().unwrap_or(BUSY)),
            // The request's fault, or ours.
            FailureKind::NoModel
            | FailureKind::BadRequest
            | FailureKind::ContextLength
            | FailureKind::CannotContinue
            | FailureKind::Cancelled
            | FailureKind::Drained => {}
        }
        self.breaker.undecided();
        None
    }
}

struct Puller {
    spec: BackendSpec,
    slots: Arc<Semaphore>,
    /// Notified when an attempt has ended.
    gate: Arc<(Mutex<Gate>, Notify)>,
    around: Surroundings,
    attempts: TaskTracker,
    /// The lane served last, and since when without a change.
    last: Option<(Lane, Instant)>,
    health: watch::Sender<Health>,
}

impl Puller {
    async fn run(mut self, mut lanes: watch::Receiver<Arc<[Serving]>>) {
        let mut turn = 0usize;
        loop {
            let serving = lanes.borrow_and_update().clone();
            if serving.is_empty() {
                if lanes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let Ok(permit) = self.slots.clone().acquire_owned().await else { return };
            let many = self.allowed().await;
            let mut permits = vec![permit];
            while permits.len() < many.min(AT_ONCE)
                && let Ok(permit) = self.slots.clone().try_acquire_owned()
            {
                permits.push(permit);
            }
            turn = turn.wrapping_add(1);
            let order = self.order(&serving, turn);
            let pulled = tokio::select! {
                pulled = self.around.transport.pull(&order, permits.len(), PULL) => pulled,
                changed = lanes.changed() => if changed.is_err() { return } else { continue },
            };
            lock(&self.gate.0).pulled(pulled.len(), Instant::now());
            for delivery in pulled {
                let Some(permit) = permits.pop() else { break };
                self.start(delivery, permit, &serving);
            }
        }
    }

    /// Waits until something may be pulled.
    async fn allowed(&self) -> usize {
        loop {
            let ended = self.gate.1.notified();
            if let Some(closed) = self.spec.executor.closed_for() {
                tokio::time::sleep(closed.min(Duration::from_secs(30))).await;
                continue;
            }
            let wait = match lock(&self.gate.0).open(Instant::now()) {
                Ok(many) => return many,
                Err(wait) => wait,
            };
            match wait {
                Some(until) => tokio::time::sleep_until(until).await,
                None => ended.await,
            }
        }
    }

    /// The lane served last comes first for a while; then each lane in turn.
    fn order(&self, serving: &[Serving], turn: usize) -> Vec<Place> {
        let last = self.last.as_ref().map(|(lane, _)| &lane.target);
        let place = |s: &Serving| {
            let ready = s.loaded || last == Some(&s.lane.target);
            Place { lane: s.lane.clone(), rank: self.spec.rank + u8::from(!ready) }
        };
        let mut places: Vec<Place> = serving.iter().map(place).collect();
        let len = places.len().max(1);
        places.rotate_left(turn % len);
        if let Some((last, since)) = &self.last
            && since.elapsed() < self.spec.max_swap_wait
        {
            places.sort_by_key(|place| place.lane.target != last.target);
        }
        places
    }

    fn start(&mut self, delivery: Box<dyn Delivery>, permit: OwnedSemaphorePermit, serving: &[Serving]) {
        let lane = &delivery.offer().lane;
        if self.last.as_ref().is_none_or(|(last, _)| last.target != lane.target) {
            self.last = Some((lane.clone(), Instant::now()));
        }
        let model = serving.iter().find(|s| s.lane == *lane).map_or_else(|| lane.target.clone(), |s| s.model.clone());
        let (around, gate, health) = (self.around.clone(), self.gate.clone(), self.health.clone());
        self.attempts.spawn(async move {
            let (backend, job) = (around.backend.clone(), delivery.offer().job);
            let verdict = attempt::run(around, delivery, model).await;
            {
                let mut gate = lock(&gate.0);
                match gate.judge(job, &verdict, Instant::now()) {
                    Some(Change::Broken) => {
                        tracing::warn!(%backend, %job, "too many jobs failed here: nothing is pulled until the backend has cooled down");
                    }
                    Some(Change::Recovered) => tracing::info!(%backend, %job, "the backend has recovered: its jobs are pulled again"),
                    None => {}
                }
                let broken = !gate.breaker.is_closed();
                health.send_if_modified(|h| std::mem::replace(&mut h.broken, broken) != broken);
            }
            drop(permit);
            gate.1.notify_waiters();
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
