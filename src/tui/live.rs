use crate::engine::Attempt;
use crate::rules::moment::Moment;
use crate::rules::state::SiteState;
use crate::rules::status::{Push, Verify};
use crate::site::SiteId;
use crate::store::Request;

/// How long requests took.
mod latencies;
/// How fast a run gets on, and when it will be done.
mod pace;

pub(super) use latencies::{BARS, Latencies};
pub(super) use pace::Pace;

/// Failures that are kept: when the newest is mended, the one before it is shown.
const FAILURES: usize = 100;

/// What is counted while a run goes on, and stays to be read after it.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    pub(super) pace: Pace,
    puts: Latencies,
    looks: Latencies,
    /// The newest last, one a site.
    failures: Vec<Failure>,
    /// How many runs came to an end, or to a halt, before the operator's eyes.
    pub(super) ended: u64,
    /// How many notices of a watch came before the operator's eyes.
    pub(super) found: u64,
}

/// Something that failed on a site and is not mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) site: SiteId,
    pub(super) at: Moment,
    pub(super) text: String,
}

impl Live {
    /// Another run: what was counted for the one before is of no interest any more.
    pub(super) fn begin_run(&mut self, now: Moment) {
        (self.puts, self.looks) = <(Latencies, Latencies)>::default();
        self.failures.clear();
        self.pace.begin(now);
    }

    pub(super) fn take_attempt(&mut self, attempt: &Attempt) {
        let of_kind = match attempt.request {
            Request::Put => &mut self.puts,
            Request::Get => &mut self.looks,
        };
        of_kind.take(attempt.took, attempt.at);
    }

    /// What became of a site.
    pub(super) fn take_state(&mut self, site: SiteId, old: &SiteState, new: &SiteState, now: Moment) {
        let had_its_turn = !new.push.is_open() && !matches!(new.push, Push::Cancelled | Push::NotStarted);
        if old.push.is_open() && had_its_turn {
            self.pace.one_done(now);
        }
        if is_well(new) {
            self.failures.retain(|failure| failure.site != site);
        }
    }

    pub(super) fn take_failure(&mut self, failure: Failure) {
        self.failures.retain(|known| known.site != failure.site);
        if self.failures.len() == FAILURES {
            self.failures.remove(0);
        }
        self.failures.push(failure);
    }

    /// The newest failure of those that are not mended.
    pub(super) fn newest_failure(&self) -> Option<&Failure> {
        self.failures.last()
    }

    /// The requests that matter most: PUTs, or looks where there were none.
    pub(super) fn latencies(&self) -> Option<(Request, &Latencies)> {
        let kinds = [(Request::Put, &self.puts), (Request::Get, &self.looks)];
        kinds.into_iter().find(|(_, of_kind)| of_kind.count() > 0)
    }
}

/// Whether nothing is wrong with a site, as far as its last answer tells.
fn is_well(state: &SiteState) -> bool {
    let answers = matches!(
        state.verify,
        Verify::Seen | Verify::Serving | Verify::Settling | Verify::Verified | Verify::Superseded
    );
    let stored = matches!(state.push, Push::Idle | Push::Stored);
    answers && stored && state.problem.is_none() && !state.alarm
}
