//! Webhooks: whoever wants to be told of an end is told, signed, until it has heard.
//!
//! - [`Webhook`]: who is told what. [`Target`], [`Allow`]: where a message may go.
//! - `document`: how a delivery stands; one file each, written before the job that it is about is submitted.
//! - `runner`: the one owner of what is not delivered yet. [`Hooks`] is its handle.
//! - `send`: one message, signed as Standard Webhooks have it.
//!
//! A message is delivered at least once, and its id tells a receiver that it has had it.

mod address;
mod document;
mod handle;
mod runner;
mod send;
mod sign;
mod store;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::{JobId, Timestamp};
use serde::{Deserialize, Serialize};

pub use address::{Allow, Prefix, Target, target};
pub use document::{Document, State};
pub use handle::{Counts, Hooks, Unheard, Unstarted};
pub use sign::Secret;

/// Who is told what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    pub url: Arc<str>,
    /// Names behind the dot, such as `completed`; all where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Arc<str>>,
    /// Whether the message has the job's result too.
    #[serde(default)]
    pub result: bool,
}

impl Webhook {
    /// Whether this is told. `event` is one such as `job.completed`.
    #[must_use]
    pub fn wants(&self, event: &str) -> bool {
        let name = event.rsplit('.').next().unwrap_or(event);
        self.events.is_empty() || self.events.iter().any(|wanted| **wanted == *name)
    }
}

/// What the operator sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Messages are not signed where there is none.
    pub secret: Option<Secret>,
    pub allow: Allow,
    /// How long a receiver may take.
    pub timeout: Duration,
    /// The wait before the second attempt; doubles with each further one.
    pub backoff: Duration,
    /// How long after the event it is tried.
    pub give_up_after: Duration,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is at rest: what that is called, and since when.
    Rests { event: &'static str, at: Timestamp },
    /// There is no such job, or not any more.
    Unknown,
    /// It cannot be said now.
    Later,
}

/// A future that is not named.
pub type Soon<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What messages are about.
pub trait Subjects: Send + Sync + Debug {
    /// Resolves when the job has come to rest.
    fn rest(&self, job: JobId) -> Soon<Found>;

    /// Whether the job is live now, as far as that can be said.
    fn is_live(&self, job: JobId) -> Soon<bool>;

    /// The job as JSON; nothing where it is not there any more.
    fn shown(&self, job: JobId, result: bool) -> Soon<Result<Option<Bytes>, String>>;
}
