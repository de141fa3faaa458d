use super::offered;
use crate::rules::moment::Moment;
use crate::rules::run::RunPhase;
use crate::rules::state::{RetryPlan, SiteState};
use crate::rules::status::{Push, Verify};
use crate::site::SiteId;
use crate::tui::model::Model;

/// What happens to the site next, and when; where nothing does, what the operator can do.
pub(super) fn next(model: &Model, id: SiteId) -> String {
    let state = model.state(id);
    let put = state.puts + 1;
    let waits = |until: Option<Moment>| until.map(|until| format!(", at the latest {}", model.clock(until)));
    let held = model.run.as_ref().is_some_and(|run| run.phase.is_held());
    match (state.push, state.next_at) {
        (Push::Sending, _) => format!("its answer{}", waits(state.until).unwrap_or_default()),
        (Push::Queued | Push::Retrying, _) if held => format!("PUT {put}, once the run goes on"),
        (Push::Retrying, Some(at)) => format!("PUT {put} at {}", model.clock(at)),
        (Push::Queued | Push::Retrying, _) => format!("PUT {put}, when its turn comes"),
        _ if state.verify == Verify::Checking => {
            format!("the answer to its look{}", waits(state.until).unwrap_or_default())
        }
        (_, Some(at)) => look(model, state, at),
        (_, None) if state.verify == Verify::Queued => "a look, when its turn comes".to_owned(),
        (_, None) => rest(model, id),
    }
}

/// It is looked at then.
fn look(model: &Model, state: &SiteState, at: Moment) -> String {
    let end = state.settle_end();
    let when = model.clock(at);
    match state.verify {
        Verify::Serving if end.is_none_or(|end| end <= at) => format!("proof at {when}"),
        Verify::Serving => format!(
            "looks again {when}; proof at {}",
            end.map(|end| model.clock(end)).unwrap_or_default()
        ),
        Verify::Settling if end.is_some_and(|end| end > at) => format!(
            "looks again {when}; what it serves at {} counts",
            end.map(|end| model.clock(end)).unwrap_or_default()
        ),
        Verify::Settling => format!("looks again {when}; what it serves then counts"),
        _ => format!("looks again {when}"),
    }
}

/// Nothing comes by itself.
fn rest(model: &Model, id: SiteId) -> String {
    let state = model.state(id);
    if !model.site(id).enabled {
        return "nothing: it is disabled in the config".to_owned();
    }
    let key = |action| offered(model).key(action).unwrap_or_else(|| model.key_of(action));
    let (retry, look) = (key("retry"), key("verify"));
    match state.retry_plan() {
        RetryPlan::Push => format!("nothing: {retry} sends its PUT again"),
        RetryPlan::Look => format!("nothing: {retry} looks again"),
        RetryPlan::OtherRun => {
            let run = state
                .run
                .map_or_else(String::new, |run| format!(" of run {}", run.0));
            format!("nothing: {retry} plans its PUT again, with the key{run}")
        }
        RetryPlan::Ask(_) => {
            format!("nothing: it is held back, and {retry} asks whether it goes all the same")
        }
        RetryPlan::Settles | RetryPlan::Busy => match &model.run {
            Some(run) if run.phase == RunPhase::Settled => format!("nothing: {look} looks again"),
            _ => "its next look, when its turn comes".to_owned(),
        },
        RetryPlan::Nothing => match state.verify {
            Verify::Serving | Verify::Settling => format!("nothing here: {look} looks again"),
            _ => "nothing".to_owned(),
        },
    }
}
