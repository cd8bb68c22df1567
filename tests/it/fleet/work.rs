//! Work gets done, as it does in one process.

use pullyard_tests::{Answer, Behaviour, Events, chat};
use serde_json::json;

use super::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_at_a_worker_elsewhere() {
    let rig = Rig::start("slots: 2").await;
    let client = rig.broker.client();
    let whole = client.post("/v1/chat/completions", &chat("m", "hello")).await.expect(200);
    assert_eq!(whole.content(), "re hello 1 2");
    let id = client.submit(&chat("m", "polled")).await;
    let job = client.job_in(&id, "completed").await;
    assert_eq!(job["result"]["choices"][0]["message"]["content"], "re polled 1 2");
    assert_eq!(client.events(&id).await, ["submitted", "leased", "completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_comes_chunk_by_chunk() {
    let rig = Rig::start("slots: 2").await;
    rig.model.then([Behaviour::Answer(Answer { tokens: 50, hold: Some(3), ..Answer::default() })]);
    let client = rig.broker.client();
    let mut body = chat("m", "s");
    body["stream"] = json!(true);
    let mut events = Events::of(client.posting("/v1/chat/completions", &body)).await;
    let mut text = String::new();
    while text != "re s 1 2" {
        text.push_str(&events.next().await.expect("the beginning comes before the end").content());
    }
    rig.model.release(1);
    for event in events.rest().await {
        text.push_str(&event.content());
    }
    let all: String = (1..50).map(|n| format!(" {n}")).collect();
    assert_eq!(text, format!("re s{all}"));
}
