//! Live jobs from the log, when the broker starts.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use pullyard_schemas::job::{Envelope, Event, IllegalEvent, Job, Labels, apply};
use pullyard_schemas::{JobId, Seq};

use crate::log::{self, LogReader};
use crate::readmodel::{ProjectorHandle, ReadModel, Update};

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

/// Folds the log from the read model's floor on, and sends the read model what it lacks. Jobs submitted before the floor
/// rest: they have ended, or wait for a person. Returns when the read model has everything, so that a repeat of an old
/// request finds it.
pub(super) fn live_jobs(reader: &dyn LogReader, read_model: &ReadModel, projector: &ProjectorHandle) -> Result<HashMap<JobId, Job>, Error> {
    let (floor, cursor) = (read_model.floor(), read_model.cursor());
    let mut jobs: HashMap<JobId, Job> = HashMap::new();
    let mut updates = Vec::new();
    let mut illegal = None;
    reader.replay(floor.min(cursor.next()), &mut |record| {
        let envelope = &record.envelope;
        let known = jobs.remove(&envelope.job).or_else(|| {
            // A parked job from before the floor that a person has revived or cancelled. What the read model knows of
            // already is no news: its row is as of the cursor.
            let by_person = matches!(envelope.event, Event::Requeued { .. } | Event::Cancelled { .. }) && envelope.seq > cursor;
            by_person.then(|| read_model.job(envelope.job).ok().flatten()).flatten()
        });
        if known.is_none() && !matches!(envelope.event, Event::Submitted { .. }) {
            // Its submission lies before the floor, so it rests; only its late bills are news.
            if envelope.seq > cursor {
                updates.extend(update_of(envelope, &Labels::default(), None));
            }
            return ControlFlow::Continue(());
        }
        match apply(known, envelope) {
            Ok(job) => {
                if envelope.seq > cursor {
                    let rests = job.state.is_at_rest().then(|| Arc::new(job.clone()));
                    updates.extend(update_of(envelope, &job.spec.labels, rests.as_ref()));
                }
                // A parked one may yet be revived.
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
    projector.catch_up();
    jobs.retain(|_, job| !job.state.is_at_rest());
    Ok(jobs)
}

fn floor_of(jobs: &HashMap<JobId, Job>, last: Seq) -> Seq {
    let live = jobs.values().filter(|job| !job.state.is_at_rest());
    live.map(Job::submitted_seq).min().unwrap_or_else(|| last.next())
}

/// What the read model learns from an event, if anything; the same live and on replay. `rests` is the job when the event
/// laid it to rest.
pub(super) fn update_of(envelope: &Envelope, labels: &Labels, rests: Option<&Arc<Job>>) -> Option<Update> {
    let labels = match &envelope.event {
        Event::Accounted { key, class, .. } => &Labels { key: key.clone(), class: class.clone() },
        _ => labels,
    };
    let update = Update {
        seq: envelope.seq,
        at: envelope.at,
        charge: envelope.event.charge().map(|charge| (charge.clone(), labels.clone())),
        failed: matches!(envelope.event, Event::AttemptFailed { .. }),
        rests: rests.filter(|_| !matches!(envelope.event, Event::Accounted { .. })).cloned(),
        revived: matches!(envelope.event, Event::Requeued { .. }).then_some(envelope.job),
    };
    (update.charge.is_some() || update.rests.is_some() || update.revived.is_some()).then_some(update)
}
