use std::ffi::OsString;

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Globals;
use super::format::{Format, OutputArgs};
use super::key::refuse_strays;
use super::session::{Db, find_config, open_store};
use super::status::Status;
use crate::config::Config;
use crate::report::export::{self, RunExport};
use crate::report::history::{History, document, document_of_run, rows};
use crate::report::save::Readers;
use crate::store::{RunId, Store};

/// Runs that are told of, if nobody says otherwise.
const LIMIT: usize = 100;

/// Flags of `history`.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The sites of this run.
    #[arg(long, value_name = "NUMBER", conflicts_with = "limit")]
    run: Option<u64>,
    /// The attempts of the run instead, each PUT and each GET; as JSON both.
    #[arg(long, requires = "run")]
    attempts: bool,
    /// At most so many runs.
    #[arg(long, value_name = "NUMBER", default_value_t = LIMIT)]
    limit: usize,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    output: OutputArgs,
    /// What stands behind the flags: caught here so that a key is never echoed.
    #[arg(hide = true, value_name = "KEY")]
    stray: Vec<OsString>,
}

/// `history`: from the store alone.
pub(super) async fn run(globals: &Globals, args: HistoryArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.stray)?;
    let config = find_config(globals)?.unwrap_or_else(|_| Config::empty());
    let store = open_store(&config, globals).await?.store;
    let zone = TimeZone::system();
    let text = if let Some(run) = args.run {
        of_run(&store, RunId(run), &args, &zone).await?
    } else {
        let runs = store.runs(args.limit).await?;
        let live = store.live_runs().await?.into_iter();
        let unheard = live.filter(|live| live.holder.free_in.is_some());
        let history = History {
            runs: &runs,
            unheard: &unheard.map(|live| live.run.id).collect(),
            zone: &zone,
            at: Timestamp::now(),
        };
        match args.format.layout() {
            Some(layout) => rows(layout, &history),
            None => document(&history),
        }
    };
    args.output.write(&text, Readers::Owner)?;
    Ok(Status::Good)
}

async fn of_run(store: &Db, run: RunId, args: &HistoryArgs, zone: &TimeZone) -> anyhow::Result<String> {
    let runs = store.runs(usize::MAX).await?;
    let Some(record) = runs.into_iter().find(|known| known.id == run) else {
        bail!(
            "there is no run {} on record: `stripe-propagate history` lists them",
            run.0
        );
    };
    let sites = store.run_sites(run).await?;
    let attempts = if args.attempts {
        store.attempts(Some(run), None, usize::MAX).await?
    } else {
        Vec::new()
    };
    let told = RunExport {
        run: &record,
        sites: &sites,
        attempts: &attempts,
        zone,
        at: Timestamp::now(),
    };
    Ok(match args.format.layout() {
        None => document_of_run(&told, args.attempts),
        Some(layout) if args.attempts => export::attempts(layout, &told),
        Some(layout) => export::sites(layout, &told),
    })
}
