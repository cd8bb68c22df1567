//! A worker is told to stop in the middle of a job.

use std::time::{Duration, Instant};

use pullyard_tests::{Behaviour, Client, FakeModel, NatsServer, TestWorker, chat, until};
use rustix::process::Signal;
use serde_json::json;

use super::rig::{Rig, broker, content, joined, worker};

/// One that gives running attempts so long.
fn draining(name: &str, nats: &NatsServer, model: &FakeModel, patience: &str) -> TestWorker {
    TestWorker::start(name, &nats.url(), &format!("drain_timeout: {patience}\nbackends:\n{}", model.backend(name, "slots: 1")))
}

async fn mode(client: &Client, name: &str) -> String {
    let list = client.get("/v1/workers").await.expect(200).json();
    let worker = list["data"].as_array().unwrap().iter().find(|w| w["name"] == name).unwrap();
    worker["mode"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_ends_its_job_first() {
    let mut rig = Rig::start("slots: 1").await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::hold(2)]);
    let id = client.submit(&chat("m", "x")).await;
    client.job_in(&id, "running").await;
    rig.model.until("the attempt runs", |c| c.inside == 1).await;

    rig.worker.signal(Signal::TERM);
    until("the worker says so", async || (mode(&client, "w1").await == "draining").then_some(())).await;
    let waits = client.submit(&chat("m", "waits")).await;
    rig.model.release(1);

    assert!(rig.worker.exited().await.success());
    let exited = Instant::now();
    until("the card is down", async || (mode(&client, "w1").await == "gone").then_some(())).await;
    assert!(exited.elapsed() < Duration::from_secs(1), "the card was there for {:?}", exited.elapsed());
    assert_eq!(content(&client.ended(&id).await), "re x 1 2");
    assert_eq!(client.events(&id).await, ["submitted", "leased", "completed"]);
    assert_eq!(client.events(&waits).await, ["submitted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_outlasts_a_workers_drain_goes_back_and_is_not_charged_an_attempt() {
    let nats = NatsServer::start().await;
    let model = FakeModel::start().await;
    let broker = broker(&nats.url(), "").await;
    let mut first = draining("w1", &nats, &model, "300ms");
    let client = broker.client();
    joined(&client, &["w1"]).await;
    model.then([Behaviour::StallAfter(1)]);
    let mut body = chat("m", "x");
    body["max_attempts"] = json!(1);
    let id = client.submit(&body).await;
    client.job_in(&id, "running").await;
    model.until("the attempt runs", |c| c.inside == 1).await;
    let _second = worker("w2", &nats.url(), &model, "slots: 1");
    joined(&client, &["w1", "w2"]).await;

    assert!(first.terminate().await.success());

    let job = client.ended(&id).await;
    assert_eq!((content(&job), &job["attempts"]), ("re x 1 2", &json!(1)));
    assert_eq!(client.events(&id).await, ["submitted", "leased", "attempt_failed", "leased", "completed"]);
    assert_eq!((model.counts().seen, model.counts().gone), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_nats_is_gone_ends_all_the_same_and_says_what_it_could_not_report() {
    let mut nats = NatsServer::start().await;
    let model = FakeModel::start().await;
    let broker = broker(&nats.url(), "").await;
    let mut w1 = draining("w1", &nats, &model, "2s");
    let client = broker.client();
    joined(&client, &["w1"]).await;
    model.then([Behaviour::hold(2)]);
    let id = client.submit(&chat("m", "x")).await;
    client.job_in(&id, "running").await;
    model.until("the attempt runs", |c| c.inside == 1).await;
    nats.kill();
    model.release(1);
    model.until("the reply", |c| c.answered == 1).await;

    let told = Instant::now();
    let status = w1.terminate().await;

    assert!(told.elapsed() < Duration::from_secs(2 + 5), "it took {:?}", told.elapsed());
    assert!(status.success(), "{status}");
    assert!(w1.stderr().contains(&id), "it names the job:\n{}", w1.stderr());
    // Nothing is lost by it: the job is done elsewhere when there is an elsewhere.
    nats.start_again().await;
    let _second = worker("w2", &nats.url(), &model, "slots: 1");
    assert_eq!(content(&client.job_in(&id, "completed").await), "re x 1 2");
}
