//! The runner, with a clock that the test sets.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;

/// A broker that takes what it is given, or refuses.
#[derive(Debug, Default)]
struct Broker {
    submitted: Mutex<Vec<(String, Timestamp)>>,
    live: Mutex<HashSet<JobId>>,
    refuses: Mutex<Option<Unfired>>,
}

impl Submit for Broker {
    fn submit(&self, recurring: Arc<Recurring>, at: Timestamp) -> Soon<Result<JobId, Unfired>> {
        let answer = self.refuses.lock().unwrap().clone().map_or_else(|| Ok(JobId::new()), Err);
        if let Ok(job) = &answer {
            self.submitted.lock().unwrap().push((recurring.name.to_string(), at));
            self.live.lock().unwrap().insert(*job);
        }
        Box::pin(std::future::ready(answer))
    }

    fn is_live(&self, job: JobId) -> Soon<bool> {
        Box::pin(std::future::ready(self.live.lock().unwrap().contains(&job)))
    }
}

impl Broker {
    fn fired(&self) -> Vec<String> {
        self.submitted.lock().unwrap().iter().map(|(name, at)| format!("{name} {}", iso(*at))).collect()
    }

    fn end_all(&self) {
        self.live.lock().unwrap().clear();
    }
}

fn at(instant: &str) -> u64 {
    instant.parse::<jiff::Timestamp>().unwrap().as_millisecond().try_into().unwrap()
}

fn iso(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0.try_into().unwrap()).unwrap().to_string()
}

fn nightly(cron: &str, missed: Missed, overlap: Overlap) -> Recurring {
    let (cron, zone) = (Cron::parse(cron).unwrap(), TimeZone::get("Europe/Berlin").unwrap());
    Recurring { name: "nightly".into(), cron, zone, request: Bytes::new(), key: None, missed, overlap }
}

async fn until(schedules: &Schedules, what: &str, is: impl Fn(&Shown) -> bool) -> Shown {
    let wait = async {
        loop {
            if let Some(shown) = schedules.shown().into_iter().find(|shown| is(shown)) {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("this never came: {what}, {:?}", schedules.shown()))
}

/// Sets the clock, and wakes the runner as its timer would.
async fn pass(schedules: &Schedules, now: &AtomicU64, to: &str, list: &[Recurring]) -> Shown {
    now.store(at(to), Ordering::SeqCst);
    schedules.configure(list.to_vec());
    until(schedules, to, |shown| shown.next.is_some_and(|next| next.0 > at(to))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fires_once_at_each_time_and_not_while_the_job_before_runs() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.store(at("2026-11-21T12:00:00Z"), Ordering::SeqCst);
    let dir = tempfile::tempdir().unwrap();
    let list = [nightly("0 22 * * *", Missed::Skip, Overlap::Skip)];
    let (schedules, runner) = Schedules::new(dir.path().join("s.json"), list.to_vec(), || Timestamp(NOW.load(Ordering::SeqCst)));
    let broker = Arc::new(Broker::default());
    runner.start(broker.clone());

    let first = until(&schedules, "the first", |shown| shown.next.is_some()).await;
    assert_eq!((first.next.map(iso).as_deref(), first.last), (Some("2026-11-21T21:00:00Z"), None));
    let fired = pass(&schedules, &NOW, "2026-11-21T21:00:01Z", &list).await.last.unwrap();
    assert!(fired.error.is_none() && fired.job.is_some());
    let skipped = pass(&schedules, &NOW, "2026-11-22T21:00:01Z", &list).await.last.unwrap();
    assert_eq!((skipped.error.as_deref(), skipped.job), (Some("the job before it has not ended"), fired.job));
    broker.end_all();
    pass(&schedules, &NOW, "2026-11-23T21:00:01Z", &list).await;
    assert_eq!(broker.fired(), ["nightly 2026-11-21T21:00:00Z", "nightly 2026-11-23T21:00:00Z"]);

    // What is queued overlaps, and what is refused is told.
    let list = [nightly("0 22 * * *", Missed::Skip, Overlap::Queue)];
    pass(&schedules, &NOW, "2026-11-24T21:00:01Z", &list).await;
    assert_eq!(broker.fired().len(), 3);
    *broker.refuses.lock().unwrap() = Some(Unfired::Refused("the queue is full".into()));
    let refused = pass(&schedules, &NOW, "2026-11-25T21:00:01Z", &list).await.last.unwrap();
    assert_eq!((refused.error.as_deref(), iso(refused.at)), (Some("the queue is full"), "2026-11-25T21:00:00Z".to_owned()));
    assert_eq!(schedules.counts(), Counts { fired: 3, skipped: 1, failed: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_skipped_or_made_up_for_once() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    for (missed, fired) in [(Missed::Skip, &[][..]), (Missed::RunOnce, &["nightly 2026-11-24T21:00:00Z"])] {
        let dir = tempfile::tempdir().unwrap();
        let list = [nightly("0 22 * * *", missed, Overlap::Skip)];
        let open = || Schedules::new(dir.path().join("s.json"), list.to_vec(), || Timestamp(NOW.load(Ordering::SeqCst)));
        NOW.store(at("2026-11-21T12:00:00Z"), Ordering::SeqCst);
        {
            let (schedules, runner) = open();
            runner.start(Arc::new(Broker::default()));
            until(&schedules, "the first", |shown| shown.next.is_some()).await;
            // Written behind what is shown.
            while !dir.path().join("s.json").exists() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        // Four days later, in the middle of the day.
        NOW.store(at("2026-11-25T12:00:00Z"), Ordering::SeqCst);
        let broker = Arc::new(Broker::default());
        let (schedules, runner) = open();
        runner.start(broker.clone());
        let shown = until(&schedules, "the next", |shown| shown.last.is_some()).await;
        assert_eq!(
            (broker.fired(), shown.next.map(iso).as_deref()),
            (fired.iter().map(|f| (*f).to_owned()).collect(), Some("2026-11-25T21:00:00Z"))
        );
        assert_eq!(shown.last.unwrap().error.is_some(), missed == Missed::Skip);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_leaves_it_to_the_next_start_and_new_times_count_from_now() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.store(at("2026-11-21T12:00:00Z"), Ordering::SeqCst);
    let dir = tempfile::tempdir().unwrap();
    let list = [nightly("0 22 * * *", Missed::RunOnce, Overlap::Skip)];
    let open = || Schedules::new(dir.path().join("s.json"), list.to_vec(), || Timestamp(NOW.load(Ordering::SeqCst)));
    let stopping = Arc::new(Broker::default());
    *stopping.refuses.lock().unwrap() = Some(Unfired::Stopping);
    {
        let (schedules, runner) = open();
        runner.start(stopping);
        let shown = until(&schedules, "the first", |shown| shown.next.is_some()).await;
        NOW.store(at("2026-11-21T21:00:01Z"), Ordering::SeqCst);
        schedules.configure(list.to_vec());
        schedules.lists_closed().await;
        assert_eq!(shown.last, None);
    }
    let broker = Arc::new(Broker::default());
    let (schedules, runner) = open();
    runner.start(broker.clone());
    until(&schedules, "the firing", |shown| shown.last.as_ref().is_some_and(|last| last.job.is_some())).await;
    assert_eq!(broker.fired(), ["nightly 2026-11-21T21:00:00Z"]);

    schedules.configure(vec![nightly("0 8 * * *", Missed::RunOnce, Overlap::Skip)]);
    let changed = until(&schedules, "the change", |shown| shown.cron == "0 8 * * *").await;
    assert_eq!((changed.next.map(iso).as_deref(), broker.fired().len()), (Some("2026-11-22T07:00:00Z"), 1));
    schedules.configure(Vec::new());
    while !schedules.shown().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
