use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Plan, PlanAction, PlanRow, PutBack};
use crate::key::{KeyMode, PublishableKey};
use crate::rules::run::RunId;
use crate::rules::standing::Standing;
use crate::rules::state::{Allow, SiteState};
use crate::rules::status::{Push, SkipReason};
use crate::site::SiteId;
use crate::text::Count;

/// Something that the operator must have read before the run goes: each adds a word to the phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Danger {
    /// Sites serve a key of the other mode, which the run would replace.
    OverOtherMode {
        /// The mode that they serve.
        mode: KeyMode,
        /// How many.
        sites: usize,
    },
    /// Someone else has put another key on sites since they were planned before.
    Changed {
        /// How many.
        sites: usize,
    },
    /// Runs after the one that is taken back have put other keys on sites.
    LaterRun {
        /// The newest of them.
        run: RunId,
        /// How many runs.
        runs: usize,
        /// How many sites.
        sites: usize,
    },
    /// Sites did not answer like template sites, and would get the master key all the same.
    Unrecognised {
        /// How many.
        sites: usize,
    },
    /// The key is as long as none of those that the sites serve: a part of it may be missing, or stand there twice.
    OtherLength {
        /// Its length, in characters.
        length: usize,
        /// How long the keys are that most of the sites serve.
        usual: usize,
    },
    /// Stripe does not know a key that goes out, or has expired it: no shop that gets it takes payments.
    DeadKey {
        /// The worst that Stripe says of one.
        standing: Standing,
        /// How many of the keys that go out are so.
        keys: usize,
        /// How many go out.
        of: usize,
    },
    /// The list of sites is another one than at the last run.
    ListChanged {
        /// How many sites were not in it.
        came: usize,
        /// How many are not in it any more.
        went: usize,
    },
    /// Sources of sites could not be read: their sites are missing from the plan.
    FailedSource {
        /// How many.
        sources: usize,
    },
}

impl Danger {
    /// The word to type.
    pub fn word(self) -> &'static str {
        match self {
            Self::OverOtherMode {
                mode: KeyMode::Live, ..
            } => "over-live",
            Self::OverOtherMode {
                mode: KeyMode::Test, ..
            } => "over-test",
            Self::Changed { .. } => "changed",
            Self::LaterRun { .. } => "later",
            Self::Unrecognised { .. } => "unrecognised",
            Self::OtherLength { .. } => "length",
            Self::DeadKey { .. } => "dead",
            Self::ListChanged { .. } => "list",
            Self::FailedSource { .. } => "source",
        }
    }

    /// The flag that stands for it where nobody is asked.
    pub fn flag(self) -> &'static str {
        match self {
            Self::OverOtherMode { .. } => "--allow-mode-change",
            Self::Changed { .. } | Self::LaterRun { .. } => "--allow-changed",
            Self::Unrecognised { .. } => "--allow-unrecognised",
            Self::OtherLength { .. } => "--allow-other-length",
            Self::DeadKey { .. } => "--allow-unknown-key",
            Self::ListChanged { .. } => "--allow-list-change",
            Self::FailedSource { .. } => "--allow-failed-source",
        }
    }

    /// The line in the plan.
    pub fn sentence(self) -> String {
        match self {
            Self::OverOtherMode { mode, sites } => {
                let serve = if sites == 1 { "serves" } else { "serve" };
                let word = mode.word();
                format!(
                    "{} {serve} a {word} key now, which this key of the other mode would replace",
                    Count(sites, "site")
                )
            }
            Self::Changed { sites } => format!(
                "{} got another key from someone else since the plan, which this would replace",
                Count(sites, "site")
            ),
            Self::LaterRun { run, runs: 1, sites } => format!(
                "run {} has put another key on {} since, which this would replace",
                run.0,
                Count(sites, "site")
            ),
            Self::LaterRun { run, sites, .. } => format!(
                "later runs (the newest is run {}) have put other keys on {} since, which this would replace",
                run.0,
                Count(sites, "site")
            ),
            Self::Unrecognised { sites } => {
                let did = Count(sites, "site");
                format!("{did} did not answer like a template site, and would get the master key")
            }
            Self::OtherLength { length, usual } => {
                format!(
                    "the key has {length} characters, and those that are served now {usual}: is it whole?"
                )
            }
            Self::DeadKey { standing, keys, of } => {
                let what = match standing {
                    _ if of > 1 => format!("Stripe does not know, or has expired, {keys} of the {of} keys"),
                    Standing::Expired => "Stripe has expired the key: it was rolled".to_owned(),
                    _ => "Stripe does not know the key: mistyped, cut off, or of another environment"
                        .to_owned(),
                };
                format!("{what}; no shop that gets it takes payments")
            }
            Self::ListChanged { came, went } => format!(
                "the list of sites is another one than at the last run: {} came and {} went",
                Count(came, "site"),
                Count(went, "site")
            ),
            Self::FailedSource { sources } => format!(
                "{} could not be read: sites that only stand there get nothing, and which modes, exclusions and master keys \
                 of other sites stand there is not known",
                Count(sources, "source")
            ),
        }
    }
}

impl Plan {
    /// So many sources of sites could not be read.
    pub fn mind_failed_sources(&mut self, sources: usize) {
        let is_so = |danger: &Danger| matches!(danger, Danger::FailedSource { .. });
        self.dangers.retain(|danger| !is_so(danger));
        if sources > 0 {
            self.dangers.push(Danger::FailedSource { sources });
        }
    }

    /// Allows no more than what the operator reads in the plan: who says that a site which was changed by somebody else
    /// may go says nothing of a key of the other mode there.
    pub fn allow_what_is_told<'a>(&mut self, state: impl Fn(SiteId) -> &'a SiteState) {
        let is_told = |is: &dyn Fn(&Danger) -> bool| self.dangers.iter().any(is);
        let was_held_back = |reason| {
            let mut puts = self.rows.iter().filter(|row| row.action == PlanAction::Put);
            puts.any(|row| state(row.site).push == Push::Skipped(reason))
        };
        let other_mode = is_told(&|danger| matches!(danger, Danger::OverOtherMode { .. }));
        let allow = Allow {
            mode_change: other_mode || was_held_back(SkipReason::OtherMode),
            unrecognised: was_held_back(SkipReason::NotThisApi),
            changed: was_held_back(SkipReason::ChangedMeanwhile),
        };
        self.allow = Allow {
            mode_change: self.allow.mode_change && allow.mode_change,
            unrecognised: self.allow.unrecognised && allow.unrecognised,
            changed: self.allow.changed && allow.changed,
        };
    }
}

/// What makes these rows more than routine.
pub(super) fn dangers<'a>(
    rows: &[PlanRow],
    state: &impl Fn(SiteId) -> &'a SiteState,
    allow: Allow,
) -> Vec<Danger> {
    let puts = || rows.iter().filter(|row| row.action == PlanAction::Put);
    let over = |mode: KeyMode| {
        let over = |row: &&PlanRow| {
            let mut serves = state(row.site).may_serve();
            row.key.mode() != mode && serves.any(|key| key.mode() == mode)
        };
        puts().filter(over).count()
    };
    let held_back = |reason| {
        puts()
            .filter(|row| state(row.site).push == Push::Skipped(reason))
            .count()
    };
    let mut dangers = Vec::new();
    for mode in [KeyMode::Live, KeyMode::Test] {
        let sites = over(mode);
        if sites > 0 {
            dangers.push(Danger::OverOtherMode { mode, sites });
        }
    }
    let sites = held_back(SkipReason::ChangedMeanwhile);
    if sites > 0 && allow.changed {
        dangers.push(Danger::Changed { sites });
    }
    let sites = held_back(SkipReason::NotThisApi);
    if sites > 0 && allow.unrecognised {
        dangers.push(Danger::Unrecognised { sites });
    }
    dangers
}

/// What a rollback would replace that is newer than what it takes back.
pub(super) fn later_runs(rows: &[PlanRow], put_back: &[PutBack]) -> Option<Danger> {
    let rows = rows.iter().zip(put_back);
    let puts = rows.filter(|(row, _)| row.action == PlanAction::Put);
    let later: Vec<RunId> = puts.filter_map(|(_, back)| back.later).collect();
    let runs: BTreeSet<RunId> = later.iter().copied().collect();
    Some(Danger::LaterRun {
        run: *runs.last()?,
        runs: runs.len(),
        sites: later.len(),
    })
}

/// Keys of one account are equally long, but for a few characters.
pub(super) fn other_length(key: &PublishableKey, rows: &[PlanRow]) -> Option<Danger> {
    /// Characters by which lengths may differ.
    const NEAR: usize = 4;

    let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
    for served in rows.iter().filter_map(|row| row.serves.key()) {
        *lengths.entry(served.length()).or_default() += 1;
    }
    let length = key.length();
    if lengths.keys().any(|known| known.abs_diff(length) <= NEAR) {
        return None;
    }
    let (usual, _) = lengths.into_iter().max_by_key(|&(_, count)| count)?;
    Some(Danger::OtherLength { length, usual })
}

/// What Stripe says of the keys that go out, if that is a danger; none where it says nothing of any.
pub(super) fn dead_keys(
    rows: &[PlanRow],
    standing: impl Fn(&PublishableKey) -> Option<Standing>,
) -> Option<Danger> {
    let puts = rows.iter().filter(|row| row.action == PlanAction::Put);
    let keys: BTreeSet<&PublishableKey> = puts.map(|row| &row.key).collect();
    let dead = || {
        keys.iter()
            .filter_map(|key| standing(key))
            .filter(|said| said.is_dead())
    };
    // What Stripe has expired is certain; what it does not know may be of another environment.
    Some(Danger::DeadKey {
        standing: dead().max()?,
        keys: dead().count(),
        of: keys.len(),
    })
}
