//! The conditions of a run: figures without them say nothing.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::stats::{Sample, micros, time};

/// How long one fdatasync takes here, in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Disk(pub(crate) Sample);

/// Appends 4 KB and waits for the disk, as a log does that keeps its word.
pub(crate) fn fdatasync(folder: &Path, times: usize) -> anyhow::Result<Disk> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path)?;
    let block = [0x5a; 4096];
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        file.write_all(&block)?;
        let begun = Instant::now();
        file.sync_data()?;
        took.push(micros(begun.elapsed()));
    }
    fs::remove_file(path)?;
    Ok(Disk(Sample::of(took)))
}

/// Name and value of each condition.
pub(crate) fn conditions(folder: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let disk = fdatasync(folder, 300)?.0;
    let uname = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = line(&fs::read_to_string("/proc/meminfo")?, "MemTotal").and_then(|kib| kib.split(' ').next()?.parse::<u64>().ok());
    let cpu = line(&fs::read_to_string("/proc/cpuinfo")?, "model name").unwrap_or_else(|| uname.machine().to_string_lossy().into_owned());
    let dirty = if said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() { "" } else { ", with changes" };
    Ok(vec![
        ("processor", format!("{cpu}, {cores} cores, shared by load generator, backend and target")),
        ("memory", format!("{} GB", memory.unwrap_or(0) / 1_000_000)),
        ("kernel", format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy())),
        ("file system", mount_of(folder)?),
        ("fdatasync of 4 KB appended", format!("p50 {}, p99 {} (300 times)", time(disk.p50()), time(disk.p99()))),
        ("compiler", said("rustc", &["--version"])),
        ("commit", format!("{}{dirty}", said("git", &["rev-parse", "--short", "HEAD"]))),
        ("date", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()),
    ])
}

/// The value behind `name:` in a file of the kernel.
fn line(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|l| l.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What a program says, or nothing where there is no such program.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

/// The file system that a folder is on, without the device's name.
fn mount_of(folder: &Path) -> anyhow::Result<String> {
    let folder = folder.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let of = |mount: &str| -> Option<(usize, String)> {
        let mut fields = mount.split(' ').skip(1);
        let (at, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        folder.starts_with(at).then(|| (at.len(), format!("{kind} ({options})")))
    };
    Ok(mounts.lines().filter_map(of).max_by_key(|(length, _)| *length).map(|(_, kind)| kind).unwrap_or_default())
}

/// Processor time so far, in ticks: that of the machine's cores, what of it was used, and what of that was ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    all: u64,
    used: u64,
    ours: u64,
}

impl Used {
    pub(crate) fn now() -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let ticks: Vec<u64> = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).flat_map(str::parse).collect();
        // The fourth and fifth are idle and waiting for a disk; guests, the ninth and tenth, are in the first two already.
        let all: u64 = ticks.iter().take(8).sum();
        let used = all - ticks.iter().skip(3).take(2).sum::<u64>();
        let own = fs::read_to_string("/proc/self/stat")?;
        // This process's own, and that of its children that have ended.
        let ours = own.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(4).flat_map(str::parse::<u64>).sum();
        Ok(Self { all, used, ours })
    }

    /// The share of the machine that somebody else has used since; all children must have ended.
    pub(crate) fn by_others(self) -> anyhow::Result<f64> {
        let now = Self::now()?;
        let others = (now.used - self.used).saturating_sub(now.ours - self.ours);
        Ok(others as f64 / (now.all - self.all).max(1) as f64)
    }
}
