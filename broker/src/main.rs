//! The `pullyard` binary.

use std::process::ExitCode;

/// Jobs are made in one thread and dropped in another, for which glibc's allocator takes a quarter of all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pullyard_broker::cli::main()
}
