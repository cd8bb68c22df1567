//! Local workers first, the cloud past the bound, also over a network.

use std::time::{Duration, Instant};

use pullyard_tests::{Behaviour, FakeModel, NatsServer, TestBroker, TestWorker, chat, until};
use serde_json::json;

use super::rig::{broker, joined, worker};

struct Both {
    _nats: NatsServer,
    broker: TestBroker,
    home: TestWorker,
    _far: TestWorker,
    local: FakeModel,
    cloud: FakeModel,
}

/// A worker of ours whose one slot has a job, and one elsewhere.
async fn both(spill_after: &str) -> (Both, String) {
    let nats = NatsServer::start().await;
    let (local, cloud) = (FakeModel::start().await.usually(Behaviour::hold(0)), FakeModel::start().await);
    let broker = broker(&nats.url(), &format!("queue: {{spill_after: {spill_after}}}\n")).await;
    let home = worker("home", &nats.url(), &local, "slots: 1, local: true");
    let far = worker("far", &nats.url(), &cloud, "slots: 4, local: false");
    let client = broker.client();
    joined(&client, &["home", "far"]).await;
    let running = client.submit(&chat("m", "long")).await;
    assert_eq!(client.job_in(&running, "running").await["backend"], "home");
    (Both { _nats: nats, broker, home, _far: far, local, cloud }, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_worker_that_takes_nothing_does_not_hold_jobs_back() {
    let (both, running) = both("1s").await;
    let client = both.broker.client();
    let begun = Instant::now();
    let ids = [client.submit(&chat("m", "a")).await, client.submit(&chat("m", "b")).await];
    let mut private = chat("m", "private");
    private["scope"] = json!("local");
    let private = client.submit(&private).await;

    for id in &ids {
        assert_eq!(client.job_in(id, "completed").await["backend"], "far");
    }
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    both.local.release(10);
    for id in [&running, &private] {
        assert_eq!(client.job_in(id, "completed").await["backend"], "home");
    }
    assert_eq!((both.cloud.counts().seen, both.cloud.times("private")), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_local_worker_that_dies_goes_to_the_cloud() {
    let (mut both, running) = both("1h").await;
    let client = both.broker.client();
    let ids = [client.submit(&chat("m", "a")).await, client.submit(&chat("m", "b")).await];
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(both.cloud.counts().seen, 0);

    both.home.kill9();
    for id in ids.iter().chain([&running]) {
        assert_eq!(client.job_in(id, "completed").await["backend"], "far");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_worker_that_is_paused_leaves_the_work_to_the_cloud_until_it_goes_on() {
    let (both, running) = both("1h").await;
    let client = both.broker.client();
    let waiting = client.submit(&chat("m", "a")).await;
    let told = client.post("/v1/workers/home/pause", &json!({})).await.expect(200).json();
    assert_eq!(told["mode"], "paused");
    assert_eq!(client.job_in(&waiting, "completed").await["backend"], "far");
    assert_eq!(client.job(&running).await["state"], "running", "what runs goes on");

    both.local.from_now_on(Behaviour::after(0));
    both.local.release(1);
    client.job_in(&running, "completed").await;
    client.post("/v1/workers/home/resume", &json!({})).await.expect(200);
    until("a job at home again", async || {
        let id = client.submit(&chat("m", "x")).await;
        (client.job_in(&id, "completed").await["backend"] == "home").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_drain_ends_what_runs_and_then_itself() {
    let (mut both, running) = both("1h").await;
    let client = both.broker.client();
    let told = both.broker.run(&["worker", "drain", "home"]).await;
    assert_eq!(String::from_utf8_lossy(&told.stdout), "home draining\n");
    let later = client.submit(&chat("m", "later")).await;
    assert_eq!(client.job_in(&later, "completed").await["backend"], "far");
    assert_eq!(client.job(&running).await["state"], "running");

    both.local.release(1);
    assert_eq!(client.job_in(&running, "completed").await["backend"], "home");
    assert!(both.home.exited().await.success());
    let gone = until("its card is gone", async || {
        let list = client.get("/v1/workers").await.expect(200).json();
        list["data"].as_array().unwrap().iter().find(|w| w["name"] == "home" && w["mode"] == "gone").cloned()
    })
    .await;
    assert!(gone["why"].is_string(), "{gone}");
    assert!(client.post("/v1/workers/home/resume", &json!({})).await.expect(409).error().contains("is gone"));
    assert_eq!(client.events(&running).await, ["submitted", "leased", "completed"]);
}
