//! How a worker is let in.

use std::time::Duration;

use futures_util::StreamExt as _;
use pullyard_schemas::WorkerId;
use pullyard_schemas::fleet::{Hello, PROTOCOL};
use pullyard_tests::NatsServer;
use pullyard_worker::transport::nats::{Link, Options, Role, hello};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(2);

async fn link(nats: &NatsServer, role: Role) -> Link {
    let link = Link::open(Options::new(&nats.url(), role)).await.unwrap();
    link.ready(Duration::from_secs(10)).await.unwrap();
    link
}

/// A broker that gives one answer for as long as it lives.
async fn answers(broker: &Link, answer: Value, times: usize) {
    let mut hellos = broker.client().subscribe(broker.names().hello()).await.unwrap();
    for _ in 0..times {
        let asked = hellos.next().await.unwrap();
        broker.client().publish(asked.reply.unwrap(), answer.to_string().into()).await.unwrap();
    }
    hellos.unsubscribe().await.unwrap();
    broker.client().flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_name_is_taken_does_not_give_up_because_the_broker_was_away() {
    let nats = NatsServer::start().await;
    let (broker, worker) = (link(&nats, Role::Broker).await, link(&nats, Role::Local).await);
    let greeting = Hello { protocol: PROTOCOL, worker: WorkerId("w".into()), instance: "2".into(), version: "0".into() };
    let asks = tokio::spawn(async move { hello(&worker, &greeting, PATIENCE).await });

    // A broker that has started anew has yet to find out that the one of that name is gone.
    answers(&broker, json!({"later": "taken"}), 3).await;
    tokio::time::sleep(PATIENCE).await;
    answers(&broker, json!({"later": "taken"}), 3).await;
    answers(&broker, json!({"in": {"version": "0", "lease_ms": 8_000}}), 1).await;

    assert_eq!(asks.await.unwrap().unwrap().lease_ms, 8_000);
}
