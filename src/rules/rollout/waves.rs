use super::{Pause, Rollout};
use crate::rules::run::Halt;
use crate::rules::state::SiteState;
use crate::rules::status::{Push, Verify};
use crate::site::SiteId;

/// Where a site of a wave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Its key is to come, or is not seen to be served yet.
    Open,
    /// It serves its key, as far as one look can tell.
    Serves,
    /// It ended without its key, and that is no failure: left out, cancelled, taken over.
    Left,
    /// The PUT failed, or nobody knows what became of it.
    PutFailed,
    /// Stored, and what it serves is something else, or is not to be seen.
    LookFailed,
}

impl Stand {
    fn has_ended_without(self) -> bool {
        !matches!(self, Self::Open | Self::Serves)
    }

    fn of(state: &SiteState) -> Self {
        match (state.push, state.verify) {
            _ if state.is_to_send() => Self::Open,
            _ if state.is_not_asked() => Self::Left,
            // What is held back may serve what was expected before.
            (Push::Idle | Push::Skipped(_) | Push::Cancelled | Push::NotStarted, _)
            | (_, Verify::Superseded) => Self::Left,
            (_, Verify::Serving | Verify::Verified) => Self::Serves,
            // Another look does not take back that it failed.
            (Push::Failed(_), _) => Self::PutFailed,
            _ if state.is_busy() => Self::Open,
            (Push::Unknown(_), _) => Self::PutFailed,
            _ => Self::LookFailed,
        }
    }
}

/// Which failures of a site say something of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// Each: it answered and was seen at its last look, or was never looked at.
    All,
    /// That of its PUT: it answered, and what it serves could not be seen before either.
    Put,
    /// None: it did not answer before the run, or is known to be bad.
    None,
}

impl Counts {
    /// Of a site, before the run orders anything of it.
    pub fn of(state: &SiteState, is_known_bad: bool) -> Self {
        match (state.is_unanswered(), state.http) {
            _ if is_known_bad => Self::None,
            (false, _) => Self::All,
            (true, Some(_)) => Self::Put,
            (true, None) => Self::None,
        }
    }
}

/// A site's part in the waves of a run.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its wave, from 0.
    pub wave: usize,
    counts: Counts,
    stand: Option<Stand>,
    /// Whether somebody has said behind its failure that the run goes on.
    forgiven: bool,
}

impl Member {
    fn has_failed(self) -> bool {
        let counts = match self.stand {
            Some(Stand::PutFailed) => self.counts != Counts::None,
            Some(Stand::LookFailed) => self.counts == Counts::All,
            _ => false,
        };
        counts && !self.forgiven
    }
}

/// A wave.
#[derive(Debug, Clone, Default)]
struct Wave {
    sites: usize,
    /// Whose key is to come, or to be seen.
    open: usize,
    /// That count as failed.
    failed: usize,
    /// Sites that ended without being seen to serve their key, for whatever reason.
    not_serving: usize,
    /// The last one of them.
    last: Option<SiteId>,
}

/// What a run does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing new.
    None,
    /// This wave (from 0) begins.
    Begin(usize),
    /// It holds, for this reason.
    Hold(Halt),
}

/// How far the waves of a run have come. Kept up to date site by site, so that it costs the same for three sites and
/// for a hundred thousand.
#[derive(Debug, Clone)]
pub struct Waves {
    rollout: Rollout,
    /// The newest wave that may send.
    current: usize,
    all: Vec<Wave>,
    /// Whether somebody said that the wave behind the current one may begin, whatever became of this one.
    goes_on: bool,
}

impl Waves {
    /// Of a run that begins: no site is in it yet.
    pub fn new(rollout: Rollout) -> Self {
        Self {
            rollout,
            current: 0,
            all: vec![Wave::default(); rollout.waves.max(1)],
            goes_on: false,
        }
    }

    /// A site is in this wave, or in the last one if there is no such.
    pub fn join(&mut self, wave: usize, counts: Counts) -> Member {
        let wave = wave.min(self.all.len() - 1);
        self.all[wave].sites += 1;
        Member {
            wave,
            counts,
            stand: None,
            forgiven: false,
        }
    }

    /// Whether the canary is all that may send.
    pub fn is_canary_out(&self) -> bool {
        self.rollout.canary && self.current == 0
    }

    /// Whether no site of the canary has ended without the key.
    pub fn is_canary_well(&self) -> bool {
        self.all[0].not_serving == 0
    }

    /// Whether the sites of this wave may send.
    pub fn may_send(&self, wave: usize) -> bool {
        wave <= self.current
    }

    /// A site changed.
    pub fn changed(&mut self, site: SiteId, member: &mut Member, after: &SiteState) {
        let stand = Stand::of(after);
        if member.stand == Some(stand) {
            return;
        }
        let before = *member;
        member.stand = Some(stand);
        // A failure that was mended may come back, and is a new one then.
        member.forgiven &= !after.is_to_send();
        self.count(before, *member);
        if stand.has_ended_without() {
            self.all[member.wave].last = Some(site);
        }
    }

    fn count(&mut self, before: Member, after: Member) {
        let wave = &mut self.all[after.wave];
        let step = |count: &mut usize, is_one: &dyn Fn(Member) -> bool| {
            *count = *count + usize::from(is_one(after)) - usize::from(is_one(before));
        };
        step(&mut wave.open, &|member| member.stand == Some(Stand::Open));
        step(&mut wave.failed, &|member| member.has_failed());
        step(&mut wave.not_serving, &|member| {
            member.stand.is_some_and(Stand::has_ended_without)
        });
    }

    /// Other failures of the site count by now.
    pub fn recount(&mut self, member: &mut Member, counts: Counts) {
        let before = *member;
        member.counts = counts;
        self.count(before, *member);
    }

    /// Somebody says of this site's failure that the run goes on.
    pub fn forgive(&mut self, member: &mut Member) {
        let before = *member;
        member.forgiven |= member.has_failed();
        self.count(before, *member);
    }

    /// The site of the newest wave that ended last without its key.
    pub fn last_without(&self) -> Option<SiteId> {
        self.all.get(self.current)?.last
    }

    /// Somebody says that the run goes on, which held for this reason. [`Waves::forgive`] says so of each failure.
    pub fn go_on(&mut self, halt: Halt) {
        self.goes_on |= matches!(halt, Halt::Canary | Halt::NextWave { .. });
    }

    /// What somebody said of the wave to come does not hold any more.
    pub fn cancel(&mut self) {
        self.goes_on = false;
    }

    /// What the run does now.
    pub fn step(&mut self) -> Step {
        let wave = &self.all[self.current];
        let is_last = self.current + 1 >= self.all.len();
        if self.is_canary_out() && !is_last && wave.not_serving > 0 && !self.goes_on {
            return Step::Hold(Halt::Canary);
        }
        for (number, wave) in self.all.iter().enumerate().take(self.current + 1) {
            let of_canary = self.rollout.canary && number == 0;
            if !of_canary && self.rollout.stop_after.halts(wave.failed, wave.sites) {
                return Step::Hold(Halt::StopAfter {
                    failed: wave.failed,
                    of: wave.sites,
                });
            }
        }
        if is_last || wave.open > 0 {
            return Step::None;
        }
        let next = self.current + 1;
        if self.rollout.pause == Pause::Ask && !self.goes_on {
            return Step::Hold(Halt::NextWave {
                wave: next,
                of: self.all.len(),
            });
        }
        self.goes_on = false;
        self.current = next;
        Step::Begin(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::status::SkipReason;

    fn state(push: Push, verify: Verify) -> SiteState {
        let mut state = SiteState::default();
        (state.push, state.verify) = (push, verify);
        state
    }

    #[test]
    fn a_canary_that_is_held_back_serves_nothing_whatever_it_is_verified_to_serve() {
        let mut waves = Waves::new(Rollout {
            canary: true,
            waves: 2,
            ..Rollout::default()
        });
        let mut canary = waves.join(0, Counts::All);
        waves.join(1, Counts::All);
        waves.changed(SiteId(0), &mut canary, &state(Push::Queued, Verify::Unchecked));
        assert_eq!(waves.step(), Step::None);
        let held_back = state(Push::Skipped(SkipReason::OtherMode), Verify::Verified);
        waves.changed(SiteId(0), &mut canary, &held_back);
        assert_eq!(waves.step(), Step::Hold(Halt::Canary));
        waves.changed(SiteId(0), &mut canary, &state(Push::Stored, Verify::Serving));
        assert_eq!(waves.step(), Step::Begin(1));
    }
}
