//! The broker's view of its workers: their cards, who is let in, and orders to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::StorageType;
use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt as _;
use pullyard_schemas::WorkerId;
use pullyard_schemas::fleet::{Card, Mode, Order, PROTOCOL};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::link::{Link, lock};
use super::wire::{Control, Hello, Obeyed, Welcome};
use super::{Error, Names};
use crate::fleet::{Roster, Seen, Unheeded};
use crate::limits::Quota;
use crate::transport::BoxFuture;

/// A worker that has shown nothing for so long is gone: three of its cards did not come.
const LOST: Duration = Duration::from_secs(7);
/// How often it is looked for those.
const LOOK: Duration = Duration::from_millis(500);

/// The broker's end. Dropping it ends its background work.
#[derive(Debug)]
pub struct NatsRoster {
    link: Link,
    cards: Mutex<Option<mpsc::UnboundedReceiver<Seen>>>,
    _stop: DropGuard,
}

/// The workers that are there, with when they were last seen.
type Present = Arc<Mutex<HashMap<WorkerId, (Arc<str>, Instant)>>>;

impl NatsRoster {
    /// Begins to watch, to let workers in, and to look after their accounts. `lease` is what workers are told that they
    /// may be silent during an attempt.
    ///
    /// # Errors
    /// When the server does not let the broker listen.
    pub async fn start(link: Link, lease: Duration, version: Arc<str>, quota: Arc<dyn Quota>) -> Result<Arc<Self>, Error> {
        let (seen, cards) = mpsc::unbounded_channel();
        let present = Present::default();
        let listen = |subject: String| {
            let client = link.client.clone();
            async move { client.subscribe(subject.clone()).await.map_err(|e| Error::Refused { what: subject, why: e.to_string() }) }
        };
        let (hellos, quotas) = (listen(link.names.hello()).await?, listen(link.names.quota()).await?);
        let work: [BoxFuture<'static, ()>; 3] = [
            Box::pin(watch(link.clone(), present.clone(), seen)),
            Box::pin(admit(link.client.clone(), hellos, present, lease, version)),
            Box::pin(super::quota::serve(link.client.clone(), quotas, quota)),
        ];
        let stop = CancellationToken::new();
        for task in work {
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = task => {}
                    () = stop.cancelled() => {}
                }
            });
        }
        Ok(Arc::new(Self { link, cards: Mutex::new(Some(cards)), _stop: stop.drop_guard() }))
    }
}

impl Roster for NatsRoster {
    fn cards(&self) -> mpsc::UnboundedReceiver<Seen> {
        lock(&self.cards).take().unwrap_or_else(|| mpsc::unbounded_channel().1)
    }

    fn order<'a>(&'a self, worker: &'a WorkerId, order: Order) -> BoxFuture<'a, Result<Mode, Unheeded>> {
        Box::pin(async move {
            let silent = |why: String| Unheeded::Silent { worker: worker.clone(), why };
            let payload = serde_json::to_vec(&Control::Order(order)).map_err(|e| silent(e.to_string()))?;
            let answer = self.link.client.request(self.link.names.control(worker), payload.into()).await;
            let answer = answer.map_err(|e| silent(e.to_string()))?;
            match serde_json::from_slice(&answer.payload) {
                Ok(Obeyed::Done(mode)) => Ok(mode),
                Ok(Obeyed::Refused(why)) => Err(Unheeded::Refused(why)),
                Err(error) => Err(silent(format!("its answer cannot be read: {error}"))),
            }
        })
    }
}

/// Tells what cards say and when they stop coming. While NATS is away nobody is missed.
async fn watch(link: Link, present: Present, seen: mpsc::UnboundedSender<Seen>) {
    let mut state = link.state();
    loop {
        if state.wait_for(|s| s.up).await.is_err() {
            return;
        }
        let epoch = state.borrow_and_update().epoch;
        let still = |s: &super::LinkState| s.up && s.epoch == epoch;
        match bucket(&link).await {
            Ok(mut cards) => {
                for (_, at) in lock(&present).values_mut() {
                    *at = Instant::now();
                }
                let mut look = tokio::time::interval(LOOK);
                look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                let mut looked = Instant::now();
                loop {
                    tokio::select! {
                        entry = cards.next() => match entry {
                            Some(Ok(entry)) => read(&entry, &present, &seen),
                            Some(Err(_)) | None => break,
                        },
                        now = look.tick() => {
                            // After a standstill of this process their cards have yet to be read.
                            if now.duration_since(looked) > LOOK * 4 {
                                lock(&present).values_mut().for_each(|(_, at)| *at = now);
                            }
                            looked = now;
                            miss(&present, &seen, now);
                        }
                        _ = state.wait_for(|s| !still(s)) => break,
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the workers' cards cannot be read yet");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

async fn bucket(link: &Link) -> Result<kv::Watch, Error> {
    let name = link.names.cards();
    let config = kv::Config {
        bucket: name.clone(),
        description: "Pullyard's workers".to_owned(),
        history: 1,
        max_age: LOST * 2,
        // What is gone says so to those who watch.
        limit_markers: Some(LOST * 2),
        storage: StorageType::Memory,
        num_replicas: link.options.replicas as usize,
        ..kv::Config::default()
    };
    let refused = |why: String| Error::Refused { what: format!("bucket {name}"), why };
    let store = link.jetstream.create_or_update_key_value(config).await.map_err(|e| refused(e.to_string()))?;
    store.watch_with_history(">").await.map_err(|e| refused(e.to_string()))
}

fn read(entry: &kv::Entry, present: &Present, seen: &mpsc::UnboundedSender<Seen>) {
    match entry.operation {
        kv::Operation::Put => match serde_json::from_slice::<Card>(&entry.value) {
            Ok(card) => {
                lock(present).insert(card.worker.clone(), (card.instance.clone(), Instant::now()));
                let _ = seen.send(Seen::Put(card));
            }
            Err(error) => tracing::warn!(worker = %entry.key, %error, "a worker's card cannot be read"),
        },
        kv::Operation::Delete => {
            let gone: Vec<WorkerId> = lock(present).keys().filter(|worker| Names::worker(worker) == entry.key).cloned().collect();
            for worker in gone {
                lock(present).remove(&worker);
                let _ = seen.send(Seen::Gone { worker, why: "it has stopped".into() });
            }
        }
        // An old card has run out; whether its worker is gone is judged by when it was seen.
        kv::Operation::Purge => {}
    }
}

fn miss(present: &Present, seen: &mpsc::UnboundedSender<Seen>, now: Instant) {
    lock(present).retain(|worker, (_, at)| {
        let lost = now.duration_since(*at) > LOST;
        if lost {
            let why = format!("it was not heard of for {LOST:?}").into();
            let _ = seen.send(Seen::Gone { worker: worker.clone(), why });
        }
        !lost
    });
}

async fn admit(client: Client, mut hellos: Subscriber, present: Present, lease: Duration, version: Arc<str>) {
    while let Some(Message { reply, payload, .. }) = hellos.next().await {
        let Some(reply) = reply else { continue };
        let welcome = match serde_json::from_slice::<Hello>(&payload) {
            Ok(hello) => judge(&hello, &present, lease, &version),
            Err(error) => Welcome::Out { why: format!("the broker (Pullyard {version}) cannot read the worker's greeting: {error}") },
        };
        drop(client.publish(reply, serde_json::to_vec(&welcome).unwrap_or_default().into()).await);
    }
}

fn judge(hello: &Hello, present: &Present, lease: Duration, version: &Arc<str>) -> Welcome {
    if hello.protocol != PROTOCOL {
        let why = format!(
            "the broker (Pullyard {version}) speaks protocol {PROTOCOL}, and this worker (Pullyard {}) protocol {}: run the same version",
            hello.version, hello.protocol
        );
        return Welcome::Out { why };
    }
    if let Some((instance, _)) = lock(present).get(&hello.worker)
        && *instance != hello.instance
    {
        let why = format!("another worker is called `{}` and lives; give this one a name of its own with --name", hello.worker);
        return Welcome::Later { why };
    }
    Welcome::In { version: version.clone(), lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX) }
}
