//! The NATS transport does what every transport must.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pullyard_schemas::WorkerId;
use pullyard_tests::NatsServer;
use pullyard_worker::transport::conformance::{Chunks, Fixture, Maker, suite};
use pullyard_worker::transport::nats::{BrokerSide, Link, Options, Role, WorkerSide};
use pullyard_worker::transport::{BoxFuture, WorkerEnd};
use tokio::sync::mpsc;

#[derive(Debug)]
struct OverNats {
    url: String,
    made: AtomicU32,
}

impl OverNats {
    async fn link(&self, role: Role, yard: u32) -> Link {
        let options = Options { prefix: format!("yard{yard}"), ..Options::new(&self.url, role) };
        let link = Link::open(options).await.unwrap();
        link.ready(Duration::from_secs(10)).await.unwrap();
        link
    }

    async fn fixture(&self) -> Fixture {
        // Each check has a yard of its own on the one server.
        let yard = self.made.fetch_add(1, Ordering::Relaxed);
        let hold = Duration::from_secs(2);
        let (words, heard) = mpsc::unbounded_channel();
        let output = Arc::new(Chunks::default());
        let broker = BrokerSide::start(self.link(Role::Broker, yard).await, hold, words, output.clone()).await.unwrap();
        broker.way().wait_for(Result::is_ok).await.unwrap();
        let mut workers = Vec::new();
        for name in ["w0", "w1"] {
            let link = self.link(Role::Local, yard).await;
            let (side, _) = WorkerSide::start(link, WorkerId(name.into()), hold, Duration::from_millis(500)).await.unwrap();
            workers.push(side as Arc<dyn WorkerEnd>);
        }
        let workers: [Arc<dyn WorkerEnd>; 2] = workers.try_into().unwrap();
        Fixture { broker, workers, heard, output, hold }
    }
}

impl Maker for OverNats {
    fn make(&self) -> BoxFuture<'_, Fixture> {
        Box::pin(self.fixture())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nats_transport_does_what_every_transport_must() {
    let server = NatsServer::start().await;
    suite(&OverNats { url: server.url(), made: AtomicU32::new(0) }).await;
}
