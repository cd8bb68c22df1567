//! `on_interrupt: continue`: what an attempt has said before it broke is kept, and the next one goes on behind it.
//!
//! The output hub has what clients may have read, so that is what counts. It goes into the log with `Checkpointed`, in
//! the group that also ends the attempt.

use bytes::{Bytes, BytesMut};
use pullyard_schemas::job::{Checkpoint, Job, OnInterrupt};
use pullyard_schemas::work::Report;
use pullyard_schemas::{FailureKind, JobId, Timestamp, Token};
use pullyard_worker::transport::{Body, BodySource, BoxFuture, Word};

use super::turn::Engine;
use crate::core::decide::Command;

impl Engine {
    /// Ends an attempt with `command`, and keeps its output where the job shall be continued.
    pub(super) fn interrupted(&mut self, id: JobId, token: Token, failed: FailureKind, command: Command, now: Timestamp) {
        let held = |job: &Job| job.spec.on_interrupt == OnInterrupt::Continue && job.lease().is_some_and(|l| l.token == token);
        if !self.jobs.get(&id).is_some_and(|job| held(job)) {
            self.change(id, command, now, None);
            return;
        }
        let chunks = self.hub.seal(id, token);
        if chunks > 0 {
            let (lines, _) = self.hub.lines(id, token);
            self.change_with(id, Command::Checkpoint { token, chunks, failed }, &lines, now, None);
        }
        self.change(id, command, now, None);
        if let Some(job) = self.jobs.get(&id) {
            self.hub.retain(id, |token| job.is_kept(token));
        }
    }

    /// A completed attempt's word with the whole output: what earlier attempts said goes before its own.
    pub(super) fn with_all_output(&self, mut word: Word) -> Word {
        let job = self.jobs.get(&word.job).filter(|job| job.is_held_by(word.token, &word.worker));
        let Some(kept) = job.and_then(|job| job.checkpoint.as_deref()) else { return word };
        if let Report::Completed { .. } = word.report {
            match self.said(word.job, kept) {
                Ok(said) => word.output = [said, word.output].concat().into(),
                Err(error) => tracing::error!(job = %word.job, %error, "the output's first part cannot be read, and is missing"),
            }
        }
        word
    }

    /// What the next attempt goes on behind, one chunk per line.
    pub(super) fn said(&self, id: JobId, kept: &Checkpoint) -> Result<Bytes, String> {
        let chunks = kept.parts.iter().map(|part| part.chunks).sum::<u32>();
        let (lines, have) = self.hub.lines(id, kept.last());
        if have == chunks {
            return Ok(lines);
        }
        let record = self.reader.read(kept.seq).map_err(|error| error.to_string())?;
        record.map(|record| record.body).ok_or_else(|| format!("event {} is not in the log", kept.seq))
    }

    /// Gives the hub what a former life of the broker had kept, so that readers get the output from its beginning.
    pub(super) fn recall(&self, job: &Job) {
        let Some(kept) = job.checkpoint.as_deref() else { return };
        let said = match self.said(job.id, kept) {
            Ok(said) => said,
            Err(error) => {
                tracing::error!(job = %job.id, %error, "the output so far cannot be read");
                return;
            }
        };
        let mut lines = said.split(|b| *b == b'\n').map(|line| said.slice_ref(line));
        let parts = kept.parts.iter().map(|part| (part.token, lines.by_ref().take(part.chunks as usize).collect()));
        self.hub.restore(job.id, parts);
    }
}

/// A request with the output so far behind it.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) request: Body,
    pub(super) said: Result<Bytes, String>,
}

impl BodySource for Followed {
    fn fetch(&self, job: JobId) -> BoxFuture<'_, Result<Bytes, String>> {
        Box::pin(async move {
            let said = self.said.clone()?;
            let request = match &self.request {
                Body::Ready(request) => request.clone(),
                Body::Stored(source) => source.fetch(job).await?,
            };
            let mut both = BytesMut::with_capacity(request.len() + said.len());
            both.extend_from_slice(&request);
            both.extend_from_slice(&said);
            Ok(both.freeze())
        })
    }
}
