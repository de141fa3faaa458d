use std::collections::{HashMap, HashSet};

use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::standing::{Asked, NotAsked, Purpose, Standing};

/// Keys that are held in mind at most.
const KEYS: usize = 1000;

/// What the screen knows of what Stripe says. Nothing waits for it.
#[derive(Debug, Default)]
pub(in crate::tui) struct Stripe {
    /// Whether Stripe is asked at all.
    asks: bool,
    said: HashMap<PublishableKey, (Asked, Moment)>,
    /// Keys that are being asked about.
    asking: HashSet<PublishableKey>,
}

impl Stripe {
    /// Whether it is asked at all, from now on.
    pub(in crate::tui) fn is_asked(&mut self, asks: bool) {
        self.asks = asks;
    }

    /// What was said of a key last.
    pub(in crate::tui) fn asked(&self, key: &PublishableKey) -> Option<&Asked> {
        self.said.get(key).map(|(asked, _)| asked)
    }

    /// What Stripe says of a key, where that is known.
    pub(in crate::tui) fn standing(&self, key: &PublishableKey) -> Option<Standing> {
        self.asked(key)?.as_ref().ok().copied()
    }

    /// Why it could not be asked of a key, if it could not.
    pub(in crate::tui) fn in_vain(&self, key: &PublishableKey) -> Option<&NotAsked> {
        self.asked(key)?.as_ref().err()
    }

    /// Whether a key is to be asked about now; from then on it is being asked.
    pub(in crate::tui) fn wants(&mut self, key: &PublishableKey, now: Moment) -> bool {
        let holds = |(asked, at): &(Asked, Moment)| now.since(*at) < Purpose::Push.holds_for(asked);
        let wants = self.asks && !self.asking.contains(key) && !self.said.get(key).is_some_and(holds);
        if wants {
            self.asking.insert(key.clone());
        }
        wants
    }

    /// Stripe was asked of a key.
    pub(in crate::tui) fn take(&mut self, key: PublishableKey, asked: Asked, now: Moment) {
        self.asking.remove(&key);
        if self.said.len() >= KEYS {
            self.said.clear();
        }
        self.said.insert(key, (asked, now));
    }
}
