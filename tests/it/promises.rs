//! What the architecture promises and no other scenario shows: honest overload, privacy, one outcome, every attempt accounted.

use std::time::Duration;

use futures_util::future::join_all;
use pullyard_tests::{Behaviour, Client, FakeModel, QUICK, Setup, TestBroker, chat, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let yaml = format!(
        "queue: {{max_jobs: 5, max_jobs_per_key: 2}}\nkeys: [{{name: ann, key: \"env:ANN\"}}, {{name: bob, key: \"env:BOB\"}}, {{name: cy, key: \"env:CY\"}}]\nbackends:\n{}",
        model.backend("a", "slots: 1")
    );
    let broker = Setup::new(yaml).env("ANN", "a-secret").env("BOB", "b-secret").env("CY", "c-secret").start().await;
    let [ann, bob, cy] = ["a-secret", "b-secret", "c-secret"].map(|key| broker.client().key(key));
    // One runs and one is on its way to run: those wait no more.
    let mut ids = vec![ann.submit(&chat("m", "runs")).await];
    ann.job_in(&ids[0], "running").await;
    ids.push(ann.submit(&chat("m", "next")).await);
    for client in [&ann, &ann, &bob, &bob] {
        ids.push(client.submit(&chat("m", "waits")).await);
    }

    let refused = async |client: &Client, status: u16| {
        for path in ["/v1/jobs", CHAT] {
            let refused = client.post(path, &chat("m", "x")).await.expect(status);
            assert!(refused.error().contains("queue is full"), "{}", refused.error());
            assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
        }
    };
    // Who is loud is told so; when the yard is full, everybody is.
    refused(&ann, 429).await;
    ids.push(cy.submit(&chat("m", "waits")).await);
    refused(&cy, 503).await;
    let mut ahead: Vec<u64> = Vec::new();
    for id in &ids[2..] {
        let job = ann.job(id).await;
        assert_eq!(job["state"], "queued");
        ahead.push(job["position"].as_u64().unwrap());
    }
    // Keys take turns, so the second of each waits for the first of all.
    assert!(ahead[1] >= 3 && ahead[3] >= 3 && [ahead[0], ahead[2], ahead[4]].iter().all(|n| *n <= 2), "{ahead:?}");

    model.release(7);
    for id in &ids {
        ann.job_in(id, "completed").await;
    }
    assert_eq!((model.counts().seen, model.counts().highest), (7, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_stay_local_never_reaches_a_cloud_backend() {
    let (cloud, local) = (FakeModel::serving(&["big", "both"]).await, FakeModel::serving(&["small", "both"]).await);
    let local = local.usually(Behaviour::status(500));
    let yaml = format!(
        "retries: {{max_attempts: 4, max_attempts_per_target: 1, backoff: 5ms, backoff_max: 5ms}}\nclasses: {{work: [big, small, both]}}\nbackends:\n{}{}",
        cloud.backend("cloud", "local: false"),
        local.backend("home", "local: true, breaker: {allowed_fails: 2, cooldown: 100ms}")
    );
    let broker = TestBroker::with(yaml).await;
    let client = broker.client();
    let private = |model: &str| {
        let mut body = chat(model, "secret");
        body["scope"] = json!("local");
        body
    };

    let refused = client.post(CHAT, &private("big")).await.expect(400);
    assert!(refused.error().contains("local"), "{}", refused.error());
    // Also when the local backend fails and breaks, and a cloud one could answer.
    for model in ["work", "both", "auto"] {
        let job = client.ended(&client.submit(&private(model)).await).await;
        assert_eq!(job["state"], "parked", "{job}");
    }
    local.from_now_on(Behaviour::after(0));
    assert_eq!(client.post(CHAT, &private("work")).await.expect(200).header("x-pullyard-backend"), Some("home"));
    assert_eq!(cloud.counts().seen, 0);
    assert_eq!(client.post(CHAT, &chat("big", "public")).await.expect(200).header("x-pullyard-backend"), Some("cloud"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_with_one_key_are_one_job() {
    let model = FakeModel::start().await.usually(Behaviour::after(5));
    let broker = TestBroker::with(format!("{QUICK}backends:\n{}", model.backend("a", "slots: 8"))).await;
    let client = broker.client();
    for round in 0..20 {
        let key = format!("k{round}");
        let body = chat("m", &key);
        // Some wait on the connection, some do not, and some come when it has just ended.
        let whole = join_all((0..4).map(|_| async { client.post_once(CHAT, &body, &key).await.unwrap() }));
        let jobs = join_all((0..4).map(|_| async { client.post_once("/v1/jobs", &body, &key).await.unwrap() }));
        let late = async {
            let first = client.post_once(CHAT, &body, &key).await.unwrap();
            let again = client.post_once(CHAT, &body, &key).await.unwrap();
            [first, again]
        };
        let (whole, jobs, late) = futures_util::join!(whole, jobs, late);

        let id = jobs[0].json()["id"].clone();
        assert!(jobs.iter().all(|job| job.json()["id"] == id));
        for reply in whole.into_iter().chain(late) {
            assert_eq!(reply.header("x-job-id"), id.as_str(), "{}", reply.text());
            assert_eq!(reply.expect(200).content(), format!("re {key} 1 2"));
        }
        assert_eq!(model.times(&key), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_is_in_the_accounts() {
    let model = FakeModel::start().await;
    let yaml =
        format!("{QUICK}backends:\n{}", model.backend("a", "slots: 1, local: false, on_leave: cancel, breaker: {allowed_fails: 100}"));
    let broker = TestBroker::with(yaml).await;
    let client = broker.client();
    let ended = async |body: Value| client.ended(&client.submit(&body).await).await;

    assert_eq!(ended(chat("m", "well")).await["state"], "completed");
    model.then([Behaviour::status(500)]);
    assert_eq!(ended(chat("m", "twice")).await["attempts"], 2);
    model.then([Behaviour::CutAfter(2)]);
    assert_eq!(ended(chat("m", "cut")).await["attempts"], 2);
    model.then([Behaviour::hold(2)]);
    let cancelled = client.submit(&chat("m", "cancelled")).await;
    let mut stream = client.stream(&cancelled, None).await;
    assert_eq!((stream.next().await.unwrap().content(), stream.next().await.unwrap().content()), ("re cancelled".into(), " 1".into()));
    client.post(&format!("/v1/jobs/{cancelled}/cancel"), &json!({})).await.expect(200);

    let row = until("all six attempts", async || {
        let usage = client.get("/v1/usage?group_by=backend").await.expect(200).json();
        Some(usage["data"][0].clone()).filter(|row| row["attempts"] == 6)
    })
    .await;
    // Two failed, and the cancelled one ended without a result. Tokens that came before a break are counted too.
    assert_eq!(row["completion_tokens"], 3 + 3 + (2 + 3) + 2, "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_are_jobs_too() {
    let model = FakeModel::start().await;
    let broker = TestBroker::with(format!("{QUICK}backends:\n{}", model.backend("a", ""))).await;
    let job = broker.client().post("/v1/jobs?wait=20s", &json!({"model": "m", "input": "text"})).await.expect(200).json();
    assert_eq!((&job["kind"], &job["result"]["data"][0]["embedding"]), (&json!("embedding"), &json!([0.5, -0.5])));
    assert_eq!(model.seen()[0].path, "/v1/embeddings");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_data_folder_has_one_broker() {
    let broker = TestBroker::with("discover: false").await;
    let second = tokio::time::timeout(Duration::from_secs(20), broker.run(&["serve", "--listen", "127.0.0.1:0"])).await.unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    broker.client().get("/readyz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_for_a_backend_that_is_away_wait_for_it() {
    let model = FakeModel::start().await;
    let mut broker = TestBroker::with(format!(
        "{QUICK}backends:\n{}",
        model.backend("a", "models: [m], slots: 1, breaker: {allowed_fails: 1, cooldown: 100ms}")
    ))
    .await;
    model.from_now_on(Behaviour::status(500));
    let mut body = chat("m", "x");
    body["max_attempts"] = json!(100);
    let id = broker.client().submit(&body).await;
    model.until("the breaker is open", |c| c.seen >= 3).await;
    // A restart forgets that the backend is broken, and not the job.
    broker.restart().await;
    model.from_now_on(Behaviour::after(0));
    broker.client().job_in(&id, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_does_not_put_more_on_a_backend_than_it_bears() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let config = |slots: usize, window: u32| {
        format!("backends:\n{}", model.backend("a", &format!("slots: {slots}, breaker: {{window: {window}s}}")))
    };
    let broker = TestBroker::with(config(2, 60)).await;
    let client = broker.client();
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(client.submit(&chat("m", &n.to_string())).await);
    }
    model.until("two run", |c| c.inside == 2).await;

    let version = async || client.post("/v1/route", &chat("m", "x")).await.expect(200).json()["decision"]["config"].clone();
    let reload = async |yaml: String| {
        let before = version().await;
        std::fs::write(broker.config(), yaml).unwrap();
        broker.signal(Signal::HUP);
        until("the new configuration", async || (version().await != before).then_some(())).await;
    };
    // Whatever else of the backend changes, its slots are the same ones.
    reload(config(2, 61)).await;
    model.release(2);
    model.until("two more run", |c| (c.answered, c.inside) == (2, 2)).await;
    reload(config(4, 61)).await;
    model.until("four run", |c| c.inside == 4).await;
    assert_eq!(model.counts().highest, 4);
    reload(config(1, 61)).await;
    model.release(4);
    model.until("one runs", |c| (c.answered, c.inside) == (6, 1)).await;
    let before = model.counts();
    model.release(1);
    model.until("another runs", |c| (c.answered, c.inside) == (7, 1)).await;
    assert_eq!((before.highest, model.counts().highest), (4, 4));

    model.release(5);
    for id in &ids {
        client.job_in(id, "completed").await;
    }
}
