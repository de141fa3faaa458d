use std::ops::{Add, Sub};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A point in time. `since_start` alone compares, orders and waits (it never jumps); `wall` is for people.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Monotonic time since the process began.
    pub since_start: Duration,
    /// The wall clock at that point.
    pub wall: Timestamp,
}

impl Moment {
    /// The time from `earlier` to this, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.since_start.saturating_sub(earlier.since_start)
    }
}

/// The time of day of `moment`, with the date when it is another day than `now`.
pub fn clock(moment: Moment, now: Moment, zone: &TimeZone) -> String {
    let [then, now] = [moment, now].map(|moment| moment.wall.to_zoned_datetime(zone.clone()));
    let format = if then.date() == now.date() {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M"
    };
    then.strftime(format).to_string()
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let signed = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        Self {
            since_start: self.since_start.saturating_add(duration),
            wall: self.wall.saturating_add(signed).unwrap_or(Timestamp::MAX),
        }
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let signed = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        Self {
            since_start: self.since_start.saturating_sub(duration),
            wall: self.wall.saturating_sub(signed).unwrap_or(Timestamp::MIN),
        }
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.since_start == other.since_start
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.since_start.cmp(&other.since_start)
    }
}
