use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::format::print;
use super::key::refuse_strays;
use super::session::{find_config, read_url};
use super::status::Status;
use super::{Globals, who};
use crate::engine::Clock;
use crate::secret::{Secret, SecretSource, Surroundings};
use crate::store::copy::{Moved, copy};
use crate::text::{pad, width};

/// What is done with stores.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Move all that a store in a file has into an empty database: all of it, or nothing.
    ///
    /// The file stays as it is. Refused while a run goes on on it, and where the database has something already.
    #[command(after_help = super::help::STORE)]
    Copy(CopyArgs),
}

/// Flags of `store copy`.
#[derive(Debug, Args)]
struct CopyArgs {
    /// The file of the store.
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// Where the database's URL is read from: `config` (its [store] url), `file:PATH`, `env:NAME` or `credential:NAME`.
    #[arg(value_name = "TO")]
    to: OsString,
    /// What stands behind the flags: caught here so that a key is never echoed.
    #[arg(hide = true, value_name = "KEY")]
    stray: Vec<OsString>,
}

/// `store`.
pub(super) async fn run(globals: &Globals, args: StoreArgs) -> anyhow::Result<Status> {
    let StoreCommand::Copy(args) = args.command;
    refuse_strays(&args.stray)?;
    if globals.read_only {
        bail!("--read-only promises to change nothing, and `store copy` does: leave out one of the two");
    }
    if globals.store.is_some() {
        bail!("--store says nothing here: `store copy FROM TO` names both stores");
    }
    let url = url(globals, &args.to).await?;
    let now = Clock::start().now();
    let moved = copy(&args.from, &url, &who::operator(), now)
        .await
        .context("nothing was moved")?;
    print(&table(&moved))?;
    Ok(Status::Good)
}

/// The URL of the database: a secret, and so it never stands on a command line, which all users of the machine can read.
async fn url(globals: &Globals, to: &OsString) -> anyhow::Result<Secret> {
    let to = to.to_str().unwrap_or_default();
    let source = match to.split_once(':') {
        None if to == "config" => return of_config(globals).await,
        Some(("file", path)) if !path.is_empty() => SecretSource::File(path.into()),
        Some(("env", name)) if !name.is_empty() => SecretSource::Env(vec![name.to_owned()]),
        Some(("credential", name)) if !name.is_empty() => SecretSource::Credential(name.to_owned()),
        // What was given is not told: it may be the URL, with its password.
        _ => bail!(
            "TO says where the URL of the database is read from: `config` (its [store] url), `file:PATH`, `env:NAME` or \
             `credential:NAME`. A URL does not stand here: others can read command lines. If it had a password, change that"
        ),
    };
    source
        .read_secret(Surroundings::of_process(), &[])
        .await
        .context("the URL of the database (TO)")
}

async fn of_config(globals: &Globals) -> anyhow::Result<Secret> {
    let Ok(config) = find_config(globals)? else {
        bail!("there is no config with a [store] url: name one with --config, or say file:PATH or env:NAME");
    };
    let Some(source) = &config.store.url else {
        bail!(
            "{} has no [store] url: write it there, or say file:PATH or env:NAME",
            config.path.display()
        );
    };
    read_url(&config, source).await
}

fn table(moved: &[Moved]) -> String {
    let columns = moved
        .iter()
        .map(|moved| width(moved.what))
        .max()
        .unwrap_or_default();
    let line = |what: &str, from: &str, to: &str| format!("{}  {from:>11}  {to:>15}\n", pad(what, columns));
    let rows = moved
        .iter()
        .map(|moved| line(moved.what, &moved.from.to_string(), &moved.to.to_string()));
    let head = line("", "in the file", "in the database");
    let end = "all is moved; the file stays as it is, and nothing that happens from now on goes into both";
    std::iter::once(head).chain(rows).collect::<String>() + end
}
