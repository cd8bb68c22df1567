//! Everything breaks at any time, and what was promised is kept.
//!
//! A broker, a nats-server and three workers, each behind a network of its own, are killed, paused and cut off at random
//! while clients ask for jobs of all kinds. Then all faults end, and so must every job.
//!
//! - `site`: what there is.
//! - `asks`: what clients ask for; `clients`: how they do.
//! - `faults`: what breaks.
//! - `verdict`: what must be so in the end.

mod asks;
mod clients;
mod faults;
mod site;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pullyard_tests::seed;

use self::clients::{Pace, Told, load};
use self::faults::{Fault, Storm};
use self::site::Site;

/// How much of it.
#[derive(Clone, Copy, Debug)]
struct Scale {
    jobs: usize,
    /// Over which clients ask for them.
    over: Duration,
    /// The longest that something is paused or cut off.
    longest: Duration,
    /// Of a hundred replies, so many take seconds.
    slow: u8,
}

const SHORT: Scale = Scale { jobs: 1_080, over: Duration::from_secs(25), longest: Duration::from_secs(4), slow: 8 };
/// Some faults last longer than a worker may be silent before it is given up.
const LONG: Scale = Scale { jobs: 2_400, over: Duration::from_secs(90), longest: Duration::from_secs(12), slow: 20 };

const CLIENTS: usize = 40;
/// Within so long every job ends once nothing breaks any more.
const RECOVERY: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_every_job_ends_once_and_is_read_as_one_text() {
    let seed = seed("chaos");
    let rounds: Option<u64> = std::env::var("PULLYARD_ROUNDS").ok().and_then(|n| n.parse().ok());
    let scale = if rounds.is_some() { LONG } else { SHORT };
    for round in 0..rounds.unwrap_or(1) {
        let seed = seed.wrapping_add(round);
        println!("round {round}: PULLYARD_SEED={seed}");
        run(scale, fastrand::Rng::with_seed(seed)).await;
    }
}

async fn run(scale: Scale, mut dice: fastrand::Rng) {
    let begun = Instant::now();
    let mut site = Site::start(scale.slow, &mut dice).await;
    let told = Arc::new(Told::default());
    let storm = Storm::new(scale.longest);

    let pace = Pace { jobs: scale.jobs / CLIENTS, over: scale.over };
    let clients = (0..CLIENTS).map(|n| tokio::spawn(load(site.client.clone(), told.clone(), n, pace, dice.fork())));
    let clients: Vec<_> = clients.collect();
    let calm = async {
        tokio::time::sleep(scale.over).await;
        storm.end();
    };
    futures_util::join!(storm.rage(&mut site, dice.fork()), calm);

    let calm = Instant::now();
    site.models_are_well();
    let done = tokio::time::timeout(RECOVERY, join_all(clients)).await;
    let done = done.unwrap_or_else(|_| panic!("clients still wait, {RECOVERY:?} after the last fault: {:#?}", told.waiting()));
    done.into_iter().for_each(Result::unwrap);
    in_time("the end of every job", verdict::all_end(&site, calm + RECOVERY)).await;
    let recovered = calm.elapsed();
    let counts = in_time("the verdict", verdict::all_is_well(&mut site, &told)).await;
    println!("{counts}\n{storm}\nall had ended {recovered:?} after the last fault; {:?} in all", begun.elapsed());
    assert!(storm.count(Fault::Kill) > 0 && storm.count(Fault::Pause) > 0 && storm.count(Fault::Partition) > 0, "{storm}");
}

/// A broker that does not answer at all fails the test too.
async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(RECOVERY * 2, work).await.unwrap_or_else(|_| panic!("this never came: {what}"))
}
