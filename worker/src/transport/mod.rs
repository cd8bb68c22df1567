//! Lanes, reports and output between broker and worker.
//!
//! The log owns leases and retries. A transport only carries: it may deliver an offer twice, and it may lose
//! everything, because the broker offers again from its log. It must never lose a report that it has taken.

#[cfg(test)]
mod conformance;
pub mod embedded;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::work::{Offer, Report};
use pullyard_schemas::{JobId, Lane, Token};
use tokio_util::sync::CancellationToken;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a job's request body comes from when an attempt starts.
pub trait BodySource: Send + Sync + Debug {
    /// The body, as the client sent it.
    ///
    /// # Errors
    /// When it cannot be read; the attempt then fails as retryable.
    fn fetch(&self, job: JobId) -> BoxFuture<'_, Result<Bytes, String>>;
}

/// A request body: in hand when the job has just arrived, fetched when it has waited.
#[derive(Clone, Debug)]
pub enum Body {
    Ready(Bytes),
    Stored(Arc<dyn BodySource>),
}

/// A pulled offer. Dropping it unsettled is what a crash looks like: it is delivered again when its hold runs out.
pub trait Delivery: Send + Sync + Debug {
    fn offer(&self) -> &Offer;
    fn body(&self) -> &Body;
    /// Fires when the broker withdraws the attempt.
    fn cancelled(&self) -> &CancellationToken;
    /// Holds the delivery for another full period, from now.
    fn extend(&self);
    /// Ends the delivery: it is not delivered again.
    fn settle(self: Box<Self>);
}

/// The way between a broker and its workers.
pub trait Transport: Send + Sync + Debug {
    /// Broker: puts an attempt on its lane. Interactive and normal go on the high track, batch on the low one.
    fn offer(&self, offer: Offer, body: Body);

    /// Broker: takes an attempt back, whether it waits on its lane or runs at a worker.
    fn withdraw(&self, job: JobId, token: Token);

    /// Worker: up to `n` offers from these lanes, high tracks first; waits up to `wait` for the first one.
    /// When several pulls wait, the lowest `rank` is served first.
    fn pull<'a>(&'a self, lanes: &'a [Lane], n: usize, wait: Duration, rank: u8) -> BoxFuture<'a, Vec<Box<dyn Delivery>>>;

    /// Worker: a durable word about an attempt; `output` is one JSON object per line, empty unless it completed.
    fn report(&self, job: JobId, token: Token, report: Report, output: Bytes) -> BoxFuture<'_, ()>;

    /// Worker: one chunk of live output, numbered from 0 within the attempt. May be lost; the report holds all of it.
    fn output(&self, job: JobId, token: Token, number: u32, chunk: Bytes);
}
