//! The `pullyard` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    pullyard_broker::cli::main()
}
