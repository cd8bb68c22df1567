//! Batch jobs and their hours, with a clock that the test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pullyard_schemas::work::Report;
use pullyard_schemas::{Band, JobId, Lane, Timestamp};
use pullyard_worker::transport::{Delivery, Place, WorkerEnd};

use super::tests::{Rig, charge, lane, new_job, report, rig_with};
use super::*;
use crate::core::batch_hours::{BatchHours, Outside};
use crate::core::decide::Policy;
use crate::core::hours::Window;
use crate::core::schedule;

const HOUR: Duration = Duration::from_secs(3600);

/// A clock that stands until it is set.
macro_rules! clock {
    ($name:ident) => {
        static $name: AtomicU64 = AtomicU64::new(0);
        fn now() -> Timestamp {
            Timestamp($name.load(Ordering::SeqCst))
        }
    };
}

fn at(instant: &str) -> u64 {
    instant.parse::<jiff::Timestamp>().unwrap().as_millisecond().try_into().unwrap()
}

fn night(outside: Outside, keep_free: usize) -> schedule::Options {
    let windows = vec![Window::parse("22:00-07:00 Europe/Berlin").unwrap()];
    schedule::Options { age_after: Some(HOUR / 6), batch: BatchHours { windows, outside, keep_free }, ..Default::default() }
}

fn slots(names: &[&str], slots: usize) -> Vec<(Lane, Capacity)> {
    names.iter().map(|name| (lane(name), Capacity { slots, alive: true })).collect()
}

async fn submit(rig: &Rig, target: &str, band: Band) -> JobId {
    let mut new = new_job(&[target]);
    Arc::make_mut(&mut new.spec).band = band;
    rig.handle.submit(new).await.unwrap().view.job.id
}

async fn pull(rig: &Rig, names: &[&str], n: usize) -> Vec<Box<dyn Delivery>> {
    // The turn that follows an input fills the lanes, and the answer to the next one comes after it.
    rig.handle.stats().await;
    rig.handle.stats().await;
    let places: Vec<Place> = names.iter().map(|name| Place { lane: lane(name), rank: 0 }).collect();
    rig.transport.pull(&places, n, Duration::ZERO).await
}

fn jobs(deliveries: &[Box<dyn Delivery>]) -> Vec<JobId> {
    deliveries.iter().map(|delivery| delivery.offer().job).collect()
}

async fn start(rig: &Rig, delivery: &dyn Delivery) {
    report(rig, delivery, Report::Started { backend: "b".into(), model: "m".into() }).await;
    rig.handle.stats().await;
}

async fn expected(rig: &Rig, job: JobId) -> Option<Duration> {
    rig.handle.get(job).await.unwrap().expected_start
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_its_window_and_people_do_not() {
    clock!(NOW);
    NOW.store(at("2026-03-28T20:00:00Z"), Ordering::SeqCst);
    let rig = rig_with(now, night(Outside::Wait, 0));
    rig.handle.capacity(slots(&["a"], 2));
    let batch = submit(&rig, "a", Band::Batch).await;
    let person = submit(&rig, "a", Band::Normal).await;

    let begun = pull(&rig, &["a"], 2).await;
    assert_eq!(jobs(&begun), [person]);
    start(&rig, &*begun[0]).await;
    assert_eq!(expected(&rig, batch).await, Some(HOUR));

    NOW.store(at("2026-03-28T21:00:00Z"), Ordering::SeqCst);
    assert_eq!(jobs(&pull(&rig, &["a"], 2).await), [batch]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_begun_when_the_window_closes_is_taken_back() {
    clock!(NOW);
    NOW.store(at("2026-03-29T04:59:00Z"), Ordering::SeqCst);
    let rig = rig_with(now, night(Outside::Wait, 0));
    rig.handle.capacity(slots(&["a"], 2));
    let [one, two] = [submit(&rig, "a", Band::Batch).await, submit(&rig, "a", Band::Batch).await];
    let mut begun = pull(&rig, &["a"], 1).await;
    assert_eq!(jobs(&begun), [one]);
    start(&rig, &*begun[0]).await;

    // Seven o'clock, an hour earlier than the day before.
    NOW.store(at("2026-03-29T05:00:00Z"), Ordering::SeqCst);
    assert_eq!(jobs(&pull(&rig, &["a"], 2).await), []);
    let view = rig.handle.get(two).await.unwrap();
    assert_eq!((view.job.state.name(), view.ahead, view.expected_start), ("queued", Some(0), Some(15 * HOUR)));

    // What runs may end, and is not followed by another.
    let begun = begun.pop().unwrap();
    report(&rig, &*begun, Report::Completed { charge: charge(), finish: None }).await;
    begun.settle();
    assert_eq!(jobs(&pull(&rig, &["a"], 2).await), []);
    assert_eq!(rig.handle.get(one).await.unwrap().job.state.name(), "completed");
    NOW.store(at("2026-03-29T20:00:00Z"), Ordering::SeqCst);
    assert_eq!(jobs(&pull(&rig, &["a"], 2).await), [two]);
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_its_window_a_batch_has_what_is_idle_on_all_that_the_server_does() {
    clock!(NOW);
    NOW.store(at("2026-06-01T12:00:00Z"), Ordering::SeqCst);
    let rig = rig_with(now, night(Outside::Idle, 1));
    // One server with four slots and two models.
    let both: Arc<[Lane]> = [lane("a"), lane("b")].into();
    rig.handle.beside([lane("a"), lane("b")].into_iter().map(|lane| (lane, both.clone())).collect());
    rig.handle.capacity(slots(&["a", "b"], 4));
    let mut batch = Vec::new();
    for n in 0..6 {
        batch.push(submit(&rig, if n % 2 == 0 { "a" } else { "b" }, Band::Batch).await);
    }
    let begun = pull(&rig, &["a", "b"], 1).await;
    start(&rig, &*begun[0]).await;
    assert_eq!(rig.handle.stats().await.unwrap().lanes.iter().map(|lane| lane.offered + lane.running).sum::<usize>(), 3);

    assert_eq!(expected(&rig, batch[2]).await, Some(Duration::ZERO), "it is offered");

    // A person comes, on the other model: the newest offer makes room for the next one.
    let person = submit(&rig, "b", Band::Interactive).await;
    rig.handle.stats().await;
    assert_eq!(rig.handle.stats().await.unwrap().lanes.iter().map(|lane| lane.offered + lane.running).sum::<usize>(), 3);
    let next = pull(&rig, &["a", "b"], 8).await;
    assert_eq!((next.len(), next[0].offer().job), (2, person));
    // As late as this; a slot may be idle before.
    assert_eq!(expected(&rig, *batch.last().unwrap()).await, Some(8 * HOUR));

    // At night it has everything.
    NOW.store(at("2026-06-01T20:00:00Z"), Ordering::SeqCst);
    assert!(pull(&rig, &["a", "b"], 8).await.len() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_next_at_night_too_however_long_the_batch_has_waited() {
    clock!(NOW);
    NOW.store(at("2026-06-01T12:00:00Z"), Ordering::SeqCst);
    let rig = rig_with(now, night(Outside::Wait, 0));
    rig.handle.capacity(slots(&["a"], 1));
    for _ in 0..3 {
        submit(&rig, "a", Band::Batch).await;
    }
    NOW.store(at("2026-06-01T23:00:00Z"), Ordering::SeqCst);
    assert_eq!(rig.handle.stats().await.unwrap().lanes[0].waiting, 3);
    let person = submit(&rig, "a", Band::Interactive).await;
    for turn in 0..3 {
        let next = pull(&rig, &["a"], 1).await.pop().unwrap();
        assert_eq!(next.offer().job == person, turn == 0);
        start(&rig, &*next).await;
        report(&rig, &*next, Report::Completed { charge: charge(), finish: None }).await;
        next.settle();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_begin_before_a_time_begins_in_the_window_after_it() {
    clock!(NOW);
    NOW.store(at("2026-06-01T12:00:00Z"), Ordering::SeqCst);
    let rig = rig_with(now, night(Outside::Wait, 0));
    rig.handle.capacity(slots(&["a"], 1));
    let later = async |band, instant: &str| {
        let mut new = new_job(&["a"]);
        let spec = Arc::make_mut(&mut new.spec);
        (spec.band, spec.not_before) = (band, Some(Timestamp(at(instant))));
        let view = rig.handle.submit(new).await.unwrap().view;
        assert_eq!(view.ahead, None);
        view.expected_start
    };
    assert_eq!(later(Band::Normal, "2026-06-01T13:00:00Z").await, Some(HOUR));
    assert_eq!(later(Band::Batch, "2026-06-01T13:00:00Z").await, Some(8 * HOUR));
    assert_eq!(later(Band::Batch, "2026-06-01T21:00:00Z").await, Some(9 * HOUR));
    assert_eq!(later(Band::Batch, "2026-06-02T05:00:00Z").await, Some(32 * HOUR));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_windows_count_at_once() {
    clock!(NOW);
    NOW.store(at("2026-06-01T12:00:00Z"), Ordering::SeqCst);
    let rig = rig_with(now, night(Outside::Wait, 0));
    rig.handle.capacity(slots(&["a"], 1));
    let batch = submit(&rig, "a", Band::Batch).await;
    assert_eq!(jobs(&pull(&rig, &["a"], 1).await), []);

    rig.handle.configure(Policy::default(), schedule::Options::default());
    assert_eq!(jobs(&pull(&rig, &["a"], 1).await), [batch]);
}
