use std::collections::{BTreeMap, BTreeSet};

use crate::rules::moment::Moment;
use crate::rules::outcome::{AuthVerdict, Problem};
use crate::rules::probation::{ENOUGH, PATIENCE};
use crate::site::{MasterKeyId, SiteId};

const REFUSED: &str = "other sites refused this master key: it goes to no more of them";

/// What the GET says for a site as the one on which a master key is tried, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suitability {
    /// It serves a key, so it has been set up: a wrong master key leaves no trace there.
    Serves,
    /// It has no key.
    Fresh,
    /// What it serves cannot be seen.
    Unseen,
}

/// What becomes of a site whose GET has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is given the master key.
    Ask(SiteId),
    /// It is not: why.
    Skip(SiteId, &'static str),
}

/// Each master key is tried on one site alone; only when that has accepted it, it goes to the others. One that hangs is
/// passed over.
#[derive(Debug, Clone, Default)]
pub struct Trials {
    keys: BTreeMap<MasterKeyId, Trial>,
}

#[derive(Debug, Clone, Default)]
struct Trial {
    /// Sites whose GET is still to come.
    to_come: usize,
    /// The best first.
    waiting: BTreeSet<(Suitability, SiteId)>,
    /// Those that are asked, and since when; none before that, while a site waits for its backend.
    out: BTreeMap<SiteId, Option<Moment>>,
    accepted: bool,
    refusals: usize,
}

impl Trials {
    /// Of sites that use these master keys.
    pub fn of(keys: impl Iterator<Item = MasterKeyId>) -> Self {
        let mut trials = Self::default();
        for key in keys {
            trials.keys.entry(key).or_default().to_come += 1;
        }
        trials
    }

    /// The GET of a site has ended; without a suitability it is out of question. What is to be done now.
    pub fn reached(
        &mut self,
        key: MasterKeyId,
        site: SiteId,
        suitability: Option<Suitability>,
        now: Moment,
    ) -> Vec<Turn> {
        let trial = self.keys.entry(key).or_default();
        trial.to_come = trial.to_come.saturating_sub(1);
        trial
            .waiting
            .extend(suitability.map(|suitability| (suitability, site)));
        trial.turns(now)
    }

    /// A site that is to be asked has its turn at its backend: it is asked now.
    pub fn begun(&mut self, key: MasterKeyId, site: SiteId, now: Moment) {
        let trial = self.keys.entry(key).or_default();
        trial.out.entry(site).and_modify(|since| *since = Some(now));
    }

    /// A site that was asked has answered. What is to be done now.
    pub fn answered(
        &mut self,
        key: MasterKeyId,
        site: SiteId,
        verdict: AuthVerdict,
        now: Moment,
    ) -> Vec<Turn> {
        let trial = self.keys.entry(key).or_default();
        trial.out.remove(&site);
        match verdict {
            AuthVerdict::Accepted => trial.accepted = true,
            AuthVerdict::Problem(Problem::RefusedKey) => trial.refusals += 1,
            // No proof of anything: the next one is the first.
            AuthVerdict::Problem(_) => {}
        }
        trial.turns(now)
    }

    /// What is to be done now, though nothing was answered.
    pub fn next(&mut self, now: Moment) -> Vec<Turn> {
        self.keys
            .values_mut()
            .flat_map(|trial| trial.turns(now))
            .collect()
    }

    /// When [`Trials::next`] has something more to tell, if no answer comes before.
    pub fn next_at(&self) -> Option<Moment> {
        self.keys.values().filter_map(Trial::next_at).min()
    }
}

impl Trial {
    fn turns(&mut self, now: Moment) -> Vec<Turn> {
        if self.accepted || self.refusals >= ENOUGH {
            let accepted = self.accepted;
            let turn = |(_, site)| {
                if accepted {
                    Turn::Ask(site)
                } else {
                    Turn::Skip(site, REFUSED)
                }
            };
            return std::mem::take(&mut self.waiting).into_iter().map(turn).collect();
        }
        let is_out = |since: &Option<Moment>| since.is_none_or(|since| now.since(since) < PATIENCE);
        if self.out.values().any(is_out) || !self.has_next() {
            return Vec::new();
        }
        let best = self.waiting.pop_first();
        self.out.extend(best.map(|(_, site)| (site, None)));
        best.map(|(_, site)| Turn::Ask(site)).into_iter().collect()
    }

    /// Whether one may be asked as soon as none is out.
    fn has_next(&self) -> bool {
        // A better one may still come: on a fresh site a wrong key leaves a trace.
        let may_go = |best: &(Suitability, SiteId)| best.0 == Suitability::Serves || self.to_come == 0;
        self.waiting.first().is_some_and(may_go)
    }

    /// When the last of those that are out is passed over, where that lets another one go.
    fn next_at(&self) -> Option<Moment> {
        let mut last = None;
        for since in self.out.values().filter(|_| self.has_next()) {
            last = last.max(Some((*since)? + PATIENCE));
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use std::time::Duration;

    const KEY: MasterKeyId = MasterKeyId(0);
    const REFUSES: AuthVerdict = AuthVerdict::Problem(Problem::RefusedKey);
    const HANGS: AuthVerdict = AuthVerdict::Problem(Problem::Timeout);

    fn at(seconds: u64) -> Moment {
        Moment {
            since_start: Duration::from_secs(seconds),
            wall: Timestamp::UNIX_EPOCH,
        }
    }

    fn trials(sites: usize) -> Trials {
        Trials::of(std::iter::repeat_n(KEY, sites))
    }

    #[test]
    fn the_others_wait_for_the_first_and_are_asked_when_it_accepts() {
        let mut trials = trials(3);
        let serves = Some(Suitability::Serves);
        assert_eq!(
            trials.reached(KEY, SiteId(0), serves, at(0)),
            [Turn::Ask(SiteId(0))]
        );
        assert_eq!(trials.reached(KEY, SiteId(1), serves, at(0)), []);
        assert_eq!(
            trials.answered(KEY, SiteId(0), AuthVerdict::Accepted, at(0)),
            [Turn::Ask(SiteId(1))]
        );
        assert_eq!(
            trials.reached(KEY, SiteId(2), serves, at(0)),
            [Turn::Ask(SiteId(2))]
        );
    }

    #[test]
    fn two_refusals_end_it_and_an_answer_that_proves_nothing_does_not() {
        let mut trials = trials(6);
        for site in 0..5 {
            let turns = trials.reached(KEY, SiteId(site), Some(Suitability::Serves), at(0));
            assert_eq!(turns.len(), usize::from(site == 0));
        }
        assert_eq!(
            trials.answered(KEY, SiteId(0), HANGS, at(0)),
            [Turn::Ask(SiteId(1))]
        );
        assert_eq!(
            trials.answered(KEY, SiteId(1), REFUSES, at(0)),
            [Turn::Ask(SiteId(2))]
        );
        let rest = trials.answered(KEY, SiteId(2), REFUSES, at(0));
        assert_eq!(rest, [3, 4].map(|site| Turn::Skip(SiteId(site), REFUSED)));
        let late = trials.reached(KEY, SiteId(5), Some(Suitability::Serves), at(0));
        assert_eq!(late, [Turn::Skip(SiteId(5), REFUSED)]);
    }

    #[test]
    fn a_fresh_site_is_the_first_only_where_there_is_no_other() {
        let mut trials = trials(3);
        assert_eq!(
            trials.reached(KEY, SiteId(0), Some(Suitability::Fresh), at(0)),
            []
        );
        assert_eq!(trials.reached(KEY, SiteId(1), None, at(0)), []);
        let mut none = trials.clone();
        assert_eq!(none.reached(KEY, SiteId(2), None, at(0)), [Turn::Ask(SiteId(0))]);
        let serves = Some(Suitability::Serves);
        assert_eq!(
            trials.reached(KEY, SiteId(2), serves, at(0)),
            [Turn::Ask(SiteId(2))]
        );
    }

    #[test]
    fn one_that_hangs_is_passed_over_after_two_seconds_and_counts_when_it_answers() {
        let mut trials = trials(100);
        for site in 0..100 {
            trials.reached(KEY, SiteId(site), Some(Suitability::Serves), at(0));
        }
        assert_eq!(trials.next_at(), None, "its backend has no room yet");
        trials.begun(KEY, SiteId(0), at(1));
        assert_eq!(trials.next_at(), Some(at(3)));
        assert_eq!(trials.next(at(2)), []);
        assert_eq!(trials.next(at(3)), [Turn::Ask(SiteId(1))]);
        assert_eq!(trials.next(at(9)), [], "one at a time");
        trials.begun(KEY, SiteId(1), at(9));
        assert_eq!(trials.next_at(), Some(at(11)));
        let rest = trials.answered(KEY, SiteId(0), AuthVerdict::Accepted, at(10));
        assert_eq!(rest.len(), 98);
        assert_eq!(trials.next_at(), None);
    }

    /// A trial of a wrong key, and what is known of it from outside.
    struct Played {
        trials: Trials,
        now: u64,
        /// What each site does when it is asked: it hangs until the end, refuses, or fails.
        does: Vec<u8>,
        hang: Vec<SiteId>,
        refused: usize,
        ended: usize,
    }

    impl Played {
        fn play(&mut self, mut turns: Vec<Turn>) {
            while let Some(turn) = turns.pop() {
                let Turn::Ask(site) = turn else {
                    self.ended += 1;
                    continue;
                };
                assert!(turns.is_empty(), "one at a time");
                self.trials.begun(KEY, site, at(self.now));
                let verdict = match self.does[site.index()] {
                    0 => {
                        self.hang.push(site);
                        // The next one goes only after its time.
                        self.now += 2;
                        turns = self.trials.next(at(self.now));
                        continue;
                    }
                    1 => REFUSES,
                    _ => HANGS,
                };
                self.refused += usize::from(verdict == REFUSES);
                self.ended += 1;
                turns = self.trials.answered(KEY, site, verdict, at(self.now));
            }
        }
    }

    proptest! {
        /// Whatever comes in which order: a key that nobody accepts is refused twice at most, by one at a time, and
        /// each site that may be asked has an end, at the latest two seconds for each after the last GET.
        #[test]
        fn a_wrong_key_is_seen_by_two(sites in proptest::collection::vec((0..4u8, 0..3u8), 1..40)) {
            let suitabilities = [Some(Suitability::Serves), Some(Suitability::Fresh), Some(Suitability::Unseen), None];
            let mut played = Played {
                trials: trials(sites.len()),
                now: 0,
                does: sites.iter().map(|(_, does)| *does).collect(),
                hang: Vec::new(),
                refused: 0,
                ended: 0,
            };
            for (index, (suitability, _)) in sites.iter().enumerate() {
                let suitability = suitabilities[usize::from(*suitability)];
                played.ended += usize::from(suitability.is_none());
                let turns = played.trials.reached(KEY, SiteId::at(index), suitability, at(played.now));
                played.play(turns);
            }
            prop_assert!(played.refused <= 2);
            prop_assert_eq!(played.ended + played.hang.len(), sites.len(), "nobody waits for what hangs");
            for site in std::mem::take(&mut played.hang) {
                played.ended += 1;
                let turns = played.trials.answered(KEY, site, HANGS, at(played.now));
                prop_assert_eq!(turns, []);
            }
            prop_assert_eq!(played.ended, sites.len());
        }
    }
}
