use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::Globals;
use super::reading::{Written, export};
use super::session::{find_config, open_store};
use super::signals::{Signals, asked};
use super::status::Status;
use crate::config::Config;
use crate::store::{RunId, Store};

/// Flags of `export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The file. Its end says which format: .html, .csv, .json or .md.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which run. Default: the newest.
    #[arg(long, value_name = "NUMBER")]
    run: Option<u64>,
    /// Replace a file that is there already, without asking.
    #[arg(long)]
    force: bool,
}

/// `export`.
pub(super) async fn run(globals: &Globals, args: ExportArgs) -> anyhow::Result<Status> {
    let config = find_config(globals)?.unwrap_or_else(|_| Config::empty());
    let store = open_store(&config, globals).await?.store;
    let run = match args.run {
        Some(run) => RunId(run),
        None => match store.runs(1).await?.first() {
            Some(newest) => newest.id,
            None => bail!("no run is on record: there is nothing to export"),
        },
    };
    let mut written = export(&store, run, &args.file, args.force).await?;
    if written == Written::IsThere {
        let there = format!("{} is there already", args.file.display());
        if !std::io::stdin().is_terminal() {
            bail!("{there}: name another file, or give --force");
        }
        let mut signals = Signals::listen()?;
        if !asked(&format!("{there}. Replace it? type y: "), "y", &mut signals).await? {
            bail!("{there}, and stays as it is");
        }
        written = export(&store, run, &args.file, true).await?;
    }
    if written == Written::Done {
        let _closed = writeln!(
            std::io::stderr(),
            "run {}: written to {}",
            run.0,
            args.file.display()
        );
    }
    Ok(Status::Good)
}
