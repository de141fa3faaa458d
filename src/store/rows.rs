use super::left::is_not_reached;
use super::{Kept, RunId};
use crate::rules::state::{LeftRow, SiteState};

/// A row of a run in which something is still to come.
pub(super) struct OpenRow {
    pub(super) row: LeftRow,
    /// Whether a PUT was about to be sent, and nothing says what came of it.
    pub(super) doubt: bool,
    /// PUTs that were about to be sent until now.
    pub(super) puts: u32,
    /// Whether the next PUT of it is still to come.
    pub(super) unreached: bool,
}

/// The run that the recorded state belongs to.
pub(super) struct StateRun {
    pub(super) run: Option<RunId>,
    pub(super) goes_on: bool,
    pub(super) closed: bool,
}

/// What a store has of a site, whose open rows are these, the oldest run first.
pub(super) fn kept(
    state: Option<SiteState>,
    of_state: &StateRun,
    rows: &[OpenRow],
    is_live: impl Fn(RunId) -> bool,
) -> Kept {
    let newest = rows.last();
    let holder = newest
        .map(|open| open.row.run)
        .or(of_state.run.filter(|_| of_state.goes_on));
    let dead = |open: &&OpenRow| !is_live(open.row.run);
    let open_put = rows.iter().rev().filter(dead).find(|row| row.doubt);
    let not_reached = newest
        .filter(dead)
        .filter(|open| open.unreached && is_not_reached(open.row.run, state.as_ref(), of_state.closed));
    Kept {
        live: holder.is_some_and(&is_live),
        before_restart: None,
        open_put: open_put.map(|open| (open.row.clone(), open.puts)),
        not_reached: not_reached.map(|open| open.row.clone()),
        state,
    }
}
