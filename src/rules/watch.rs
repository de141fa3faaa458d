//! What a watch tells of, and when: each change once, not once a look.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::acknowledgement::Acknowledged;
use super::state::SiteState;
use super::status::{Push, Verify};
use crate::key::KeyMode;
use crate::site::{Site, SiteId, SiteMode, SiteUrl};
use crate::text::{CleanText, Count};

/// What is said of a change.
mod notice;
/// When all sites are looked at, and when all have answered.
mod rounds;
/// Owed sites that are back.
mod owed;

pub use notice::Notice;
pub use owed::{is_back, retry_of};
pub use rounds::{Rounds, Todo};

/// Something that the operator wants to hear of. What is worse comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Sites that belong together serve live keys and test keys.
    MixedModes,
    /// A site that was verified serves something else.
    Drifted,
    /// A site serves a key that Stripe does not know, or has expired.
    DeadKey,
    /// A site's answer holds a secret.
    ExposedSecret,
}

impl Finding {
    /// Those that a site can have by itself, the least bad first: what is worse hides what is less bad.
    const OF_A_SITE: [Self; 3] = [Self::Drifted, Self::DeadKey, Self::ExposedSecret];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::MixedModes => "mixed_modes",
            Self::Drifted => "drifted",
            Self::DeadKey => "dead_key",
            Self::ExposedSecret => "exposed_secret",
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// A site.
    Site(SiteUrl),
    /// The sites of this group; none: those without a group.
    Group(Option<CleanText>),
}

/// Something that began, or is over.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Change {
    /// What it is about.
    pub about: About,
    /// What was found.
    pub finding: Finding,
    /// Whether it is over.
    pub over: bool,
}

/// What was told, and is not over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told(BTreeSet<(About, Finding)>);

impl Told {
    /// As the store has it.
    pub fn new(told: impl IntoIterator<Item = (About, Finding)>) -> Self {
        Self(told.into_iter().collect())
    }

    /// A change is told; whether it was one.
    pub fn take(&mut self, change: &Change) -> bool {
        let key = (change.about.clone(), change.finding);
        if change.over {
            self.0.remove(&key)
        } else {
            self.0.insert(key)
        }
    }

    /// What is to be told of `seen`.
    pub fn changes(&self, seen: &Seen<'_>) -> Vec<Change> {
        let of_sites = seen.watched.iter().flat_map(|id| {
            let truth = Finding::OF_A_SITE.map(|finding| (finding, seen.of_site(*id, finding)));
            let about = About::Site(seen.sites[id.index()].url.clone());
            truth.map(|(finding, is_so)| (about.clone(), finding, is_so))
        });
        let of_groups = seen
            .modes()
            .into_iter()
            .map(|(group, modes)| (About::Group(group), Finding::MixedModes, modes.is_mixed()));
        let found = of_sites.chain(of_groups);
        found
            .filter_map(|(about, finding, is_so)| self.change(about, finding, is_so?))
            .collect()
    }

    fn change(&self, about: About, finding: Finding, is_so: bool) -> Option<Change> {
        let key = (about, finding);
        let was_told = self.0.contains(&key);
        (is_so != was_told).then_some(Change {
            about: key.0,
            finding,
            over: was_told,
        })
    }
}

/// What is known behind a look at all sites.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// All sites.
    pub sites: &'a [Site],
    /// What is known of each.
    pub states: &'a [SiteState],
    /// The sites that are watched.
    pub watched: &'a [SiteId],
    /// Sites that the operator knows to be bad: of them only a secret is told.
    pub acknowledged: &'a Acknowledged,
    /// When.
    pub at: Timestamp,
}

/// What a site's state says of findings.
enum Said {
    /// Nothing: it did not answer, or something of a run is still to come.
    Nothing,
    /// This one.
    Is(Finding),
    /// None.
    Clean,
}

fn said(state: &SiteState) -> Said {
    if state.exposes() {
        return Said::Is(Finding::ExposedSecret);
    }
    if state.push.is_open() {
        return Said::Nothing;
    }
    match state.verify {
        Verify::Drifted => Said::Is(Finding::Drifted),
        Verify::Unchecked
        | Verify::Queued
        | Verify::Checking
        | Verify::Settling
        | Verify::Superseded
        | Verify::Failed(_) => Said::Nothing,
        Verify::DeadKey => Said::Is(Finding::DeadKey),
        _ => Said::Clean,
    }
}

impl<'a> Seen<'a> {
    /// Whether it is so; none where that cannot be said, so that what was told of it stays.
    fn of_site(&self, id: SiteId, finding: Finding) -> Option<bool> {
        if finding != Finding::ExposedSecret && self.is_acknowledged(id) {
            return None;
        }
        match said(&self.states[id.index()]) {
            Said::Nothing => None,
            Said::Clean => Some(false),
            Said::Is(found) if found > finding => None,
            Said::Is(found) => Some(found == finding),
        }
    }

    fn is_acknowledged(&self, id: SiteId) -> bool {
        let url = &self.sites[id.index()].url;
        self.acknowledged.of(url, self.at).is_some()
    }

    /// Which modes the sites of each group serve.
    fn modes(&self) -> BTreeMap<Option<CleanText>, Modes<'a>> {
        let mut modes: BTreeMap<Option<CleanText>, Modes<'a>> = BTreeMap::new();
        for id in self.watched {
            let (site, state) = (&self.sites[id.index()], &self.states[id.index()]);
            if self.is_acknowledged(*id) {
                continue;
            }
            let of_group = modes.entry(site.group.clone()).or_default();
            // A run may be about to replace one mode by the other.
            of_group.in_run |= state.push.is_open();
            let Some(mode) = state.now.key().map(crate::key::PublishableKey::mode) else {
                continue;
            };
            of_group.unplanned |= site.mode == SiteMode::Any || !site.mode.allows(mode);
            let names = match mode {
                KeyMode::Live => &mut of_group.live,
                KeyMode::Test => &mut of_group.test,
            };
            names.push(site.name.as_str());
        }
        modes
    }
}

/// Which sites of a group serve keys of each mode.
#[derive(Debug, Default)]
struct Modes<'a> {
    live: Vec<&'a str>,
    test: Vec<&'a str>,
    /// Whether a PUT is out or to come.
    in_run: bool,
    /// Whether a site serves a mode that the config does not demand of it. Where it demands each, the mixture is meant.
    unplanned: bool,
}

impl Modes<'_> {
    /// None where nothing was seen, or a run goes on.
    fn is_mixed(&self) -> Option<bool> {
        let seen = !self.in_run && self.live.len() + self.test.len() > 0;
        seen.then_some(self.unplanned && !self.live.is_empty() && !self.test.is_empty())
    }

    /// `3 sites serve test keys (a, b, c), 21 live ones`.
    fn sentence(&self) -> String {
        /// Names that are told.
        const NAMES: usize = 5;

        let (few, word, many, other) = if self.test.len() <= self.live.len() {
            (&self.test, "test", self.live.len(), "live")
        } else {
            (&self.live, "live", self.test.len(), "test")
        };
        let serve = if few.len() == 1 { "serves a" } else { "serve" };
        let keys = if few.len() == 1 { "key" } else { "keys" };
        let more = match few.len().saturating_sub(NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = few[..few.len().min(NAMES)].join(", ");
        format!(
            "{} {serve} {word} {keys} ({names}{more}), {many} {other}",
            Count(few.len(), "site")
        )
    }
}

/// Whether a PUT ended in a way that passes by itself, so that it is worth another when the site is back.
fn may_pass(push: Push) -> bool {
    match push {
        Push::Failed(cause) => cause.passes(),
        Push::Unknown(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
