//! The broker as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::{Client, PATIENCE, resident, until};

/// The program under test: `$PULLYARD_BIN`, or the one that was built with the tests.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PULLYARD_BIN") {
        return path.into();
    }
    // Tests are in `target/<profile>/deps`, programs one above.
    let me = std::env::current_exe().unwrap();
    me.ancestors().map(|dir| dir.join("pullyard-under-test")).find(|path| path.is_file()).expect("pullyard-under-test is built")
}

/// How a broker is to be run.
#[derive(Clone, Debug)]
pub struct Setup {
    yaml: String,
    env: Vec<(String, String)>,
    /// A program that is run with the broker's command line as its arguments.
    wrapper: Vec<String>,
}

impl Setup {
    #[must_use]
    pub fn new(yaml: impl Into<String>) -> Self {
        Self { yaml: yaml.into(), env: Vec::new(), wrapper: Vec::new() }
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn wrapped(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&s| s.into()).collect();
        self
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> TestBroker {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pullyard.yaml"), &self.yaml).unwrap();
        let mut broker = TestBroker { setup: self, dir, address: SocketAddr::from(([127, 0, 0, 1], 0)), process: Process::new("broker") };
        broker.start().await;
        broker
    }
}

/// A running broker with a data folder of its own; killed when it is dropped.
#[derive(Debug)]
pub struct TestBroker {
    setup: Setup,
    dir: TempDir,
    address: SocketAddr,
    process: Process,
}

impl TestBroker {
    /// With nothing special about it.
    pub async fn with(yaml: impl Into<String>) -> Self {
        Setup::new(yaml).start().await
    }

    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.base_url())
    }

    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("pullyard.yaml")
    }

    /// A folder for the test's own files, gone with the broker.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.runs()
    }

    /// What it has said so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Its resident memory.
    #[must_use]
    pub fn rss(&self) -> u64 {
        resident(self.pid())
    }

    /// A program of the same environment, such as `pullyard log verify` on the same data.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        // Without the accounts and proxies of whoever runs the tests.
        command.env_clear().current_dir(self.dir.path());
        command.env("HOME", self.dir.path()).env("PULLYARD_DATA", self.data()).env("PULLYARD_URL", self.base_url());
        command.envs(self.setup.env.iter().map(|(name, value)| (name, value)));
    }

    /// Runs the program with these arguments to its end.
    pub async fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, "").await
    }

    /// The same, with something to read.
    pub async fn run_with(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let work = move || {
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            // It may not be interested.
            let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
            drop(stdin);
            child.wait_with_output().unwrap()
        };
        tokio::task::spawn_blocking(work).await.unwrap()
    }

    /// Starts it again where it was, on the same data.
    pub async fn start(&mut self) {
        let begun = Instant::now();
        loop {
            let first = self.spawn();
            let line = tokio::task::spawn_blocking(move || first.recv_timeout(PATIENCE)).await.unwrap();
            if let Ok(line) = line {
                let address = line.rsplit("http://").next().and_then(|a| a.trim().parse().ok());
                self.address = address.unwrap_or_else(|| panic!("the first line names no address: {line:?}"));
                break;
            }
            // Somebody may have its port for a moment.
            let taken = self.stderr().contains("Address already in use") && begun.elapsed() < PATIENCE;
            assert!(taken, "the broker did not start");
            self.process.wait();
            self.process.forget();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let client = self.client();
        until("readiness", async || client.try_get("/readyz").await.filter(|r| r.status == 200)).await;
    }

    fn spawn(&mut self) -> Receiver<String> {
        let mut line: Vec<std::ffi::OsString> = self.setup.wrapper.iter().map(Into::into).collect();
        line.extend([binary().into(), "serve".into(), "--config".into(), self.config().into()]);
        line.extend(["--listen".into(), self.address.to_string().into()]);
        let mut command = Command::new(&line[0]);
        self.surround(&mut command);
        if !self.setup.wrapper.is_empty() {
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        }
        let stdout = self.process.start(command.args(&line[1..]));
        let (told, first) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = told.send(line);
            }
        });
        first
    }

    /// The process is gone from one instruction to the next.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Asks it to stop, without waiting.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Asks it to stop, and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exited().await
    }

    /// Waits for its end.
    pub async fn exited(&mut self) -> ExitStatus {
        self.process.exited().await
    }

    /// Stops it in good order and starts it again.
    pub async fn restart(&mut self) {
        assert!(self.terminate().await.success(), "the broker stops in good order");
        self.start().await;
    }
}
