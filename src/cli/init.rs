use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use clap::Args;

use super::Globals;
use super::status::Status;
use crate::config::{DEFAULT_VARIABLE, Surroundings, write_example};
use crate::text::CleanText;

/// The longest path that is shown, in characters: that of the system.
const PATH: usize = 4096;

/// Flags of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where. Default: --config, else `$STRIPE_PROPAGATE_CONFIG`, else
    /// ~/.config/stripe-propagate/config.toml.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// `init`: writes the commented config, never over anything.
pub(super) fn run(globals: &Globals, args: InitArgs) -> anyhow::Result<Status> {
    let around = Surroundings::of_process(globals.config.clone());
    let place = args.file.or_else(|| around.explicit.clone());
    let place = place
        .or_else(|| around.variable.clone())
        .or_else(|| around.own_place());
    let Some(path) = place else {
        bail!("the home directory is not known: say where, as in `stripe-propagate init config.toml`");
    };
    ensure!(path.file_name().is_some(), "{} names no file", path.display());
    write_example(&path)?;
    let _closed = write!(std::io::stdout(), "{}", next_steps(&path, &around));
    Ok(Status::Good)
}

/// What to do with it.
fn next_steps(path: &Path, around: &Surroundings) -> String {
    let is_found = around.own_place().as_deref() == Some(path) || around.variable.as_deref() == Some(path);
    let flag = if is_found {
        String::new()
    } else {
        format!(" --config {}", shown(path))
    };
    format!(
        "{path} is written, and only you can read it. Next:\n\
         1. Write your shops into it: [[sites]] with a url, or [[sources]] that list them.\n\
         2. Say in [master_key] where the master key is. As it stands: in the variable {DEFAULT_VARIABLE}.\n\
         3. stripe-propagate{flag} sites         which shops are these?\n\
         4. stripe-propagate{flag} check --auth  could each of them be pushed to? Sends no key.\n\
         5. stripe-propagate{flag}               the screen\n",
        path = shown(path)
    )
}

/// A path may have any character in it.
fn shown(path: &Path) -> CleanText {
    CleanText::new(&path.display().to_string(), PATH)
}
