use super::gate::Refused;
use crate::policy::Denied;
use crate::rules::tally::{Ending, Tally};
use crate::store::StoreError;

/// How a command ends (the table of exit statuses is in the README).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Every site is verified or superseded, or left out on purpose.
    Good,
    /// Any other end of any site.
    Bad,
    /// Wrong usage, config or source, a question unanswered: nothing was sent.
    NothingSent,
    /// Nothing failed, but some proofs were not due when the wait ended.
    Waits,
    /// The run halted: canary, threshold, refused master key.
    Halted,
    /// Another run is sending on the store, or the policy does not let this user push: nothing was sent.
    Busy,
    /// By a signal.
    Interrupted,
    /// As the process ended that did the work.
    Other(u8),
}

/// The exit statuses, for the help and the manual: how the program ends, and what that means.
pub(super) const EXIT_STATUSES: [(u8, &str); 7] = [
    (
        0,
        "every site is verified, left out on purpose or acknowledged; what was to be read is told",
    ),
    (
        1,
        "any other end of any site; or sites are missing from what was looked at, since a source could not be read",
    ),
    (
        2,
        "wrong usage, config or source, or a question unanswered: nothing was sent",
    ),
    (
        3,
        "nothing failed, but some proofs were not due when the wait ended",
    ),
    (
        4,
        "the run halted: canary, too many failures, or a refused master key",
    ),
    (
        5,
        "another run is sending on this store, or the policy does not let this user push",
    ),
    (130, "interrupted"),
];

/// The operator broke off a question.
#[derive(Debug, thiserror::Error)]
#[error("interrupted: nothing was sent")]
pub(super) struct Interrupted;

/// What was to be read could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the answer was not written")]
pub(super) struct NotWritten;

impl Status {
    /// Of a command that ended with this error, before anything was sent.
    pub(super) fn of_error(error: &anyhow::Error) -> Self {
        if error.is::<Interrupted>() {
            Self::Interrupted
        } else if let Some(StoreError::Busy(_)) = error.downcast_ref() {
            Self::Busy
        } else if error.is::<Denied>() || matches!(error.downcast_ref(), Some(Refused::Denied(_))) {
            Self::Busy
        } else if error.is::<NotWritten>() {
            Self::Bad
        } else {
            Self::NothingSent
        }
    }

    /// The worse of two ends.
    pub(super) fn worse(self, other: Self) -> Self {
        let order = [
            Self::Interrupted,
            Self::Busy,
            Self::NothingSent,
            Self::Halted,
            Self::Bad,
            Self::Waits,
            Self::Good,
        ];
        let worst = order.into_iter().find(|status| [self, other].contains(status));
        worst.unwrap_or(self)
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Bad => 1,
            Self::NothingSent => 2,
            Self::Waits => 3,
            Self::Halted => 4,
            Self::Busy => 5,
            Self::Interrupted => 130,
            Self::Other(code) => code,
        }
    }

    /// Of the sites that were asked for, when nothing more is waited for. What is still open is another process's
    /// (`beside` its run), which goes on.
    pub(super) fn of(tally: &Tally, beside: bool) -> Self {
        let open = tally.ending(Ending::Open);
        let bad = tally.ending(Ending::Bad) + if beside { 0 } else { open };
        if bad > 0 {
            Self::Bad
        } else if tally.ending(Ending::Waits) + open > 0 {
            Self::Waits
        } else {
            Self::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::state::SiteState;
    use crate::rules::status::{Push, Verify};

    #[test]
    fn the_worst_site_decides() {
        let state = |push, verify| {
            let mut state = SiteState::default();
            (state.push, state.verify) = (push, verify);
            state
        };
        let good = state(Push::Stored, Verify::Verified);
        let waits = state(Push::Stored, Verify::Serving);
        let bad = state(Push::Cancelled, Verify::Unchecked);
        let status =
            |states: &[&SiteState], beside| Status::of(&Tally::of(states.iter().copied()), beside).code();
        assert_eq!(status(&[&good], false), 0);
        assert_eq!(status(&[&good, &waits], false), 3);
        assert_eq!(status(&[&good, &waits, &bad], false), 1);
        let sending = state(Push::Sending, Verify::Unchecked);
        assert_eq!(status(&[&good, &sending], false), 1);
        assert_eq!(status(&[&good, &sending], true), 3);
    }
}
