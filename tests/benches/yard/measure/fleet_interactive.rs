//! An interactive job that comes behind hundreds of batch jobs, at a backend with one slot beyond NATS. Nothing that runs is
//! stopped for it, so it may wait for what runs when it comes, and for nothing else.
//!
//! Attempts are so long that to wait for a second one cannot be taken for the time that everything needs anyway.

use std::time::Duration;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::child::Child;
use crate::fleet::Fleet;
use crate::load::{Load, Until, chat, chat_request};
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{Sample, count, micros, time};
use crate::wire::post;

const BATCH: u64 = 600;
const ATTEMPT: Duration = Duration::from_millis(100);
/// Over the attempt that runs.
const BAR: Duration = Duration::from_millis(20);

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let pace = Behaviour { first_ms: u64::try_from(ATTEMPT.as_millis())?, slots: 1, ..Behaviour::default() };
    let (fleet_folder, embedded_folder) = (folder()?, folder()?);
    let mocks = [Mock::start(pace)?, Mock::start(pace)?];
    let setup = |mock: &Mock| Setup { backend: mock.addr(), slots: 1, durability: Durability::Flush };
    let fleet = Fleet::start(fleet_folder.path(), setup(&mocks[0]))?;
    let embedded = Broker::start(embedded_folder.path(), setup(&mocks[1]))?;
    let targets: [&Child; 2] = [&fleet.broker, &embedded];

    let mut batch = br#"{"band":"batch","#.to_vec();
    batch.extend_from_slice(&chat(1024, Some(false))[1..]);
    let batch = post("/v1/jobs", &batch);
    let mut waits: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for target in targets {
        Load { request: &batch, status: 202, connections: 16, until: Until::Requests(BATCH) }.run(target.addr)?.whole()?;
    }
    let request = chat_request(1024, false);
    // Both have enough to do until the last of these.
    for nth in 0..run.pick(20, 60) {
        let asked = super::in_turns(nth, targets, |target| {
            // At moments that have nothing to do with where the running attempt is.
            std::thread::sleep(ATTEMPT.mul_f64(0.37 * (nth % 8) as f64));
            let load = Load { request: &request, status: 200, connections: 1, until: Until::Requests(1) };
            Ok(load.run(target.addr)?.whole()?.latencies.p50() - micros(ATTEMPT))
        })?;
        asked.into_iter().zip(&mut waits).for_each(|(wait, waits)| waits.push(wait));
    }
    for broker in [&fleet.broker, &embedded] {
        let left = broker.metric("pullyard_jobs_live")?;
        anyhow::ensure!(left > 1.0, "the batch jobs were over before the last interactive one");
    }
    let [over_nats, embedded] = waits.map(Sample::of);
    let most = micros(ATTEMPT + BAR);
    run.report.row(Row {
        measured: format!(
            "interactive job behind {} batch jobs of {} over NATS, one slot: longest wait for its start",
            count(BATCH as f64),
            time(micros(ATTEMPT))
        ),
        pullyard: format!("{} (p50 {})", time(over_nats.quantile(1.0)), time(over_nats.p50())),
        compared: format!("embedded {} (p50 {})", time(embedded.quantile(1.0)), time(embedded.p50())),
        ratio: format!("{:.2} of one attempt", over_nats.quantile(1.0) / micros(ATTEMPT)),
        bar: format!("≤ {} (one running attempt and {})", time(most), time(micros(BAR))),
        met: Some(over_nats.quantile(1.0) <= most),
    });
    Ok(())
}
