use jiff::Timestamp;
use serde::Serialize;

use super::Results;
use super::old_keys::{OldKeysBody, body};
use crate::engine::{Attempt, RunInfo};
use crate::key::KeyMode;
use crate::rules::alarm::Alarm;
use crate::rules::expiry::{Expiry, SitesOfOldKeys};
use crate::rules::moment::Moment;
use crate::rules::outcome::Cause;
use crate::rules::run::Halt;
use crate::rules::state::{Served, SiteState};
use crate::rules::tally::{Ending, Tally};
use crate::rules::watch::Notice;
use crate::site::Site;
use crate::store::Request;

/// What every line has.
#[derive(Serialize)]
struct Line<'a, Body> {
    v: u8,
    event: &'static str,
    /// RFC 3339, in UTC, to the millisecond.
    at: String,
    run: Option<u64>,
    #[serde(flatten)]
    body: &'a Body,
}

/// One line, without its line end.
pub(super) fn line(event: &'static str, at: Timestamp, run: Option<u64>, body: &impl Serialize) -> String {
    let line = Line {
        v: 1,
        event,
        at: format!("{at:.3}"),
        run,
        body,
    };
    // Structs of text and numbers: serializing them cannot fail.
    serde_json::to_string(&line).unwrap_or_default()
}

#[derive(Serialize)]
struct RunStarted {
    key: String,
    mode: KeyMode,
    puts: usize,
    sites: usize,
}

/// A run began.
pub fn run_started(run: &RunInfo, results: &Results<'_>) -> String {
    let body = RunStarted {
        key: results.mask(&run.key),
        mode: run.key.mode(),
        puts: run.puts,
        sites: results.selection.len(),
    };
    line("run_started", run.started.wall, Some(run.id.0), &body)
}

#[derive(Serialize)]
struct WhyBody<'a> {
    why: &'static str,
    note: &'a str,
}

/// The run halted, or a part of it.
pub fn halted(halt: Halt, text: &str, run: Option<u64>, now: Moment) -> String {
    let body = WhyBody {
        why: halt.word(),
        note: text,
    };
    line("halted", now.wall, run, &body)
}

#[derive(Serialize)]
struct StoreBody<'a> {
    reached: bool,
    note: &'a str,
}

/// The store is not reached, and the run waits for it; or it is back.
pub fn store(reached: bool, note: &str, run: Option<u64>, now: Moment) -> String {
    line("store", now.wall, run, &StoreBody { reached, note })
}

/// Sites show something that cannot wait.
pub fn alarm(alarm: Alarm, text: &str, run: Option<u64>, now: Moment) -> String {
    let body = WhyBody {
        why: alarm.word(),
        note: text,
    };
    line("alarm", now.wall, run, &body)
}

#[derive(Serialize)]
struct AttemptBody<'a> {
    site: &'a str,
    url: String,
    request: Request,
    number: u32,
    http: Option<u16>,
    ms: u64,
    cause: Option<&'static str>,
    note: &'a str,
}

/// A request ended.
pub fn attempt(attempt: &Attempt, site: &Site) -> String {
    let body = AttemptBody {
        site: site.name.as_str(),
        url: site.url.to_string(),
        request: attempt.request,
        number: attempt.number,
        http: attempt.http,
        ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
        cause: attempt.cause.map(Cause::word),
        note: attempt.note.as_str(),
    };
    line("attempt", attempt.at.wall, attempt.run.map(|run| run.0), &body)
}

#[derive(Serialize)]
struct ResultBody<'a> {
    site: &'a str,
    url: String,
    push: &'static str,
    verify: &'static str,
    /// Why it was left out, if it was.
    reason: Option<&'static str>,
    cause: Option<&'static str>,
    http: Option<u16>,
    attempts: u32,
    now: Option<String>,
    alarm: bool,
    /// Whether the operator has acknowledged that it is bad.
    acknowledged: bool,
    note: String,
}

/// A site's last word.
pub fn result(site: &Site, state: &SiteState, run: Option<u64>, results: &Results<'_>) -> String {
    use crate::rules::status::Push;

    let reason = match state.push {
        Push::Skipped(reason) => Some(reason.word()),
        _ => None,
    };
    let now = match &state.now {
        Served::Key(key) => Some(results.mask(key)),
        Served::Unknown | Served::NoKey | Served::Secret => None,
    };
    let body = ResultBody {
        site: site.name.as_str(),
        url: site.url.to_string(),
        push: state.push.look().word,
        verify: state.verify.look().word,
        reason,
        cause: state.cause().map(Cause::word),
        http: state.http,
        attempts: state.puts,
        now,
        alarm: state.alarm,
        acknowledged: results.acknowledgement(site).is_some(),
        note: results.note(site, state),
    };
    line("result", results.now.wall, run, &body)
}

#[derive(Serialize)]
struct Summary<'a> {
    push: serde_json::Map<String, serde_json::Value>,
    verify: serde_json::Map<String, serde_json::Value>,
    #[serde(flatten)]
    old_keys: OldKeysBody<'a>,
    /// Sites that are bad, and acknowledged: they do not count.
    acknowledged: usize,
    /// Sites of which nobody knows what they serve.
    unseen: usize,
    /// Whether no site is known or feared to serve an old key; none without a key.
    old_keys_may_expire: Option<bool>,
    seconds: u64,
    exit: u8,
}

/// All of it in numbers.
pub fn summary(results: &Results<'_>, run: Option<u64>, seconds: u64, exit: u8) -> String {
    let tally = results.tally();
    let expiry = results.expiry();
    let sites = |expiry: &Expiry| SitesOfOldKeys::of_expiry(expiry, results.states, results.now);
    let old_keys = expiry.as_ref().map(sites).unwrap_or_default();
    let is_hidden = results.hidden_for.is_some();
    let summary = Summary {
        push: tally
            .push_words()
            .map(|(word, count)| (word.to_owned(), count.into()))
            .collect(),
        verify: tally
            .verify_words()
            .map(|(word, count)| (word.to_owned(), count.into()))
            .collect(),
        old_keys: body(results, &old_keys, |old| !is_hidden && old_keys.may_expire(old)),
        acknowledged: tally.ending(Ending::Acknowledged),
        unseen: expiry.as_ref().map_or(0, |expiry| expiry.unseen.len()),
        old_keys_may_expire: expiry.as_ref().map(Expiry::is_safe),
        seconds,
        exit,
    };
    line("summary", results.now.wall, run, &summary)
}

#[derive(Serialize)]
struct NoticeBody<'a> {
    finding: &'static str,
    /// Whether it is over.
    over: bool,
    site: Option<&'a str>,
    url: Option<&'a str>,
    group: Option<&'a str>,
    now: Option<&'a str>,
    expected: Option<&'a str>,
    note: &'a str,
}

/// A watch has found something.
pub fn notice(notice: &Notice) -> String {
    let body = NoticeBody {
        finding: notice.finding.word(),
        over: notice.over,
        site: notice.site.as_deref(),
        url: notice.url.as_deref(),
        group: notice.group.as_deref(),
        now: notice.now.as_deref(),
        expected: notice.expected.as_deref(),
        note: &notice.note,
    };
    line("notice", notice.at, None, &body)
}

#[derive(Serialize)]
struct WatchBody {
    sites: usize,
    verify: serde_json::Map<String, serde_json::Value>,
    /// When they are looked at next.
    next: String,
}

/// A watch has looked at all its sites.
pub fn watch(tally: &Tally, now: Moment, next: Moment) -> String {
    let body = WatchBody {
        sites: tally.sites(),
        verify: tally
            .verify_words()
            .map(|(word, count)| (word.to_owned(), count.into()))
            .collect(),
        next: format!("{:.3}", next.wall),
    };
    line("watch", now.wall, None, &body)
}
