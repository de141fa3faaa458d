use std::collections::{BTreeMap, BTreeSet};

use crate::key::PublishableKey;
use crate::rules::expiry::{Expiry, OldKey};
use crate::rules::run::Kind;
use crate::rules::state::Served;
use crate::rules::status::{Push, Verify};
use crate::store::{RunRecord, RunSite};
use crate::text::Count;

/// What a site of a run on record says about the old keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OldKeyState {
    /// Its last look showed an old key.
    ServesOld,
    /// No look showed what it serves.
    Unseen,
    /// A look showed something, and no proof followed that all of its processes answer the new key.
    Unproven,
    /// Proven to serve the key that the run put there.
    Proven,
    /// Left out on purpose, and serves no old key.
    LeftOut,
}

impl OldKeyState {
    /// All of them, what speaks against an expiry first.
    pub const ALL: [Self; 5] = [
        Self::ServesOld,
        Self::Unseen,
        Self::Unproven,
        Self::Proven,
        Self::LeftOut,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::ServesOld => "serves_old",
            Self::Unseen => "unseen",
            Self::Unproven => "unproven",
            Self::Proven => "proven",
            Self::LeftOut => "left_out",
        }
    }

    /// What it means, behind a number of sites.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::ServesOld => "served an old key when last looked at",
            Self::Unseen => "not seen",
            Self::Unproven => "not proven",
            Self::Proven => "proven to serve the new key",
            Self::LeftOut => "left out on purpose, without an old key",
        }
    }
}

/// An old key and the sites that had it, by their place in the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldKeySites {
    /// Which key.
    pub key: PublishableKey,
    /// Sites that served it before the run.
    pub before: Vec<usize>,
    /// Sites that served it when they were last looked at in the run.
    pub now: Vec<usize>,
}

/// May the old keys of a run on record expire? Judged by each site's last look in that run alone: what came
/// after it is not in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldKeys {
    /// The old keys, the most served first: as many as there are sites, where each had its own.
    pub keys: Vec<OldKeySites>,
    /// What each site of the run says, in the run's order.
    pub states: Vec<OldKeyState>,
    /// With the keys that are named.
    expiry: Expiry,
}

/// How many old keys are named to people.
const NAMED: usize = 10;

impl OldKeys {
    /// Judges a run. Safe is only what each of its sites bears out.
    pub fn of(run: &RunRecord, sites: &[RunSite]) -> Self {
        let put = put_keys(run, sites);
        let is_old = |site: &RunSite, key: &PublishableKey| {
            !put.contains(key) && key.mode() == site.planned.key.mode()
        };
        let mut known: BTreeMap<PublishableKey, OldKeySites> = BTreeMap::new();
        let mut states = Vec::with_capacity(sites.len());
        for (place, site) in sites.iter().enumerate() {
            let seen = last_seen(site);
            let old = |served: &Served| served.key().filter(|key| is_old(site, key)).cloned();
            let mut entry = |key: PublishableKey, now: bool| {
                let entry = known.entry(key.clone()).or_insert_with(|| OldKeySites {
                    key,
                    before: Vec::new(),
                    now: Vec::new(),
                });
                if now {
                    entry.now.push(place);
                } else {
                    entry.before.push(place);
                }
            };
            let before: BTreeSet<PublishableKey> = [&site.before, &site.planned.serves]
                .into_iter()
                .filter_map(old)
                .collect();
            for key in before {
                entry(key, false);
            }
            let serves_old = old(seen);
            states.push(state(site, seen, serves_old.is_some()));
            if let Some(key) = serves_old {
                entry(key, true);
            }
        }
        let mut keys: Vec<OldKeySites> = known.into_values().collect();
        keys.sort_by_key(|key| std::cmp::Reverse((key.now.len(), key.before.len())));
        let expiry = expiry(&keys, &states);
        Self { keys, states, expiry }
    }

    /// Whether no site of the run is known or feared to serve an old key. A run without sites tells nothing.
    pub fn is_safe(&self) -> bool {
        let bears_it_out = |one: &OldKeyState| matches!(one, OldKeyState::Proven | OldKeyState::LeftOut);
        !self.states.is_empty() && self.states.iter().all(bears_it_out)
    }

    /// The old keys that are named to people, and how many more there are.
    pub fn named(&self) -> (&[OldKeySites], usize) {
        let named = &self.keys[..self.keys.len().min(NAMED)];
        (named, self.keys.len() - named.len())
    }

    /// The answer in one line. `mask` writes a key.
    pub fn sentence(&self, mask: &dyn Fn(&PublishableKey) -> String) -> String {
        if self.states.is_empty() {
            return "no site was in this run: it tells nothing about an old key".to_owned();
        }
        // The record holds no end of a settle time, so that no time of day is ever written.
        let sentence = self.expiry.sentence(mask, &|_| String::new());
        match self.named() {
            (_, 0) => sentence,
            (named, _) => format!(
                "{sentence} (named: {} of {})",
                named.len(),
                Count(self.keys.len(), "old key")
            ),
        }
    }

    /// How many sites stand how, none of them zero.
    pub fn counts(&self) -> impl Iterator<Item = (OldKeyState, usize)> {
        let count = |state| self.states.iter().filter(|one| **one == state).count();
        let counts = OldKeyState::ALL.into_iter().map(move |one| (one, count(one)));
        counts.filter(|(_, count)| *count > 0)
    }

    /// The same in words.
    pub fn counted(&self) -> String {
        let counts = self
            .counts()
            .map(|(state, count)| format!("{} {}", Count(count, "site"), state.sentence()));
        counts.collect::<Vec<_>>().join("; ")
    }

    /// The places of the sites that stand so.
    pub fn places(&self, state: OldKeyState) -> Vec<usize> {
        let places = self.states.iter().enumerate();
        places
            .filter(|(_, one)| **one == state)
            .map(|(place, _)| place)
            .collect()
    }
}

/// The keys that the run put on sites: none of them is an old one. A rollback puts back a key a site, and what
/// it takes back is old.
fn put_keys<'a>(run: &'a RunRecord, sites: &'a [RunSite]) -> BTreeSet<&'a PublishableKey> {
    let of_sites = sites
        .iter()
        .filter(|site| site.planned.left_out.is_none())
        .map(|site| &site.planned.key);
    let of_run = (run.kind != Kind::Rollback).then_some(&run.key);
    of_sites.chain(of_run).collect()
}

/// What the site was last seen to serve. What the plan showed counts where no PUT has gone since.
fn last_seen(site: &RunSite) -> &Served {
    if site.now == Served::Unknown && site.puts == 0 {
        &site.planned.serves
    } else {
        &site.now
    }
}

fn state(site: &RunSite, seen: &Served, serves_old: bool) -> OldKeyState {
    let left_out = match site.push {
        Push::Skipped(reason) => Some(reason),
        _ => site.planned.left_out,
    };
    match seen {
        _ if serves_old => OldKeyState::ServesOld,
        Served::Unknown => OldKeyState::Unseen,
        // It was dropped unread.
        Served::Secret => OldKeyState::Unproven,
        // Its caches may hold what an earlier run replaced.
        _ if site.push.is_open() || site.verify.is_open() => OldKeyState::Unproven,
        _ if left_out.is_some_and(|reason| reason.is_intended() && site.puts == 0) => OldKeyState::LeftOut,
        // Called dead is only what was proven: the old key is gone there, whatever Stripe says of the new one.
        Served::Key(key)
            if matches!(site.verify, Verify::Verified | Verify::DeadKey) && *key == site.planned.key =>
        {
            OldKeyState::Proven
        }
        Served::Key(_) | Served::NoKey => OldKeyState::Unproven,
    }
}

/// In the terms of the rule, so that it speaks its words.
fn expiry(keys: &[OldKeySites], states: &[OldKeyState]) -> Expiry {
    let places = states.iter().enumerate();
    let unseen = places
        .filter(|(_, one)| **one == OldKeyState::Unseen)
        .map(|(place, _)| place)
        .collect();
    let old = keys.iter().take(NAMED).map(|key| OldKey {
        key: key.key.clone(),
        serving: key.now.len(),
        until: None,
    });
    Expiry {
        old: old.collect(),
        unseen,
        unproven: states.iter().filter(|one| **one == OldKeyState::Unproven).count(),
        proven_at: None,
        hidden_for: None,
        missing_sources: 0,
    }
}
