//! `/v1/chat/completions`: as if nothing were between a client and its model.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pullyard_tests::{Behaviour, Client, Events, FakeModel, Full, QUICK, Reply, TestBroker, chat};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

async fn broker(model: &FakeModel) -> TestBroker {
    TestBroker::with(format!("{QUICK}backends:\n{}", model.backend("a", "slots: 4, breaker: {allowed_fails: 100}"))).await
}

fn streamed(prompt: &str) -> Value {
    let mut body = chat("m", prompt);
    body["stream"] = json!(true);
    body
}

/// The one job that there is.
async fn only_job(client: &Client) -> Value {
    let list = client.get("/v1/jobs").await.expect(200).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1, "{list}");
    list["data"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_completion_is_passed_on_with_its_story_in_headers() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    let mut body = chat("m", "hello");
    (body["temperature"], body["x_unknown"]) = (json!(0.5), json!({"kept": 12345678901234567890u64}));

    let reply = client.post(CHAT, &body).await.expect(200);

    assert_eq!(reply.content(), "re hello 1 2");
    assert_eq!(reply.json()["usage"]["total_tokens"], 10);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!((reply.header("x-pullyard-attempts"), reply.header("x-pullyard-backend")), (Some("1"), Some("a")));
    assert!(reply.header("x-request-id").is_some() && reply.header("openai-processing-ms").is_some());
    let job = client.job(reply.header("x-job-id").unwrap()).await;
    assert_eq!((&job["state"], &job["band"]), (&json!("completed"), &json!("interactive")));
    // What Pullyard does not know is the model server's.
    let seen = &model.seen()[0].body;
    assert_eq!((&seen["temperature"], &seen["x_unknown"]), (&body["temperature"], &body["x_unknown"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_the_bytes_that_clients_expect() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();

    let reply = client.post(CHAT, &streamed("x")).await.expect(200);

    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    assert!(reply.header("x-job-id").is_some());
    let text = reply.text();
    let frames: Vec<&str> = text.strip_suffix("\n\n").unwrap().split("\n\n").collect();
    assert!(frames.iter().all(|f| f.starts_with("data: ") && !f.contains('\n')), "{text}");
    let (done, chunks) = frames.split_last().unwrap();
    assert_eq!(*done, "data: [DONE]");
    let chunks: Vec<Value> = chunks.iter().map(|f| serde_json::from_str(&f["data: ".len()..]).unwrap()).collect();
    // The usage that Pullyard asks the backend for is not the client's, who did not.
    assert!(chunks.iter().all(|c| c["choices"][0].is_object()), "{text}");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
    let content: String = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(content, "re x 1 2");

    let mut body = streamed("y");
    body["stream_options"] = json!({"include_usage": true});
    let text = client.post(CHAT, &body).await.expect(200).text();
    let last: Value = serde_json::from_str(text.rsplit("\n\n").nth(2).unwrap().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_come_only_when_the_headers_cannot_be_held_any_longer() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let yaml = format!("{QUICK}shim: {{hold: 150ms, keep_alive: 50ms}}\nbackends:\n{}", model.backend("a", "slots: 4"));
    let broker = TestBroker::with(yaml).await;

    let begun = Instant::now();
    let mut events = Events::of(broker.client().posting(CHAT, &streamed("x"))).await;
    assert!(begun.elapsed() >= Duration::from_millis(150), "the headers were held");
    assert!(events.next().await.unwrap().comment.is_some());
    model.release(1);

    let rest = events.rest().await;
    assert_eq!(rest.iter().map(|e| e.content()).collect::<String>(), "re x 1 2");
    assert_eq!(rest.last().unwrap().data, "[DONE]");
    assert!(rest.iter().all(|e| e.id.is_none() && e.event.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn models_classes_and_auto_can_be_asked_for() {
    let (big, small) = (FakeModel::serving(&["big:latest"]).await, FakeModel::serving(&["small"]).await);
    let broker = TestBroker::with(format!(
        "{QUICK}classes: {{quick: [small], deep: [big]}}\naliases: {{gpt-4: big}}\nbackends:\n{}{}",
        big.backend("a", ""),
        small.backend("b", "")
    ))
    .await;
    let client = broker.client();

    let list = client.get("/v1/models").await.expect(200).json();
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["big:latest", "small", "gpt-4", "deep", "quick", "auto"]);
    assert_eq!(client.get("/v1/models/small").await.expect(200).json()["backends"], json!(["b"]));
    for (class, models) in [("deep", json!(["big:latest"])), ("auto", json!(["big:latest", "small"]))] {
        assert_eq!(client.get(&format!("/v1/models/{class}")).await.expect(200).json()["models"], models);
    }

    for (asked, backend) in
        [("big:latest", "a"), ("BIG", "a"), ("gpt-4", "a"), ("deep", "a"), ("small", "b"), ("quick", "b"), ("auto", "b")]
    {
        let reply = client.post(CHAT, &chat(asked, "hi")).await.expect(200);
        assert_eq!(reply.header("x-pullyard-backend"), Some(backend), "{asked}");
    }
    assert!(!client.get("/v1/models/nothing").await.expect(404).error().is_empty());
    let refused = client.post(CHAT, &chat("nothing", "hi")).await.expect(404);
    assert!(refused.error().contains("`nothing`") && refused.error().contains("small"), "{}", refused.error());
    assert_eq!(refused.json()["error"]["code"], "model_not_found");
    assert_eq!(refused.json()["error"]["param"], "model");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_job_with_it() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let broker = broker(&model).await;
    let client = broker.client();

    let whole = tokio::spawn(Reply::to(client.posting(CHAT, &chat("m", "whole"))));
    model.until("the request runs", |c| c.inside == 1).await;
    whole.abort();
    model.until("the model server sees the client go", |c| c.gone == 1).await;
    let job = only_job(&client).await;
    assert_eq!((&job["state"], &job["reason"]), (&json!("cancelled"), &json!("the client left")));

    model.from_now_on(Behaviour::hold(1));
    let mut stream = Events::of(client.posting(CHAT, &streamed("stream"))).await;
    let id = stream.header("x-job-id").unwrap().to_owned();
    assert_eq!(stream.next().await.unwrap().content(), "re stream");
    drop(stream);
    model.until("the model server sees the client go", |c| c.gone == 2).await;
    client.job_in(&id, "cancelled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_leave_its_job_behind() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let broker = broker(&model).await;
    let client = broker.client();

    let kept = tokio::spawn(Reply::to(client.posting(CHAT, &chat("m", "kept")).header("X-Pullyard-On-Leave", "keep")));
    model.until("the request runs", |c| c.inside == 1).await;
    kept.abort();
    // Nothing tells when the broker has seen the client go, so another one goes after it.
    let gone = tokio::spawn(Reply::to(client.posting(CHAT, &chat("m", "gone"))));
    model.until("the second runs", |c| c.inside == 2).await;
    gone.abort();
    model.until("the second has gone", |c| c.gone == 1).await;

    model.release(1);
    let id = client.get("/v1/jobs?limit=2").await.json()["data"][1]["id"].as_str().unwrap().to_owned();
    assert_eq!(client.job_in(&id, "completed").await["result"]["choices"][0]["message"]["content"], "re kept 1 2");
    let wrong = Reply::to(client.posting(CHAT, &chat("m", "x")).header("X-Pullyard-On-Leave", "maybe")).await.unwrap().expect(400);
    assert!(wrong.error().contains("X-Pullyard-On-Leave"), "{}", wrong.error());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_backend_keep_their_meaning() {
    let model = FakeModel::start().await;
    let broker = TestBroker::with(format!(
        "retries: {{max_attempts: 1}}\nbackends:\n{}",
        model.backend("a", "slots: 4, breaker: {allowed_fails: 100}, timeouts: {first_token: 500ms, attempt: 500ms}")
    ))
    .await;
    let client = broker.client();
    let retry_after = vec![("retry-after", "0".to_owned())];
    for (behaviour, status, says) in [
        (Behaviour::status(400), 400, "told to refuse"),
        (Behaviour::status(401), 502, "told to refuse"),
        (Behaviour::status(404), 404, "told to refuse"),
        (Behaviour::Refuse(429, retry_after), 503, "told to refuse"),
        (Behaviour::status(500), 502, "told to refuse"),
        (Behaviour::Hang, 504, "500ms"),
        (Behaviour::Garbage, 502, "not"),
        (Behaviour::CutAfter(0), 502, ""),
    ] {
        for body in [chat("m", "x"), streamed("x")] {
            model.then([behaviour.clone()]);
            let reply = client.post(CHAT, &body).await;
            assert_eq!(reply.status, status, "{behaviour:?}: {}", reply.text());
            assert!(reply.error().contains(says), "{behaviour:?}: {}", reply.error());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_ends_with_an_error_and_not_as_if_it_were_whole() {
    let model = FakeModel::start().await.usually(Behaviour::CutAfter(2));
    let broker = broker(&model).await;

    let rest = Events::of(broker.client().posting(CHAT, &streamed("x"))).await.rest().await;

    // What was delivered is never sent twice, so there is no second attempt.
    assert_eq!(rest.iter().map(|e| e.content()).collect::<String>(), "re x 1");
    let last = rest.last().unwrap().json();
    assert!(last["error"]["message"].is_string(), "{last}");
    assert!(rest.iter().all(|e| e.data != "[DONE]"));
    assert_eq!(model.counts().seen, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_seen_only_in_a_header() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    for body in [chat("m", "x"), streamed("x")] {
        model.then([Behaviour::status(500)]);
        let reply = broker.client().post(CHAT, &body).await.expect(200);
        assert_eq!(reply.header("x-pullyard-attempts"), Some("2"), "stream: {}", body["stream"]);
        assert!(!reply.text().contains("refuse"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_target_cannot_serve_goes_to_the_next() {
    let (first, second) = (FakeModel::serving(&["big"]).await, FakeModel::serving(&["small"]).await);
    let first = first.usually(Behaviour::status(404));
    let yaml = format!("{QUICK}classes: {{work: [big, small]}}\nbackends:\n{}{}", first.backend("a", ""), second.backend("b", ""));
    let broker = TestBroker::with(yaml).await;

    let reply = broker.client().post(CHAT, &chat("work", "x")).await.expect(200);

    assert_eq!((reply.header("x-pullyard-backend"), reply.header("x-pullyard-model")), (Some("b"), Some("small")));
    assert_eq!((reply.header("x-pullyard-fallback"), reply.header("x-pullyard-attempts")), (Some("true"), Some("2")));
    let id = reply.header("x-job-id").unwrap();
    let events = broker.client().events(id).await;
    assert_eq!(events, ["submitted", "leased", "attempt_failed", "rerouted", "leased", "completed"]);
    assert_eq!((first.counts().seen, second.counts().seen), (1, 1));
}

/// Load that is far above what the backend bears shows as time, not as failure.
async fn two_hundred_at_once(full: Full) {
    let model = FakeModel::with_slots(4, full).await.usually(Behaviour::after(50));
    let broker = broker(&model).await;
    let client = broker.client();

    let prompts: Vec<String> = (0..200).map(|n| format!("q{n}")).collect();
    let replies = join_all(prompts.iter().map(|p| async { client.post(CHAT, &chat("m", p)).await })).await;

    for (prompt, reply) in prompts.iter().zip(&replies) {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.content(), format!("re {prompt} 1 2"), "everybody gets the own answer");
        assert_eq!(model.times(prompt), 1);
    }
    let counts = model.counts();
    assert_eq!((counts.seen, counts.refused), (200, 0));
    assert!(counts.highest <= 4, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_queues_never_has_to() {
    two_hundred_at_once(Full::Queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_refuses_when_full_never_has_to() {
    two_hundred_at_once(Full::Refuse).await;
}
