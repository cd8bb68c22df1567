//! A real NATS server as a process.

mod fetch;

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::{PATIENCE, resident, until};

/// What is special about a server.
#[derive(Clone, Debug, Default)]
pub struct NatsOptions {
    /// The largest message, where it is not the server's own 1 MiB.
    pub max_payload: Option<u64>,
    /// Lines within the configuration's `jetstream` block, such as `max_file_store: 10MB`.
    pub jetstream_extra: String,
    /// Lines at the end of the configuration, such as an `authorization` block.
    pub config_extra: String,
    /// What the configuration takes from the environment.
    pub env: Vec<(String, String)>,
}

/// A server with JetStream and a store of its own, on a port that stays the same; killed when it is dropped.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    dir: TempDir,
    clients: Port,
    monitor: Port,
    env: Vec<(String, String)>,
    process: Option<Child>,
}

/// A port that nobody else gets, also while the server is gone: it is bound and never listened on. The kernel gives such
/// a port to nobody who asks for just any, and lets one listen on it who asks for it by number and shares addresses, as
/// nats-server does.
#[derive(Debug)]
struct Port {
    address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    fn hold() -> Self {
        let held = TcpSocket::new_v4().unwrap();
        held.set_reuseaddr(true).unwrap();
        held.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { address: held.local_addr().unwrap(), _held: held }
    }
}

impl NatsServer {
    /// The program of the server; fetched once if it is nowhere.
    pub async fn program() -> PathBuf {
        fetch::program().await
    }

    /// With nothing special about it.
    pub async fn start() -> Self {
        Self::start_with(NatsOptions::default()).await
    }

    /// Asks the program whether it would start with this configuration and this environment.
    ///
    /// # Errors
    /// What it has against them.
    pub async fn takes(config: &Path, env: &[(&str, &str)]) -> Result<(), String> {
        let mut command = Command::new(fetch::program().await);
        command.env_clear().envs(env.iter().copied()).arg("-t").arg("--config").arg(config);
        let said = command.output().unwrap();
        if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
    }

    /// Starts it and waits until it talks to clients.
    pub async fn start_with(options: NatsOptions) -> Self {
        let program = fetch::program().await;
        let dir = tempfile::tempdir().unwrap();
        let mut server = Self { program, dir, clients: Port::hold(), monitor: Port::hold(), env: options.env.clone(), process: None };
        std::fs::write(server.dir.path().join("nats.conf"), server.config(&options)).unwrap();
        server.start_again().await;
        server
    }

    fn config(&self, options: &NatsOptions) -> String {
        let NatsOptions { max_payload, jetstream_extra, config_extra, env: _ } = options;
        let (clients, monitor, store) = (self.clients.address, self.monitor.address, self.store());
        let max_payload = max_payload.map(|bytes| format!("max_payload: {bytes}\n")).unwrap_or_default();
        format!(
            "server_name: pullyard_test\nlisten: \"{clients}\"\nhttp: \"{monitor}\"\n{max_payload}\
             jetstream {{\nstore_dir: {store:?}\n{jetstream_extra}\n}}\n{config_extra}\n"
        )
    }

    /// Where it keeps streams and consumers.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("nats.log")
    }

    /// What clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.clients.address
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.process.as_ref().expect("nats-server runs").id()).unwrap()
    }

    /// Its resident memory.
    #[must_use]
    pub fn rss_bytes(&self) -> u64 {
        resident(self.pid())
    }

    /// What it has logged in all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// What its monitoring says, such as at `/jsz?streams=true`.
    pub async fn monitor(&self, path: &str) -> Value {
        let url = format!("http://{}{path}", self.monitor.address);
        let response = reqwest::get(url).await.unwrap().error_for_status().unwrap();
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    /// What it says of itself to a client that connects.
    pub async fn info(&self) -> anyhow::Result<Value> {
        let hello = async {
            let mut lines = BufReader::new(TcpStream::connect(self.address()).await?).lines();
            let line = lines.next_line().await?.context("nothing was said")?;
            let info = line.strip_prefix("INFO ").with_context(|| format!("no INFO: {line}"))?;
            Ok(serde_json::from_str(info)?)
        };
        tokio::time::timeout(PATIENCE, hello).await?
    }

    /// The process is gone from one instruction to the next.
    pub fn kill(&mut self) {
        let mut child = self.process.take().expect("nats-server runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has; clients are refused until [`Self::start_again`].
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        // One that is paused hears it only now.
        self.signal(Signal::CONT);
        let child = self.process.as_mut().expect("nats-server runs");
        let status = until("nats-server's end", async || child.try_wait().unwrap()).await;
        self.process = None;
        status
    }

    /// Starts it after [`Self::stop`] or [`Self::kill`], on the same port and the same store.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "nats-server runs already");
        self.process = Some(self.spawn().unwrap());
        until("nats-server's greeting", async || {
            let end = self.process.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(end.is_none(), "nats-server has ended: {end:?}\n{}", self.log());
            self.info().await.ok()
        })
        .await;
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let log: File = OpenOptions::new().create(true).append(true).open(self.log_file())?;
        // Without the accounts and proxies of whoever runs the tests.
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .arg("--config")
            .arg(self.dir.path().join("nats.conf"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| self.program.display().to_string())
    }

    /// Kills it and starts it on the same port and the same store.
    pub async fn restart(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// Kills it and starts it on the same port with nothing in its store.
    pub async fn wipe(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.store()).unwrap();
        self.start_again().await;
    }

    /// Its connections stay open and nothing moves in it until [`Self::resume`].
    pub fn pause(&self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        if status.contains("\nState:\tT") {
            return;
        }
        self.signal(Signal::STOP);
        // Its threads do not stop all at once; the parent is told, once, when the last one has.
        let stopped = || -> anyhow::Result<()> {
            let (_, status) = waitpid(Pid::from_raw(self.pid()), WaitOptions::UNTRACED)?.context("no news")?;
            ensure!(status.stopped(), "{status:?}");
            Ok(())
        };
        stopped().unwrap();
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let said = self.log();
            let last: Vec<&str> = said.lines().rev().take(40).collect();
            eprintln!("--- nats-server said at last ---");
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
