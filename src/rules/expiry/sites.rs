use std::collections::BTreeMap;

use super::Expiry;
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::state::SiteState;

/// A site, by its place in the list, and until when it may serve an old key, where that has a time that is to come.
pub type May = (usize, Option<Moment>);

/// An old key and the sites that stand in the way of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAtSites {
    /// Which key.
    pub key: PublishableKey,
    /// Sites that showed it when they were last looked at, by their place in the list.
    pub serving: Vec<usize>,
    /// Sites that showed something else, and may serve it all the same.
    pub may: Vec<May>,
    /// When the last cache that may have it has lost it, if one may, also where it was shown.
    pub until: Option<Moment>,
}

/// Which sites are behind the answer to whether old keys may expire.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SitesOfOldKeys {
    /// The old keys, the most served first.
    pub keys: Vec<KeyAtSites>,
    /// Sites of which nobody knows what they serve: it may be any key.
    pub unseen: Vec<usize>,
    /// Sites whose PUT, or the proof of it, is still to come: their caches may answer anything.
    pub unproven: Vec<May>,
    /// Sources of sites that could not be read: the sites that only stand there may serve any key.
    pub missing_sources: usize,
}

impl SitesOfOldKeys {
    /// Of the keys of an answer.
    pub fn of_expiry(expiry: &Expiry, states: &[SiteState], now: Moment) -> Self {
        Self::of(expiry.old.iter().map(|old| &old.key), states, now).lacking_sources(expiry.missing_sources)
    }

    /// Of the keys that the last run of each site has replaced there, or was to.
    pub fn replaced(states: &[SiteState], now: Moment) -> Self {
        let of_site = |state| -> Vec<&PublishableKey> {
            let state: &SiteState = state;
            let Some(expected) = state.expected.as_ref().filter(|_| state.run.is_some()) else {
                return Vec::new();
            };
            let known = state.before.key().into_iter().chain(state.now.key());
            let known = known.chain(state.cached_keys());
            known.filter(|key| *key != expected).collect()
        };
        Self::of(states.iter().flat_map(of_site), states, now)
    }

    /// As a list of sites tells it that lacks those of so many sources.
    #[must_use]
    pub fn lacking_sources(mut self, missing: usize) -> Self {
        self.missing_sources = missing;
        self
    }

    fn of<'a>(keys: impl IntoIterator<Item = &'a PublishableKey>, states: &[SiteState], now: Moment) -> Self {
        let keys = keys.into_iter().map(|key| {
            let at_sites = KeyAtSites {
                key: key.clone(),
                serving: Vec::new(),
                may: Vec::new(),
                until: None,
            };
            (key, at_sites)
        });
        let mut keys: BTreeMap<&PublishableKey, KeyAtSites> = keys.collect();
        let (mut unseen, mut unproven) = (Vec::new(), Vec::new());
        for (place, state) in states.iter().enumerate() {
            let until = state.settle_end().filter(|end| *end > now);
            if let Some(at_sites) = state.now.key().and_then(|key| keys.get_mut(key)) {
                at_sites.serving.push(place);
            } else if !state.is_seen() {
                unseen.push(place);
            }
            if state.is_unproven() {
                unproven.push((place, until));
            } else if until.is_none() {
                continue;
            }
            for key in state.cached_keys() {
                if let Some(at_sites) = keys.get_mut(key) {
                    at_sites.until = at_sites.until.max(until);
                }
            }
            let had = state.cached_keys().chain(state.before.key());
            for key in had.filter(|key| state.now.key() != Some(key)) {
                if let Some(at_sites) = keys.get_mut(key)
                    && at_sites.may.last().is_none_or(|(last, _)| *last != place)
                {
                    at_sites.may.push((place, until));
                }
            }
        }
        let mut keys: Vec<KeyAtSites> = keys.into_values().collect();
        keys.sort_by_key(|key| std::cmp::Reverse((key.serving.len(), key.may.len())));
        Self {
            keys,
            unseen,
            unproven,
            missing_sources: 0,
        }
    }

    /// Whether no site is known or feared to serve `key`, one of [`Self::keys`].
    pub fn may_expire(&self, key: &KeyAtSites) -> bool {
        let known = self.unseen.is_empty() && self.unproven.is_empty() && self.missing_sources == 0;
        known && key.serving.is_empty() && key.may.is_empty()
    }
}
