//! `pullyard serve`: the broker with its backends, until it is told to stop.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::announce::{backend_line, is_worth_telling};
use super::messages::MessageArgs;
use super::out::with_causes;
use crate::config::prices::AS_OF;
use crate::config::{Config, parse_listen};
use crate::fleet::Known;
use crate::yard::{Env, Yard};

/// How to run the broker. What is given here wins over the configuration.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The configuration; without one, what runs on this machine is looked for
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen, such as 127.0.0.1:8787
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub listen: Option<SocketAddr>,
    /// Where the log and the read model are kept
    #[arg(long, value_name = "DIR", env = "PULLYARD_DATA")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub messages: MessageArgs,
}

impl ServeArgs {
    /// The file as it is now, with the command line over it.
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if let Some(data) = &self.data {
            config.data = Some(data.clone());
        }
        if !config.listen.ip().is_loopback() && config.keys.is_empty() && !config.insecure_listen {
            bail!(
                "{} can be reached from other machines, and there are no keys: anybody could use your models and accounts; \
                 add `keys` to the configuration, or say `insecure_listen: true` in it if you mean it",
                config.listen
            );
        }
        Ok(config)
    }
}

pub(super) fn run(args: &ServeArgs) -> ExitCode {
    super::messages::exit(args.messages.start().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(serve(args, super::env))
    }))
}

/// Runs until SIGTERM or SIGINT; SIGHUP reads the configuration again.
async fn serve(args: &ServeArgs, env: Env) -> anyhow::Result<()> {
    let config = args.config()?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    // Unheard, it ends the program; heard, a file that may not grow is a full disk, which the log knows how to bear.
    let _too_large = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    let (data, keyed) = (config.data_dir(&env), !config.keys.is_empty());
    let mut yard = Yard::open(config, env).await?;
    let stop = CancellationToken::new();
    let connections = tokio::spawn(yard.serve(listener, stop.clone()));
    let place = Place { address, data: &data, config: args.config.as_deref(), reached: yard.reached(), keyed };
    // A closed terminal is no reason not to serve.
    let _ = std::io::stdout().write_all(announcement(&yard.workers().await, &place).as_bytes());
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => match args.config().and_then(|config| Ok(yard.reload(config)?)) {
                Ok(()) => tracing::info!("the configuration has been read again"),
                Err(error) => tracing::error!("the old configuration stays in force: {}", with_causes(&error)),
            },
        }
    }
    tokio::select! {
        () = yard.drain() => {}
        _ = terminate.recv() => tracing::warn!("told to stop twice: running attempts are given back now"),
        _ = interrupt.recv() => tracing::warn!("told to stop twice: running attempts are given back now"),
    }
    yard.close().await;
    stop.cancel();
    let _ = connections.await;
    tracing::info!("stopped");
    Ok(())
}

/// Where a broker is.
struct Place<'a> {
    address: SocketAddr,
    data: &'a Path,
    config: Option<&'a Path>,
    /// What its workers are reached by.
    reached: Option<&'a str>,
    keyed: bool,
}

/// What it found and how to call it, for the person who has just started it.
fn announcement(workers: &[Known], place: &Place<'_>) -> String {
    let Place { address, data, config, reached, keyed } = *place;
    let mut text = format!("Pullyard {} listens on http://{address}\n", env!("CARGO_PKG_VERSION"));
    text.push_str(&format!("  data    {}\n", data.display()));
    if let Some(config) = config {
        text.push_str(&format!("  config  {}\n", config.display()));
    }
    if let Some(reached) = reached {
        text.push_str(&format!("  workers over {reached}\n"));
    }
    let mut found = String::new();
    for known in workers {
        for backend in known.card.backends.iter().filter(|backend| is_worth_telling(backend)) {
            let of_worker = || format!("{}/{}", known.card.worker, backend.name);
            found.push_str(&backend_line(&reached.map_or_else(|| backend.name.to_string(), |_| of_worker()), backend));
        }
    }
    text.push_str(match (found.is_empty(), reached) {
        (false, _) => &found,
        (true, None) => NO_SERVER,
        (true, Some(_)) => NO_WORKER,
    });
    text.push_str(&format!("  prices  built-in list of {AS_OF}, under those of the configuration\n"));
    let key = if keyed { " -H \"Authorization: Bearer $KEY\"" } else { "" };
    // What listens everywhere is reached somewhere.
    let reached = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    };
    text.push_str(&format!(
        "Try:  curl http://{reached}/v1/chat/completions{key} -H 'Content-Type: application/json' \\\n        -d '{{\"model\":\"auto\",\"messages\":[{{\"role\":\"user\",\"content\":\"Say hello\"}}]}}'\nSDKs: base_url=\"http://{reached}/v1\"\n",
    ));
    text
}

const NO_SERVER: &str = "  \
  No model server was found: start Ollama, set OPENAI_API_KEY or ANTHROPIC_API_KEY, or name backends in a file (--config).
  Jobs are accepted as soon as one answers; this is looked at every 15 seconds.
";

const NO_WORKER: &str = "  \
  No worker is there yet: run `pullyard worker --nats URL` beside each model server.
  Jobs are accepted as soon as one has told its models.
";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pullyard_schemas::fleet::{BackendCard, Card, Mode, ModelCard};
    use pullyard_schemas::{Timestamp, WorkerId};

    use super::*;

    fn worker() -> Known {
        let backend = |name: &str, failure: Option<&str>, discovered| BackendCard {
            name: name.into(),
            adapter: "openai".into(),
            url: "http://gpu:1/v1".into(),
            local: true,
            slots: 1,
            busy: 0,
            attempt_ms: 900_000,
            broken: false,
            closed: false,
            failure: failure.map(Arc::from),
            tokens_per_second: None,
            discovered,
            num_ctx: Default::default(),
            models: vec![ModelCard::named("m")],
        };
        let card = Card {
            worker: WorkerId("box".into()),
            instance: "1".into(),
            version: "0".into(),
            machine: "box".into(),
            started: Timestamp(0),
            mode: Mode::Active,
            backends: vec![backend("gpu", None, false), backend("ollama", Some("refused"), true)],
        };
        Known { card, seen: Timestamp(0), gone: None }
    }

    #[test]
    fn the_example_works_as_it_is_printed() {
        let place =
            |keyed| Place { address: SocketAddr::from(([127, 0, 0, 1], 8787)), data: Path::new("/d"), config: None, reached: None, keyed };
        let text = |keyed| announcement(&[worker()], &place(keyed));
        assert!(text(true).contains(r#"/v1/chat/completions -H "Authorization: Bearer $KEY" -H 'Content-Type"#), "{}", text(true));
        assert!(!text(false).contains("Bearer"), "{}", text(false));
        let everywhere = announcement(&[], &Place { address: SocketAddr::from(([0, 0, 0, 0], 80)), ..place(true) });
        assert!(
            everywhere.contains("listens on http://0.0.0.0:80\n") && everywhere.contains("curl http://127.0.0.1:80/v1"),
            "{everywhere}"
        );
        assert!(everywhere.contains("\n  No model server was found"), "{everywhere}");
        assert!(text(false).contains("\n  gpu     openai at http://gpu:1/v1 (local, 1 slot): m\n"), "{}", text(false));
        assert!(!text(false).contains("ollama"), "what was only looked for and is not there is no news: {}", text(false));
        let fleet = announcement(&[worker()], &Place { reached: Some("nats://a:4222"), ..place(false) });
        assert!(fleet.contains("\n  workers over nats://a:4222\n  box/gpu openai at"), "{fleet}");
    }
}
