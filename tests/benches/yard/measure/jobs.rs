//! `POST /v1/jobs`, durable: each answer says that the job is on disk. The bare handler says the same and keeps nothing.
//!
//! The backend holds its slots, so that taking jobs in is measured and not running them.

use std::time::Duration;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::child::Child;
use crate::load::{Load, Turn, Until, chat, turn};
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{count, median, time};
use crate::wire::post;

const CONNECTIONS: usize = 512;
const BAR: f64 = 0.5;

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let folder = folder()?;
    let mock = Mock::start(Behaviour { held: true, ..Behaviour::default() })?;
    let bare = Child::role("bare", "")?;
    let broker = Broker::start(folder.path(), Setup { backend: mock.addr(), slots: 4, durability: Durability::Flush })?;

    let request = post("/v1/jobs", &chat(1024, None));
    let load = |until| Load { request: &request, status: 202, connections: CONNECTIONS, until: Until::Elapsed(until) };
    let (warm, long) = (Duration::from_millis(500), Duration::from_millis(run.pick(1000, 2000)));
    turn(&bare, load(warm))?;
    turn(&broker, load(warm))?;
    let mut rounds: Vec<[Turn; 2]> = Vec::new();
    for round in 0..run.pick(3, 7) {
        let targets: [&Child; 2] = [&broker, &bare];
        rounds.push(super::in_turns(round, targets, |target| turn(target, load(long)))?);
    }

    let of = |nth: usize, f: fn(&Turn) -> f64| median(rounds.iter().map(|r| f(&r[nth])));
    let ratio = median(rounds.iter().map(|[yard, bare]| yard.done.rate() / bare.done.rate()));
    let rate = |t: &Turn| t.done.rate();
    run.report.row(Row {
        measured: format!("`POST /v1/jobs`, durable, 1 KB, {CONNECTIONS} connections"),
        pullyard: format!("{} jobs/s", count(of(0, rate))),
        compared: format!("bare axum: {} requests/s", count(of(1, rate))),
        ratio: format!("{ratio:.2}"),
        bar: format!("≥ {BAR}"),
        met: Some(ratio >= BAR),
    });
    run.report.beside(format!(
        "`POST /v1/jobs`: answer p50 {}, p99 {} (bare axum {}, {}); processor time per request {} (bare axum {}); {} jobs waited in the end",
        time(of(0, |t| t.done.latencies.p50())),
        time(of(0, |t| t.done.latencies.p99())),
        time(of(1, |t| t.done.latencies.p50())),
        time(of(1, |t| t.done.latencies.p99())),
        time(of(0, |t| t.cpu_us)),
        time(of(1, |t| t.cpu_us)),
        count(broker.metric("pullyard_jobs_live")?),
    ));
    Ok(())
}
