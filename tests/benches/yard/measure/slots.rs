//! 200 requests at once for a backend with 4 slots of 50 ms: the broker queues them, so that the backend neither queues nor
//! refuses. Without loss of time that takes 2.5 s.

use std::time::Duration;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::load::{Done, Load, Until, chat_request};
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{median, micros, time};

const REQUESTS: usize = 200;
const SLOTS: usize = 4;
const BAR: Duration = Duration::from_millis(2700);

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let pace = Behaviour { first_ms: 50, slots: SLOTS, ..Behaviour::default() };
    let direct = burst(Mock::start(pace)?.addr())?;
    let direct = format!("direct to a backend that queues: {}", time(micros(direct.took)));
    for refuse in [false, true] {
        let named = format!(
            "{REQUESTS} requests at once, backend with {SLOTS} slots of 50 ms that {}",
            if refuse { "answers 503 above them" } else { "queues above them" }
        );
        let (folder, mock) = (folder()?, Mock::start(Behaviour { refuse, ..pace })?);
        let broker = Broker::start(folder.path(), Setup { backend: mock.addr(), slots: SLOTS, durability: Durability::Flush })?;
        let (mut took, mut failed, mut most, mut wrong) = (Vec::new(), 0, 0, 0);
        for _ in 0..run.pick(2, 5) {
            let done = burst(broker.addr)?;
            let seen = mock.seen()?;
            failed += done.failed;
            most = most.max(seen.most);
            wrong += seen.total.abs_diff(REQUESTS as u64);
            took.push(micros(done.took));
            if let Some(why) = done.first_failure {
                run.report.beside(format!("{named}: {why}"));
            }
        }
        let took = median(took);
        run.report.row(Row {
            measured: named,
            pullyard: format!("{}; {failed} failed, {most} in the backend at most, {wrong} more or fewer than asked", time(took)),
            compared: direct.clone(),
            ratio: format!("{:.2} of 2.5 s", took / 2_500_000.0),
            bar: format!("≤ {}; 0 failed, {SLOTS} at most, 0 more or fewer", time(micros(BAR))),
            met: Some(took <= micros(BAR) && failed == 0 && most <= SLOTS as u64 && wrong == 0),
        });
    }
    Ok(())
}

fn burst(addr: std::net::SocketAddr) -> anyhow::Result<Done> {
    let request = chat_request(1024, false);
    Load { request: &request, status: 200, connections: REQUESTS, until: Until::Requests(REQUESTS as u64) }.run(addr)
}
