//! Lanes, words and output over NATS, for a broker and workers on several machines.
//!
//! - Lanes are two work-queue streams, one for each scope, so that a worker's NATS user can be kept off the local one.
//!   Each lane and track has a durable pull consumer, whose priority group knows the rank of those who wait.
//! - Words go through a work-queue stream, so that an attempt's end is kept while every broker is down.
//! - An offer stays on its lane until the attempt's start is kept in the stream of words; from then on the lease in the
//!   broker's log is the only clock. NATS redelivers what was pulled and never started, and nothing else.
//! - Live output travels on plain subjects in numbered chunks. A worker keeps what its running attempts have said, and
//!   repeats it when a broker has missed some of it or has started anew.
//! - NATS may lose everything: the broker makes its streams again and offers what nobody has started.
//!
//! `names` has every subject, `wire` what is in the messages.

mod broker;
mod cards;
mod heard;
mod link;
mod names;
mod offers;
mod pull;
mod quota;
mod roster;
mod streams;
mod wire;
mod words;
mod worker;

pub use broker::BrokerSide;
pub use cards::{NatsPost, hello};
pub use link::{Auth, Link, LinkState, Options, Role, Storage, Tls};
pub use names::Names;
pub use quota::NatsQuota;
pub use roster::NatsRoster;
pub use worker::WorkerSide;

use std::time::Duration;

/// Why NATS cannot be used. Each says what a person has to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("NATS address {url:?}: {why}")]
    Address { url: String, why: String },
    #[error("NATS credentials: {0}")]
    Credentials(String),
    #[error("NATS at {servers} is not reachable: {why}")]
    Unreachable { servers: String, why: String },
    #[error("nats-server at {server} has version {found}; Pullyard needs 2.12 or later, for priority groups")]
    TooOld { server: String, found: String },
    #[error("{0}")]
    NotWelcome(String),
    #[error("NATS refuses {what}: {why}")]
    Refused { what: String, why: String },
}

/// How long an answer of the server is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
