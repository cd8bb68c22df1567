//! The broker under test: its configuration, its start and its folder.

use std::fs::File;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use tempfile::TempDir;

use crate::child::{Child, free_addr, pullyard};
use crate::wire;

/// When an event counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// After fdatasync: what the broker does unless told otherwise.
    Flush,
    /// After write; the disk follows every 50 ms.
    Relaxed,
}

/// What the measurements set; all else is as it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) backend: SocketAddr,
    /// Attempts at once.
    pub(crate) slots: usize,
    pub(crate) durability: Durability,
}

const FOLDERS: &str = env!("CARGO_TARGET_TMPDIR");
const PREFIX: &str = "yard-";

/// A folder for data on the disk that is measured. The build folder is used because the usual one for temporary files is
/// often in memory.
pub(crate) fn folder() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix(PREFIX).tempdir_in(FOLDERS)?)
}

/// Removes what a run that was killed has left: it may be gigabytes.
pub(crate) fn clean() -> anyhow::Result<()> {
    for entry in std::fs::read_dir(FOLDERS)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A running broker.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    /// From the start of the process to the first answer that says that jobs are taken.
    pub(crate) ready_after: Duration,
}

impl Deref for Broker {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.child
    }
}

impl Broker {
    /// Starts on a folder, which may hold the log of an earlier run, and returns when it is ready.
    pub(crate) fn start(folder: &Path, setup: Setup) -> anyhow::Result<Self> {
        let broker = Self::with(folder, setup.durability, &backends(setup))?;
        broker.await_model()?;
        Ok(broker)
    }

    /// The same without a backend of its own; its workers come by way of NATS.
    pub(crate) fn over_nats(folder: &Path, nats: SocketAddr, durability: Durability) -> anyhow::Result<Self> {
        Self::with(folder, durability, &format!("nats: {{servers: \"nats://{nats}\"}}\n"))
    }

    fn with(folder: &Path, durability: Durability, more: &str) -> anyhow::Result<Self> {
        let addr = free_addr()?;
        let file = configure(folder, addr, durability, more)?;
        let messages = folder.join("messages");
        let begun = Instant::now();
        let arguments = ["serve", "--log", "warn", "--config", &file.display().to_string()];
        let mut child = Child::program(pullyard(), &arguments, addr, File::create(&messages)?)?;
        loop {
            // While it reads its log it accepts connections and answers nothing, so one request spans the whole wait.
            if matches!(wire::ask(addr, "GET", "/readyz", ""), Ok((200, _))) {
                break;
            }
            if !child.running() || begun.elapsed() > Duration::from_secs(120) {
                bail!("the broker does not start: {}", std::fs::read_to_string(&messages).unwrap_or_default().trim());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let ready_after = begun.elapsed();
        Ok(Self { child, ready_after })
    }

    /// Waits until the backend has been asked for its models.
    pub(crate) fn await_model(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !wire::ask(self.addr, "GET", "/v1/models", "")?.1.contains(crate::load::MODEL) {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(10), "the broker does not find its backend's model");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// One value of `/metrics`, summed over its labels.
    pub(crate) fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let (_, text) = wire::ask(self.addr, "GET", "/metrics", "")?;
        let of = |line: &str| -> Option<f64> {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with([' ', '{']) {
                return None;
            }
            rest.rsplit(' ').next()?.parse().ok()
        };
        Ok(text.lines().filter_map(of).sum())
    }

    /// Ends it as an operator would.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.child.stop()
    }
}

/// The part of a configuration that names the mock, for a broker or a worker.
pub(crate) fn backends(setup: Setup) -> String {
    let Setup { backend, slots, .. } = setup;
    // A backend that holds its slots must not run into a timeout.
    format!(
        "backends:\n\
         - {{name: bench, adapter: openai, url: \"http://{backend}/v1\", slots: {slots}, timeouts: {{first_token: 2h, attempt: 2h}}}}\n"
    )
}

fn configure(folder: &Path, addr: SocketAddr, durability: Durability, more: &str) -> anyhow::Result<PathBuf> {
    let durability = match durability {
        Durability::Flush => "flush",
        Durability::Relaxed => "relaxed",
    };
    // Two million jobs may wait.
    let text = format!(
        "listen: {addr}\n\
         data: {}\n\
         drain_timeout: 1s\n\
         queue: {{max_jobs: 2000000, max_bytes: 4GB}}\n\
         log: {{durability: {durability}, flush_every: 50ms}}\n\
         {more}",
        folder.join("data").display()
    );
    let file = folder.join("pullyard.yaml");
    std::fs::write(&file, text)?;
    Ok(file)
}
