//! `pullyard serve`: the broker with its backends, until it is told to stop.

use std::io::{IsTerminal as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::out::{note, with_causes};
use super::table::slots;
use crate::config::prices::AS_OF;
use crate::config::{Config, parse_listen};
use crate::yard::{Env, Found, Yard};

/// How to run the broker. What is given here wins over the configuration.
#[derive(Clone, Debug, Default, Args)]
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
    /// How the program's own messages look
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub log_format: LogFormat,
    /// Which of the program's own messages are shown, such as info or pullyard_broker=debug
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    pub log: String,
}

/// How the program's own messages look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
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
    let served = messages(args).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(serve(args, super::env))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("error: {}", with_causes(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The program's own messages go to stderr; stdout is for what a person asked for.
fn messages(args: &ServeArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log).with_context(|| format!("--log {:?} is no filter", args.log))?;
    let messages = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => messages.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => messages.json().flatten_event(true).init(),
    }
    Ok(())
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
    let mut yard = Yard::open(config, env)?;
    let stop = CancellationToken::new();
    let connections = tokio::spawn(yard.serve(listener, stop.clone()));
    announce(&yard.found().await, address, &data, args.config.as_deref(), keyed);
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

/// What it found and how to call it, for the person who has just started it.
fn announce(found: &[Found], address: SocketAddr, data: &Path, config: Option<&Path>, keyed: bool) {
    let text = announcement(found, address, data, config, keyed);
    // A closed terminal is no reason not to serve.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn announcement(found: &[Found], address: SocketAddr, data: &Path, config: Option<&Path>, keyed: bool) -> String {
    let mut text = format!("Pullyard {} listens on http://{address}\n", env!("CARGO_PKG_VERSION"));
    text.push_str(&format!("  data    {}\n", data.display()));
    if let Some(config) = config {
        text.push_str(&format!("  config  {}\n", config.display()));
    }
    let shown: Vec<&Found> = found.iter().filter(|f| !f.discovered || f.failure.is_none()).collect();
    for backend in &shown {
        let place = if backend.local { "local" } else { "cloud" };
        let models = match (&backend.failure, backend.models.len()) {
            (Some(why), _) => format!("does not answer: {why}"),
            (None, 0) => "no models yet".to_owned(),
            (None, n) => {
                let names: Vec<&str> = backend.models.iter().take(6).map(|m| &**m).collect();
                format!("{}{}", names.join(", "), if n > 6 { format!(" and {} more", n - 6) } else { String::new() })
            }
        };
        text.push_str(&format!(
            "  {:<8}{} at {} ({place}, {}): {models}\n",
            backend.name,
            backend.adapter,
            backend.url,
            slots(backend.slots)
        ));
    }
    if shown.is_empty() {
        text.push_str(
            "  No model server was found: start Ollama, set OPENAI_API_KEY or ANTHROPIC_API_KEY, or name backends in a file (--config).\n  \
             Jobs are accepted as soon as one answers; this is looked at every 15 seconds.\n",
        );
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_works_as_it_is_printed() {
        let backend = Found {
            name: "gpu".into(),
            url: "http://gpu:1/v1".into(),
            adapter: "openai",
            local: true,
            slots: 1,
            models: vec!["m".into()],
            failure: None,
            discovered: false,
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 8787));
        let text = |keyed| announcement(std::slice::from_ref(&backend), address, Path::new("/d"), None, keyed);
        assert!(text(true).contains(r#"/v1/chat/completions -H "Authorization: Bearer $KEY" -H 'Content-Type"#), "{}", text(true));
        assert!(!text(false).contains("Bearer"), "{}", text(false));
        let everywhere = announcement(&[], SocketAddr::from(([0, 0, 0, 0], 80)), Path::new("/d"), None, true);
        assert!(
            everywhere.contains("listens on http://0.0.0.0:80\n") && everywhere.contains("curl http://127.0.0.1:80/v1"),
            "{everywhere}"
        );
        assert!(text(false).contains("gpu     openai at http://gpu:1/v1 (local, 1 slot): m\n"), "{}", text(false));
    }
}
