use std::collections::BTreeMap;

use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::run::RunId;
use crate::rules::state::{Allow, RetryPlan, SiteState};
use crate::rules::status::SkipReason;
use crate::site::SiteId;
use crate::text::Count;

/// What repeats what failed in a run: which sites get which key again, and what is done with the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Again {
    /// The sites that get a PUT again, each with the key that was planned for it.
    pub puts: Vec<(SiteId, PublishableKey)>,
    /// The others of which something is to be said, and what.
    pub aside: Vec<(SiteId, Aside)>,
}

/// Why a site of a run that is repeated gets no PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    /// Only its look failed: it is looked at again.
    Looks,
    /// It was held back, and nobody has said that it may go.
    HeldBack(SkipReason),
    /// Its settle time runs; when it is looked at next, if that is known.
    Settles(Option<Moment>),
    /// Something is under way there.
    Busy,
}

impl Again {
    /// Of `run`, as far as no later run has taken its sites over. `state` gives what is known of a site.
    pub fn of<'a>(
        run: RunId,
        sites: impl IntoIterator<Item = SiteId>,
        state: impl Fn(SiteId) -> &'a SiteState,
        allow: Allow,
    ) -> Self {
        let mut again = Self::default();
        for site in sites {
            let known = state(site);
            if known.run != Some(run) {
                continue;
            }
            let aside = match known.retry_plan() {
                RetryPlan::Push | RetryPlan::OtherRun => None,
                RetryPlan::Ask(reason) if allow.lets_go(reason) => None,
                RetryPlan::Ask(reason) => Some(Aside::HeldBack(reason)),
                RetryPlan::Look => Some(Aside::Looks),
                RetryPlan::Settles => Some(Aside::Settles(known.next_at)),
                RetryPlan::Busy => Some(Aside::Busy),
                RetryPlan::Nothing => continue,
            };
            match (aside, known.planned_key()) {
                (Some(aside), _) => again.aside.push((site, aside)),
                (None, Some(key)) => again.puts.push((site, key.clone())),
                (None, None) => {}
            }
        }
        again
    }

    /// The sites that are looked at again.
    pub fn looks(&self) -> impl Iterator<Item = SiteId> {
        let looks = self.aside.iter().filter(|(_, aside)| *aside == Aside::Looks);
        looks.map(|(site, _)| *site)
    }

    /// What is said of those that get no PUT: a line for each kind. `names` lists sites, `clock` writes a time of day.
    pub fn lines(
        aside: &[(SiteId, Aside)],
        names: impl Fn(&[SiteId]) -> String,
        clock: impl Fn(Moment) -> String,
    ) -> Vec<String> {
        let mut kinds: BTreeMap<&'static str, (Aside, Vec<SiteId>)> = BTreeMap::new();
        for (site, aside) in aside {
            let kind = kinds.entry(aside.word()).or_insert((*aside, Vec::new()));
            kind.0 = kind.0.for_all(*aside);
            kind.1.push(*site);
        }
        let line = |(aside, sites): (Aside, Vec<SiteId>)| {
            let each = if sites.len() > 1 { ", each of them" } else { "" };
            let count = Count(sites.len(), "site");
            format!("{count}{each} {} ({})", aside.sentence(&clock), names(&sites))
        };
        kinds.into_values().map(line).collect()
    }

    /// How many were held back and stay so.
    pub fn held_back(&self) -> usize {
        let held_back = |(_, aside): &&(SiteId, Aside)| matches!(aside, Aside::HeldBack(_));
        self.aside.iter().filter(held_back).count()
    }
}

impl Aside {
    /// Of many sites alike what is said once: the one that is looked at first stands for those that settle.
    fn for_all(self, other: Self) -> Self {
        match (self, other) {
            (Self::Settles(Some(one)), Self::Settles(Some(next))) if next.wall < one.wall => other,
            (Self::Settles(None), Self::Settles(Some(_))) => other,
            _ => self,
        }
    }

    /// The word for it, in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Looks => "look",
            Self::HeldBack(reason) => reason.word(),
            Self::Settles(_) => "settling",
            Self::Busy => "busy",
        }
    }

    /// What is said of it; `clock` writes a time of day.
    pub fn sentence(self, clock: impl Fn(Moment) -> String) -> String {
        match self {
            Self::Looks => "stored its key and its look failed: it is looked at again".to_owned(),
            Self::HeldBack(reason) => match reason.flag() {
                Some(flag) => format!("{}; {flag} sends it all the same", reason.sentence()),
                None => reason.sentence().to_owned(),
            },
            Self::Settles(Some(next)) => format!("settles: it is looked at next {}", clock(next)),
            Self::Settles(None) => "settles: it is not sent again before that is over".to_owned(),
            Self::Busy => "is being worked on".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::rules::outcome::Cause;
    use crate::rules::status::{Push, Verify};

    #[test]
    fn each_site_of_a_run_gets_what_it_lacks() {
        let key = PublishableKey::parse("pk_test_51ExampleExampleExampleExampleAbCd").unwrap();
        let state = |run, push, verify| {
            let mut state = SiteState::default();
            (state.run, state.push, state.verify) = (Some(RunId(run)), push, verify);
            state.expected = Some(key.clone());
            state
        };
        let failed = Cause::Timeout;
        let states = [
            state(7, Push::Stored, Verify::Verified),
            state(7, Push::Failed(failed), Verify::Unchecked),
            state(7, Push::Stored, Verify::Failed(failed)),
            state(7, Push::Skipped(SkipReason::NotThisApi), Verify::Unchecked),
            state(7, Push::Skipped(SkipReason::Disabled), Verify::Unchecked),
            state(8, Push::Failed(failed), Verify::Unchecked),
            state(7, Push::Stored, Verify::Mismatch),
        ];
        let of = |allow| {
            let sites = (0..states.len()).map(SiteId::at);
            Again::of(RunId(7), sites, |id| &states[id.index()], allow)
        };
        let again = of(Allow::default());
        let puts: Vec<u32> = again.puts.iter().map(|(site, _)| site.0).collect();
        assert_eq!(puts, [1, 6]);
        assert_eq!(again.looks().collect::<Vec<_>>(), [SiteId(2)]);
        assert_eq!(again.held_back(), 1);
        let said = again.aside[1].1.sentence(|_| String::new());
        assert!(said.contains("--allow-unrecognised"), "{said}");
        let names = |sites: &[SiteId]| format!("{}", sites.len());
        let at = |seconds| Moment {
            since_start: Duration::ZERO,
            wall: Timestamp::from_second(seconds).unwrap(),
        };
        let settles = [
            (SiteId(4), Aside::Settles(Some(at(9)))),
            (SiteId(5), Aside::Settles(Some(at(7)))),
        ];
        let lines = Again::lines(&settles, names, |at| at.wall.as_second().to_string());
        assert_eq!(
            lines,
            ["2 sites, each of them settles: it is looked at next 7 (2)"]
        );
        let again = of(Allow {
            unrecognised: true,
            ..Allow::default()
        });
        assert_eq!((again.puts.len(), again.held_back()), (3, 0));
    }
}
