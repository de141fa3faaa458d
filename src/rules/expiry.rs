use std::time::Duration;

use super::moment::Moment;
use super::state::SiteState;
use crate::key::PublishableKey;
use crate::text::{Count, list};

/// What the answer comes from, kept up to date site by site.
mod evidence;

/// Which sites are behind the answer.
mod sites;

pub use evidence::Evidence;
pub use sites::{KeyAtSites, May, SitesOfOldKeys};

/// A key that the run replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldKey {
    /// Which.
    pub key: PublishableKey,
    /// How many sites were seen to serve it when they were last looked at.
    pub serving: usize,
    /// Until when some site's cache may still answer it, if one may.
    pub until: Option<Moment>,
}

/// The answer to the question behind a rotation: may the old key expire now?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The old keys, the most served first: those of the run's mode, and those of the other one that it replaced.
    pub old: Vec<OldKey>,
    /// Sites of which nobody knows what they serve, by their place in the list.
    pub unseen: Vec<usize>,
    /// Sites whose PUT, or the proof of it, is still to come: their caches may answer anything.
    pub unproven: usize,
    /// When the last of these proofs is due, as far as they have a time that is still to come.
    pub proven_at: Option<Moment>,
    /// How long before the looks a push of another process may have gone, of which a cache would tell nothing;
    /// none where the run is our own.
    pub hidden_for: Option<Duration>,
    /// Sources of sites that could not be read: nobody knows what the sites serve that only stand there.
    pub missing_sources: usize,
}

impl Expiry {
    /// For a run of `key`, from what is known of the sites at `now`.
    pub fn of<'a>(
        states: impl IntoIterator<Item = &'a SiteState>,
        key: &PublishableKey,
        now: Moment,
    ) -> Self {
        let mut evidence = Evidence::new(key.clone());
        for (place, state) in states.into_iter().enumerate() {
            evidence.add(place, state);
        }
        evidence.expiry(now)
    }

    /// As the looks of a process that knows of no push tell it: one of the last `settle` may be hidden from
    /// them.
    #[must_use]
    pub fn of_looks_alone(mut self, settle: Duration) -> Self {
        self.hidden_for = Some(settle);
        self
    }

    /// As a list of sites tells it that lacks those of so many sources.
    #[must_use]
    pub fn lacking_sources(mut self, missing: usize) -> Self {
        self.missing_sources = missing;
        self
    }

    /// Whether no site is known or feared to serve an old key.
    pub fn is_safe(&self) -> bool {
        let known = self.unseen.is_empty() && self.unproven == 0 && self.missing_sources == 0;
        known && self.hidden_for.is_none() && self.feared().next().is_none()
    }

    /// Old keys that a site serves, or may.
    fn feared(&self) -> impl Iterator<Item = &OldKey> {
        self.old
            .iter()
            .filter(|old| old.serving > 0 || old.until.is_some())
    }

    /// The answer in a few words, without reasons.
    pub fn short_sentence(&self, mask: &dyn Fn(&PublishableKey) -> String) -> String {
        let feared: Vec<String> = self.feared().map(|old| mask(&old.key)).collect();
        if !feared.is_empty() {
            return format!("do not expire {} yet", list(&feared, "and"));
        }
        if self.is_safe() {
            return "the old key may expire".to_owned();
        }
        "do not expire the old key yet".to_owned()
    }

    /// The answer alone.
    pub fn shortest_sentence(&self) -> &'static str {
        if self.is_safe() {
            "may expire"
        } else {
            "do not expire yet"
        }
    }

    /// The answer with one reason, and no list of keys, however many there are.
    pub fn brief_sentence(&self, mask: &dyn Fn(&PublishableKey) -> String) -> String {
        let serving: usize = self.old.iter().map(|old| old.serving).sum();
        let keys = self.feared().count();
        let why = if serving > 0 {
            let serve = if serving == 1 { "serves" } else { "serve" };
            format!("{} {serve} {}", Count(serving, "site"), Count(keys, "old key"))
        } else if keys > 0 {
            format!("caches may hold {}", Count(keys, "old key"))
        } else if !self.unseen.is_empty() {
            self.not_seen()
        } else if self.missing_sources > 0 {
            self.not_read()
        } else {
            return self.short_sentence(mask);
        };
        format!("{}: {why}", self.shortest_sentence())
    }

    /// The answer in one line. `mask` writes a key, `clock` a time of day.
    pub fn sentence(
        &self,
        mask: &dyn Fn(&PublishableKey) -> String,
        clock: &dyn Fn(Moment) -> String,
    ) -> String {
        let why: Vec<String> = self
            .old
            .iter()
            .filter_map(|old| {
                if old.serving > 0 {
                    let serve = if old.serving == 1 { "serves" } else { "serve" };
                    return Some(format!(
                        "{} yet: {} {serve} it",
                        mask(&old.key),
                        Count(old.serving, "site")
                    ));
                }
                let until = clock(old.until?);
                Some(format!("{} yet: until {until}", mask(&old.key)))
            })
            .collect();
        if !why.is_empty() {
            let unseen = (!self.unseen.is_empty()).then(|| self.not_seen());
            let unread = (self.missing_sources > 0).then(|| self.not_read());
            let whole: Vec<String> = why.into_iter().chain(unseen).chain(unread).collect();
            return format!("do not expire {}", whole.join("; "));
        }
        let names: Vec<String> = self.old.iter().map(|old| mask(&old.key)).collect();
        let names = if names.is_empty() {
            "the old key".to_owned()
        } else {
            list(&names, "and")
        };
        let unknown = self.unknown(clock);
        if !unknown.is_empty() {
            return format!("do not expire {names} yet: {}", unknown.join("; "));
        }
        if let Some(settle) = self.hidden_for {
            let seconds = settle.as_secs();
            return format!(
                "no other key was seen; a push of the last {seconds} s may hide one in a cache: verify again after that"
            );
        }
        format!("{names} may expire, as far as can be seen from here")
    }

    /// What nobody knows.
    fn unknown(&self, clock: &dyn Fn(Moment) -> String) -> Vec<String> {
        let mut unknown = Vec::new();
        if !self.unseen.is_empty() {
            unknown.push(self.not_seen());
        } else if self.unproven > 0 {
            let is = if self.unproven == 1 { "is" } else { "are" };
            let until = self
                .proven_at
                .map_or_else(String::new, |at| format!(", until {}", clock(at)));
            unknown.push(format!("{} {is} not proven{until}", Count(self.unproven, "site")));
        }
        if self.missing_sources > 0 {
            unknown.push(self.not_read());
        }
        unknown
    }

    fn not_seen(&self) -> String {
        let were = if self.unseen.len() == 1 { "was" } else { "were" };
        format!("{} {were} not seen", Count(self.unseen.len(), "site"))
    }

    fn not_read(&self) -> String {
        format!("{} could not be read", Count(self.missing_sources, "source"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::rules::outcome::{Answer, LookVerdict, PutVerdict};
    use crate::rules::retry::Policy;
    use crate::rules::state::{Allow, Call};
    use crate::text::CleanText;
    use jiff::Timestamp;

    fn at(seconds: u64) -> Moment {
        Moment {
            since_start: Duration::ZERO,
            wall: Timestamp::UNIX_EPOCH,
        } + Duration::from_secs(seconds)
    }

    fn key(tail: &str) -> PublishableKey {
        PublishableKey::parse(&format!("pk_live_51ExampleExampleExample{tail}")).unwrap()
    }

    fn answer<V>(verdict: V) -> Answer<V> {
        Answer {
            verdict,
            http: Some(200),
            took: Duration::ZERO,
            retry_after: None,
            detail: CleanText::default(),
            alarm: None,
        }
    }

    fn looked(state: &mut SiteState, serves: &str, seconds: u64) {
        state.calling(Call::Look, &Policy::default(), at(seconds));
        let verdict = LookVerdict::Serves(key(serves));
        state.looked(&answer(verdict), &Policy::default(), at(seconds), 0.5);
    }

    /// Served the old key, got the new one at second 10.
    fn pushed() -> SiteState {
        let policy = Policy::default();
        let mut state = SiteState::default();
        state.order_look(None, 1, at(0));
        looked(&mut state, "Old1", 0);
        state.order_push(key("New1"), Allow::default(), false, at(9));
        state.calling(Call::Put, &policy, at(9));
        state.put_answered(&answer(PutVerdict::Stored), &policy, at(10), 0.5);
        state
    }

    fn sentence(states: &[SiteState], seconds: u64) -> String {
        let expiry = Expiry::of(states, &key("New1"), at(seconds));
        let clock = |moment: Moment| format!("second {}", moment.since_start.as_secs());
        expiry.sentence(&PublishableKey::mask, &clock)
    }

    #[test]
    fn a_key_that_sites_serve_must_not_expire() {
        assert_eq!(
            sentence(&[pushed(), pushed()], 11),
            "do not expire pk_live_…Old1 yet: 2 sites serve it"
        );
    }

    #[test]
    fn a_key_that_caches_may_answer_must_not_expire_until_they_cannot() {
        let mut state = pushed();
        looked(&mut state, "New1", 11);
        let states = [state];
        assert_eq!(
            sentence(&states, 12),
            "do not expire pk_live_…Old1 yet: until second 340"
        );
        let mut proven = states;
        looked(&mut proven[0], "New1", 340);
        assert_eq!(
            sentence(&proven, 341),
            "pk_live_…Old1 may expire, as far as can be seen from here"
        );
    }

    #[test]
    fn a_site_that_was_not_seen_leaves_it_open() {
        let mut proven = pushed();
        looked(&mut proven, "New1", 340);
        assert_eq!(
            sentence(&[proven, SiteState::default()], 341),
            "do not expire pk_live_…Old1 yet: 1 site was not seen"
        );
    }

    #[test]
    fn nothing_is_safe_while_a_source_of_sites_is_missing() {
        let mut proven = pushed();
        looked(&mut proven, "New1", 340);
        let said = |states: &[SiteState], seconds| {
            let expiry = Expiry::of(states, &key("New1"), at(seconds)).lacking_sources(1);
            assert!(!expiry.is_safe());
            assert_eq!(expiry.short_sentence(&PublishableKey::mask), {
                let settled = seconds == 341 && states.len() == 1;
                let old = if settled { "the old key" } else { "pk_live_…Old1" };
                format!("do not expire {old} yet")
            });
            let sites = SitesOfOldKeys::of_expiry(&expiry, states, at(seconds));
            assert!(sites.keys.iter().all(|old| !sites.may_expire(old)));
            expiry.sentence(&PublishableKey::mask, &|_| "14:07".to_owned())
        };
        let settled = said(std::slice::from_ref(&proven), 341);
        assert_eq!(
            settled,
            "do not expire pk_live_…Old1 yet: 1 source could not be read"
        );
        let mut unproven = pushed();
        looked(&mut unproven, "New1", 12);
        assert_eq!(
            said(&[proven, unproven], 13),
            "do not expire pk_live_…Old1 yet: until 14:07; 1 source could not be read"
        );
    }

    #[test]
    fn looks_alone_call_nothing_safe() {
        let mut seen = SiteState::default();
        seen.order_look(Some(key("New1")), 1, at(0));
        looked(&mut seen, "New1", 0);
        let expiry = Expiry::of([&seen], &key("New1"), at(1)).of_looks_alone(Duration::from_secs(330));
        assert!(!expiry.is_safe());
        let said = expiry.sentence(&PublishableKey::mask, &|_| String::new());
        assert!(
            said.starts_with("no other key was seen; a push of the last 330 s"),
            "{said}"
        );
    }

    /// What a site may have been through: nothing, a look, a push, a proof, a failed PUT.
    fn lives() -> impl Strategy<Value = SiteState> {
        (0..5u8, 0..3u64).prop_map(|(life, later)| {
            let mut state = SiteState::default();
            if life > 0 {
                state.order_look(None, 1, at(0));
                looked(&mut state, if life == 1 { "New1" } else { "Old1" }, later);
            }
            if life > 2 {
                state = pushed();
                looked(&mut state, "New1", 11 + later);
            }
            if life > 3 {
                looked(&mut state, "New1", 340 + later);
            }
            state
        })
    }

    proptest! {
        #[test]
        fn evidence_that_is_kept_up_to_date_is_that_of_all_sites(
            before in prop::collection::vec(lives(), 5),
            changes in prop::collection::vec((0..5usize, lives()), 0..20),
            seconds in 0..400u64,
        ) {
            let mut states = before;
            let mut evidence = Evidence::new(key("New1"));
            for (place, state) in states.iter().enumerate() {
                evidence.add(place, state);
            }
            for (place, state) in changes {
                evidence.replace(place, &states[place], &state);
                states[place] = state;
            }
            let all = Expiry::of(&states, &key("New1"), at(seconds));
            let sites = SitesOfOldKeys::of_expiry(&all, &states, at(seconds));
            prop_assert_eq!(&sites.unseen, &all.unseen);
            prop_assert_eq!(sites.unproven.len(), all.unproven);
            for old in &all.old {
                let at_sites = sites.keys.iter().find(|at_sites| at_sites.key == old.key).unwrap();
                prop_assert_eq!(at_sites.serving.len(), old.serving);
                prop_assert_eq!(at_sites.until, old.until);
                prop_assert!(!all.is_safe() || sites.may_expire(at_sites));
            }
            prop_assert_eq!(all.is_safe(), sites.keys.iter().all(|old| sites.may_expire(old))
                && sites.unseen.is_empty() && sites.unproven.is_empty());
            prop_assert_eq!(evidence.expiry(at(seconds)), all);
        }
    }
}
