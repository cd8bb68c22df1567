//! The backends of this process: which models they have, which lanes they serve, and how they do.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pullyard_schemas::{Lane, Scope};
use pullyard_worker::adapter::ModelInfo;
use pullyard_worker::run::{BackendSpec, Health, Serving, Worker};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backhaul::Backhaul;
use super::{Env, Error};
use crate::config::{Backend, Config, Prices, discover};
use crate::core::policy::Model;
use crate::engine::Capacity;
use crate::http::App;

/// How often backends are asked for their models, and how soon after a change is looked for again at the start.
const DISCOVERY: Duration = Duration::from_secs(15);
/// How long the first round may take before the broker goes on without those that have not answered.
const FIRST_ROUND: Duration = Duration::from_secs(3);
/// How long a backend stays with a model while others wait, because loading one takes about as long as a few answers.
const MAX_SWAP_WAIT: Duration = Duration::from_secs(20);

/// What a backend had when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub name: Arc<str>,
    pub url: Arc<str>,
    pub adapter: &'static str,
    pub local: bool,
    pub slots: u32,
    pub models: Vec<Arc<str>>,
    /// Why it could not be asked.
    pub failure: Option<String>,
    /// Nobody configured it: it was looked for.
    pub discovered: bool,
}

#[derive(Debug)]
struct Member {
    backend: Backend,
    backhaul: Arc<Backhaul>,
    lanes: watch::Sender<Arc<[Serving]>>,
    health: watch::Receiver<Health>,
    models: Vec<ModelInfo>,
    failure: Option<String>,
    /// It has been asked for its models, or has had the time for it.
    asked: bool,
    discovered: bool,
    removed: CancellationToken,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.removed.cancel();
    }
}

#[derive(Debug, Default)]
struct Members {
    list: Vec<Member>,
    prices: Prices,
}

/// Looks after the backends until it is stopped or dropped.
#[derive(Debug)]
pub(super) struct Fleet {
    app: Arc<App>,
    worker: Arc<Worker>,
    members: Arc<Mutex<Members>>,
    changed: Arc<tokio::sync::Notify>,
    stop: CancellationToken,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Fleet {
    pub(super) fn new(app: Arc<App>, worker: Arc<Worker>, discovered: watch::Sender<bool>) -> Self {
        let members = Arc::new(Mutex::new(Members::default()));
        let fleet = Self { app, worker, members, changed: Arc::default(), stop: CancellationToken::new() };
        let (watched, stop) = (fleet.watch(), fleet.stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = watched.run(discovered) => {}
                () = stop.cancelled() => {}
            }
        });
        fleet
    }

    fn watch(&self) -> Watch {
        Watch { app: Arc::downgrade(&self.app), members: self.members.clone(), changed: self.changed.clone() }
    }

    /// Starts what is new, stops what is gone, and leaves alone what has not changed.
    pub(super) fn configure(&self, config: &Config, env: Env) -> Result<(), Error> {
        let mut wanted: Vec<(Backend, bool)> = config.backends.iter().map(|b| (b.clone(), false)).collect();
        if config.discover {
            for found in discover(&env) {
                if !wanted.iter().any(|(b, _)| b.name == found.name || b.url == found.url) {
                    wanted.push((found, true));
                }
            }
        }
        let mut members = lock(&self.members);
        let keep = |b: &Backend| members.prices == config.prices && members.list.iter().any(|m| m.backend == *b);
        // Everything that can fail comes first, so that a bad file changes nothing.
        let mut fresh = Vec::new();
        for (backend, discovered) in &wanted {
            if !keep(backend) {
                fresh.push((backend.clone(), *discovered, Arc::new(Backhaul::new(backend, &config.prices, env)?)));
            }
        }
        let same_prices = members.prices == config.prices;
        let known: HashMap<Arc<str>, Vec<ModelInfo>> = members.list.iter().map(|m| (m.backend.name.clone(), m.models.clone())).collect();
        members.list.retain(|m| same_prices && wanted.iter().any(|(b, _)| *b == m.backend));
        for (backend, discovered, backhaul) in fresh {
            // One that was only changed serves what it served, until it is asked again.
            let models = known.get(&backend.name).cloned().unwrap_or_default();
            members.list.push(self.start(backend, discovered, backhaul, models));
        }
        members.prices = config.prices.clone();
        drop(members);
        self.changed.notify_one();
        Ok(())
    }

    fn start(&self, backend: Backend, discovered: bool, backhaul: Arc<Backhaul>, models: Vec<ModelInfo>) -> Member {
        let (lanes, serving) = watch::channel(Arc::from([]));
        let removed = CancellationToken::new();
        let spec = BackendSpec {
            name: backend.name.clone(),
            slots: backend.slots as usize,
            rank: if backend.local { 0 } else { 2 },
            rpm: backend.rpm,
            tpm: backend.tpm.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            breaker: backend.breaker,
            max_swap_wait: if backend.local { MAX_SWAP_WAIT } else { Duration::ZERO },
            executor: backhaul.clone(),
        };
        let health = self.worker.add(spec, serving, &removed);
        let (mut seen, changed, until) = (health.clone(), self.changed.clone(), removed.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    known = seen.changed() => if known.is_err() { return },
                    () = until.cancelled() => return,
                }
                changed.notify_one();
            }
        });
        Member { backend, backhaul, lanes, health, models, failure: None, asked: false, discovered, removed }
    }

    pub(super) fn publish(&self) {
        self.watch().publish();
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    pub(super) fn found(&self) -> Vec<Found> {
        let of = |m: &Member| Found {
            name: m.backend.name.clone(),
            url: m.backend.url.clone(),
            adapter: m.backend.adapter.name(),
            local: m.backend.local,
            slots: m.backend.slots,
            models: m.models.iter().map(|i| i.name.clone()).collect(),
            failure: m.failure.clone(),
            discovered: m.discovered,
        };
        lock(&self.members).list.iter().map(of).collect()
    }
}

/// The part that runs in the background; it does not keep the broker alive.
#[derive(Clone, Debug)]
struct Watch {
    app: std::sync::Weak<App>,
    members: Arc<Mutex<Members>>,
    changed: Arc<tokio::sync::Notify>,
}

impl Watch {
    async fn run(self, discovered: watch::Sender<bool>) {
        // Before the first configuration there is nobody to ask, and that is not yet an answer.
        self.changed.notified().await;
        loop {
            // A change of health is published at once; models are asked for again in time, or when a backend is new.
            let mut fresh = false;
            for member in &mut lock(&self.members).list {
                fresh |= !std::mem::replace(&mut member.asked, true);
            }
            if fresh {
                let _ = tokio::time::timeout(FIRST_ROUND, self.ask()).await;
            }
            self.publish();
            let _ = discovered.send(true);
            let changed = tokio::time::timeout(DISCOVERY, self.changed.notified()).await;
            if changed.is_err() {
                self.ask().await;
            }
        }
    }

    /// Asks every backend for its models, all at once; a silent one keeps what it had.
    async fn ask(&self) {
        let asked: Vec<_> = lock(&self.members).list.iter().map(|m| (m.backhaul.clone(), m.models.clone())).collect();
        let answers = asked.into_iter().map(|(backhaul, known)| {
            let members = self.members.clone();
            async move {
                let answer = backhaul.models(&known).await;
                // Noted one by one, so that a slow one does not hold up the others.
                let mut members = lock(&members);
                let Some(member) = members.list.iter_mut().find(|m| Arc::ptr_eq(&m.backhaul, &backhaul)) else { return };
                match answer {
                    Ok(models) => (member.models, member.failure) = (models, None),
                    Err(why) => {
                        if member.failure.is_none() && !member.discovered {
                            tracing::warn!(backend = %member.backend.name, %why, "a backend does not tell its models");
                        }
                        member.failure = Some(why);
                    }
                }
            }
        });
        futures_util::future::join_all(answers).await;
    }

    /// Tells routing what there is, the engine what serves each lane, and each backend its lanes.
    fn publish(&self) {
        let Some(app) = self.app.upgrade() else { return };
        let mut models: BTreeMap<Arc<str>, Model> = BTreeMap::new();
        let mut lanes: HashMap<Lane, Capacity> = HashMap::new();
        for member in &lock(&self.members).list {
            let mut serving = Vec::with_capacity(member.models.len() * 2);
            let alive = member.failure.is_none() && !member.health.borrow().broken;
            for info in &member.models {
                add_model(&mut models, info, &member.backend);
                for scope in [Scope::Any, Scope::Local] {
                    if scope == Scope::Local && !member.backend.local {
                        continue;
                    }
                    let lane = Lane { target: info.name.clone(), scope };
                    let capacity = lanes.entry(lane.clone()).or_default();
                    capacity.slots += member.backend.slots as usize;
                    capacity.alive |= alive;
                    serving.push(Serving { lane, model: info.name.clone(), loaded: info.loaded || !member.backend.local });
                }
            }
            let serving: Arc<[Serving]> = serving.into();
            member.lanes.send_if_modified(|now| {
                let changed = *now != serving;
                if changed {
                    *now = serving;
                }
                changed
            });
        }
        let live = app.live_config();
        if live.catalog.models != models {
            let mut live = (*live).clone();
            live.catalog.models = models;
            app.replace(live);
        }
        app.engine.capacity(lanes.into_iter().collect());
    }
}

/// The same model on several backends is one; what one of them can, it can.
fn add_model(models: &mut BTreeMap<Arc<str>, Model>, info: &ModelInfo, backend: &Backend) {
    let model = models.entry(info.name.clone()).or_insert_with(|| Model {
        name: info.name.clone(),
        backends: Vec::new(),
        local: false,
        images: info.images,
        tools: info.tools,
        embedding: info.embedding,
        context: info.context,
    });
    model.backends.push(backend.name.clone());
    model.local |= backend.local;
    let either = |a: Option<bool>, b: Option<bool>| if a == Some(true) || b == Some(true) { Some(true) } else { a.and(b) };
    model.images = either(model.images, info.images);
    model.tools = either(model.tools, info.tools);
    model.embedding = either(model.embedding, info.embedding);
    model.context = model.context.max(info.context);
}

fn lock(members: &Mutex<Members>) -> MutexGuard<'_, Members> {
    members.lock().unwrap_or_else(PoisonError::into_inner)
}
