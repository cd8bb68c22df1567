//! A batch goes on where it was, whatever becomes of the broker.

use std::time::{Duration, Instant};

use pullyard_tests::{Answer, Behaviour, ChaosProxy, FakeModel, Ledger, QUICK, TestBroker, chat, dice, until};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use super::{asks, begin, broker, form, in_status, line, lines, look, post_form, results, upload};

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("q{n}"))
}

/// Every line has one good result, and what came of it is in the log once.
async fn is_whole(broker: &TestBroker, batch: &Value, count: usize) {
    assert_eq!(batch["request_counts"], json!({"total": count, "completed": count, "failed": 0}));
    let output = results(&broker.client(), &batch["output_file_id"]).await;
    assert_eq!(output.len(), count);
    for (name, line) in &output {
        let said = line["response"]["body"]["choices"][0]["message"]["content"].as_str().unwrap();
        assert_eq!(said, format!("re {name} 1 2"), "each line has its own answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_goes_on_with_its_batch() {
    const LINES: usize = 3_000;
    let model = FakeModel::start().await.usually(Behaviour::after(2));
    let mut broker = broker(&model).await;
    let id = begin(&broker.client(), &lines(names(LINES))).await;

    // Killed three times in the middle, whatever it is just doing.
    for done in [200, 900, 1_900] {
        let client = broker.client();
        until("progress", async || Some(look(&client, &id).await["request_counts"]["completed"].as_u64().unwrap()).filter(|n| *n >= done))
            .await;
        broker.kill9();
        // As if the results' last page had not reached the disk.
        let path = broker.data().join(format!("batches/{id}.output"));
        let size = std::fs::metadata(&path).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size.saturating_sub(1_234)).unwrap();
        broker.start().await;
    }
    let batch = in_status(&broker.client(), &id, "completed").await;

    is_whole(&broker, &batch, LINES).await;
    assert!(broker.terminate().await.success());
    assert_eq!(Ledger::of(&broker).await.jobs.len(), LINES, "one job for each line");
    // What ran when the broker died, and what had ended in the moment before and was not written yet.
    let again = model.seen().len() - LINES;
    assert!(again <= 3 * 8 * 4, "{again} requests came again");
}

/// Before, while and after its lines run: whatever was just being written.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_survives_being_killed_at_any_moment() {
    const LINES: usize = 600;
    let mut dice = dice("a_batch_survives_being_killed_at_any_moment");
    let model = FakeModel::start().await.usually(Behaviour::after(1));
    let mut broker = broker(&model).await;
    let file = upload(&broker.client(), &lines(names(LINES))).await;
    let made = async |broker: &TestBroker| {
        // The same request, so the same batch.
        let reply = broker.client().post_once("/v1/batches", &asks(&file), "one").await;
        reply.unwrap().expect(200).json()["id"].as_str().unwrap().to_owned()
    };
    let id = made(&broker).await;

    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(dice.u64(0..250))).await;
        broker.kill9();
        broker.start().await;
        assert_eq!(made(&broker).await, id);
    }
    let batch = in_status(&broker.client(), &id, "completed").await;

    is_whole(&broker, &batch, LINES).await;
    broker.restart().await;
    assert_eq!(look(&broker.client(), &id).await, batch, "what is over stays as it was");
    let mut left: Vec<_> = std::fs::read_dir(broker.data().join("batches")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.retain(|name| *name != *format!("{id}.json"));
    assert!(left.is_empty(), "{left:?}");
    assert!(broker.terminate().await.success());
    assert_eq!(Ledger::of(&broker).await.jobs.len(), LINES);
}

/// Their requests are files of their own beside the log.
#[tokio::test(flavor = "multi_thread")]
async fn lines_with_large_bodies_survive_a_crash_and_can_be_cancelled() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let mut broker = broker(&model).await;
    let large = |name: String| {
        let mut body = chat("m", &name);
        body["x_padding"] = json!("x".repeat(300_000));
        line(&name, &body)
    };
    let file: String = names(20).map(large).collect();
    let kept = begin(&broker.client(), &file).await;
    model.until("slots busy", |c| c.inside == 8).await;

    broker.kill9();
    model.only(Behaviour::Answer(Answer::default()));
    broker.start().await;
    let batch = in_status(&broker.client(), &kept, "completed").await;
    is_whole(&broker, &batch, 20).await;

    model.from_now_on(Behaviour::hold(0));
    let client = broker.client();
    let other = begin(&client, &file).await;
    // As soon as its lines run, while others are still being written.
    until("lines that run", async || Some(look(&client, &other).await).filter(|b| b["status"] == "in_progress")).await;
    client.post(&format!("/v1/batches/{other}/cancel"), &json!({})).await.expect(200);
    let batch = in_status(&client, &other, "cancelled").await;
    assert_eq!(batch["request_counts"], json!({"total": 20, "completed": 0, "failed": 20}));
    model.until("an empty model", |c| c.inside == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_in_good_order_asks_nothing_twice() {
    const LINES: usize = 500;
    let model = FakeModel::start().await.usually(Behaviour::after(5));
    let mut broker = broker(&model).await;
    let id = begin(&broker.client(), &lines(names(LINES))).await;
    let client = broker.client();
    until("progress", async || Some(look(&client, &id).await).filter(|b| b["request_counts"]["completed"].as_u64() > Some(50))).await;

    broker.restart().await;

    let batch = in_status(&broker.client(), &id, "completed").await;
    is_whole(&broker, &batch, LINES).await;
    assert_eq!(model.seen().len(), LINES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_waits_and_one_that_was_cancelled_survive_a_crash() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let yaml = format!("{QUICK}batch: {{max_running: 1}}\nbackends:\n{}", model.backend("a", "slots: 2"));
    let mut broker = TestBroker::with(yaml).await;
    let client = broker.client();
    let first = begin(&client, &lines(names(10))).await;
    model.until("slots busy", |c| c.inside == 2).await;
    let second = begin(&client, &lines(names(10))).await;
    assert_eq!(look(&client, &second).await["status"], "validating", "it waits for its turn");

    broker.kill9();
    model.only(Behaviour::Answer(Answer { wait: Duration::from_millis(1), ..Answer::default() }));
    broker.start().await;

    let client = broker.client();
    for id in [&first, &second] {
        let batch = in_status(&client, id, "completed").await;
        is_whole(&broker, &batch, 10).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_lines_are_quick() {
    const LINES: usize = 10_000;
    let model = FakeModel::start().await;
    let yaml = format!("{QUICK}backends:\n{}", model.backend("a", "slots: 64"));
    let broker = TestBroker::with(yaml).await;
    let client = broker.client();

    let begun = Instant::now();
    let id = begin(&client, &lines(names(LINES))).await;
    let batch = in_status(&client, &id, "completed").await;
    let took = begun.elapsed();

    is_whole(&broker, &batch, LINES).await;
    // In a debug build, beside other tests: what is quadratic takes minutes.
    assert!(took < Duration::from_secs(25), "{took:?}");
    let first = client.get("/v1/jobs?limit=20").await.expect(200).json();
    assert_eq!(first["data"].as_array().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_room_on_the_disk() {
    let model = FakeModel::start().await;
    let yaml = format!("{QUICK}backends:\n{}", model.backend("a", "slots: 4"));
    let broker = TestBroker::with(yaml).await;
    let client = broker.client();
    model.from_now_on(Behaviour::hold(0));
    let id = begin(&client, &lines(names(300))).await;
    model.until("slots busy", |c| c.inside == 4).await;

    let limit = |bytes| prlimit(Pid::from_raw(broker.pid()), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    limit(Some(1_000));
    model.only(Behaviour::Answer(Answer::default()));
    model.release(4);
    until("a full disk", async || broker.stderr().contains("cannot be written").then_some(())).await;
    let before = look(&client, &id).await;
    assert_eq!(before["status"], "in_progress");
    let refused = post_form(&client, form(&[("purpose", "batch")], "x", &"x".repeat(5_000))).await.expect(507);
    assert!(refused.error().contains("the disk is full") && refused.header("x-should-retry") == Some("false"), "{}", refused.text());
    limit(None);

    let batch = in_status(&client, &id, "completed").await;
    is_whole(&broker, &batch, 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_away_after_a_start_is_waited_for() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let backend = model.backend("a", "slots: 2");
    let address = backend.split("http://").nth(1).unwrap().split('"').next().unwrap();
    let proxy = ChaosProxy::start(address.parse().unwrap()).await;
    let yaml = format!("{QUICK}backends:\n{}", backend.replace(address, &proxy.addr().to_string()));
    let mut broker = TestBroker::with(yaml).await;
    let id = begin(&broker.client(), &lines(names(10))).await;
    model.until("slots busy", |c| c.inside == 2).await;

    broker.kill9();
    proxy.cut();
    model.only(Behaviour::Answer(Answer::default()));
    broker.start().await;
    let later = begin(&broker.client(), &lines(names(5))).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(look(&broker.client(), &id).await["request_counts"], json!({"total": 10, "completed": 0, "failed": 0}));
    assert_eq!(look(&broker.client(), &later).await["status"], "validating");
    proxy.heal();

    let batch = in_status(&broker.client(), &id, "completed").await;
    is_whole(&broker, &batch, 10).await;
    let batch = in_status(&broker.client(), &later, "completed").await;
    is_whole(&broker, &batch, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_file_somebody_has_removed_fails_and_keeps_what_is_done() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let mut broker = broker(&model).await;
    let id = begin(&broker.client(), &lines(names(50))).await;
    model.until("slots busy", |c| c.inside == 8).await;
    model.release(3);
    let client = broker.client();
    until("three done", async || Some(look(&client, &id).await).filter(|b| b["request_counts"]["completed"] == 3)).await;
    let file = look(&client, &id).await["input_file_id"].as_str().unwrap().to_owned();

    broker.kill9();
    std::fs::remove_file(broker.data().join("files").join(&file)).unwrap();
    broker.start().await;

    let batch = in_status(&broker.client(), &id, "failed").await;
    assert_eq!(batch["errors"]["data"][0]["code"], "input_file_unreadable", "{batch}");
    assert_eq!(results(&broker.client(), &batch["output_file_id"]).await.len(), 3);
}
