//! A batch of 50,000 chat lines at a model server that answers at once: from the request that makes it to its end, with
//! the results on disk, and the memory that it takes meanwhile.

use std::time::Instant;

use crate::Run;
use crate::batches;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{count, median, megabytes};

const BAR: f64 = 5_000.0;
const RSS_BAR: f64 = 200_000_000.0;
const SLOTS: usize = 64;
const BYTES: usize = 1024;

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let lines = run.pick(10_000, 50_000);
    let file = batches::lines(lines, BYTES);
    let (mut rates, mut grown) = (Vec::new(), Vec::new());
    for _ in 0..run.pick(2, 5) {
        let (folder, mock) = (folder()?, Mock::start(Behaviour::default())?);
        let setup = Setup { backend: mock.addr(), slots: SLOTS, durability: Durability::Flush };
        let broker = Broker::start(folder.path(), setup)?;
        broker.settle()?;
        let idle = broker.rss()?;
        let id = batches::upload(broker.addr, &file)?;
        let begun = Instant::now();
        let batch = batches::begin(broker.addr, &id)?;
        batches::complete(broker.addr, &batch, lines)?;
        rates.push(lines as f64 / begun.elapsed().as_secs_f64());
        grown.push(broker.peak_rss()? as f64 - idle as f64);
        anyhow::ensure!(mock.seen()?.total >= lines as u64, "not every line was asked");
    }
    let (rate, most) = (median(rates), grown.into_iter().fold(0.0, f64::max));
    let named = format!("batch of {} chat lines of 1 KB, instant backend with {SLOTS} slots, durable", count(lines as f64));
    run.report.row(Row {
        measured: named.clone(),
        pullyard: format!("{} lines/s", count(rate)),
        compared: "–".to_owned(),
        ratio: "–".to_owned(),
        bar: format!("≥ {} lines/s", count(BAR)),
        met: Some(rate >= BAR),
    });
    run.report.row(Row {
        measured: format!("{named}: resident memory at its peak above idle"),
        pullyard: megabytes(most as u64),
        compared: "–".to_owned(),
        ratio: "–".to_owned(),
        bar: format!("≤ {} for 50,000", megabytes(RSS_BAR as u64)),
        met: (!run.quick || most > RSS_BAR).then_some(most <= RSS_BAR),
    });
    Ok(())
}
