use super::state::{Allow, Served, SiteState};
use super::status::{Push, SkipReason};
use crate::key::{KeyMode, PublishableKey};
use crate::site::{Site, SiteId};
use crate::text::Count;

/// What a run does to one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanAction {
    /// A PUT.
    Put,
    /// Nothing, for this reason.
    Skip(SkipReason),
}

/// One site of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// Which site.
    pub site: SiteId,
    /// What is done to it.
    pub action: PlanAction,
    /// What it serves as far as is known: the old of old → new.
    pub serves: Served,
}

/// Something that the operator must have read before the run goes: each adds a word to the phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Danger {
    /// Sites serve a key of the other mode, which the run would replace.
    OverOtherMode {
        /// The mode that they serve.
        mode: KeyMode,
        /// How many.
        sites: usize,
    },
    /// Sites did not answer like template sites, and would get the master key all the same.
    Unrecognised {
        /// How many.
        sites: usize,
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
            Self::Unrecognised { .. } => "unrecognised",
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
            Self::Unrecognised { sites } => {
                let did = Count(sites, "site");
                format!("{did} did not answer like a template site, and would get the master key")
            }
        }
    }
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The key that goes out.
    pub key: PublishableKey,
    /// Each selected site, in the order of the list.
    pub rows: Vec<PlanRow>,
    /// What the operator allows; [`Plan::dangers`] tells what of it the plan needs.
    pub allow: Allow,
    /// Whether it repeats a confirmed run for some of its sites.
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
        let mut over = 0;
        let mut unrecognised = 0;
        let mut rows = Vec::new();
        for id in selection {
            let (site, known) = (&sites[id.index()], state(id));
            let action = action(&key, site, known, allow);
            if action == PlanAction::Put {
                over += usize::from(serves_other_mode(&key, known));
                unrecognised += usize::from(known.push == Push::Skipped(SkipReason::NotThisApi));
            }
            rows.push(PlanRow {
                site: id,
                action,
                serves: known.now.clone(),
            });
        }
        let mode = if key.mode() == KeyMode::Live {
            KeyMode::Test
        } else {
            KeyMode::Live
        };
        let mut dangers = Vec::new();
        if over > 0 {
            dangers.push(Danger::OverOtherMode { mode, sites: over });
        }
        if unrecognised > 0 && allow.unrecognised {
            dangers.push(Danger::Unrecognised { sites: unrecognised });
        }
        Self {
            key,
            rows,
            allow,
            dangers,
        }
    }

    /// How many sites get a PUT.
    pub fn puts(&self) -> usize {
        self.rows
            .iter()
            .filter(|row| row.action == PlanAction::Put)
            .count()
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
        let serves = |row: &&PlanRow| row.action == PlanAction::Put && row.serves.key() == Some(&self.key);
        self.rows.iter().filter(serves).count()
    }

    /// What confirms it.
    pub fn confirm(&self) -> Confirm {
        let puts = self.puts();
        if puts == 0 {
            return Confirm::Nothing;
        }
        if self.key.mode() == KeyMode::Test && puts <= SMALL_TEST_RUN && self.dangers.is_empty() {
            return Confirm::Yes;
        }
        let mode = (self.key.mode() == KeyMode::Live).then_some("live".to_owned());
        let dangers = self.dangers.iter().map(|danger| danger.word().to_owned());
        let words: Vec<String> = mode
            .into_iter()
            .chain([puts.to_string()])
            .chain(dangers)
            .collect();
        Confirm::Phrase(words.join(" "))
    }
}

fn action(key: &PublishableKey, site: &Site, known: &SiteState, allow: Allow) -> PlanAction {
    if !site.enabled {
        PlanAction::Skip(SkipReason::Disabled)
    } else if !site.mode.allows(key.mode()) {
        PlanAction::Skip(SkipReason::WrongMode)
    } else if serves_other_mode(key, known) && !allow.mode_change {
        PlanAction::Skip(SkipReason::OtherMode)
    } else {
        PlanAction::Put
    }
}

fn serves_other_mode(key: &PublishableKey, known: &SiteState) -> bool {
    known.now.key().is_some_and(|serves| serves.mode() != key.mode())
}
