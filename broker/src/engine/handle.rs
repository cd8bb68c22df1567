//! What the rest of the program may ask of the engine. Cheap to clone; channels stay inside.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::job::{Job, Spec};
use pullyard_schemas::{JobId, Lane};
use tokio::sync::{mpsc, oneshot};

use super::commit::Stall;
use super::lanes::{Capacity, Stats};
use super::output::OutputHub;
use crate::core::decide::{Policy, Rejection};
use crate::core::schedule;

/// A request that has been read, checked and routed.
#[derive(Debug)]
pub struct NewJob {
    pub id: JobId,
    pub spec: Box<Spec>,
    /// As the client sent it.
    pub body: Bytes,
}

/// A job that the log has.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub view: View,
    /// An earlier submission with the same idempotency key is meant.
    pub repeated: bool,
}

/// A job's end, once the log has it.
#[derive(Clone, Debug)]
pub struct Ended {
    pub job: Arc<Job>,
    /// One JSON object per line; empty unless the job completed.
    pub output: Bytes,
}

/// Why a submission was not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("{what} ({have} waiting, {limit} allowed)")]
    Full { per_key: bool, what: &'static str, limit: u64, have: u64, retry_after: Duration },
    #[error("the event log cannot be written: {0}")]
    Stalled(Arc<str>),
    #[error("the idempotency key was used with another request (job {0})")]
    KeyReused(JobId),
    #[error("the broker is shutting down")]
    Draining,
}

/// A job with what the queue knows about it.
#[derive(Clone, Debug)]
pub struct View {
    pub job: Arc<Job>,
    /// Jobs that go before it, when it waits.
    pub ahead: Option<usize>,
    pub expected_start: Option<Duration>,
}

/// Which live jobs are wanted, and how many at the most.
pub struct Page {
    pub takes: Box<dyn Fn(&Job) -> bool + Send>,
    /// Older than this.
    pub before: Option<JobId>,
    pub limit: usize,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("before", &self.before).field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct Submission {
    pub(super) new: NewJob,
    pub(super) accepted: oneshot::Sender<Result<Accepted, Refusal>>,
    pub(super) ended: Option<oneshot::Sender<Ended>>,
    /// The client is told the job's id, so the answer waits for the disk.
    pub(super) promise: bool,
}

#[derive(Debug)]
pub(super) enum Input {
    Submit(Submission),
    Cancel { job: JobId, why: Arc<str>, done: Option<oneshot::Sender<Result<Arc<Job>, Rejection>>> },
    Requeue { job: JobId, max_attempts: Option<u32>, done: oneshot::Sender<Result<Arc<Job>, Rejection>> },
    Get { job: JobId, view: oneshot::Sender<Option<View>> },
    List { page: Page, list: oneshot::Sender<Vec<Arc<Job>>> },
    Stats { stats: oneshot::Sender<Stats> },
    Await { job: JobId, ended: oneshot::Sender<Ended> },
    Capacity(Vec<(Lane, Capacity)>),
    Configure { policy: Policy, schedule: schedule::Options },
    Drain,
    Stop,
}

/// The engine as everyone else sees it.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) inputs: mpsc::UnboundedSender<Input>,
    pub(super) hub: Arc<OutputHub>,
    pub(super) stall: Stall,
}

impl Handle {
    /// Answers when the job is on disk.
    ///
    /// # Errors
    /// When the queue is full, the log cannot be written, or the broker is stopping; then there is no such job.
    pub async fn submit(&self, new: NewJob) -> Result<Accepted, Refusal> {
        let (accepted, answer) = oneshot::channel();
        self.send(Input::Submit(Submission { new, accepted, ended: None, promise: true }));
        answer.await.unwrap_or(Err(Refusal::Draining))
    }

    /// For a client that waits: the first channel answers when the job is taken, the second when its end is on disk.
    /// With `promise` the first one waits for the disk too; without, nothing may be told to the client before the end.
    pub fn submit_and_wait(&self, new: NewJob, promise: bool) -> (oneshot::Receiver<Result<Accepted, Refusal>>, oneshot::Receiver<Ended>) {
        let (accepted, answer) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        self.send(Input::Submit(Submission { new, accepted, ended: Some(ended), promise }));
        (answer, end)
    }

    /// # Errors
    /// When the job is unknown or has ended otherwise.
    pub async fn cancel(&self, job: JobId, why: &str) -> Result<Arc<Job>, Rejection> {
        let (done, answer) = oneshot::channel();
        self.send(Input::Cancel { job, why: why.into(), done: Some(done) });
        answer.await.unwrap_or(Err(Rejection::Unknown))
    }

    /// Cancels without waiting, for use in `Drop`.
    pub fn abandon(&self, job: JobId) {
        self.send(Input::Cancel { job, why: "the client left".into(), done: None });
    }

    /// # Errors
    /// When the job is unknown or not parked.
    pub async fn requeue(&self, job: JobId, max_attempts: Option<u32>) -> Result<Arc<Job>, Rejection> {
        let (done, answer) = oneshot::channel();
        self.send(Input::Requeue { job, max_attempts, done });
        answer.await.unwrap_or(Err(Rejection::Unknown))
    }

    /// A live job, or one that ended a moment ago.
    pub async fn get(&self, job: JobId) -> Option<View> {
        let (view, answer) = oneshot::channel();
        self.send(Input::Get { job, view });
        answer.await.ok().flatten()
    }

    /// Jobs in the engine's memory, newest first.
    pub async fn list(&self, page: Page) -> Vec<Arc<Job>> {
        let (list, answer) = oneshot::channel();
        self.send(Input::List { page, list });
        answer.await.unwrap_or_default()
    }

    /// Counts; `None` when the engine has stopped.
    pub async fn stats(&self) -> Option<Stats> {
        let (stats, answer) = oneshot::channel();
        self.send(Input::Stats { stats });
        answer.await.ok()
    }

    /// Puts new settings in force from the next decision on.
    pub fn configure(&self, policy: Policy, schedule: schedule::Options) {
        self.send(Input::Configure { policy, schedule });
    }

    /// Resolves when the job ends; at once when it just has; never answers for a job that is not live.
    pub fn ended(&self, job: JobId) -> oneshot::Receiver<Ended> {
        let (ended, end) = oneshot::channel();
        self.send(Input::Await { job, ended });
        end
    }

    /// Tells how many slots serve each lane.
    pub fn capacity(&self, lanes: Vec<(Lane, Capacity)>) {
        self.send(Input::Capacity(lanes));
    }

    /// Stops intake.
    pub fn drain(&self) {
        self.send(Input::Drain);
    }

    /// Ends the engine after what was asked before; whoever still waits hears that the broker stops.
    pub fn stop(&self) {
        self.send(Input::Stop);
    }

    /// Whether the engine has ended: then an unanswered question means nothing about a job.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.inputs.is_closed()
    }

    #[must_use]
    pub fn outputs(&self) -> &Arc<OutputHub> {
        &self.hub
    }

    /// Why the log cannot be written, while it cannot.
    #[must_use]
    pub fn stalled(&self) -> Option<Arc<str>> {
        self.stall.why()
    }

    fn send(&self, input: Input) {
        // A closed channel means that the engine has stopped; the answers' channels then close too.
        let _ = self.inputs.send(input);
    }
}
