//! Backends that stall, cut, talk nonsense, refuse and flood: the job ends as the policy says, and the slot is free again.

use std::time::{Duration, Instant};

use pullyard_tests::{Answer, Behaviour, Client, Events, FakeModel, TestBroker, chat, until};
use serde_json::{Value, json};

/// One slot, little patience.
async fn broker(model: &FakeModel) -> TestBroker {
    let timeouts = "timeouts: {first_token: 300ms, between_tokens: 300ms}";
    TestBroker::with(format!(
        "retries: {{max_attempts: 2, backoff: 20ms, backoff_max: 50ms}}\nbackends:\n{}",
        model.backend("a", &format!("slots: 1, breaker: {{allowed_fails: 1000}}, {timeouts}"))
    ))
    .await
}

/// The only slot is free: another job gets through.
async fn the_slot_is_free(client: &Client) {
    let reply = client.post("/v1/jobs?wait=20s", &chat("m", "next")).await.expect(200);
    assert_eq!(reply.json()["state"], "completed");
}

/// Every attempt at a job meets this; the job is returned as it ends.
async fn twice(model: &FakeModel, client: &Client, behaviour: Behaviour) -> Value {
    model.then([behaviour.clone(), behaviour]);
    let id = client.submit(&chat("m", "x")).await;
    let job = client.ended(&id).await;
    the_slot_is_free(client).await;
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_has_its_kind_and_leaves_the_slot_free() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    for (behaviour, kind) in [
        (Behaviour::Hang, "timeout"),
        (Behaviour::StallAfter(0), "timeout"),
        (Behaviour::StallAfter(2), "timeout"),
        (Behaviour::CutAfter(0), "backend"),
        (Behaviour::CutAfter(2), "backend"),
        (Behaviour::Garbage, "garbage"),
        (Behaviour::status(500), "backend"),
        (Behaviour::status(503), "busy"),
        (Behaviour::status(429), "busy"),
    ] {
        let job = twice(&model, &client, behaviour.clone()).await;
        assert_eq!((&job["state"], &job["attempts"]), (&json!("parked"), &json!(2)), "{behaviour:?}: {job}");
        assert_eq!(job["failure"]["kind"], kind, "{behaviour:?}: {job}");
    }
    // What cannot be helped by another try is not tried again.
    for (status, kind) in [(400, "bad_request"), (401, "unauthorized"), (404, "no_model")] {
        model.then([Behaviour::status(status)]);
        let job = client.ended(&client.submit(&chat("m", "x")).await).await;
        assert_eq!((&job["state"], &job["attempts"], &job["failure"]["kind"]), (&json!("parked"), &json!(1), &json!(kind)), "{job}");
        the_slot_is_free(&client).await;
    }
    model.until("no connection is left behind", |c| c.inside == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_attempt_is_made_good_by_the_next() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    for behaviour in [Behaviour::Hang, Behaviour::StallAfter(2), Behaviour::CutAfter(2), Behaviour::Garbage, Behaviour::status(500)] {
        model.then([behaviour.clone()]);
        let job = client.ended(&client.submit(&chat("m", "x")).await).await;
        assert_eq!((&job["state"], &job["attempts"]), (&json!("completed"), &json!(2)), "{behaviour:?}");
        assert_eq!(job["result"]["choices"][0]["message"]["content"], "re x 1 2", "{behaviour:?}: nothing of the first try is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_names_a_time_is_left_alone_until_then() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    model.then([Behaviour::Refuse(429, vec![("retry-after", "1".into())])]);

    let begun = Instant::now();
    let refused = client.submit(&chat("m", "refused")).await;
    until("the refusal", async || (client.job(&refused).await["attempts"] == 1).then_some(())).await;
    let other = client.submit(&chat("m", "other")).await;
    client.job_in(&refused, "completed").await;
    client.job_in(&other, "completed").await;

    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(model.counts().seen, 3, "nobody asked in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_fails_too_often_is_tried_with_one_job_at_a_time() {
    let model = FakeModel::start().await.usually(Behaviour::status(500));
    let broker = TestBroker::with(format!(
        "retries: {{max_attempts: 100, max_attempts_per_target: 100, backoff: 200ms, backoff_max: 200ms}}\nbackends:\n{}",
        model.backend("a", "slots: 4, breaker: {allowed_fails: 3, cooldown: 100ms}")
    ))
    .await;
    let client = broker.client();
    let mut ids = Vec::new();
    for n in 0..8 {
        ids.push(client.submit(&chat("m", &n.to_string())).await);
    }

    // Four jobs that fail open it, and up to three more were running then; after that there is one probe per cooldown.
    model.until("the breaker opens and probes twice", |c| c.seen >= 9).await;
    let begun = Instant::now();
    model.until("four more probes", |c| c.seen >= 13).await;
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());

    model.from_now_on(Behaviour::after(0));
    for id in &ids {
        client.job_in(id, "completed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    let model = FakeModel::start().await;
    let broker = TestBroker::with(format!("backends:\n{}", model.backend("a", "slots: 1"))).await;
    let client = broker.client();
    // More than the sockets in between can hold.
    model.then([Behaviour::Answer(Answer { tokens: 30_000, ..Answer::default() })]);
    let mut body = chat("m", "x");
    body["stream"] = json!(true);

    let asleep = Events::of(client.posting("/v1/chat/completions", &body)).await;
    let id = asleep.header("x-job-id").unwrap().to_owned();

    assert_eq!(client.ended(&id).await["state"], "completed");
    the_slot_is_free(&client).await;
    let all = asleep.rest().await;
    assert_eq!(all.iter().filter(|e| !e.content().is_empty()).count(), 30_000);
    assert_eq!(all.last().unwrap().data, "[DONE]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_stopped_before_it_fills_the_memory() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    the_slot_is_free(&client).await;
    let before = broker.rss();

    model.then([Behaviour::Flood]);
    let mut body = chat("m", "x");
    body["max_attempts"] = json!(1);
    let flooded = async {
        let job = client.ended(&client.submit(&body).await).await;
        assert_eq!((&job["state"], &job["failure"]["kind"]), (&json!("parked"), &json!("garbage")), "{job}");
    };
    let mut highest = 0;
    let watch = async {
        loop {
            highest = highest.max(broker.rss());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        () = flooded => {}
        () = watch => {}
    }

    // One reply may have 16 MiB, which are held for live readers, for the log, and in pieces.
    assert!(highest - before < 128 << 20, "from {before} to {highest} bytes");
    model.until("the floods have ended", |c| c.inside == 0).await;
    the_slot_is_free(&client).await;
}
