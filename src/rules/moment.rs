use std::ops::{Add, Sub};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Moments count from so long before the machine's start: room for what an earlier start of it wrote down.
pub const ORIGIN: Duration = Duration::from_hours(100 * 365 * 24);

/// A point in time. `since_start` alone compares, orders and waits (it never jumps); `wall` is for people.
///
/// All processes of one machine count from the same start, so that a moment means the same in each of them.
/// Behind another start of the machine [`Moment::after_restart`] translates it.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
#[serde(from = "(u64, i64)", into = "(u64, i64)")]
pub struct Moment {
    /// Monotonic time since [`ORIGIN`] before the machine's start (in tests: since they began).
    pub since_start: Duration,
    /// The wall clock at that point.
    pub wall: Timestamp,
}

impl Moment {
    /// What this moment, written down before the machine started anew, is now. Only the wall clock spans a
    /// restart, and it may have been set since: what seems to come from the future is taken for now.
    #[must_use]
    pub fn after_restart(self, now: Self) -> Self {
        let age = Duration::try_from(now.wall.duration_since(self.wall)).unwrap_or_default();
        let since_start = now.since_start.saturating_sub(age);
        Self {
            since_start,
            wall: self.wall.min(now.wall),
        }
    }

    /// The time from `earlier` to this, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.since_start.saturating_sub(earlier.since_start)
    }
}

impl From<(u64, i64)> for Moment {
    fn from((nanoseconds, milliseconds): (u64, i64)) -> Self {
        Self {
            since_start: Duration::from_nanos(nanoseconds),
            wall: Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }
}

impl From<Moment> for (u64, i64) {
    fn from(moment: Moment) -> Self {
        let nanoseconds = u64::try_from(moment.since_start.as_nanos()).unwrap_or(u64::MAX);
        (nanoseconds, moment.wall.as_millisecond())
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
