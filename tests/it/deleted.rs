//! What is deleted is shown to nobody any more, whatever happens to the broker afterwards.

use pullyard_tests::{Behaviour, Client, FakeModel, QUICK, Reply, TestBroker, chat, until};
use reqwest::Method;
use serde_json::{Value, json};

const RESPONSES: &str = "/v1/responses";

async fn broker(model: &FakeModel) -> TestBroker {
    TestBroker::with(format!("{QUICK}backends:\n{}", model.backend("a", "slots: 1, breaker: {allowed_fails: 100}"))).await
}

async fn delete(client: &Client, path: &str) -> Reply {
    Reply::to(client.request(Method::DELETE, path)).await.unwrap()
}

async fn is_gone(client: &Client, id: &str) {
    for path in [format!("/v1/jobs/{id}"), format!("/v1/jobs/{id}/events"), format!("/v1/jobs/{id}/stream")] {
        client.get(&path).await.expect(404);
    }
    client.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await.expect(404);
    client.post(&format!("/v1/jobs/{id}/requeue"), &json!({})).await.expect(404);
    delete(client, &format!("/v1/jobs/{id}")).await.expect(404);
    assert!(client.all_jobs().await.iter().all(|job| job["id"] != id));
}

/// What all keys have used together.
async fn used(client: &Client) -> Value {
    client.get("/v1/usage").await.expect(200).json()["data"].clone()
}

fn files(broker: &TestBroker) -> usize {
    std::fs::read_dir(broker.data().join("blobs")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_job_is_gone_for_good_and_its_cost_stays() {
    let model = FakeModel::start().await;
    let mut broker = broker(&model).await;
    let client = broker.client();
    let once = async |client: &Client| client.post_once("/v1/jobs?wait=20s", &chat("m", "x"), "k").await.unwrap().expect(200).json();
    let first = once(&client).await;
    let kept = once(&client).await;
    assert_eq!(first["id"], kept["id"], "one key, one job");
    let id = first["id"].as_str().unwrap().to_owned();
    let usage = used(&client).await;

    let deleted = delete(&client, &format!("/v1/jobs/{id}")).await.expect(200).json();

    assert_eq!(deleted, json!({"id": id, "object": "job", "deleted": true}));
    is_gone(&client, &id).await;
    assert_eq!(used(&client).await, usage);
    // Its key is free again.
    let second = once(&client).await;
    assert_ne!(second["id"], id.as_str());
    // Neither a crash nor a read model that has to be made anew brings it back.
    broker.kill9();
    std::fs::remove_dir_all(broker.data().join("read")).unwrap();
    broker.start().await;
    let client = broker.client();
    is_gone(&client, &id).await;
    assert_eq!(once(&client).await["id"], second["id"]);
    assert_eq!(model.times("x"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_job_is_not_deleted_and_a_parked_one_is() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    model.then([Behaviour::hold(0)]);
    let id = client.submit(&chat("m", "x")).await;

    assert!(delete(&client, &format!("/v1/jobs/{id}")).await.expect(409).error().contains("cancelled first"));
    client.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await.expect(200);
    delete(&client, &format!("/v1/jobs/{id}")).await.expect(200);
    is_gone(&client, &id).await;

    model.from_now_on(Behaviour::status(400));
    let parked = client.submit(&chat("m", "y")).await;
    client.job_in(&parked, "parked").await;
    // Also when it has left the engine's memory.
    until("the read model has it", async || {
        Some(client.get("/v1/jobs?state=parked").await.json()).filter(|l| l["data"][0]["id"] == *parked)
    })
    .await;
    let out = broker.run(&["jobs", "delete", &parked]).await;
    assert_eq!(String::from_utf8_lossy(&out.stdout), format!("{parked} deleted\n"));
    is_gone(&client, &parked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_response_takes_its_files_with_it() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    let input = "x".repeat(400_000);

    let response = client.post(RESPONSES, &json!({"model": "m", "input": input})).await.expect(200).json();
    let id = response["id"].as_str().unwrap();
    assert!(files(&broker) > 0);
    // It is kept in a file, and gone on behind all the same.
    let next = json!({"model": "m", "input": "y", "previous_response_id": id});
    client.post(RESPONSES, &next).await.expect(200);
    assert_eq!(model.seen()[1].body["messages"][0]["content"], input);

    let before = files(&broker);
    let deleted = delete(&client, &format!("{RESPONSES}/{id}")).await.expect(200).json();
    assert_eq!(deleted, json!({"id": id, "object": "response", "deleted": true}));
    assert!(files(&broker) < before);
    client.get(&format!("{RESPONSES}/{id}")).await.expect(404);
    client.get(&format!("{RESPONSES}/{id}/input_items")).await.expect(404);
    client.post(RESPONSES, &next).await.expect(400);
    delete(&client, &format!("{RESPONSES}/{id}")).await.expect(404);
}
