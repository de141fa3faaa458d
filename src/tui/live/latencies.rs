use std::time::Duration;

use crate::rules::moment::Moment;

/// The bars of the picture end at these, in milliseconds; the last one has all that took longer.
const BOUNDS: [u64; BARS - 1] = [10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];
/// How many bars the picture has.
pub(in crate::tui) const BARS: usize = 11;
/// Where the last bar's parts end: no request may take longer by default. What does counts as its last part.
const BEYOND: u64 = 35_000;
/// Each bar is counted in so many parts, so that "half of them within" is told more finely than the bars.
const PARTS: usize = 10;
/// So many slices of time at most; then each becomes twice as long.
pub(in crate::tui) const SLICES: usize = 24;
/// How long a slice is at first, in seconds.
const SLICE: u64 = 1;

/// How long requests of one kind took: in all, and over time. Of fixed size, whatever comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tui) struct Latencies {
    /// On the heap, as the slices are: the screen is moved about.
    parts: Vec<u32>,
    count: u32,
    longest: Duration,
    /// When the first answer came.
    since: Option<Moment>,
    /// The bars of each slice of time.
    slices: Vec<[u32; BARS]>,
    /// How long a slice is now, in seconds.
    slice: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            parts: vec![0; BARS * PARTS],
            count: 0,
            longest: Duration::ZERO,
            since: None,
            slices: vec![[0; BARS]; SLICES],
            slice: SLICE,
        }
    }
}

impl Latencies {
    /// An answer, or the end of the wait for one, came at `at` after `took`.
    pub(in crate::tui) fn take(&mut self, took: Duration, at: Moment) {
        let part = part_of(took);
        self.parts[part] = self.parts[part].saturating_add(1);
        self.count = self.count.saturating_add(1);
        self.longest = self.longest.max(took);
        let second = at.since(*self.since.get_or_insert(at)).as_secs();
        while second / self.slice >= SLICES as u64 {
            self.halve();
        }
        let place = usize::try_from(second / self.slice).unwrap_or(SLICES - 1);
        let bar = &mut self.slices[place][part / PARTS];
        *bar = bar.saturating_add(1);
    }

    /// Two slices become one, so that there is room for as long again.
    fn halve(&mut self) {
        let mut halved = vec![[0_u32; BARS]; SLICES];
        for (place, slice) in self.slices.iter().enumerate() {
            for (sum, count) in halved[place / 2].iter_mut().zip(slice) {
                *sum = sum.saturating_add(*count);
            }
        }
        self.slices = halved;
        self.slice *= 2;
    }

    /// How many there were.
    pub(in crate::tui) fn count(&self) -> u32 {
        self.count
    }

    /// The one that took longest.
    pub(in crate::tui) fn longest(&self) -> Duration {
        self.longest
    }

    /// When the first answer came.
    pub(in crate::tui) fn since(&self) -> Option<Moment> {
        self.since
    }

    /// How many there are in each bar.
    pub(in crate::tui) fn bars(&self) -> [u32; BARS] {
        let mut bars = [0_u32; BARS];
        for (bar, parts) in bars.iter_mut().zip(self.parts.chunks(PARTS)) {
            *bar = parts.iter().copied().fold(0, u32::saturating_add);
        }
        bars
    }

    /// `percent` of them took no longer than this; none without any.
    pub(in crate::tui) fn within(&self, percent: u64) -> Option<Duration> {
        let wanted = (u64::from(self.count) * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let part = self.parts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        })?;
        Some(end_of(part).min(self.longest))
    }

    /// The bar in which the middle one of each slice of time is, up to the last slice that has any; none where
    /// nothing came.
    pub(in crate::tui) fn over_time(&self) -> Vec<Option<usize>> {
        let mut middles: Vec<Option<usize>> = self.slices.iter().map(middle).collect();
        while middles.last() == Some(&None) {
            middles.pop();
        }
        middles
    }
}

/// The bar that holds the middle one.
fn middle(slice: &[u32; BARS]) -> Option<usize> {
    let all: u64 = slice.iter().map(|count| u64::from(*count)).sum();
    let mut seen = 0;
    slice.iter().position(|count| {
        seen += u64::from(*count);
        all > 0 && seen * 2 >= all
    })
}

/// Where a bar begins and ends, in milliseconds.
fn ends(bar: usize) -> (u64, u64) {
    let from = bar.checked_sub(1).map_or(0, |before| BOUNDS[before]);
    (from, BOUNDS.get(bar).copied().unwrap_or(BEYOND))
}

fn part_of(took: Duration) -> usize {
    // Rounded up: 10.2 ms are not within 10 ms.
    let milliseconds = u64::try_from(took.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    let bar = BOUNDS.iter().position(|bound| milliseconds <= *bound);
    let bar = bar.unwrap_or(BARS - 1);
    let (from, to) = ends(bar);
    let beyond = milliseconds.min(to).saturating_sub(from);
    let part = (beyond * PARTS as u64).div_ceil(to - from).saturating_sub(1);
    bar * PARTS + usize::try_from(part).unwrap_or(PARTS - 1)
}

/// How long what is in a part took at most. What the last part holds may have taken longer.
fn end_of(part: usize) -> Duration {
    if part + 1 == BARS * PARTS {
        return Duration::MAX;
    }
    let (from, to) = ends(part / PARTS);
    let part = part % PARTS + 1;
    Duration::from_micros(from * 1000 + (to - from) * 1000 * part as u64 / PARTS as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment {
            since_start: Duration::ZERO,
            wall: jiff::Timestamp::UNIX_EPOCH,
        } + Duration::from_secs(seconds)
    }

    fn of(milliseconds: &[u64]) -> Latencies {
        let mut latencies = Latencies::default();
        for (second, took) in (0..).zip(milliseconds) {
            latencies.take(Duration::from_millis(*took), at(second));
        }
        latencies
    }

    #[test]
    fn each_bar_has_what_took_as_long_as_its_bound_at_most() {
        let latencies = of(&[0, 10, 11, 25, 100, 101, 10_000, 10_001, 600_000]);
        assert_eq!(latencies.bars(), [2, 2, 0, 1, 1, 0, 0, 0, 0, 1, 2]);
        assert_eq!(latencies.longest(), Duration::from_mins(10));
    }

    #[test]
    fn nothing_is_told_of_nothing() {
        let none = Latencies::default();
        assert_eq!(
            (none.within(50), none.since(), none.over_time()),
            (None, None, Vec::new())
        );
    }

    #[test]
    fn the_middle_and_the_slow_ones_are_told() {
        let mut took = vec![84; 95];
        took.extend([2100; 5]);
        let latencies = of(&took);
        assert_eq!(latencies.within(50), Some(Duration::from_millis(85)));
        assert_eq!(latencies.within(95), Some(Duration::from_millis(85)));
        // One part of the bar that ends at 2.5 s.
        assert_eq!(latencies.within(96), Some(Duration::from_millis(2100)));
        assert_eq!(of(&[600_000]).within(50), Some(Duration::from_mins(10)));
    }

    #[test]
    fn time_goes_on_for_ever_in_the_same_room() {
        let mut latencies = of(&[5, 5]);
        assert_eq!(latencies.over_time(), [Some(0), Some(0)]);
        latencies.take(Duration::from_secs(3), at(23));
        assert_eq!(latencies.over_time().len(), 24);
        latencies.take(Duration::from_secs(3), at(24));
        // A slice is 2 s long now: the two quick ones share the first.
        let mut expected = vec![None; 13];
        (expected[0], expected[11], expected[12]) = (Some(0), Some(8), Some(8));
        assert_eq!(latencies.over_time(), expected);
        latencies.take(Duration::from_secs(3), at(400 * 24 * 3600));
        assert!(latencies.over_time().len() <= SLICES);
        assert_eq!(latencies.bars().iter().sum::<u32>(), 5);
    }

    proptest! {
        #[test]
        fn what_is_within_is_close_and_never_too_little(took in prop::collection::vec(0_u64..60_000, 1..200), percent in 1_u64..=100) {
            let latencies = of(&took);
            let mut sorted = took;
            sorted.sort_unstable();
            let rank = (sorted.len() * usize::try_from(percent).unwrap()).div_ceil(100);
            let exact = Duration::from_millis(sorted[rank - 1]);
            let told = latencies.within(percent).unwrap();
            prop_assert!(told >= exact, "{told:?} of {exact:?}");
            if exact < Duration::from_millis(BEYOND - 2500) {
                prop_assert!(told <= exact * 5 / 4 + Duration::from_millis(2), "{told:?} of {exact:?}");
            }
        }
    }
}
