//! Who may push: what root says in `/etc/stripe-propagate/policy.toml`, and whether it lets somebody send something.
//! Judging is pure. Whoever can read the master key can push without this program: its file is the gate, and this is a
//! rail on top of it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::config::ConfigError;
use crate::config::error::Places;
use crate::key::KeyMode;
use crate::rules::plan::{Plan, PlanAction};
use crate::rules::run::Kind;
use crate::text::{CleanText, Count, list};

/// The file: where it is, and whether it is root's.
mod file;
/// Who runs this process, and in which groups it is.
mod who;

pub use file::{Untrusted, read};
pub use who::{Who, login_number, user_name};

/// Where the policy stands. Nothing names another place: no flag, no variable, no config.
pub const POLICY: &str = "/etc/stripe-propagate/policy.toml";

/// A policy may name so many groups.
const MOST_GROUPS: usize = 100;
/// The longest name of a group, in bytes.
const LONGEST_GROUP: usize = 256;

/// What root says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Members of these may push; without one everybody may.
    push_groups: Vec<String>,
    /// Of those who may push, members of these may push live keys; none for all of them.
    live_groups: Option<Vec<String>>,
    /// More sites than these get a key only when it is proved: by a canary of at most so many, or by a site that is
    /// verified with it.
    max_sites_without_canary: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    push_groups: Vec<Spanned<String>>,
    live_groups: Option<Spanned<Vec<Spanned<String>>>>,
    max_sites_without_canary: Option<Spanned<i64>>,
}

impl Policy {
    /// Reads the text of a policy.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let path = Path::new(POLICY);
        let at = Places { path, text };
        let raw: Raw = toml::from_str(text).map_err(|error| at.of_toml(&error))?;
        let live_groups = match &raw.live_groups {
            Some(named) if named.get_ref().is_empty() => {
                let message = "live_groups names no group: name one, or leave the line out, so that who may push may \
                               push live keys";
                return Err(at.error(Some(named.span()), message));
            }
            Some(named) => Some(groups(named.get_ref(), &at)?),
            None => None,
        };
        let max_sites_without_canary = match &raw.max_sites_without_canary {
            None => None,
            Some(most) => {
                let number = usize::try_from(*most.get_ref()).ok().filter(|most| *most > 0);
                let message = "max_sites_without_canary must be at least 1";
                Some(number.ok_or_else(|| at.error(Some(most.span()), message))?)
            }
        };
        Ok(Self {
            push_groups: groups(&raw.push_groups, &at)?,
            live_groups,
            max_sites_without_canary,
        })
    }

    /// Every group that it names.
    pub fn groups(&self) -> BTreeSet<&str> {
        let live = self.live_groups.iter().flatten();
        self.push_groups.iter().chain(live).map(String::as_str).collect()
    }

    /// Whether it must be known which keys go out: their modes, and whether they are proved.
    pub fn asks_for_keys(&self) -> bool {
        self.live_groups.is_some() || self.max_sites_without_canary.is_some()
    }

    /// Whether `who` may send this.
    ///
    /// # Errors
    /// Who they are, what is missing, and who can change that.
    pub fn judge(&self, who: &Who, sending: &Sending) -> Result<(), Denied> {
        if who.is_root {
            // Who can change the policy is not bound by it.
            return Ok(());
        }
        let may = |needed: &[String]| needed.is_empty() || needed.iter().any(|name| who.is_in(name));
        let missing = |needed: &[String], right| Denied::NotMember {
            who: who.clone(),
            right,
            needed: needed.to_vec(),
        };
        if !may(&self.push_groups) {
            return Err(missing(&self.push_groups, Right::Push));
        }
        let live = self.live_groups.iter().find(|_| sending.is_live);
        if let Some(live) = live.filter(|live| !may(live)) {
            return Err(missing(live, Right::PushLive));
        }
        // To take a key back is never too much.
        let proves = matches!(sending.deed, Deed::Push | Deed::Retry | Deed::Resume);
        match self.max_sites_without_canary.filter(|_| proves) {
            Some(most) if sending.at_once > most => Err(Denied::NoCanary {
                deed: sending.deed,
                most,
                at_once: sending.at_once,
                has_canary: sending.has_canary,
            }),
            _ => Ok(()),
        }
    }
}

/// Names of groups.
fn groups(named: &[Spanned<String>], at: &Places<'_>) -> Result<Vec<String>, ConfigError> {
    if let Some(first) = named.get(MOST_GROUPS) {
        let message = format!("more than {MOST_GROUPS} groups: make one of them");
        return Err(at.error(Some(first.span()), message));
    }
    let name = |name: &Spanned<String>| {
        let text = name.get_ref();
        let is_name =
            !text.trim().is_empty() && text.len() <= LONGEST_GROUP && !text.contains(['\0', ',', ':']);
        if is_name && CleanText::note(text).as_str() == text {
            return Ok(text.clone());
        }
        Err(at.error(Some(name.span()), "this is no name of a group"))
    };
    named.iter().map(name).collect()
}

/// What is to be done that needs the master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Puts a key on sites.
    Push,
    /// Repeats what failed.
    Retry,
    /// Puts back what sites had.
    Rollback,
    /// Takes up a run that was left.
    Resume,
    /// Tries the master key by a PUT that stores nothing.
    Check,
}

impl Deed {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Retry => "retry",
            Self::Rollback => "rollback",
            Self::Resume => "resume",
            Self::Check => "check",
        }
    }
}

impl From<Kind> for Deed {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Push => Self::Push,
            Kind::Retry => Self::Retry,
            Kind::Rollback => Self::Rollback,
        }
    }
}

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// What for.
    pub deed: Deed,
    /// Whether a live key is among what goes out.
    pub is_live: bool,
    /// How many sites get a key before anything has proved that it is served: the canary, or all of them. Of what is
    /// repeated, those whose key no site is verified with.
    pub at_once: usize,
    /// Whether a canary goes first.
    pub has_canary: bool,
}

impl Sending {
    /// Something of which only the deed counts.
    pub fn of(deed: Deed) -> Self {
        Self {
            deed,
            is_live: false,
            at_once: 0,
            has_canary: false,
        }
    }

    /// What a plan sends.
    pub fn of_plan(plan: &Plan) -> Self {
        let has_canary = plan.rollout.canary && plan.rollout.waves > 1;
        let puts = plan.rows.iter().filter(|row| row.action == PlanAction::Put);
        Self {
            deed: plan.kind.into(),
            is_live: plan.put_keys().iter().any(|key| key.mode() == KeyMode::Live),
            at_once: puts.filter(|row| !has_canary || row.wave == 0).count(),
            has_canary,
        }
    }
}

/// What somebody may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Push at all.
    Push,
    /// Push live keys.
    PushLive,
}

/// Why nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Somebody is in none of the groups.
    NotMember {
        /// Who.
        who: Who,
        /// What they may not do.
        right: Right,
        /// One of these groups would do.
        needed: Vec<String>,
    },
    /// Too many sites would get the key before any of them has proved it.
    NoCanary {
        /// By what.
        deed: Deed,
        /// So many may.
        most: usize,
        /// So many would.
        at_once: usize,
        /// Whether a canary goes first, and is too large.
        has_canary: bool,
    },
    /// The policy cannot be trusted or read: nobody sends anything.
    Untrusted(Untrusted),
    /// Something is wrong in it: nobody sends anything.
    Wrong(ConfigError),
    /// The system did not say in time who is in which group.
    Unanswered,
}

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NOBODY: &str = "until root has put that right, nobody pushes from this machine";

        match self {
            Self::NotMember { who, right, needed } => not_member(who, *right, needed, formatter),
            Self::NoCanary {
                deed,
                most,
                at_once,
                has_canary,
            } => no_canary(*deed, *most, *at_once, *has_canary, formatter),
            Self::Untrusted(why) => write!(formatter, "{why}; {NOBODY}"),
            Self::Wrong(error) => write!(formatter, "{error}; {NOBODY}"),
            Self::Unanswered => write!(
                formatter,
                "the system did not say within 10 seconds which groups you are in, which {POLICY} asks for: try again, or \
                 have root look after the machine's user directory"
            ),
        }
    }
}

fn no_canary(
    deed: Deed,
    most: usize,
    at_once: usize,
    has_canary: bool,
    formatter: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let sites = Count(at_once, "site");
    let (what, instead) = match deed {
        Deed::Push if has_canary => (
            format!("the canary of this push has {sites}, and may have {most} at most"),
            "set [rollout] canary, or name fewer sites",
        ),
        Deed::Push => (
            format!("this push goes to {sites} at once, and without a canary it may go to {most} at most"),
            "set [rollout] canary, or name fewer sites",
        ),
        _ => (
            format!(
                "this sends to {sites} a key that no site is verified with, and may send it to {most} at most before \
                 one is"
            ),
            "retry fewer sites first, or push anew with a canary",
        ),
    };
    write!(formatter, "{what} ({POLICY}, which root can change): {instead}")
}

fn not_member(who: &Who, right: Right, needed: &[String], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let right = match right {
        Right::Push => "push",
        Right::PushLive => "push live keys",
    };
    let groups = list(needed, "or");
    write!(
        formatter,
        "you are {who}, and only members of {groups} may {right} ({POLICY})"
    )?;
    let unknown = needed.iter().filter(|name| who.unknown.contains(*name));
    let unknown: Vec<&String> = unknown.collect();
    if !unknown.is_empty() {
        let is = if unknown.len() == 1 {
            "is a group"
        } else {
            "are groups"
        };
        let unknown = list(&unknown, "and");
        write!(formatter, "; {unknown} {is} that this machine does not know")?;
    }
    formatter
        .write_str("; root can add you to a group, which counts from your next login, or change the policy")
}

#[cfg(test)]
mod tests;
