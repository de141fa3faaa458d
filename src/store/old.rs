use jiff::{SignedDuration, Timestamp};

/// Looks outside of runs come by the hour: they are kept no longer than this. The timeline tells what they showed.
const LOOKS_ARE_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// What Stripe said of a key counts for a day at most.
const STANDINGS_ARE_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// When something old was last dropped, and what was old then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pruned {
    pub(super) at: Timestamp,
    pub(super) before: Timestamp,
}

impl Pruned {
    /// Whether something may have become old since `last`: once a day is often enough.
    pub(super) fn is_due(self, last: Option<Self>) -> bool {
        let far = |from: Timestamp, to: Timestamp| to.duration_since(from).abs() >= DAY;
        // A clock that was set back must not end it for ever.
        last.is_none_or(|last| far(last.at, self.at) || far(last.before, self.before))
    }

    /// What is dropped of looks outside of runs: those before then.
    pub(super) fn looks_before(self) -> Timestamp {
        let oldest = self.at.saturating_sub(LOOKS_ARE_KEPT).unwrap_or(Timestamp::MIN);
        self.before.max(oldest)
    }
}

/// What Stripe said of a key before then is forgotten, when something is remembered at `at`.
pub(super) fn forgotten_before(at: Timestamp) -> Timestamp {
    at.saturating_sub(STANDINGS_ARE_KEPT).unwrap_or(Timestamp::MIN)
}
