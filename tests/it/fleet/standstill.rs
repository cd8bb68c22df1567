//! The broker stands still or is cut off for a while, and its workers go on.

use std::time::{Duration, Instant};

use pullyard_tests::{Answer, Behaviour, ChaosProxy, Events, FakeModel, NatsServer, chat, until};
use rustix::process::Signal;
use serde_json::json;

use super::rig::{Rig, broker, content, ids, joined, reads, text, words, worker};

/// Longer than the lease.
const STILL: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn readers_get_everything_once_after_a_standstill() {
    let rig = Rig::start("slots: 2").await;
    let client = rig.broker.client();
    let many = Answer { tokens: 20_000, hold: Some(2), ..Answer::default() };
    rig.model.then([Behaviour::Answer(many.clone()), Behaviour::Answer(many)]);
    // The first chunk repeats it.
    let prompt = "large ".repeat(50_000);
    let mut body = chat("m", &prompt);
    let id = client.submit(&body).await;
    let mut reader = client.stream(&id, None).await;
    let mut read = reads(&mut reader, &format!("re {prompt} 1")).await;
    body["stream"] = json!(true);
    let mut live = Events::of(client.posting("/v1/chat/completions", &body)).await;
    let mut lived = reads(&mut live, &format!("re {prompt} 1")).await;

    rig.broker.signal(Signal::STOP);
    let since = Instant::now();
    rig.model.release(2);
    rig.model.until("the replies", |c| c.answered == 2).await;
    tokio::time::sleep(STILL.saturating_sub(since.elapsed())).await;
    rig.broker.signal(Signal::CONT);

    read.extend(reader.rest().await);
    lived.extend(live.rest().await);
    let whole: String = std::iter::once(format!("re {prompt}")).chain((1..20_000).map(|n| format!(" {n}"))).collect();
    assert!(text(&read) == whole, "{} of {} bytes came", text(&read).len(), whole.len());
    assert!(text(&lived) == whole, "{} of {} bytes came live", text(&lived).len(), whole.len());
    assert_eq!(lived.last().unwrap().data, "[DONE]");
    let numbers: Vec<String> = (0..ids(&read).len()).map(|n| format!("1.{n}")).collect();
    assert_eq!(ids(&read), numbers);
    assert!(content(&client.ended(&id).await) == whole);
    assert_eq!(client.events(&id).await, ["submitted", "leased", "completed"]);
    assert_eq!(rig.model.counts().seen, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_get_what_was_said_while_the_broker_was_cut_off() {
    let nats = NatsServer::start().await;
    let (network, model) = (ChaosProxy::start(nats.address()).await, FakeModel::start().await);
    let broker = broker(&format!("nats://{}", network.addr()), "").await;
    let _worker = worker("w1", &nats.url(), &model, "slots: 2");
    let client = broker.client();
    joined(&client, &["w1"]).await;
    model.then([Behaviour::hold(2), Behaviour::hold(2)]);
    let mut body = chat("m", "x");
    let id = client.submit(&body).await;
    let mut reader = client.stream(&id, None).await;
    let mut read = reads(&mut reader, "re x 1").await;
    body["stream"] = json!(true);
    let mut live = Events::of(client.posting("/v1/chat/completions", &body)).await;
    let mut lived = reads(&mut live, "re x 1").await;

    until("the starts are in the log", async || (words(&nats).await == 0).then_some(())).await;
    network.cut();
    model.release(2);
    until("the words wait in NATS", async || (words(&nats).await == 2).then_some(())).await;
    network.heal();
    read.extend(reader.rest().await);
    lived.extend(live.rest().await);

    assert_eq!((text(&read), text(&lived)), ("re x 1 2".to_owned(), "re x 1 2".to_owned()));
    assert_eq!(lived.last().unwrap().data, "[DONE]");
    assert_eq!(client.events(&id).await, ["submitted", "leased", "completed"]);
    assert_eq!(model.counts().seen, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_no_message_can_hold_comes_with_the_end() {
    let rig = Rig::start("slots: 1").await;
    let client = rig.broker.client();
    // The first chunk repeats it.
    let prompt = "large ".repeat(400_000);
    let mut body = chat("m", &prompt);
    body["stream"] = json!(true);

    let read = Events::of(client.posting("/v1/chat/completions", &body)).await.rest().await;

    assert!(text(&read) == format!("re {prompt} 1 2"), "{} bytes came", text(&read).len());
    assert_eq!(read.last().unwrap().data, "[DONE]");
}
