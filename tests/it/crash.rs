//! Accepted means kept: the broker dies at any moment, and nothing that anybody was promised is lost or done twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use pullyard_tests::{Answer, Behaviour, Client, FakeModel, Ledger, QUICK, Reply, TestBroker, chat, dice, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const CLIENTS: usize = 8;
/// Submissions per client and life of the broker, so that a fast machine does not make the test long.
const EACH: usize = 30;

/// What clients were told.
#[derive(Default)]
struct Promises {
    /// Idempotency key, which is also the prompt, to job id.
    accepted: Mutex<BTreeMap<String, String>>,
    /// Keys of requests that were not answered.
    unsure: Mutex<Vec<String>>,
}

/// A request that is the same whenever its key is: most are plain, some wait, expire or have one attempt only.
fn request(key: &str) -> Value {
    let mut body = chat("quick", key);
    match key.bytes().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) % 16 {
        0 => body["not_before"] = json!("15ms"),
        1 => body["deadline"] = json!("30ms"),
        2 => body["max_attempts"] = json!(1),
        3 => body["band"] = json!("batch"),
        _ => {}
    }
    body
}

impl Promises {
    /// Submits, and holds the broker to what it says.
    async fn submit(&self, client: &Client, key: &str) -> bool {
        match client.post_once("/v1/jobs", &request(key), key).await {
            Ok(reply) if reply.status == 503 && reply.error().contains("shutting down") => {
                self.unsure.lock().unwrap().push(key.to_owned());
                false
            }
            Ok(reply) => {
                assert!(matches!(reply.status, 200 | 202), "{}", reply.text());
                let id = reply.json()["id"].as_str().unwrap().to_owned();
                let before = self.accepted.lock().unwrap().insert(key.to_owned(), id.clone());
                assert!(before.is_none_or(|before| before == id), "one key is one job");
                true
            }
            Err(_) => {
                self.unsure.lock().unwrap().push(key.to_owned());
                false
            }
        }
    }

    fn some(&self, dice: &mut fastrand::Rng, count: usize) -> Vec<(String, String)> {
        let accepted = self.accepted.lock().unwrap();
        let all: Vec<_> = accepted.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        dice.choose_multiple(all, count)
    }
}

/// Clients submit until the broker is gone; some leave, some cancel.
async fn load(client: Client, promises: Arc<Promises>, name: String, mut dice: fastrand::Rng) {
    for n in 0..EACH {
        if !promises.submit(&client, &format!("{name}-{n}")).await {
            return;
        }
        if dice.u8(..) < 20 {
            for (_, id) in promises.some(&mut dice, 1) {
                // It may have ended, or the broker may be gone.
                let _ = Reply::to(client.posting(&format!("/v1/jobs/{id}/cancel"), &json!({}))).await;
            }
        }
        if dice.u8(..) < 20 {
            let live = Reply::to(client.posting(CHAT, &chat("m", "live")));
            let _ = tokio::time::timeout(Duration::from_millis(dice.u64(1..20)), live).await;
        }
    }
}

fn chance(dice: &mut fastrand::Rng) -> Behaviour {
    match dice.u8(0..12) {
        0 => Behaviour::status(500),
        1 => Behaviour::CutAfter(1),
        2 => Behaviour::Refuse(429, vec![("retry-after-ms", "10".into())]),
        3 => Behaviour::status(404),
        _ => Behaviour::Answer(Answer { wait: Duration::from_millis(dice.u64(0..20)), ..Answer::default() }),
    }
}

/// What is billed, as soon as the read model has seen so many bills.
async fn usage(client: &Client, bills: u64) -> Value {
    until("every bill in the usage", async || {
        let usage = client.get("/v1/usage?group_by=model,backend,day").await.expect(200).json();
        let seen: u64 = usage["data"].as_array().unwrap().iter().map(|row| row["attempts"].as_u64().unwrap()).sum();
        (seen == bills).then_some(usage)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_accepted_survives_being_killed_at_any_moment() {
    let mut dice = dice("crash");
    let rounds = std::env::var("PULLYARD_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    let model = FakeModel::start().await.usually(Behaviour::after(2));
    let [a, b] = ["m", "m2"].map(|m| model.backend(m, &format!("slots: 4, models: [{m}], breaker: {{allowed_fails: 100000}}")));
    // What a killed process had written survives it, flushed or not. Small segments let some kills meet a change of segment.
    let durability = dice.choice(["flush", "relaxed"]).unwrap();
    let log = format!("log: {{segment: 1MB, durability: {durability}}}\nclasses: {{quick: [m, m2]}}\n");
    let mut broker = TestBroker::with(format!("{QUICK}{log}backends:\n{a}{b}")).await;
    let promises = Arc::new(Promises::default());

    for round in 0..rounds {
        let client = broker.client();
        model.then(std::iter::repeat_with(|| chance(&mut dice)).take(100));
        let clients = (0..CLIENTS)
            .map(|n| tokio::spawn(load(client.clone(), promises.clone(), format!("r{round}c{n}"), fastrand::Rng::with_seed(dice.u64(..)))));
        let clients: Vec<_> = clients.collect();
        tokio::time::sleep(Duration::from_millis(dice.u64(1..200))).await;
        if dice.u8(0..4) == 0 {
            // Told to stop, and killed before or after it has.
            broker.signal(Signal::TERM);
            tokio::time::sleep(Duration::from_millis(dice.u64(0..60))).await;
        }
        broker.kill9();
        for ended in join_all(clients).await {
            ended.unwrap();
        }
        broker.start().await;
        // Who was not answered asks again, and who was answered gets the same job.
        let client = broker.client();
        let unsure = std::mem::take(&mut *promises.unsure.lock().unwrap());
        for key in unsure.into_iter().chain(promises.some(&mut dice, 10).into_iter().map(|(key, _)| key)) {
            assert!(promises.submit(&client, &key).await);
        }
    }

    let client = broker.client();
    let accepted = promises.accepted.lock().unwrap().clone();
    println!("{} jobs were accepted in {rounds} lives", accepted.len());
    for id in accepted.values() {
        client.ended(id).await;
        let events = client.events(id).await;
        let ends = events.iter().filter(|e| matches!(e.as_str(), "completed" | "cancelled" | "expired")).count();
        let parked = events.iter().any(|e| e == "parked");
        assert!(ends == 1 || (ends == 0 && parked), "job {id}: {events:?}");
    }
    the_read_model_is_a_replay(&mut broker).await;
}

/// Lists and accounts are the same before and after the read model is made anew, and are what the log's files say.
pub(crate) async fn the_read_model_is_a_replay(broker: &mut TestBroker) {
    assert!(broker.terminate().await.success());
    let verified = broker.run(&["log", "verify"]).await;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let ledger = Ledger::of(broker).await;
    broker.start().await;
    let before = (broker.client().all_jobs().await, usage(&broker.client(), ledger.bills).await);

    let listed: BTreeMap<&str, &str> = before.0.iter().map(|j| (j["id"].as_str().unwrap(), j["state"].as_str().unwrap())).collect();
    let told: BTreeMap<&str, &str> = ledger.jobs.iter().map(|(id, story)| (id.as_str(), story.state())).collect();
    assert_eq!(listed, told);
    for (id, story) in &ledger.jobs {
        assert!(story.ends().len() <= 1, "job {id}: {:?}", story.events);
    }

    assert!(broker.terminate().await.success());
    assert!(broker.run(&["log", "rebuild"]).await.status.success());
    broker.start().await;
    let usage = usage(&broker.client(), ledger.bills).await;
    assert_eq!(usage, before.1);
    let after =
        until("every job in the list", async || Some(broker.client().all_jobs().await).filter(|jobs| jobs.len() >= before.0.len())).await;
    assert_eq!(after, before.0);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_did_with_a_parked_job_survives() {
    let model = FakeModel::start().await.usually(Behaviour::status(400));
    let mut broker = TestBroker::with(format!("{QUICK}backends:\n{}", model.backend("a", "slots: 1"))).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(broker.client().submit(&chat("m", &n.to_string())).await);
        assert_eq!(broker.client().ended(&ids[n]).await["state"], "parked");
    }
    // The read model has them, and will not have what comes now.
    assert!(broker.terminate().await.success());
    let (read, aside) = (broker.data().join("read"), broker.dir().join("read"));
    copy(&read, &aside);
    broker.start().await;
    model.from_now_on(Behaviour::after(0));
    for (id, what) in [(&ids[0], "cancel"), (&ids[1], "requeue")] {
        broker.client().post(&format!("/v1/jobs/{id}/{what}"), &json!({})).await.expect(200);
    }

    broker.client().ended(&ids[1]).await;
    broker.kill9();
    std::fs::remove_dir_all(&read).unwrap();
    std::fs::rename(&aside, &read).unwrap();
    broker.start().await;

    for (id, state) in ids.iter().zip(["cancelled", "completed", "parked"]) {
        assert_eq!(broker.client().ended(id).await["state"], state);
    }
    the_read_model_is_a_replay(&mut broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_wait_come_back_with_their_key() {
    let model = FakeModel::start().await.usually(Behaviour::after(20));
    let mut broker = TestBroker::with(format!("{QUICK}backends:\n{}", model.backend("a", "slots: 8"))).await;
    let client = broker.client();
    let ask = async |n: usize| {
        let key = format!("q{n}");
        until(&format!("an answer to {key}"), async || client.post_once(CHAT, &chat("m", &key), &key).await.ok()).await
    };
    let crash = async {
        model.until("work in progress", |c| c.answered >= 60 && c.inside > 0).await;
        broker.kill9();
        let finished: Vec<String> =
            Ledger::of(&broker).await.jobs.into_values().filter(|job| job.state() == "completed").map(|job| job.prompt).collect();
        model.until("the broken connections", |c| c.inside == 0).await;
        let seen = model.counts().seen;
        broker.start().await;
        (finished, seen)
    };

    let (replies, (finished, seen)) = futures_util::join!(join_all((0..200).map(ask)), crash);

    for (n, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.expect(200).content(), format!("re q{n} 1 2"));
    }
    assert!(finished.len() >= 30, "{} were finished before the crash", finished.len());
    for prompt in &finished {
        assert_eq!(model.times(prompt), 1, "{prompt} was finished, and is not done again");
    }
    assert_eq!(model.counts().seen, seen + 200 - finished.len(), "everything else is done once after the crash");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_told_to_stop_ends_what_runs_and_keeps_what_waits() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let mut broker = TestBroker::with(format!("{QUICK}backends:\n{}", model.backend("a", "slots: 2"))).await;
    let client = broker.client();
    let running = client.submit(&chat("m", "running")).await;
    client.job_in(&running, "running").await;
    let (asking, prompt) = (client.clone(), chat("m", "live"));
    let live = tokio::spawn(async move { asking.post(CHAT, &prompt).await });
    model.until("both run", |c| c.inside == 2).await;
    let waiting = client.submit(&chat("m", "waiting")).await;
    let (asking, prompt) = (client.clone(), chat("m", "late"));
    let late = tokio::spawn(async move { asking.post(CHAT, &prompt).await });
    until("the fourth job", async || Some(client.all_jobs().await).filter(|jobs| jobs.len() == 4)).await;

    broker.signal(Signal::TERM);

    let refused = until("a closed intake", async || Some(client.post("/v1/jobs", &chat("m", "x")).await).filter(|r| r.status != 202)).await;
    assert!(refused.clone().expect(503).error().contains("shutting down"), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    client.get("/readyz").await.expect(503);
    client.get("/healthz").await.expect(200);
    model.release(2);
    assert_eq!(live.await.unwrap().expect(200).content(), "re live 1 2");
    // Who waits for what cannot start any more is told, and not left with a broken connection.
    assert!(late.await.unwrap().expect(503).error().contains("shutting down"));
    assert!(broker.exited().await.success());

    let ledger = Ledger::of(&broker).await;
    assert_eq!(ledger.jobs[&running].events, ["submitted", "leased", "completed"]);
    assert_eq!(ledger.jobs[&waiting].events, ["submitted"]);
    model.from_now_on(Behaviour::after(0));
    broker.start().await;
    assert_eq!(broker.client().ended(&waiting).await["state"], "completed");
    assert_eq!((model.times("running"), model.times("waiting"), model.times("late")), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_outlasts_the_drain_runs_again_and_is_not_counted() {
    let model = FakeModel::start().await.usually(Behaviour::Hang);
    let mut broker = TestBroker::with(format!("{QUICK}drain_timeout: 100ms\nbackends:\n{}", model.backend("a", "slots: 1"))).await;
    let id = broker.client().submit(&chat("m", "x")).await;
    broker.client().job_in(&id, "running").await;

    assert!(broker.terminate().await.success());

    assert_eq!(Ledger::of(&broker).await.jobs[&id].events, ["submitted", "leased", "attempt_failed"]);
    model.from_now_on(Behaviour::after(0));
    broker.start().await;
    let job = broker.client().ended(&id).await;
    assert_eq!((&job["state"], &job["attempts"]), (&json!("completed"), &json!(1)));
}
