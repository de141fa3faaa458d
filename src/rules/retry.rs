use std::time::Duration;

use super::moment::Moment;

/// The looks at a settling site come this long after the PUT, then every [`LOOK_EVERY`].
const FIRST_LOOKS: [Duration; 3] = [
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
/// The distance of the later looks.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How often and how long a site is asked. Defaults are design.md's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// PUTs a site gets in one operation at most, and GETs of a last look.
    pub attempts: u32,
    /// The base of the exponential backoff.
    pub backoff: Duration,
    /// The most that a backoff can be.
    pub backoff_max: Duration,
    /// A `Retry-After` beyond this ends the site's turn.
    pub retry_after_max: Duration,
    /// How long a site's other processes may answer the old key after a PUT.
    pub settle: Duration,
    /// The limit of a PUT, and of a GET that is no look before a PUT.
    pub timeout: Duration,
}

/// The limit of the look before a PUT is the smaller of this and `timeout`.
pub const LOOK_BEFORE_LIMIT: Duration = Duration::from_secs(10);
/// A look younger than this makes the one before a PUT unneeded, since a look can prolong an old key's
/// life in a site's cache (contract.md).
pub const LOOK_IS_FRESH: Duration = Duration::from_mins(5);

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 4,
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            retry_after_max: Duration::from_mins(5),
            settle: Duration::from_secs(330),
            timeout: Duration::from_secs(35),
        }
    }
}

/// What follows a failed request that may go again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After this time.
    After(Duration),
    /// Not at all: the attempts are used up.
    AttemptsUsed,
    /// Not at all: the site asks for a longer wait than `retry_after_max`.
    TooLong(Duration),
}

impl Policy {
    /// When the next of `attempts` goes, `made` being the number of requests so far (at least 1).
    ///
    /// The wait is the larger of `retry_after` and a random time up to the backoff ("full jitter"); `dice`
    /// in 0 … 1 is the randomness.
    pub fn retry(&self, made: u32, retry_after: Option<Duration>, dice: f64) -> Retry {
        let asked = retry_after.unwrap_or_default();
        if made >= self.attempts {
            return Retry::AttemptsUsed;
        }
        if asked > self.retry_after_max {
            return Retry::TooLong(asked);
        }
        let ceiling = self
            .backoff
            .saturating_mul(1 << made.saturating_sub(1).min(20))
            .min(self.backoff_max);
        Retry::After(asked.max(ceiling.mul_f64(dice.clamp(0.0, 1.0))))
    }

    /// When a settling site is looked at next: `put` is when the settle time began, `until` its end.
    pub fn next_settling_look(put: Moment, until: Moment, now: Moment) -> Moment {
        let passed = now.since(put);
        let offset = FIRST_LOOKS
            .into_iter()
            .find(|&offset| offset > passed)
            .unwrap_or_else(|| {
                let rounds = passed.as_millis() / LOOK_EVERY.as_millis() + 1;
                LOOK_EVERY.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
            });
        (put + offset).min(until)
    }

    /// The limit of the look before a PUT.
    pub fn look_before_limit(&self) -> Duration {
        self.timeout.min(LOOK_BEFORE_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Moment {
        Moment {
            since_start: Duration::ZERO,
            wall: Timestamp::UNIX_EPOCH,
        } + Duration::from_secs(seconds)
    }

    #[test]
    fn settling_looks_come_at_3_10_30_60_and_at_the_end() {
        let looks: Vec<u64> = std::iter::successors(Some(0), |&seconds| {
            (seconds < 330).then(|| {
                Policy::next_settling_look(at(0), at(330), at(seconds))
                    .since_start
                    .as_secs()
            })
        })
        .collect();
        assert_eq!(
            looks,
            [0, 3, 10, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 330]
        );
    }

    #[test]
    fn looks_behind_the_end_are_dropped() {
        assert_eq!(Policy::next_settling_look(at(0), at(8), at(3)), at(8));
    }

    #[test]
    fn a_retry_after_beyond_the_limit_ends_the_turn() {
        let policy = Policy::default();
        let year = Duration::from_hours(365 * 24);
        assert_eq!(policy.retry(1, Some(year), 0.5), Retry::TooLong(year));
        assert_eq!(policy.retry(4, None, 0.5), Retry::AttemptsUsed);
        assert_eq!(
            policy.retry(1, Some(Duration::from_secs(7)), 0.0),
            Retry::After(Duration::from_secs(7))
        );
    }

    proptest! {
        #[test]
        fn a_backoff_stays_in_its_bounds(made in 1u32..4, dice in 0.0f64..=1.0) {
            let policy = Policy::default();
            let Retry::After(wait) = policy.retry(made, None, dice) else { panic!("must go again") };
            prop_assert!(wait <= policy.backoff * 2u32.pow(made - 1));
            prop_assert!(wait <= policy.backoff_max);
        }
    }
}
