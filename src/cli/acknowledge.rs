use std::ffi::OsString;
use std::io::{ErrorKind, Write};

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::key::refuse_strays;
use super::selection::SelectionArgs;
use super::session::{known, open_store};
use super::signals::Signals;
use super::sources::config_with_sites;
use super::status::Status;
use super::{Globals, who};
use crate::key::secret_inside;
use crate::rules::acknowledgement::{Acknowledged, Acknowledgement, DEFAULT_UNTIL, until};
use crate::rules::moment::{Moment, clock};
use crate::site::{Site, SiteUrl};
use crate::store::Store;
use crate::text::{CleanText, Count, pad, some_names, width};

/// Flags of `acknowledge`.
#[derive(Debug, Args)]
pub(super) struct AcknowledgeArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Why it is bad: who comes later has to know.
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["take_back", "list"])]
    reason: Option<String>,
    /// Until when: "7 days", "12h", "2026-12-24", "2026-12-24 18:00", or "taken back" for no end.
    #[arg(long, value_name = "WHEN", default_value = DEFAULT_UNTIL)]
    until: String,
    /// It is acknowledged no more.
    #[arg(long, conflicts_with_all = ["reason", "list"])]
    take_back: bool,
    /// List the sites that are acknowledged.
    #[arg(long, conflicts_with = "reason")]
    list: bool,
    /// List them as one JSON document.
    #[arg(long, requires = "list")]
    json: bool,
    /// What stands behind the flags: caught here so that a key is never echoed.
    #[arg(hide = true, value_name = "KEY")]
    stray: Vec<OsString>,
}

/// `acknowledge`.
pub(super) async fn run(globals: &Globals, args: AcknowledgeArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.stray)?;
    let config = config_with_sites(globals, &mut Signals::listen()?).await?;
    if !args.list {
        may_write(globals)?;
        if !args.selection.is_given() {
            bail!(
                "which sites? Name them with --site or --group, or give --list to see which are acknowledged"
            );
        }
    }
    let mut chosen = args.selection.by_name(&config.sites)?;
    if args.selection.asks_states() {
        chosen = args.selection.by_state(chosen, &known(&config, globals).await?)?;
    }
    let sites: Vec<&Site> = chosen.iter().map(|id| &config.sites[id.index()]).collect();
    let now = Timestamp::now();
    let zone = TimeZone::system();
    let acknowledgement = match &args.reason {
        Some(reason) => Some(acknowledgement(reason, &args.until, now, &zone)?),
        None => None,
    };
    let store = open_store(&config, globals).await?.store;
    let known = store.acknowledged().await?;
    if args.list {
        return print(&list(&sites, &known, now, &zone, args.json));
    }
    let urls: Vec<SiteUrl> = sites.iter().map(|site| site.url.clone()).collect();
    store
        .acknowledge(&urls, acknowledgement.clone())
        .await
        .context("nothing was acknowledged")?;
    let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
    let what = match &acknowledgement {
        Some(known) => known.sentence(&|at| at_clock(at, now, &zone)),
        None => "acknowledged no more".to_owned(),
    };
    let count = Count(names.len(), "site");
    let _closed = writeln!(std::io::stdout(), "{count} {what}: {}", some_names(&names));
    Ok(Status::Good)
}

/// What is acknowledged changes what all see of a site.
fn may_write(globals: &Globals) -> anyhow::Result<()> {
    if globals.read_only {
        bail!("--read-only promises to change nothing, and `acknowledge` does: leave out one of the two");
    }
    Ok(())
}

fn acknowledgement(
    reason: &str,
    end: &str,
    now: Timestamp,
    zone: &TimeZone,
) -> anyhow::Result<Acknowledgement> {
    if secret_inside(reason).is_some() {
        bail!("--reason holds a secret key: it would be shown to everybody. Have it rolled in Stripe now");
    }
    let reason = CleanText::note(reason);
    if reason.is_empty() {
        bail!("--reason is empty: who comes later has to know why");
    }
    let who = who::operator();
    Ok(Acknowledgement {
        reason,
        until: until(end, now, zone).context("--until")?,
        by: CleanText::note(&format!("{}@{}", who.user, who.host)),
        at: now,
    })
}

fn at_clock(at: Moment, now: Timestamp, zone: &TimeZone) -> String {
    let now = Moment { wall: now, ..at };
    clock(at, now, zone)
}

#[derive(Serialize)]
struct Listed<'a> {
    site: &'a str,
    url: String,
    reason: &'a str,
    until: Option<String>,
    by: &'a str,
    at: String,
}

#[derive(Serialize)]
struct Document<'a> {
    v: u8,
    acknowledged: Vec<Listed<'a>>,
}

/// Who reads it may have seen enough.
fn print(text: &str) -> anyhow::Result<Status> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Status::Good),
        written => written.context("writing the answer").map(|()| Status::Good),
    }
}

/// Those of `sites` that are acknowledged now.
fn list(sites: &[&Site], known: &Acknowledged, now: Timestamp, zone: &TimeZone, json: bool) -> String {
    let rows = sites
        .iter()
        .map(|site| (*site, known.of(&site.url, now)))
        .filter_map(|(site, known)| Some((site, known?)));
    let listed: Vec<(&Site, &Acknowledgement)> = rows.collect();
    let time = |at: Timestamp| format!("{at:.3}");
    if json {
        let rows = listed.iter().map(|(site, known)| Listed {
            site: site.name.as_str(),
            url: site.url.to_string(),
            reason: known.reason.as_str(),
            until: known.until.map(time),
            by: known.by.as_str(),
            at: time(known.at),
        });
        let document = Document {
            v: 1,
            acknowledged: rows.collect(),
        };
        // Text and numbers: serializing them cannot fail.
        serde_json::to_string(&document).unwrap_or_default()
    } else if listed.is_empty() {
        "no site is acknowledged".to_owned()
    } else {
        let names = listed
            .iter()
            .map(|(site, _)| width(site.name.as_str()))
            .max()
            .unwrap_or_default();
        let line = |(site, known): &(&Site, &Acknowledgement)| {
            let name = site.name.as_str();
            let end = known.until_in_words(&|at| at_clock(at, now, zone));
            format!("{}  {end}  {}  {}", pad(name, names), known.by, known.reason)
        };
        listed.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
