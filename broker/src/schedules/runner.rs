//! Fires what is due.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pullyard_schemas::Timestamp;
use tokio::sync::mpsc;

use super::state::{File, Last, Shown};
use super::{Missed, Overlap, Recurring, Submit, Unfired};

/// How long a clock that was set may go unnoticed.
const LOOK: Duration = Duration::from_secs(30);
/// What is later than this was missed: the broker was not there, or its machine slept.
const LATE: Duration = Duration::from_secs(60);

/// Sums since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub fired: u64,
    pub skipped: u64,
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Shared {
    shown: Mutex<Vec<Shown>>,
    fired: AtomicU64,
    skipped: AtomicU64,
    failed: AtomicU64,
}

/// The runner as everyone else sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schedules {
    lists: mpsc::UnboundedSender<Vec<Recurring>>,
    shared: Arc<Shared>,
}

/// What is to be run.
#[derive(Debug)]
pub struct Unstarted(Runner);

#[derive(Debug)]
struct Runner {
    lists: mpsc::UnboundedReceiver<Vec<Recurring>>,
    shared: Arc<Shared>,
    file: File,
    clock: fn() -> Timestamp,
    list: Vec<Arc<Recurring>>,
    last: BTreeMap<Arc<str>, Last>,
    next: BTreeMap<Arc<str>, Option<Timestamp>>,
}

impl Unstarted {
    /// Runs until the last handle is dropped.
    pub fn start(self, submit: Arc<dyn Submit>) {
        tokio::spawn(self.0.run(submit));
    }
}

impl Schedules {
    #[must_use]
    pub fn new(file: PathBuf, list: Vec<Recurring>, clock: fn() -> Timestamp) -> (Self, Unstarted) {
        let (lists, changes) = mpsc::unbounded_channel();
        let schedules = Self { lists, shared: Arc::default() };
        schedules.configure(list);
        let (shared, file) = (schedules.shared.clone(), File(file));
        let runner = Runner { lists: changes, shared, file, clock, list: Vec::new(), last: BTreeMap::new(), next: BTreeMap::new() };
        (schedules, Unstarted(runner))
    }

    /// What is still there keeps what it knows, by its name.
    pub fn configure(&self, list: Vec<Recurring>) {
        // A closed channel means that the broker stops.
        let _ = self.lists.send(list);
    }

    /// Resolves when nothing runs any more.
    #[cfg(test)]
    pub(super) async fn lists_closed(&self) {
        self.lists.closed().await;
    }

    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        self.shared.shown().clone()
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let Shared { fired, skipped, failed, .. } = &*self.shared;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { fired: of(fired), skipped: of(skipped), failed: of(failed) }
    }
}

impl Shared {
    fn shown(&self) -> MutexGuard<'_, Vec<Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner {
    async fn run(mut self, submit: Arc<dyn Submit>) {
        self.last = self.file.read();
        loop {
            let wait = self.wait();
            tokio::select! {
                list = self.lists.recv() => match list {
                    Some(list) => self.configure(list).await,
                    None => return,
                },
                () = tokio::time::sleep(wait) => {}
            }
            if !self.fire_due(&*submit).await {
                return;
            }
        }
    }

    async fn configure(&mut self, list: Vec<Recurring>) {
        let now = (self.clock)();
        for recurring in &list {
            self.last.entry(recurring.name.clone()).or_insert_with(|| Last { at: now, ..Last::default() });
        }
        // One that is gone and comes back begins anew.
        self.last.retain(|name, _| list.iter().any(|recurring| recurring.name == *name));
        let before = std::mem::replace(&mut self.list, list.into_iter().map(Arc::new).collect());
        for recurring in &self.list {
            let is_known = before.iter().any(|b| b.name == recurring.name);
            let changed = before.iter().any(|b| b.name == recurring.name && (&b.cron, &b.zone) != (&recurring.cron, &recurring.zone));
            // New times count from now on: what they would have been before was not missed.
            let from = if changed { now } else { self.last.get(&recurring.name).map_or(now, |last| last.at) };
            if changed || !is_known {
                self.next.insert(recurring.name.clone(), next(recurring, from));
            }
        }
        let Self { next, list, .. } = self;
        next.retain(|name, _| list.iter().any(|recurring| recurring.name == *name));
        self.keep().await;
    }

    fn wait(&self) -> Duration {
        let now = (self.clock)();
        self.next.values().flatten().map(|at| at.since(now)).min().unwrap_or(LOOK).min(LOOK)
    }

    /// `false` when the broker stops.
    async fn fire_due(&mut self, submit: &dyn Submit) -> bool {
        for recurring in self.list.clone() {
            let now = (self.clock)();
            let Some(due) = self.next.get(&recurring.name).copied().flatten().filter(|due| *due <= now) else { continue };
            // Of several times that have passed the last one stands for all.
            let (mut due, mut following) = (due, next(&recurring, due));
            while let Some(later) = following.filter(|at| *at <= now) {
                (due, following) = (later, next(&recurring, later));
            }
            let before = self.last.get(&recurring.name).cloned().unwrap_or_default();
            let fired = if now.since(due) > LATE && recurring.missed == Missed::Skip {
                self.shared.skipped.fetch_add(1, Ordering::Relaxed);
                Last { at: due, job: before.job, error: Some("the broker was not there at that time".to_owned()), due: true }
            } else {
                match self.fire(&recurring, &before, due, submit).await {
                    Some(fired) => fired,
                    None => return false,
                }
            };
            self.last.insert(recurring.name.clone(), fired);
            self.next.insert(recurring.name.clone(), following);
            self.keep().await;
        }
        true
    }

    /// Nothing when the broker stops.
    async fn fire(&self, recurring: &Arc<Recurring>, before: &Last, due: Timestamp, submit: &dyn Submit) -> Option<Last> {
        if recurring.overlap == Overlap::Skip
            && let Some(job) = before.job
            && submit.is_live(job).await
        {
            self.shared.skipped.fetch_add(1, Ordering::Relaxed);
            let error = Some("the job before it has not ended".to_owned());
            return Some(Last { at: due, job: Some(job), error, due: true });
        }
        match submit.submit(recurring.clone(), due).await {
            Ok(job) => {
                self.shared.fired.fetch_add(1, Ordering::Relaxed);
                tracing::info!(schedule = %recurring.name, %job, "a recurring job is submitted");
                Some(Last { at: due, job: Some(job), error: None, due: true })
            }
            Err(Unfired::Refused(why)) => {
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
                // The same again every minute tells nothing more.
                if before.error.as_deref() != Some(&why) {
                    tracing::warn!(schedule = %recurring.name, why, "a recurring job is not submitted");
                }
                Some(Last { at: due, job: before.job, error: Some(why), due: true })
            }
            Err(Unfired::Stopping) => None,
        }
    }

    /// Shows what is known, and writes it down.
    async fn keep(&self) {
        let shown = self.list.iter().map(|recurring| Shown {
            name: recurring.name.clone(),
            cron: recurring.cron.to_string(),
            zone: recurring.zone.iana_name().unwrap_or("UTC").to_owned(),
            next: self.next.get(&recurring.name).copied().flatten(),
            last: self.last.get(&recurring.name).filter(|last| last.due).cloned(),
        });
        *self.shared.shown() = shown.collect();
        let (path, known) = (self.file.0.clone(), self.last.clone());
        if known.is_empty() && !path.exists() {
            return;
        }
        let written = tokio::task::spawn_blocking(move || File::write(&path, &known)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "it cannot be written when schedules were last due");
        }
    }
}

fn next(recurring: &Recurring, after: Timestamp) -> Option<Timestamp> {
    recurring.cron.next(after.0, &recurring.zone).map(Timestamp)
}
