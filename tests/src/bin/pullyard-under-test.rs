//! The `pullyard` program, built for tests and benches that start it as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    pullyard_broker::cli::main()
}
