use clap::Parser;
use pullyard_broker::cli::{self, Cli, Command};
#[tokio::main]
async fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Client(c) => cli::client(&cli.global, c).await,
        _ => std::process::ExitCode::SUCCESS,
    }
}
