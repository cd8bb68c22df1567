//! One batch, from its file to its results.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::job::BatchLine;
use tokio::sync::mpsc;

use super::check::{Findings, check};
use super::crossing::{Crossing, Early, Raw};
use super::desk::Inner;
use super::document::{LineError, Status};
use super::flight::Ground;
use super::ids::JobIds;
use super::input::{Read, Reader, parse};
use super::lines::Endpoint;
use super::live::Shared;
use super::results::{LineSet, Results, Written};
use crate::files::{Meta, Purpose};

/// How often it is looked whether the time is over.
const TICK: Duration = Duration::from_millis(500);
/// How often a document that cannot be written is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// What a line is told while no model server has answered yet, and how soon the file is looked at again then.
const NO_MODELS: &str = "no_models_yet";
const MODELS: Duration = Duration::from_secs(5);

/// The broker stops, or something fails that only a new start can mend; the batch goes on then.
#[derive(Debug, thiserror::Error)]
pub(super) enum Halt {
    #[error("the broker stops")]
    Stopped,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a thread failed: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Takes the batch as far as it goes.
pub(super) async fn run(desk: Arc<Inner>, live: Shared) {
    let id = live.with(|batch| batch.id.clone());
    match (Runner { desk, live }).run().await {
        Ok(()) | Err(Halt::Stopped) => {}
        Err(error) => tracing::error!(batch = &*id, %error, "a batch stands still until the next start"),
    }
}

struct Runner {
    desk: Arc<Inner>,
    live: Shared,
}

impl Runner {
    async fn run(self) -> Result<(), Halt> {
        // What is to end soon waits for nobody.
        let _place = tokio::select! {
            place = self.desk.places.acquire() => place.ok(),
            () = self.live.cancelled.cancelled() => None,
            () = self.expires() => None,
            () = self.desk.stop.cancelled() => return Err(Halt::Stopped),
        };
        let mut fresh = false;
        loop {
            let (status, ending) = self.live.with(|batch| (batch.status, batch.ending));
            if status.is_over() {
                return Ok(());
            }
            if let Some(to) = ending {
                self.hand_over(to).await?;
            } else if self.live.with(|batch| batch.times.contains_key(&Status::InProgress)) {
                self.work(fresh).await?;
            } else if self.live.cancelled.is_cancelled() {
                self.becomes(Status::Cancelled).await?;
            } else if (self.desk.clock)() >= self.live.with(|batch| batch.expires_at) {
                self.becomes(Status::Expired).await?;
            } else {
                self.validate().await?;
                fresh = true;
            }
        }
    }

    async fn expires(&self) {
        let at = self.live.with(|batch| batch.expires_at);
        // The clock may be set meanwhile.
        while (self.desk.clock)() < at {
            tokio::time::sleep(TICK).await;
        }
    }

    /// Reads the file once through.
    async fn validate(&self) -> Result<(), Halt> {
        let lines = self.desk.work()?.lines.clone();
        tokio::select! {
            () = lines.ready() => {}
            () = self.desk.stop.cancelled() => return Err(Halt::Stopped),
        }
        let (file, endpoint) = self.live.with(|batch| (batch.input_file.clone(), batch.endpoint));
        let (desk, live) = (self.desk.clone(), self.live.clone());
        let found = tokio::task::spawn_blocking(move || -> io::Result<Option<Findings>> {
            let file = match desk.files.open_file(&file) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(gone())),
                Err(error) => return Err(error),
            };
            let bytes = file.metadata()?.len();
            let stopped = || live.cancelled.is_cancelled() || desk.stop.is_cancelled();
            check(BufReader::with_capacity(256 << 10, file), bytes, &desk.options.bounds, endpoint, &*lines, &stopped)
        });
        let Some(Findings { lines, last, model, faults }) = found.await?? else {
            return if self.desk.stop.is_cancelled() { Err(Halt::Stopped) } else { Ok(()) };
        };
        if self.live.cancelled.is_cancelled() {
            return Ok(());
        }
        if faults.iter().any(|fault| fault.code == NO_MODELS) {
            // After a start the model servers may be slower to come back than the broker.
            tokio::select! {
                () = tokio::time::sleep(MODELS) => {}
                () = self.live.cancelled.cancelled() => {}
                () = self.desk.stop.cancelled() => return Err(Halt::Stopped),
            }
            return Ok(());
        }
        let fails = !faults.is_empty();
        self.live.change(|batch| {
            batch.counts.total = if fails { 0 } else { lines };
            batch.last_line = last;
            batch.errors = faults;
            batch.model = model;
        });
        self.becomes(if fails { Status::Failed } else { Status::InProgress }).await
    }

    /// Runs what is not done yet. `fresh`: none of it can have been submitted before.
    async fn work(&self, fresh: bool) -> Result<(), Halt> {
        let batch = self.live.batch();
        let jobs = JobIds::of(&batch.id, batch.created_at);
        let (folder, id) = (self.desk.folder.clone(), batch.id.clone());
        let (results, found) = tokio::task::spawn_blocking(move || Results::open(&folder, &id, jobs)).await??;
        self.live.begins(found.completed, found.failed, found.tokens);
        let known = if fresh { Some(LineSet::default()) } else { self.known(jobs, batch.id.clone()).await? };

        let (feed, raw) = mpsc::channel(64);
        let (desk, done) = (self.desk.clone(), found.done);
        let (file, endpoint) = (batch.input_file.clone(), batch.endpoint);
        let reader = tokio::task::spawn_blocking(move || read(&desk, &file, endpoint, &done, &feed));
        let (to, entries) = mpsc::channel(256);
        let stop = self.desk.stop_writing.clone();
        let writer = tokio::task::spawn_blocking(move || results.run(entries, &stop));
        let crossing = Crossing {
            desk: &self.desk,
            live: &self.live,
            ground: Arc::new(Ground {
                engine: self.desk.work()?.engine.clone(),
                lines: self.desk.work()?.lines.clone(),
                over: self.desk.stop.child_token(),
                stop: self.desk.stop.clone(),
                missing: Mutex::default(),
            }),
            of: BatchLine { id: batch.id.clone(), line: 0 },
            endpoint: batch.endpoint,
            key: batch.key.clone(),
            band: batch.band,
            jobs,
            known,
            to,
            early: None,
            inside: BTreeMap::new(),
            bytes: 0,
        };
        // Both are waited for whatever becomes of the lines: what is known is written.
        let crossed = crossing.run(raw).await;
        let (read, written) = (reader.await?, writer.await?);
        let early = crossed?;
        let Written { output, errors } = written?;
        // It was there and good before; a person has been at it.
        let unread = read.err().map(|error| LineError {
            code: "input_file_unreadable".to_owned(),
            message: format!("the input file cannot be read any more: {error}"),
            param: Some("input_file_id".to_owned()),
            line: None,
        });
        let to = self.live.change(|batch| {
            let to = match early {
                _ if unread.is_some() => Status::Failed,
                // A client that was told so at the last moment can rely on it.
                None if batch.status == Status::Cancelling => Status::Cancelled,
                None => Status::Completed,
                Some(Early::Cancelled) => Status::Cancelled,
                Some(Early::Expired) => Status::Expired,
            };
            batch.errors.extend(unread);
            batch.ending = Some(to);
            batch.has_output = output > 0;
            batch.has_errors = errors > 0;
            to
        });
        if to == Status::Completed { self.becomes(Status::Finalizing).await } else { self.save().await }
    }

    /// Lines whose job a former life of the broker has submitted; nothing where any may be one of them.
    async fn known(&self, jobs: JobIds, id: Arc<str>) -> Result<Option<LineSet>, Halt> {
        let lines = self.desk.work()?.lines.clone();
        let mut known = LineSet::default();
        let last = jobs.job(self.live.with(|batch| batch.last_line));
        let found = match lines.known(jobs.job(0), last, id).await {
            Ok(found) => found,
            Err(why) => {
                tracing::warn!(why, "it is not known which lines of a batch are done; each is looked up");
                return Ok(None);
            }
        };
        for line in found.into_iter().filter_map(|job| jobs.line(job)) {
            known.add(line);
        }
        Ok(Some(known))
    }

    /// Puts the results among the files, and ends the batch.
    async fn hand_over(&self, to: Status) -> Result<(), Halt> {
        let batch = self.live.batch();
        let now = (self.desk.clock)();
        let expires_at = batch.output_expires_after.map(|ms| now.after(Duration::from_millis(ms)));
        let both = [
            (batch.has_output, self.desk.folder.output(&batch.id), batch.output_file.clone(), "output"),
            (batch.has_errors, self.desk.folder.errors(&batch.id), batch.error_file.clone(), "errors"),
        ];
        for (there, path, id, name) in both {
            let (files, key, batch) = (self.desk.files.clone(), batch.key.clone(), batch.id.clone());
            let adopt = move || -> io::Result<()> {
                let bytes = match std::fs::metadata(&path) {
                    Ok(meta) => meta.len(),
                    // A former life has brought it there.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                    Err(error) => return Err(error),
                };
                if there {
                    let filename = format!("{batch}_{name}.jsonl").into();
                    let meta = Meta {
                        id: id.clone(),
                        bytes,
                        created_at: now,
                        filename,
                        purpose: Purpose::BatchOutput,
                        expires_at,
                        key: key.clone(),
                    };
                    files.adopt(&path, meta).map_err(|error| io::Error::other(error.to_string()))?;
                }
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            };
            self.patiently(adopt).await?;
        }
        self.becomes(to).await
    }

    async fn becomes(&self, status: Status) -> Result<(), Halt> {
        let now = (self.desk.clock)();
        self.live.change(|batch| {
            // It was cancelled while its file was read.
            if batch.status == Status::Cancelling && status == Status::InProgress {
                batch.times.insert(status, now);
            } else {
                batch.becomes(status, now);
            }
        });
        let (id, counts) = self.live.with(|batch| (batch.id.clone(), batch.counts));
        tracing::info!(batch = &*id, status = status.as_str(), total = counts.total, failed = counts.failed, "a batch goes on");
        if status.is_over() {
            self.tell().await?;
        }
        self.save().await
    }

    /// Before the end is kept: a broker that is killed in between comes to the same end once more, and tells it.
    async fn tell(&self) -> Result<(), Halt> {
        let lines = self.desk.work()?.lines.clone();
        let mut told = false;
        while let Err(why) = lines.over(self.live.progress((self.desk.clock)())).await {
            if !std::mem::replace(&mut told, true) {
                tracing::error!(why, "a batch's webhook cannot be kept; it waits until it can");
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = self.desk.stop.cancelled() => return Err(Halt::Stopped),
            }
        }
        Ok(())
    }

    /// Hands the document to the disk, when there is room.
    async fn save(&self) -> Result<(), Halt> {
        let (folder, live) = (self.desk.folder.clone(), self.live.clone());
        self.patiently(move || live.save(&folder)).await
    }

    async fn patiently(&self, work: impl Fn() -> io::Result<()> + Clone + Send + 'static) -> Result<(), Halt> {
        let mut told = false;
        loop {
            match tokio::task::spawn_blocking(work.clone()).await? {
                Ok(()) => return Ok(()),
                Err(error) if !told => {
                    tracing::error!(%error, "a batch cannot be written; it waits until it can");
                    told = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = self.desk.stop.cancelled() => return Err(Halt::Stopped),
            }
        }
    }
}

fn gone() -> Findings {
    let message = "the input file is not there any more".to_owned();
    let fault = LineError { code: "file_not_found".to_owned(), message, param: Some("input_file_id".to_owned()), line: None };
    Findings { faults: vec![fault], ..Findings::default() }
}

/// Reads the lines that are not done, as fast as they are taken.
fn read(desk: &Inner, file: &str, endpoint: Endpoint, done: &LineSet, feed: &mpsc::Sender<Raw>) -> io::Result<()> {
    let file: File = desk.files.open_file(file)?;
    let mut reader = Reader::new(BufReader::with_capacity(256 << 10, file), desk.options.bounds.line);
    while let Some(read) = reader.next()? {
        let changed = || io::Error::other("the input file has changed since it was checked");
        let Read::Line(number, line) = read else { return Err(changed()) };
        if done.has(number) {
            continue;
        }
        let request = parse(line, endpoint.path()).map_err(|_| changed())?;
        let body = Bytes::copy_from_slice(request.body.get().as_bytes());
        if feed.blocking_send(Raw { number, custom_id: (&*request.custom_id).into(), body }).is_err() {
            break;
        }
    }
    Ok(())
}
