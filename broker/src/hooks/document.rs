//! How a delivery stands.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use pullyard_schemas::{JobId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Settings, Webhook};

/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// For the end that is to be told.
    Waiting,
    /// It is being told.
    Pending,
    Delivered,
    /// Nothing more is tried by itself.
    Failed,
}

/// One subject's delivery; a file holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// A job's id, or what else somebody is told of.
    pub subject: Arc<str>,
    pub webhook: Webhook,
    pub state: State,
    /// What is told, such as `job.completed`, and since when it is so.
    #[serde(default)]
    pub event: Option<Arc<str>>,
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Events of this subject so far: a job that was parked and requeued has several.
    #[serde(default)]
    pub round: u32,
    /// Attempts to tell this event.
    #[serde(default)]
    pub attempts: u32,
    #[serde(default)]
    pub last_error: Option<String>,
    #[serde(default)]
    pub next_at: Option<Timestamp>,
    #[serde(default)]
    pub delivered_at: Option<Timestamp>,
    /// When it began to be tried: it is given up so long after.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The message's data, where it is not a job's.
    #[serde(default)]
    pub data: Option<Arc<RawValue>>,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// It may go better another time, which the receiver may have named.
    Again {
        why: String,
        after: Option<Duration>,
    },
    /// It never will.
    Never(String),
}

impl Document {
    #[must_use]
    pub fn new(subject: Arc<str>, webhook: Webhook) -> Self {
        Self {
            subject,
            webhook,
            state: State::Waiting,
            event: None,
            at: None,
            round: 0,
            attempts: 0,
            last_error: None,
            next_at: None,
            delivered_at: None,
            since: None,
            data: None,
        }
    }

    /// The subject where it is a job.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        if self.data.is_some() { None } else { self.subject.parse().ok() }
    }

    /// The same for every attempt to tell the same event, so that a receiver knows what it has had.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("msg_{}_{}", self.subject.replace('-', ""), self.round)
    }

    /// Whether another event of the subject may follow the last one: a parked job can be requeued.
    #[must_use]
    pub fn may_go_on(&self) -> bool {
        self.job().is_some() && self.event.as_deref().is_none_or(|event| event == "job.failed")
    }

    /// There is something to tell.
    pub fn tell(&mut self, event: Arc<str>, at: Timestamp, now: Timestamp) {
        (self.event, self.at) = (Some(event), Some(at));
        self.round += 1;
        self.begin(now);
    }

    /// The last event is told from now on, as if for the first time.
    pub fn begin(&mut self, now: Timestamp) {
        self.state = State::Pending;
        (self.since, self.next_at, self.delivered_at) = (Some(now), Some(now), None);
        (self.attempts, self.last_error) = (0, None);
    }

    /// An attempt has ended.
    pub fn tried(&mut self, outcome: Outcome, settings: &Settings, now: Timestamp) {
        self.attempts += 1;
        self.next_at = None;
        match outcome {
            Outcome::Delivered => {
                (self.state, self.delivered_at, self.last_error) = (State::Delivered, Some(now), None);
            }
            Outcome::Never(why) => (self.state, self.last_error) = (State::Failed, Some(why)),
            Outcome::Again { why, after } => {
                let next = now.after(self.pause(settings.backoff).max(after.unwrap_or_default().min(LONGEST)));
                let until = self.since.unwrap_or(now).after(settings.give_up_after);
                if next <= until {
                    (self.next_at, self.last_error) = (Some(next), Some(why));
                } else {
                    (self.state, self.last_error) = (State::Failed, Some(format!("{why}; given up after {} attempts", self.attempts)));
                }
            }
        }
    }

    /// The wait before the next attempt: doubles, and differs by a tenth from message to message so that they do not all
    /// come at once to a receiver that is there again.
    fn pause(&self, backoff: Duration) -> Duration {
        let doubled = backoff.saturating_mul(1 << self.attempts.saturating_sub(1).min(24)).min(LONGEST);
        let mut hash = DefaultHasher::new();
        (&self.subject, self.attempts).hash(&mut hash);
        doubled.mul_f64(1.0 + (hash.finish() % 1000) as f64 / 10_000.0)
    }
}
