//! A response told on the connection that asked for it.

use bytes::Bytes;
use pullyard_schemas::job::{Job, Outcome, State};
use pullyard_schemas::{FailureKind, Usage};

use super::request::Repeated;
use super::story::{Status, Story, Trouble};
use crate::engine::Ended;
use crate::http::encode::Encoder;
use crate::http::error::Error;

/// Tells a job that somebody waits for.
pub(super) struct Telling {
    repeated: Repeated,
    story: Option<Story>,
}

impl Telling {
    pub(super) fn new(repeated: Repeated) -> Self {
        Self { repeated, story: None }
    }
}

impl Encoder for Telling {
    fn stream_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn begin(&mut self, job: &Job, out: &mut Vec<u8>) {
        let story = self.story.insert(Story::new(job, std::mem::take(&mut self.repeated), false));
        story.begin(out);
    }

    fn chunk(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if let Some(story) = &mut self.story {
            story.chunk(line, out);
        }
    }

    fn waiting(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": waiting\n\n");
    }

    fn end(&mut self, ended: &Ended, out: &mut Vec<u8>) {
        if let Some(story) = &mut self.story {
            story.end(&ended.job, &usage(&ended.job), out);
        }
    }

    fn failed(&mut self, error: &Error, out: &mut Vec<u8>) {
        if let Some(story) = &mut self.story {
            let code = match error.status.as_u16() {
                429 => "rate_limit_exceeded",
                400..=499 => "invalid_prompt",
                _ => "server_error",
            };
            story.failed(Status::Failed, &Trouble { code, message: error.message.clone() }, out);
        }
    }

    fn whole(&mut self, ended: &Ended, output: Bytes) -> Result<Bytes, Error> {
        let story = Story::new(&ended.job, std::mem::take(&mut self.repeated), false);
        Ok(story.whole(&ended.job, &output, &usage(&ended.job)).into())
    }
}

/// What a completed job used.
pub(super) fn usage(job: &Job) -> Usage {
    match &job.state {
        State::Ended(Outcome::Completed { charge, .. }) => charge.usage,
        _ => Usage::default(),
    }
}

/// What has become of a job that has no result (yet), and why.
pub(super) fn standing(job: &Job) -> (Status, Option<Trouble>) {
    match &job.state {
        State::Queued | State::Deferred { .. } => (Status::Queued, None),
        State::Running { .. } => (Status::InProgress, None),
        State::Ended(Outcome::Completed { .. }) => (Status::Completed, None),
        State::Ended(Outcome::Cancelled { .. } | Outcome::Deleted) => (Status::Cancelled, None),
        State::Ended(Outcome::Expired) => {
            (Status::Failed, Some(Trouble { code: "server_error", message: "the job's deadline passed before it was done".to_owned() }))
        }
        State::Parked { failure } => {
            let code = match failure.kind {
                FailureKind::BadRequest | FailureKind::ContextLength | FailureKind::NoModel => "invalid_prompt",
                FailureKind::Busy => "rate_limit_exceeded",
                FailureKind::Timeout
                | FailureKind::Unauthorized
                | FailureKind::Connect
                | FailureKind::Backend
                | FailureKind::Garbage
                | FailureKind::CannotContinue
                | FailureKind::Cancelled
                | FailureKind::Drained => "server_error",
            };
            (Status::Failed, Some(Trouble { code, message: failure.message.clone() }))
        }
    }
}
