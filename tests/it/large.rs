//! Large requests and outputs, which have files of their own.

use pullyard_tests::{Behaviour, FakeModel, QUICK, TestBroker, chat, until};

fn files(broker: &TestBroker, end: &str) -> usize {
    std::fs::read_dir(broker.data().join("blobs"))
        .unwrap()
        .filter(|f| f.as_ref().unwrap().file_name().to_str().unwrap().ends_with(end))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_job_survives_a_crash_and_is_read_back_whole() {
    let model = FakeModel::start().await;
    let mut broker = TestBroker::with(format!("{QUICK}backends:\n{}", model.backend("a", "slots: 1"))).await;
    let client = broker.client();
    model.then([Behaviour::hold(0)]);
    let first = client.submit(&chat("m", "first")).await;
    model.until("the slot is taken", |seen| seen.inside == 1).await;
    let prompt = "large ".repeat(200_000);
    let large = client.submit(&chat("m", &prompt)).await;
    assert_eq!(files(&broker, ".request"), 1);

    broker.kill9();
    model.release(1);
    broker.start().await;

    let client = broker.client();
    client.ended(&first).await;
    let job = client.ended(&large).await;
    assert!(job["result"]["choices"][0]["message"]["content"].as_str().unwrap().contains(&prompt));
    assert_eq!(model.times(&prompt), 1);
    // The model repeats the prompt, so the output is large too.
    assert_eq!(files(&broker, ".output"), 1);
    let late: String = client.stream(&large, None).await.rest().await.iter().filter(|e| e.event.is_none()).map(|e| e.content()).collect();
    assert!(late.contains(&prompt));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_that_is_refused_leaves_nothing_behind() {
    let model = FakeModel::start().await.usually(Behaviour::Hang);
    let full = "queue: {max_bytes: 2MB}\n";
    let broker = TestBroker::with(format!("{QUICK}{full}backends:\n{}", model.backend("a", "slots: 1"))).await;
    let client = broker.client();
    client.submit(&chat("m", "first")).await;
    model.until("the slot is taken", |seen| seen.inside == 1).await;
    let large = chat("m", &"large ".repeat(200_000));
    client.submit(&large).await;
    client.submit(&large).await;

    let refused = client.post("/v1/jobs", &large).await.expect(503);

    assert!(refused.error().contains("bytes waiting"), "{}", refused.error());
    until("no file is left over", async || (files(&broker, "") == 2).then_some(())).await;
}
