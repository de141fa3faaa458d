use serde::{Deserialize, Serialize};

use crate::text::Count;

/// A run's number, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Puts a key on sites.
    #[default]
    Push,
    /// Repeats what failed in an earlier run, its parent.
    Retry,
    /// Puts back what sites had before an earlier run, its parent.
    Rollback,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Retry => "retry",
            Self::Rollback => "rollback",
        }
    }
}

/// Why a run holds by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Halt {
    /// A site that went first does not serve the key.
    Canary,
    /// Too many sites of a wave failed.
    StopAfter {
        /// How many.
        failed: usize,
        /// Of how many in the wave.
        of: usize,
    },
    /// Two sites refuse the master key, and none has taken it in this run: the others that use it are not asked.
    RefusedKey {
        /// How many of them.
        sites: usize,
        /// Whether they all have refused it lately, while others took it.
        #[serde(default)]
        others_took: bool,
    },
    /// Stripe does not know its key, or says that it has expired, and nobody has confirmed that.
    DeadKey,
    /// A PUT could not be put on record.
    Unrecorded,
    /// A wave serves its key, and the config asks before the next one.
    NextWave {
        /// Its number, from 0, the canary counted.
        wave: usize,
        /// How many there are.
        of: usize,
    },
}

impl Halt {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::StopAfter { .. } => "threshold",
            Self::RefusedKey { .. } => "refused_key",
            Self::DeadKey => "dead_key",
            Self::Unrecorded => "unrecorded",
            Self::NextWave { .. } => "next_wave",
        }
    }

    /// Whether something went wrong.
    pub fn is_bad(self) -> bool {
        !matches!(self, Self::NextWave { .. })
    }

    /// What happened.
    pub fn sentence(self) -> String {
        match self {
            Self::Canary => "the canary does not serve the key".to_owned(),
            Self::StopAfter { failed, of } => format!("{failed} of {of} sites failed"),
            Self::RefusedKey {
                sites,
                others_took: true,
            } => format!(
                "two sites refuse the master key again, which others have taken lately: {} that refused it, too, are not \
                 asked; check master_key of these sites",
                Count(sites, "site")
            ),
            Self::RefusedKey { sites, .. } => format!(
                "two sites refuse the master key, and none has taken it: {} that use it are not asked; check the master \
                 key",
                Count(sites, "site")
            ),
            Self::DeadKey => "Stripe does not know the key, or says that it has expired".to_owned(),
            Self::Unrecorded => "a PUT could not be put on record".to_owned(),
            Self::NextWave { .. } => "the wave before has ended: the next one waits for a word".to_owned(),
        }
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// PUTs are out or to come.
    Sending,
    /// The operator paused it.
    Paused,
    /// It halted by itself.
    Halted,
    /// All is sent; proofs are due.
    Settling,
    /// Each site has its last word.
    Settled,
}

impl RunPhase {
    /// Whether PUTs are out or to come, now or once somebody says so.
    pub fn is_sending(self) -> bool {
        matches!(self, Self::Sending | Self::Paused | Self::Halted)
    }

    /// Whether it waits for somebody to say that it goes on.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Paused | Self::Halted)
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Settling => "settling",
            Self::Settled => "settled",
        }
    }
}
