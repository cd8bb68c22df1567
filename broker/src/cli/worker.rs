//! `pullyard worker`: a worker beside its model servers, until it is told to stop.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use pullyard_schemas::WorkerId;
use pullyard_schemas::fleet::{Card, Order};
use tokio::signal::unix::{SignalKind, signal};

use super::announce::{backend_line, is_worth_telling};
use super::client::{self, Client, Error};
use super::messages::MessageArgs;
use super::out::{Out, plain, with_causes};
use crate::config::{Config, Nats, SecretRef, Transport, check_server, parse_duration, parse_worker_name};
use crate::yard::{Env, Outpost};

pub(super) const HELP: &str = "\
Environment:
  PULLYARD_NATS_USER, PULLYARD_NATS_PASSWORD   who to sign in as
  PULLYARD_NATS_TOKEN                          or a token,
  PULLYARD_NATS_NKEY                           or the seed of an NKey,
  PULLYARD_NATS_CREDS                          or the path of a .creds file

Examples:
  pullyard worker --nats nats://broker.lan:4222
  pullyard worker --config worker.yaml
  pullyard worker pause gpu1";

/// A worker to run, or to tell what to do.
#[derive(Clone, Debug, Args)]
pub struct WorkerArgs {
    #[command(subcommand)]
    tell: Option<Tell>,
    /// Where NATS is, such as nats://broker.lan:4222; once for each server of its cluster
    #[arg(long, value_name = "URL", env = "PULLYARD_NATS_URL", value_delimiter = ',', value_parser = server)]
    nats: Vec<String>,
    /// The configuration; without one, what runs on this machine is looked for
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What this worker is called [default: the machine's name]
    #[arg(long, value_name = "NAME", value_parser = parse_worker_name)]
    name: Option<WorkerId>,
    /// How long running attempts may go on after it is told to stop, such as 5m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    drain_timeout: Option<Duration>,
    #[command(flatten)]
    messages: MessageArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Tell {
    /// Keep a worker from starting anything; what runs goes on
    #[command(after_help = "Example:\n  pullyard worker pause gpu1")]
    Pause(Whom),
    /// Let a paused worker go on
    #[command(after_help = "Example:\n  pullyard worker resume gpu1")]
    Resume(Whom),
    /// Let a worker end what runs, and then itself
    #[command(after_help = "Example:\n  pullyard worker drain gpu1")]
    Drain(Whom),
}

#[derive(Clone, Debug, Args)]
pub(super) struct Whom {
    /// The worker's name, as `pullyard workers` shows it
    name: String,
}

fn server(text: &str) -> Result<String, String> {
    check_server(text).map(|()| text.to_owned())
}

impl WorkerArgs {
    /// What to tell which worker; nothing where one is to be run.
    pub(super) fn tell(&self) -> Option<&Tell> {
        self.tell.as_ref()
    }

    /// The file as it is now, with the command line and the environment over it.
    fn config(&self, env: Env) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        if let Some(name) = &self.name {
            config.worker.name = Some(name.clone());
        }
        if let Some(drain_timeout) = self.drain_timeout {
            config.drain_timeout = drain_timeout;
        }
        if self.nats.is_empty() && config.transport() == Transport::Embedded {
            bail!("it is not said where NATS is: add --nats nats://HOST:4222, or `nats` to the configuration (--config)");
        }
        let mut nats = config.nats.clone().unwrap_or_default();
        if !self.nats.is_empty() {
            nats.servers.clone_from(&self.nats);
        }
        if nats.has_no_login() {
            sign_in(&mut nats, env);
        }
        config.use_nats(nats).map_err(anyhow::Error::msg)?;
        Ok(config)
    }
}

/// Takes from the environment who to sign in as.
fn sign_in(nats: &mut Nats, env: Env) {
    let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    let secret = |name: &str| set(name).map(|_| SecretRef::Env(name.to_owned()));
    nats.user = set("PULLYARD_NATS_USER");
    nats.password = secret("PULLYARD_NATS_PASSWORD");
    nats.token = secret("PULLYARD_NATS_TOKEN");
    nats.nkey = secret("PULLYARD_NATS_NKEY");
    nats.creds = set("PULLYARD_NATS_CREDS").map(|path| SecretRef::File(path.into()));
}

/// Tells the broker, which tells the worker.
pub(super) async fn tell(client: &Client, out: &Out, tell: &Tell) -> Result<(), Error> {
    let (order, Whom { name }) = match tell {
        Tell::Pause(whom) => (Order::Pause, whom),
        Tell::Resume(whom) => (Order::Resume, whom),
        Tell::Drain(whom) => (Order::Drain, whom),
    };
    let answer = client.post(&["workers", name, order.as_str()], Vec::new(), None).await?;
    if out.json {
        return out.answer(&answer);
    }
    out.line(&format!("{name} {}", plain(&client::json(&answer)?["mode"])))
}

pub(super) fn run(args: &WorkerArgs) -> ExitCode {
    super::messages::exit(args.messages.start().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(work(args, super::env))
    }))
}

/// Runs until SIGTERM or SIGINT, or until the broker says so; SIGHUP reads the configuration again.
async fn work(args: &WorkerArgs, env: Env) -> anyhow::Result<()> {
    let config = args.config(env)?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let servers = config.nats.as_ref().map(|nats| nats.servers.join(", ")).unwrap_or_default();
    tracing::info!("looking for the broker over {servers}");
    let mut outpost = tokio::select! {
        opened = Outpost::open(config, env) => opened.with_context(|| format!("no broker over {servers}"))?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    // A closed terminal is no reason not to work.
    let _ = std::io::stdout().write_all(announcement(&outpost.card().await, outpost.reached(), args).as_bytes());
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = outpost.told_to_drain() => break,
            _ = hangup.recv() => match args.config(env).and_then(|config| Ok(outpost.reload(config)?)) {
                Ok(()) => tracing::info!("the configuration has been read again"),
                Err(error) => tracing::error!("the old configuration stays in force: {}", with_causes(&error)),
            },
        }
    }
    let impatient = tokio::select! {
        () = outpost.drain() => false,
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
    };
    if impatient {
        tracing::warn!("told to stop twice: running attempts are given back now");
        outpost.give_up().await;
    }
    outpost.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// What it found and whom it works for, for the person who has just started it.
fn announcement(card: &Card, reached: &str, args: &WorkerArgs) -> String {
    let mut text = format!("Pullyard {} works as `{}`\n  broker  {reached}\n", card.version, card.worker);
    if let Some(config) = &args.config {
        text.push_str(&format!("  config  {}\n", config.display()));
    }
    let found: String =
        card.backends.iter().filter(|backend| is_worth_telling(backend)).map(|backend| backend_line(&backend.name, backend)).collect();
    let nothing = "  \
  No model server was found: start Ollama, set OPENAI_API_KEY or ANTHROPIC_API_KEY, or name backends in a file (--config).
  This is looked at every 15 seconds.
";
    text.push_str(if found.is_empty() { nothing } else { &found });
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::config::Auth;

    fn typed(args: &[&str]) -> WorkerArgs {
        match Cli::parse_from(["pullyard", "worker"].iter().chain(args)).command {
            Command::Worker(args) => args,
            Command::Serve(_) | Command::Check(_) | Command::Client(_) => panic!("not the worker's command"),
        }
    }

    #[test]
    fn a_worker_finds_nats_and_signs_in() {
        let refused = typed(&[]).config(|_| None).unwrap_err().to_string();
        assert!(refused.contains("--nats nats://HOST:4222"), "{refused}");
        let args = typed(&["--nats", "nats://a:4222,nats://b", "--name", "gpu1", "--drain-timeout", "5m"]);
        let config = args.config(|_| None).unwrap();
        let nats = config.nats.as_ref().unwrap();
        assert_eq!((nats.servers.join(" ").as_str(), nats.login(&|_| None).unwrap()), ("nats://a:4222 nats://b", Auth::None));
        assert_eq!((config.worker_id("box").to_string(), config.drain_timeout), ("gpu1".to_owned(), Duration::from_secs(300)));

        let env: Env = |name| matches!(name, "PULLYARD_NATS_USER" | "PULLYARD_NATS_PASSWORD").then(|| "x".to_owned());
        let login = args.config(env).unwrap().nats.unwrap().login(&env).unwrap();
        assert!(login == Auth::UserPassword { user: "x".into(), password: "x".into() });
        let env: Env = |name| matches!(name, "PULLYARD_NATS_TOKEN" | "PULLYARD_NATS_CREDS").then(|| "x".to_owned());
        let refused = args.config(env).unwrap_err().to_string();
        assert!(refused.contains("there is a `token` too"), "{refused}");
    }

    #[test]
    fn secrets_are_not_for_the_command_line() {
        for wrong in ["nats://me:secret@a", "http://a", "a b"] {
            let refused = Cli::try_parse_from(["pullyard", "worker", "--nats", wrong]).unwrap_err().to_string();
            assert!(refused.contains("say one such as nats://broker:4222"), "{refused}");
        }
        assert!(Cli::try_parse_from(["pullyard", "worker", "--name", "a.b"]).is_err());
        assert!(matches!(typed(&["pause", "gpu1"]).tell(), Some(Tell::Pause(Whom { name })) if name == "gpu1"));
    }
}
