//! `pullyard completions`.

use clap::Args;
use clap_complete::Shell;

use super::client::Error;
use super::out::Out;

/// For which shell.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(out: &Out, args: &CompletionsArgs) -> Result<(), Error> {
    // Written to memory first, because the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "pullyard", &mut script);
    out.paragraph(&String::from_utf8_lossy(&script))
}
