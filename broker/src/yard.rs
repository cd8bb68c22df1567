//! Puts the parts together: log, read model, engine, workers and HTTP, in one process.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::work::Offer;
use pullyard_schemas::{JobId, Lane, Scope, Seq, Timestamp, Token, Usage};
use pullyard_worker::adapter::{self, Call, Endpoint};
use pullyard_worker::run::{self, BackendSpec, Executor, Worker};
use pullyard_worker::transport::BoxFuture;
use pullyard_worker::transport::embedded::{EmbeddedTransport, OutputSink};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Backend, Config};
use crate::core::policy::{Catalog, Model};
use crate::core::schedule;
use crate::engine::{self, Capacity, OutputHub};
use crate::http::{self, App, LiveConfig};
use crate::log::{FileLog, Options as LogOptions};
use crate::readmodel::{Projector, ReadModel};

/// How often backends are asked for their models.
const DISCOVERY: Duration = Duration::from_secs(15);

/// The wall clock, which may jump; only the engine's turn reads it.
#[must_use]
pub fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl OutputSink for OutputHub {
    fn chunk(&self, job: JobId, token: Token, number: u32, chunk: Bytes) {
        self.push(job, token, number, chunk);
    }
}

/// Runs an attempt against one model server.
#[derive(Debug)]
struct Backhaul {
    client: reqwest::Client,
    endpoint: Endpoint,
}

impl Executor for Backhaul {
    fn run<'a>(
        &'a self,
        model: &'a str,
        offer: &'a Offer,
        body: Bytes,
        on_chunk: &'a mut (dyn FnMut(Bytes) + Send),
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<run::Finished, run::Broken>> {
        Box::pin(async move {
            let call = Call { kind: offer.kind, model: model.into(), stream: offer.stream, body };
            let mut each = |chunk: adapter::Chunk| on_chunk(chunk.data);
            match adapter::drive(&self.client, &self.endpoint, call, &mut each, cancel).await {
                Ok(done) => Ok(run::Finished { usage: done.usage, finish: done.finish }),
                Err(broken) => Err(run::Broken { failure: broken.failure, usage: broken.usage, delivered: broken.delivered }),
            }
        })
    }
}
