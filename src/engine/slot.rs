use super::chunks::Part;
use super::hands::{Handed, Out};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::outcome::{Cause, Problem};
use crate::rules::rollout::Member;
use crate::rules::run::RunId;
use crate::rules::state::{Allow, SiteState};
use crate::rules::status::Push;

/// A site and what is under way for it.
pub(super) struct Slot {
    pub(super) state: SiteState,
    /// Whether its looks go behind all others.
    pub(super) background: bool,
    /// GETs in this run.
    pub(super) gets: u32,
    /// What begins when the look that is out has ended.
    pub(super) pending: Option<Pending>,
    /// What goes on record in the place of `state`, while that is judged by a key that somebody asked about (the site
    /// is owed no key for that), or shows a push that waits for the end of a look (nothing has come of that yet).
    pub(super) on_record: Option<SiteState>,
    /// How often `state` was replaced by what was on record.
    pub(super) adopted: u32,
    /// How often something has happened to it.
    pub(super) changes: u32,
    /// The newest reading that was taken in.
    pub(super) read: u32,
    /// Its part in the waves of the run.
    pub(super) member: Option<Member>,
    /// Whether the store did not take what has happened last: what it knows is older.
    pub(super) unrecorded: bool,
    /// Why it was unknown what became of its last PUT, before the one that was ordered last.
    pub(super) was_unknown: Option<Cause>,
    /// When it was not asked last, since others refuse its master key, as far as that was known when it was ordered.
    not_asked_at: Option<Moment>,
    /// When a worker did not know it last, as far as that was known when it was ordered.
    strange_at: Option<Moment>,
    /// Whether it was ordered anew, and that is not on record: a worker would take it for done with.
    pub(super) ordered_again: bool,
    /// How often in a row workers have given it back for that since it was ordered.
    pub(super) unasked: u32,
    /// How often in a row workers have given it back unsent, though they might have sent it.
    pub(super) unsent: u32,
    /// Set while a worker has it: nothing is ordered or recorded of it here.
    handed: Option<Handed>,
    /// The chunk of another process's run that it is in, for a worker.
    pub(super) chunk: Option<Part>,
}

impl Slot {
    /// Of which this is known.
    pub(super) fn of(state: SiteState) -> Self {
        Self {
            state,
            background: false,
            gets: 0,
            pending: None,
            on_record: None,
            adopted: 0,
            changes: 0,
            read: 0,
            member: None,
            unrecorded: false,
            was_unknown: None,
            not_asked_at: None,
            strange_at: None,
            ordered_again: false,
            unasked: 0,
            unsent: 0,
            handed: None,
            chunk: None,
        }
    }

    /// What a worker has of it.
    pub(super) fn handed(&self) -> Option<Handed> {
        self.handed
    }

    /// A worker gets it, or none has it any more: `out` counts that. Returns what one had before.
    pub(super) fn set_handed(&mut self, handed: Option<Handed>, out: &mut Out) -> Option<Handed> {
        out.changes(self.handed, handed);
        std::mem::replace(&mut self.handed, handed)
    }

    /// The run of another process that it is in a chunk of, for a worker.
    pub(super) fn run_of_chunk(&self) -> Option<RunId> {
        self.chunk.map(|part| part.chunk.run)
    }

    /// It is ordered anew: that it was not asked before is no news any more.
    pub(super) fn forgets_not_asked(&mut self) {
        self.not_asked_at = self.state.at.filter(|_| self.state.is_not_asked());
        (self.unasked, self.unsent) = (0, 0);
        self.strange_at = self.state.at.filter(|_| is_strange(&self.state));
    }

    /// Whether `newest`, which is on record of it, tells that a worker of `run` does not know it, since it was ordered.
    pub(super) fn is_strange_to_worker(&self, run: RunId, newest: &SiteState) -> bool {
        let wall = |at: Option<Moment>| at.map(|at| at.wall);
        is_strange(newest) && newest.run == Some(run) && wall(newest.at) != wall(self.strange_at)
    }

    /// Whether its worker has told that it gave up its PUT, of which nobody knows what became: looks decide.
    pub(super) fn has_ended_unknown(&self, run: RunId) -> bool {
        self.state.run == Some(run) && matches!(self.state.push, Push::Unknown(_))
    }

    /// Whether `newest`, which is on record of it, tells that somebody has not asked it in `run` since it was ordered.
    pub(super) fn was_not_asked(&mut self, run: RunId, newest: &SiteState) -> bool {
        let at = newest.at.filter(|_| newest.is_not_asked());
        let before = std::mem::replace(&mut self.not_asked_at, at);
        // The same moment may be told in several ways, but for the wall clock.
        let wall = |at: Option<Moment>| at.map(|at| at.wall);
        let is_so = at.is_some() && newest.run == Some(run) && wall(at) != wall(before);
        self.unasked += u32::from(is_so);
        is_so
    }

    /// What goes on record.
    pub(super) fn to_record(&self) -> &SiteState {
        self.on_record.as_ref().unwrap_or(&self.state)
    }
}

/// Whether a worker did not know it: what was not sent may tell of the run before.
fn is_strange(state: &SiteState) -> bool {
    state.problem == Some(Problem::UnknownToWorker) && state.push != Push::NotStarted
}

/// Why it is unknown what became of a PUT, if it is.
pub(super) fn unknown_of(push: Push) -> Option<Cause> {
    match push {
        Push::Unknown(cause) => Some(cause),
        _ => None,
    }
}

/// What waits for the end of a look.
pub(super) enum Pending {
    /// A push.
    Push(PublishableKey, Allow),
    /// What a process that is gone has left over; what PUSH is until then.
    Rest(Push),
}

/// What becomes of what an engine still waits for when it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// What is out is waited for; the rest is the next process's.
    Leaves,
    /// The operator stopped it: nobody looks at the rest.
    Abandons,
    /// As left, but looks that are out are not waited for.
    GivesUp,
}
