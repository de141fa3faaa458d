use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::store::{RunId, RunRecord};

/// So many keys are offered at most.
const LIMIT: usize = 20;

/// A key that is known, and where from. It is a publishable one by its type: no secret can be offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which.
    pub key: PublishableKey,
    /// How many sites were last seen to serve it.
    pub sites: usize,
    /// The newest run that put it out, and when that began.
    pub run: Option<Newest>,
}

/// A run, and when it began.
type Newest = (RunId, Moment);

/// The known keys, from which the key field can take one: what most sites serve first, then what the newest run
/// put out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offers {
    served: Vec<(PublishableKey, usize)>,
    list: Vec<Offer>,
    left_out: usize,
    cursor: usize,
    /// Whether the runs on record are still to be read.
    waits: bool,
}

impl Offers {
    /// Those that sites serve; the runs on record come in with [`Offers::take_runs`].
    pub fn new(served: Vec<(PublishableKey, usize)>) -> Self {
        let mut offers = Self {
            served,
            list: Vec::new(),
            left_out: 0,
            cursor: 0,
            waits: true,
        };
        offers.gather(&[]);
        offers
    }

    /// The runs on record were read; none if they could not be. The cursor stays on its key.
    pub fn take_runs(&mut self, runs: &[RunRecord]) {
        let chosen = self.chosen().cloned();
        self.waits = false;
        self.gather(runs);
        let place = self
            .list
            .iter()
            .position(|offer| Some(&offer.key) == chosen.as_ref());
        self.cursor = place.unwrap_or(0);
    }

    fn gather(&mut self, runs: &[RunRecord]) {
        let mut known: BTreeMap<&PublishableKey, (usize, Option<Newest>)> = BTreeMap::new();
        for (key, sites) in &self.served {
            known.entry(key).or_default().0 = *sites;
        }
        for run in runs {
            let newest = &mut known.entry(&run.key).or_default().1;
            if newest.is_none_or(|(known, _)| known < run.id) {
                *newest = Some((run.id, run.began));
            }
        }
        let offer = |(key, (sites, run)): (&PublishableKey, _)| Offer {
            key: key.clone(),
            sites,
            run,
        };
        let mut list: Vec<Offer> = known.into_iter().map(offer).collect();
        list.sort_by_key(|offer| Reverse((offer.sites, offer.run.map(|(run, _)| run))));
        self.left_out = list.len().saturating_sub(LIMIT);
        list.truncate(LIMIT);
        self.list = list;
    }

    /// The keys, in their order.
    pub fn list(&self) -> &[Offer] {
        &self.list
    }

    /// How many more are known.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Which of them is under the cursor.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Whether more may come in.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Moves the cursor.
    pub fn step(&mut self, by: isize) {
        let last = self.list.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
    }

    /// The key under the cursor.
    pub fn chosen(&self) -> Option<&PublishableKey> {
        self.list.get(self.cursor).map(|offer| &offer.key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rules::run::Kind;
    use crate::store::Operator;

    fn key(tail: &str) -> PublishableKey {
        PublishableKey::parse(&format!("pk_test_51ExampleExampleExample{tail}")).unwrap()
    }

    fn run(id: u64, tail: &str) -> RunRecord {
        let began = Moment {
            since_start: Duration::ZERO,
            wall: jiff::Timestamp::UNIX_EPOCH,
        };
        RunRecord {
            id: RunId(id),
            kind: Kind::Push,
            parent: None,
            key: key(tail),
            by: Operator::default(),
            began,
            sent: None,
            ended: None,
            closed: false,
            live: false,
            took: None,
            clock_set: None,
            counts: BTreeMap::new(),
        }
    }

    fn tails(offers: &Offers) -> Vec<String> {
        let tail = |offer: &Offer| offer.key.as_str().chars().rev().take(2).collect();
        offers.list().iter().map(tail).collect()
    }

    #[test]
    fn what_most_serve_comes_first_and_then_the_newest() {
        let mut offers = Offers::new(vec![(key("aa"), 2), (key("bb"), 231)]);
        assert_eq!(tails(&offers), ["bb", "aa"]);
        offers.step(1);
        offers.take_runs(&[
            run(9, "cc"),
            run(8, "dd"),
            run(7, "aa"),
            run(3, "cc"),
            run(2, "aa"),
        ]);
        assert_eq!(tails(&offers), ["bb", "aa", "cc", "dd"]);
        assert_eq!(offers.chosen(), Some(&key("aa")), "the cursor stays on its key");
        let runs: Vec<_> = offers
            .list()
            .iter()
            .map(|offer| offer.run.map(|run| run.0.0))
            .collect();
        assert_eq!(runs, [None, Some(7), Some(9), Some(8)]);
        assert!(!offers.waits());
    }

    #[test]
    fn there_is_an_end_to_them_and_to_the_cursor() {
        let served = (10..50).map(|index| (key(&index.to_string()), index)).collect();
        let mut offers = Offers::new(served);
        assert_eq!((offers.list().len(), offers.left_out()), (LIMIT, 40 - LIMIT));
        offers.step(-1);
        assert_eq!(offers.cursor(), 0);
        offers.step(100);
        assert_eq!(offers.cursor(), LIMIT - 1);
        let mut none = Offers::new(Vec::new());
        none.step(1);
        assert_eq!(none.chosen(), None);
    }
}
