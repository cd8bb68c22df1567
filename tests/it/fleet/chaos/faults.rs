//! What breaks: each process and each way to NATS has a fate of its own.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use pullyard_tests::{ChaosProxy, NatsServer, TestBroker, TestWorker};
use rustix::process::Signal;
use tokio::sync::watch;

use super::site::Site;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Kill,
    Pause,
    /// Told to stop, and started again.
    Stop,
    Wipe,
    Partition,
    Delay,
    /// A worker that could not join had ended by itself.
    Gave,
}

const FAULTS: [(Fault, &str); 7] = [
    (Fault::Kill, "kills"),
    (Fault::Pause, "pauses"),
    (Fault::Stop, "stops"),
    (Fault::Wipe, "wiped stores"),
    (Fault::Partition, "partitions"),
    (Fault::Delay, "delays"),
    (Fault::Gave, "workers that gave up"),
];

/// Rages until it is ended; then everything is there and well.
#[derive(Debug)]
pub(super) struct Storm {
    longest: Duration,
    calm: watch::Sender<bool>,
    counts: [AtomicUsize; FAULTS.len()],
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> = FAULTS.iter().map(|(fault, name)| format!("{} {name}", self.count(*fault))).collect();
        f.write_str(&told.join(", "))
    }
}

impl Storm {
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, calm: watch::Sender::new(false), counts: Default::default() }
    }

    pub(super) fn end(&self) {
        self.calm.send_replace(true);
    }

    pub(super) fn count(&self, fault: Fault) -> usize {
        self.counts[fault as usize].load(Ordering::Relaxed)
    }

    pub(super) async fn rage(&self, site: &mut Site, mut dice: fastrand::Rng) {
        let Site { nats, broker, workers, ways, .. } = site;
        let mut fate = || Fate { storm: self, calm: self.calm.subscribe(), dice: dice.fork() };
        let on_nats = nats_breaks(nats, fate());
        let on_broker = broker_breaks(broker, fate());
        let on_workers: Vec<_> = workers.iter_mut().map(|worker| worker_breaks(worker, fate())).collect();
        let on_ways: Vec<_> = ways.iter().map(|way| way_breaks(way, fate())).collect();
        futures_util::join!(on_nats, on_broker, join_all(on_workers), join_all(on_ways));
    }
}

struct Fate<'a> {
    storm: &'a Storm,
    calm: watch::Receiver<bool>,
    dice: fastrand::Rng,
}

impl Fate<'_> {
    /// Waits for the next fault; `false` when there is none any more.
    async fn strikes(&mut self, after_ms: Range<u64>) -> bool {
        let after = Duration::from_millis(self.dice.u64(after_ms));
        self.passes(after).await;
        !*self.calm.borrow()
    }

    /// As long as a fault lasts: mostly short.
    async fn lasts(&mut self) {
        let shortest = Duration::from_millis(200);
        let long = (self.storm.longest - shortest).mul_f64(self.dice.f64().powi(2));
        self.passes(shortest + long).await;
    }

    async fn a_moment(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.dice.u64(0..300))).await;
    }

    async fn passes(&mut self, time: Duration) {
        let _ = tokio::time::timeout(time, self.calm.wait_for(|calm| *calm)).await;
    }

    fn count(&self, fault: Fault) {
        self.storm.counts[fault as usize].fetch_add(1, Ordering::Relaxed);
    }
}

async fn broker_breaks(broker: &mut TestBroker, mut fate: Fate<'_>) {
    while fate.strikes(2_000..8_000).await {
        match fate.dice.u8(0..10) {
            0..5 => {
                fate.count(Fault::Kill);
                broker.kill9();
                fate.a_moment().await;
                broker.start().await;
            }
            5..9 => {
                fate.count(Fault::Pause);
                broker.signal(Signal::STOP);
                fate.lasts().await;
                broker.signal(Signal::CONT);
            }
            _ => {
                fate.count(Fault::Stop);
                broker.terminate().await;
                broker.start().await;
            }
        }
    }
}

async fn nats_breaks(nats: &mut NatsServer, mut fate: Fate<'_>) {
    while fate.strikes(3_000..10_000).await {
        match fate.dice.u8(0..10) {
            0..3 => {
                fate.count(Fault::Kill);
                nats.restart().await;
            }
            3..5 => {
                fate.count(Fault::Kill);
                nats.kill();
                fate.lasts().await;
                nats.start_again().await;
            }
            5..8 => {
                fate.count(Fault::Pause);
                nats.pause();
                fate.lasts().await;
                nats.resume();
            }
            _ => {
                fate.count(Fault::Wipe);
                nats.wipe().await;
            }
        }
    }
}

async fn worker_breaks(worker: &mut TestWorker, mut fate: Fate<'_>) {
    let name = worker.name().to_owned();
    while fate.strikes(1_500..7_000).await {
        revive(worker, &fate);
        match fate.dice.u8(0..10) {
            kill @ 0..5 => {
                fate.count(Fault::Kill);
                worker.kill9();
                fate.a_moment().await;
                if kill == 0 {
                    worker.rename(&format!("{name}-{}", fate.dice.u16(..)));
                }
                worker.start_again();
            }
            5..8 => {
                fate.count(Fault::Pause);
                worker.signal(Signal::STOP);
                fate.lasts().await;
                worker.signal(Signal::CONT);
            }
            _ => {
                fate.count(Fault::Stop);
                worker.terminate().await;
                worker.start_again();
            }
        }
    }
    revive(worker, &fate);
}

/// As whatever looks after services would.
fn revive(worker: &mut TestWorker, fate: &Fate<'_>) {
    if worker.ended().is_some() {
        fate.count(Fault::Gave);
        worker.start_again();
    }
}

async fn way_breaks(way: &ChaosProxy, mut fate: Fate<'_>) {
    while fate.strikes(2_000..9_000).await {
        match fate.dice.u8(0..6) {
            0..2 => {
                fate.count(Fault::Partition);
                way.cut();
            }
            2..4 => {
                fate.count(Fault::Partition);
                way.blackhole();
            }
            _ => {
                fate.count(Fault::Delay);
                way.delay(Duration::from_millis(fate.dice.u64(2..150)));
            }
        }
        fate.lasts().await;
        way.heal();
    }
}
