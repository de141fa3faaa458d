use std::time::Duration;

use jiff::SignedDuration;

use super::{Intent, Record, Request, RunId, StoreError};
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::state::SiteState;
use crate::rules::status::Push;

/// What PUSH becomes if the process that works on the site dies now; none if it stays what it is.
pub(super) fn left(state: &SiteState, policy: &Policy, now: Moment) -> Option<Push> {
    is_to_come(state).then(|| {
        let mut left = state.clone();
        left.orphaned(policy, now);
        left.push
    })
}

/// Whether a PUT of its run is still to come, or out: also one that is left over until the run is taken up or closed,
/// whoever looks at the site meanwhile.
fn is_to_come(state: &SiteState) -> bool {
    state.push.is_open() || state.push == Push::NotStarted
}

/// Whether something of its run is still to come.
pub(super) fn is_open(state: &SiteState) -> bool {
    state.is_busy() || is_to_come(state)
}

/// A PUT that was about to be sent, and of which nothing says what came of it: its run, and which of the site's in that.
pub(super) type OpenPut = (RunId, u32);

/// A row of a run in which something of the site is still to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    pub(super) run: RunId,
    /// Whether nothing says what came of its last PUT.
    pub(super) doubt: bool,
    pub(super) puts: u32,
}

/// Versions of a site, each made by this process from the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raised {
    from: i64,
    to: i64,
}

impl Raised {
    /// One more than `version`, which may be this process's own as well.
    pub(super) fn above(version: i64, before: Option<&Self>) -> Self {
        let own = before.filter(|own| own.to == version);
        Self {
            from: own.map_or(version, |own| own.from),
            to: version + 1,
        }
    }
}

/// What a process knew of a site's PUTs when it handed something over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Basis {
    /// The site's version, which rises with each PUT.
    pub(super) version: i64,
    /// The open PUT of a process that is gone that it was told of.
    pub(super) told: Option<OpenPut>,
}

impl Basis {
    /// Whether the site's version, which is this, is no newer than what who knew this knows by now: the others are its
    /// `own`.
    pub(super) fn knows(self, version: i64, own: Option<&Raised>) -> bool {
        self.version >= version || own.is_some_and(|own| own.from <= self.version && own.to == version)
    }

    /// Whether who hands over `record` knows of the open PUT: was told of it, or of a state that tells of it, or made
    /// it.
    pub(super) fn covers(self, put: OpenPut, record: &Record) -> bool {
        self.told == Some(put)
            || is_outcome(record, put)
            || (record.state.run == Some(put.0) && record.state.puts >= put.1)
    }

    /// As [`Basis::covers`]: the number of a PUT of the same run tells that those before it are known.
    pub(super) fn covers_before(self, put: OpenPut, intent: &Intent) -> bool {
        self.told == Some(put) || (intent.run == put.0 && intent.number > put.1)
    }
}

fn is_outcome(record: &Record, (run, number): OpenPut) -> bool {
    record.outcome.as_ref().is_some_and(|outcome| {
        (outcome.request, outcome.run, outcome.number) == (Request::Put, Some(run), number)
    })
}

/// Whether `record` tells what came of the open PUT, or keeps the doubt in its own state from now on.
pub(super) fn decides(record: &Record, put: OpenPut) -> bool {
    let state = &record.state;
    is_outcome(record, put) || (state.puts >= put.1 && !state.push.is_open())
}

/// Whether only another process than the one that works on `own` can say what becomes of the PUT to the site of which
/// `state` tells: one that has it out, or that it is to come from. That one may be gone. `doubts` are those of `open`
/// of which nobody can say more.
pub(super) fn is_anothers(own: &[RunId], open: &[Open], doubts: &[OpenPut], state: &SiteState) -> bool {
    let run = state.run.filter(|run| !own.contains(run));
    let row = open.iter().find(|row| Some(row.run) == run);
    let out = |row: &Open| row.doubt && !doubts.contains(&(row.run, row.puts));
    row.is_some_and(|row| state.push.is_open() || out(row))
}

/// The words for a PUT of a run that has let others send.
pub(super) fn no_right(run: RunId) -> StoreError {
    StoreError::Failed(format!(
        "run {} does not hold the right to send, which one run has at a time: take it up again first",
        run.0
    ))
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
