//! A program that a test runs: what it says on stderr is kept, and it does not outlive the test.

use std::io::Read as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

use crate::until;

/// One program with its lives, one after another; killed when it is dropped. A test that fails shows what it said at last.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Option<Child>,
    /// Of all its lives.
    stderr: Arc<Mutex<String>>,
}

impl Process {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), child: None, stderr: Arc::default() }
    }

    /// Begins a life; answers with its stdout.
    pub(crate) fn start(&mut self, command: &mut Command) -> ChildStdout {
        assert!(self.child.is_none(), "the {} runs already", self.name);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stderr, heard) = (child.stderr.take().unwrap(), self.stderr.clone());
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut buf) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&buf[..n]));
            }
        });
        let stdout = child.stdout.take().unwrap();
        self.child = Some(child);
        stdout
    }

    pub(crate) fn pid(&self) -> i32 {
        let child = self.child.as_ref().unwrap_or_else(|| panic!("the {} does not run", self.name));
        i32::try_from(child.id()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// What it said so far is of no interest.
    pub(crate) fn forget(&self) {
        self.stderr.lock().unwrap().clear();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// It is gone from one instruction to the next.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().unwrap_or_else(|| panic!("the {} does not run", self.name));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// How it ended, if it did without being told here.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(ended)
    }

    /// Waits for its end.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        let child = self.child.as_mut().unwrap_or_else(|| panic!("the {} does not run", self.name));
        let status = until(&format!("the {}'s end", self.name), async || child.try_wait().unwrap()).await;
        self.child = None;
        status
    }

    /// The same, for one that is about to end.
    pub(crate) fn wait(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that went away by itself, or was killed by somebody else, has hardly said so.
        let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            if let Some(status) = ended {
                eprintln!("--- {} had ended by then: {status} ---", self.name);
            }
            let said = self.stderr();
            let last: Vec<&str> = said.lines().rev().take(60).collect();
            eprintln!("--- {} said at last ---", self.name);
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
