use clap::Args;
use clap_complete::Shell;

use super::format::print;
use super::status::Status;

/// Flags of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// `completions`: needs no config.
pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<Status> {
    let mut command = super::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Status::Good)
}
