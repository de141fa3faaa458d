use std::collections::BTreeMap;

use super::state::{Served, SiteState};
use super::status::{Push, Verify};
use crate::key::PublishableKey;

/// How many sites are in which state. Kept up to date by [`Tally::replace`], so that it costs the same
/// for three sites and for a hundred thousand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    sites: usize,
    push: BTreeMap<&'static str, usize>,
    verify: BTreeMap<&'static str, usize>,
    serves: BTreeMap<PublishableKey, usize>,
    no_key: usize,
    secret: usize,
    unseen: usize,
    endings: BTreeMap<Ending, usize>,
    words: BTreeMap<&'static str, usize>,
}

/// What a site's state means for the exit status of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// As it should be, or left out on purpose.
    Good,
    /// Stored, and the proof is not due yet.
    Waits,
    /// Not there yet: queued, out, or waiting for a retry.
    Open,
    /// As [`Ending::Bad`], and the operator has acknowledged that.
    Acknowledged,
    /// Anything else.
    Bad,
}

/// A site as it is counted.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// What is known of it.
    pub state: &'a SiteState,
    /// Whether the operator has acknowledged that it is bad.
    pub acknowledged: bool,
}

impl<'a> From<&'a SiteState> for Counted<'a> {
    fn from(state: &'a SiteState) -> Self {
        Self {
            state,
            acknowledged: false,
        }
    }
}

impl Counted<'_> {
    /// What it means for the exit status. A secret in an answer is never acknowledged.
    pub fn ending(self) -> Ending {
        match ending(self.state) {
            Ending::Bad if self.acknowledged && !self.state.exposes() => Ending::Acknowledged,
            ending => ending,
        }
    }
}

/// What `state` means for the exit status.
pub fn ending(state: &SiteState) -> Ending {
    if state.push.is_open() {
        return Ending::Open;
    }
    if state.alarm {
        return Ending::Bad;
    }
    if let Push::Skipped(reason) = state.push {
        return if reason.is_intended() {
            Ending::Good
        } else {
            Ending::Bad
        };
    }
    match state.verify {
        Verify::Verified | Verify::Superseded => Ending::Good,
        Verify::Serving | Verify::Settling => Ending::Waits,
        Verify::Queued | Verify::Checking => Ending::Open,
        Verify::Seen | Verify::NoKey if state.expected.is_none() => Ending::Good,
        Verify::Unchecked if state.push == Push::Idle => Ending::Good,
        _ => Ending::Bad,
    }
}

/// The one word that sums a site up: VERIFY's, or PUSH's where nothing was stored.
pub fn word(state: &SiteState) -> &'static str {
    match (state.push, state.verify) {
        // It serves what was expected before, which says nothing of the run.
        (Push::Skipped(_), _) => state.push.look().word,
        // What is proven is proven, whatever became of the PUT.
        (Push::Idle | Push::Stored, verify) | (_, verify @ (Verify::Verified | Verify::Superseded)) => {
            verify.look().word
        }
        (push, _) => push.look().word,
    }
}

impl Tally {
    /// Counts `states`.
    pub fn of<'a>(states: impl IntoIterator<Item: Into<Counted<'a>>>) -> Self {
        let mut tally = Self::default();
        for state in states {
            tally.add(state);
        }
        tally
    }

    /// A site's state changed.
    pub fn replace(&mut self, old: &SiteState, new: &SiteState) {
        self.remove(old);
        self.add(new);
    }

    /// A site more.
    pub fn add<'a>(&mut self, counted: impl Into<Counted<'a>>) {
        let counted = counted.into();
        let state = counted.state;
        self.sites += 1;
        *self.push.entry(state.push.look().word).or_default() += 1;
        *self.verify.entry(state.verify.look().word).or_default() += 1;
        *self.endings.entry(counted.ending()).or_default() += 1;
        *self.words.entry(word(state)).or_default() += 1;
        match &state.now {
            Served::Key(key) => *self.serves.entry(key.clone()).or_default() += 1,
            Served::NoKey => self.no_key += 1,
            Served::Secret => self.secret += 1,
            Served::Unknown => self.unseen += 1,
        }
    }

    /// A site less.
    pub fn remove(&mut self, state: &SiteState) {
        self.sites -= 1;
        take_one(&mut self.push, &state.push.look().word);
        take_one(&mut self.verify, &state.verify.look().word);
        take_one(&mut self.endings, &ending(state));
        take_one(&mut self.words, &word(state));
        match &state.now {
            Served::Key(key) => take_one(&mut self.serves, key),
            Served::NoKey => self.no_key -= 1,
            Served::Secret => self.secret -= 1,
            Served::Unknown => self.unseen -= 1,
        }
    }

    /// How many sites in all.
    pub fn sites(&self) -> usize {
        self.sites
    }

    /// How many sites have this word in PUSH.
    pub fn push(&self, word: &str) -> usize {
        self.push.get(word).copied().unwrap_or_default()
    }

    /// How many sites have this word in VERIFY.
    pub fn verify(&self, word: &str) -> usize {
        self.verify.get(word).copied().unwrap_or_default()
    }

    /// How many sites end so.
    pub fn ending(&self, ending: Ending) -> usize {
        self.endings.get(&ending).copied().unwrap_or_default()
    }

    /// The words of PUSH with how many sites have each, none of them zero.
    pub fn push_words(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.push.iter().map(|(word, count)| (*word, *count))
    }

    /// The words of VERIFY with how many sites have each, none of them zero.
    pub fn verify_words(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.verify.iter().map(|(word, count)| (*word, *count))
    }

    /// How many sites have each word that sums a site up, none of them zero. Together they are all sites.
    pub fn words(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.words.iter().map(|(word, count)| (*word, *count))
    }

    /// The keys that sites serve, with how many serve each, most first.
    pub fn serves(&self) -> Vec<(&PublishableKey, usize)> {
        let mut keys: Vec<_> = self.serves.iter().map(|(key, count)| (key, *count)).collect();
        keys.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        keys
    }

    /// The same, in no order.
    pub fn served(&self) -> impl Iterator<Item = &PublishableKey> {
        self.serves.keys()
    }

    /// How many sites were seen to serve no key.
    pub fn serves_none(&self) -> usize {
        self.no_key
    }

    /// How many sites serve a secret.
    pub fn serves_secret(&self) -> usize {
        self.secret
    }

    /// How many sites were never seen.
    pub fn unseen(&self) -> usize {
        self.unseen
    }
}

fn take_one<Key: Ord>(counts: &mut BTreeMap<Key, usize>, key: &Key) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::outcome::Cause;
    use crate::rules::status::SkipReason;

    fn state(push: Push, verify: Verify) -> SiteState {
        let mut state = SiteState::default();
        (state.push, state.verify) = (push, verify);
        state
    }

    #[test]
    fn replacing_keeps_the_counts() {
        let key = PublishableKey::parse("pk_test_51ExampleExampleExample").unwrap();
        let old = state(Push::Queued, Verify::Unchecked);
        let mut new = state(Push::Stored, Verify::Verified);
        new.now = Served::Key(key.clone());
        let mut tally = Tally::of([&old, &old]);
        assert_eq!(
            (tally.push("queued"), tally.ending(Ending::Open), tally.unseen()),
            (2, 2, 2)
        );
        tally.replace(&old, &new);
        assert_eq!(tally, Tally::of([&new, &old]));
        assert_eq!(tally.serves(), [(&key, 1)]);
    }

    #[test]
    fn each_state_ends_as_the_exit_table_says() {
        let failed = Verify::Failed(Cause::Timeout);
        for (push, verify, expected) in [
            (Push::Stored, Verify::Verified, Ending::Good),
            (Push::Stored, Verify::Superseded, Ending::Good),
            (
                Push::Skipped(SkipReason::Disabled),
                Verify::Unchecked,
                Ending::Good,
            ),
            (Push::Skipped(SkipReason::WrongMode), Verify::Seen, Ending::Good),
            (Push::Skipped(SkipReason::NotThisApi), failed, Ending::Bad),
            (Push::Skipped(SkipReason::OtherMode), Verify::Seen, Ending::Bad),
            (Push::Stored, Verify::Serving, Ending::Waits),
            (Push::Stored, Verify::Settling, Ending::Waits),
            (Push::Retrying, Verify::Unchecked, Ending::Open),
            (Push::Failed(Cause::RefusedKey), Verify::Unchecked, Ending::Bad),
            (Push::Cancelled, Verify::Unchecked, Ending::Bad),
            (Push::Unknown(Cause::Timeout), failed, Ending::Bad),
            (Push::Stored, Verify::Mismatch, Ending::Bad),
            (Push::Idle, Verify::Seen, Ending::Good),
            (Push::Idle, Verify::NoKey, Ending::Good),
            (Push::Idle, Verify::ExposedSecret, Ending::Bad),
            (Push::Idle, Verify::DeadKey, Ending::Bad),
            (Push::Stored, Verify::DeadKey, Ending::Bad),
            (Push::Idle, failed, Ending::Bad),
        ] {
            assert_eq!(ending(&state(push, verify)), expected, "{push:?} {verify:?}");
        }
    }

    #[test]
    fn what_is_acknowledged_is_bad_no_more_unless_it_is_an_alarm() {
        let end = |state: &SiteState| {
            let counted = Counted {
                state,
                acknowledged: true,
            };
            counted.ending()
        };
        let failed = Verify::Failed(Cause::Timeout);
        for (push, verify, expected) in [
            (
                Push::Failed(Cause::RefusedKey),
                Verify::Unchecked,
                Ending::Acknowledged,
            ),
            (Push::Stored, Verify::Mismatch, Ending::Acknowledged),
            (Push::Idle, failed, Ending::Acknowledged),
            (Push::Idle, Verify::Drifted, Ending::Acknowledged),
            (Push::Stored, Verify::Verified, Ending::Good),
            (Push::Stored, Verify::Serving, Ending::Waits),
            (Push::Sending, Verify::Unchecked, Ending::Open),
            (Push::Idle, Verify::ExposedSecret, Ending::Bad),
        ] {
            assert_eq!(end(&state(push, verify)), expected, "{push:?} {verify:?}");
        }
        let mut alarmed = state(Push::Failed(Cause::RefusedKey), Verify::Unchecked);
        alarmed.alarm = true;
        assert_eq!(end(&alarmed), Ending::Bad);
    }

    #[test]
    fn an_alarm_is_no_good_end() {
        let mut alarmed = state(Push::Stored, Verify::Verified);
        alarmed.alarm = true;
        assert_eq!(ending(&alarmed), Ending::Bad);
    }
}
