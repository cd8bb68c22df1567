//! Local means local, and it is the NATS server that says so.

use std::sync::{Arc, Mutex};

use async_nats::{ConnectOptions, Event};
use futures_util::StreamExt as _;
use pullyard_tests::{Behaviour, FakeModel, NatsOptions, NatsServer, PATIENCE, Setup, TestBroker, TestWorker, chat, until};
use serde_json::{Value, json};

use super::rig::joined;

/// A broker, a worker of ours and one elsewhere, each with its own user on a server that runs with what the program prints.
struct Guarded {
    nats: NatsServer,
    broker: TestBroker,
    _home: TestWorker,
    _far: TestWorker,
    local: FakeModel,
    cloud: FakeModel,
}

const PASSWORDS: [(&str, &str); 3] =
    [("PULLYARD_BROKER_PASSWORD", "pass-b"), ("PULLYARD_LOCAL_PASSWORD", "pass-l"), ("PULLYARD_CLOUD_PASSWORD", "pass-c")];

/// What the program prints for nats-server.
fn permissions() -> String {
    let printed = std::process::Command::new(pullyard_tests::binary()).args(["nats", "permissions"]).output().unwrap();
    assert!(printed.status.success());
    String::from_utf8(printed.stdout).unwrap()
}

fn guarded_worker(name: &str, nats: &NatsServer, role: &str, password: &str, backends: &str) -> TestWorker {
    let yaml = format!("worker: {{role: {role}}}\ndiscover: false\nbackends:\n{backends}");
    let user = format!("yard-{role}");
    TestWorker::start_with(name, &nats.url(), &yaml, &[("PULLYARD_NATS_USER", &user), ("PULLYARD_NATS_PASSWORD", password)])
}

impl Guarded {
    async fn start() -> Self {
        let env = PASSWORDS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let nats = NatsServer::start_with(NatsOptions { config_extra: permissions(), env, ..NatsOptions::default() }).await;
        let (local, cloud) = (FakeModel::serving(&["m"]).await, FakeModel::serving(&["m", "far-only"]).await);
        let yaml = format!("nats: {{servers: \"{}\", user: yard-broker, password: \"env:NATS_PASSWORD\"}}\n", nats.url());
        let broker = Setup::new(yaml).env("NATS_PASSWORD", "pass-b").start().await;
        let home = guarded_worker("home", &nats, "local", "pass-l", &local.backend("home", "slots: 1"));
        let far = guarded_worker("far", &nats, "cloud", "pass-c", &cloud.backend("far", "slots: 8"));
        joined(&broker.client(), &["home", "far"]).await;
        Self { nats, broker, _home: home, _far: far, local, cloud }
    }
}

fn private(prompt: &str) -> Value {
    private_for("m", prompt)
}

fn private_for(model: &str, prompt: &str) -> Value {
    let mut body = chat(model, prompt);
    body["scope"] = json!("local");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_job_stays_with_the_workers_of_ours_and_others_run_everywhere() {
    let yard = Guarded::start().await;
    let client = yard.broker.client();
    yard.local.then([Behaviour::hold(0)]);
    let first = client.submit(&private("first")).await;
    client.job_in(&first, "running").await;
    let mut ids = vec![first];
    for n in 0..20 {
        ids.push(client.submit(&private(&format!("private {n}"))).await);
    }
    let public = client.submit(&chat("far-only", "public")).await;

    // Many slots are free elsewhere.
    assert_eq!(client.job_in(&public, "completed").await["backend"], "far");
    assert_eq!(yard.cloud.counts().seen, 1);
    yard.local.release(1);
    for id in &ids {
        assert_eq!(client.job_in(id, "completed").await["backend"], "home");
    }
    assert_eq!((yard.local.counts().seen, yard.cloud.counts().seen), (21, 1));
    let refused = client.post("/v1/jobs", &private_for("far-only", "x")).await.expect(400);
    assert!(refused.error().contains("local"), "{}", refused.error());
}

/// A client with the rights of a cloud worker, and what the server had against it.
struct Intruder {
    client: async_nats::Client,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Intruder {
    async fn at(nats: &NatsServer) -> Self {
        let refusals = Arc::new(Mutex::new(Vec::new()));
        let heard = refusals.clone();
        let client = ConnectOptions::with_user_and_password("yard-cloud".into(), "pass-c".into())
            .custom_inbox_prefix("_INBOX_yard_cloud")
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    heard.lock().unwrap().push(error.to_string());
                }
                std::future::ready(())
            })
            .connect(nats.url())
            .await
            .unwrap();
        Self { client, refusals }
    }

    async fn is_refused(&self, what: &str, subject: &str) {
        let wanted = format!("permissions violation for {what} to \"{subject}\"").to_lowercase();
        until(&format!("{wanted}; said was {:?}", self.refusals.lock().unwrap()), async || {
            self.refusals.lock().unwrap().iter().any(|said| said.to_lowercase().contains(&wanted)).then_some(())
        })
        .await;
    }

    async fn may_not_say(&self, subject: &str) {
        let inbox = self.client.new_inbox();
        self.client.publish_with_reply(subject.to_owned(), inbox, "{}".into()).await.unwrap();
        self.client.flush().await.unwrap();
        self.is_refused("publish", subject).await;
    }

    async fn may_not_hear(&self, subject: &str) {
        let _heard = self.client.subscribe(subject.to_owned()).await.unwrap();
        self.client.flush().await.unwrap();
        self.is_refused("subscription", subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_refuses_a_cloud_worker_everything_local() {
    let yard = Guarded::start().await;
    let client = yard.broker.client();
    yard.local.from_now_on(Behaviour::hold(0));
    let running = client.submit(&private("running")).await;
    client.job_in(&running, "running").await;
    client.submit(&private("secret")).await;
    let intruder = Intruder::at(&yard.nats).await;

    // Pulling, reading past the consumers, and consumers of its own.
    for api in [
        "CONSUMER.MSG.NEXT.YARD_v1_LANES_LOCAL.m_hi",
        "STREAM.MSG.GET.YARD_v1_LANES_LOCAL",
        "DIRECT.GET.YARD_v1_LANES_LOCAL",
        "DIRECT.GET.YARD_v1_LANES_LOCAL.yard.v1.lane.local.hi.m.x",
        "CONSUMER.CREATE.YARD_v1_LANES_LOCAL",
        "CONSUMER.CREATE.YARD_v1_LANES_LOCAL.mine",
        "CONSUMER.DURABLE.CREATE.YARD_v1_LANES_LOCAL.mine",
        "CONSUMER.CREATE.YARD_v1_REPORTS.mine",
        "STREAM.MSG.GET.YARD_v1_REPORTS",
        "STREAM.MSG.GET.KV_YARD_v1_WORKERS",
        "STREAM.CREATE.MINE",
        "STREAM.UPDATE.YARD_v1_LANES_LOCAL",
        "STREAM.PURGE.YARD_v1_LANES_LOCAL",
        "STREAM.DELETE.YARD_v1_LANES_LOCAL",
    ] {
        intruder.may_not_say(&format!("$JS.API.{api}")).await;
    }
    // Acknowledging what others hold, offering, asking for private requests, speaking into others' inboxes.
    for subject in [
        "$JS.ACK.YARD_v1_LANES_LOCAL.m_hi.1.1.1.1.0",
        "yard.v1.lane.local.hi.m.x",
        "yard.v1.lane.any.hi.m.x",
        "yard.v1.body.local",
        "yard.v1.control.home",
        "_INBOX_yard_local.x",
    ] {
        intruder.may_not_say(subject).await;
    }
    for subject in [
        "yard.v1.bell.local.>",
        "yard.v1.bell.>",
        "yard.v1.lane.>",
        "yard.v1.lane.local.>",
        "yard.v1.body.local",
        "yard.v1.body.*",
        "yard.v1.word.*",
        "yard.v1.output.*",
        "_INBOX_yard_local.>",
        "_INBOX_yard_broker.>",
        "_INBOX.>",
        "$KV.>",
        "$JS.>",
        "yard.>",
        ">",
    ] {
        intruder.may_not_hear(subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_gives_a_private_request_to_nobody_who_asks_where_cloud_workers_may() {
    let yard = Guarded::start().await;
    let client = yard.broker.client();
    yard.local.from_now_on(Behaviour::hold(0));
    // Too large for its offer, so that it is fetched.
    let large = client.submit(&private(&"secret ".repeat(400_000))).await;
    client.job_in(&large, "running").await;
    let intruder = Intruder::at(&yard.nats).await;

    // Before the question, whose answer shows that the server knows of the subscription.
    let mut told = intruder.client.subscribe("yard.v1.control.*").await.unwrap();
    let question = format!("{{\"job\":\"{large}\",\"token\":1,\"at\":0}}\n");
    let answer = intruder.client.request("yard.v1.body.any", question.into()).await.unwrap();
    assert!(answer.payload.is_empty(), "{} bytes", answer.payload.len());

    // Nor does it hear of the worker's output, though it may hear what workers are told.
    client.post(&format!("/v1/jobs/{large}/cancel"), &json!({})).await.expect(200);
    let heard = tokio::time::timeout(PATIENCE, told.next()).await.unwrap().unwrap();
    assert!(heard.payload.len() < 200 && !String::from_utf8_lossy(&heard.payload).contains("secret"));
}
