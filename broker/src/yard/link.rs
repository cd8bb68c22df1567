//! What lies between a broker and workers on other machines.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pullyard_schemas::fleet::{Hello, Welcome};
use pullyard_worker::fleet::{Post, Roster};
use pullyard_worker::limits::Quota;
use pullyard_worker::transport::{BrokerEnd, Incoming, OutputSink, WorkerEnd};
use tokio::sync::mpsc;

use super::{Env, Error};
use crate::config::{self, Config, Login, Storage};

/// A broker's end.
#[derive(Debug)]
pub struct BrokerLink {
    pub end: Arc<dyn BrokerEnd>,
    pub incoming: mpsc::UnboundedReceiver<Incoming>,
    pub roster: Arc<dyn Roster>,
    /// What the workers are reached by, for people; without secrets.
    pub reached: Option<String>,
}

/// A worker's end, after the broker has welcomed it.
#[derive(Debug)]
pub struct WorkerLink {
    pub end: Arc<dyn WorkerEnd>,
    pub post: Arc<dyn Post>,
    pub quota: Arc<dyn Quota>,
    pub welcome: Welcome,
    /// What the broker is reached by, for people; without secrets.
    pub reached: String,
}

// PLACEHOLDER until the NATS transport is merged: these types are those of `pullyard_worker::transport::nats`.

/// Who connects: each has an inbox of its own, because whoever may read another's inbox reads what is delivered there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Broker,
    Local,
    Cloud,
}

/// How to connect, with every secret read.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub servers: Vec<String>,
    pub prefix: String,
    pub auth: Login,
    pub tls: Option<Tls>,
    pub replicas: u32,
    pub storage: Storage,
    pub role: Role,
    pub name: String,
}

/// Certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub first: bool,
}

/// PLACEHOLDER: connects a broker. It must not wait for NATS: a broker takes jobs while NATS is away.
pub(super) async fn broker(options: Options, lease: Duration, sink: Arc<dyn OutputSink>) -> Result<BrokerLink, Error> {
    drop((options, lease, sink));
    Err(Error::Nats(ABSENT.into()))
}

/// PLACEHOLDER: connects a worker and says hello; resolves when the broker has answered.
pub(super) async fn worker(options: Options, hello: Hello) -> Result<WorkerLink, Error> {
    drop((options, hello));
    Err(Error::Nats(ABSENT.into()))
}

const ABSENT: &str = "this program was built without its transport";

/// What the configuration says of NATS, with its secrets.
pub(super) fn options(config: &Config, role: Role, name: &str, env: Env) -> Result<Options, Error> {
    let nats = config.nats.clone().unwrap_or_default();
    let auth = nats.login(&env)?;
    let config::Nats { servers, prefix, tls, replicas, storage, .. } = nats;
    let tls = tls.map(|config::Tls { ca, cert, key, first }| Tls { ca, cert, key, first });
    Ok(Options { servers, prefix, auth, tls, replicas, storage, role, name: name.to_owned() })
}
