//! A broker with nothing to do: how soon it answers after its start, and what it takes to keep it.

use std::time::Duration;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{median, megabytes, micros, time};

const START_BAR: Duration = Duration::from_millis(100);
const RSS_BAR: u64 = 25_000_000;

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let mock = Mock::start(Behaviour::default())?;
    let (mut started, mut rss) = (Vec::new(), 0);
    for _ in 0..run.pick(3, 9) {
        let folder = folder()?;
        let broker = Broker::start(folder.path(), Setup { backend: mock.addr(), slots: 4, durability: Durability::Flush })?;
        started.push(micros(broker.ready_after));
        std::thread::sleep(Duration::from_secs(1));
        rss = rss.max(broker.rss()?);
    }
    let started = median(started);
    run.report.row(Row {
        measured: "start with an empty log: first answer".to_owned(),
        pullyard: time(started),
        compared: "–".to_owned(),
        ratio: "–".to_owned(),
        bar: format!("≤ {}", time(micros(START_BAR))),
        met: Some(started <= micros(START_BAR)),
    });
    run.report.row(Row {
        measured: "idle, one second after the start: resident memory".to_owned(),
        pullyard: megabytes(rss),
        compared: "–".to_owned(),
        ratio: "–".to_owned(),
        bar: format!("≤ {}", megabytes(RSS_BAR)),
        met: Some(rss <= RSS_BAR),
    });
    Ok(())
}
