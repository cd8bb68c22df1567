//! Who is there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pullyard_schemas::fleet::{Card, Mode, Order};
use pullyard_schemas::{Timestamp, WorkerId};
use pullyard_worker::fleet::{Roster, Seen, Unheeded};
use tokio::sync::mpsc;

use super::memory::Kept;
use crate::core::nearest::suggest;

/// How long a worker that is gone is still known: jobs for its models are taken and wait, as they do while it restarts.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// A worker as the broker knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub card: Card,
    /// Its last sign of life.
    pub seen: Timestamp,
    /// Why it is not there any more.
    pub gone: Option<Arc<str>>,
}

/// A worker came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Move {
    Joined { worker: WorkerId, instance: Arc<str>, version: Arc<str>, backends: u32 },
    Left { worker: WorkerId, why: Arc<str> },
}

/// Why a worker did not do as it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmoved {
    #[error("there is no worker `{name}`{instead}")]
    Unknown { name: String, instead: String },
    #[error("worker `{worker}` is gone: {why}")]
    Gone { worker: WorkerId, why: Arc<str> },
    #[error(transparent)]
    Unheeded(#[from] Unheeded),
}

/// All workers that are there or were lately.
#[derive(Debug)]
pub struct Registry {
    roster: Arc<dyn Roster>,
    known: Mutex<BTreeMap<WorkerId, Known>>,
    clock: fn() -> Timestamp,
}

impl Registry {
    #[must_use]
    pub fn new(roster: Arc<dyn Roster>, clock: fn() -> Timestamp) -> Self {
        Self { roster, known: Mutex::default(), clock }
    }

    /// By name.
    #[must_use]
    pub fn workers(&self) -> Vec<Known> {
        self.lock().values().cloned().collect()
    }

    /// Tells a worker what to do, and what it is by then.
    ///
    /// # Errors
    /// When there is no such worker, or it does not answer, or refuses.
    pub async fn order(&self, name: &str, order: Order) -> Result<Mode, Unmoved> {
        let known = {
            let all = self.lock();
            let Some(known) = all.get(&WorkerId(name.into())) else {
                let names: Vec<&str> = all.keys().map(|worker| &*worker.0).collect();
                let instead = if names.is_empty() { String::new() } else { format!("; {}", suggest(name, &names)) };
                return Err(Unmoved::Unknown { name: name.chars().take(64).collect(), instead });
            };
            known.clone()
        };
        if let Some(why) = known.gone {
            return Err(Unmoved::Gone { worker: known.card.worker, why });
        }
        let mode = self.roster.order(&known.card.worker, order).await?;
        tracing::info!(worker = %known.card.worker, order = order.as_str(), mode = mode.as_str(), "a worker was told what to do");
        Ok(mode)
    }

    /// Knows of these as one knows of a worker that is gone, until it shows itself.
    pub(super) fn recall(&self, kept: &[Kept]) {
        let now = (self.clock)();
        let mut known = self.lock();
        for Kept { card, gone_since } in kept {
            let gone = Some("it has not been heard of since the broker started".into());
            let seen = gone_since.unwrap_or(now);
            known.entry(card.worker.clone()).or_insert_with(|| Known { card: card.clone(), seen, gone });
        }
        known.retain(|_, known| now.since(known.seen) < REMEMBERED);
    }

    pub(super) fn cards(&self) -> mpsc::UnboundedReceiver<Seen> {
        self.roster.cards()
    }

    /// Notes what was seen of a worker; answers whether it came or went.
    pub(super) fn heard(&self, seen: Seen) -> Option<Move> {
        let now = (self.clock)();
        let mut known = self.lock();
        let moved = match seen {
            Seen::Put(card) => {
                let before = known.get(&card.worker).filter(|before| before.gone.is_none());
                let joined = before.is_none_or(|before| before.card.instance != card.instance).then(|| {
                    tracing::info!(worker = %card.worker, machine = %card.machine, version = %card.version, "a worker is there");
                    let backends = u32::try_from(card.backends.len()).unwrap_or(u32::MAX);
                    Move::Joined { worker: card.worker.clone(), instance: card.instance.clone(), version: card.version.clone(), backends }
                });
                known.insert(card.worker.clone(), Known { card, seen: now, gone: None });
                joined
            }
            Seen::Gone { worker, why } => {
                let there = known.get_mut(&worker).filter(|known| known.gone.is_none());
                there.map(|known| {
                    tracing::warn!(%worker, %why, "a worker is gone");
                    known.gone = Some(why.clone());
                    Move::Left { worker, why }
                })
            }
            Seen::All => None,
        };
        known.retain(|_, known| known.gone.is_none() || now.since(known.seen) < REMEMBERED);
        moved
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use pullyard_worker::transport::BoxFuture;

    use super::*;

    static NOW: AtomicU64 = AtomicU64::new(0);

    /// Heeds everything but a drain.
    #[derive(Debug)]
    struct Everybody;

    impl Roster for Everybody {
        fn cards(&self) -> mpsc::UnboundedReceiver<Seen> {
            mpsc::unbounded_channel().1
        }

        fn order<'a>(&'a self, _: &'a WorkerId, order: Order) -> BoxFuture<'a, Result<Mode, Unheeded>> {
            Box::pin(std::future::ready(match order {
                Order::Pause => Ok(Mode::Paused),
                Order::Resume => Ok(Mode::Active),
                Order::Drain => Err(Unheeded::Refused("not now".into())),
            }))
        }
    }

    fn card(worker: &str, instance: &str) -> Card {
        Card {
            worker: WorkerId(worker.into()),
            instance: instance.into(),
            version: "0".into(),
            machine: "m".into(),
            started: Timestamp(0),
            mode: Mode::Active,
            backends: vec![],
        }
    }

    #[tokio::test]
    async fn who_is_gone_is_known_for_a_while_and_may_come_back() {
        let registry = Registry::new(Arc::new(Everybody), || Timestamp(NOW.load(Ordering::Relaxed)));
        registry.heard(Seen::Put(card("gpu1", "a")));
        assert_eq!(registry.order("gpu1", Order::Pause).await, Ok(Mode::Paused));
        assert_eq!(registry.order("gpu1", Order::Drain).await.unwrap_err().to_string(), "not now");
        let unknown = registry.order("gpu2", Order::Pause).await.unwrap_err().to_string();
        assert_eq!(unknown, "there is no worker `gpu2`; did you mean `gpu1`?");

        NOW.store(1_000, Ordering::Relaxed);
        registry.heard(Seen::Gone { worker: WorkerId("gpu1".into()), why: "not heard of for 30s".into() });
        registry.heard(Seen::Gone { worker: WorkerId("nobody".into()), why: "x".into() });
        let gone = registry.order("gpu1", Order::Resume).await.unwrap_err().to_string();
        assert_eq!((registry.workers().len(), gone.as_str()), (1, "worker `gpu1` is gone: not heard of for 30s"));
        registry.heard(Seen::Put(card("gpu1", "b")));
        assert_eq!(registry.workers()[0].gone, None);

        registry.heard(Seen::Gone { worker: WorkerId("gpu1".into()), why: "stopped".into() });
        NOW.store(1_000 + 3_600_000, Ordering::Relaxed);
        registry.heard(Seen::All);
        assert_eq!(registry.workers(), []);
        assert_eq!(registry.order("x", Order::Pause).await.unwrap_err().to_string(), "there is no worker `x`");
    }
}
