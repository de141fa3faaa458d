use std::collections::{BTreeMap, BTreeSet};

use crate::rules::outcome::{AuthVerdict, Problem};
use crate::site::{MasterKeyId, SiteId};

/// Sites that may refuse a master key before it goes to no other: the second tells a wrong key from a site that has
/// another one. More would each mint an export key and write it to their log (contract.md).
const REFUSALS: u32 = 2;

const REFUSED: &str = "other sites refused this master key: it goes to no more of them";

/// What the GET says for a site as the one on which a master key is tried, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
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

/// Each master key is tried on one site alone; only when that has accepted it, it goes to the others.
#[derive(Debug, Clone, Default)]
pub struct Trials {
    keys: BTreeMap<MasterKeyId, Trial>,
}

#[derive(Debug, Clone, Default)]
struct Trial {
    /// Sites whose GET is still to come.
    to_come: usize,
    /// The best first.
    waiting: BTreeSet<(Standing, SiteId)>,
    /// Whether one is being asked.
    is_out: bool,
    accepted: bool,
    refusals: u32,
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

    /// The GET of a site has ended; without a standing it is out of question. What is to be done now.
    pub fn reached(&mut self, key: MasterKeyId, site: SiteId, standing: Option<Standing>) -> Vec<Turn> {
        let trial = self.keys.entry(key).or_default();
        trial.to_come = trial.to_come.saturating_sub(1);
        trial.waiting.extend(standing.map(|standing| (standing, site)));
        trial.turns()
    }

    /// A site that was asked has answered. What is to be done now.
    pub fn answered(&mut self, key: MasterKeyId, verdict: AuthVerdict) -> Vec<Turn> {
        let trial = self.keys.entry(key).or_default();
        trial.is_out = false;
        match verdict {
            AuthVerdict::Accepted => trial.accepted = true,
            AuthVerdict::Problem(Problem::RefusedKey) => trial.refusals += 1,
            // No proof of anything: the next one is the first.
            AuthVerdict::Problem(_) => {}
        }
        trial.turns()
    }
}

impl Trial {
    fn turns(&mut self) -> Vec<Turn> {
        if self.accepted || self.refusals >= REFUSALS {
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
        // A better one may still come: on a fresh site a wrong key leaves a trace.
        let may_go = |best: &(Standing, SiteId)| best.0 == Standing::Serves || self.to_come == 0;
        if self.is_out || !self.waiting.first().is_some_and(may_go) {
            return Vec::new();
        }
        let best = self.waiting.pop_first();
        self.is_out = best.is_some();
        best.map(|(_, site)| Turn::Ask(site)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: MasterKeyId = MasterKeyId(0);
    const REFUSES: AuthVerdict = AuthVerdict::Problem(Problem::RefusedKey);
    const HANGS: AuthVerdict = AuthVerdict::Problem(Problem::Timeout);

    fn trials(sites: usize) -> Trials {
        Trials::of(std::iter::repeat_n(KEY, sites))
    }

    #[test]
    fn the_others_wait_for_the_first_and_are_asked_when_it_accepts() {
        let mut trials = trials(3);
        let serves = Some(Standing::Serves);
        assert_eq!(trials.reached(KEY, SiteId(0), serves), [Turn::Ask(SiteId(0))]);
        assert_eq!(trials.reached(KEY, SiteId(1), serves), []);
        assert_eq!(
            trials.answered(KEY, AuthVerdict::Accepted),
            [Turn::Ask(SiteId(1))]
        );
        assert_eq!(trials.reached(KEY, SiteId(2), serves), [Turn::Ask(SiteId(2))]);
    }

    #[test]
    fn two_refusals_end_it_and_an_answer_that_proves_nothing_does_not() {
        let mut trials = trials(6);
        for site in 0..5 {
            let turns = trials.reached(KEY, SiteId(site), Some(Standing::Serves));
            assert_eq!(turns.len(), usize::from(site == 0));
        }
        assert_eq!(trials.answered(KEY, HANGS), [Turn::Ask(SiteId(1))]);
        assert_eq!(trials.answered(KEY, REFUSES), [Turn::Ask(SiteId(2))]);
        let rest = trials.answered(KEY, REFUSES);
        assert_eq!(rest, [3, 4].map(|site| Turn::Skip(SiteId(site), REFUSED)));
        let late = trials.reached(KEY, SiteId(5), Some(Standing::Serves));
        assert_eq!(late, [Turn::Skip(SiteId(5), REFUSED)]);
    }

    #[test]
    fn a_fresh_site_is_the_first_only_where_there_is_no_other() {
        let mut trials = trials(3);
        assert_eq!(trials.reached(KEY, SiteId(0), Some(Standing::Fresh)), []);
        assert_eq!(trials.reached(KEY, SiteId(1), None), []);
        let mut none = trials.clone();
        assert_eq!(none.reached(KEY, SiteId(2), None), [Turn::Ask(SiteId(0))]);
        let serves = Some(Standing::Serves);
        assert_eq!(trials.reached(KEY, SiteId(2), serves), [Turn::Ask(SiteId(2))]);
    }

    proptest! {
        /// Whatever comes in which order: a key that nobody accepts is refused twice at most, by one at a time, and
        /// each site that may be asked has an end.
        #[test]
        fn a_wrong_key_is_seen_by_two(sites in proptest::collection::vec((0..4u8, 0..3u8), 1..40)) {
            let standings = [Some(Standing::Serves), Some(Standing::Fresh), Some(Standing::Unseen), None];
            let mut trials = trials(sites.len());
            let (mut out, mut refused, mut ended) = (Vec::new(), 0, 0);
            let mut turns = Vec::new();
            for (index, (standing, _)) in sites.iter().enumerate() {
                let standing = standings[usize::from(*standing)];
                ended += usize::from(standing.is_none());
                turns.extend(trials.reached(KEY, SiteId::at(index), standing));
                while let Some(turn) = turns.pop() {
                    match turn {
                        Turn::Ask(site) => out.push(site),
                        Turn::Skip(..) => ended += 1,
                    }
                    prop_assert!(out.len() <= 1);
                    if let Some(site) = out.pop_if(|site| sites[site.index()].1 > 0) {
                        let refuses = sites[site.index()].1 == 1;
                        refused += usize::from(refuses);
                        ended += 1;
                        turns.extend(trials.answered(KEY, if refuses { REFUSES } else { HANGS }));
                    }
                }
            }
            while out.pop().is_some() {
                ended += 1;
                for turn in trials.answered(KEY, HANGS) {
                    match turn {
                        Turn::Ask(site) => out.push(site),
                        Turn::Skip(..) => ended += 1,
                    }
                    prop_assert!(out.len() <= 1);
                }
            }
            prop_assert!(refused <= 2);
            prop_assert_eq!(ended, sites.len());
        }
    }
}
