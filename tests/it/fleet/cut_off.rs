//! A worker is cut off and works on for nobody.

use pullyard_tests::{Behaviour, ChaosProxy, FakeModel, NatsServer, TestBroker, TestWorker, chat, until};
use serde_json::{Value, json};

use super::rig::{broker, content, happened, joined, worker};

/// Two workers, each with a model server of its own; a bad network is between the first and NATS.
struct Split {
    _nats: NatsServer,
    network: ChaosProxy,
    broker: TestBroker,
    cut_off: TestWorker,
    near: TestWorker,
    models: [FakeModel; 2],
}

impl Split {
    /// With a job that runs at the worker that is to be cut off; it holds behind its second token.
    async fn start() -> (Self, String) {
        let nats = NatsServer::start().await;
        let network = ChaosProxy::start(nats.address()).await;
        let models = [FakeModel::start().await, FakeModel::start().await];
        let broker = broker(&nats.url(), "").await;
        let cut_off = worker("far", &format!("nats://{}", network.addr()), &models[0], "slots: 1");
        joined(&broker.client(), &["far"]).await;
        models[0].then([Behaviour::hold(2)]);
        let id = broker.client().submit(&chat("m", "x")).await;
        broker.client().job_in(&id, "running").await;
        let near = worker("near", &nats.url(), &models[1], "slots: 1");
        joined(&broker.client(), &["far", "near"]).await;
        (Self { _nats: nats, network, broker, cut_off, near, models }, id)
    }
}

/// Prompt and completion tokens of all attempts that are billed.
async fn billed(broker: &TestBroker, attempts: u64) -> Value {
    until("the bills", async || {
        let usage = broker.client().get("/v1/usage?group_by=backend").await.expect(200).json();
        let seen: u64 = usage["data"].as_array().unwrap().iter().map(|row| row["attempts"].as_u64().unwrap()).sum();
        (seen == attempts).then(|| usage["data"].clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_late_result_of_a_worker_that_was_cut_off_is_billed_and_changes_nothing() {
    let (mut split, id) = Split::start().await;
    let client = split.broker.client();
    split.network.blackhole();
    let job = client.job_in(&id, "completed").await;
    assert_eq!(content(&job), "re x 1 2");
    split.models[0].release(1);
    split.models[0].until("the late result", |c| c.answered == 1).await;

    split.network.heal();

    happened(&client, &id, "accounted", 1).await;
    assert_eq!(client.events(&id).await, ["submitted", "leased", "lease_lost", "leased", "completed", "accounted"]);
    let after = client.job(&id).await;
    assert_eq!((&after["state"], &after["result"], &after["attempts"]), (&json!("completed"), &job["result"], &json!(2)));
    let bills = billed(&split.broker, 2).await;
    let of = |backend: &str| bills.as_array().unwrap().iter().find(|row| row["backend"] == backend).unwrap()["completion_tokens"].clone();
    assert_eq!((of("far"), of("near")), (json!(3), json!(3)), "{bills}");
    // It is a worker like any other.
    assert!(split.near.terminate().await.success());
    let next = client.submit(&chat("m", "next")).await;
    assert_eq!(content(&client.job_in(&next, "completed").await), "re next 1 2");
    assert_eq!(split.models[0].times("next"), 1);
    assert!(split.cut_off.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_missed_the_cancelling_of_its_job_is_told_again() {
    let (split, id) = Split::start().await;
    let client = split.broker.client();
    // What is said to nobody is gone, and does not come later as it would out of a black hole.
    split.network.cut();
    split.network.until("nobody is connected", |c| c.live == 0).await;
    client.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await.expect(200);
    assert_eq!(client.job(&id).await["state"], "cancelled");
    assert_eq!(split.models[0].counts().gone, 0);

    split.network.heal();

    split.models[0].until("the connection is closed", |c| c.gone == 1).await;
    happened(&client, &id, "accounted", 1).await;
    let next = [client.submit(&chat("m", "next")).await, client.submit(&chat("m", "next")).await];
    for id in next {
        client.job_in(&id, "completed").await;
    }
}
