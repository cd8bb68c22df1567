//! The program's own messages, of commands that go on until they are told to stop.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::out::{note, with_causes};

/// Which messages, and how they look.
#[derive(Clone, Debug, Args)]
pub struct MessageArgs {
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

impl MessageArgs {
    /// They go to stderr; stdout is for what a person asked for.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        // NATS's client tells each try to connect; what matters of that is said by those who use it.
        let quiet = if self.log.contains("async_nats") { "" } else { "async_nats=off," };
        let filter = EnvFilter::try_new(format!("{quiet}{}", self.log)).with_context(|| format!("--log {:?} is no filter", self.log))?;
        let messages = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => messages.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => messages.json().flatten_event(true).init(),
        }
        Ok(())
    }
}

/// Says what went wrong, if anything did.
pub(super) fn exit(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("error: {}", with_causes(&error)));
            ExitCode::FAILURE
        }
    }
}
