//! Live jobs from the log, when the broker starts.

use std::collections::HashMap;
use std::ops::ControlFlow;

use pullyard_schemas::job::{Event, IllegalEvent, Job, Labels, apply};
use pullyard_schemas::{JobId, Seq};

use crate::log::{self, LogReader};
use crate::readmodel::{ProjectorHandle, Update};

/// Why the broker cannot start from this log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
    #[error("the log's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Folds the log from `floor` on and sends what the read model lacks to it. Jobs submitted before `floor` have ended.
pub(super) fn live_jobs(
    reader: &dyn LogReader,
    floor: Seq,
    cursor: Seq,
    projector: &ProjectorHandle,
) -> Result<HashMap<JobId, Job>, Error> {
    let mut jobs: HashMap<JobId, Job> = HashMap::new();
    let mut updates = Vec::new();
    let mut illegal = None;
    let from = floor.min(cursor.next());
    reader.replay(from, &mut |record| {
        let envelope = &record.envelope;
        let known = jobs.remove(&envelope.job);
        if known.is_none() && !matches!(envelope.event, Event::Submitted { .. }) {
            // Its submission lies before the floor, so it had ended; only its late bills are news.
            if envelope.seq > cursor {
                updates.push(update_of(envelope, None));
            }
            return ControlFlow::Continue(());
        }
        match apply(known, envelope) {
            Ok(job) => {
                if envelope.seq > cursor {
                    updates.push(update_of(envelope, Some(&job)));
                }
                if !job.state.is_terminal() {
                    jobs.insert(job.id, job);
                }
            }
            Err(error) => {
                illegal = Some(error);
                return ControlFlow::Break(());
            }
        }
        if updates.len() >= 1000 {
            let floor = floor_of(&jobs, envelope.seq);
            projector.send(std::mem::take(&mut updates), floor);
        }
        ControlFlow::Continue(())
    })?;
    if let Some(error) = illegal {
        return Err(error.into());
    }
    if !updates.is_empty() {
        let last = updates.last().map_or(cursor, |u| u.seq);
        projector.send(updates, floor_of(&jobs, last));
    }
    Ok(jobs)
}

fn floor_of(jobs: &HashMap<JobId, Job>, last: Seq) -> Seq {
    jobs.values().map(Job::submitted_seq).min().unwrap_or_else(|| last.next())
}

/// What the read model learns from an event; the same live and on replay.
pub(super) fn update_of(envelope: &pullyard_schemas::job::Envelope, job: Option<&Job>) -> Update {
    let labels = match (&envelope.event, job) {
        (Event::Accounted { key, class, .. }, _) => Labels { key: key.clone(), class: class.clone() },
        (_, Some(job)) => job.spec.labels.clone(),
        (_, None) => Labels::default(),
    };
    Update {
        seq: envelope.seq,
        at: envelope.at,
        charge: envelope.event.charge().map(|charge| (charge.clone(), labels)),
        failed: matches!(envelope.event, Event::AttemptFailed { .. }),
        ended: job
            .filter(|job| job.state.is_terminal() && !matches!(envelope.event, Event::Accounted { .. }))
            .map(|job| Box::new(job.clone())),
    }
}
