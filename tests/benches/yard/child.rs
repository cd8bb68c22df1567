//! Processes under measurement. Each is a process of its own, so that the kernel accounts for its processor time and memory.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// The environment variable by which this program is told to be another part of the bench.
pub(crate) const ROLE: &str = "PULLYARD_BENCH_ROLE";
/// How long a process is waited for that should come to rest or end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running process; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) addr: SocketAddr,
}

impl Child {
    /// Starts this program again in a role that prints its address when it serves.
    pub(crate) fn role(role: &str, argument: &str) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .env(ROLE, role)
            .arg(argument)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{role} cannot be started"))?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let addr = line.trim().parse().with_context(|| format!("{role} said {line:?} and no address"))?;
        Ok(Self { process, addr })
    }

    /// Starts another program, by way of a role that ties its life to ours.
    pub(crate) fn program(program: &Path, arguments: &[&str], addr: SocketAddr, messages: std::fs::File) -> anyhow::Result<Self> {
        let process = Command::new(std::env::current_exe()?)
            .env(ROLE, "program")
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(messages)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        Ok(Self { process, addr })
    }

    pub(crate) fn running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Processor time so far, of all threads, those that have ended too. The kernel counts it in ticks of 10 ms.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name in parentheses may contain blanks; fields are counted from behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Resident memory now, in bytes.
    pub(crate) fn rss(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most that was ever resident, in bytes.
    pub(crate) fn peak_rss(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        let kib: u64 = line.split_whitespace().next().unwrap_or_default().parse()?;
        Ok(kib * 1024)
    }

    /// Waits until it uses less than a twentieth of a core, so that what one target has put off does not weigh on the next.
    pub(crate) fn settle(&self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let step = Duration::from_millis(200);
        loop {
            let before = self.cpu()?;
            std::thread::sleep(step);
            if self.cpu()?.saturating_sub(before) <= step / 20 || begun.elapsed() > PATIENCE {
                return Ok(begun.elapsed());
            }
        }
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let asked = Instant::now();
        while self.running() && asked.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::ensure!(!self.running(), "it did not end within {PATIENCE:?} of being told to");
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(mut rest) = self.process.stdout.take() {
            let _ = rest.read_to_end(&mut Vec::new());
        }
    }
}

/// Makes this process end with the one that started it, however that ends.
pub(crate) fn die_with_parent() -> anyhow::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// The program under test, built by cargo with this bench.
pub(crate) fn pullyard() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pullyard-under-test"))
}

/// Becomes the program that the first argument names.
pub(crate) fn become_program() -> anyhow::Error {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else { return anyhow::anyhow!("which program?") };
    // Nothing of the caller's environment (accounts, proxies, folders) may have a say.
    let failed = Command::new(&program).args(arguments).env_clear().exec();
    anyhow::Error::from(failed).context(program.display().to_string())
}

/// A port that was free a moment ago.
pub(crate) fn free_addr() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
