use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::export::json::{Attempt, Run, SiteRow};
use super::export::{RunExport, bodies, clock_set, in_words, state_word, time, utc};
use super::rows::{Column, Layout, or_dash, or_empty, render};
use crate::key::PublishableKey;
use crate::rules::status::{Role, looks};
use crate::store::{RunId, RunRecord};

/// Runs on record.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// The newest first.
    pub runs: &'a [RunRecord],
    /// Those that a process works on of which nothing was heard lately: it may have died.
    pub unheard: &'a BTreeSet<RunId>,
    /// Where times are read, by people; programs get UTC.
    pub zone: &'a TimeZone,
    /// When it is told.
    pub at: Timestamp,
}

/// A run, with what tells its key apart from the others.
#[derive(Clone, Copy)]
struct Row<'a> {
    run: &'a RunRecord,
    keys: &'a BTreeSet<&'a PublishableKey>,
    is_unheard: bool,
    /// Whether the runs are of more than one machine.
    tells_host: bool,
    zone: &'a TimeZone,
}

impl Row<'_> {
    fn mask(&self) -> String {
        self.run.key.mask_among(self.keys.iter().copied())
    }
}

/// What is told of a run.
fn columns<'a>() -> [Column<Row<'a>>; 20] {
    [
        Column::new("run", |row| row.run.id.0.to_string()),
        Column::each(
            "began",
            |row| time(row.run.began.wall, row.zone),
            |row| utc(row.run.began.wall),
        ),
        Column::for_programs("sent", |row| or_empty(row.run.sent.map(|sent| utc(sent.wall)))),
        Column::for_programs("ended", |row| {
            or_empty(row.run.ended.map(|ended| utc(ended.wall)))
        }),
        Column::each("kind", kind, |row| row.run.kind.word().to_owned()),
        Column::for_programs("parent", |row| or_empty(row.run.parent.map(|parent| parent.0))),
        Column::new("key", Row::mask),
        Column::for_programs("mode", |row| row.run.key.mode().word().to_owned()),
        Column::each("by", by, |row| row.run.by.user.to_string()),
        Column::for_programs("sudo_user", |row| or_empty(row.run.by.sudo_user.as_ref())),
        Column::for_programs("host", |row| row.run.by.host.to_string()),
        Column::for_programs("ssh_client", |row| or_empty(row.run.by.ssh_client.as_ref())),
        Column::for_programs("pid", |row| row.run.by.pid.to_string()),
        Column::new("sites", |row| row.run.sites().to_string()),
        Column::new("counts", |row| counts(row.run)),
        Column::for_people("took", |row| or_dash(row.run.took.map(in_words))),
        Column::for_programs("took_ms", |row| {
            or_empty(row.run.took.map(|took| took.as_millis()))
        }),
        Column::each("state", state, |row| state_word(row.run).to_owned()),
        Column::for_programs("live", |row| row.run.live.to_string()),
        Column::for_programs("clock_set", |row| or_empty(clock_set(row.run))),
    ]
}

fn kind(row: &Row<'_>) -> String {
    let kind = row.run.kind.word();
    match row.run.parent {
        Some(parent) => format!("{kind} of {}", parent.0),
        None => kind.to_owned(),
    }
}

/// The user, the machine where there are several, and whom the environment claims behind `sudo`.
fn by(row: &Row<'_>) -> String {
    let by = &row.run.by;
    let who = if row.tells_host {
        format!("{}@{}", by.user, by.host)
    } else {
        by.user.to_string()
    };
    match &by.sudo_user {
        Some(user) => format!("{who} (sudo: {user})"),
        None => who,
    }
}

fn state(row: &Row<'_>) -> String {
    let state = if row.is_unheard {
        "not heard of".to_owned()
    } else {
        state_word(row.run).replace('_', " ")
    };
    match clock_set(row.run) {
        Some(clock_set) => format!("{state}; {clock_set}"),
        None => state,
    }
}

/// How many of its sites have each word: what is proven first, then what needs attention.
pub fn counts(run: &RunRecord) -> String {
    let mut counts: Vec<(&String, &usize)> = run.counts.iter().collect();
    counts.sort_by_key(|(word, _)| place_of(word));
    let counts: Vec<String> = counts
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    counts.join(", ")
}

fn place_of(word: &str) -> (bool, Reverse<u8>) {
    let of_word = looks().filter(|look| look.word == word);
    let look = of_word.max_by_key(|look| look.rank);
    let is_good = look.is_some_and(|look| look.role == Role::Good);
    (!is_good, Reverse(look.map_or(0, |look| look.rank)))
}

/// A row a run.
pub fn rows(layout: Layout, history: &History<'_>) -> String {
    let keys = keys(history.runs);
    let hosts: BTreeSet<&str> = history.runs.iter().map(|run| run.by.host.as_str()).collect();
    let rows = history.runs.iter().map(|run| Row {
        run,
        keys: &keys,
        is_unheard: history.unheard.contains(&run.id),
        tells_host: hosts.len() > 1,
        zone: history.zone,
    });
    render(layout, &columns(), rows)
}

fn keys(runs: &[RunRecord]) -> BTreeSet<&PublishableKey> {
    runs.iter().map(|run| &run.key).collect()
}

/// Times are RFC 3339 in UTC. Fields may be added, none renamed.
#[derive(Serialize)]
struct Document<'a> {
    v: u8,
    at: String,
    runs: Vec<Run<'a>>,
    /// Of one run: its sites.
    #[serde(skip_serializing_if = "Option::is_none")]
    sites: Option<Vec<SiteRow<'a>>>,
    /// Of one run, where they were asked for: its attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<Attempt<'a>>>,
}

/// The runs as one document in one line.
pub fn document(history: &History<'_>) -> String {
    let keys = keys(history.runs);
    let runs = history.runs.iter().map(|run| body(run, &keys));
    text(&Document {
        v: 1,
        at: utc(history.at),
        runs: runs.collect(),
        sites: None,
        attempts: None,
    })
}

/// One run with its sites, and with its attempts if `attempts`, as one document in one line.
pub fn document_of_run(export: &RunExport<'_>, attempts: bool) -> String {
    let keys = BTreeSet::from([&export.run.key]);
    let (sites, of_run) = bodies(export);
    text(&Document {
        v: 1,
        at: utc(export.at),
        runs: vec![body(export.run, &keys)],
        sites: Some(sites),
        attempts: attempts.then_some(of_run),
    })
}

fn body<'a>(run: &'a RunRecord, keys: &BTreeSet<&PublishableKey>) -> Run<'a> {
    let counts: BTreeMap<&str, usize> = run
        .counts
        .iter()
        .map(|(word, count)| (word.as_str(), *count))
        .collect();
    Run::of(run, run.key.mask_among(keys.iter().copied()), counts)
}

fn text(document: &Document<'_>) -> String {
    // Structs of text and numbers: serializing them cannot fail.
    serde_json::to_string(document).unwrap_or_default()
}
