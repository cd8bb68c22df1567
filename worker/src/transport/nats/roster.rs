//! The broker's view of its workers: their cards, who is let in, and orders to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::StorageType;
use async_nats::{Client, Message, RequestErrorKind, Subscriber};
use futures_util::StreamExt as _;
use pullyard_schemas::fleet::{Card, Hello, Mode, Order, Welcome};
use pullyard_schemas::{Lane, Scope, WorkerId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::link::{Link, background, lock};
use super::wire::{Control, Greeting, Obeyed};
use super::{BrokerSide, Error, Names, PATIENCE};
use crate::fleet::{Roster, Seen, Unheeded};
use crate::limits::Quota;
use crate::transport::BoxFuture;

/// A worker that has shown nothing for so long is gone: three of its cards did not come.
const LOST: Duration = Duration::from_secs(7);
/// When every worker that lives has put its card up anew.
const FIRST: Duration = Duration::from_millis(2_500);
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
    /// Begins to watch, to make the lanes that workers serve, to let workers in with this welcome, and to look after their
    /// accounts.
    ///
    /// # Errors
    /// When the server does not let the broker listen.
    pub async fn start(link: Link, side: Arc<BrokerSide>, welcome: Welcome, quota: Arc<dyn Quota>) -> Result<Arc<Self>, Error> {
        let (seen, cards) = mpsc::unbounded_channel();
        let present = Present::default();
        let listen = |subject: String| {
            let client = link.client.clone();
            async move { client.subscribe(subject.clone()).await.map_err(|e| Error::Refused { what: subject, why: e.to_string() }) }
        };
        let (hellos, quotas) = (listen(link.names.hello()).await?, listen(link.names.quota()).await?);
        let work: [BoxFuture<'static, ()>; 3] = [
            Box::pin(watch(link.clone(), present.clone(), Told { seen, side, all: false })),
            Box::pin(admit(link.client.clone(), hellos, present, welcome)),
            Box::pin(super::quota::serve(link.client.clone(), quotas, quota)),
        ];
        Ok(Arc::new(Self { link, cards: Mutex::new(Some(cards)), _stop: background(work) }))
    }
}

impl Roster for NatsRoster {
    fn cards(&self) -> mpsc::UnboundedReceiver<Seen> {
        lock(&self.cards).take().unwrap_or_else(|| mpsc::unbounded_channel().1)
    }

    fn order<'a>(&'a self, worker: &'a WorkerId, order: Order) -> BoxFuture<'a, Result<Mode, Unheeded>> {
        Box::pin(async move {
            let silent = |why: String| Unheeded::Silent { worker: worker.clone(), why };
            // What is said while the connection is lost is sent when it stands again, and nobody wants it done then.
            if !self.link.state().borrow().up {
                return Err(silent(format!("NATS at {} is not reachable", self.link.servers())));
            }
            let payload = serde_json::to_vec(&Control::Order(order)).map_err(|e| silent(e.to_string()))?;
            let answer = self.link.client.request(self.link.names.control(worker), payload.into()).await;
            let answer = answer.map_err(|e| {
                silent(match e.kind() {
                    RequestErrorKind::NoResponders => "it is not connected to NATS".to_owned(),
                    RequestErrorKind::TimedOut => format!("nothing came within {PATIENCE:?}"),
                    _ => e.to_string(),
                })
            })?;
            match serde_json::from_slice(&answer.payload) {
                Ok(Obeyed::Done(mode)) => Ok(mode),
                Ok(Obeyed::Refused(why)) => Err(Unheeded::Refused(why)),
                Err(error) => Err(silent(format!("its answer cannot be read: {error}"))),
            }
        })
    }
}

/// Tells what cards say and when they stop coming. While NATS is away nobody is missed.
async fn watch(link: Link, present: Present, mut told: Told) {
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
                let begun = looked;
                loop {
                    tokio::select! {
                        entry = cards.next() => match entry {
                            Some(Ok(entry)) => read(&entry, &present, &mut told),
                            Some(Err(_)) | None => break,
                        },
                        now = look.tick() => {
                            // After a standstill of this process their cards have yet to be read.
                            if now.duration_since(looked) > LOOK * 4 {
                                lock(&present).values_mut().for_each(|(_, at)| *at = now);
                            }
                            looked = now;
                            miss(&present, &told, now);
                            if now.duration_since(begun) > FIRST {
                                told.all();
                            }
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

fn read(entry: &kv::Entry, present: &Present, told: &mut Told) {
    match entry.operation {
        kv::Operation::Put => match serde_json::from_slice::<Card>(&entry.value) {
            Ok(card) => {
                lock(present).insert(card.worker.clone(), (card.instance.clone(), Instant::now()));
                told.put(card);
            }
            Err(error) => tracing::warn!(worker = %entry.key, %error, "a worker's card cannot be read"),
        },
        kv::Operation::Delete => {
            let gone: Vec<WorkerId> = lock(present).keys().filter(|worker| Names::worker(worker) == entry.key).cloned().collect();
            for worker in gone {
                lock(present).remove(&worker);
                told.tell(Seen::Gone { worker, why: "it has stopped".into() });
            }
        }
        // An old card has run out; whether its worker is gone is judged by when it was seen.
        kv::Operation::Purge => {}
    }
    if entry.delta == 0 {
        told.all();
    }
}

fn miss(present: &Present, told: &Told, now: Instant) {
    lock(present).retain(|worker, (_, at)| {
        let lost = now.duration_since(*at) > LOST;
        if lost {
            let why = format!("it was not heard of for {LOST:?}").into();
            told.tell(Seen::Gone { worker: worker.clone(), why });
        }
        !lost
    });
}

/// What has been told of the cards.
struct Told {
    seen: mpsc::UnboundedSender<Seen>,
    side: Arc<BrokerSide>,
    all: bool,
}

impl Told {
    fn put(&self, card: Card) {
        let serves = |backend: &pullyard_schemas::fleet::BackendCard| {
            let scopes = [Scope::Any, Scope::Local].into_iter().filter(|scope| backend.serves(*scope)).collect::<Vec<_>>();
            let lane = move |target: &Arc<str>, scope| Lane { target: target.clone(), scope };
            backend
                .models
                .iter()
                .flat_map(|model| scopes.iter().map(|scope| lane(&model.name, *scope)).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        self.side.lanes(card.backends.iter().flat_map(serves).collect());
        self.tell(Seen::Put(card));
    }

    fn all(&mut self) {
        if !std::mem::replace(&mut self.all, true) {
            self.tell(Seen::All);
        }
    }

    fn tell(&self, seen: Seen) {
        // Nobody listens any more when the broker is closing.
        let _ = self.seen.send(seen);
    }
}

async fn admit(client: Client, mut hellos: Subscriber, present: Present, welcome: Welcome) {
    while let Some(Message { reply, payload, .. }) = hellos.next().await {
        let Some(reply) = reply else { continue };
        let greeting = match serde_json::from_slice::<Hello>(&payload) {
            Ok(hello) => judge(&hello, &present, &welcome),
            Err(error) => Greeting::Out(format!("the broker (pullyard {}) cannot read the worker's greeting: {error}", welcome.version)),
        };
        drop(client.publish(reply, serde_json::to_vec(&greeting).unwrap_or_default().into()).await);
    }
}

fn judge(hello: &Hello, present: &Present, welcome: &Welcome) -> Greeting {
    let taken = lock(present).get(&hello.worker).is_some_and(|(instance, _)| *instance != hello.instance);
    match hello.answer(welcome.clone()) {
        Err(why) => Greeting::Out(why),
        Ok(_) if taken => {
            Greeting::Later(format!("another worker is called `{}` and lives; give this one a name of its own with --name", hello.worker))
        }
        Ok(welcome) => Greeting::In(welcome),
    }
}
