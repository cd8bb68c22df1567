//! A broker, a nats-server and workers, each a process of its own.

use pullyard_tests::{Client, FakeModel, NatsServer, QUICK, Setup, TestBroker, TestWorker, until};

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
                .any(|w| w["name"] == **name && w["gone"].is_null() && w["backends"][0]["models"][0].is_object())
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
