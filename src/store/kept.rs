use super::Newest;
use super::left::{Basis, OpenPut};
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::state::{LeftRow, SiteState};

/// What a store has of one site: from it [`Kept::restore`] makes what is known of the site now.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// What was recorded last.
    pub state: Option<SiteState>,
    /// Set where that was before the machine's last start, so that only the wall clock tells its age: by this moment
    /// of now it does, which must be the same one at each reading.
    pub before_restart: Option<Moment>,
    /// Whether the run that had the site last is worked on by a process that lives.
    pub live: bool,
    /// A PUT with an intent and no outcome, of a run that no process works on, and which of the site's in that.
    pub open_put: Option<(LeftRow, u32)>,
    /// The newest unfinished run that no process works on, if a PUT of it is still to come here.
    pub not_reached: Option<LeftRow>,
}

impl Kept {
    /// The PUT that [`Kept::restore`] tells of as left open.
    fn doubt(&self) -> Option<OpenPut> {
        let open = self.open_put.as_ref().filter(|_| !self.live);
        open.map(|(row, number)| (row.run, *number))
    }

    /// What is known of the site now, where it has this version.
    pub(super) fn newest(self, version: i64, policy: &Policy, now: Moment) -> Newest {
        let told = self.doubt();
        Newest {
            state: self.restore(policy, now),
            basis: Basis { version, told },
        }
    }

    /// What is known of the site now.
    pub fn restore(self, policy: &Policy, now: Moment) -> SiteState {
        let mut state = self.state.unwrap_or_default();
        if let Some(since) = self.before_restart {
            state.after_restart(policy, since);
        }
        if self.live {
            state.is_elsewhere();
            return state;
        }
        state.orphaned(policy, now);
        if let Some((row, number)) = self.open_put {
            state.put_left_open(row, number, policy, now);
        } else if let Some(row) = self.not_reached {
            state.not_reached(row, now);
        }
        state
    }
}
