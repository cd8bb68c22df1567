//! A broker, a nats-server and workers, each a process of its own.

use pullyard_tests::{Client, Event, Events, FakeModel, NatsServer, QUICK, Setup, TestBroker, TestWorker, until};
use serde_json::Value;

/// A broker on this server, with `more` in its file.
pub(super) async fn broker(nats: &str, more: &str) -> TestBroker {
    setup(nats, more).start().await
}

pub(super) fn setup(nats: &str, more: &str) -> Setup {
    Setup::new(format!("{QUICK}nats: {{servers: \"{nats}\"}}\n{more}"))
}

/// A worker that fronts this model server.
pub(super) fn worker(name: &str, nats: &str, model: &FakeModel, more: &str) -> TestWorker {
    TestWorker::start(name, nats, &format!("backends:\n{}", model.backend(name, more)))
}

/// Waits until these workers are there.
pub(super) async fn joined(client: &Client, names: &[&str]) {
    until(&format!("workers {names:?}"), async || {
        let list = client.get("/v1/workers").await.expect(200).json();
        let there = |name: &&str| {
            list["data"]
                .as_array()
                .unwrap()
                .iter()
                .any(|w| w["name"] == **name && w["mode"] != "gone" && w["backends"][0]["models"][0].is_object())
        };
        names.iter().all(there).then_some(())
    })
    .await;
    until("the models", async || (client.get("/readyz").await.json()["models"].as_u64() > Some(0)).then_some(())).await;
}

/// One of each, and a model server.
pub(super) struct Rig {
    pub(super) nats: NatsServer,
    pub(super) broker: TestBroker,
    pub(super) worker: TestWorker,
    pub(super) model: FakeModel,
}

impl Rig {
    /// With `settings` for the backend.
    pub(super) async fn start(settings: &str) -> Self {
        Self::on(NatsServer::start().await, settings, "").await
    }

    /// On this server, with `more` in the broker's file.
    pub(super) async fn on(nats: NatsServer, settings: &str, more: &str) -> Self {
        let model = FakeModel::start().await;
        let broker = broker(&nats.url(), more).await;
        let worker = worker("w1", &nats.url(), &model, settings);
        joined(&broker.client(), &["w1"]).await;
        Self { nats, broker, worker, model }
    }
}

/// Waits until this has happened to a job so often.
pub(super) async fn happened(client: &Client, id: &str, event: &str, times: usize) {
    until(&format!("{event}, {times} times"), async || {
        (client.events(id).await.iter().filter(|e| *e == event).count() == times).then_some(())
    })
    .await;
}

/// What a completed job answered.
pub(super) fn content(job: &Value) -> &str {
    job["result"]["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("no text: {job}"))
}

/// Reads until the text is this.
pub(super) async fn reads(events: &mut Events, wanted: &str) -> Vec<Event> {
    let mut read = Vec::new();
    while text(&read) != wanted {
        let event = events.next().await.unwrap_or_else(|| panic!("the stream ended behind {:?}", text(&read)));
        if event.comment.is_none() {
            read.push(event);
        }
    }
    read
}

pub(super) fn text(events: &[Event]) -> String {
    events.iter().map(Event::content).collect()
}

/// The ids of what has one, in the order in which it came.
pub(super) fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().filter_map(|e| e.id.as_deref()).collect()
}

/// The last word of each request that the model server had: whose, and what.
pub(super) fn asked(model: &FakeModel) -> Vec<(String, String)> {
    let last = |body: &Value| body["messages"].as_array().unwrap().last().unwrap().clone();
    let word = |message: Value| (message["role"].as_str().unwrap().to_owned(), message["content"].as_str().unwrap().to_owned());
    model.seen().iter().map(|seen| word(last(&seen.body))).collect()
}

/// How many words of workers wait in NATS.
pub(super) async fn words(nats: &NatsServer) -> u64 {
    let streams = nats.monitor("/jsz?streams=true").await;
    let streams = streams["account_details"][0]["stream_detail"].as_array().unwrap();
    let words = streams.iter().find(|s| s["name"].as_str().unwrap().ends_with("_REPORTS")).unwrap();
    words["state"]["messages"].as_u64().unwrap()
}
