//! A run on record as one document, for people and for other programs. Pure: values in, text out.
//!
//! Every format tells the same: who, when and which key, what became of each site, whether the old keys may
//! expire as far as the record tells, and what no record can tell. Keys are masked; two keys with one mask have
//! their fingerprint behind it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::key::PublishableKey;
use crate::rules::run::Kind;
use crate::rules::state::Served;
use crate::rules::status::{Look, Push, SkipReason};
use crate::site::SiteUrl;
use crate::store::{Operator, RunRecord, RunSite, StoredAttempt};

use self::old_keys::OldKeys;
use super::rows::{self, Layout};

/// One row a site, for a spreadsheet.
mod csv;
/// One document, for a program.
pub(super) mod json;
/// For a ticket.
mod markdown;
/// For a browser, and for whoever asks later.
mod html;
/// Bars drawn as SVG.
mod bars;
/// May the old keys expire?
pub mod old_keys;
/// What is told of a site of a run.
mod site_of_run;
/// What is told of an attempt of a run.
mod attempt_of_run;

/// What is exported.
#[derive(Debug, Clone, Copy)]
pub struct RunExport<'a> {
    /// The run.
    pub run: &'a RunRecord,
    /// Its sites, in the order of its plan.
    pub sites: &'a [RunSite],
    /// All attempts of the run, or none.
    pub attempts: &'a [StoredAttempt],
    /// Where times of day are read, by people; programs get UTC.
    pub zone: &'a TimeZone,
    /// When the document is made.
    pub at: Timestamp,
}

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One row a site.
    Csv,
    /// One document.
    Json,
    /// A table for a ticket.
    Markdown,
    /// One page that needs nothing else.
    Html,
}

impl Format {
    /// The format that a file's extension names, in either case.
    pub fn of_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "md" | "markdown" => Some(Self::Markdown),
            "html" | "htm" => Some(Self::Html),
            _ => None,
        }
    }
}

/// The document.
pub fn render(format: Format, export: &RunExport<'_>) -> String {
    let told = Told::of(export);
    match format {
        Format::Csv => csv::render(&told),
        Format::Json => json::render(&told),
        Format::Markdown => markdown::render(&told),
        Format::Html => html::render(&told),
    }
}

/// The sites of a run as rows, in the order of its plan.
pub fn sites(layout: Layout, export: &RunExport<'_>) -> String {
    let told = Told::of(export);
    let places = 0..export.sites.len();
    rows::render(
        layout,
        &site_of_run::columns(),
        places.map(|place| told.site(place)),
    )
}

/// The attempts of a run as rows.
pub fn attempts<'a>(layout: Layout, export: &RunExport<'a>) -> String {
    let names = names(export.sites);
    let row = |attempt: &'a StoredAttempt| AttemptOfRun {
        site: names.get(&attempt.site).copied(),
        attempt,
        zone: export.zone,
    };
    rows::render(
        layout,
        &attempt_of_run::columns(),
        export.attempts.iter().map(row),
    )
}

/// The same, in JSON.
pub(super) fn bodies<'a>(export: &'a RunExport<'a>) -> (Vec<json::SiteRow<'a>>, Vec<json::Attempt<'a>>) {
    let told = Told::of(export);
    (json::sites(&told), json::attempts(export))
}

/// The names of sites by their addresses.
fn names(sites: &[RunSite]) -> HashMap<&SiteUrl, &str> {
    let sites = sites.iter();
    sites
        .map(|site| (&site.planned.site, site.planned.name.as_str()))
        .collect()
}

/// A site of a run, with what the run tells of it.
#[derive(Clone, Copy)]
struct SiteOfRun<'a> {
    told: &'a Told<'a>,
    place: usize,
    site: &'a RunSite,
}

/// An attempt, with the name of its site, if the run has that.
#[derive(Clone, Copy)]
struct AttemptOfRun<'a> {
    site: Option<&'a str>,
    attempt: &'a StoredAttempt,
    zone: &'a TimeZone,
}

/// What all formats tell.
struct Told<'a> {
    export: &'a RunExport<'a>,
    /// The keys of the run by their masks: each site may have had one of its own.
    masks: HashMap<String, Vec<&'a PublishableKey>>,
    old_keys: OldKeys,
}

impl<'a> Told<'a> {
    fn of(export: &'a RunExport<'a>) -> Self {
        let of_site = |site: &'a RunSite| {
            let served = [&site.before, &site.now, &site.planned.serves];
            let served = served.into_iter().filter_map(Served::key);
            served.chain([&site.planned.key])
        };
        let keys = export.sites.iter().flat_map(of_site);
        let keys: BTreeSet<&PublishableKey> = keys.chain([&export.run.key]).collect();
        let mut masks: HashMap<String, Vec<&PublishableKey>> = HashMap::new();
        for key in keys {
            masks.entry(key.mask()).or_default().push(key);
        }
        Self {
            export,
            masks,
            old_keys: OldKeys::of(export.run, export.sites),
        }
    }

    /// A key's mask, told apart from the others of this run.
    fn mask(&self, key: &PublishableKey) -> String {
        let alike = self.masks.get(&key.mask());
        key.mask_among(alike.into_iter().flatten().copied())
    }

    /// What a site served, for people.
    fn served(&self, served: &Served) -> String {
        served.words(|key| self.mask(key))
    }

    /// What a site served, for programs: a mask, a word, or nothing where it was not seen.
    fn served_word(&self, served: &Served) -> Option<String> {
        match served {
            Served::Unknown => None,
            Served::Key(key) => Some(self.mask(key)),
            Served::NoKey => Some("no_key".to_owned()),
            Served::Secret => Some("secret".to_owned()),
        }
    }

    /// May the old keys expire? In one line.
    fn verdict(&self) -> String {
        self.old_keys.sentence(&|key| self.mask(key))
    }

    /// A point in time for people, with the offset: a ticket is read elsewhere too.
    fn time(&self, at: Timestamp) -> String {
        time(at, self.export.zone)
    }

    /// How many sites have each word that sums a site up, what needs a look first.
    fn counts(&self) -> Vec<(Look, usize)> {
        let mut counts: BTreeMap<&str, (Look, usize)> = BTreeMap::new();
        for site in self.export.sites {
            let look = summed_up(site);
            counts.entry(look.word).or_insert((look, 0)).1 += 1;
        }
        let mut counts: Vec<(Look, usize)> = counts.into_values().collect();
        counts.sort_by_key(|(look, _)| Reverse(look.rank));
        counts
    }

    /// The places of the sites, what needs a look first, else in the order of the plan.
    fn worst_first(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.export.sites.len()).collect();
        let rank = |place: &usize| {
            let site = &self.export.sites[*place];
            let rank = site.push.look().rank.max(site.verify.look().rank);
            (Reverse(rank), self.old_keys.states[*place])
        };
        places.sort_by_cached_key(rank);
        places
    }

    /// The site at this place, for its row.
    fn site(&self, place: usize) -> SiteOfRun<'_> {
        SiteOfRun {
            told: self,
            place,
            site: &self.export.sites[place],
        }
    }

    /// The names of the sites at these places.
    fn names(&self, places: &[usize]) -> Vec<&'a str> {
        let name = |place: &usize| self.export.sites[*place].planned.name.as_str();
        places.iter().map(name).collect()
    }

    /// Who, when, which key: what a reader asks first.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let run = self.export.run;
        let mut facts = vec![
            ("run", title(run)),
            (
                "key",
                format!("{} ({})", self.mask(&run.key), run.key.mode().word()),
            ),
            ("by", who(&run.by)),
            ("began", self.time(run.began.wall)),
        ];
        if let Some(sent) = run.sent {
            facts.push(("all sent", self.time(sent.wall)));
        }
        facts.push(("ended", self.end()));
        if let Some(took) = run.took {
            facts.push(("took", in_words(took)));
        }
        facts.push(("exported", self.time(self.export.at)));
        facts
    }

    fn end(&self) -> String {
        let run = self.export.run;
        match run.ended {
            Some(ended) if run.closed => {
                format!("{}: closed with something left to send", self.time(ended.wall))
            }
            Some(ended) => self.time(ended.wall),
            None if run.live => "not yet: it goes on".to_owned(),
            None => "not yet, and no process works on it".to_owned(),
        }
    }
}

/// What the judgement of the old keys rests on.
const BASIS: &str = "Judged by the last look at each site in this run; later looks and runs, and sites that were not in it, \
     are not in this record.";

/// `push`, `retry of run 11`.
fn title(run: &RunRecord) -> String {
    let number = run.id.0;
    match (run.kind, run.parent) {
        (Kind::Push, _) | (_, None) => format!("{number}, {}", run.kind.word()),
        (kind, Some(parent)) => format!("{number}, {} of run {}", kind.word(), parent.0),
    }
}

/// Who began it: user and login are the kernel's. `sudo` and SSH are what the environment claims.
pub(super) fn who(by: &Operator) -> String {
    let claims = [
        by.sudo_user.as_ref().map(|user| format!("sudo by {user}")),
        by.ssh_client.as_ref().map(|client| format!("SSH from {client}")),
    ];
    let claims: Vec<String> = claims.into_iter().flatten().collect();
    let claims = if claims.is_empty() {
        String::new()
    } else {
        format!(" (as its environment says: {})", claims.join(", "))
    };
    format!("{} on {}{claims}, PID {}", by.in_words(), by.host, by.pid)
}

/// Whether it has ended, and how: a word.
pub fn state_word(run: &RunRecord) -> &'static str {
    match (run.ended, run.closed, run.live) {
        (Some(_), true, _) => STATES[0],
        (Some(_), false, _) => STATES[1],
        (None, _, true) => STATES[2],
        (None, _, false) => STATES[3],
    }
}

/// What [`state_word`] can say: closed with something left to send, ended, worked on, left by its process.
pub const STATES: [&str; 4] = ["closed", "ended", "goes_on", "left_open"];

/// A point in time for people, with the offset.
pub(super) fn time(at: Timestamp, zone: &TimeZone) -> String {
    let there = at.to_zoned_datetime(zone.clone());
    there.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// What happened to the machine's clock, if it was set during the run.
pub(super) fn clock_set(run: &RunRecord) -> Option<String> {
    let by = run.clock_set?;
    let way = if by.is_negative() { "back" } else { "forward" };
    let by = in_words(by.unsigned_abs());
    Some(format!(
        "the clock was set {way} by {by} during the run: its times of day do not compare, how long things took does"
    ))
}

/// A duration, to the millisecond.
pub(super) fn in_words(duration: Duration) -> String {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_millis(millis))
}

/// For programs: RFC 3339, in UTC, to the millisecond.
pub(super) fn utc(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// The one word that sums a site up, as [`crate::rules::tally::word`] does for what is known now.
fn summed_up(site: &RunSite) -> Look {
    match site.push {
        Push::Idle | Push::Stored => site.verify.look(),
        push => push.look(),
    }
}

/// Why the site was left out, if it was.
fn reason(site: &RunSite) -> Option<SkipReason> {
    match site.push {
        Push::Skipped(reason) => Some(reason),
        _ => site.planned.left_out,
    }
}

/// Why it failed, if it did.
fn cause(site: &RunSite) -> Option<&'static str> {
    let cause = site.push.cause().or(site.verify.cause());
    cause.map(crate::rules::outcome::Cause::word)
}
