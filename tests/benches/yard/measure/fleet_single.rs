//! One caller on one connection, with the worker beyond NATS: what the way there and back adds to an embedded broker's answer.

use std::time::Duration;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::fleet::Fleet;
use crate::load::{Load, Until, chat_request};
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{median, micros, time};

const BAR: Duration = Duration::from_millis(1);

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let (fleet_folder, embedded_folder) = (folder()?, folder()?);
    let mock = Mock::start(Behaviour::default())?;
    let setup = Setup { backend: mock.addr(), slots: 4, durability: Durability::Flush };
    let fleet = Fleet::start(fleet_folder.path(), setup)?;
    let embedded = Broker::start(embedded_folder.path(), setup)?;

    let request = chat_request(1024, false);
    let targets = [fleet.broker.addr, embedded.addr];
    let ask = |addr, requests| -> anyhow::Result<[f64; 2]> {
        let load = Load { request: &request, status: 200, connections: 1, until: Until::Requests(requests) };
        let done = load.run(addr)?.whole()?;
        Ok([done.latencies.p50(), done.latencies.p99()])
    };
    for addr in targets {
        ask(addr, 500)?;
    }
    let mut rounds = Vec::new();
    for round in 0..run.pick(5, 15) {
        rounds.push(super::in_turns(round, targets, |addr| ask(addr, 400))?);
    }

    let of = |nth: usize, quantile: usize| median(rounds.iter().map(|r| r[nth][quantile]));
    let added = median(rounds.iter().map(|[fleet, embedded]| fleet[0] - embedded[0]));
    run.report.row(Row {
        measured: "sync shim over NATS, durable, one connection: p50 from submission to answer".to_owned(),
        pullyard: time(of(0, 0)),
        compared: format!("embedded {}", time(of(1, 0))),
        ratio: format!("{} over embedded", time(added)),
        bar: format!("≤ {} over embedded", time(micros(BAR))),
        met: Some(added <= micros(BAR)),
    });
    run.report.beside(format!("sync shim over NATS, one connection: p99 {} (embedded {})", time(of(0, 1)), time(of(1, 1))));
    Ok(())
}
