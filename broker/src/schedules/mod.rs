//! Jobs that recur: who is due, and what came of it.
//!
//! - [`Recurring`]: what shall be submitted when. `state`: what was, kept across restarts.
//! - [`Schedules`]: the handle of `runner`, which is the one owner of the state.
//!
//! A firing is a job whose idempotency key is the schedule's name and time, so that none is doubled whatever crashes.

mod runner;
mod state;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use jiff::tz::TimeZone;
use pullyard_schemas::{JobId, Timestamp};
use serde::Deserialize;

pub use runner::{Counts, Schedules, Unstarted};
pub use state::{Last, Shown};

use crate::core::cron::Cron;

/// What is done about times at which the broker was not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    #[default]
    Skip,
    /// The last of them is made up for.
    RunOnce,
}

/// What is done when the job before has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    #[default]
    Skip,
    Queue,
}

/// What shall be submitted when.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurring {
    pub name: Arc<str>,
    pub cron: Cron,
    pub zone: TimeZone,
    /// A body of `POST /v1/jobs`.
    pub request: Bytes,
    /// The API key that its jobs count for.
    pub key: Option<Arc<str>>,
    pub missed: Missed,
    pub overlap: Overlap,
}

/// Why a firing came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfired {
    /// It is told to people.
    Refused(String),
    /// Nobody can say whether there is such a job: the broker stops. The next start will see.
    Stopping,
}

/// A future that is not named.
pub type Soon<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where the jobs go.
pub trait Submit: Send + Sync + Debug {
    /// Submits the job of this time; the one that was, if it was before.
    fn submit(&self, recurring: Arc<Recurring>, at: Timestamp) -> Soon<Result<JobId, Unfired>>;

    /// Whether the job has not ended, as far as that can be said.
    fn is_live(&self, job: JobId) -> Soon<bool>;
}
