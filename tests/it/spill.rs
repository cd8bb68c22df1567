//! One model on a local and on a cloud backend: the cloud is for what the local one cannot do in time.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pullyard_tests::{Behaviour, FakeModel, QUICK, TestBroker, chat, until};
use serde_json::json;

/// A local backend with one slot, a cloud one with four, and a broker in front of both.
async fn both(local: Behaviour, spill_after: &str) -> (FakeModel, FakeModel, TestBroker) {
    let (local, cloud) = (FakeModel::start().await.usually(local), FakeModel::start().await.usually(Behaviour::after(5)));
    let yaml = format!(
        "{QUICK}queue: {{spill_after: {spill_after}}}\nbackends:\n{}{}",
        local.backend("home", "local: true, slots: 1, breaker: {allowed_fails: 0, cooldown: 30s}"),
        cloud.backend("cloud", "local: false, slots: 4")
    );
    let broker = TestBroker::with(yaml).await;
    (local, cloud, broker)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_local_backend_does_in_time_costs_nothing() {
    let (local, cloud, broker) = both(Behaviour::after(20), "20s").await;
    let client = broker.client();
    let ids = join_all((0..12).map(|n| {
        let client = client.clone();
        async move { client.submit(&chat("m", &format!("{n}"))).await }
    }))
    .await;
    for id in &ids {
        assert_eq!(client.job_in(id, "completed").await["backend"], "home");
    }
    assert_eq!((local.counts().seen, local.counts().highest, cloud.counts().seen), (12, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_backend_that_takes_nothing_does_not_hold_jobs_back() {
    let (local, cloud, broker) = both(Behaviour::hold(0), "1s").await;
    let client = broker.client();
    let running = client.submit(&chat("m", "long")).await;
    client.job_in(&running, "running").await;

    let begun = Instant::now();
    let ids = [client.submit(&chat("m", "a")).await, client.submit(&chat("m", "b")).await];
    let mut private = chat("m", "private");
    private["scope"] = json!("local");
    let private = client.submit(&private).await;
    for id in &ids {
        assert_eq!(client.job_in(id, "completed").await["backend"], "cloud");
    }
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    assert_eq!(client.job(&private).await["state"], "queued");

    local.release(10);
    for id in [&running, &private] {
        assert_eq!(client.job_in(id, "completed").await["backend"], "home");
    }
    assert_eq!((cloud.counts().seen, cloud.times("private")), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_that_takes_too_long_is_shared_with_the_cloud() {
    let (local, cloud, broker) = both(Behaviour::after(200), "1s").await;
    let client = broker.client();
    // The pace is known from the first.
    client.post("/v1/chat/completions", &chat("m", "first")).await.expect(200);
    let ids = join_all((0..30).map(|n| {
        let client = client.clone();
        async move { client.submit(&chat("m", &format!("{n}"))).await }
    }))
    .await;
    for id in &ids {
        client.job_in(id, "completed").await;
    }
    // Five or so are what the local one does within a second.
    let (here, there) = (local.counts().seen - 1, cloud.counts().seen);
    assert!(here + there == 30 && (2..=12).contains(&here), "{here} here and {there} there");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_local_backend_that_lives_the_cloud_takes_all() {
    let (local, cloud, broker) = both(Behaviour::status(500), "60s").await;
    let client = broker.client();
    let begun = Instant::now();
    let ids = join_all((0..6).map(|n| {
        let client = client.clone();
        async move { client.submit(&chat("m", &format!("{n}"))).await }
    }))
    .await;
    for id in &ids {
        assert_eq!(client.job_in(id, "completed").await["backend"], "cloud");
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!((local.counts().seen, cloud.counts().seen), (1, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_patience_both_take_what_they_can() {
    let (local, cloud, broker) = both(Behaviour::hold(0), "0s").await;
    cloud.from_now_on(Behaviour::hold(0));
    let client = broker.client();
    for n in 0..3 {
        client.submit(&chat("m", &format!("{n}"))).await;
    }
    until("all at work", async || (local.counts().seen + cloud.counts().seen == 3).then_some(())).await;
    assert!(cloud.counts().seen >= 2);
}
