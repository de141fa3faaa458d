use serde::{Deserialize, Serialize};

use super::outcome::Cause;

/// What a state means for the one who looks at it. A theme gives each role a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Nothing to say.
    Quiet,
    /// Waits or is under way.
    Busy,
    /// Good, and proven.
    Good,
    /// Good as far as seen, not proven yet.
    Hopeful,
    /// Left out, or to be looked into.
    Warning,
    /// Failed.
    Bad,
    /// A secret is out.
    Alarm,
}

/// How a status is written: its word, two glyphs, its role, and how much attention it needs (higher first).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The word on the screen, in JSON and in the store.
    pub word: &'static str,
    /// One column wide.
    pub glyph: &'static str,
    /// One column wide, ASCII.
    pub ascii: &'static str,
    /// Its colour.
    pub role: Role,
    /// What needs attention is on top: higher is higher.
    pub rank: u8,
    /// What it means, for the help.
    pub means: &'static str,
}

const fn look(
    word: &'static str,
    glyph: &'static str,
    ascii: &'static str,
    role: Role,
    rank: u8,
    means: &'static str,
) -> Look {
    Look {
        word,
        glyph,
        ascii,
        role,
        rank,
        means,
    }
}

/// Why a site is left out of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its `mode` in the config does not allow the key.
    WrongMode,
    /// It serves a key of the other mode.
    OtherMode,
    /// The config disables it.
    Disabled,
    /// It serves the key already (only where the operator asked for that).
    Equal,
    /// Someone else changed its key since the plan.
    ChangedMeanwhile,
    /// What answers there is not a template site.
    NotThisApi,
    /// The run that is taken back changed nothing there.
    Unchanged,
    /// It had no key before the run that is taken back, and no call takes a key away.
    NotReversible,
}

impl SkipReason {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::WrongMode => "wrong_mode",
            Self::OtherMode => "other_mode",
            Self::Disabled => "disabled",
            Self::Equal => "equal",
            Self::ChangedMeanwhile => "changed_meanwhile",
            Self::NotThisApi => "not_this_api",
            Self::Unchanged => "unchanged",
            Self::NotReversible => "not_reversible",
        }
    }

    /// What it means, for the operator.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::WrongMode => "its mode in the config does not allow this key",
            Self::OtherMode => "serves a key of the other mode: left as it is",
            Self::Disabled => "disabled in the config",
            Self::Equal => "serves this key already",
            Self::ChangedMeanwhile => "its key was changed by someone else since the plan: left as it is",
            Self::Unchanged => "that run changed nothing there",
            Self::NotReversible => "had no key, or it was not seen which: cannot be put back by a call",
            Self::NotThisApi => {
                "does not answer like a template site: the key and the master key were held back"
            }
        }
    }

    /// How it gets its PUT all the same, if there is a way without a change of the config.
    pub fn way_out(self) -> Option<&'static str> {
        match self {
            Self::OtherMode => Some("`R`, or retry --allow-mode-change, pushes it all the same"),
            Self::NotThisApi => {
                Some("is its url right? `R`, or retry --allow-unrecognised, pushes it all the same")
            }
            Self::ChangedMeanwhile => Some("`R`, or retry --allow-changed, pushes it all the same"),
            Self::WrongMode | Self::Disabled | Self::Equal | Self::Unchanged | Self::NotReversible => None,
        }
    }

    /// The flag that lets a site go that was held back for this, if one does.
    pub fn flag(self) -> Option<&'static str> {
        match self {
            Self::OtherMode => Some("--allow-mode-change"),
            Self::NotThisApi => Some("--allow-unrecognised"),
            Self::ChangedMeanwhile => Some("--allow-changed"),
            Self::WrongMode | Self::Disabled | Self::Equal | Self::Unchanged | Self::NotReversible => None,
        }
    }

    /// Whether the site was held back just before its PUT, which a word of the operator's can change.
    pub fn is_held_back(self) -> bool {
        matches!(self, Self::OtherMode | Self::ChangedMeanwhile | Self::NotThisApi)
    }

    /// Whether the operator asked for it (config or flag), so that it is no failure of the run.
    pub fn is_intended(self) -> bool {
        matches!(
            self,
            Self::WrongMode | Self::Disabled | Self::Equal | Self::Unchanged
        )
    }
}

/// What happened to a site's PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Push {
    /// Not in this run.
    #[default]
    Idle,
    /// Waits its turn.
    Queued,
    /// The request is out.
    Sending,
    /// Failed in a way that passes; goes again.
    Retrying,
    /// The site answered success.
    Stored,
    /// Left out.
    Skipped(SkipReason),
    /// For good.
    Failed(Cause),
    /// Sent, and the answer never seen; a GET decides.
    Unknown(Cause),
    /// Stopped by the operator.
    Cancelled,
    /// Halted before its turn.
    NotStarted,
}

impl Push {
    /// How it is written.
    pub fn look(self) -> Look {
        match self {
            Self::Idle => look("idle", "–", "-", Role::Quiet, 0, "not in this run"),
            Self::Queued => look("queued", "·", ".", Role::Quiet, 20, "waits its turn"),
            Self::Sending => look("sending", "…", "~", Role::Busy, 40, "the PUT is out"),
            Self::Retrying => look(
                "retrying",
                "↻",
                "r",
                Role::Warning,
                50,
                "failed in a way that passes: goes again",
            ),
            Self::Stored => look("stored", "✓", "+", Role::Good, 0, "the site answered success"),
            Self::Skipped(reason) => look(
                "skipped",
                "»",
                ">",
                Role::Warning,
                if reason.is_held_back() { 70 } else { 10 },
                "left out; NOTE tells why",
            ),
            Self::Failed(_) => look("failed", "✗", "x", Role::Bad, 90, "for good: R repeats it"),
            Self::Unknown(_) => look(
                "unknown",
                "?",
                "?",
                Role::Bad,
                85,
                "sent, and the answer never seen: a look decides",
            ),
            Self::Cancelled => look(
                "cancelled",
                "■",
                "#",
                Role::Warning,
                60,
                "stopped by the operator",
            ),
            Self::NotStarted => look(
                "not_started",
                "□",
                "o",
                Role::Warning,
                60,
                "the run ended before its turn",
            ),
        }
    }

    /// The cause behind it, if it failed.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Failed(cause) | Self::Unknown(cause) => Some(cause),
            _ => None,
        }
    }

    /// Whether a PUT of it is still to come or out.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Sending | Self::Retrying)
    }
}

/// What a site's GETs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// Not looked at.
    #[default]
    Unchecked,
    /// Waits its turn.
    Queued,
    /// The request is out.
    Checking,
    /// Answered, and nothing says what to expect.
    Seen,
    /// Answers the expected key; another of its processes may still answer the old one.
    Serving,
    /// Still the previous key, or none, and the settle time is not over.
    Settling,
    /// Answers the expected key after the settle time: proof.
    Verified,
    /// Another key.
    Mismatch,
    /// Was verified, is not any more.
    Drifted,
    /// No key is set.
    NoKey,
    /// No answer to judge by.
    Failed(Cause),
    /// Answers a secret to the public.
    ExposedSecret,
    /// Answers a key, expected or not, that Stripe does not know or has expired.
    DeadKey,
    /// A later run took the site over.
    Superseded,
}

/// How a site is written that serves a key which takes no payments.
const DEAD_KEY: Look = look(
    "dead_key",
    "†",
    "%",
    Role::Bad,
    90,
    "answers a key that Stripe does not know or has expired",
);

impl Verify {
    /// How it is written.
    pub fn look(self) -> Look {
        match self {
            Self::Unchecked => look("unchecked", "–", "-", Role::Quiet, 0, "not looked at"),
            Self::Queued => look("queued", "·", ".", Role::Quiet, 5, "waits its turn"),
            Self::Checking => look("checking", "…", "~", Role::Busy, 5, "the GET is out"),
            Self::Seen => look(
                "seen",
                "•",
                "*",
                Role::Quiet,
                0,
                "answered; nothing says what to expect",
            ),
            Self::Serving => look(
                "serving",
                "◍",
                "s",
                Role::Hopeful,
                30,
                "answers the new key; not proven yet",
            ),
            Self::Settling => look(
                "settling",
                "◌",
                "c",
                Role::Busy,
                45,
                "still the old key, or none: a cache, perhaps",
            ),
            Self::Verified => look("verified", "✓", "+", Role::Good, 0, "answers the new key: proven"),
            Self::Mismatch => look("mismatch", "≠", "!", Role::Bad, 88, "answers another key"),
            Self::Drifted => look(
                "drifted",
                "≠",
                "!",
                Role::Bad,
                89,
                "answers another key than it did",
            ),
            Self::NoKey => look(
                "no_key",
                "∅",
                "0",
                Role::Warning,
                75,
                "answers that no key is set",
            ),
            Self::Failed(_) => look("failed", "✗", "x", Role::Bad, 80, "no answer to judge by"),
            Self::ExposedSecret => look(
                "exposed_secret",
                "!",
                "!",
                Role::Alarm,
                100,
                "shows a secret key to the public",
            ),
            Self::DeadKey => DEAD_KEY,
            Self::Superseded => look("superseded", "»", ">", Role::Quiet, 0, "a later run took it over"),
        }
    }

    /// The cause behind it, if it failed.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Failed(cause) => Some(cause),
            _ => None,
        }
    }

    /// Whether it will change by itself.
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Self::Queued | Self::Checking | Self::Serving | Self::Settling
        )
    }
}

/// How each state is written: those of PUSH, then those of VERIFY. States with a cause are written alike.
pub fn looks() -> impl Iterator<Item = Look> {
    push_looks().chain(verify_looks())
}

/// How each state of PUSH is written.
pub fn push_looks() -> impl Iterator<Item = Look> {
    let push = [
        Push::Idle,
        Push::Queued,
        Push::Sending,
        Push::Retrying,
        Push::Stored,
        Push::Skipped(SkipReason::OtherMode),
        Push::Failed(Cause::Timeout),
        Push::Unknown(Cause::Timeout),
        Push::Cancelled,
        Push::NotStarted,
    ];
    push.into_iter().map(Push::look)
}

/// How each state of VERIFY is written.
pub fn verify_looks() -> impl Iterator<Item = Look> {
    let verify = [
        Verify::Unchecked,
        Verify::Queued,
        Verify::Checking,
        Verify::Seen,
        Verify::Serving,
        Verify::Settling,
        Verify::Verified,
        Verify::Mismatch,
        Verify::Drifted,
        Verify::NoKey,
        Verify::Failed(Cause::Timeout),
        Verify::ExposedSecret,
        Verify::DeadKey,
        Verify::Superseded,
    ];
    verify.into_iter().map(Verify::look)
}
