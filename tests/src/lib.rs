//! The harness for end-to-end tests: the real broker as a process, a model server that misbehaves on demand, and clients.
//!
//! - [`TestBroker`]: the binary under test, which can be killed, stopped and started again on its data.
//! - [`TestWorker`]: a worker that is a process of its own.
//! - [`FakeModel`]: an OpenAI-compatible server that does as it is told and remembers what it was asked.
//! - [`ScriptedModel`]: a server of any dialect that says word for word what it was given.
//! - [`NatsServer`]: a real NATS server, which can be killed, paused and robbed of its store.
//! - [`ChaosProxy`]: a network that fails on demand.
//! - [`Ledger`]: what the log's files say.
//! - [`python`], [`node`]: programs of other languages, with the SDKs that people use.
//! - [`Client`], [`Events`]: what an application does; [`Wire`]: what no application should do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a harness that cannot go on fails the test")]

mod broker;
mod client;
mod foreign;
mod ledger;
mod model;
mod nats;
mod process;
mod proxy;
mod wire;
mod worker;

use std::time::{Duration, Instant};

pub use broker::{Setup, TestBroker, binary};
pub use client::{Client, Event, Events, Reply, chat, errors_are_explained};
pub use foreign::{Foreign, node, python};
pub use ledger::{Bill, Ledger, Story};
pub use model::{Answer, Asked, Behaviour, Counts, FakeModel, Full, Scripted, ScriptedModel, Seen, Stay};
pub use nats::{NatsOptions, NatsServer};
pub use proxy::{ChaosProxy, ProxyCounts};
pub use wire::{Raw, Wire};
pub use worker::TestWorker;

/// Everything that should happen happens within this, also on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Retries that do not make tests wait.
pub const QUICK: &str = "retries: {backoff: 20ms, backoff_max: 200ms}\n";

/// Looks until there is something to see.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "this never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A process's resident memory, in bytes.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).and_then(|l| l.trim().strip_suffix(" kB"));
    kib.unwrap().parse::<u64>().unwrap() * 1024
}

/// Dice for a test; the seed is printed, and taken from `PULLYARD_SEED` when it is set.
#[must_use]
pub fn dice(test: &str) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed(test))
}

/// The seed alone, for a test that needs several dice.
#[must_use]
pub fn seed(test: &str) -> u64 {
    let seed = std::env::var("PULLYARD_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: PULLYARD_SEED={seed}");
    seed
}
