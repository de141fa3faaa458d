use std::time::Duration;

use crate::rules::moment::Moment;
use crate::rules::state::SiteState;
use crate::rules::status::Verify;
use crate::site::SiteId;

/// Looks at all watched sites, each interval from the beginning of the last on.
#[derive(Debug)]
pub struct Rounds {
    interval: Duration,
    next: Moment,
    /// When the newest one began.
    begun: Option<Moment>,
    /// By site: whether its look is waited for.
    awaited: Vec<bool>,
    left: usize,
}

impl Rounds {
    /// The first one is due at `first`.
    pub fn new(interval: Duration, first: Moment) -> Self {
        Self {
            interval,
            next: first,
            begun: None,
            awaited: Vec::new(),
            left: 0,
        }
    }

    /// When the next one begins. One that is still out then is over: a site that never answers holds up nothing.
    pub fn next(&self) -> Moment {
        self.next
    }

    /// Whether looks are waited for.
    pub fn is_out(&self) -> bool {
        self.left > 0
    }

    /// When the newest one began.
    pub fn begun(&self) -> Option<Moment> {
        self.begun
    }

    /// One begins: these of `sites` sites are looked at.
    pub fn begin(&mut self, watched: &[SiteId], sites: usize, now: Moment) {
        // What could not keep step (a suspended machine) is not made up for.
        self.next = (self.next + self.interval).max(now + self.interval / 2);
        self.begun = Some(now);
        self.awaited = vec![false; sites];
        for id in watched {
            self.awaited[id.index()] = true;
        }
        self.left = watched.len();
    }

    /// What became of a site; whether it was the last that is waited for.
    pub fn take(&mut self, site: SiteId, state: &SiteState) -> bool {
        // What a run does there may take as long as it likes.
        let is_out = matches!(state.verify, Verify::Queued | Verify::Checking) && !state.push.is_open();
        if is_out || self.left == 0 {
            return false;
        }
        let awaited = self.awaited.get_mut(site.index()).is_some_and(std::mem::take);
        self.left -= usize::from(awaited);
        awaited && self.left == 0
    }
}
