//! What goes away by itself: jobs that are older than `log.retain`, and files that no job names.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use pullyard_schemas::{JobId, Seq, Timestamp};

use super::wall_clock;
use crate::http::App;
use crate::log::{self, LogReader};

/// How soon after the start it is looked for the first time, and how often then.
const FIRST: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(600);
/// A file without a job may belong to one that is just being submitted.
const YOUNG: Duration = Duration::from_secs(600);
/// How long it is kept at the least how a webhook was delivered.
const TOLD: Duration = Duration::from_secs(7 * 86_400);

/// Runs until the broker closes.
pub(super) fn spawn(app: &Arc<App>, retain: Option<Duration>) {
    let app = Arc::downgrade(app);
    tokio::spawn(async move {
        let mut wait = FIRST;
        loop {
            tokio::time::sleep(wait).await;
            wait = EVERY;
            if !round(&app, retain).await {
                return;
            }
        }
    });
}

/// `false` when the broker has closed.
async fn round(app: &Weak<App>, retain: Option<Duration>) -> bool {
    let Some(app) = app.upgrade() else { return false };
    let live = app.engine.clone();
    let (model, reader, blobs) = (app.readmodel.clone(), app.reader.clone(), app.blobs.clone());
    let (batches, hooks) = (app.batches.clone(), app.hooks.clone());
    drop(app);
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let now = wall_clock();
        let before = retain.map(|retain| Timestamp(now.0.saturating_sub(u64::try_from(retain.as_millis()).unwrap_or(u64::MAX))));
        let (expired, forgotten) = batches.tidy(before);
        if expired + forgotten > 0 {
            tracing::info!(files = expired, batches = forgotten, "files that have expired and old batches are gone");
        }
        if let Some(before) = before {
            // A batch that is not over looks up its lines there after a restart.
            let before = batches.oldest_open().map_or(before, |oldest| oldest.min(before));
            // Rows first: their events say which idempotency keys go with them.
            let forgotten = model.forget(before)?;
            if forgotten > 0 {
                tracing::info!(jobs = forgotten, "old jobs are forgotten, as `log.retain` says");
            }
            live.retain(first_since(&*reader, before, model.cursor())?);
        }
        let known = |job: JobId| runtime.block_on(live.get(job)).is_some() || !matches!(model.job(job), Ok(None));
        blobs.sweep(SystemTime::now() - YOUNG, &known)?;
        hooks.sweep(SystemTime::now() - TOLD, &known)?;
        Ok(())
    });
    match done.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "old jobs could not be cleared away"),
        Err(error) => tracing::warn!(%error, "old jobs could not be cleared away"),
    }
    true
}

/// The first event from this time on, found by halving. Clocks jump, so it is near enough and not exact.
fn first_since(reader: &dyn LogReader, at: Timestamp, last: Seq) -> Result<Seq, log::Error> {
    let (mut low, mut high) = (reader.first().0, last.0 + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match reader.read(Seq(middle))? {
            Some(record) if record.envelope.at >= at => high = middle,
            Some(_) | None => low = middle + 1,
        }
    }
    Ok(Seq(low))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pullyard_schemas::job::{Envelope, Event, SCHEMA_VERSION};

    use super::*;
    use crate::log::{Durability, EventLog, MemoryLog, Record};

    #[test]
    fn the_first_event_since_is_found() {
        let mut log = MemoryLog::new();
        let event =
            |seq: u64| Envelope { seq: Seq(seq), at: Timestamp(seq * 10), v: SCHEMA_VERSION, job: JobId::new(), event: Event::Expired };
        let records: Vec<_> = (1..=100).map(|seq| Record { envelope: event(seq), body: Bytes::new() }).collect();
        log.append(&records, Durability::Written).unwrap();
        let reader = log.reader();
        for (at, found) in [(0, 1), (10, 1), (11, 2), (995, 100), (5_000, 101)] {
            assert_eq!(first_since(&*reader, Timestamp(at), Seq(100)).unwrap(), Seq(found), "at {at}");
        }
    }
}
