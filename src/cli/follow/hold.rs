use std::time::Duration;

use tokio::time::Instant;

use crate::rules::run::RunPhase;

/// A held run of which the terminal is gone waits so long for another screen; then it is left as halted.
const GRACE: Duration = Duration::from_hours(1);

/// Where a run is that holds, as far as it is for this process to say what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// It goes on, or others say what becomes of it.
    No,
    /// It waits for the screen of another process, until then.
    Awaits(Instant),
    /// The operator is to be asked before the next wave.
    Asks,
    /// The rest of it is left over when what is out has ended.
    Leaves,
    /// What it had not sent was given up here.
    GivenUp,
}

impl Hold {
    /// Of a run that is held already: it waits for another screen; nothing more is told of it before one comes.
    pub(super) fn of(phase: Option<RunPhase>, attachable: bool, now: Instant) -> Self {
        if attachable && phase.is_some_and(RunPhase::is_held) {
            Self::awaits(now)
        } else {
            Self::No
        }
    }

    /// From now on it waits for another screen.
    pub(super) fn awaits(now: Instant) -> Self {
        Self::Awaits(now + GRACE)
    }

    /// Until when it waits for another screen.
    pub(super) fn until(self) -> Option<Instant> {
        match self {
            Self::Awaits(until) => Some(until),
            Self::No | Self::Asks | Self::Leaves | Self::GivenUp => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_held_before_its_screen_was_left_waits_an_hour() {
        let now = Instant::now();
        let waits = |phase, attachable| Hold::of(phase, attachable, now).until().map(|until| until - now);
        for held in [RunPhase::Paused, RunPhase::Halted] {
            assert_eq!(waits(Some(held), true), Some(GRACE));
            assert_eq!(waits(Some(held), false), None, "nobody can come");
        }
        assert_eq!(waits(Some(RunPhase::Sending), true), None);
        assert_eq!(waits(None, true), None);
    }
}
