//! A worker as a process of its own.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::binary;
use crate::process::Process;

/// `pullyard worker`, killed when it is dropped.
#[derive(Debug)]
pub struct TestWorker {
    name: String,
    nats: String,
    env: Vec<(String, String)>,
    process: Process,
    dir: TempDir,
}

impl TestWorker {
    /// Starts it; it joins when its broker and NATS are there.
    #[must_use]
    pub fn start(name: &str, nats: &str, yaml: &str) -> Self {
        Self::start_with(name, nats, yaml, &[])
    }

    /// The same, with more in its environment.
    #[must_use]
    pub fn start_with(name: &str, nats: &str, yaml: &str, env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("worker.yaml"), yaml).unwrap();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let process = Process::new(&format!("worker {name}"));
        let mut worker = Self { name: name.into(), nats: nats.into(), env, process, dir };
        worker.start_again();
        worker
    }

    pub fn start_again(&mut self) {
        let mut command = Command::new(binary());
        command.env_clear().current_dir(self.dir.path()).env("HOME", self.dir.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.args(["worker", "--name", &self.name, "--nats", &self.nats, "--config"]).arg(self.config());
        drop(self.process.start(&mut command));
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is called when it is started the next time.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("worker.yaml")
    }

    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// What it has said so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The process is gone from one instruction to the next.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// How it ended, if it did without being told here.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Waits for its end.
    pub async fn exited(&mut self) -> ExitStatus {
        self.process.exited().await
    }

    /// Asks it to stop, and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exited().await
    }
}
