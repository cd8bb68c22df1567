//! One caller on one connection: what a single request pays for its detour, over asking the backend directly.

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::child::Child;
use crate::load::{Load, Until, chat_request};
use crate::machine::fdatasync;
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{median, time};

/// How many times the pass-through's own cost the broker may add, besides the disk.
const BAR: f64 = 2.0;

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let (flush_folder, relaxed_folder) = (folder()?, folder()?);
    let mock = Mock::start(Behaviour::default())?;
    let passthrough = Child::role("passthrough", &mock.addr().to_string())?;
    let setup = |durability| Setup { backend: mock.addr(), slots: 4, durability };
    let flush = Broker::start(flush_folder.path(), setup(Durability::Flush))?;
    let relaxed = Broker::start(relaxed_folder.path(), setup(Durability::Relaxed))?;

    let request = chat_request(1024, false);
    let targets = [mock.addr(), passthrough.addr, flush.addr, relaxed.addr];
    let ask = |addr, requests| -> anyhow::Result<f64> {
        let load = Load { request: &request, status: 200, connections: 1, until: Until::Requests(requests) };
        Ok(load.run(addr)?.whole()?.latencies.p50())
    };
    for addr in targets {
        ask(addr, 500)?;
    }
    let mut rounds: Vec<[f64; 5]> = Vec::new();
    for round in 0..run.pick(5, 15) {
        let [direct, pass, flush, relaxed] = super::in_turns(round, targets, |addr| ask(addr, 400))?;
        let disk = fdatasync(run.folder, 50)?.0.p50();
        rounds.push([direct, pass, flush, relaxed, disk]);
    }

    let [direct, pass, flush, relaxed] = std::array::from_fn(|nth| median(rounds.iter().map(|r| r[nth])));
    let disk = median(rounds.iter().map(|r| r[4]));
    let (pass, flush, relaxed) = (pass - direct, flush - direct, relaxed - direct);
    let compared = format!("pass-through adds {}, one fdatasync takes {}", time(pass), time(disk));
    let relaxed_most = BAR * pass;
    let flush_most = relaxed_most + disk;
    run.report.row(Row {
        measured: "sync shim, durable, one connection: p50 added to the backend's own".to_owned(),
        pullyard: time(flush),
        compared: compared.clone(),
        ratio: format!("{:.2} of what it may add", flush / flush_most),
        bar: format!("≤ {} (twice the pass-through and one fdatasync)", time(flush_most)),
        met: Some(flush <= flush_most),
    });
    run.report.row(Row {
        measured: "sync shim, relaxed, one connection: p50 added to the backend's own".to_owned(),
        pullyard: time(relaxed),
        compared,
        ratio: format!("{:.2} of what it may add", relaxed / relaxed_most),
        bar: format!("≤ {} (twice the pass-through)", time(relaxed_most)),
        met: Some(relaxed <= relaxed_most),
    });
    run.report.beside(format!("one connection: direct to the backend p50 {}", time(direct)));
    Ok(())
}
