//! What is in the messages: a head of one line of JSON, and behind it bytes as they are.

use bytes::Bytes;
use pullyard_schemas::fleet::{Mode, Order, Welcome};
use pullyard_schemas::work::{Offer, Report};
use pullyard_schemas::{JobId, Token, WorkerId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits::Account;

/// An offer on its lane. The request's body is behind it, unless it has to be fetched.
#[derive(Serialize, Deserialize)]
pub(super) struct OfferHead<O = Offer> {
    pub(super) offer: O,
    /// Bytes of a body that is too large for a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fetch: Option<usize>,
}

/// A word, with its output behind it.
#[derive(Serialize, Deserialize)]
pub(super) struct WordHead {
    pub(super) job: JobId,
    pub(super) token: Token,
    pub(super) worker: WorkerId,
    pub(super) what: Said,
}

/// Output that is too large for one message comes in parts before the word that it belongs to.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    Part(u32),
    Report {
        report: Report,
        #[serde(default, skip_serializing_if = "is_zero")]
        parts: u32,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(parts: &u32) -> bool {
    *parts == 0
}

/// What a broker says to one worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Control {
    /// The attempt is over.
    End(JobId, Token),
    /// The attempt's output is wanted again from this chunk on.
    Again(JobId, Token, u32),
    /// Answered with the mode that the worker is in then.
    Order(Order),
}

/// The answer to an order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Obeyed {
    Done(Mode),
    Refused(String),
}

/// The answer to a worker that wants to be let in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Greeting {
    In(Welcome),
    /// Not now.
    Later(String),
    /// Never.
    Out(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum QuotaQuestion {
    Take { account: Account, jobs: usize },
    GiveBack { account: Account, jobs: usize },
    Spend { account: Account, tokens: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum QuotaAnswer {
    Granted { jobs: usize, keep_ms: u64 },
    AskAgain,
    Failed(String),
}

/// The attempts that a worker runs.
#[derive(Serialize, Deserialize)]
pub(super) struct Beat {
    pub(super) worker: WorkerId,
    pub(super) attempts: Vec<(JobId, Token)>,
}

/// A part of a body, asked for by the worker that runs the attempt.
#[derive(Serialize, Deserialize)]
pub(super) struct BodyWanted {
    pub(super) job: JobId,
    pub(super) token: Token,
    pub(super) at: usize,
}

/// A request to a pull consumer: `$JS.API.CONSUMER.MSG.NEXT` of the JetStream API (ADR-13, and ADR-42 for the group).
#[derive(Serialize)]
pub(super) struct PullRequest {
    pub(super) batch: usize,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) no_wait: bool,
    pub(super) group: &'static str,
    pub(super) priority: u8,
}

/// The priority group of every lane's consumer.
pub(super) const GROUP: &str = "rank";
/// The worst rank that a priority group knows.
pub(super) const WORST: u8 = 9;

/// A head with what belongs behind it.
pub(super) fn framed(head: &impl Serialize, tail: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(512 + tail.len());
    // Our own types have nothing that could not be written.
    let _ = serde_json::to_writer(&mut frame, head);
    frame.push(b'\n');
    frame.extend_from_slice(tail);
    frame.into()
}

/// The head and what is behind it; `None` when it is nothing of ours.
pub(super) fn parsed<T: DeserializeOwned>(frame: &Bytes) -> Option<(T, Bytes)> {
    let end = memchr::memchr(b'\n', frame)?;
    Some((serde_json::from_slice(&frame[..end]).ok()?, frame.slice(end + 1..)))
}

/// A chunk of live output: job, token and number, then the chunk as it is.
pub(super) fn chunk(job: JobId, token: Token, number: u32, chunk: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(24 + chunk.len());
    frame.extend_from_slice(job.0.as_bytes());
    frame.extend_from_slice(&token.0.to_be_bytes());
    frame.extend_from_slice(&number.to_be_bytes());
    frame.extend_from_slice(chunk);
    frame.into()
}

pub(super) fn parsed_chunk(frame: &Bytes) -> Option<(JobId, Token, u32, Bytes)> {
    let (job, rest) = frame.split_first_chunk::<16>()?;
    let (token, rest) = rest.split_first_chunk::<4>()?;
    let (number, _) = rest.split_first_chunk::<4>()?;
    let job = JobId(uuid::Uuid::from_bytes(*job));
    Some((job, Token(u32::from_be_bytes(*token)), u32::from_be_bytes(*number), frame.slice(24..)))
}
