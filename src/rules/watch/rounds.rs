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
}

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
}

impl Rounds {
    /// The first one is due at `first`.
    pub fn new(interval: Duration, first: Moment) -> Self {
        Self {
            interval,
            next: first,
            step: Step::Rests,
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
        matches!(self.step, Step::Rests | Step::Looks).then_some(self.next)
    }

    /// It is time.
    pub fn tick(&mut self) -> Todo {
        self.step = if self.step == Step::Looks {
            Step::ReadsBehind
        } else {
            Step::ReadsBefore
        };
        Todo::Read
    }

    /// What is on record was read: these of `sites` sites are watched.
    pub fn read(&mut self, watched: &[SiteId], sites: usize, now: Moment) -> Todo {
        match self.step {
            Step::ReadsBefore => {
                self.begin(watched, sites, now);
                Todo::Look
            }
            Step::ReadsBehind => {
                self.step = Step::Rests;
                Todo::Judge
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
    pub fn take(&mut self, site: SiteId, state: &SiteState) -> Todo {
        // What a run does there may take as long as it likes.
        let is_out = matches!(state.verify, Verify::Queued | Verify::Checking) && !state.push.is_open();
        if self.step != Step::Looks || is_out {
            return Todo::Nothing;
        }
        let awaited = self.awaited.get_mut(site.index()).is_some_and(std::mem::take);
        self.left -= usize::from(awaited);
        if awaited && self.left == 0 {
            self.tick()
        } else {
            Todo::Nothing
        }
    }
}
