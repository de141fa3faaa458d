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
    /// Failed, unknown, or it serves something else.
    Bad,
}

impl Stand {
    fn has_ended_without(self) -> bool {
        matches!(self, Self::Bad | Self::Left)
    }

    fn of(state: &SiteState) -> Self {
        match (state.push, state.verify) {
            _ if state.is_to_send() => Self::Open,
            (_, Verify::Serving | Verify::Verified) => Self::Serves,
            (_, Verify::Superseded)
            | (Push::Idle | Push::Skipped(_) | Push::Cancelled | Push::NotStarted, _) => Self::Left,
            _ if state.is_busy() => Self::Open,
            _ => Self::Bad,
        }
    }
}

/// A site's part in the waves of a run.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its wave, from 0.
    pub wave: usize,
    /// Whether its failure says something of the run.
    counts: bool,
    stand: Option<Stand>,
}

/// A wave.
#[derive(Debug, Clone, Default)]
struct Wave {
    sites: usize,
    /// Whose key is to come, or to be seen.
    open: usize,
    /// That count as failed.
    failed: usize,
    /// Of these, failures behind which somebody has said that the run goes on.
    forgiven: usize,
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

    /// A site is in this wave, or in the last one if there is no such. `counts`: whether its failure says something
    /// of the run.
    pub fn join(&mut self, wave: usize, counts: bool) -> Member {
        let wave = wave.min(self.all.len() - 1);
        self.all[wave].sites += 1;
        Member {
            wave,
            counts,
            stand: None,
        }
    }

    /// Whether the canary is all that may send.
    pub fn is_canary_out(&self) -> bool {
        self.rollout.canary && self.current == 0
    }

    /// Whether the sites of this wave may send.
    pub fn may_send(&self, wave: usize) -> bool {
        wave <= self.current
    }

    /// A site changed.
    pub fn changed(&mut self, site: SiteId, member: &mut Member, after: &SiteState) {
        let after = Some(Stand::of(after));
        let before = std::mem::replace(&mut member.stand, after);
        if before == after {
            return;
        }
        let counts = member.counts;
        let wave = &mut self.all[member.wave];
        let mut count = |which: fn(&mut Wave) -> &mut usize, is_one: &dyn Fn(Stand) -> bool| {
            let (less, more) = (before.is_some_and(is_one), after.is_some_and(is_one));
            let counted = which(wave);
            *counted = *counted + usize::from(more) - usize::from(less);
        };
        count(|wave| &mut wave.open, &|stand| stand == Stand::Open);
        count(|wave| &mut wave.failed, &|stand| stand == Stand::Bad && counts);
        count(|wave| &mut wave.not_serving, &Stand::has_ended_without);
        if after.is_some_and(Stand::has_ended_without) {
            wave.last = Some(site);
        }
        // A failure that was mended may come back, and is a new one then.
        wave.forgiven = wave.forgiven.min(wave.failed);
    }

    /// The site of the newest wave that ended last without its key.
    pub fn last_without(&self) -> Option<SiteId> {
        self.all.get(self.current)?.last
    }

    /// Somebody says that the run goes on, which held for this reason.
    pub fn go_on(&mut self, halt: Halt) {
        for wave in &mut self.all {
            wave.forgiven = wave.failed;
        }
        self.goes_on |= matches!(halt, Halt::Canary | Halt::NextWave { .. });
    }

    /// What the run does now.
    pub fn step(&mut self) -> Step {
        let is_canary = self.is_canary_out();
        let wave = &self.all[self.current];
        let is_last = self.current + 1 >= self.all.len();
        if is_canary && !is_last && wave.not_serving > 0 && !self.goes_on {
            return Step::Hold(Halt::Canary);
        }
        for (number, wave) in self.all.iter().enumerate().take(self.current + 1) {
            let of_canary = self.rollout.canary && number == 0;
            let fresh = wave.failed - wave.forgiven;
            if !of_canary && self.rollout.stop_after.halts(fresh, wave.sites) {
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
