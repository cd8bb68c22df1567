//! Streams: what the broker does to the first token, and to the evenness of those that follow.

use std::net::SocketAddr;
use std::time::Duration;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::child::Child;
use crate::load::chat_request;
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{Sample, count, micros, time};
use crate::stream::{Heard, Streams};

const FIRST_TOKEN_BAR: Duration = Duration::from_millis(7);
const JITTER_BAR: Duration = Duration::from_micros(1500);
const GAP_BAR: Duration = Duration::from_millis(10);

/// All 100 start at once, which is the hardest for the first token.
pub(crate) fn hundred(run: &mut Run<'_>) -> anyhow::Result<()> {
    let pace = Behaviour { first_ms: 100, tokens: 100, gap_ms: 20, ..Behaviour::default() };
    let [yard, pass, direct] = listen(run.pick(2, 5), pace, 100, Duration::ZERO)?;
    let named = "100 streams of 100 tokens, 20 ms apart";
    cut(run, named, &yard);

    let first = |heard: &Heard| Sample::of(heard.first_token.clone()).p50();
    let added = first(&yard) - first(&direct);
    run.report.row(Row {
        measured: format!("{named}: p50 added to the first token"),
        pullyard: time(added),
        compared: format!("pass-through adds {}; direct takes {}", time(first(&pass) - first(&direct)), time(first(&direct))),
        ratio: time(added),
        bar: format!("≤ {}", time(micros(FIRST_TOKEN_BAR))),
        met: Some(added <= micros(FIRST_TOKEN_BAR)),
    });
    let jitter = |heard: &Heard| heard.jitter().p99();
    let added = jitter(&yard) - jitter(&direct);
    run.report.row(Row {
        measured: format!("{named}: p99 of gap jitter"),
        pullyard: time(jitter(&yard)),
        compared: format!("pass-through {}; direct, which is the load generator's own, {}", time(jitter(&pass)), time(jitter(&direct))),
        ratio: format!("{} over direct", time(added)),
        bar: format!("≤ {} over direct", time(micros(JITTER_BAR))),
        met: Some(added <= micros(JITTER_BAR)),
    });
    Ok(())
}

/// Started over a second, as callers come; 20,000 tokens each second.
pub(crate) fn thousand(run: &mut Run<'_>) -> anyhow::Result<()> {
    let pace = Behaviour { first_ms: 100, tokens: run.pick(60, 120), gap_ms: 50, ..Behaviour::default() };
    let [yard, pass, direct] = listen(run.pick(1, 3), pace, 1000, Duration::from_secs(1))?;
    let named = "1,000 streams at 20 tokens/s each";
    cut(run, named, &yard);

    let gap = |heard: &Heard| heard.added().p99();
    let added = gap(&yard) - gap(&direct);
    run.report.row(Row {
        measured: format!("{named}: p99 added to a gap"),
        pullyard: time(gap(&yard)),
        compared: format!("pass-through {}; direct, which is the load generator's own, {}", time(gap(&pass)), time(gap(&direct))),
        ratio: format!("{} over direct", time(added)),
        bar: format!("≤ {} over direct", time(micros(GAP_BAR))),
        met: Some(added <= micros(GAP_BAR)),
    });
    Ok(())
}

/// What is heard by way of the broker, of the pass-through, and directly.
fn listen(rounds: usize, pace: Behaviour, streams: usize, spread: Duration) -> anyhow::Result<[Heard; 3]> {
    let folder = folder()?;
    let mock = Mock::start(pace)?;
    let passthrough = Child::role("passthrough", &mock.addr().to_string())?;
    let broker = Broker::start(folder.path(), Setup { backend: mock.addr(), slots: streams, durability: Durability::Flush })?;
    let request = chat_request(1024, true);
    let listening = Streams { request: &request, count: streams, tokens: usize::try_from(pace.tokens)?, spread };
    let targets: [SocketAddr; 3] = [broker.addr, passthrough.addr, mock.addr()];
    let mut heard = [Heard::default(), Heard::default(), Heard::default()];
    for round in 0..rounds {
        let turns = super::in_turns(round, targets, |addr| {
            let heard = listening.run(addr)?;
            broker.settle()?;
            Ok(heard)
        })?;
        heard.iter_mut().zip(turns).for_each(|(all, turn)| all.add(turn));
    }
    Ok(heard)
}

fn cut(run: &mut Run<'_>, named: &str, yard: &Heard) {
    let all = yard.cut + yard.first_token.len();
    run.report.row(Row {
        measured: format!("{named}: cut"),
        pullyard: format!("{} of {}", yard.cut, count(all as f64)),
        compared: yard.first_failure.clone().unwrap_or_else(|| "–".to_owned()),
        ratio: "–".to_owned(),
        bar: "none".to_owned(),
        met: Some(yard.cut == 0),
    });
}
