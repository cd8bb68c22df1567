//! A start with a long past: the log holds a million events of jobs that have ended, and the read model knows them.

use std::time::Duration;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::load::{Load, Until, chat_request, turn};
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{count, median, megabytes, micros, time};
use crate::wire;

/// Submitted, leased, completed.
const EVENTS_PER_JOB: u64 = 3;
const BAR: Duration = Duration::from_secs(4);

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let events: u64 = run.pick(60_000, 1_000_000);
    let (folder, mock) = (folder()?, Mock::start(Behaviour::default())?);
    let setup = Setup { backend: mock.addr(), slots: 64, durability: Durability::Relaxed };
    let broker = Broker::start(folder.path(), setup)?;
    let request = chat_request(1024, false);
    let jobs = events.div_ceil(EVENTS_PER_JOB);
    turn(&broker, Load { request: &request, status: 200, connections: 64, until: Until::Requests(jobs) })?;
    let list = |broker: &Broker| wire::ask(broker.addr, "GET", "/v1/jobs?state=completed&limit=50", "");
    let before = list(&broker)?;
    broker.stop()?;

    let mut ready = Vec::new();
    let (mut peak, mut broker) = (0, None::<Broker>);
    for _ in 0..run.pick(2, 5) {
        if let Some(broker) = broker.take() {
            broker.stop()?;
        }
        let started = Broker::start(folder.path(), setup)?;
        ready.push(micros(started.ready_after));
        peak = peak.max(started.peak_rss()?);
        anyhow::ensure!(list(&started)? == before, "the newest jobs are not those from before the start");
        broker = Some(started);
    }
    let ready = median(ready);
    run.report.row(Row {
        measured: format!("start with a log of {} events of ended jobs, read model whole: ready", count(events as f64)),
        pullyard: time(ready),
        compared: format!("peak {}", megabytes(peak)),
        ratio: "–".to_owned(),
        bar: format!("≤ {} for 1,000,000", time(micros(BAR))),
        met: (!run.quick).then_some(ready <= micros(BAR)),
    });
    Ok(())
}
