use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// A moment by two clocks: the one that wakes who waits, and one that goes on while the machine is suspended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began {
    at: Instant,
    since_boot: Duration,
}

fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

impl Began {
    pub(super) fn now() -> Self {
        Self {
            at: Instant::now(),
            since_boot: since_boot(),
        }
    }

    /// As if the machine had been suspended since then for so long.
    #[cfg(test)]
    pub(super) fn before_a_sleep_of(self, sleep: Duration) -> Self {
        Self {
            since_boot: self.since_boot.saturating_sub(sleep),
            ..self
        }
    }
}

/// Until when a request may be out. Who counts on that may be another machine, which sends one itself behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    began: Began,
    lasts: Duration,
}

impl Limit {
    pub(super) fn of(lasts: Duration) -> Self {
        Self::since(Began::now(), lasts)
    }

    pub(super) fn since(began: Began, lasts: Duration) -> Self {
        Self { began, lasts }
    }

    /// Until when an answer is waited for.
    pub(super) fn until(&self) -> Instant {
        self.began.at + self.lasts
    }

    /// Whether nothing may be sent any more. Where a process was frozen, or its machine suspended, what it waited for is
    /// there before anything has told that its time is over.
    pub(super) fn is_over(&self) -> bool {
        let now = Began::now();
        let slept = now.since_boot.saturating_sub(self.began.since_boot);
        now.at >= self.until() || slept >= self.lasts
    }
}
