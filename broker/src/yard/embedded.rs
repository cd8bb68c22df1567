//! Broker and worker in one process.

use std::sync::Arc;

use pullyard_schemas::WorkerId;
use pullyard_schemas::fleet::{Card, Mode, Order};
use pullyard_worker::fleet::{Roster, Seen, Unheeded};
use pullyard_worker::run::Worker;
use pullyard_worker::transport::embedded::EmbeddedTransport;
use pullyard_worker::transport::{BoxFuture, OutputSink};
use tokio::sync::{mpsc, watch};

use super::crew::Crew;
use super::link::BrokerLink;
use super::{Env, instance, machine};
use crate::config::Config;

/// The worker, and the broker's end of what lies between.
pub(super) fn open(config: &Config, env: Env, sink: Arc<dyn OutputSink>) -> (Option<Crew>, BrokerLink) {
    let (words, incoming) = mpsc::unbounded_channel();
    let transport = EmbeddedTransport::new(words, sink, config.lease);
    let worker = Arc::new(Worker::new(config.worker_id(&machine(env)), transport.clone(), config.lease));
    let crew = Crew::new(worker.clone(), env, instance());
    let roster = Arc::new(Own { worker, card: crew.card(), known: crew.known() });
    (Some(crew), BrokerLink { end: transport, incoming, roster, reached: None, way: None })
}

/// The one worker that there is.
#[derive(Debug)]
struct Own {
    worker: Arc<Worker>,
    card: watch::Receiver<Card>,
    known: watch::Receiver<bool>,
}

impl Roster for Own {
    fn cards(&self) -> mpsc::UnboundedReceiver<Seen> {
        let (tell, seen) = mpsc::unbounded_channel();
        let (mut card, mut known) = (self.card.clone(), self.known.clone());
        tokio::spawn(async move {
            if known.wait_for(|known| *known).await.is_err() {
                return;
            }
            let mut first = true;
            loop {
                let now = card.borrow_and_update().clone();
                let told = tell.send(Seen::Put(now)).is_ok() && (!std::mem::take(&mut first) || tell.send(Seen::All).is_ok());
                if !told || card.changed().await.is_err() {
                    return;
                }
            }
        });
        seen
    }

    fn order<'a>(&'a self, _: &'a WorkerId, order: Order) -> BoxFuture<'a, Result<Mode, Unheeded>> {
        Box::pin(std::future::ready(obey(&self.worker, order).map_err(Unheeded::Refused)))
    }
}

/// A worker that is a part of the broker does not end without it.
pub(super) fn obey(worker: &Worker, order: Order) -> Result<Mode, String> {
    match order {
        Order::Pause => Ok(worker.pause()),
        Order::Resume => Ok(worker.resume()),
        Order::Drain => {
            Err("this worker is a part of the broker, and drains when the broker is stopped; to keep it from starting anything, pause it"
                .into())
        }
    }
}
