use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::rollout::{self, Candidate, FEW_FAILURES, Pause, Rollout, Share, StopAfter};
use super::run::{Kind, RunId};
use super::standing::Standing;
use super::state::{Allow, Served, SiteState};
use super::status::SkipReason;
use crate::key::{KeyMode, PublishableKey};
use crate::site::{Site, SiteId};
use crate::text::Count;

/// What is to be expected of each site of a plan.
mod outlook;
pub use outlook::{Outlook, TRIED_ALL_THE_SAME};
/// What makes a plan more than routine.
mod danger;
pub use danger::Danger;
use danger::{dangers, dead_keys, later_runs, other_length};
/// By what the list of sites differs from the one of the last run.
mod list_change;
pub use list_change::{ListChange, listed};
/// What repeats what failed in a run.
mod again;
pub use again::{Again, Aside};
/// Sites that serve the key already.
mod equal;
/// Sites that still wait for the proof of an earlier run.
mod taken_over;
pub use taken_over::TakenOver;
/// Whether a key may be of another Stripe account.
mod account;
pub use account::{OTHER_ACCOUNT, begins_otherwise};

/// What a run does to one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanAction {
    /// A PUT.
    Put,
    /// Nothing, for this reason.
    Skip(SkipReason),
}

/// One site of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRow {
    /// Which site.
    pub site: SiteId,
    /// What is done to it.
    pub action: PlanAction,
    /// The key that it gets.
    pub key: PublishableKey,
    /// What it serves as far as is known: the old of old → new.
    pub serves: Served,
    /// Whether the key may never have been stored there: what was seen may have come from the environment or the
    /// central dashboard (a rollback only).
    pub doubtful: bool,
    /// Its wave, from 0.
    #[serde(default)]
    pub wave: usize,
    /// Whether Stripe says that the key is dead, and the plan tells so.
    #[serde(default)]
    pub is_dead: bool,
}

/// A site that a rollback puts back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutBack {
    /// Which site.
    pub site: SiteId,
    /// What it had before.
    pub before: Served,
    /// Whether that was pushed from here once, so that it was stored and no fallback.
    pub was_pushed: bool,
    /// Whether the run may have changed anything there.
    pub was_changed: bool,
    /// The newest run since that may have put a third key there, which would be replaced.
    pub later: Option<RunId>,
}

/// What must be given to confirm a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirm {
    /// Nothing would be sent: there is nothing to confirm.
    Nothing,
    /// The letter `y`.
    Yes,
    /// This phrase, typed.
    Phrase(String),
}

/// What a push would do, before it does anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What the run is for.
    pub kind: Kind,
    /// The run that it repeats or takes back.
    pub parent: Option<RunId>,
    /// The key that goes out.
    pub key: PublishableKey,
    /// Each selected site, in the order of the list.
    pub rows: Vec<PlanRow>,
    /// What the operator allows; [`Plan::dangers`] tells what of it the plan needs.
    pub allow: Allow,
    /// How its waves follow each other.
    #[serde(default)]
    pub rollout: Rollout,
    /// What makes it more than routine: each adds its word to the phrase that confirms it.
    pub dangers: Vec<Danger>,
}

/// Up to this many sites a test key takes a `y`.
pub const SMALL_TEST_RUN: usize = 5;

impl Plan {
    /// Plans to put `key` on the selected sites. `state` gives what is known of a site.
    pub fn new<'a>(
        key: PublishableKey,
        selection: impl IntoIterator<Item = SiteId>,
        sites: &[Site],
        state: impl Fn(SiteId) -> &'a SiteState,
        allow: Allow,
    ) -> Self {
        let row = |id: SiteId| {
            let known = state(id);
            PlanRow {
                site: id,
                action: action(&key, &sites[id.index()], known, allow),
                key: key.clone(),
                serves: known.now.clone(),
                doubtful: false,
                wave: 0,
                is_dead: false,
            }
        };
        let rows: Vec<PlanRow> = selection.into_iter().map(row).collect();
        let mut dangers = dangers(&rows, &state, allow);
        dangers.extend(other_length(&key, &rows));
        Self {
            kind: Kind::Push,
            parent: None,
            key,
            rows,
            allow,
            rollout: Rollout::default(),
            dangers,
        }
    }

    /// Plans to put back what sites had before `parent`; none where no site had a key. Each gets its own.
    pub fn rollback<'a>(
        parent: RunId,
        put_back: &[PutBack],
        sites: &[Site],
        state: impl Fn(SiteId) -> &'a SiteState,
        allow: Allow,
    ) -> Option<Self> {
        let mut keys: BTreeMap<&PublishableKey, usize> = BTreeMap::new();
        let changed = put_back.iter().filter(|site| site.was_changed);
        for key in changed.filter_map(|site| site.before.key()) {
            *keys.entry(key).or_default() += 1;
        }
        let (&key, _) = keys.iter().max_by_key(|&(_, count)| count)?;
        let row = |back: &PutBack| {
            let known = state(back.site);
            let own = back.before.key();
            PlanRow {
                site: back.site,
                action: match own {
                    _ if !back.was_changed => PlanAction::Skip(SkipReason::Unchanged),
                    None => PlanAction::Skip(SkipReason::NotReversible),
                    Some(own) => action(own, &sites[back.site.index()], known, allow),
                },
                key: own.unwrap_or(key).clone(),
                serves: known.now.clone(),
                doubtful: own.is_some() && !back.was_pushed,
                wave: 0,
                is_dead: false,
            }
        };
        let rows: Vec<PlanRow> = put_back.iter().map(row).collect();
        let mut dangers = dangers(&rows, &state, allow);
        dangers.extend(later_runs(&rows, put_back));
        Some(Self {
            kind: Kind::Rollback,
            parent: Some(parent),
            key: key.clone(),
            rows,
            allow,
            rollout: Rollout::default(),
            dangers,
        })
    }

    /// Plans to repeat what failed in `parent`: each site gets the key that was planned for it there. None without
    /// a site.
    pub fn retry<'a>(
        parent: Option<RunId>,
        targets: &[(SiteId, PublishableKey)],
        sites: &[Site],
        state: impl Fn(SiteId) -> &'a SiteState,
        allow: Allow,
    ) -> Option<Self> {
        let row = |(site, key): &(SiteId, PublishableKey)| {
            let known = state(*site);
            PlanRow {
                site: *site,
                action: action(key, &sites[site.index()], known, allow),
                key: key.clone(),
                serves: known.now.clone(),
                doubtful: false,
                wave: 0,
                is_dead: false,
            }
        };
        let rows: Vec<PlanRow> = targets.iter().map(row).collect();
        let dangers = dangers(&rows, &state, allow);
        Some(Self {
            kind: Kind::Retry,
            parent,
            key: targets.first()?.1.clone(),
            rows,
            allow,
            rollout: Rollout::default(),
            dangers,
        })
    }

    /// With waves as `settings` say: who goes first, and what halts it.
    #[must_use]
    pub fn in_waves<'a>(
        mut self,
        settings: &rollout::Settings,
        sites: &'a [Site],
        state: impl Fn(SiteId) -> &'a SiteState,
        now: Moment,
    ) -> Self {
        let puts = self.rows.iter().filter(|row| row.action == PlanAction::Put);
        let candidates: Vec<Candidate<'_>> = puts
            .map(|row| Candidate {
                site: row.site,
                name: sites[row.site.index()].name.as_str(),
                key: &row.key,
                state: state(row.site),
            })
            .collect();
        let all = || (0..sites.len()).map(|index| state(SiteId::at(index)));
        let is_served = |key: &PublishableKey| all().any(|state| state.now.key() == Some(key));
        let (rollout, waves) = settings.assign(self.kind, &candidates, is_served, now);
        let puts = self.rows.iter_mut().filter(|row| row.action == PlanAction::Put);
        for (row, wave) in puts.zip(waves) {
            row.wave = wave;
        }
        self.rollout = rollout;
        self
    }

    /// Who goes first and what halts it, in words; none where all go at once and nothing halts it. `name` gives a
    /// site's.
    pub fn rollout_in_words(&self, name: impl Fn(SiteId) -> String) -> Option<String> {
        let rollout = self.rollout;
        let puts = || self.rows.iter().filter(|row| row.action == PlanAction::Put);
        let mut parts = Vec::new();
        let first: Vec<SiteId> = puts().filter(|row| row.wave == 0).map(|row| row.site).collect();
        if rollout.canary && rollout.waves > 1 {
            let who = match first.as_slice() {
                [site] => name(*site),
                sites => Count(sites.len(), "site").to_string(),
            };
            parts.push(format!("{who} first"));
        }
        let rest = rollout.waves - usize::from(rollout.canary);
        let later = puts().count() - if rollout.canary { first.len() } else { 0 };
        match (rollout.canary, rest) {
            (true, 0) => {}
            (false, 1) => parts.push("all at once".to_owned()),
            (true, 1) => parts.push(format!("then {later}, when it serves the key")),
            _ => {
                let in_wave = |wave| puts().filter(|row| row.wave == wave).count().to_string();
                let sizes = (usize::from(rollout.canary)..rollout.waves).map(in_wave);
                let asks = if rollout.pause == Pause::Ask {
                    ", asking before each"
                } else {
                    ""
                };
                parts.push(format!("waves of {}{asks}", sizes.collect::<Vec<_>>().join(", ")));
            }
        }
        let of = if rest > 1 { "of a wave" } else { "of them" };
        let halts = match rollout.stop_after {
            StopAfter::Share(Share::Sites(sites)) if later >= sites => Some(format!("{sites} {of} fail")),
            StopAfter::Share(Share::Percent(percent)) if later > FEW_FAILURES => {
                Some(format!("{percent}% {of} fail, and more than {FEW_FAILURES}"))
            }
            StopAfter::Share(_) | StopAfter::Never => None,
        };
        parts.extend(halts.map(|halts| format!("halts when {halts}")));
        let told = rollout.canary || rest > 1 || parts.len() > 1;
        told.then(|| parts.join("; "))
    }

    /// Takes in what Stripe says of the keys that go out, in the place of what was known before. Whether that changes
    /// what must be confirmed.
    pub fn judge_keys(&mut self, standing: impl Fn(&PublishableKey) -> Option<Standing>) -> bool {
        let danger = dead_keys(&self.rows, &standing);
        let before = self.dangers.clone();
        self.dangers
            .retain(|known| !matches!(known, Danger::DeadKey { .. }));
        self.dangers.extend(danger);
        let mut changes = self.dangers != before;
        for row in self.rows.iter_mut().filter(|row| row.action == PlanAction::Put) {
            let is_dead = standing(&row.key).is_some_and(Standing::is_dead);
            // Also where as many keys are dead as before, but not the same ones.
            changes |= row.is_dead != is_dead;
            row.is_dead = is_dead;
        }
        changes
    }

    /// The different keys that go out.
    pub fn put_keys(&self) -> BTreeSet<&PublishableKey> {
        let puts = self.rows.iter().filter(|row| row.action == PlanAction::Put);
        puts.map(|row| &row.key).collect()
    }

    /// How many sites get a key that may never have been stored there.
    pub fn doubtful(&self) -> usize {
        let doubtful = |row: &&PlanRow| row.action == PlanAction::Put && row.doubtful;
        self.rows.iter().filter(doubtful).count()
    }

    /// How many different keys go out.
    pub fn keys(&self) -> usize {
        self.put_keys().len()
    }

    /// How many sites get a PUT.
    pub fn puts(&self) -> usize {
        self.put_sites().count()
    }

    /// The sites that get a PUT, in the order of the list.
    pub fn put_sites(&self) -> impl Iterator<Item = SiteId> {
        let puts = self.rows.iter().filter(|row| row.action == PlanAction::Put);
        puts.map(|row| row.site)
    }

    /// How many sites are left out for `reason`.
    pub fn skipped(&self, reason: SkipReason) -> usize {
        self.rows
            .iter()
            .filter(|row| row.action == PlanAction::Skip(reason))
            .count()
    }

    /// How many sites that get a PUT serve the key already, as far as was seen.
    pub fn serving_already(&self) -> usize {
        let serves = |row: &&PlanRow| row.action == PlanAction::Put && row.serves.key() == Some(&row.key);
        self.rows.iter().filter(serves).count()
    }

    /// Whether a live key goes out.
    fn goes_live(&self) -> bool {
        self.goes_out(KeyMode::Live)
    }

    fn goes_out(&self, mode: KeyMode) -> bool {
        let of_mode = |row: &PlanRow| row.action == PlanAction::Put && row.key.mode() == mode;
        self.rows.iter().any(of_mode)
    }

    /// Of which mode the keys are that go out, in capitals; that of the plan's key, where none does.
    pub fn modes(&self) -> &'static str {
        match (self.goes_live(), self.goes_out(KeyMode::Test)) {
            (true, true) => "LIVE and TEST",
            (true, false) => "LIVE",
            (false, false) if self.key.mode() == KeyMode::Live => "LIVE",
            (false, _) => "TEST",
        }
    }

    /// What confirms it.
    pub fn confirm(&self) -> Confirm {
        let puts = self.puts();
        if puts == 0 {
            return Confirm::Nothing;
        }
        if !self.goes_live() && puts <= SMALL_TEST_RUN && self.dangers.is_empty() {
            return Confirm::Yes;
        }
        let mode = self.goes_live().then_some("live".to_owned());
        let dangers = self.dangers.iter().map(|danger| danger.word().to_owned());
        let words: Vec<String> = mode
            .into_iter()
            .chain([puts.to_string()])
            .chain(dangers)
            .collect();
        Confirm::Phrase(words.join(" "))
    }
}

/// Why the config lets `site` get no such key, if it does not.
pub fn left_out(site: &Site, key: &PublishableKey) -> Option<SkipReason> {
    if !site.enabled {
        return Some(SkipReason::Disabled);
    }
    (!site.mode.allows(key.mode())).then_some(SkipReason::WrongMode)
}

fn action(key: &PublishableKey, site: &Site, known: &SiteState, allow: Allow) -> PlanAction {
    if let Some(reason) = left_out(site, key) {
        PlanAction::Skip(reason)
    } else if known.serves_other_mode_than(key) && !allow.mode_change {
        PlanAction::Skip(SkipReason::OtherMode)
    } else {
        PlanAction::Put
    }
}

#[cfg(test)]
mod tests;
