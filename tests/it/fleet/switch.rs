//! From one process to a fleet and back, on the same data.

use std::collections::BTreeMap;

use pullyard_tests::{Behaviour, Client, FakeModel, NatsServer, TestBroker, chat, until};
use serde_json::{Value, json};

use super::rig::{joined, worker};

/// As little patience as it takes to park what fails.
const RETRIES: &str = "retries: {max_attempts: 2, max_attempts_per_target: 2, backoff: 5ms, backoff_max: 5ms}\nlease: 2s\n";

/// What does not change any more, by job.
async fn at_rest(client: &Client) -> BTreeMap<String, Value> {
    let jobs = client.all_jobs().await.into_iter().filter(|job| job["state"] == "completed" || job["state"] == "parked");
    let mut rest = BTreeMap::new();
    for job in jobs {
        let id = job["id"].as_str().unwrap().to_owned();
        let mut shown = client.job(&id).await;
        // How long it has been there does.
        shown
            .as_object_mut()
            .unwrap()
            .retain(|field, _| ["state", "result", "error", "attempts", "usage", "cost_usd"].contains(&field.as_str()));
        rest.insert(id, shown);
    }
    rest
}

async fn usage(client: &Client) -> Value {
    client.get("/v1/usage?group_by=model,backend").await.expect(200).json()["data"].clone()
}

/// Starts the broker anew with this file.
async fn becomes(broker: &mut TestBroker, yaml: &str) -> Client {
    assert!(broker.terminate().await.success());
    std::fs::write(broker.config(), yaml).unwrap();
    broker.start().await;
    broker.client()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_machine_becomes_a_fleet_and_one_machine_again() {
    let (own, far) = (FakeModel::start().await, FakeModel::start().await);
    let nats = NatsServer::start().await;
    let embedded = format!("{RETRIES}drain_timeout: 100ms\nbackends:\n{}", own.backend("own", "slots: 1, breaker: {allowed_fails: 99}"));
    let remote = format!("{RETRIES}nats: {{servers: \"{}\"}}\n", nats.url());
    let mut broker = TestBroker::with(&embedded).await;
    let client = broker.client();
    let done = client.submit(&chat("m", "done")).await;
    client.ended(&done).await;
    own.then([Behaviour::status(500), Behaviour::status(500), Behaviour::Hang]);
    let parked = client.submit(&chat("m", "parked")).await;
    client.job_in(&parked, "parked").await;
    let running = client.submit(&chat("m", "running")).await;
    client.job_in(&running, "running").await;
    let waiting = client.submit(&chat("m", "waiting")).await;
    let before = at_rest(&client).await;
    assert_eq!(before.len(), 2);

    // To workers elsewhere alone.
    let client = becomes(&mut broker, &remote).await;
    let used = until("its own attempt's bill", async || Some(usage(&client).await).filter(|u| u[0]["attempts"] == 4)).await;
    assert_eq!((at_rest(&client).await, client.job(&waiting).await["state"].clone()), (before, "queued".into()));
    let worker = worker("w1", &nats.url(), &far, "slots: 1");
    joined(&client, &["w1"]).await;
    for id in [&running, &waiting] {
        assert_eq!(client.job_in(id, "completed").await["backend"], "w1");
    }
    client.post(&format!("/v1/jobs/{parked}/requeue"), &json!({})).await.expect(200);
    client.job_in(&parked, "completed").await;
    assert_eq!(far.counts().seen, 3);
    assert_eq!(usage(&client).await.as_array().unwrap().iter().find(|row| row["backend"] == "own"), used.get(0));

    // With backends of its own beside them.
    far.from_now_on(Behaviour::hold(0));
    let held = client.submit(&chat("m", "held")).await;
    client.job_in(&held, "running").await;
    let client = becomes(&mut broker, &format!("{remote}backends:\n{}", own.backend("own", "slots: 1"))).await;
    let here = client.submit(&chat("m", "here")).await;
    assert_eq!(client.job_in(&here, "completed").await["backend"], "own");
    assert_eq!(client.job(&held).await["state"], "running");

    // And back: what runs elsewhere is not waited for.
    let client = becomes(&mut broker, &embedded).await;
    assert_eq!(client.job_in(&held, "completed").await["backend"], "own");
    let rest = at_rest(&client).await;
    assert_eq!((rest.len(), rest.values().filter(|job| job["state"] == "completed").count()), (6, 6));
    assert_eq!(client.events(&done).await, ["submitted", "leased", "completed"]);
    drop(worker);
}
