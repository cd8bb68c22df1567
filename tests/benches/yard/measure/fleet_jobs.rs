//! Whole jobs with the worker beyond NATS and a backend that answers at once: submitted, offered, pulled, run, reported and
//! answered. An embedded broker does the same in one process, so the difference is what the wire costs.

use std::time::Duration;

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::fleet::Fleet;
use crate::load::{Load, Turn, Until, chat_request, turn, turn_of};
use crate::mock::{Behaviour, Mock};
use crate::report::Row;
use crate::stats::{count, median, time};

const IN_FLIGHT: usize = 64;
const RATE_BAR: f64 = 4_000.0;
const RATIO_BAR: f64 = 0.3;

/// What a fleet's turn has besides an embedded broker's.
struct Wire {
    /// Broker, worker, NATS; per job.
    cpu_us: [f64; 3],
    messages_in: f64,
    messages_out: f64,
}

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let (fleet_folder, embedded_folder) = (folder()?, folder()?);
    let mock = Mock::start(Behaviour::default())?;
    let setup = Setup { backend: mock.addr(), slots: IN_FLIGHT, durability: Durability::Flush };
    let fleet = Fleet::start(fleet_folder.path(), setup)?;
    let embedded = Broker::start(embedded_folder.path(), setup)?;

    let request = chat_request(1024, false);
    let load = |until| Load { request: &request, status: 200, connections: IN_FLIGHT, until: Until::Elapsed(until) };
    let mut wires = Vec::new();
    let mut give = |over_nats: bool, long: Duration| -> anyhow::Result<Turn> {
        if !over_nats {
            return turn(&embedded, load(long));
        }
        let before = fleet.nats.messages()?;
        let (done, cpu_us) = turn_of(fleet.processes(), load(long))?;
        let after = fleet.nats.messages()?;
        let per_job = |messages: u64| messages as f64 / done.requests.max(1) as f64;
        wires.push(Wire { cpu_us, messages_in: per_job(after.in_ - before.in_), messages_out: per_job(after.out - before.out) });
        Ok(Turn { done, cpu_us: cpu_us.iter().sum() })
    };
    let (warm, long) = (Duration::from_millis(500), Duration::from_millis(run.pick(1000, 2000)));
    give(true, warm)?;
    give(false, warm)?;
    let mut rounds: Vec<[Turn; 2]> = Vec::new();
    for round in 0..run.pick(3, 7) {
        rounds.push(super::in_turns(round, [true, false], |over_nats| give(over_nats, long))?);
    }

    let of = |nth: usize, f: fn(&Turn) -> f64| median(rounds.iter().map(|r| f(&r[nth])));
    let rate = |t: &Turn| t.done.rate();
    let ratio = median(rounds.iter().map(|[fleet, embedded]| fleet.done.rate() / embedded.done.rate()));
    let named = format!("sync shim over NATS, durable, 1 KB, {IN_FLIGHT} connections");
    run.report.row(Row {
        measured: format!("{named}: whole jobs"),
        pullyard: format!("{} jobs/s", count(of(0, rate))),
        compared: format!("embedded: {} jobs/s", count(of(1, rate))),
        ratio: format!("{ratio:.2}"),
        bar: format!("≥ {} jobs/s and ≥ {RATIO_BAR}", count(RATE_BAR)),
        met: Some(of(0, rate) >= RATE_BAR && ratio >= RATIO_BAR),
    });
    let wire = |f: &dyn Fn(&Wire) -> f64| median(wires.iter().map(f));
    let [broker, worker, nats] = std::array::from_fn(|nth| time(wire(&|w| w.cpu_us[nth])));
    run.report.beside(format!(
        "{named}: answer p50 {}, p99 {} (embedded {}, {}); processor time per job: broker {broker}, worker {worker}, nats-server {nats} \
         (embedded {}); {:.1} messages to nats-server and {:.1} from it per job",
        time(of(0, |t| t.done.latencies.p50())),
        time(of(0, |t| t.done.latencies.p99())),
        time(of(1, |t| t.done.latencies.p50())),
        time(of(1, |t| t.done.latencies.p99())),
        time(of(1, |t| t.cpu_us)),
        wire(&|w| w.messages_in),
        wire(&|w| w.messages_out),
    ));
    Ok(())
}
