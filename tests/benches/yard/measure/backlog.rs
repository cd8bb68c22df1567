//! A million jobs that wait on a lane, beside a broker with a thousand: memory, how fast more are taken in, how soon a free slot
//! has its next job, and a start with all of them in the log.
//!
//! The backend has one slot and holds each request until it is released. When it answers one, it takes the time until the next
//! arrives: that is a pull, with all that the broker does in between.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::load::{Load, Until, chat};
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{Sample, count, median, megabytes, micros, time};
use crate::wire::post;

const FEW: u64 = 1_000;
const RSS_BAR: u64 = 700_000_000;
/// The most that a rate may fall, or a wait grow.
const SAME: f64 = 0.25;
/// How long jobs may take to be taken in, at some eight thousand a second.
const PATIENCE: Duration = Duration::from_secs(120);
const READY_BAR: Duration = Duration::from_secs(4);

/// A broker with jobs that wait.
struct Yard {
    broker: Broker,
    mock: Mock,
    setup: Setup,
    // Last, so that the processes are gone before their folder is.
    folder: TempDir,
}

impl Yard {
    fn with(jobs: u64) -> anyhow::Result<Self> {
        let (folder, mock) = (folder()?, Mock::start(Behaviour { held: true, ..Behaviour::default() })?);
        let setup = Setup { backend: mock.addr(), slots: 1, durability: Durability::Flush };
        let yard = Self { broker: Broker::start(folder.path(), setup)?, mock, setup, folder };
        let begun = Instant::now();
        for submitted in (0..jobs).step_by(20_000) {
            let rate = yard.submit(20_000.min(jobs - submitted))?;
            anyhow::ensure!(begun.elapsed() < PATIENCE, "{submitted} of {jobs} jobs were taken in {PATIENCE:?}, at last {rate:.0} jobs/s");
        }
        yard.broker.settle()?;
        Ok(yard)
    }

    /// Jobs taken per second.
    fn submit(&self, jobs: u64) -> anyhow::Result<f64> {
        let request = post("/v1/jobs", &chat(1024, Some(false)));
        let load = Load { request: &request, status: 202, connections: 64, until: Until::Requests(jobs) };
        Ok(load.run(self.broker.addr)?.whole()?.rate())
    }

    /// How long each of some pulls took.
    fn pulls(&self) -> anyhow::Result<Sample> {
        let jobs = 200;
        self.mock.seen()?;
        self.mock.release(jobs)?;
        let (mut waited, mut pulls) = (Duration::ZERO, Vec::new());
        while pulls.len() < jobs {
            std::thread::sleep(Duration::from_millis(20));
            waited += Duration::from_millis(20);
            anyhow::ensure!(waited < Duration::from_secs(30), "{} of {jobs} jobs were pulled in {waited:?}", pulls.len());
            pulls.extend(self.mock.seen()?.pulls_us);
        }
        Ok(Sample::of(pulls))
    }

    fn waiting(&self) -> anyhow::Result<f64> {
        self.broker.metric("pullyard_jobs_live")
    }
}

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let jobs: u64 = run.pick(100_000, 1_000_000);
    let few = Yard::with(FEW)?;
    let many = Yard::with(jobs)?;
    let (rss, peak) = (many.broker.rss()?, many.broker.peak_rss()?);
    let waiting = many.waiting()?;
    anyhow::ensure!(waiting >= jobs as f64, "only {waiting} of {jobs} jobs wait");
    let named = format!("{} waiting jobs of 1 KB", count(jobs as f64));
    // A quick run has fewer jobs, and its memory says nothing about the bar.
    run.report.row(Row {
        measured: format!("{named}: resident memory"),
        pullyard: format!("{} ({:.0} bytes a job)", megabytes(rss), (rss as f64 - few.broker.rss()? as f64) / jobs as f64),
        compared: format!("peak {}; with {} waiting {}", megabytes(peak), count(FEW as f64), megabytes(few.broker.rss()?)),
        ratio: "–".to_owned(),
        bar: format!("≤ {} for 1,000,000", megabytes(RSS_BAR)),
        met: (!run.quick).then_some(rss <= RSS_BAR),
    });

    let (mut rates, mut pulls) = (Vec::new(), Vec::new());
    for round in 0..run.pick(5, 9) {
        rates.push(super::in_turns(round, [&many, &few], |yard| {
            let rate = yard.submit(4_000)?;
            yard.broker.settle()?;
            Ok(rate)
        })?);
        pulls.push(super::in_turns(round, [&many, &few], |yard| Ok(yard.pulls()?.p50()))?);
    }
    let of = |values: &[[f64; 2]], nth: usize| median(values.iter().map(|v| v[nth]));
    let ratio = |values: &[[f64; 2]]| median(values.iter().map(|[many, few]| many / few));
    run.report.row(Row {
        measured: format!("{named}: jobs taken, durable, 64 connections"),
        pullyard: format!("{} jobs/s", count(of(&rates, 0))),
        compared: format!("with {} waiting: {} jobs/s", count(FEW as f64), count(of(&rates, 1))),
        ratio: format!("{:.2}", ratio(&rates)),
        bar: format!("≥ {:.2}", 1.0 - SAME),
        met: Some(ratio(&rates) >= 1.0 - SAME),
    });
    run.report.row(Row {
        measured: format!("{named}: p50 from a free slot to its next job"),
        pullyard: time(of(&pulls, 0)),
        compared: format!("with {} waiting: {}", count(FEW as f64), time(of(&pulls, 1))),
        ratio: format!("{:.2}", ratio(&pulls)),
        bar: format!("≤ {:.2}", 1.0 + SAME),
        met: Some(ratio(&pulls) <= 1.0 + SAME),
    });
    drop(few);
    restart(run, many, &named)
}

/// Every event in this log belongs to a job that is still alive.
fn restart(run: &mut Run<'_>, many: Yard, named: &str) -> anyhow::Result<()> {
    let before = many.waiting()?;
    let Yard { broker, mock, setup, folder } = many;
    broker.stop()?;
    let broker = Broker::start(folder.path(), setup).context("start with the jobs in the log")?;
    let after = broker.metric("pullyard_jobs_live")?;
    anyhow::ensure!((before - after).abs() < 1.0, "{before} jobs lived before the start, and {after} after it");
    let ready = micros(broker.ready_after);
    run.report.row(Row {
        measured: format!("start with {named} in the log: ready"),
        pullyard: time(ready),
        compared: format!("peak {}", megabytes(broker.peak_rss()?)),
        ratio: "–".to_owned(),
        bar: format!("≤ {} for 1,000,000", time(micros(READY_BAR))),
        met: (!run.quick).then_some(ready <= micros(READY_BAR)),
    });
    drop((broker, mock));
    Ok(())
}
