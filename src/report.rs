//! Results for people and scripts. Pure: values in, text out; [`save`] alone writes a file.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::config::FailedSource;
use crate::key::PublishableKey;
use crate::rules::acknowledgement::{Acknowledged, Acknowledgement};
use crate::rules::expiry::{Expiry, SitesOfOldKeys};
use crate::rules::moment::{Moment, clock};
use crate::rules::note::acknowledged_note;
use crate::rules::state::SiteState;
use crate::rules::tally::{Counted, Ending, Tally};
use crate::site::{Site, SiteId};
use crate::text::{Count, pad, some_names, width};

/// One JSON object a line.
pub mod json;
/// Old keys and the sites that serve them, or may.
pub mod old_keys;
/// What is known of each site, from the store alone.
pub mod status;
/// A plan before it is sent: what a question and a dry run tell.
pub mod plan;
/// A preflight: a line a site, for people and as JSON.
pub mod preflight;
/// A run on record as one document: CSV, JSON, Markdown, HTML.
pub mod export;
/// Rows for people and for spreadsheets, from one table of columns.
pub mod rows;
/// Runs on record.
pub mod history;
/// The list of sites.
pub mod sites;
/// What is known of all sites, for a monitoring system.
pub mod metrics;
/// A document in a file.
pub mod save;

/// What a report is about.
#[derive(Debug, Clone)]
pub struct Results<'a> {
    /// All sites.
    pub sites: &'a [Site],
    /// What is known of each.
    pub states: &'a [SiteState],
    /// The sites that were asked for, in the order of the list.
    pub selection: &'a [SiteId],
    /// Sites that the operator knows to be bad.
    pub acknowledged: &'a Acknowledged,
    /// The key that the run put there, or that the sites should serve.
    pub key: Option<&'a PublishableKey>,
    /// When the report is made.
    pub now: Moment,
    /// Where times of day are read.
    pub zone: &'a TimeZone,
    /// How long a push of another process may hide from looks: given where there is no run of our own.
    pub hidden_for: Option<Duration>,
    /// Sources that could not be read: the sites that only stand there are not among [`Self::sites`].
    pub missing_sources: &'a [FailedSource],
    /// Filled at the first need: begin with the empty default.
    pub served: ServedKeys<'a>,
}

/// Each key that there is among sites, once: few, however many sites there are.
#[derive(Debug, Clone, Default)]
pub struct ServedKeys<'a>(OnceCell<BTreeSet<&'a PublishableKey>>);

impl<'a> ServedKeys<'a> {
    /// Those that `collect` finds, when it is asked for the first time.
    fn of<Found: Iterator<Item = &'a PublishableKey>>(
        &self,
        collect: impl FnOnce() -> Found,
    ) -> impl Iterator<Item = &'a PublishableKey> {
        self.0.get_or_init(|| collect().collect()).iter().copied()
    }
}

impl<'a> Results<'a> {
    /// The time of day of `moment`.
    pub fn clock(&self, moment: Moment) -> String {
        clock(moment, self.now, self.zone)
    }

    /// A key's mask, told apart from others that are served with the same mask.
    pub fn mask(&self, key: &PublishableKey) -> String {
        let states: &'a [SiteState] = self.states;
        let served = self
            .served
            .of(|| states.iter().filter_map(|state| state.now.key()));
        key.mask_among(served.chain(self.key))
    }

    /// The site and what is known of it, for each that was asked for.
    pub fn rows(&self) -> impl Iterator<Item = (&'a Site, &'a SiteState)> {
        let row = |id: &SiteId| (&self.sites[id.index()], &self.states[id.index()]);
        self.selection.iter().map(row)
    }

    /// The sentence that goes with a site's state; first that the operator knows of it.
    pub fn note(&self, site: &Site, state: &SiteState) -> String {
        let clock = |moment| self.clock(moment);
        acknowledged_note(self.acknowledgement(site), state, &clock)
    }

    /// What the operator says of a site that is known to be bad, as long as that holds.
    pub fn acknowledgement(&self, site: &Site) -> Option<&'a Acknowledgement> {
        self.acknowledged.of(&site.url, self.now.wall)
    }

    fn counted(&self, site: &Site, state: &'a SiteState) -> Counted<'a> {
        Counted {
            state,
            acknowledged: self.acknowledgement(site).is_some(),
        }
    }

    /// How many of them are in which state.
    pub fn tally(&self) -> Tally {
        Tally::of(self.rows().map(|(site, state)| self.counted(site, state)))
    }

    /// Whether the keys that the run replaces may expire; none without a key.
    pub fn expiry(&self) -> Option<Expiry> {
        // Of all sites: one that was not asked for may serve the old key too.
        let expiry = Expiry::of(self.states, self.key?, self.now).lacking_sources(self.missing_sources.len());
        Some(match self.hidden_for {
            Some(settle) => expiry.of_looks_alone(settle),
            None => expiry,
        })
    }

    /// The keys that the last run of each site replaced, and which sites stand in the way of their end.
    pub fn replaced_keys(&self) -> SitesOfOldKeys {
        SitesOfOldKeys::replaced(self.states, self.now).lacking_sources(self.missing_sources.len())
    }
}

/// The results as a plain table, a line a site.
pub fn table(results: &Results<'_>) -> String {
    let heads = ["SITE", "NOW", "PUSH", "VERIFY", "HTTP", "TRY", "NOTE"].map(str::to_owned);
    let rows = results.rows().map(|(site, state)| {
        vec![
            site.name.to_string(),
            state.now.words(|key| results.mask(key)),
            state.push.look().word.to_owned(),
            state.verify.look().word.to_owned(),
            state.http.map_or("-".to_owned(), |status| status.to_string()),
            state.puts.to_string(),
            results.note(site, state),
        ]
    });
    aligned(&heads, rows)
}

/// Rows below their heads, each column as wide as its longest cell.
fn aligned(heads: &[String], cells: impl Iterator<Item = Vec<String>>) -> String {
    // All cells behind each other, and where each ends: of 100,000 sites that takes a fraction of what as many texts take.
    let (mut text, mut ends) = (String::new(), Vec::new());
    let mut columns = vec![0; heads.len()];
    for row in std::iter::once(heads.to_vec()).chain(cells) {
        for (column, cell) in columns.iter_mut().zip(row) {
            *column = width(&cell).max(*column);
            text.push_str(&cell);
            ends.push(text.len());
        }
    }
    let (mut lines, mut begin) = (String::new(), 0);
    for row in ends.chunks(columns.len().max(1)) {
        let from = lines.len();
        for (end, columns) in row.iter().zip(&columns) {
            lines.push_str(&pad(&text[begin..*end], *columns));
            lines.push_str("  ");
            begin = *end;
        }
        let line = lines[from..].trim_end().len();
        lines.truncate(from + line);
        lines.push('\n');
    }
    lines
}

/// `3 verified, 1 failed`
fn words(tally: &Tally) -> String {
    let mut counts: Vec<(&str, usize)> = tally.words().collect();
    counts.sort_by_key(|&(word, count)| (word != "verified", std::cmp::Reverse(count)));
    let counts = counts.into_iter().map(|(word, count)| format!("{count} {word}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// How many sites are in which state, and how many need a look, in one line.
pub fn counts(results: &Results<'_>) -> String {
    let tally = results.tally();
    let bad = match tally.ending(Ending::Bad) {
        0 => String::new(),
        1 => "; 1 needs a look".to_owned(),
        bad => format!("; {bad} need a look"),
    };
    format!(
        "{}: {}{bad}",
        Count(results.selection.len(), "site"),
        words(&tally)
    )
}

/// How many sites end how, which need a look, and whether the old key may expire.
pub fn summary(results: &Results<'_>, seconds: u64) -> String {
    // Writing into a string cannot fail.
    let mut text = format!("{} in {seconds} s: ", Count(results.selection.len(), "site"));
    text.push_str(&words(&results.tally()));
    text.push('\n');
    for (end, need) in [
        (Ending::Bad, ["needs a look", "need a look"]),
        (Ending::Waits, ["waits for its proof", "wait for their proof"]),
        (
            Ending::Acknowledged,
            ["is bad and acknowledged", "are bad and acknowledged"],
        ),
    ] {
        let names: Vec<&str> = results
            .rows()
            .filter(|(site, state)| results.counted(site, state).ending() == end)
            .map(|(site, _)| site.name.as_str())
            .collect();
        if names.is_empty() {
            continue;
        }
        let need = need[usize::from(names.len() != 1)];
        let count = Count(names.len(), "site");
        let _written = writeln!(text, "{count} {need}: {}", some_names(&names));
    }
    if let Some(expiry) = results.expiry() {
        let sentence = expiry.sentence(&|key| results.mask(key), &|moment| results.clock(moment));
        let _written = writeln!(text, "{sentence}");
        let old_keys = SitesOfOldKeys::of_expiry(&expiry, results.states, results.now);
        text.push_str(&old_keys::lines(results, &old_keys));
        let unseen: Vec<&str> = expiry
            .unseen
            .iter()
            .map(|place| results.sites[*place].name.as_str())
            .collect();
        if !unseen.is_empty() {
            let _written = writeln!(text, "not seen: {}", some_names(&unseen));
        }
        text.push_str(&old_keys::missing(results));
        text.push_str(UNSEEN);
        text.push('\n');
    }
    text
}

/// What no call shows (contract.md).
pub const UNSEEN: &str =
    "Not seen from here: a shop takes payments with its own SECRET key. Try one payment.";
