//! `pullyard log`: the event log's files, without a broker.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use pullyard_schemas::{JobId, Seq};
use serde_json::json;

use super::client::Error;
use super::logread::{Check, Line, summary};
use super::out::{Out, can_update, note, update};
use crate::config::Config;
use crate::log::{self, EventLog, FileLog, Options};

const EXAMPLES: &str = "\
Examples:
  pullyard log show --last 50
  pullyard log verify --data /var/lib/pullyard
  pullyard log export -o events.jsonl";

/// Which files, and what to do with them.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct LogArgs {
    /// The broker's data folder [default: pullyard where the user's data belongs]
    #[arg(long, global = true, value_name = "DIR", env = "PULLYARD_DATA")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Write every event as a line of JSON, with the request or the output that belongs to it
    Export {
        /// The first event
        #[arg(long, value_name = "SEQ", default_value_t = 1)]
        from: u64,
        /// Where to write, instead of standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show the latest events
    Show {
        /// Only events of this job
        #[arg(long, value_name = "ID")]
        job: Option<JobId>,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
    },
    /// Read every event and check that it can follow the ones before it
    Verify,
    /// Set the read model aside, so that the broker makes it anew from the log when it starts
    Rebuild,
}

pub(super) async fn run(out: &Out, args: LogArgs) -> Result<(), Error> {
    let out = out.clone();
    let data = args.data.unwrap_or_else(|| Config::default().data_dir(&super::env));
    let work = move || match args.what {
        What::Export { from, output } => export(&out, &open(&data)?, Seq(from), output.as_deref()),
        What::Show { job, last } => show(&out, &open(&data)?, job, last),
        What::Verify => verify(&out, &open(&data)?),
        What::Rebuild => rebuild(&out, &open(&data)?, &data),
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Failed(e.to_string()))?
}

/// Opens the log; nobody else can while it is open. A folder that is not there is a mistake, not a new log.
fn open(data: &Path) -> Result<FileLog, Error> {
    let dir = data.join("log");
    if !dir.is_dir() {
        return Err(Error::Failed(format!("there is no log in {}; name the broker's data folder with --data", data.display())));
    }
    match FileLog::open(dir, Options::default()) {
        Ok((log, opened)) => {
            if opened.torn_bytes > 0 {
                note(&format!("{} bytes of a half-written group were cut from the log's end, as a start would do", opened.torn_bytes));
            }
            Ok(log)
        }
        Err(log::Error::Locked { .. }) => Err(Error::Failed(format!(
            "a broker is running on {}; stop it first, because only one program can open its log",
            data.display()
        ))),
        Err(error) => Err(damaged(error)),
    }
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::Failed(error.to_string())
}

/// Goes through the log, with a line on a person's terminal when that takes long.
fn each(log: &FileLog, from: Seq, progress: bool, mut work: impl FnMut(log::Record) -> Result<(), Error>) -> Result<(), Error> {
    let (last, mut shown, mut showed) = (log.last(), Instant::now(), false);
    let mut failed = None;
    let replayed = log.reader().replay(from, &mut |record| {
        if progress && can_update() && shown.elapsed() > Duration::from_millis(500) {
            update(&format!("event {} of {last}", record.envelope.seq));
            (shown, showed) = (Instant::now(), true);
        }
        match work(record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if showed {
        update("");
    }
    replayed.map_err(damaged)?;
    failed.map_or(Ok(()), Err)
}

fn unwritable(file: &Path) -> impl Fn(io::Error) -> Error {
    let name = file.display().to_string();
    move |e| Error::Failed(format!("{name} cannot be written: {e}"))
}

fn export(out: &Out, log: &FileLog, from: Seq, output: Option<&Path>) -> Result<(), Error> {
    let Some(file) = output else {
        // The lines are long, so a buffer of whole lines is enough.
        let mut lines = Vec::new();
        each(log, from, !out.terminal, |record| {
            Line::new(&record)?.write(&mut lines)?;
            if lines.len() >= 64 * 1024 { out.raw(&std::mem::take(&mut lines)) } else { Ok(()) }
        })?;
        return out.raw(&lines);
    };
    let failed = unwritable(file);
    let mut to = BufWriter::new(File::create(file).map_err(&failed)?);
    let (mut line, mut count) = (Vec::new(), 0u64);
    each(log, from, true, |record| {
        line.clear();
        Line::new(&record)?.write(&mut line)?;
        count += 1;
        to.write_all(&line).map_err(&failed)
    })?;
    to.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all()).map_err(&failed)?;
    note(&format!("{count} events are in {}", file.display()));
    Ok(())
}

fn show(out: &Out, log: &FileLog, job: Option<JobId>, last: usize) -> Result<(), Error> {
    let from = match job {
        // A job's events may lie anywhere.
        Some(_) => Seq(1),
        None => Seq(log.last().next().0.saturating_sub(last as u64).max(1)),
    };
    let mut lines = std::collections::VecDeque::new();
    each(log, from, true, |record| {
        if job.is_none_or(|job| job == record.envelope.job) {
            lines.push_back(if out.json { Line::new(&record)?.text()? } else { summary(&record) });
            if lines.len() > last {
                lines.pop_front();
            }
        }
        Ok(())
    })?;
    if let (Some(job), true) = (job, lines.is_empty()) {
        return Err(Error::Failed(format!("the log has no event of job {job}")));
    }
    lines.iter().try_for_each(|line| out.line(line))
}

fn verify(out: &Out, log: &FileLog) -> Result<(), Error> {
    let first = log.reader().first();
    let mut check = Check::new(first);
    each(log, first, true, |record| check.take(&record))?;
    let counts = check.counts();
    if check.events != log.last().next().0.saturating_sub(first.0) {
        return Err(Error::Failed(format!("the log should have events {first} to {}, and {} were found", log.last(), check.events)));
    }
    if out.json {
        let counts: serde_json::Map<_, _> = counts.iter().map(|(name, n)| (name.replace(' ', "_"), json!(n))).collect();
        return out.answer(json!(counts).to_string().as_bytes());
    }
    let rows: Vec<_> = counts.iter().map(|(name, n)| (*name, n.to_string())).collect();
    out.text(&super::table::pairs(&rows))?;
    out.line("every event is whole and can follow the ones before it")
}

/// Only moves: what lies before the log's first event is nowhere else.
fn rebuild(out: &Out, log: &FileLog, data: &Path) -> Result<(), Error> {
    let read = data.join("read");
    if !read.exists() {
        return out.line("there is no read model; the broker makes one from the log when it starts");
    }
    let free = (1..).map(|n| data.join(format!("read.old-{n}"))).find(|path| !path.exists());
    let aside = free.ok_or_else(|| Error::Failed("there is no free name beside the read model".to_owned()))?;
    fs::rename(&read, &aside).map_err(|e| Error::Failed(format!("{} cannot be moved: {e}", read.display())))?;
    let first = log.reader().first();
    if first > Seq(1) {
        note(&format!("the log begins with event {first}: jobs and usage from before it are only in what was set aside"));
    }
    out.line(&format!("the read model is in {} now; the broker makes a new one from the log when it starts", aside.display()))
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
