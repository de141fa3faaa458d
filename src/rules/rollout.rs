use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::run::Kind;
use super::state::SiteState;
use crate::key::{KeyMode, PublishableKey};
use crate::site::SiteId;

/// How far the waves of a run have come.
mod waves;
pub use waves::{Counts, Member, Step, Waves};

/// A part of some sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// So many sites.
    Sites(usize),
    /// So many of a hundred sites, 1 to 100.
    Percent(usize),
}

impl Share {
    /// Reads "10%".
    pub fn percent(text: &str) -> Option<Self> {
        let number = text.trim().strip_suffix('%')?.trim_end().parse().ok()?;
        (1..=100).contains(&number).then_some(Self::Percent(number))
    }

    /// How many of `total` sites it is: rounded up, and never more.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Sites(sites) => sites.min(total),
            Self::Percent(percent) => (total * percent).div_ceil(100).min(total),
        }
    }
}

/// Which sites go first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Canary {
    /// One site, where a live key that nobody serves yet goes to more than [`MANY_SITES`].
    #[default]
    Automatic,
    /// So many of each push; none with `Share::Sites(0)`.
    Share(Share),
    /// The sites of these names, as far as a push has them.
    Named(Vec<String>),
}

/// What happens between two waves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// The next one follows.
    #[default]
    None,
    /// The run pauses until somebody says that it goes on.
    Ask,
}

/// How many sites of a wave may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopAfter {
    /// However many: a run never halts for them.
    Never,
    /// When so many have failed. A percentage halts only where it is more than [`FEW_FAILURES`] sites too.
    Share(Share),
}

impl Default for StopAfter {
    fn default() -> Self {
        Self::Share(Share::Percent(5))
    }
}

/// A canary goes first by itself where a key goes to more sites than these.
pub const MANY_SITES: usize = 5;
/// So many failures never halt a run whose `stop_after` is a percentage.
pub const FEW_FAILURES: usize = 3;

impl StopAfter {
    /// Whether a wave of `sites` halts when `failed` of them have failed.
    pub fn halts(self, failed: usize, sites: usize) -> bool {
        match self {
            Self::Never => false,
            Self::Share(Share::Sites(most)) => failed >= most.max(1),
            Self::Share(Share::Percent(percent)) => failed > FEW_FAILURES && failed * 100 >= sites * percent,
        }
    }
}

/// `[rollout]`: who goes first, and when a run halts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Who goes first.
    pub canary: Canary,
    /// Up to which part of all sites each wave goes, the last one to all. Empty: all at once.
    pub waves: Vec<Share>,
    /// What happens between waves.
    pub pause: Pause,
    /// How many failures halt a run.
    pub stop_after: StopAfter,
}

/// What of it a plan carries to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Whether the first wave is a canary: all of it must serve the key before the next one begins.
    pub canary: bool,
    /// How many waves there are, the canary counted: at least 1.
    pub waves: usize,
    /// What happens between waves.
    pub pause: Pause,
    /// How many failures halt it.
    pub stop_after: StopAfter,
}

/// All at once, and it never halts.
impl Default for Rollout {
    fn default() -> Self {
        Self {
            canary: false,
            waves: 1,
            pause: Pause::None,
            stop_after: StopAfter::Never,
        }
    }
}

impl Rollout {
    /// How wave `wave` (from 0) is called.
    pub fn wave_name(self, wave: usize) -> String {
        match (self.canary, wave) {
            (true, 0) => "canary".to_owned(),
            (true, wave) => format!("{wave}/{}", self.waves - 1),
            (false, wave) => format!("{}/{}", wave + 1, self.waves),
        }
    }
}

/// A site that gets a PUT, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Which.
    pub site: SiteId,
    /// Its name.
    pub name: &'a str,
    /// The key that it gets.
    pub key: &'a PublishableKey,
    /// What is known of it.
    pub state: &'a SiteState,
}

impl Settings {
    /// The wave of each of `puts`, from 0, and how these follow each other. `is_served` tells whether any site is
    /// known to serve a key.
    pub fn assign(
        &self,
        kind: Kind,
        puts: &[Candidate<'_>],
        is_served: impl Fn(&PublishableKey) -> bool,
        now: Moment,
    ) -> (Rollout, Vec<usize>) {
        let canary = match kind {
            Kind::Push => self.canaries(puts, is_served, now),
            // What repeats or takes back is not to wait.
            Kind::Retry | Kind::Rollback => Vec::new(),
        };
        let shares: &[Share] = if kind == Kind::Push { &self.waves } else { &[] };
        let first = usize::from(!canary.is_empty());
        let ends: Vec<usize> = shares.iter().map(|share| share.of(puts.len())).collect();
        let mut waves: Vec<usize> = vec![0; puts.len()];
        let canaries: BTreeSet<usize> = canary.iter().copied().collect();
        let is_canary = |place: usize| canaries.contains(&place);
        let rest = (0..puts.len()).filter(|&place| !is_canary(place));
        for (place, before) in rest.zip(canary.len()..) {
            waves[place] = ends.iter().filter(|&&end| end <= before).count();
        }
        // Waves without a site are none.
        let mut used: Vec<usize> = (0..puts.len())
            .filter(|&place| !is_canary(place))
            .map(|place| waves[place])
            .collect();
        used.dedup();
        for (place, wave) in waves.iter_mut().enumerate() {
            let rank = used.binary_search(wave).unwrap_or_default();
            *wave = if is_canary(place) { 0 } else { rank + first };
        }
        let rollout = Rollout {
            canary: first == 1,
            waves: (used.len() + first).max(1),
            pause: self.pause,
            stop_after: self.stop_after,
        };
        (rollout, waves)
    }

    /// The places of those that go first.
    fn canaries(
        &self,
        puts: &[Candidate<'_>],
        is_served: impl Fn(&PublishableKey) -> bool,
        now: Moment,
    ) -> Vec<usize> {
        let count = match &self.canary {
            Canary::Automatic => {
                let keys: BTreeSet<&PublishableKey> = puts.iter().map(|put| put.key).collect();
                let is_new_and_live = |key: &&PublishableKey| key.mode() == KeyMode::Live && !is_served(key);
                usize::from(puts.len() > MANY_SITES && keys.iter().any(is_new_and_live))
            }
            Canary::Share(share) => share.of(puts.len()),
            Canary::Named(names) => {
                let is_named = |place: &usize| names.iter().any(|name| name == puts[*place].name);
                return (0..puts.len()).filter(is_named).collect();
            }
        };
        if count == 0 {
            return Vec::new();
        }
        let mut places: Vec<usize> = (0..puts.len()).collect();
        // One whose answers cannot be seen would never be seen to serve the key.
        let can_be_seen = |place: &usize| !puts[*place].state.cannot_be_seen();
        if self.canary == Canary::Automatic || places.iter().any(can_be_seen) {
            places.retain(can_be_seen);
        }
        places.sort_by_key(|&place| {
            let put = &puts[place];
            // What serves the key already proves nothing.
            let serves_it = put.state.now.key() == Some(put.key);
            (serves_it, put.state.health(now))
        });
        places.truncate(count);
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::outcome::{Answer, LookVerdict, Problem};
    use crate::rules::retry::Policy;
    use crate::text::CleanText;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use std::time::Duration;

    fn key(raw: &str) -> PublishableKey {
        PublishableKey::parse(&format!("{raw}_51ExampleExampleExample")).unwrap()
    }

    fn now() -> Moment {
        Moment {
            since_start: Duration::from_secs(1000),
            wall: Timestamp::UNIX_EPOCH,
        }
    }

    fn looked(verdict: LookVerdict, took: u64) -> SiteState {
        let mut state = SiteState::default();
        let answer = Answer {
            verdict,
            http: Some(200),
            took: Duration::from_millis(took),
            retry_after: None,
            detail: CleanText::default(),
            alarm: None,
        };
        state.order_look(None, 1, now());
        state.looked(&answer, &Policy::default(), now(), 0.5);
        state
    }

    fn waves(settings: &Settings, raw: &str, states: &[SiteState]) -> (Rollout, Vec<usize>) {
        let key = key(raw);
        let names: Vec<String> = (0..states.len()).map(|place| format!("shop{place}")).collect();
        let puts: Vec<Candidate<'_>> = states
            .iter()
            .enumerate()
            .map(|(place, state)| Candidate {
                site: SiteId::at(place),
                name: &names[place],
                key: &key,
                state,
            })
            .collect();
        let is_served = |key: &PublishableKey| states.iter().any(|state| state.now.key() == Some(key));
        settings.assign(Kind::Push, &puts, is_served, now())
    }

    #[test]
    fn a_new_live_key_goes_first_to_the_quickest_site_that_shows_what_it_serves() {
        let other = || LookVerdict::Serves(key("pk_live_other"));
        let mut states = vec![
            SiteState::default(),
            looked(LookVerdict::Problem(Problem::NoEndpoint), 1),
            looked(other(), 90),
            looked(other(), 30),
            looked(other(), 60),
            looked(LookVerdict::ExposedSecret, 1),
        ];
        let settings = Settings::default();
        let (rollout, placed) = waves(&settings, "pk_live", &states);
        assert!(rollout.canary);
        assert_eq!((rollout.waves, placed), (2, vec![1, 1, 1, 0, 1, 1]));
        assert_eq!(waves(&settings, "pk_test", &states).0.waves, 1, "a test key");
        assert!(!waves(&settings, "pk_live", &states[..5]).0.canary, "five sites");
        states[0] = looked(LookVerdict::Serves(key("pk_live")), 1);
        assert!(
            !waves(&settings, "pk_live", &states).0.canary,
            "it is served already"
        );
    }

    #[test]
    fn a_site_whose_answers_cannot_be_seen_is_no_canary() {
        let old = || looked(LookVerdict::Problem(Problem::NoEndpoint), 1);
        let mut states = vec![old(); 9];
        assert_eq!(
            waves(&Settings::default(), "pk_live", &states).0.waves,
            1,
            "there is none"
        );
        states.push(SiteState::default());
        assert_eq!(
            waves(&Settings::default(), "pk_live", &states).1[9],
            0,
            "never looked at"
        );
    }

    #[test]
    fn what_serves_the_key_already_or_failed_lately_goes_first_last() {
        use crate::rules::outcome::Cause;
        use crate::rules::status::Push;

        let other = || looked(LookVerdict::Serves(key("pk_test_other")), 50);
        let mut failed = other();
        failed.push = Push::Failed(Cause::ServerError);
        let states = [looked(LookVerdict::Serves(key("pk_test")), 1), failed, other()];
        let settings = Settings {
            canary: Canary::Share(Share::Sites(1)),
            ..Settings::default()
        };
        assert_eq!(waves(&settings, "pk_test", &states).1, [1, 1, 0]);
        assert_eq!(waves(&settings, "pk_test", &states[..2]).1, [1, 0]);
    }

    #[test]
    fn what_is_named_goes_first_as_far_as_it_is_there() {
        let settings = |canary| Settings {
            canary,
            ..Settings::default()
        };
        let states = vec![SiteState::default(); 4];
        let named = |names: &[&str]| Canary::Named(names.iter().map(|&name| name.to_owned()).collect());
        let of = |canary| waves(&settings(canary), "pk_test", &states);
        assert_eq!(of(named(&["shop2", "gone"])).1, [1, 1, 0, 1]);
        assert!(!of(named(&["gone"])).0.canary);
        assert_eq!(of(Canary::Share(Share::Percent(50))).1, [0, 0, 1, 1]);
        assert_eq!(of(Canary::Share(Share::Sites(0))).0.waves, 1);
        assert_eq!(
            of(Canary::Share(Share::Sites(9))).0.waves,
            1,
            "all of them are the canary"
        );
    }

    #[test]
    fn waves_reach_up_to_their_part_of_all_sites() {
        let settings = Settings {
            canary: Canary::Share(Share::Sites(1)),
            waves: vec![Share::Percent(10), Share::Percent(50), Share::Percent(100)],
            ..Settings::default()
        };
        let (rollout, placed) = waves(&settings, "pk_test", &vec![SiteState::default(); 20]);
        let in_wave = |wave| placed.iter().filter(|&&placed| placed == wave).count();
        assert_eq!([0, 1, 2, 3].map(in_wave), [1, 1, 8, 10]);
        assert_eq!(rollout.waves, 4);
        assert_eq!(
            [0, 1, 3].map(|wave| rollout.wave_name(wave)),
            ["canary", "1/3", "3/3"]
        );
        // With ten sites the canary is all of the first wave: that one is none.
        let (rollout, placed) = waves(&settings, "pk_test", &vec![SiteState::default(); 10]);
        assert_eq!((rollout.waves, placed[0], placed[1], placed[9]), (3, 0, 1, 2));
    }

    #[test]
    fn a_percentage_halts_only_where_more_than_three_failed() {
        let five = StopAfter::default();
        assert!(!five.halts(3, 3) && five.halts(4, 80) && !five.halts(4, 81));
        let two = StopAfter::Share(Share::Sites(2));
        assert!(!two.halts(1, 1) && two.halts(2, 1000));
        assert!(!StopAfter::Never.halts(1000, 1000));
    }

    #[test]
    fn a_percentage_is_written_with_its_sign() {
        assert_eq!(Share::percent("10%"), Some(Share::Percent(10)));
        for wrong in ["10", "0%", "101%", "-5%", "ten%", "%"] {
            assert_eq!(Share::percent(wrong), None, "{wrong}");
        }
        assert_eq!(Share::Percent(10).of(11), 2, "rounded up");
    }

    proptest! {
        #[test]
        fn each_site_has_a_wave_and_each_wave_a_site(
            sites in 1usize..200,
            canary in 0usize..10,
            percents in proptest::collection::btree_set(1usize..100, 0..5),
        ) {
            let mut shares: Vec<Share> = percents.into_iter().map(Share::Percent).collect();
            shares.push(Share::Percent(100));
            let settings = Settings {
                canary: Canary::Share(Share::Sites(canary)),
                waves: shares,
                ..Settings::default()
            };
            let (rollout, placed) = waves(&settings, "pk_test", &vec![SiteState::default(); sites]);
            for wave in 0..rollout.waves {
                prop_assert!(placed.contains(&wave));
            }
            prop_assert!(placed.iter().all(|&wave| wave < rollout.waves));
            if rollout.canary {
                prop_assert_eq!(placed.iter().filter(|&&wave| wave == 0).count(), canary.min(sites));
            }
        }
    }
}
