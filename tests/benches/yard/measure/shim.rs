//! `POST /v1/chat/completions` with a backend that answers at once: what a proxy's caller would see. The pass-through does
//! nothing but pass on; the broker makes a job of each request, with its events on disk before the answer.

use std::time::Duration;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::child::Child;
use crate::load::{Load, Turn, Until, chat_request, turn};
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{count, median, time};

const RATE_BAR: f64 = 0.6;
const CPU_BAR: f64 = 2.0;

struct Case {
    bytes: usize,
    connections: usize,
    durability: Durability,
    named: &'static str,
    /// Whether a bar is on the processor time too.
    judge_cpu: bool,
}

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let named = "sync shim, durable, 1 KB, 256 connections";
    compare(run, &Case { bytes: 1024, connections: 256, durability: Durability::Flush, named, judge_cpu: true })
}

pub(crate) fn run_large(run: &mut Run<'_>) -> anyhow::Result<()> {
    let named = "sync shim, relaxed, 32 KB, 16 connections";
    compare(run, &Case { bytes: 32 * 1024, connections: 16, durability: Durability::Relaxed, named, judge_cpu: false })
}

fn compare(run: &mut Run<'_>, case: &Case) -> anyhow::Result<()> {
    let Case { bytes, connections, durability, named, judge_cpu } = *case;
    let folder = folder()?;
    let mock = Mock::start(Behaviour::default())?;
    let passthrough = Child::role("passthrough", &mock.addr().to_string())?;
    let broker = Broker::start(folder.path(), Setup { backend: mock.addr(), slots: connections, durability })?;

    let request = chat_request(bytes, false);
    let load = |until| Load { request: &request, status: 200, connections, until: Until::Elapsed(until) };
    let (warm, long) = (Duration::from_millis(500), Duration::from_millis(run.pick(1000, 2000)));
    turn(&passthrough, load(warm))?;
    turn(&broker, load(warm))?;
    let mut rounds: Vec<[Turn; 2]> = Vec::new();
    for round in 0..run.pick(3, 7) {
        let targets: [&Child; 2] = [&broker, &passthrough];
        rounds.push(super::in_turns(round, targets, |target| turn(target, load(long)))?);
    }

    let of = |nth: usize, f: fn(&Turn) -> f64| median(rounds.iter().map(|r| f(&r[nth])));
    let ratio = |f: fn(&Turn) -> f64| median(rounds.iter().map(|[yard, pass]| f(yard) / f(pass)));
    let rate = |t: &Turn| t.done.rate();
    let cpu = |t: &Turn| t.cpu_us;
    run.report.row(Row {
        measured: named.to_owned(),
        pullyard: format!("{} requests/s", count(of(0, rate))),
        compared: format!("pass-through: {} requests/s", count(of(1, rate))),
        ratio: format!("{:.2}", ratio(rate)),
        bar: format!("≥ {RATE_BAR}"),
        met: Some(ratio(rate) >= RATE_BAR),
    });
    if judge_cpu {
        run.report.row(Row {
            measured: format!("{named}: processor time per request"),
            pullyard: time(of(0, cpu)),
            compared: format!("pass-through: {}", time(of(1, cpu))),
            ratio: format!("{:.2}", ratio(cpu)),
            bar: format!("≤ {CPU_BAR}"),
            met: Some(ratio(cpu) <= CPU_BAR),
        });
    }
    run.report.beside(format!(
        "{named}: answer p50 {}, p99 {} (pass-through {}, {}); processor time {} (pass-through {})",
        time(of(0, |t| t.done.latencies.p50())),
        time(of(0, |t| t.done.latencies.p99())),
        time(of(1, |t| t.done.latencies.p50())),
        time(of(1, |t| t.done.latencies.p99())),
        time(of(0, cpu)),
        time(of(1, cpu)),
    ));
    Ok(())
}
