//! `pullyard nats`: what a NATS server has to be told.

use clap::{Args, Subcommand};

use super::client::Error;
use super::out::Out;
use crate::config::{Nats, parse_prefix};
use crate::yard::permissions::permissions;

const EXAMPLE: &str = "\
Example:
  pullyard nats permissions > /etc/nats/pullyard.conf";

/// What to print.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLE)]
pub struct NatsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Print the users of a fleet for nats-server's configuration, each with what it may say and hear
    #[command(after_help = EXAMPLE)]
    Permissions {
        /// The first part of every subject, as `nats.prefix` in the configuration
        #[arg(long, value_name = "PREFIX", value_parser = parse_prefix, default_value_t = Nats::default().prefix)]
        prefix: String,
    },
}

pub(super) fn run(out: &Out, args: &NatsArgs) -> Result<(), Error> {
    match &args.what {
        What::Permissions { prefix } => out.text(&permissions(prefix)),
    }
}
