//! A worker as a process of its own.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{binary, until};

/// `pullyard worker`, killed when it is dropped.
#[derive(Debug)]
pub struct TestWorker {
    name: String,
    nats: String,
    env: Vec<(String, String)>,
    dir: TempDir,
    process: Option<Child>,
    /// Of all its lives.
    stderr: Arc<Mutex<String>>,
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
        let mut worker = Self { name: name.into(), nats: nats.into(), env, dir, process: None, stderr: Arc::default() };
        worker.start_again();
        worker
    }

    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the worker runs already");
        let mut command = Command::new(binary());
        command.env_clear().current_dir(self.dir.path()).env("HOME", self.dir.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.args(["worker", "--name", &self.name, "--nats", &self.nats, "--config"]).arg(self.config());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stderr, heard) = (child.stderr.take().unwrap(), self.stderr.clone());
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut buf) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&buf[..n]));
            }
        });
        self.process = Some(child);
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
        i32::try_from(self.process.as_ref().expect("the worker runs").id()).unwrap()
    }

    /// What it has said so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// The process is gone from one instruction to the next.
    pub fn kill9(&mut self) {
        let mut child = self.process.take().expect("the worker runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// How it ended, if it did without being told here.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.process.as_mut().and_then(|child| child.try_wait().unwrap());
        if ended.is_some() {
            self.process = None;
        }
        ended
    }

    /// Waits for its end.
    pub async fn exited(&mut self) -> ExitStatus {
        let child = self.process.as_mut().expect("the worker runs");
        let status = until("the worker's end", async || child.try_wait().unwrap()).await;
        self.process = None;
        status
    }

    /// Asks it to stop, and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exited().await
    }
}

impl Drop for TestWorker {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let said = self.stderr();
            let last: Vec<&str> = said.lines().rev().take(40).collect();
            eprintln!("--- worker {} said at last ---", self.name);
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
