//! Who takes what, and when: by capacity, by what is loaded, by what an account allows.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pullyard_tests::{Behaviour, FakeModel, NatsServer, TestBroker, TestWorker, chat, until};
use serde_json::{Value, json};

use super::rig::{Rig, broker, joined, worker};

async fn pair(models: &[&str], settings: &str) -> (NatsServer, TestBroker, [TestWorker; 2], [FakeModel; 2]) {
    let nats = NatsServer::start().await;
    let both = [FakeModel::serving(models).await, FakeModel::serving(models).await];
    let broker = broker(&nats.url(), "").await;
    let workers = [worker("w1", &nats.url(), &both[0], settings), worker("w2", &nats.url(), &both[1], settings)];
    joined(&broker.client(), &["w1", "w2"]).await;
    (nats, broker, workers, both)
}

fn seen(models: &[FakeModel; 2]) -> usize {
    models.iter().map(|model| model.counts().seen).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_wait_the_one_that_has_the_model_gets_the_job() {
    let (_nats, broker, _workers, models) = pair(&["m", "n"], "slots: 1").await;
    let client = broker.client();
    let run = async |model: &str| {
        let id = client.submit(&chat(model, "x")).await;
        client.job_in(&id, "completed").await["backend"].as_str().unwrap().to_owned()
    };
    // One of them loads `m` while the other waits, and stays the one that has it.
    let home = run("m").await;
    for _ in 0..10 {
        assert_eq!(run("m").await, home);
    }
    // Busy with it, it leaves the other model to the other.
    models.iter().for_each(|model| model.from_now_on(Behaviour::hold(0)));
    let held = client.submit(&chat("m", "held")).await;
    client.job_in(&held, "running").await;
    let next = client.submit(&chat("n", "other")).await;
    client.job_in(&next, "running").await;
    models.iter().for_each(|model| {
        model.from_now_on(Behaviour::after(0));
        model.release(1);
    });
    let other = client.job_in(&next, "completed").await["backend"].as_str().unwrap().to_owned();
    client.job_in(&held, "completed").await;
    assert_ne!(other, home);
    for _ in 0..10 {
        assert_eq!((run("m").await, run("n").await), (home.clone(), other.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_over_many_lanes_never_runs_above_the_slots() {
    let nats = NatsServer::start().await;
    let names: Vec<String> = (0..8).map(|n| format!("m{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let model = FakeModel::serving(&names).await.usually(Behaviour::after(5));
    let broker = broker(&nats.url(), "").await;
    let _worker = worker("w1", &nats.url(), &model, "slots: 1");
    joined(&broker.client(), &["w1"]).await;
    let client = broker.client();

    let submitted = (0..160).map(|n| {
        let mut body = chat(names[n % names.len()], &format!("job {n}"));
        body["band"] = json!(["interactive", "normal", "batch"][n % 3]);
        let client = client.clone();
        async move { client.submit(&body).await }
    });
    let ids = join_all(submitted).await;
    for (n, id) in ids.iter().enumerate() {
        client.job_in(id, "completed").await;
        assert_eq!(model.times(&format!("job {n}")), 1);
    }
    assert_eq!((model.counts().highest, model.counts().seen), (1, 160));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interactive_job_waits_for_one_attempt_and_not_for_the_batch_before_it() {
    const ATTEMPT: Duration = Duration::from_millis(100);
    let rig = Rig::start("slots: 1").await;
    let client = rig.broker.client();
    rig.model.from_now_on(Behaviour::after(100));
    let batch = |n: usize| {
        let mut body = chat("m", &format!("batch {n}"));
        body["band"] = json!("batch");
        body
    };
    let client = &client;
    join_all((0..600).map(|n| async move { client.submit(&batch(n)).await })).await;
    rig.model.until("the batch runs", |c| c.answered >= 2).await;

    let mut waits = Vec::new();
    for n in 0..10 {
        let begun = Instant::now();
        let whole = client.post("/v1/chat/completions", &chat("m", &format!("now {n}"))).await.expect(200);
        let wait = begun.elapsed().saturating_sub(ATTEMPT);
        assert_eq!(whole.content(), format!("re now {n} 1 2"));
        waits.push(wait);
    }
    waits.sort_unstable();
    eprintln!("an interactive job behind 600 batch jobs of {ATTEMPT:?} waits {:?} in the middle, {:?} at most", waits[5], waits[9]);
    assert!(waits[9] < ATTEMPT + Duration::from_millis(300), "{waits:?}");
    assert_eq!(rig.model.counts().highest, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_of_one_account_share_what_it_allows() {
    let (_nats, broker, _workers, models) = pair(&["m"], "slots: 4, account: ours, rpm: 6").await;
    let client = broker.client();
    let begun = Instant::now();
    for n in 0..12 {
        client.submit(&chat("m", &format!("job {n}"))).await;
    }

    until("the first minute's worth", async || (seen(&models) >= 6).then_some(())).await;
    // One more comes every ten seconds, for both together.
    until("one more", async || (seen(&models) >= 7).then_some(())).await;
    let allowed = |since: Duration| 6 + usize::try_from((since.as_secs() + 1) / 10).unwrap();
    assert!(seen(&models) <= allowed(begun.elapsed()), "{} after {:?}", seen(&models), begun.elapsed());
    assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_its_hours_a_backend_takes_nothing() {
    let nats = NatsServer::start().await;
    let (day, night) = (FakeModel::serving(&["m", "big"]).await, FakeModel::serving(&["m", "big"]).await);
    let broker = broker(&nats.url(), "").await;
    let hour = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour();
    let later = format!("hours: [\"{:02}:00-{:02}:00 UTC\"]", (hour + 6) % 24, (hour + 7) % 24);
    let _closed = worker("night", &nats.url(), &night, &format!("slots: 4, {later}, models: [{{name: m}}, {{name: big}}]"));
    let _open = worker("day", &nats.url(), &day, "slots: 1, models: [{name: m}]");
    let client = broker.client();
    joined(&client, &["day", "night"]).await;
    let only_there = client.submit(&chat("big", "waits")).await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(client.submit(&chat("m", &format!("job {n}"))).await);
    }

    for id in &ids {
        assert_eq!(client.job_in(id, "completed").await["backend"], "day");
    }
    assert_eq!((night.counts().seen, client.job(&only_there).await["state"].clone()), (0, Value::from("queued")));
    let workers = client.get("/v1/workers").await.expect(200).json();
    let closed = workers["data"].as_array().unwrap().iter().find(|w| w["name"] == "night").unwrap();
    assert_eq!(closed["backends"][0]["closed"], true, "{closed}");
}
