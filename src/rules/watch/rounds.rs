use std::time::Duration;

use crate::rules::moment::Moment;
use crate::rules::state::SiteState;
use crate::rules::status::Verify;
use crate::site::SiteId;

/// Looks at all watched sites, each interval from the beginning of the last on.
///
/// Before and behind each of them what is on record is read: another process may have pushed a key that would be taken
/// for somebody else's.
#[derive(Debug)]
pub struct Rounds {
    interval: Duration,
    next: Moment,
    step: Step,
    /// When what is on record was ordered to be read last.
    ordered: Option<Moment>,
    /// When what became known since the last round is to be judged, if anything did.
    again: Option<Moment>,
    /// When the newest one began.
    begun: Option<Moment>,
    /// By site: whether its look is waited for.
    awaited: Vec<bool>,
    left: usize,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The time of the next look.
    Rests,
    /// That what is on record is read.
    ReadsBefore,
    /// The looks.
    Looks,
    /// That what is on record is read once more.
    ReadsBehind,
    /// The same, for what became known between two rounds.
    ReadsBetween,
}

/// What becomes known between two rounds is judged together, so long after the first of it: Stripe's word on one key is
/// one on all sites that serve it.
const TOGETHER: Duration = Duration::from_secs(1);

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Nothing, until something happens or [`Rounds::due`].
    Nothing,
    /// What is on record is to be read; [`Rounds::read`] takes that it was.
    Read,
    /// The watched sites are to be looked at; [`Rounds::take`] takes what becomes of each.
    Look,
    /// All have answered, or are not waited for any longer: what is new is to be told.
    Judge,
    /// Something became known since all had answered: what is new is to be told.
    JudgeAgain,
}

impl Rounds {
    /// The first one is due at `first`.
    pub fn new(interval: Duration, first: Moment) -> Self {
        Self {
            interval,
            next: first,
            step: Step::Rests,
            ordered: None,
            again: None,
            begun: None,
            awaited: Vec::new(),
            left: 0,
        }
    }

    /// When the next one begins.
    pub fn next(&self) -> Moment {
        self.next
    }

    /// When the newest one began.
    pub fn begun(&self) -> Option<Moment> {
        self.begun
    }

    /// When [`Rounds::tick`] is to be asked, if time is what is waited for. A round that is still out by then is over:
    /// a site that never answers holds up nothing.
    pub fn due(&self) -> Option<Moment> {
        match self.step {
            Step::Rests => Some(self.again.map_or(self.next, |again| again.min(self.next))),
            Step::Looks => Some(self.next),
            Step::ReadsBefore | Step::ReadsBehind | Step::ReadsBetween => None,
        }
    }

    /// It is time.
    pub fn tick(&mut self, now: Moment) -> Todo {
        let is_between = self.again.take().is_some() && now < self.next;
        self.step = match self.step {
            Step::Looks => Step::ReadsBehind,
            _ if is_between => Step::ReadsBetween,
            _ => Step::ReadsBefore,
        };
        self.ordered = Some(now);
        Todo::Read
    }

    /// Something became known of a site by itself: a round that goes on will tell of it, and else it is not kept for the
    /// next one.
    pub fn became_known(&mut self, now: Moment) {
        if self.step == Step::Rests {
            self.again.get_or_insert(now + TOGETHER);
        }
    }

    /// What was on record at `since` was read: these of `sites` sites are watched. A reading that began before it was
    /// ordered is not the one that is waited for.
    pub fn read(&mut self, watched: &[SiteId], sites: usize, since: Moment, now: Moment) -> Todo {
        if self.ordered.is_none_or(|ordered| since < ordered) {
            return Todo::Nothing;
        }
        match self.step {
            Step::ReadsBefore => {
                self.begin(watched, sites, now);
                Todo::Look
            }
            Step::ReadsBehind => {
                self.step = Step::Rests;
                Todo::Judge
            }
            Step::ReadsBetween => {
                self.step = Step::Rests;
                Todo::JudgeAgain
            }
            Step::Rests | Step::Looks => Todo::Nothing,
        }
    }

    fn begin(&mut self, watched: &[SiteId], sites: usize, now: Moment) {
        self.step = Step::Looks;
        // What could not keep step (a suspended machine) is not made up for.
        self.next = (self.next + self.interval).max(now + self.interval / 2);
        self.begun = Some(now);
        self.awaited = vec![false; sites];
        for id in watched {
            self.awaited[id.index()] = true;
        }
        self.left = watched.len();
    }

    /// What became of a site.
    pub fn take(&mut self, site: SiteId, state: &SiteState, now: Moment) -> Todo {
        // What a run does there may take as long as it likes.
        let is_out = matches!(state.verify, Verify::Queued | Verify::Checking) && !state.push.is_open();
        if self.step != Step::Looks || is_out {
            return Todo::Nothing;
        }
        let awaited = self.awaited.get_mut(site.index()).is_some_and(std::mem::take);
        self.left -= usize::from(awaited);
        if awaited && self.left == 0 {
            self.tick(now)
        } else {
            Todo::Nothing
        }
    }
}
