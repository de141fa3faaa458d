use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::typed_path;
use crate::key::PublishableKey;
use crate::report::export::{Format, RunExport, render};
use crate::report::save::save;
use crate::rules::plan::PutBack;
use crate::rules::status::Push;
use crate::site::{Site, SiteId, SiteUrl};
use crate::store::{RunId, RunSite, Store};
use crate::tui::{Past, Reading, Wanted};

/// Runs that the history shows.
const RUNS: usize = 500;
/// Runs that a site's page shows.
const RUNS_OF_SITE: usize = 50;
/// Attempts, or keys that were seen, that a site's page shows.
const LINES: usize = 200;

/// Reads from the store what the screen wants.
pub(super) async fn read(store: &impl Store, sites: &[Site], wanted: Wanted) -> Reading {
    let url = |id: SiteId| &sites[id.index()].url;
    let read = async {
        Ok(match wanted {
            Wanted::Runs => Reading::Runs(store.runs(RUNS).await?),
            Wanted::Run(run) => Reading::Run(run, store.run_sites(run).await?),
            Wanted::WasServed(key) => {
                let was_served = store.was_served(&key).await?;
                Reading::WasServed(key, was_served)
            }
            Wanted::Attempts(run, site) => {
                let attempts = store.attempts(Some(run), Some(&site), LINES).await?;
                Reading::Attempts(site, attempts)
            }
            Wanted::Past(site) => Reading::Past(site, Box::new(past(store, url(site)).await?)),
            Wanted::PutBack(run, only) => {
                let only = only.map(|only| only.into_iter().map(|id| url(id).clone()).collect());
                Reading::PutBack(run, put_back(store, sites, run, only).await?)
            }
            Wanted::Export { run, path, replace } => {
                let path = typed_path(&path);
                match export(store, run, &path, replace).await? {
                    Written::Done => Reading::Exported(path),
                    Written::IsThere => Reading::Exists(path),
                }
            }
        })
    };
    let read: anyhow::Result<Reading> = read.await;
    read.unwrap_or_else(|error| Reading::Failed(format!("{error:#}")))
}

/// What is on record of a site. Its runs first: then all is written that went before the question.
async fn past(store: &impl Store, site: &SiteUrl) -> anyhow::Result<Past> {
    Ok(Past {
        runs: store.site_runs(site, RUNS_OF_SITE).await?,
        seen: store.timeline(site, LINES).await?,
        attempts: store.attempts(None, Some(site), LINES).await?,
    })
}

/// What the sites of a run had before it, those that no longer stand in the list left out; only these, if given.
pub(super) async fn put_back(
    store: &impl Store,
    sites: &[Site],
    run: RunId,
    only: Option<Vec<SiteUrl>>,
) -> anyhow::Result<Vec<PutBack>> {
    let places: HashMap<&SiteUrl, SiteId> = sites
        .iter()
        .enumerate()
        .map(|(place, site)| (&site.url, SiteId::at(place)))
        .collect();
    let only: Option<HashSet<SiteUrl>> = only.map(|only| only.into_iter().collect());
    let rows = store.run_sites(run).await?;
    let later = put_later(store, run).await?;
    let wanted = rows
        .iter()
        .filter(|row| only.as_ref().is_none_or(|only| only.contains(&row.planned.site)));
    let of_list = |row: &RunSite| {
        let later = later.get(&row.planned.site);
        let is_third =
            |(_, key): &&(RunId, PublishableKey)| *key != row.planned.key && Some(key) != row.before.key();
        Some(PutBack {
            site: *places.get(&row.planned.site)?,
            before: row.before.clone(),
            was_pushed: row.before_pushed,
            was_changed: was_changed(row),
            later: later.filter(is_third).map(|(run, _)| *run),
        })
    };
    Ok(wanted.filter_map(of_list).collect())
}

/// Whether a run may have changed anything on a site: what a PUT could not change is as it was.
fn was_changed(row: &RunSite) -> bool {
    let refused = matches!(row.push, Push::Failed(cause) if !cause.may_be_stored());
    row.planned.left_out.is_none() && row.puts > 0 && !refused
}

/// What the runs after this one may have put on sites: the newest of each.
async fn put_later(
    store: &impl Store,
    run: RunId,
) -> anyhow::Result<HashMap<SiteUrl, (RunId, PublishableKey)>> {
    let runs = store.runs(usize::MAX).await?;
    let mut later: Vec<RunId> = runs
        .iter()
        .map(|record| record.id)
        .filter(|id| *id > run)
        .collect();
    later.sort_unstable();
    let mut put = HashMap::new();
    for id in later {
        let rows = store.run_sites(id).await?;
        let changed = rows.into_iter().filter(was_changed);
        put.extend(changed.map(|row| (row.planned.site, (id, row.planned.key))));
    }
    Ok(put)
}

/// What came of writing a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is there.
    Done,
    /// Another file is there already, and stays.
    IsThere,
}

/// Writes a run as a document; the file's end says in which format.
pub(super) async fn export(
    store: &impl Store,
    run: RunId,
    path: &Path,
    replace: bool,
) -> anyhow::Result<Written> {
    let Some(format) = Format::of_path(path) else {
        bail!(
            "the name must end in .html, .csv, .json or .md: {}",
            path.display()
        );
    };
    let runs = store.runs(usize::MAX).await?;
    let Some(record) = runs.into_iter().find(|known| known.id == run) else {
        bail!("there is no run {} on record", run.0);
    };
    let sites = store.run_sites(run).await?;
    let attempts = store.attempts(Some(run), None, usize::MAX).await?;
    let text = render(
        format,
        &RunExport {
            run: &record,
            sites: &sites,
            attempts: &attempts,
            zone: &TimeZone::system(),
            at: Timestamp::now(),
        },
    );
    match save(path, &text, replace) {
        Ok(()) => Ok(Written::Done),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && !replace && path.is_file() => {
            Ok(Written::IsThere)
        }
        Err(error) => Err(error).context("the document was not written"),
    }
}
