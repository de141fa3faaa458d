use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::moment::Moment;
use crate::site::{MasterKeyId, SiteId};

/// So many sites that refuse a master key are enough: the second tells a wrong key from a site that has another one, and
/// a wrong one makes a fresh site write an export key to its own log (contract.md).
pub(super) const ENOUGH: usize = 2;
/// A PUT that is out for so long is passed over: another site may tell sooner.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What a site's answer to its PUT says of the master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It is right: authentication comes before all else.
    Accepted,
    /// It is wrong.
    Refused,
    /// It was not asked: two others refuse the key, as the worker knows that was to send it.
    NotAsked,
    /// Nothing.
    Nothing,
}

/// Whether a site may have its PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Now.
    Now,
    /// Not yet: [`Probation::next`] tells when.
    Later,
    /// Not in this run: two sites refuse the key.
    Never,
}

#[derive(Debug, Default)]
struct Trial {
    /// PUTs that are out, and since when.
    out: Vec<(SiteId, Moment)>,
    /// Those that refuse the key.
    refused: BTreeSet<SiteId>,
    /// Sites that answered their look, in the order in which they came.
    awake: VecDeque<SiteId>,
    /// Sites that did not.
    asleep: VecDeque<SiteId>,
}

impl Trial {
    fn out_lately(&self, now: Moment) -> usize {
        let lately = self.out.iter().filter(|(_, since)| now.since(*since) < PATIENCE);
        lately.count()
    }

    /// Whether one more site may have its PUT: with those that are out it could be one refusal too many else.
    fn has_room(&self, now: Moment) -> bool {
        self.refused.len() + self.out_lately(now) < ENOUGH
    }

    /// Whether enough sites refuse the key, once `site` does.
    fn is_refused_with(&self, site: SiteId) -> bool {
        let others = self.refused.iter().filter(|known| **known != site);
        others.count() + 1 >= ENOUGH
    }

    /// Those that may ask again: they are no longer among those that wait.
    fn next(&mut self, now: Moment) -> Vec<SiteId> {
        let out = self.out_lately(now);
        let room = ENOUGH
            .saturating_sub(self.refused.len() + out)
            .min(self.awake.len());
        if room > 0 {
            return self.awake.drain(..room).collect();
        }
        let alone = self.awake.is_empty() && out == 0;
        let one = usize::from(alone && !self.asleep.is_empty());
        self.asleep.drain(..one).collect()
    }
}

#[derive(Debug)]
enum Standing {
    OnTrial(Trial),
    Accepted,
    Refused,
}

/// Which master keys a run may send to how many sites. Until one site has accepted a key, at most two of those that use
/// it have a PUT out; two refusals end it.
#[derive(Debug, Default)]
pub struct Probation {
    keys: BTreeMap<Part, Standing>,
    /// For which of them somebody waits.
    awaited: BTreeSet<Part>,
    /// Sites that have refused lately what others took.
    odd: BTreeSet<SiteId>,
}

/// The sites that use a key, and whether those that have refused lately what others took: these may well have another
/// one, and what they say against it is said of themselves alone.
type Part = (MasterKeyId, bool);

impl Probation {
    /// Of a run in which these sites have refused lately a key that others took. They have a trial of their own, so that
    /// their refusals hold up nobody else; a site that takes the key ends both.
    pub fn with_odd(odd: BTreeSet<SiteId>) -> Self {
        Self {
            odd,
            ..Self::default()
        }
    }

    /// Whether the site has refused lately what others took.
    pub fn is_odd(&self, site: SiteId) -> bool {
        self.odd.contains(&site)
    }

    fn part(&self, site: SiteId, key: MasterKeyId) -> Part {
        (key, self.is_odd(site))
    }

    fn standing(&mut self, part: Part) -> &mut Standing {
        let fresh = || Standing::OnTrial(Trial::default());
        self.keys.entry(part).or_insert_with(fresh)
    }

    /// `site` is to get a PUT with `key`. With [`Turn::Now`] it is out; with [`Turn::Later`] it is among those that
    /// wait.
    pub fn ask(&mut self, site: SiteId, key: MasterKeyId, is_awake: bool, now: Moment) -> Turn {
        let part = self.part(site, key);
        let trial = match self.standing(part) {
            Standing::Accepted => return Turn::Now,
            Standing::Refused => return Turn::Never,
            Standing::OnTrial(trial) => trial,
        };
        let may_go = if is_awake {
            trial.has_room(now)
        } else {
            // What sleeps tells late, or never: only where nobody else does.
            trial.awake.is_empty() && trial.out_lately(now) == 0
        };
        if may_go {
            trial.out.push((site, now));
            return Turn::Now;
        }
        let waits = if is_awake {
            &mut trial.awake
        } else {
            &mut trial.asleep
        };
        waits.push_back(site);
        self.awaited.insert(part);
        Turn::Later
    }

    /// The PUT of `site` was answered. Returns the sites that waited and whose turn it is to ask again, or, where the
    /// key is refused now, that get no PUT.
    pub fn answered(&mut self, site: SiteId, key: MasterKeyId, word: Word, now: Moment) -> Vec<SiteId> {
        let part = self.part(site, key);
        let standing = self.standing(part);
        let Standing::OnTrial(trial) = standing else {
            return match word {
                // One that hung says after all that it is right.
                Word::Accepted => self.accepted(key),
                Word::Refused | Word::NotAsked | Word::Nothing => Vec::new(),
            };
        };
        trial.out.retain(|(out, _)| *out != site);
        match word {
            Word::Accepted => self.accepted(key),
            Word::Refused if !trial.is_refused_with(site) => {
                trial.refused.insert(site);
                trial.next(now)
            }
            Word::Refused | Word::NotAsked => {
                let waited = trial.awake.drain(..).chain(trial.asleep.drain(..)).collect();
                *standing = Standing::Refused;
                waited
            }
            Word::Nothing => trial.next(now),
        }
    }

    /// The key is right, whoever says so. Returns the sites that waited.
    fn accepted(&mut self, key: MasterKeyId) -> Vec<SiteId> {
        let mut waited = Vec::new();
        for part in [(key, false), (key, true)] {
            if let Some(Standing::OnTrial(trial)) = self.keys.insert(part, Standing::Accepted) {
                waited.extend(trial.awake.into_iter().chain(trial.asleep));
            }
        }
        waited
    }

    /// Sites that waited, and whose turn it is to ask again.
    pub fn next(&mut self, now: Moment) -> Vec<SiteId> {
        let mut all = Vec::new();
        self.awaited.retain(|key| match self.keys.get_mut(key) {
            Some(Standing::OnTrial(trial)) => {
                all.extend(trial.next(now));
                !trial.awake.is_empty() || !trial.asleep.is_empty()
            }
            _ => false,
        });
        all
    }

    /// When [`Probation::next`] has something more to tell, if no answer comes before.
    pub fn next_at(&self, now: Moment) -> Option<Moment> {
        let awaited = self.awaited.iter().filter_map(|key| self.keys.get(key));
        let passed_over = awaited.flat_map(|standing| match standing {
            Standing::OnTrial(trial) => trial.out.as_slice(),
            _ => &[],
        });
        let passed_over = passed_over.map(|(_, since)| *since + PATIENCE);
        passed_over.filter(|at| *at > now).min()
    }

    /// `key` was refused, and somebody says that `site` may be asked again.
    pub fn try_again(&mut self, site: SiteId, key: MasterKeyId) {
        if self.is_refused(site, key) {
            self.keys.remove(&self.part(site, key));
        }
    }

    /// Whether `key` was refused in this run, as far as that is for `site` to know.
    pub fn is_refused(&self, site: SiteId, key: MasterKeyId) -> bool {
        matches!(self.keys.get(&self.part(site, key)), Some(Standing::Refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    const KEY: MasterKeyId = MasterKeyId(0);

    fn at(seconds: u64) -> Moment {
        Moment {
            since_start: Duration::from_secs(seconds),
            wall: Timestamp::UNIX_EPOCH,
        }
    }

    /// What comes of the question of each of these sites.
    fn ask(probation: &mut Probation, sites: std::ops::Range<u32>, is_awake: bool, now: u64) -> Vec<Turn> {
        let ask = |site| probation.ask(SiteId(site), KEY, is_awake, at(now));
        sites.map(ask).collect()
    }

    #[test]
    fn two_refusals_end_it_and_nobody_else_was_asked() {
        let mut probation = Probation::default();
        let turns = ask(&mut probation, 0..100, true, 0);
        assert_eq!(turns.iter().filter(|&&turn| turn == Turn::Now).count(), 2);
        assert_eq!(
            probation.answered(SiteId(1), KEY, Word::Refused, at(0)),
            [],
            "the other one is out"
        );
        let waited = probation.answered(SiteId(0), KEY, Word::Refused, at(0));
        assert_eq!(waited.len(), 98);
        assert_eq!(ask(&mut probation, 5..6, true, 0), [Turn::Never]);
        assert_eq!(
            probation.ask(SiteId(7), MasterKeyId(1), true, at(0)),
            Turn::Now,
            "another key"
        );
        probation.try_again(SiteId(5), KEY);
        assert_eq!(ask(&mut probation, 5..6, true, 0), [Turn::Now]);
    }

    #[test]
    fn a_worker_that_asks_nobody_any_more_ends_it_unless_others_take_the_key() {
        let mut probation = Probation::default();
        ask(&mut probation, 0..5, true, 0);
        let waited = probation.answered(SiteId(0), KEY, Word::NotAsked, at(0));
        assert_eq!(waited.len(), 3);
        assert!(probation.is_refused(SiteId(0), KEY));
        let mut probation = Probation::default();
        ask(&mut probation, 0..5, true, 0);
        probation.answered(SiteId(1), KEY, Word::Accepted, at(0));
        assert_eq!(probation.answered(SiteId(0), KEY, Word::NotAsked, at(0)), []);
        assert!(!probation.is_refused(SiteId(0), KEY));
    }

    #[test]
    fn one_site_that_refuses_it_twice_is_one() {
        let mut probation = Probation::default();
        assert_eq!(ask(&mut probation, 0..1, true, 0), [Turn::Now]);
        assert_eq!(probation.answered(SiteId(0), KEY, Word::Refused, at(0)), []);
        assert_eq!(
            ask(&mut probation, 0..1, true, 1),
            [Turn::Now],
            "somebody retries it"
        );
        assert_eq!(probation.answered(SiteId(0), KEY, Word::Refused, at(1)), []);
        assert_eq!(ask(&mut probation, 1..3, true, 1), [Turn::Now, Turn::Later]);
    }

    #[test]
    fn a_key_that_was_accepted_once_holds_up_nobody() {
        let mut probation = Probation::default();
        ask(&mut probation, 0..10, true, 0);
        assert_eq!(probation.answered(SiteId(0), KEY, Word::Refused, at(1)), []);
        let waited = probation.answered(SiteId(1), KEY, Word::Accepted, at(1));
        assert_eq!(waited, (2..10).map(SiteId).collect::<Vec<_>>());
        assert_eq!(probation.answered(SiteId(2), KEY, Word::Refused, at(1)), []);
        assert_eq!(ask(&mut probation, 3..4, true, 1), [Turn::Now]);
    }

    #[test]
    fn who_refused_lately_what_others_took_holds_up_nobody_else() {
        let mut probation = Probation::with_odd((0..5).map(SiteId).collect());
        let turns = ask(&mut probation, 0..10, true, 0);
        let (now, later) = ([Turn::Now; 2], [Turn::Later; 3]);
        assert_eq!(turns, [&now[..], &later, &now, &later].concat());
        probation.answered(SiteId(0), KEY, Word::Refused, at(0));
        let odd = probation.answered(SiteId(1), KEY, Word::Refused, at(0));
        assert_eq!(odd, [SiteId(2), SiteId(3), SiteId(4)], "not asked in this run");
        assert_eq!(ask(&mut probation, 2..3, true, 0), [Turn::Never]);
        assert_eq!(ask(&mut probation, 9..10, true, 0), [Turn::Later]);
        probation.answered(SiteId(5), KEY, Word::Refused, at(0));
        probation.answered(SiteId(6), KEY, Word::Refused, at(0));
        assert_eq!(
            ask(&mut probation, 9..10, true, 0),
            [Turn::Never],
            "the key may have been changed since: two of the others are enough"
        );
    }

    #[test]
    fn one_that_hangs_is_passed_over_after_two_seconds() {
        let mut probation = Probation::default();
        ask(&mut probation, 0..4, true, 0);
        assert_eq!(probation.next_at(at(0)), Some(at(2)));
        assert_eq!(probation.next(at(1)), []);
        assert_eq!(probation.next(at(2)), [SiteId(2), SiteId(3)]);
        assert_eq!(probation.next_at(at(2)), None, "nobody waits");
    }

    #[test]
    fn what_sleeps_waits_for_what_is_awake_and_goes_alone() {
        let mut probation = Probation::default();
        assert_eq!(ask(&mut probation, 0..1, true, 0), [Turn::Now]);
        assert_eq!(ask(&mut probation, 5..7, false, 0), [Turn::Later; 2]);
        assert_eq!(
            probation.answered(SiteId(0), KEY, Word::Nothing, at(0)),
            [SiteId(5)]
        );
        assert_eq!(ask(&mut probation, 5..6, false, 0), [Turn::Now]);
        assert_eq!(probation.next(at(1)), []);
        assert_eq!(probation.next(at(2)), [SiteId(6)]);
    }
}
