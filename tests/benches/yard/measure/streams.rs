//! Streams: what the broker does to the first token, and to the evenness of those that follow.

use std::net::SocketAddr;
use std::time::Duration;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::child::Child;
use crate::load::chat_request;
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{Sample, count, median, micros, time};
use crate::stream::{Heard, Streams};

const FIRST_TOKEN_BAR: Duration = Duration::from_millis(7);
const JITTER_BAR: Duration = Duration::from_micros(1500);
const GAP_BAR: Duration = Duration::from_millis(10);

/// All 100 start at once, which is the hardest for the first token.
pub(crate) fn hundred(run: &mut Run<'_>) -> anyhow::Result<()> {
    let pace = Behaviour { first_ms: 100, tokens: 100, gap_ms: 20, ..Behaviour::default() };
    let rounds = listen(run.pick(3, 7), pace, 100, Duration::ZERO)?;
    let named = "100 streams of 100 tokens, 20 ms apart";
    cut(run, named, &rounds);

    let first = |heard: &Heard| Sample::of(heard.first_token.clone()).p50();
    let Figures { added, passed, direct, .. } = figures(&rounds, first);
    run.report.row(Row {
        measured: format!("{named}: p50 added to the first token"),
        pullyard: time(added),
        compared: format!("pass-through adds {}; direct takes {}", time(passed - direct), time(direct)),
        ratio: time(added),
        bar: format!("≤ {}", time(micros(FIRST_TOKEN_BAR))),
        met: Some(added <= micros(FIRST_TOKEN_BAR)),
    });
    gap(run, format!("{named}: p99 of gap jitter"), &figures(&rounds, |heard| heard.jitter().p99()), JITTER_BAR);
    Ok(())
}

/// Started over a second, as callers come; 20,000 tokens each second.
pub(crate) fn thousand(run: &mut Run<'_>) -> anyhow::Result<()> {
    let pace = Behaviour { first_ms: 100, tokens: run.pick(60, 80), gap_ms: 50, ..Behaviour::default() };
    let rounds = listen(run.pick(2, 5), pace, 1000, Duration::from_secs(1))?;
    let named = "1,000 streams at 20 tokens/s each";
    cut(run, named, &rounds);
    gap(run, format!("{named}: p99 added to a gap"), &figures(&rounds, |heard| heard.added().p99()), GAP_BAR);
    Ok(())
}

/// Medians over the rounds, in microseconds.
struct Figures {
    yard: f64,
    passed: f64,
    direct: f64,
    /// What the broker adds to direct in the same round.
    added: f64,
}

fn figures(rounds: &[[Heard; 3]], figure: impl Fn(&Heard) -> f64) -> Figures {
    let rounds: Vec<[f64; 3]> = rounds.iter().map(|round| std::array::from_fn(|nth| figure(&round[nth]))).collect();
    let [yard, passed, direct] = std::array::from_fn(|nth| median(rounds.iter().map(|r| r[nth])));
    Figures { yard, passed, direct, added: median(rounds.iter().map(|[yard, _, direct]| yard - direct)) }
}

fn gap(run: &mut Run<'_>, measured: String, figures: &Figures, bar: Duration) {
    let Figures { yard, passed, direct, added } = *figures;
    run.report.row(Row {
        measured,
        pullyard: time(yard),
        compared: format!("pass-through {}; direct, which is the load generator's own, {}", time(passed), time(direct)),
        ratio: format!("{} over direct", time(added)),
        bar: format!("≤ {} over direct", time(micros(bar))),
        met: Some(added <= micros(bar)),
    });
}

/// What is heard in each round by way of the broker, of the pass-through, and directly.
fn listen(rounds: usize, pace: Behaviour, streams: usize, spread: Duration) -> anyhow::Result<Vec<[Heard; 3]>> {
    let folder = folder()?;
    let mock = Mock::start(pace)?;
    let passthrough = Child::role("passthrough", &mock.addr().to_string())?;
    let broker = Broker::start(folder.path(), Setup { backend: mock.addr(), slots: streams, durability: Durability::Flush })?;
    let request = chat_request(1024, true);
    let listening = Streams { request: &request, count: streams, tokens: usize::try_from(pace.tokens)?, spread };
    let targets: [SocketAddr; 3] = [broker.addr, passthrough.addr, mock.addr()];
    let turn = |addr| {
        let heard = listening.run(addr)?;
        broker.settle()?;
        Ok(heard)
    };
    (0..rounds).map(|round| super::in_turns(round, targets, turn)).collect()
}

fn cut(run: &mut Run<'_>, named: &str, rounds: &[[Heard; 3]]) {
    let yard = || rounds.iter().map(|[yard, ..]| yard);
    let cut: usize = yard().map(|heard| heard.cut).sum();
    let all = cut + yard().map(|heard| heard.first_token.len()).sum::<usize>();
    run.report.row(Row {
        measured: format!("{named}: cut"),
        pullyard: format!("{cut} of {}", count(all as f64)),
        compared: yard().find_map(|heard| heard.first_failure.clone()).unwrap_or_else(|| "–".to_owned()),
        ratio: "–".to_owned(),
        bar: "none".to_owned(),
        met: Some(cut == 0),
    });
}
