use serde::{Deserialize, Serialize};

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
