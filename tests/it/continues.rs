//! `on_interrupt: continue`: a reply that broke off goes on where it stopped, and nobody reads a word twice.

use pullyard_tests::{Answer, Behaviour, Client, Event, Events, FakeModel, QUICK, TestBroker, chat, until};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
/// Longer than what may repeat itself by chance.
const LONG: &str = "a question of some length";

async fn broker(model: &FakeModel, retries: &str) -> TestBroker {
    let more = "slots: 1, quirks: {prefill: native}, breaker: {allowed_fails: 100}";
    TestBroker::with(format!("{retries}backends:\n{}", model.backend("a", more))).await
}

fn request(prompt: &str) -> Value {
    let mut body = chat("m", prompt);
    body["on_interrupt"] = json!("continue");
    body
}

fn live(prompt: &str) -> Value {
    let mut body = request(prompt);
    body["stream"] = json!(true);
    body
}

fn text(events: &[Event]) -> String {
    events.iter().map(Event::content).collect()
}

fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().filter_map(|e| e.id.as_deref()).collect()
}

fn result(job: &Value) -> &str {
    job["result"]["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("no text: {job}"))
}

/// What each request ended with: whose word, and what.
fn asked(model: &FakeModel) -> Vec<(String, String)> {
    let last = |body: &Value| body["messages"].as_array().unwrap().last().unwrap().clone();
    let word = |message: Value| (message["role"].as_str().unwrap().to_owned(), message["content"].as_str().unwrap().to_owned());
    model.seen().iter().map(|seen| word(last(&seen.body))).collect()
}

fn says(role: &str, what: &str) -> (String, String) {
    (role.to_owned(), what.to_owned())
}

/// Waits until this has happened to a job so often, and is on disk.
async fn happened(client: &Client, id: &str, event: &str, times: usize) {
    until(event, async || (client.events(id).await.iter().filter(|e| *e == event).count() == times).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_client_reads_one_reply() {
    let model = FakeModel::start().await;
    let broker = broker(&model, QUICK).await;
    // The last server even repeats what it was given.
    let echo = Answer { from: 2, tokens: 4, echo: true, ..Answer::default() };
    model.then([Behaviour::CutAfter(2), Behaviour::status(500), Behaviour::Answer(echo)]);
    let mut asks = live(LONG);
    asks["max_tokens"] = json!(50);

    let events = Events::of(broker.client().posting(CHAT, &asks)).await;
    let id = events.header("x-job-id").unwrap().to_owned();
    let all = events.rest().await;

    assert_eq!(text(&all), format!("re {LONG} 1 2 3"));
    assert_eq!(all.last().unwrap().data, "[DONE]");
    let begins = |event: &Event| serde_json::from_str::<Value>(&event.data).is_ok_and(|c| !c["choices"][0]["delta"]["role"].is_null());
    assert_eq!(all.iter().map(begins).collect::<Vec<_>>(), [true, true, false, false, false, false], "the rest has no beginning");
    let so_far = says("assistant", &format!("re {LONG} 1"));
    assert_eq!(asked(&model), [says("user", LONG), so_far.clone(), so_far]);
    let limits: Vec<Value> = model.seen().iter().map(|seen| seen.body["max_tokens"].clone()).collect();
    assert_eq!(limits, [50, 48, 48], "what was said counts");
    let job = broker.client().job_in(&id, "completed").await;
    assert_eq!((result(&job), &job["attempts"]), (&*format!("re {LONG} 1 2 3"), &json!(3)));
    let names = broker.client().events(&id).await;
    let story = ["submitted", "leased", "checkpointed", "attempt_failed", "leased", "attempt_failed", "leased", "completed"];
    assert_eq!(names, story);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_come_and_go_across_the_seam() {
    let model = FakeModel::start().await;
    let broker = broker(&model, QUICK).await;
    let client = broker.client();
    model.then([Behaviour::CutAfter(2), Behaviour::Answer(Answer { from: 2, tokens: 4, hold: Some(3), ..Answer::default() })]);
    let id = client.submit(&request("x")).await;

    let mut first = client.stream(&id, None).await;
    let mut seen = Vec::new();
    until("the second attempt", async || {
        seen.push(first.next().await.unwrap());
        (seen.last().unwrap().id.as_deref() == Some("2.0")).then_some(())
    })
    .await;
    let mut readers = Vec::new();
    for last in [None, Some("1.0"), Some("1.1"), Some("2.0")] {
        readers.push((last, client.stream(&id, last).await));
    }
    model.release(1);
    seen.extend(first.rest().await);

    assert_eq!(text(&seen), "re x 1 2 3");
    let all = ["1.0", "1.1", "2.0", "2.1", "2.2", "2.3"];
    assert_eq!(ids(&seen), all);
    for (n, (last, reader)) in readers.into_iter().enumerate() {
        let live = reader.rest().await;
        let late = client.stream(&id, last).await.rest().await;
        for read in [live, late] {
            assert_eq!(ids(&read), all[n..], "{last:?}");
            assert_eq!(text(&read), ["re x 1 2 3", " 1 2 3", " 2 3", " 3"][n], "{last:?}");
            assert!(read.iter().all(|e| e.event.as_deref() != Some("restart")), "{last:?}: {read:?}");
        }
    }
    assert_eq!(result(&client.job(&id).await), "re x 1 2 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_continue_is_not_made_to() {
    let model = FakeModel::start().await;
    let yaml = format!("{QUICK}backends:\n{}", model.backend("a", "slots: 1, breaker: {allowed_fails: 100}"));
    let broker = TestBroker::with(yaml).await;
    let client = broker.client();

    // A live client hears that it is over, as it would have without.
    model.then([Behaviour::CutAfter(2)]);
    let events = Events::of(client.posting(CHAT, &live("live"))).await;
    let id = events.header("x-job-id").unwrap().to_owned();
    let read = events.rest().await;
    assert_eq!(text(&read), "re live 1");
    assert!(read.last().unwrap().json()["error"]["message"].as_str().unwrap().contains("quirks.prefill"), "{read:?}");
    let job = client.ended(&id).await;
    assert_eq!((&job["state"], &job["failure"]["kind"]), (&json!("parked"), &json!("cannot_continue")));

    // Nobody has to live with what was polled, so it starts over, which costs no attempt.
    model.then([Behaviour::CutAfter(2)]);
    let id = client.submit(&request("polled")).await;
    let read = client.stream(&id, None).await.rest().await;
    let job = client.ended(&id).await;
    assert_eq!((result(&job), &job["attempts"]), ("re polled 1 2", &json!(2)));
    let restart = read.iter().position(|e| e.event.as_deref() == Some("restart")).expect("the reader is told");
    assert_eq!((text(&read[..restart]), text(&read[restart..])), ("re polled 1".to_owned(), "re polled 1 2".to_owned()));
    let late = client.stream(&id, Some("1.1")).await.rest().await;
    assert_eq!((late[0].event.as_deref(), text(&late)), (Some("restart"), "re polled 1 2".to_owned()));

    assert_eq!(asked(&model), ["live", "polled", "polled"].map(|what| says("user", what)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_to_continue_is_believed() {
    let model = FakeModel::start().await;
    let broker = broker(&model, QUICK).await;
    model.then([Behaviour::CutAfter(2), Behaviour::status(400)]);

    let job = broker.client().ended(&broker.client().submit(&request("x")).await).await;

    assert_eq!(result(&job), "re x 1 2");
    assert_eq!(asked(&model), [says("user", "x"), says("assistant", "re x 1"), says("user", "x")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_reply_is_continued_by_a_fallback_that_can() {
    let (first, second) = (FakeModel::serving(&["big"]).await, FakeModel::serving(&["small"]).await);
    first.then([Behaviour::CutAfter(2)]);
    second.then([Behaviour::rest(2, 4)]);
    let (a, b) = (first.backend("a", ""), second.backend("b", "quirks: {prefill: vllm}"));
    let broker = TestBroker::with(format!("{QUICK}classes: {{work: [big, small]}}\nbackends:\n{a}{b}")).await;
    let mut asks = live("x");
    asks["model"] = json!("work");

    let events = Events::of(broker.client().posting(CHAT, &asks)).await;
    let id = events.header("x-job-id").unwrap().to_owned();

    assert_eq!(text(&events.rest().await), "re x 1 2 3");
    assert_eq!(asked(&second), [says("assistant", "re x 1")]);
    assert_eq!(second.seen()[0].body["continue_final_message"], true);
    let names = broker.client().events(&id).await;
    assert_eq!(names[4..], ["leased", "attempt_failed", "rerouted", "leased", "completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_continued_by_the_next_broker() {
    let model = FakeModel::start().await;
    let mut broker = broker(&model, "retries: {backoff: 1500ms, backoff_max: 1500ms}\n").await;
    let client = broker.client();
    model.then([Behaviour::CutAfter(2)]);
    let id = client.submit(&request("x")).await;
    happened(&client, &id, "attempt_failed", 1).await;

    broker.kill9();
    model.then([Behaviour::rest(2, 4)]);
    broker.start().await;

    let client = broker.client();
    let (resumed, late) = (client.stream(&id, Some("1.0")).await, client.stream(&id, None).await);
    assert_eq!(ids(&resumed.rest().await)[..3], ["1.1", "2.0", "2.1"]);
    assert_eq!(text(&late.rest().await), "re x 1 2 3");
    assert_eq!(result(&client.ended(&id).await), "re x 1 2 3");
    assert_eq!(asked(&model), [says("user", "x"), says("assistant", "re x 1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_broker_had_not_kept_is_said_again_and_readers_are_told() {
    let model = FakeModel::start().await;
    let mut broker = broker(&model, QUICK).await;
    let client = broker.client();
    model.then([Behaviour::CutAfter(2), Behaviour::Answer(Answer { from: 2, tokens: 4, hold: Some(3), ..Answer::default() })]);
    let id = client.submit(&request("x")).await;
    let mut reader = client.stream(&id, None).await;
    until("the second attempt", async || (reader.next().await.unwrap().id.as_deref() == Some("2.0")).then_some(())).await;
    happened(&client, &id, "leased", 2).await;

    broker.kill9();
    model.then([Behaviour::rest(2, 4)]);
    broker.start().await;

    let client = broker.client();
    let read = client.stream(&id, Some("2.0")).await.rest().await;
    assert_eq!(read[0].event.as_deref(), Some("restart"), "{read:?}");
    assert_eq!((text(&read), &ids(&read)[..4]), ("re x 1 2 3".to_owned(), &["1.0", "1.1", "3.0", "3.1"][..]));
    assert_eq!(result(&client.ended(&id).await), "re x 1 2 3");
    // Behind what the log had, and not from the start.
    assert_eq!(asked(&model)[1..], [says("assistant", "re x 1"), says("assistant", "re x 1")]);
}
