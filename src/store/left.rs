use std::time::Duration;

use jiff::SignedDuration;

use super::RunId;
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::state::SiteState;
use crate::rules::status::Push;

/// What PUSH becomes if the process that works on the site dies now; none if it stays what it is.
pub(super) fn left(state: &SiteState, policy: &Policy, now: Moment) -> Option<Push> {
    state.push.is_open().then(|| {
        let mut left = state.clone();
        left.orphaned(policy, now);
        left.push
    })
}

/// Whether `run`, which was to send a PUT to the site and did not, is what counts there: what is recorded of the
/// site (its state, and whether the run of that is closed) does not tell of something later.
pub(super) fn is_not_reached(run: RunId, state: Option<&SiteState>, closed: bool) -> bool {
    let Some(state) = state else { return true };
    match state.run {
        // A look before its PUT, or what held that back, is on record: it tells more.
        Some(of_state) if of_state == run => !state.is_busy() && state.push.is_open(),
        // A later run has the site, unless it was closed and expects nothing there any more.
        Some(of_state) => of_state < run || closed,
        None => true,
    }
}

/// The time between two moments of one start of the machine, and by how much the wall clock was set meanwhile.
pub(super) fn times(from: Moment, to: Moment) -> (Duration, Option<SignedDuration>) {
    let took = to.since(from);
    let set = to.wall.duration_since(from.wall) - SignedDuration::try_from(took).unwrap_or_default();
    (
        took,
        Some(set).filter(|set| set.unsigned_abs() >= Duration::from_secs(1)),
    )
}
