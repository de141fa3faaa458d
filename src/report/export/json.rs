use std::collections::BTreeMap;

use serde::Serialize;

use super::{BASIS, RunExport, Told, cause, clock_set, names, reason, state_word, utc};
use crate::key::KeyMode;
use crate::report::UNSEEN;
use crate::rules::outcome::Cause;
use crate::rules::run::Kind;
use crate::store::{Operator, Request, RunRecord, RunSite, StoredAttempt};

/// Times are RFC 3339 in UTC. Fields may be added, none renamed.
#[derive(Serialize)]
struct Document<'a> {
    v: u8,
    at: String,
    run: Run<'a>,
    old_keys: Vec<OldKey<'a>>,
    /// Whether no site of the run is known or feared to serve an old key.
    old_keys_may_expire: bool,
    /// The same in words.
    old_keys_sentence: String,
    /// What that rests on.
    judged_by: &'static str,
    not_seen_from_here: &'static str,
    sites: Vec<SiteRow<'a>>,
    attempts: Vec<Attempt<'a>>,
}

/// A run. Times are RFC 3339 in UTC.
#[derive(Serialize)]
pub(in crate::report) struct Run<'a> {
    id: u64,
    kind: Kind,
    parent: Option<u64>,
    key: String,
    mode: KeyMode,
    by: &'a Operator,
    /// What of `by` the environment claims: the rest is the system's.
    by_claims: [&'static str; 2],
    began: String,
    sent: Option<String>,
    ended: Option<String>,
    closed: bool,
    live: bool,
    /// The three above in one word.
    state: &'static str,
    took_ms: Option<u64>,
    clock_set_ms: Option<i64>,
    /// The same in words.
    clock_set: Option<String>,
    /// How many sites it has, those that were left out too.
    sites: usize,
    counts: BTreeMap<&'a str, usize>,
}

impl<'a> Run<'a> {
    /// With its key's mask, and how many sites have each word that sums a site up.
    pub(in crate::report) fn of(run: &'a RunRecord, key: String, counts: BTreeMap<&'a str, usize>) -> Self {
        Self {
            id: run.id.0,
            kind: run.kind,
            parent: run.parent.map(|parent| parent.0),
            key,
            mode: run.key.mode(),
            by: &run.by,
            by_claims: ["sudo_user", "ssh_client"],
            began: utc(run.began.wall),
            sent: run.sent.map(|sent| utc(sent.wall)),
            ended: run.ended.map(|ended| utc(ended.wall)),
            closed: run.closed,
            live: run.live,
            state: state_word(run),
            took_ms: run
                .took
                .map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            clock_set_ms: run
                .clock_set
                .map(|by| i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
            clock_set: clock_set(run),
            sites: counts.values().sum(),
            counts,
        }
    }
}

#[derive(Serialize)]
struct OldKey<'a> {
    key: String,
    /// How many sites served it when they were last looked at in the run.
    serving: usize,
    served_by: Vec<&'a str>,
    served_before_by: Vec<&'a str>,
}

/// A site of a run.
#[derive(Serialize)]
pub(in crate::report) struct SiteRow<'a> {
    site: &'a str,
    url: String,
    group: Option<&'a str>,
    push: &'static str,
    reason: Option<&'static str>,
    verify: &'static str,
    cause: Option<&'static str>,
    http: Option<u16>,
    attempts: u32,
    /// The key that it was to get.
    key: String,
    /// A mask, `no_key`, `secret`, or null where it was not seen.
    before: Option<String>,
    now: Option<String>,
    /// What it says about the old keys.
    old_key: &'static str,
    at: Option<String>,
    note: &'a str,
}

/// An attempt of a run.
#[derive(Serialize)]
pub(in crate::report) struct Attempt<'a> {
    /// Its name, if the run has it.
    site: Option<&'a str>,
    url: String,
    request: Request,
    number: u32,
    at: String,
    ended: bool,
    ms: Option<u64>,
    http: Option<u16>,
    cause: Option<&'static str>,
    note: &'a str,
}

/// One document in one line.
pub(super) fn render(told: &Told<'_>) -> String {
    let export = told.export;
    let old_keys = told.old_keys.keys.iter().map(|old| OldKey {
        key: told.mask(&old.key),
        serving: old.now.len(),
        served_by: told.names(&old.now),
        served_before_by: told.names(&old.before),
    });
    let document = Document {
        v: 1,
        at: utc(export.at),
        run: run(told),
        old_keys: old_keys.collect(),
        old_keys_may_expire: told.old_keys.is_safe(),
        old_keys_sentence: told.verdict(),
        judged_by: BASIS,
        not_seen_from_here: UNSEEN,
        sites: sites(told),
        attempts: attempts(export),
    };
    // Structs of text and numbers: serializing them cannot fail.
    let mut text = serde_json::to_string(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn run<'a>(told: &Told<'a>) -> Run<'a> {
    let run = told.export.run;
    let counts = told.counts().into_iter();
    Run::of(
        run,
        told.mask(&run.key),
        counts.map(|(look, count)| (look.word, count)).collect(),
    )
}

/// The sites of a run, in the order of its plan.
pub(super) fn sites<'a>(told: &Told<'a>) -> Vec<SiteRow<'a>> {
    let sites = told.export.sites.iter().enumerate();
    sites.map(|(place, one)| site(told, place, one)).collect()
}

/// The attempts of a run.
pub(super) fn attempts<'a>(export: &RunExport<'a>) -> Vec<Attempt<'a>> {
    let names = names(export.sites);
    let attempts = export.attempts.iter();
    attempts
        .map(|one| attempt(one, names.get(&one.site).copied()))
        .collect()
}

fn site<'a>(told: &Told<'_>, place: usize, site: &'a RunSite) -> SiteRow<'a> {
    let planned = &site.planned;
    SiteRow {
        site: planned.name.as_str(),
        url: planned.site.to_string(),
        group: planned.group.as_ref().map(AsRef::as_ref),
        push: site.push.look().word,
        reason: reason(site).map(crate::rules::status::SkipReason::word),
        verify: site.verify.look().word,
        cause: cause(site),
        http: site.http,
        attempts: site.puts,
        key: told.mask(&planned.key),
        before: told.served_word(&site.before),
        now: told.served_word(&site.now),
        old_key: told.old_keys.states[place].word(),
        at: site.at.map(utc),
        note: site.note.as_str(),
    }
}

fn attempt<'a>(attempt: &'a StoredAttempt, name: Option<&'a str>) -> Attempt<'a> {
    Attempt {
        site: name,
        url: attempt.site.to_string(),
        request: attempt.request,
        number: attempt.number,
        at: utc(attempt.at),
        ended: attempt.ended,
        ms: attempt.ms,
        http: attempt.http,
        cause: attempt.cause.map(Cause::word),
        note: attempt.note.as_str(),
    }
}
