//! A broker whose workers are elsewhere. Backends that its own configuration names it serves too, as one worker of many.

use std::sync::Arc;

use pullyard_schemas::WorkerId;
use pullyard_worker::fleet::Post;
use pullyard_worker::limits::Accounts;
use pullyard_worker::run::Worker;
use pullyard_worker::transport::OutputSink;

use super::crew::Crew;
use super::link::{self, BrokerLink, Role};
use super::{Env, Error, instance, machine, outpost};
use crate::config::{Config, as_worker_name};

pub(super) async fn open(config: &Config, env: Env, sink: Arc<dyn OutputSink>) -> Result<(Option<Crew>, BrokerLink), Error> {
    let accounts = Arc::new(Accounts::default());
    let link = link::broker(link::options(config, Role::Broker, "broker", env)?, config.lease, sink, accounts.clone()).await?;
    if config.backends.is_empty() {
        return Ok((None, link));
    }
    let id = own_name(config, env);
    let (end, post) = link::own_worker(link::options(config, Role::Broker, &id.0, env)?, id.clone(), config.lease).await?;
    let worker = Arc::new(Worker::new(id, end, config.lease).with_quota(accounts));
    let crew = Crew::new(worker.clone(), env, instance());
    tokio::spawn(outpost::put_up(post.clone(), crew.card(), crew.known()));
    tokio::spawn(heed(post, worker));
    Ok((Some(crew), link))
}

/// A worker process on the same machine has the machine's name.
pub(super) fn own_name(config: &Config, env: Env) -> WorkerId {
    config.worker.name.clone().unwrap_or_else(|| as_worker_name(&format!("broker-{}", machine(env))))
}

async fn heed(post: Arc<dyn Post>, worker: Arc<Worker>) {
    let mut orders = post.orders();
    while let Some(told) = orders.recv().await {
        let _ = told.answer.send(super::embedded::obey(&worker, told.order));
    }
}
