use std::ffi::OsString;

use clap::Args;
use jiff::Timestamp;

use super::Globals;
use super::format::{Format, OutputArgs};
use super::key::refuse_strays;
use super::signals::Signals;
use super::sources::config_with_sites;
use super::status::Status;
use crate::report::save::Readers;
use crate::report::sites::{document, rows};

/// Flags of `sites`.
#[derive(Debug, Args)]
pub(super) struct SitesArgs {
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    output: OutputArgs,
    /// What stands behind the flags: caught here so that a key is never echoed.
    #[arg(hide = true, value_name = "KEY")]
    stray: Vec<OsString>,
}

/// `sites`: the list alone. No site is asked, and no master key read.
pub(super) async fn run(globals: &Globals, args: SitesArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.stray)?;
    let config = config_with_sites(globals, &mut Signals::listen()?).await?;
    let text = match args.format.layout() {
        Some(layout) => rows(layout, &config),
        None => document(&config, Timestamp::now()),
    };
    args.output.write(&text, Readers::Owner)?;
    // What is printed is not the whole list.
    Ok(if config.listed.failed.is_empty() {
        Status::Good
    } else {
        Status::NothingSent
    })
}
