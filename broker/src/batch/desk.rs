//! All batches, and what clients may do with one.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use pullyard_schemas::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::check::Bounds;
use super::document::{Batch, Counts, Status, Tokens};
use super::folder::Folder;
use super::ids;
use super::lines::Lines;
use super::live::{Live, Progress, Shared};
use super::runner::{self, Halt};
use super::terms::{Error, MOST_OPEN, New, Numbers, Options};
use crate::engine::Handle;
use crate::files::{Files, Meta, Purpose};

/// All batches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Batches(Arc<Inner>);

/// What runs the lines; there from [`Batches::start`] on.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) engine: Handle,
    pub(super) lines: Arc<dyn Lines>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) folder: Folder,
    pub(super) files: Files,
    pub(super) options: Checked,
    pub(super) clock: fn() -> Timestamp,
    pub(super) places: Semaphore,
    /// Nothing new is begun.
    pub(super) stop: CancellationToken,
    /// Nobody waits for room on the disk any more.
    pub(super) stop_writing: CancellationToken,
    work: OnceLock<Work>,
    runners: TaskTracker,
    all: RwLock<Index>,
    /// Held while one is made, so that a repeat of the same request finds it on disk.
    making: tokio::sync::Mutex<()>,
}

/// The options as the parts take them.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) window: usize,
    pub(super) window_bytes: usize,
    pub(super) bounds: Bounds,
}

#[derive(Debug, Default)]
struct Index {
    /// By id, so by time.
    batches: BTreeMap<Arc<str>, Shared>,
    /// By API key and idempotency key.
    idempotent: HashMap<(Option<Arc<str>>, String), Arc<str>>,
    /// Lines of those that have been forgotten since the start.
    gone: Counts,
}

impl Index {
    fn add(&mut self, batch: Batch) -> Shared {
        if let Some(key) = &batch.idempotency_key {
            self.idempotent.insert((batch.key.clone(), key.clone()), batch.id.clone());
        }
        let (id, live) = (batch.id.clone(), Arc::new(Live::new(batch)));
        self.batches.insert(id, live.clone());
        live
    }

    fn remove(&mut self, id: &str) {
        if let Some(live) = self.batches.remove(id) {
            let batch = live.batch();
            self.gone.completed += batch.counts.completed;
            self.gone.failed += batch.counts.failed;
            if let Some(key) = batch.idempotency_key {
                self.idempotent.remove(&(batch.key, key));
            }
        }
    }
}

impl Inner {
    /// # Errors
    /// Before the start, when nothing can run.
    pub(super) fn work(&self) -> Result<&Work, Halt> {
        self.work.get().ok_or(Halt::Stopped)
    }
}

impl Batches {
    /// Reads what there is in this folder; nothing runs before [`Batches::start`].
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(dir: &Path, files: Files, options: Options, clock: fn() -> Timestamp) -> io::Result<Self> {
        let folder = Folder::open(dir)?;
        let mut index = Index::default();
        for batch in folder.load()? {
            index.add(batch);
        }
        let Options { running, window, window_bytes, lines, bytes, line_bytes } = options;
        let bounds = Bounds { lines, bytes, line: line_bytes, inputs: 50_000 };
        Ok(Self(Arc::new(Inner {
            folder,
            files,
            options: Checked { window: window.max(1), window_bytes: window_bytes.max(1), bounds },
            clock,
            places: Semaphore::new(running.max(1)),
            stop: CancellationToken::new(),
            stop_writing: CancellationToken::new(),
            work: OnceLock::new(),
            runners: TaskTracker::new(),
            all: RwLock::new(index),
            making: tokio::sync::Mutex::new(()),
        })))
    }

    /// Goes on with what is not over: first with what had begun, then with what waits, oldest first.
    pub fn start(&self, engine: Handle, lines: Arc<dyn Lines>) {
        if self.0.work.set(Work { engine, lines }).is_err() {
            return;
        }
        let mut open: Vec<Shared> =
            self.read().batches.values().filter(|live| live.with(|batch| !batch.status.is_over())).cloned().collect();
        open.sort_by_key(|live| live.with(|batch| batch.status == Status::Validating));
        for live in open {
            self.run(live);
        }
    }

    fn run(&self, live: Shared) {
        self.0.runners.spawn(runner::run(self.0.clone(), live));
    }

    /// Makes a batch, or finds the one that this request has made before; answers when it is on disk.
    ///
    /// # Errors
    /// When it cannot be run, or not be kept.
    pub async fn create(&self, new: New) -> Result<Progress, Error> {
        let inner = &self.0;
        let _making = inner.making.lock().await;
        if inner.work.get().is_none() || inner.stop.is_cancelled() {
            return Err(Error::Draining);
        }
        if let Some(key) = &new.idempotency_key
            && let Some(known) = self.made_with(new.key.clone(), key)
        {
            return match known.with(|batch| batch.fingerprint == new.fingerprint) {
                true => Ok(known.progress((inner.clock)())),
                false => Err(Error::KeyReused(known.with(|batch| batch.id.clone()))),
            };
        }
        let now = (inner.clock)();
        let live = {
            let mut all = inner.all.write().unwrap_or_else(PoisonError::into_inner);
            // Under the lock that a file's removal takes.
            let file = inner.files.get(&new.input_file, new.key.as_deref())?;
            if file.purpose != Purpose::Batch {
                return Err(Error::Purpose { id: new.input_file, purpose: file.purpose.as_str() });
            }
            if all.batches.values().filter(|live| live.with(|batch| !batch.status.is_over())).count() >= MOST_OPEN {
                return Err(Error::TooMany);
            }
            all.add(document(new, file.id, now))
        };
        let (folder, shared) = (inner.folder.clone(), live.clone());
        let id = live.with(|batch| batch.id.clone());
        let saved = tokio::task::spawn_blocking(move || shared.save(&folder)).await.unwrap_or_else(|error| Err(error.into()));
        if let Err(error) = saved {
            inner.all.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
            return Err(Error::Io(error));
        }
        self.run(live.clone());
        Ok(live.progress(now))
    }

    fn made_with(&self, key: Option<Arc<str>>, idempotency_key: &str) -> Option<Shared> {
        let all = self.read();
        let id = all.idempotent.get(&(key, idempotency_key.to_owned()))?;
        all.batches.get(id).cloned()
    }

    /// A batch of this key's.
    ///
    /// # Errors
    /// When there is none, or it is another's.
    pub fn get(&self, id: &str, key: Option<&str>) -> Result<Progress, Error> {
        Ok(self.find(id, key)?.progress((self.0.clock)()))
    }

    /// Batches of this key's, newest first, older than `after`; and whether there are more.
    ///
    /// # Errors
    /// When `after` is no batch.
    pub fn list(&self, after: Option<&str>, limit: usize, key: Option<&str>) -> Result<(Vec<Progress>, bool), Error> {
        if let Some(after) = after {
            self.find(after, key)?;
        }
        let (all, now) = (self.read(), (self.0.clock)());
        let older = all
            .batches
            .values()
            .rev()
            .filter(|live| live.with(|batch| batch.is_seen_by(key) && after.is_none_or(|after| *batch.id < *after)));
        let mut found: Vec<Progress> = older.take(limit + 1).map(|live| live.progress(now)).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    /// Ends a batch early: lines that are done stay done. Answers when the wish is on disk. A repeat is no mistake.
    ///
    /// # Errors
    /// When there is none, or it is over or about to be.
    pub async fn cancel(&self, id: &str, key: Option<&str>) -> Result<Progress, Error> {
        let live = self.find(id, key)?;
        let now = (self.0.clock)();
        let wished = live.change(|batch| match batch.status {
            Status::Cancelling | Status::Cancelled => Ok(false),
            Status::Validating | Status::InProgress if batch.ending.is_none() => {
                batch.becomes(Status::Cancelling, now);
                Ok(true)
            }
            status => Err(Error::TooLate(status.as_str())),
        })?;
        if wished {
            // What is told stands, so the runner hears of it also when it cannot be written down.
            live.cancelled.cancel();
            let (folder, shared) = (self.0.folder.clone(), live.clone());
            let saved = tokio::task::spawn_blocking(move || shared.save(&folder)).await;
            saved.unwrap_or_else(|error| Err(error.into())).map_err(Error::Io)?;
        }
        Ok(live.progress(now))
    }

    /// Removes a file of this key's, unless a batch still needs it.
    ///
    /// # Errors
    /// As it says, or when the file cannot be removed.
    pub fn remove_file(&self, id: &str, key: Option<&str>) -> Result<Meta, Error> {
        let all = self.read();
        let meta = self.0.files.get(id, key)?;
        if let Some(user) = all.batches.values().find(|live| live.with(|batch| batch.uses(id))) {
            return Err(Error::InUse(user.with(|batch| batch.id.clone())));
        }
        self.0.files.remove(id, key)?;
        Ok(meta)
    }

    /// Removes files that have expired, and forgets batches that were over before `forget`. Answers how many of each.
    pub fn tidy(&self, forget: Option<Timestamp>) -> (usize, usize) {
        let inner = &self.0;
        let expired = {
            let all = self.read();
            let used = |id: &str| all.batches.values().any(|live| live.with(|batch| batch.uses(id)));
            inner.files.expire((inner.clock)(), &used)
        };
        let Some(before) = forget else { return (expired, 0) };
        let mut all = inner.all.write().unwrap_or_else(PoisonError::into_inner);
        let over = |batch: &Batch| batch.status.is_over() && batch.times.values().all(|at| *at < before);
        let old: Vec<Arc<str>> =
            all.batches.values().filter(|live| live.with(over)).map(|live| live.with(|batch| batch.id.clone())).collect();
        let mut forgotten = 0;
        for id in old {
            match inner.folder.remove(&id) {
                Ok(()) => {
                    all.remove(&id);
                    forgotten += 1;
                }
                Err(error) => tracing::warn!(batch = &*id, %error, "an old batch cannot be removed"),
            }
        }
        (expired, forgotten)
    }

    /// When the oldest batch was made that is not over: what its lines have left in the log is still needed.
    #[must_use]
    pub fn oldest_open(&self) -> Option<Timestamp> {
        self.read().batches.values().find_map(|live| live.with(|batch| (!batch.status.is_over()).then_some(batch.created_at)))
    }

    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let all = self.read();
        let mut by_status: BTreeMap<Status, u64> = Status::ALL.into_iter().map(|status| (status, 0)).collect();
        let mut numbers =
            Numbers { lines_completed: all.gone.completed.into(), lines_failed: all.gone.failed.into(), ..Numbers::default() };
        for live in all.batches.values() {
            live.with(|batch| {
                *by_status.entry(batch.status).or_default() += 1;
                numbers.lines_completed += u64::from(batch.counts.completed);
                numbers.lines_failed += u64::from(batch.counts.failed);
            });
        }
        numbers.by_status = by_status.into_iter().collect();
        numbers
    }

    /// Begins nothing new; what runs may end.
    pub fn drain(&self) {
        self.0.stop.cancel();
    }

    /// Resolves when everything that is known is written, or cannot be. For after the engine's end.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.stop_writing.cancel();
        self.0.runners.close();
        self.0.runners.wait().await;
    }

    fn find(&self, id: &str, key: Option<&str>) -> Result<Shared, Error> {
        let known = self.read().batches.get(id).filter(|live| live.with(|batch| batch.is_seen_by(key))).cloned();
        known.ok_or_else(|| Error::Unknown(id.chars().take(64).collect()))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.0.all.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn document(new: New, input_file: Arc<str>, now: Timestamp) -> Batch {
    let New {
        key, endpoint, completion_window, window, band, metadata, output_expires_after, webhook, idempotency_key, fingerprint, ..
    } = new;
    Batch {
        id: ids::new_batch(),
        key,
        endpoint,
        input_file,
        completion_window,
        created_at: now,
        expires_at: now.after(window),
        band,
        metadata,
        output_expires_after: output_expires_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        webhook,
        idempotency_key,
        fingerprint,
        status: Status::Validating,
        times: BTreeMap::new(),
        model: None,
        errors: Vec::new(),
        last_line: 0,
        counts: Counts::default(),
        tokens: Tokens::default(),
        ending: None,
        output_file: Meta::new_id(),
        error_file: Meta::new_id(),
        has_output: false,
        has_errors: false,
    }
}
