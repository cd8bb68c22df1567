//! A worker is killed in the middle of a reply, and another one takes over.

use std::time::{Duration, Instant};

use pullyard_tests::{Behaviour, Client, Event, Events, TestWorker, chat};
use serde_json::{Value, json};

use super::rig::{Rig, asked, content, happened, ids, joined, reads, text, worker};

const CHAT: &str = "/v1/chat/completions";
const SETTINGS: &str = "slots: 4, quirks: {prefill: native}";

fn request(prompt: &str, on_interrupt: &str) -> Value {
    let mut body = chat("m", prompt);
    body["on_interrupt"] = json!(on_interrupt);
    body
}

fn live(prompt: &str, on_interrupt: &str) -> Value {
    let mut body = request(prompt, on_interrupt);
    body["stream"] = json!(true);
    body
}

/// A second worker, for what is to come.
async fn second(rig: &Rig) -> TestWorker {
    let second = worker("w2", &rig.nats.url(), &rig.model, SETTINGS);
    joined(&rig.broker.client(), &["w1", "w2"]).await;
    second
}

/// Kills the worker that runs a job, and waits until another one has it.
async fn kill(rig: &mut Rig, client: &Client, id: &str) {
    let since = Instant::now();
    rig.worker.kill9();
    happened(client, id, "leased", 2).await;
    let noticed = since.elapsed();
    println!("a killed worker's job ran elsewhere after {noticed:?}");
    assert!(noticed < Duration::from_secs(10), "{noticed:?}");
}

fn restart(events: &[Event]) -> usize {
    events.iter().position(|e| e.event.as_deref() == Some("restart")).expect("the reader is told")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_when_a_killed_workers_reply_begins_anew() {
    let mut rig = Rig::start(SETTINGS).await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::hold(2)]);
    let id = client.submit(&request("x", "restart")).await;
    let mut reader = client.stream(&id, None).await;
    reads(&mut reader, "re x 1").await;
    let _second = second(&rig).await;

    kill(&mut rig, &client, &id).await;

    let read = reader.rest().await;
    assert_eq!(restart(&read), 0, "{read:?}");
    assert_eq!((text(&read), ids(&read)[0]), ("re x 1 2".to_owned(), "2.0"));
    let job = client.ended(&id).await;
    assert_eq!((content(&job), &job["attempts"]), ("re x 1 2", &json!(2)));
    assert_eq!(client.events(&id).await, ["submitted", "leased", "lease_lost", "leased", "completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_reply_goes_on_at_the_next() {
    let mut rig = Rig::start(SETTINGS).await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::hold(2), Behaviour::rest(2, 4)]);
    let id = client.submit(&request("a question of some length", "continue")).await;
    let so_far = "re a question of some length 1";
    let mut reader = client.stream(&id, None).await;
    let mut read = reads(&mut reader, so_far).await;
    let _second = second(&rig).await;

    kill(&mut rig, &client, &id).await;

    read.extend(reader.rest().await);
    assert_eq!(text(&read), format!("{so_far} 2 3"));
    assert!(read.iter().all(|e| e.event.as_deref() != Some("restart")), "{read:?}");
    assert_eq!(asked(&rig.model)[1], ("assistant".to_owned(), so_far.to_owned()));
    assert_eq!(content(&client.ended(&id).await), format!("{so_far} 2 3"));
    let story = ["submitted", "leased", "checkpointed", "lease_lost", "leased", "completed"];
    assert_eq!(client.events(&id).await, story);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_reply_of_a_killed_worker_ends_with_an_error_and_nothing_is_said_twice() {
    let mut rig = Rig::start(SETTINGS).await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::hold(2), Behaviour::hold(2), Behaviour::hold(2)]);
    // Tells by its second lease when the worker's end was noticed.
    let polled = client.submit(&chat("m", "polled")).await;
    let mut streams = Vec::new();
    for on_interrupt in ["fail", "restart"] {
        let mut events = Events::of(client.posting(CHAT, &live("x", on_interrupt))).await;
        reads(&mut events, "re x 1").await;
        streams.push(events);
    }
    let _second = second(&rig).await;

    kill(&mut rig, &client, &polled).await;

    for events in streams {
        let id = events.header("x-job-id").unwrap().to_owned();
        let read = events.rest().await;
        assert_eq!((read.len(), text(&read)), (1, String::new()), "{read:?}");
        assert!(read[0].json()["error"]["message"].is_string(), "{read:?}");
        assert_eq!(client.ended(&id).await["state"], "parked");
    }
    assert_eq!(rig.model.counts().seen, 4, "only the polled job ran again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_reply_of_a_killed_worker_goes_on_at_the_next() {
    let mut rig = Rig::start(SETTINGS).await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::hold(2), Behaviour::rest(2, 4)]);
    let mut events = Events::of(client.posting(CHAT, &live("x", "continue"))).await;
    let id = events.header("x-job-id").unwrap().to_owned();
    let mut read = reads(&mut events, "re x 1").await;
    let _second = second(&rig).await;

    kill(&mut rig, &client, &id).await;

    read.extend(events.rest().await);
    assert_eq!(text(&read), "re x 1 2 3");
    assert_eq!(read.last().unwrap().data, "[DONE]");
    assert_eq!(asked(&rig.model)[1], ("assistant".to_owned(), "re x 1".to_owned()));
}
