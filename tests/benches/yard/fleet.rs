//! A fleet on one machine: a broker, a worker that is a process of its own, and a NATS server between them.

use std::fs::File;
use std::path::Path;

use crate::broker::{Broker, Setup, backends};
use crate::child::{Child, pullyard};
use crate::nats::Nats;

/// Three processes. They end in the order in which they are written here.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) worker: Child,
    pub(crate) broker: Broker,
    pub(crate) nats: Nats,
}

impl Fleet {
    /// Starts on a folder; returns when the broker knows what the worker can serve.
    pub(crate) fn start(folder: &Path, setup: Setup) -> anyhow::Result<Self> {
        let nats = Nats::start(folder)?;
        let broker = Broker::over_nats(folder, nats.addr, setup.durability)?;
        let file = folder.join("worker.yaml");
        std::fs::write(&file, format!("drain_timeout: 1s\n{}", backends(setup)))?;
        let (file, server) = (file.display().to_string(), format!("nats://{}", nats.addr));
        let arguments = ["worker", "--log", "warn", "--name", "bench", "--nats", &server, "--config", &file];
        // Nobody connects to a worker; it is found where NATS is.
        let worker = Child::program(pullyard(), &arguments, nats.addr, File::create(folder.join("worker-messages"))?)?;
        broker.await_model()?;
        Ok(Self { worker, broker, nats })
    }

    /// The one that is asked is the first.
    pub(crate) fn processes(&self) -> [&Child; 3] {
        [&self.broker, &self.worker, &self.nats]
    }

    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        self.processes().into_iter().try_for_each(|process| process.settle().map(drop))
    }
}
