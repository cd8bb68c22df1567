//! A NATS server as an operator would have it: with its own defaults, and its streams in files, on the disk that is measured.

use std::fs::File;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;
use pullyard_tests::NatsServer;

use crate::child::{Child, free_addr};
use crate::wire::get;

/// A running server.
#[derive(Debug)]
pub(crate) struct Nats {
    child: Child,
    monitor: SocketAddr,
}

impl Deref for Nats {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.child
    }
}

/// Messages since the server's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages {
    pub(crate) in_: u64,
    pub(crate) out: u64,
}

impl Nats {
    /// Returns when it talks to clients.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        let (addr, monitor) = (free_addr()?, free_addr()?);
        let config = folder.join("nats.conf");
        // As in `deploy/nats`, without its users.
        let text = format!(
            "server_name: pullyard\nlisten: \"{addr}\"\nhttp: \"{monitor}\"\njetstream {{store_dir: {:?}}}\nmax_payload: 1MB\n",
            folder.join("nats-data")
        );
        std::fs::write(&config, text)?;
        let messages = folder.join("nats-messages");
        let begun = Instant::now();
        let arguments = ["--config", &config.display().to_string()];
        let mut child = Child::program(&program()?, &arguments, addr, File::create(&messages)?)?;
        while std::net::TcpStream::connect(addr).is_err() {
            if !child.running() || begun.elapsed() > Duration::from_secs(30) {
                bail!("nats-server does not start: {}", std::fs::read_to_string(&messages).unwrap_or_default().trim());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { child, monitor })
    }

    pub(crate) fn messages(&self) -> anyhow::Result<Messages> {
        let varz: serde_json::Value = serde_json::from_slice(&get(self.monitor, "/varz")?)?;
        let of = |name: &str| varz[name].as_u64().ok_or_else(|| anyhow::anyhow!("/varz has no {name}"));
        Ok(Messages { in_: of("in_msgs")?, out: of("out_msgs")? })
    }
}

/// Which one it is, and what it shares.
pub(crate) fn conditions() -> anyhow::Result<String> {
    let said = Command::new(program()?).arg("--version").output()?;
    let version = String::from_utf8_lossy(&said.stdout).trim().replace(": v", " ");
    Ok(format!("{version}, on the same cores; streams in files, all settings its own defaults"))
}

fn program() -> anyhow::Result<PathBuf> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(NatsServer::program()))
}
