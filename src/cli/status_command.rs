use anyhow::bail;
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use super::format::{Format, OutputArgs};
use super::key::refuse_strays;
use super::list::since;
use super::sending::say;
use super::session::{known_in, list_name, open_store};
use super::signals::Signals;
use super::sources::config_with_sites;
use super::status::Status;
use super::{Common, Globals};
use crate::engine::Clock;
use crate::report::rows::Layout;
use crate::report::save::Readers;
use crate::report::{Results, ServedKeys, counts, metrics, old_keys, status};
use crate::store::Store;

/// Flags of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// May the old key expire? For each key that the last run of each site replaced: which sites serve it still, which
    /// may and until when, which were not seen. While a source of sites cannot be read the answer is no, and the end 1.
    #[arg(long)]
    old_key: bool,
    /// How it is written. `--json` is short for `--format json`.
    #[arg(long, value_enum, conflicts_with = "json")]
    format: Option<StatusFormat>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    common: Common,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// Aligned columns.
    Table,
    /// One document: docs/schema has its schema.
    Json,
    /// For a spreadsheet; with more columns than the table, and times in UTC.
    Csv,
    /// For a ticket.
    Markdown,
    /// Numbers without names, for Prometheus. Its file can be read by everyone (0644).
    Openmetrics,
}

impl StatusFormat {
    /// As of the other reading commands; none for what only this one has.
    fn common(self) -> Option<Format> {
        match self {
            Self::Table => Some(Format::Table),
            Self::Json => Some(Format::Json),
            Self::Csv => Some(Format::Csv),
            Self::Markdown => Some(Format::Markdown),
            Self::Openmetrics => None,
        }
    }
}

/// `status`: from the store alone. No site is asked, and no run is held up.
pub(super) async fn run(globals: &Globals, args: StatusArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.common.stray)?;
    let has_old_keys = |format| {
        use StatusFormat::{Json, Table};
        matches!(format, Table | Json)
    };
    if args.old_key && !args.format.is_none_or(has_old_keys) {
        bail!("--old-key has no rows: give it --format json, or no format");
    }
    let mut config = config_with_sites(globals, &mut Signals::listen()?).await?;
    let selection = args.common.selection.by_name(&config.sites)?;
    let store = open_store(&config, globals).await?.store;
    let change = since(&store, list_name(&config).as_deref(), &config.sites).await?;
    if !change.is_none() {
        say(&format!("warning: {change}"));
    }
    // What the last run still had may serve an old key, as far as is on record. It is in no row.
    for gone in &change.went {
        config.add_site(gone);
    }
    let now = Clock::start().now();
    let states = known_in(&store, &config, now).await?;
    let selection = args.common.selection.by_state(selection, &states)?;
    let acknowledged = store.acknowledged().await?;
    let results = Results {
        sites: &config.sites,
        states: &states,
        selection: &selection,
        key: None,
        now,
        zone: &TimeZone::system(),
        hidden_for: None,
        missing_sources: &config.listed.failed,
        acknowledged: &acknowledged,
        served: ServedKeys::default(),
    };
    let format = match args.format {
        Some(format) => format.common(),
        None if args.common.json => Some(Format::Json),
        None => Some(Format::Table),
    };
    let (text, readers) = match format {
        None => {
            let newest = store.runs(1).await?;
            (metrics::text(&results, newest.first()), Readers::Everyone)
        }
        Some(format) => (document(format, args.old_key, &results), Readers::Owner),
    };
    let is_table = format.is_some_and(|format| format.layout() == Some(Layout::Table));
    args.output.write(&text, readers)?;
    // Beside the rows: who reads these by a program has a line a site.
    if is_table && !args.old_key && selection.len() > 1 {
        say(&counts(&results));
    }
    // What is missing is not known to be good, and the question was whether all is.
    Ok(if args.old_key && !config.listed.failed.is_empty() {
        Status::Bad
    } else {
        Status::Good
    })
}

fn document(format: Format, old_key: bool, results: &Results<'_>) -> String {
    match format.layout() {
        None => status::document(results),
        Some(Layout::Table) if old_key => old_keys::answer(results),
        Some(layout) => status::rows(layout, results),
    }
}
