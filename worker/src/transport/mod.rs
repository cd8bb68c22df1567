//! Lanes, reports and output between broker and worker.
//!
//! The log owns leases and retries. A transport only carries: it may deliver an offer twice, and it may lose
//! everything, because the broker offers again from its log. It must never lose a report that it has taken.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod embedded;
pub mod nats;

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::work::{Offer, Report};
use pullyard_schemas::{JobId, Lane, Token, WorkerId};
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

/// What an attempt needs to begin: the request, with the output so far behind it where the offer says so. In hand when the
/// job has just arrived, fetched when it has waited.
#[derive(Clone, Debug)]
pub enum Body {
    Ready(Bytes),
    Stored(Arc<dyn BodySource>),
}

/// A body's request, and the output so far that the attempt shall go on behind.
#[must_use]
pub fn parted(offer: &Offer, mut body: Bytes) -> (Bytes, Option<Bytes>) {
    let prefix = offer.prefix_at.map(|at| body.split_off(usize::try_from(at).unwrap_or(usize::MAX).min(body.len())));
    (body, prefix)
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

/// A lane that a worker would take from now, and how well it would serve it: when several wait, the lowest rank goes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub lane: Lane,
    pub rank: u8,
}

/// A worker's durable word about an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    pub job: JobId,
    pub token: Token,
    pub worker: WorkerId,
    pub report: Report,
    /// One JSON object per line; empty unless the attempt completed.
    pub output: Bytes,
}

/// The broker's end. Nothing here waits: what cannot be sent now is sent when the way is open again.
pub trait BrokerEnd: Send + Sync + Debug {
    /// Puts an attempt on its lane. Interactive and normal go on the high track, batch on the low one.
    fn offer(&self, offer: Offer, body: Body);

    /// Takes an attempt back, whether it waits on its lane or runs; `worker` is who runs it, as far as that is known.
    fn withdraw(&self, job: JobId, token: Token, worker: Option<&WorkerId>);

    /// Takes back an offer that nobody has started; `false`: somebody has it, and will start it. Where that cannot be
    /// known at once, the first of two that start it has it.
    fn recall(&self, job: JobId, token: Token) -> bool {
        self.withdraw(job, token, None);
        true
    }

    /// Asks for a running attempt's output from its first chunk on, because the broker has lost some of it.
    fn repeat_output(&self, job: JobId, token: Token, worker: &WorkerId);
}

/// A worker's end.
pub trait WorkerEnd: Send + Sync + Debug {
    /// Up to `n` offers from these lanes, high tracks first and then in the order given; waits up to `wait` for the
    /// first one.
    fn pull<'a>(&'a self, from: &'a [Place], n: usize, wait: Duration) -> BoxFuture<'a, Vec<Box<dyn Delivery>>>;

    /// Resolves when the word is kept until the broker has it, whatever crashes. Words about one attempt arrive in the
    /// order in which they were kept, and may arrive twice.
    fn report(&self, word: Word) -> BoxFuture<'_, ()>;

    /// One chunk of live output, numbered from 0 within the attempt. May be lost; the report holds all of it.
    fn output(&self, job: JobId, token: Token, number: u32, chunk: Bytes);
}

/// What the broker hears of its workers.
#[derive(Debug)]
pub enum Incoming {
    /// Given back when the log has it: until then the transport keeps the word, and brings it again after a crash.
    Word(Word, Receipt),
    /// These attempts still run; with the worker's name where it can be told to end them.
    Alive { worker: Option<WorkerId>, attempts: Vec<(JobId, Token)> },
    /// Whether the way to the workers is open. While it is not, their silence says nothing about them.
    Way { open: bool },
    /// A worker wants the request of an attempt that was offered in a former life of the broker.
    Wanted { job: JobId, token: Token, give: Give },
}

/// Takes the lane and the request of an attempt that may still run. Dropped, there is none.
pub struct Give(Box<dyn FnOnce(Lane, Body) + Send + Sync>);

impl Give {
    pub fn new(give: impl FnOnce(Lane, Body) + Send + Sync + 'static) -> Self {
        Self(Box::new(give))
    }

    pub fn give(self, lane: Lane, body: Body) {
        (self.0)(lane, body);
    }
}

impl Debug for Give {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Give")
    }
}

/// Tells the transport that a word is in the log. Dropped untold, the word comes again.
#[derive(Default)]
pub struct Receipt(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Receipt {
    pub fn new(taken: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(taken)))
    }

    pub fn give(self) {
        if let Some(taken) = self.0 {
            taken();
        }
    }

    /// Nobody waits for this one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.is_none()
    }
}

impl Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_idle() { "Receipt(idle)" } else { "Receipt" })
    }
}

/// Where live output goes.
pub trait OutputSink: Send + Sync + Debug {
    fn chunk(&self, job: JobId, token: Token, number: u32, chunk: Bytes);
}
