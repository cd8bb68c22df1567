//! Half a million waiting jobs are the broker's. NATS is told of no more than can start soon, so its memory stays what it was
//! with a thousand.

use crate::Run;
use crate::broker::{Durability, Setup, folder};
use crate::fleet::Fleet;
use crate::load::{Load, Until, chat};
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{count, megabytes};
use crate::wire::post;

const FEW: u64 = 1_000;
const SLOTS: usize = 64;
/// Either of the two.
const GROWTH_BAR: f64 = 1.25;
const MORE_BAR: u64 = 20_000_000;

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let jobs: u64 = run.pick(50_000, 500_000);
    let (folder, mock) = (folder()?, Mock::start(Behaviour { held: true, ..Behaviour::default() })?);
    let fleet = Fleet::start(folder.path(), Setup { backend: mock.addr(), slots: SLOTS, durability: Durability::Flush })?;
    let request = post("/v1/jobs", &chat(1024, Some(false)));
    let submit = |jobs| -> anyhow::Result<u64> {
        Load { request: &request, status: 202, connections: 64, until: Until::Requests(jobs) }.run(fleet.broker.addr)?.whole()?;
        fleet.settle()?;
        fleet.nats.rss()
    };
    let few = submit(FEW)?;
    let many = submit(jobs - FEW)?;
    let waiting = fleet.broker.metric("pullyard_jobs_live")?;
    anyhow::ensure!(waiting >= jobs as f64, "only {waiting} of {jobs} jobs wait");
    let growth = many as f64 / few as f64;
    run.report.row(Row {
        measured: format!("{} waiting jobs of 1 KB over NATS, {SLOTS} slots: nats-server's resident memory", count(jobs as f64)),
        pullyard: megabytes(many),
        compared: format!("with {} waiting {}", count(FEW as f64), megabytes(few)),
        ratio: format!("{growth:.2}"),
        bar: format!("≤ {GROWTH_BAR} or ≤ {} more, for 500,000", megabytes(MORE_BAR)),
        met: (!run.quick).then_some(growth <= GROWTH_BAR || many <= few + MORE_BAR),
    });
    run.report.beside(format!(
        "{} waiting jobs over NATS: broker {}, worker {}, nats-server at most {}",
        count(jobs as f64),
        megabytes(fleet.broker.rss()?),
        megabytes(fleet.worker.rss()?),
        megabytes(fleet.nats.peak_rss()?),
    ));
    Ok(())
}
