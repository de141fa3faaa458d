use std::collections::VecDeque;
use std::time::Duration;

use crate::rules::moment::Moment;

/// The pace is that of the last so many seconds: what went before them says little of what is left.
const WINDOW: u64 = 10;

/// How fast a run gets on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::tui) struct Pace {
    /// Since when it is counted.
    since: Option<Moment>,
    /// Seconds since then in which sites were done, with how many.
    done: VecDeque<(u64, u32)>,
}

impl Pace {
    /// A run begins, or goes on.
    pub(in crate::tui) fn begin(&mut self, now: Moment) {
        self.since = Some(now);
        self.done.clear();
    }

    /// A site was done.
    pub(in crate::tui) fn one_done(&mut self, now: Moment) {
        let second = self.second(now);
        match self.done.back_mut() {
            Some((last, count)) if *last == second => *count = count.saturating_add(1),
            _ => self.done.push_back((second, 1)),
        }
        while self.done.front().is_some_and(|(old, _)| old + WINDOW < second) {
            self.done.pop_front();
        }
    }

    /// Sites a minute, of late. None in the first second, and while nothing was done of late.
    pub(in crate::tui) fn a_minute(&self, now: Moment) -> Option<u64> {
        let counted = now.since(self.since?).as_millis();
        let window = u64::try_from(counted).unwrap_or(u64::MAX).min(WINDOW * 1000);
        let second = self.second(now);
        let done = self.done.iter().filter(|(at, _)| at + WINDOW > second);
        let done: u64 = done.map(|(_, count)| u64::from(*count)).sum();
        if window < 1000 {
            return None;
        }
        Some(done * 60_000 / window).filter(|rate| *rate > 0)
    }

    /// When `left` more sites are done at this pace. Coarser the later it is, or it would change all the time.
    pub(in crate::tui) fn finish(&self, left: usize, now: Moment) -> Option<Moment> {
        let rate = self.a_minute(now)?;
        let seconds = (left as u64).saturating_mul(60).div_ceil(rate);
        let step = match seconds {
            0 => return None,
            1..30 => 1,
            30..300 => 10,
            300.. => 60,
        };
        let wait = Duration::from_secs(seconds);
        let late = u64::try_from((now + wait).wall.as_second()).unwrap_or_default() % step;
        let rest = if late == 0 { 0 } else { step - late };
        Some(now + wait + Duration::from_secs(rest))
    }

    fn second(&self, now: Moment) -> u64 {
        self.since.map_or(0, |since| now.since(since).as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment {
            since_start: Duration::ZERO,
            wall: jiff::Timestamp::from_second(1_772_373_600).unwrap_or_default(),
        } + Duration::from_millis(milliseconds)
    }

    fn steady(a_second: u64, seconds: u64) -> Pace {
        let mut pace = Pace::default();
        pace.begin(at(0));
        for number in 0..a_second * seconds {
            pace.one_done(at(number * 1000 / a_second));
        }
        pace
    }

    #[test]
    fn a_steady_pace_is_told_as_it_is() {
        assert_eq!(steady(20, 5).a_minute(at(5000)), Some(1200));
        assert_eq!(steady(20, 60).a_minute(at(59_999)), Some(1200));
        assert_eq!(Pace::default().a_minute(at(5000)), None);
    }

    #[test]
    fn only_the_last_seconds_count() {
        let mut pace = steady(100, 10);
        for second in 10..30 {
            pace.one_done(at(second * 1000));
        }
        assert_eq!(pace.a_minute(at(29_500)), Some(60));
        assert_eq!(pace.a_minute(at(60_000)), None, "nothing was done of late");
        assert!(pace.done.len() <= 12);
    }

    #[test]
    fn the_end_is_a_time_that_is_coarser_the_farther_it_is() {
        let pace = steady(10, 10);
        let finish = |left| {
            pace.finish(left, at(9999))
                .map(|end| end.wall.as_second() - 1_772_373_600)
        };
        assert_eq!(finish(0), None);
        assert_eq!(finish(100), Some(19));
        assert_eq!(finish(1000), Some(110));
        assert_eq!(finish(100_000), Some(10_020));
    }

    #[test]
    fn a_pause_is_no_slow_pace() {
        let mut pace = steady(10, 10);
        pace.begin(at(600_000));
        assert_eq!(pace.a_minute(at(600_500)), None);
        for number in 0..20 {
            pace.one_done(at(600_000 + number * 100));
        }
        assert_eq!(pace.a_minute(at(602_000)), Some(600));
    }
}
