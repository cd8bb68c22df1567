//! What nobody wants any more is not worked on.

use pullyard_tests::{Behaviour, Events, chat};
use serde_json::json;

use super::rig::{Rig, reads};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_ends_at_its_model_server() {
    let rig = Rig::start("slots: 1").await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::Hang]);
    let id = client.submit(&chat("m", "x")).await;
    client.job_in(&id, "running").await;
    rig.model.until("the attempt runs", |c| c.inside == 1).await;

    client.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await.expect(200);

    rig.model.until("the connection is closed", |c| c.gone == 1).await;
    let next = client.submit(&chat("m", "next")).await;
    client.job_in(&next, "completed").await;
    assert_eq!(client.job(&id).await["state"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_client_that_leaves_ends_its_attempt_elsewhere() {
    let rig = Rig::start("slots: 1").await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::StallAfter(2)]);
    let mut body = chat("m", "x");
    body["stream"] = json!(true);
    let mut events = Events::of(client.posting("/v1/chat/completions", &body)).await;
    let id = events.header("x-job-id").unwrap().to_owned();
    reads(&mut events, "re x 1").await;

    drop(events);

    rig.model.until("the connection is closed", |c| c.gone == 1).await;
    assert_eq!(client.ended(&id).await["state"], "cancelled");
}
