//! What a running batch has written: two files that only grow. A crash costs what was not written yet, which is looked
//! up in the log again, so nothing here waits for the disk before the end.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::document::Tokens;
use super::folder::Folder;
use super::ids::JobIds;
use super::shape;

/// How often what could not be written is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Bytes that are gathered into one write at the most.
const GATHER: usize = 256 << 10;

/// Which of a file's lines are done, by their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct LineSet(Vec<u64>);

impl LineSet {
    pub(super) fn has(&self, line: u32) -> bool {
        self.0.get(line as usize / 64).is_some_and(|word| word & (1 << (line % 64)) != 0)
    }

    /// `false` when it was there.
    pub(super) fn add(&mut self, line: u32) -> bool {
        let at = line as usize / 64;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        let (word, bit) = (&mut self.0[at], 1 << (line % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// What the files of a former life of the broker tell.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) done: LineSet,
    pub(super) completed: u32,
    pub(super) failed: u32,
    pub(super) tokens: Tokens,
}

/// A line for one of the two files.
#[derive(Debug)]
pub(super) enum Entry {
    Output(Vec<u8>),
    Error(Vec<u8>),
}

/// The two files.
#[derive(Debug)]
pub(super) struct Results {
    output: Growing,
    errors: Growing,
}

impl Results {
    /// Opens what there is, and cuts off what was half written.
    pub(super) fn open(folder: &Folder, id: &str, jobs: JobIds) -> io::Result<(Self, Found)> {
        let mut found = Found::default();
        let output = Growing::open(folder.output(id), jobs, &mut found)?;
        found.completed = output.lines;
        let errors = Growing::open(folder.errors(id), jobs, &mut found)?;
        found.failed = errors.lines;
        Ok((Self { output, errors }, found))
    }

    /// Appends what comes until no more does, and hands it all to the disk. What cannot be written waits for room, until
    /// that is no longer waited for.
    pub(super) fn run(mut self, mut entries: mpsc::Receiver<Entry>, stop: &CancellationToken) -> io::Result<Written> {
        let mut next = entries.blocking_recv();
        while let Some(entry) = next.take() {
            let mut gathered = self.add(entry);
            while gathered < GATHER
                && let Ok(entry) = entries.try_recv()
            {
                gathered += self.add(entry);
            }
            self.output.write_out(stop)?;
            self.errors.write_out(stop)?;
            next = entries.blocking_recv();
        }
        self.output.sync(stop)?;
        self.errors.sync(stop)?;
        Ok(Written { output: self.output.bytes, errors: self.errors.bytes })
    }

    fn add(&mut self, entry: Entry) -> usize {
        let (file, line) = match &entry {
            Entry::Output(line) => (&mut self.output, line),
            Entry::Error(line) => (&mut self.errors, line),
        };
        file.waiting.extend_from_slice(line);
        line.len()
    }
}

/// How much there is of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) output: u64,
    pub(super) errors: u64,
}

#[derive(Debug)]
struct Growing {
    path: PathBuf,
    file: File,
    /// Up to here it is whole.
    bytes: u64,
    lines: u32,
    waiting: Vec<u8>,
}

impl Growing {
    fn open(path: PathBuf, jobs: JobIds, found: &mut Found) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let (mut bytes, mut lines) = (0, 0);
        let (mut reader, mut line) = (BufReader::with_capacity(256 << 10, &file), Vec::new());
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            // A power cut may leave anything at the end of what was not flushed.
            let Some((number, tokens)) = line
                .strip_suffix(b"\n")
                .and_then(shape::read)
                .and_then(|(job, tokens)| Some((jobs.line(job)?, tokens)))
                .filter(|(number, _)| found.done.add(*number))
            else {
                if read > 0 {
                    tracing::warn!(path = %path.display(), at = bytes, "a batch's results are cut here; the rest is read from the log");
                }
                break;
            };
            tracing::trace!(number, "a line is done");
            found.tokens.add(tokens);
            bytes += read as u64;
            lines += 1;
        }
        drop(reader);
        file.set_len(bytes)?;
        Ok(Self { path, file, bytes, lines, waiting: Vec::new() })
    }

    fn write_out(&mut self, stop: &CancellationToken) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        // What a failed attempt has left behind the end is written over.
        patiently(&self.path, stop, || self.file.write_all_at(&self.waiting, self.bytes))?;
        self.bytes += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    fn sync(&mut self, stop: &CancellationToken) -> io::Result<()> {
        self.write_out(stop)?;
        let mut fresh = false;
        patiently(&self.path, stop, || {
            // After a failed flush the kernel takes pages for clean that the disk does not have.
            if fresh {
                self.file = copy(&self.path)?;
            }
            fresh = true;
            self.file.set_len(self.bytes)?;
            self.file.sync_all()
        })
    }
}

/// The same bytes in a new file at the same place.
fn copy(path: &Path) -> io::Result<File> {
    let other = path.with_extension("again");
    std::fs::copy(path, &other)?;
    let file = OpenOptions::new().read(true).write(true).open(&other)?;
    file.sync_all()?;
    std::fs::rename(&other, path)?;
    Ok(file)
}

/// Until it succeeds, or nobody waits for it any more.
fn patiently(path: &Path, stop: &CancellationToken, mut work: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let mut told = false;
    while let Err(error) = work() {
        if stop.is_cancelled() {
            return Err(error);
        }
        if !told {
            tracing::error!(path = %path.display(), %error, "a batch's results cannot be written; it waits until they can");
            told = true;
        }
        std::thread::sleep(RETRY);
    }
    if told {
        tracing::info!(path = %path.display(), "a batch's results can be written again");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pullyard_schemas::Timestamp;

    use super::*;
    use crate::batch::shape::Told;

    fn entry(jobs: JobIds, line: u32) -> Entry {
        let mut out = Vec::new();
        let told = Told::Answer { status: 200, body: br#"{"usage":{"prompt_tokens":2}}"#, cost_nanos: 1 };
        shape::write(jobs.job(line), &line.to_string(), &told, &mut out);
        if line.is_multiple_of(3) { Entry::Error(out) } else { Entry::Output(out) }
    }

    fn write(folder: &Folder, jobs: JobIds, lines: std::ops::Range<u32>) -> (Found, Written) {
        let (results, found) = Results::open(folder, "b", jobs).unwrap();
        let (to, entries) = mpsc::channel(100);
        lines.for_each(|line| to.try_send(entry(jobs, line)).unwrap());
        drop(to);
        (found, results.run(entries, &CancellationToken::new()).unwrap())
    }

    #[test]
    fn what_was_written_is_known_again_and_a_torn_end_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let jobs = JobIds::of("b", Timestamp(1_000));
        let (found, written) = write(&folder, jobs, 1..11);
        assert_eq!((found.completed, found.failed), (0, 0));
        assert_eq!(written.output, std::fs::metadata(folder.output("b")).unwrap().len());

        // The last line of one file is torn, the other has something that is no result behind its end.
        let output = OpenOptions::new().write(true).open(folder.output("b")).unwrap();
        output.set_len(written.output - 5).unwrap();
        let errors = OpenOptions::new().append(true).open(folder.errors("b")).unwrap();
        errors.write_all_at(&[0; 100], written.errors).unwrap();

        let (found, again) = write(&folder, jobs, 11..12);
        assert_eq!((found.completed, found.failed), (6, 3));
        assert_eq!(found.tokens, Tokens { input: 18, cost_nanos: 9, ..Tokens::default() });
        let done: Vec<u32> = (0..100).filter(|line| found.done.has(*line)).collect();
        assert_eq!(done, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(again.errors, written.errors);
        let text = std::fs::read_to_string(folder.output("b")).unwrap();
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
        assert_eq!(text.lines().count(), 7);
    }

    #[test]
    fn another_batchs_results_are_not_this_ones() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        write(&folder, JobIds::of("b", Timestamp(1_000)), 1..5);
        let (found, _) = write(&folder, JobIds::of("c", Timestamp(1_000)), 1..1);
        assert_eq!((found.completed, found.failed), (0, 0));
    }

    #[test]
    fn who_stops_does_not_wait_for_room() {
        let stop = CancellationToken::new();
        stop.cancel();
        let full = || Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(patiently(Path::new("x"), &stop, full).is_err());
        let mut tries = 0;
        let then = || {
            tries += 1;
            if tries < 3 { full() } else { Ok(()) }
        };
        patiently(Path::new("x"), &CancellationToken::new(), then).unwrap();
        assert_eq!(tries, 3);
    }
}
