//! The `pullyard` binary, as the tests run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    pullyard_broker::cli::main()
}
