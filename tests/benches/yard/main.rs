//! Pullyard's own bench: what the broker costs beside the least that could do the same, all in one run.
//!
//! ```sh
//! cargo bench -p pullyard-tests                        # everything, about ten minutes; writes BENCHMARKS.md
//! cargo bench -p pullyard-tests -- --quick             # everything, shorter and rougher; writes nothing
//! cargo bench -p pullyard-tests -- shim streams        # only what has one of these in its name; writes nothing
//! cargo bench -p pullyard-tests -- --add fleet         # only this, at the end of BENCHMARKS.md
//! cargo bench -p pullyard-tests -- --list
//! ```
//!
//! The program under test is built with it, in release mode, and is configured as an operator would: by a file. The load
//! generator is in this process. Everything else is a process of its own (this program again, in another role), so that the
//! kernel tells what each costs: the broker, the model server ([`mock`]), and what the broker is held against, a bare axum
//! handler ([`bare`]) and an axum + reqwest proxy ([`passthrough`]). A fleet ([`fleet`]) is three: a broker, a worker, and a
//! NATS server between them.
//!
//! - What is compared takes turns (A B, B A, …) in short rounds, and medians are taken over the rounds: a busy machine disturbs
//!   a round and not the figure.
//! - Before a turn ends, the target must have come to rest, and its processor time is read only then: work that it has put off
//!   counts as its own.
//! - Every answer is checked for its status, every stream for its tokens and its end. A measurement in which one fails has no
//!   figure.
//! - Tokens carry the time at which they were sent. How uneven the mock is does therefore not count, and what the load
//!   generator itself adds is measured with a direct connection in the same round.
//! - The data folder is in cargo's build folder, because the usual one for temporary files may be in memory.
//!
//! Each file in `measure` is one measurement and says what its bar is on.

mod bare;
mod batches;
mod broker;
mod child;
mod fleet;
mod load;
mod machine;
mod measure;
mod mock;
mod nats;
mod passthrough;
mod report;
mod stats;
mod stream;
mod wire;

use std::path::Path;
use std::process::ExitCode;

use report::Report;

/// What a measurement is given.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// Few and short rounds, fewer jobs.
    quick: bool,
    /// On the disk that is measured.
    folder: &'a Path,
    report: Report,
}

impl Run<'_> {
    /// One of two values, by how thorough the run is.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// The share of the machine that others may take before figures say little.
const QUIET: f64 = 0.1;

fn main() -> ExitCode {
    let done = match std::env::var(child::ROLE) {
        Ok(role) => act(&role),
        Err(_) => bench(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Another part of the bench, for as long as the process that started it lives.
fn act(role: &str) -> anyhow::Result<ExitCode> {
    child::die_with_parent()?;
    let argument = std::env::args().nth(1).unwrap_or_default();
    // The broker's runtime has as many threads as there are cores, and so have those that it is held against.
    let mut runtime = match role {
        "mock" => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    match role {
        "program" => return Err(child::become_program()),
        "mock" => runtime.block_on(mock::serve(&argument))?,
        "bare" => runtime.block_on(bare::serve())?,
        "passthrough" => runtime.block_on(passthrough::serve(&argument))?,
        other => anyhow::bail!("there is no role {other:?}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn bench() -> anyhow::Result<ExitCode> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--bench") {
        // It comes from cargo, and who stops cargo means all of this.
        child::die_with_parent()?;
        arguments.retain(|a| a != "--bench");
    }
    let (flags, names): (Vec<&str>, Vec<&str>) = arguments.iter().map(String::as_str).partition(|a| a.starts_with('-'));
    let quick = flags.contains(&"--quick");
    if let Some(unknown) = flags.iter().find(|f| !["--quick", "--list", "--add"].contains(f)) {
        anyhow::bail!("{unknown} is not known; there are --quick, --list, --add and the names of measurements");
    }
    let chosen = measure::ALL.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| name.contains(n)));
    if flags.contains(&"--list") {
        chosen.for_each(|(name, _)| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    broker::clean()?;
    let folder = broker::folder()?;
    let mut conditions = machine::conditions(folder.path())?;
    if chosen.clone().any(|(name, _)| name.starts_with("fleet")) {
        conditions.push(("NATS", nats::conditions()?));
    }
    conditions.iter().for_each(|(name, value)| println!("{name}: {value}"));
    let mut run = Run { quick, folder: folder.path(), report: Report::default() };
    let used = machine::Used::now()?;
    for (name, measure) in chosen {
        println!("\n== {name}");
        if let Err(error) = measure(&mut run) {
            run.report.failed(name, &error);
        }
    }
    let share = used.by_others()?;
    let others = format!("{:.0} % of the cores' time", share * 100.0);
    run.report.doubt = (share > QUIET).then(|| format!("others took {others} during the run, and at most {:.0} % is quiet", QUIET * 100.0));
    println!("\ntaken by others during the run: {others}");
    conditions.push(("taken by others during the run", others));
    run.report.print();
    if !quick && names.is_empty() {
        println!("written: {}", run.report.write(&conditions)?.display());
    }
    if !quick && flags.contains(&"--add") {
        println!("written: {}", run.report.add(&names.join(" "), &conditions)?.display());
    }
    Ok(if run.report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
