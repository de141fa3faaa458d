use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::RunId;
use super::left::times;
use crate::rules::moment::{Moment, ORIGIN};

/// A moment as it is kept, with the machine's start that it counts from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) moment: Moment,
    pub(super) boot: i64,
}

impl Kept {
    /// What it is in this start of the machine.
    pub(super) fn here(self, boot: i64) -> Moment {
        self.by(boot, now())
    }

    /// What it is in this start of the machine, of which `since` is a moment.
    pub(super) fn by(self, boot: i64, since: Moment) -> Moment {
        if self.boot == boot {
            self.moment
        } else {
            self.moment.after_restart(since)
        }
    }

    /// The time to `later` by the clock that nobody sets, and by how much the wall clock was set meanwhile.
    pub(super) fn until(self, later: Self) -> Option<(Duration, Option<SignedDuration>)> {
        if self.boot != later.boot {
            return None;
        }
        Some(times(self.moment, later.moment))
    }
}

/// A run's number as it is kept.
pub(super) fn number(run: RunId) -> i64 {
    run.0.cast_signed()
}

/// Nanoseconds of the clock that nobody sets.
pub(super) fn ns(moment: Moment) -> i64 {
    <(u64, i64)>::from(moment).0.cast_signed()
}

/// Milliseconds of the wall clock.
pub(super) fn wall(moment: Moment) -> i64 {
    moment.wall.as_millisecond()
}

/// The wall clock's time as it is kept.
pub(super) fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}

/// How many rows are asked for.
pub(super) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Now, by the machine's clocks, as the moments of all its processes are.
pub(super) fn now() -> Moment {
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Moment {
        since_start: ORIGIN + Duration::try_from(monotonic).unwrap_or_default(),
        wall: Timestamp::now(),
    }
}

/// What the system calls this start of the machine. Where it does not tell, each looks the same.
pub(super) fn boot_id() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
}
