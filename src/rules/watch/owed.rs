use super::{Seen, may_pass};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::plan::Plan;
use crate::rules::run::RunId;
use crate::rules::state::{Allow, RetryPlan, SiteState};
use crate::rules::status::Verify;
use crate::site::SiteId;

/// Whether a site is owed a key because it could not be reached, and has answered a look since `begun`.
///
/// What the operator cancelled, what a halt did not reach, and what somebody else has changed is not the watch's to
/// send: that takes a word of the operator's own.
pub fn is_back(state: &SiteState, begun: Moment) -> bool {
    let answered = state.is_seen() && state.looked_at.is_some_and(|looked| looked >= begun);
    let is_odd = state.verify == Verify::Drifted || state.exposes();
    let retried = matches!(state.retry_plan(), RetryPlan::Push | RetryPlan::OtherRun);
    state.is_owed() && answered && !is_odd && retried && may_pass(state.push)
}

/// The retry of what is back, of the newest run that owes something: through the same plan and rules as any other. A
/// plan with dangers is the caller's not to send.
pub fn retry_of(seen: &Seen<'_>, begun: Moment) -> Option<Plan> {
    let state = |id: SiteId| &seen.states[id.index()];
    let back: Vec<SiteId> = seen
        .watched
        .iter()
        .copied()
        .filter(|id| is_back(state(*id), begun))
        .collect();
    let run: RunId = back.iter().filter_map(|id| state(*id).run).max()?;
    let of_run = back.into_iter().filter(|id| state(*id).run == Some(run));
    let targets: Vec<(SiteId, PublishableKey)> = of_run
        .filter_map(|id| Some((id, state(id).planned_key()?.clone())))
        .collect();
    let plan = Plan::retry(Some(run), &targets, seen.sites, state, Allow::default())?;
    (plan.puts() > 0).then_some(plan)
}
