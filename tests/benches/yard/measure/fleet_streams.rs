//! Streams with the worker beyond NATS: how much longer each token takes from the mock to its reader.

use std::time::Duration;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::fleet::Fleet;
use crate::load::chat_request;
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{Sample, count, median, micros, time};
use crate::stream::{Heard, Streams};

const STREAMS: usize = 200;
const BAR: Duration = Duration::from_millis(3);

/// Started over a second, as callers come; 10,000 tokens each second.
pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let pace = Behaviour { first_ms: 100, tokens: run.pick(150, 250), gap_ms: 20, ..Behaviour::default() };
    let (fleet_folder, embedded_folder) = (folder()?, folder()?);
    let mock = Mock::start(pace)?;
    let setup = Setup { backend: mock.addr(), slots: STREAMS, durability: Durability::Flush };
    let fleet = Fleet::start(fleet_folder.path(), setup)?;
    let embedded = Broker::start(embedded_folder.path(), setup)?;
    let request = chat_request(1024, true);
    let spread = Duration::from_secs(1);
    let listening = Streams { request: &request, count: STREAMS, tokens: usize::try_from(pace.tokens)?, spread };
    let targets = [fleet.broker.addr, embedded.addr, mock.addr()];
    let turn = |addr| -> anyhow::Result<Heard> {
        let heard = listening.run(addr)?;
        fleet.settle()?;
        embedded.settle()?;
        Ok(heard)
    };
    let mut rounds: Vec<[Heard; 3]> = Vec::new();
    for round in 0..run.pick(3, 7) {
        rounds.push(super::in_turns(round, targets, turn)?);
    }

    let named = format!("{STREAMS} streams over NATS at 50 tokens/s each");
    let over_nats = || rounds.iter().map(|[fleet, ..]| fleet);
    let cut: usize = over_nats().map(|heard| heard.cut).sum();
    let all = cut + over_nats().map(|heard| heard.first_token.len()).sum::<usize>();
    run.report.row(Row {
        measured: format!("{named}: cut"),
        pullyard: format!("{cut} of {}", count(all as f64)),
        compared: over_nats().find_map(|heard| heard.first_failure.clone()).unwrap_or_else(|| "–".to_owned()),
        ratio: "–".to_owned(),
        bar: "none".to_owned(),
        met: Some(cut == 0),
    });
    let travelled: Vec<[Sample; 3]> = rounds.iter().map(|round| std::array::from_fn(|nth| Sample::of(round[nth].travel.clone()))).collect();
    let of = |nth: usize, q: f64| median(travelled.iter().map(|r| r[nth].quantile(q)));
    let added = |nth: usize, q: f64| median(travelled.iter().map(|r| r[nth].quantile(q) - r[2].quantile(q)));
    run.report.row(Row {
        measured: format!("{named}: p99 from the sending of a token to its arrival"),
        pullyard: time(of(0, 0.99)),
        compared: format!("embedded {}; direct, which is the load generator's own, {}", time(of(1, 0.99)), time(of(2, 0.99))),
        ratio: format!("{} over direct", time(added(0, 0.99))),
        bar: format!("≤ {} over direct", time(micros(BAR))),
        met: Some(added(0, 0.99) <= micros(BAR)),
    });
    run.report.beside(format!(
        "{named}: p50 from the sending of a token to its arrival {} (embedded {}, direct {})",
        time(of(0, 0.5)),
        time(of(1, 0.5)),
        time(of(2, 0.5)),
    ));
    Ok(())
}
