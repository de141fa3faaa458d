use std::collections::{BTreeMap, BTreeSet};

use super::{Expiry, OldKey};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::state::SiteState;

/// What tells whether the keys that a run replaces may expire. Kept up to date by [`Evidence::replace`], so that
/// the answer costs the same for three sites and for a hundred thousand.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The run's own.
    key: PublishableKey,
    /// Old keys that sites were last seen to serve, and how many.
    served: BTreeMap<PublishableKey, usize>,
    /// Old keys that sites served before their PUT: named, so that they can be called safe.
    before: BTreeMap<PublishableKey, usize>,
    /// Keys of the other mode that sites served before the run put its own there: old ones too.
    replaced: BTreeMap<PublishableKey, usize>,
    /// Old keys that caches may still answer, and until when.
    cached: BTreeMap<PublishableKey, BTreeMap<Moment, usize>>,
    /// Places of sites of which nobody knows what they serve.
    unseen: BTreeSet<usize>,
    /// Sites without a proof.
    unproven: usize,
    /// When their proofs are due, where that has a time.
    due: BTreeMap<Moment, usize>,
}

/// One more or one less of something.
fn count<T: Ord + Clone>(counts: &mut BTreeMap<T, usize>, what: &T, more: bool) {
    if more {
        *counts.entry(what.clone()).or_default() += 1;
    } else if let Some(left) = counts.get_mut(what) {
        *left -= 1;
        if *left == 0 {
            counts.remove(what);
        }
    }
}

impl Evidence {
    /// Of no site yet, for a run of `key`.
    pub fn new(key: PublishableKey) -> Self {
        Self {
            key,
            served: BTreeMap::new(),
            before: BTreeMap::new(),
            replaced: BTreeMap::new(),
            cached: BTreeMap::new(),
            unseen: BTreeSet::new(),
            unproven: 0,
            due: BTreeMap::new(),
        }
    }

    /// The run's key.
    pub fn key(&self) -> &PublishableKey {
        &self.key
    }

    /// Takes in what is known of the site at `place` in the list.
    pub fn add(&mut self, place: usize, state: &SiteState) {
        self.change(place, state, true);
    }

    /// Takes in `new` for `old`.
    pub fn replace(&mut self, place: usize, old: &SiteState, new: &SiteState) {
        self.change(place, old, false);
        self.change(place, new, true);
    }

    fn change(&mut self, place: usize, state: &SiteState, more: bool) {
        let key = self.key.clone();
        let is_other = |other: &&PublishableKey| **other != key;
        let is_old = |other: &&PublishableKey| is_other(other) && other.mode() == key.mode();
        if let Some(serves) = state.now.key().filter(is_other) {
            count(&mut self.served, serves, more);
        }
        if !state.now.key().as_ref().is_some_and(is_old) && !state.is_seen() {
            if more {
                self.unseen.insert(place);
            } else {
                self.unseen.remove(&place);
            }
        }
        if let Some(before) = state.before.key().filter(is_old) {
            count(&mut self.before, before, more);
        } else if let Some(before) = state.before.key().filter(is_other)
            && state.was_put()
            && state.expected.as_ref() == Some(&key)
        {
            count(&mut self.replaced, before, more);
        }
        let until = state.settle_end();
        if state.is_unproven() {
            self.unproven = self.unproven + usize::from(more) - usize::from(!more);
            if let Some(until) = until {
                count(&mut self.due, &until, more);
            }
        }
        let Some(until) = until else { return };
        for cached in state.cached_keys().filter(is_other) {
            let ends = self.cached.entry(cached.clone()).or_default();
            count(ends, &until, more);
            if ends.is_empty() {
                self.cached.remove(cached);
            }
        }
    }

    /// The answer at `now`.
    pub fn expiry(&self, now: Moment) -> Expiry {
        let last = |ends: &BTreeMap<Moment, usize>| ends.keys().next_back().copied().filter(|end| *end > now);
        let until = |key: &PublishableKey| self.cached.get(key).and_then(last);
        let cached = self.cached.keys().filter(|key| until(key).is_some());
        let keys: BTreeSet<&PublishableKey> = self
            .served
            .keys()
            .chain(self.before.keys())
            .chain(self.replaced.keys())
            .chain(cached)
            .filter(|old| old.mode() == self.key.mode() || self.replaced.contains_key(*old))
            .collect();
        let old = keys.into_iter().map(|key| OldKey {
            key: key.clone(),
            serving: self.served.get(key).copied().unwrap_or_default(),
            until: until(key),
        });
        let mut old: Vec<OldKey> = old.collect();
        old.sort_by_key(|old| std::cmp::Reverse((old.serving, old.until)));
        Expiry {
            old,
            unseen: self.unseen.iter().copied().collect(),
            unproven: self.unproven,
            proven_at: last(&self.due),
            hidden_for: None,
            missing_sources: 0,
        }
    }
}
