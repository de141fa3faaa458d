use std::collections::BTreeMap;

use super::Model;
use crate::engine::RunInfo;
use crate::key::PublishableKey;
use crate::rules::expiry::{Evidence, Expiry};
use crate::rules::moment::Moment;
use crate::rules::run::RunId;
use crate::rules::state::SiteState;
use crate::rules::status::{Push, Verify};
use crate::store::RunRecord;

/// What each frame tells of all sites, kept up to date site by site: a frame of a hundred thousand sites asks none
/// of them.
#[derive(Debug, Default)]
pub(in crate::tui) struct Figures {
    run: Option<RunId>,
    /// Sites of the run that had their turn.
    done: usize,
    /// When proofs are due, and how many.
    proofs: BTreeMap<Moment, usize>,
    /// Whether the keys that the run replaces may expire.
    evidence: Option<Evidence>,
}

impl Figures {
    /// Of all sites, for a run and its key if there is one.
    pub(in crate::tui) fn of(run: Option<(RunId, &PublishableKey)>, states: &[SiteState]) -> Self {
        let mut figures = Self {
            run: run.map(|(id, _)| id),
            evidence: run.map(|(_, key)| Evidence::new(key.clone())),
            ..Self::default()
        };
        for (place, state) in states.iter().enumerate() {
            figures.count(state, true);
            if let Some(evidence) = &mut figures.evidence {
                evidence.add(place, state);
            }
        }
        figures
    }

    /// Whether they are of this run.
    pub(in crate::tui) fn are_of(&self, run: Option<(RunId, &PublishableKey)>) -> bool {
        self.run.zip(self.evidence.as_ref().map(Evidence::key)) == run
    }

    /// Takes in `new` for `old`, of the site at `place` in the list.
    pub(in crate::tui) fn replace(&mut self, place: usize, old: &SiteState, new: &SiteState) {
        self.count(old, false);
        self.count(new, true);
        if let Some(evidence) = &mut self.evidence {
            evidence.replace(place, old, new);
        }
    }

    fn count(&mut self, state: &SiteState, more: bool) {
        let of_run = state.in_run || (self.run.is_some() && state.run == self.run);
        let had_turn = !state.push.is_open() && !matches!(state.push, Push::Cancelled | Push::NotStarted);
        if of_run && had_turn {
            self.done = self.done + usize::from(more) - usize::from(!more);
        }
        let due = state
            .settle_end()
            .filter(|_| matches!(state.verify, Verify::Serving | Verify::Settling));
        let Some(due) = due else { return };
        let proofs = self.proofs.entry(due).or_default();
        *proofs = *proofs + usize::from(more) - usize::from(!more);
        if *proofs == 0 {
            self.proofs.remove(&due);
        }
    }

    /// Sites of the run that had their turn.
    pub(in crate::tui) fn done(&self) -> usize {
        self.done
    }

    /// When the last proof is due, if any is.
    pub(in crate::tui) fn proof_at(&self) -> Option<Moment> {
        self.proofs.keys().next_back().copied()
    }

    /// Whether the keys that the run replaces may expire; none without a run.
    pub(in crate::tui) fn expiry(&self, now: Moment) -> Option<Expiry> {
        self.evidence.as_ref().map(|evidence| evidence.expiry(now))
    }
}

impl Model {
    /// Another run is shown, or another state of it; none where none goes on.
    pub(in crate::tui) fn set_run(&mut self, run: Option<RunInfo>) {
        self.run = run;
        self.figure();
    }

    /// Runs that a process before has left are other ones now, newest last.
    pub(in crate::tui) fn set_left(&mut self, left: Vec<RunRecord>) {
        self.left = left;
        self.figure();
    }

    /// A run that was left is taken up, or closed.
    pub(in crate::tui) fn forget_left(&mut self, run: RunId) {
        self.left.retain(|left| left.id != run);
        self.figure();
    }

    /// The old keys are those of the run that is shown, else of the one that was left: that one replaced them too.
    fn figure(&mut self) {
        let shown = self.run.as_ref().map(|run| (run.id, &run.key));
        let of = shown.or_else(|| self.left.last().map(|run| (run.id, &run.key)));
        if !self.figures.are_of(of) {
            self.figures = Figures::of(of, &self.states);
        }
    }
}
