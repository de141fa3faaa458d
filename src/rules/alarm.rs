use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::outcome::Leak;
use super::state::SiteState;
use super::status::Verify;
use crate::key::{KeyMode, PublishableKey};
use crate::site::{Site, SiteId, SiteMode};
use crate::text::{Count, list};

/// What an answer shows that the operator is told at once, whatever else goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alarm {
    /// It serves a secret key to the public.
    ExposedSecret,
    /// A secret stood somewhere else in its answer; which one, where that was kept.
    SecretInAnswer(Option<Leak>),
    /// It serves a key of the other mode than belongs there.
    OtherMode,
    /// It serves neither the key that was put there nor one that caches may still have.
    ThirdKey,
}

impl Alarm {
    /// What is to be told of a site, if anything is.
    pub fn of(site: &Site, state: &SiteState) -> Option<Self> {
        if state.verify == Verify::ExposedSecret {
            return Some(Self::ExposedSecret);
        }
        if state.alarm {
            return Some(Self::SecretInAnswer(state.leak));
        }
        let serves = state.now.key()?;
        let is_wrong = state.expected.is_none() || state.shows_unknown_key();
        if is_wrong && mode_of(site, state).is_some_and(|mode| mode != serves.mode()) {
            return Some(Self::OtherMode);
        }
        (state.shows_unknown_key() && state.was_put()).then_some(Self::ThirdKey)
    }

    /// Whether a secret is out.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::ExposedSecret | Self::SecretInAnswer(_))
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::ExposedSecret => "exposed_secret",
            Self::SecretInAnswer(_) => "secret_in_answer",
            Self::OtherMode => "other_mode",
            Self::ThirdKey => "third_key",
        }
    }

    /// What one site does, and what several do.
    fn sentences(self) -> [&'static str; 2] {
        match self {
            Self::ExposedSecret => [
                "shows a SECRET key to the public: have it rolled in Stripe now",
                "show a SECRET key to the public: have them rolled in Stripe now",
            ],
            Self::SecretInAnswer(Some(Leak::MasterKey)) => [
                "answered with its master key (not kept): change the master key of this site",
                "answered with their master key (not kept): change the master key of these sites",
            ],
            Self::SecretInAnswer(Some(Leak::Stripe)) => [
                "answered with a Stripe secret in it (not kept): have it rolled in Stripe",
                "answered with a Stripe secret in it (not kept): have them rolled in Stripe",
            ],
            Self::SecretInAnswer(Some(Leak::Both)) => [
                "answered with its master key and a Stripe secret (not kept): change the one, have the other rolled in Stripe",
                "answered with their master key and a Stripe secret (not kept): change the one, have the other rolled in Stripe",
            ],
            Self::SecretInAnswer(None) => [
                "answered with a secret in it (not kept)",
                "answered with a secret in it (not kept)",
            ],
            Self::OtherMode => [
                "serves a key of the other mode than belongs there",
                "serve a key of the other mode than belongs there",
            ],
            Self::ThirdKey => [
                "serves a third key, neither the new nor the old one: another tenant, or changed by someone else?",
                "serve a third key, neither the new nor the old one: another tenant, or changed by someone else?",
            ],
        }
    }

    /// What stands before the sentence.
    fn call(self) -> &'static str {
        match self {
            Self::ExposedSecret | Self::SecretInAnswer(_) => "ALARM: ",
            Self::OtherMode | Self::ThirdKey => "",
        }
    }
}

/// The mode that belongs on a site: that of the key that is expected, else the one in the config.
fn mode_of(site: &Site, state: &SiteState) -> Option<KeyMode> {
    let configured = match site.mode {
        SiteMode::Live => Some(KeyMode::Live),
        SiteMode::Test => Some(KeyMode::Test),
        SiteMode::Any => None,
    };
    let expected = state.expected.as_ref().map(PublishableKey::mode);
    expected.or(configured)
}

/// So many sites are told of one by one before they are counted.
const SINGLY: usize = 3;
/// So many of those that are counted are named.
const NAMED: usize = 3;
/// How long sites are counted at first; twice as long each time that more come.
const COUNTED_FOR: Duration = Duration::from_secs(5);
/// The longest time that sites are counted before they are told of.
const COUNTED_AT_MOST: Duration = Duration::from_mins(5);

/// What was told already: each site once until it shows something else, and few sentences for many sites at once.
#[derive(Debug, Default)]
pub struct Alarms {
    told: HashMap<SiteId, (Alarm, Option<PublishableKey>)>,
    bursts: BTreeMap<Alarm, Burst>,
}

/// Sites that show the same at about the same time.
#[derive(Debug)]
struct Burst {
    singly: usize,
    counted: usize,
    names: Vec<String>,
    length: Duration,
    ends: Moment,
}

impl Alarms {
    /// Takes in what is known of a site after an answer. What is to be told of it now, if anything is.
    pub fn take(
        &mut self,
        id: SiteId,
        site: &Site,
        state: &SiteState,
        now: Moment,
    ) -> Option<(Alarm, String)> {
        let Some(alarm) = Alarm::of(site, state) else {
            if state.is_seen() {
                self.told.remove(&id);
            }
            return None;
        };
        let shows = (alarm, state.now.key().filter(|_| !alarm.is_secret()).cloned());
        if self.told.get(&id) == Some(&shows) {
            return None;
        }
        self.told.insert(id, shows);
        let burst = self.bursts.entry(alarm).or_insert_with(|| Burst {
            singly: 0,
            counted: 0,
            names: Vec::new(),
            length: COUNTED_FOR,
            ends: now + COUNTED_FOR,
        });
        if burst.singly < SINGLY {
            burst.singly += 1;
            let [one, _] = alarm.sentences();
            let key = state.now.key().filter(|_| !alarm.is_secret());
            let key = key.map_or_else(String::new, |key| format!(" ({key})"));
            return Some((alarm, format!("{}{} {one}{key}", alarm.call(), site.name)));
        }
        burst.counted += 1;
        if burst.names.len() < NAMED {
            burst.names.push(site.name.to_string());
        }
        None
    }

    /// When sites that were counted are told of next.
    pub fn next_at(&self) -> Option<Moment> {
        let counts = self.bursts.values().filter(|burst| burst.counted > 0);
        counts.map(|burst| burst.ends).min()
    }

    /// What is to be told by now of sites that were counted.
    pub fn due(&mut self, now: Moment) -> Vec<(Alarm, String)> {
        let mut told = Vec::new();
        self.bursts.retain(|alarm, burst| {
            if now < burst.ends {
                return true;
            }
            if burst.counted == 0 {
                // It is over: what comes later is told of one by one again.
                return false;
            }
            told.push((*alarm, burst.sentence(*alarm)));
            burst.length = (burst.length * 2).min(COUNTED_AT_MOST);
            (burst.counted, burst.ends) = (0, now + burst.length);
            burst.names.clear();
            true
        });
        told
    }

    /// All that is left to be told of.
    pub fn rest(&mut self) -> Vec<(Alarm, String)> {
        let counts = std::mem::take(&mut self.bursts).into_iter();
        let counts = counts.filter(|(_, burst)| burst.counted > 0);
        counts
            .map(|(alarm, burst)| (alarm, burst.sentence(alarm)))
            .collect()
    }
}

impl Burst {
    fn sentence(&self, alarm: Alarm) -> String {
        let sentence = alarm.sentences()[usize::from(self.counted > 1)];
        let mut names = self.names.clone();
        if self.counted > names.len() {
            names.push(format!("{} more", self.counted - names.len()));
        }
        let sites = Count(self.counted, "more site");
        format!("{}{sites} {sentence} ({})", alarm.call(), list(&names, "and"))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::rules::outcome::{Answer, LookVerdict, PutVerdict};
    use crate::rules::retry::Policy;
    use crate::rules::state::{Allow, Call};
    use crate::site::{MasterKeyId, SiteUrl};
    use crate::text::CleanText;

    fn key(raw: &str) -> PublishableKey {
        PublishableKey::parse(&format!("pk_{raw}_51ExampleExampleExample")).unwrap()
    }

    fn other(tail: &str) -> PublishableKey {
        PublishableKey::parse(&format!("pk_live_51ExampleExampleExample{tail}")).unwrap()
    }

    fn at(seconds: u64) -> Moment {
        Moment {
            since_start: Duration::ZERO,
            wall: Timestamp::UNIX_EPOCH,
        } + Duration::from_secs(seconds)
    }

    fn site(index: u32) -> Site {
        let url = SiteUrl::parse(&format!("https://shop{index}.example.com")).unwrap();
        Site {
            name: CleanText::note(&format!("shop{index}")),
            backend: url.backend().into(),
            url,
            group: None,
            mode: SiteMode::Any,
            master_key: MasterKeyId(0),
            enabled: true,
        }
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

    fn look(state: &mut SiteState, verdict: LookVerdict, seconds: u64) {
        state.order_look(None, 1, at(seconds));
        state.calling(Call::Look, &Policy::default(), at(seconds));
        state.looked(&answer(verdict), &Policy::default(), at(seconds), 0.5);
    }

    /// Served `Old`, got `New` at second 10.
    fn pushed(old: PublishableKey) -> SiteState {
        let (mut state, policy) = (SiteState::default(), Policy::default());
        look(&mut state, LookVerdict::Serves(old), 0);
        let allow = Allow {
            mode_change: true,
            ..Allow::default()
        };
        state.order_push(other("New"), allow, false, at(9));
        state.calling(Call::Put, &policy, at(9));
        state.put_answered(&answer(PutVerdict::Stored), &policy, at(10), 0.5);
        state
    }

    #[test]
    fn what_caches_may_have_is_no_alarm_and_anything_else_is_at_once() {
        let shows = |old: &PublishableKey, verdict: LookVerdict, seconds| {
            let mut state = pushed(old.clone());
            look(&mut state, verdict, seconds);
            Alarm::of(&site(0), &state)
        };
        let (old, test) = (other("Old"), key("test"));
        let serves = |key: &PublishableKey| LookVerdict::Serves(key.clone());
        for (before, verdict, seconds, expected) in [
            (&old, serves(&old), 11, None),
            (&old, serves(&other("New")), 11, None),
            (&old, LookVerdict::NoKey, 11, None),
            (&old, serves(&other("Third")), 11, Some(Alarm::ThirdKey)),
            (&old, serves(&test), 11, Some(Alarm::OtherMode)),
            (&old, LookVerdict::ExposedSecret, 11, Some(Alarm::ExposedSecret)),
            // A key of the other mode that the run replaces is an old key like any other.
            (&test, serves(&test), 11, None),
            // The old one after the settle time failed to go away, and is no third one.
            (&old, serves(&old), 400, None),
        ] {
            assert_eq!(
                shows(before, verdict.clone(), seconds),
                expected,
                "{verdict:?} {seconds}"
            );
        }
    }

    #[test]
    fn a_test_key_on_a_live_site_is_one_without_any_push() {
        let live = Site {
            mode: SiteMode::Live,
            ..site(0)
        };
        let mut state = SiteState::default();
        look(&mut state, LookVerdict::Serves(key("test")), 0);
        assert_eq!(Alarm::of(&live, &state), Some(Alarm::OtherMode));
        assert_eq!(Alarm::of(&site(0), &state), None);
        look(&mut state, LookVerdict::Serves(key("live")), 1);
        assert_eq!(Alarm::of(&live, &state), None);
    }

    #[test]
    fn each_site_is_told_of_once_until_it_shows_something_else() {
        let mut alarms = Alarms::default();
        let mut state = pushed(other("Old"));
        let mut shows = |verdict, seconds: u64| {
            look(&mut state, verdict, seconds);
            alarms
                .take(SiteId(0), &site(0), &state, at(seconds))
                .map(|(alarm, _)| alarm)
        };
        let third = || LookVerdict::Serves(other("Third"));
        assert_eq!(shows(third(), 11), Some(Alarm::ThirdKey));
        assert_eq!(shows(third(), 12), None);
        assert_eq!(
            shows(LookVerdict::Serves(other("Fourth")), 13),
            Some(Alarm::ThirdKey)
        );
        assert_eq!(shows(LookVerdict::ExposedSecret, 14), Some(Alarm::ExposedSecret));
        assert_eq!(shows(LookVerdict::ExposedSecret, 15), None);
        assert_eq!(shows(LookVerdict::Serves(other("New")), 16), None);
        assert_eq!(shows(LookVerdict::ExposedSecret, 17), Some(Alarm::ExposedSecret));
    }

    #[test]
    fn a_thousand_sites_at_once_take_few_sentences() {
        let mut alarms = Alarms::default();
        let mut state = pushed(other("Old"));
        look(&mut state, LookVerdict::Serves(other("Third")), 11);
        let told: Vec<String> = (0..1000)
            .filter_map(|index| alarms.take(SiteId(index), &site(index), &state, at(11)))
            .map(|(_, text)| text)
            .collect();
        assert_eq!(told.len(), 3);
        assert!(told[0].starts_with("shop0 serves a third key"), "{}", told[0]);
        assert!(alarms.due(at(12)).is_empty());
        assert_eq!(alarms.next_at(), Some(at(16)));
        let [(alarm, text)] = &alarms.due(at(16))[..] else {
            panic!("one sentence for all of them");
        };
        assert_eq!(*alarm, Alarm::ThirdKey);
        assert!(text.starts_with("997 more sites serve a third key"), "{text}");
        assert!(text.ends_with("(shop3, shop4, shop5 and 994 more)"), "{text}");
        assert!(alarms.next_at().is_none() && alarms.rest().is_empty());
        // When nothing more came for a while, they are told of one by one again.
        assert!(alarms.due(at(60)).is_empty());
        assert!(alarms.take(SiteId(1000), &site(1000), &state, at(61)).is_some());
    }
}
