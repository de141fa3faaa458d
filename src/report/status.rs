use serde::Serialize;

use super::old_keys::{OldKeysBody, body};
use super::rows::{Column, Layout, or_dash, or_empty, render};
use super::{Results, UNSEEN};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::outcome::Cause;
use crate::rules::state::{Served, SiteState};
use crate::rules::status::Push;
use crate::site::Site;

/// A site with what is known of it.
#[derive(Clone, Copy)]
struct Row<'a, 'b> {
    results: &'a Results<'b>,
    site: &'a Site,
    state: &'a SiteState,
}

impl Row<'_, '_> {
    fn mask(&self, key: &PublishableKey) -> String {
        self.results.mask(key)
    }
}

/// What is told of a site.
fn columns<'a, 'b>() -> [Column<Row<'a, 'b>>; 17] {
    [
        Column::new("site", |row| row.site.name.to_string()),
        Column::for_programs("url", |row| row.site.url.to_string()),
        Column::for_programs("group", |row| or_empty(row.site.group.as_ref())),
        Column::each(
            "now",
            |row| row.state.now.words(|key| row.mask(key)),
            |row| or_empty(now(row.results, row.state)),
        ),
        Column::each(
            "expected",
            |row| or_dash(row.state.expected.as_ref().map(|key| row.mask(key))),
            |row| or_empty(row.state.expected.as_ref().map(|key| row.mask(key))),
        ),
        Column::new("push", |row| row.state.push.look().word.to_owned()),
        Column::for_programs("reason", |row| or_empty(reason(row.state))),
        Column::new("verify", |row| row.state.verify.look().word.to_owned()),
        Column::for_programs("cause", |row| or_empty(row.state.cause().map(Cause::word))),
        Column::for_programs("http", |row| or_empty(row.state.http)),
        Column::for_programs("run", |row| or_empty(row.state.run.map(|run| run.0))),
        Column::for_programs("attempts", |row| row.state.puts.to_string()),
        Column::for_programs("alarm", |row| row.state.alarm.to_string()),
        Column::for_programs("acknowledged", |row| {
            row.results.acknowledgement(row.site).is_some().to_string()
        }),
        Column::each(
            "at",
            |row| or_dash(row.state.at.map(|moment| row.results.clock(moment))),
            |row| or_empty(row.state.at.map(utc)),
        ),
        Column::for_programs("looked_at", |row| or_empty(row.state.looked_at.map(utc))),
        Column::new("note", |row| row.results.note(row.site, row.state)),
    ]
}

/// What is known of each site, a row a site.
pub fn rows(layout: Layout, results: &Results<'_>) -> String {
    let rows = results.rows().map(|(site, state)| Row { results, site, state });
    render(layout, &columns(), rows)
}

/// Times are RFC 3339 in UTC. Fields may be added, none renamed.
#[derive(Serialize)]
struct Document<'a> {
    v: u8,
    at: String,
    sites: Vec<SiteBody<'a>>,
    #[serde(flatten)]
    old_keys: OldKeysBody<'a>,
    not_seen_from_here: &'static str,
}

#[derive(Serialize)]
struct SiteBody<'a> {
    site: &'a str,
    url: String,
    group: Option<&'a str>,
    push: &'static str,
    /// Why it was left out, if it was.
    reason: Option<&'static str>,
    verify: &'static str,
    cause: Option<&'static str>,
    http: Option<u16>,
    /// The run that last had it in its plan.
    run: Option<u64>,
    /// PUTs of it in that run.
    attempts: u32,
    /// A mask, `no_key`, `secret`, or null where it was not seen.
    now: Option<String>,
    expected: Option<String>,
    alarm: bool,
    /// Whether the operator knows it to be bad.
    acknowledged: bool,
    /// When something last happened to it.
    at: Option<String>,
    /// When it last showed what it serves.
    looked_at: Option<String>,
    note: String,
}

/// What is known of each site, and of each old key, as one document in one line.
pub fn document(results: &Results<'_>) -> String {
    let old_keys = results.replaced_keys();
    let document = Document {
        v: 1,
        at: utc(results.now),
        sites: results
            .rows()
            .map(|(site, state)| of_site(results, site, state))
            .collect(),
        old_keys: body(results, &old_keys, |old| old_keys.may_expire(old)),
        not_seen_from_here: UNSEEN,
    };
    // Structs of text and numbers: serializing them cannot fail.
    serde_json::to_string(&document).unwrap_or_default()
}

fn of_site<'a>(results: &Results<'_>, site: &'a Site, state: &SiteState) -> SiteBody<'a> {
    let mask = |key: &PublishableKey| results.mask(key);
    SiteBody {
        site: site.name.as_str(),
        url: site.url.to_string(),
        group: site.group.as_ref().map(AsRef::as_ref),
        push: state.push.look().word,
        reason: reason(state),
        verify: state.verify.look().word,
        cause: state.cause().map(Cause::word),
        http: state.http,
        run: state.run.map(|run| run.0),
        attempts: state.puts,
        now: now(results, state),
        expected: state.expected.as_ref().map(mask),
        alarm: state.alarm,
        acknowledged: results.acknowledgement(site).is_some(),
        at: state.at.map(utc),
        looked_at: state.looked_at.map(utc),
        note: results.note(site, state),
    }
}

/// Why it was left out, if it was.
fn reason(state: &SiteState) -> Option<&'static str> {
    match state.push {
        Push::Skipped(reason) => Some(reason.word()),
        _ => None,
    }
}

/// A mask, `no_key`, `secret`, or none where it was not seen.
fn now(results: &Results<'_>, state: &SiteState) -> Option<String> {
    match &state.now {
        Served::Unknown => None,
        Served::Key(key) => Some(results.mask(key)),
        Served::NoKey => Some("no_key".to_owned()),
        Served::Secret => Some("secret".to_owned()),
    }
}

fn utc(moment: Moment) -> String {
    format!("{:.3}", moment.wall)
}
