use super::outlook::Outlook;
use super::{Plan, PlanAction, PlanRow};
use crate::rules::state::SiteState;
use crate::rules::status::SkipReason;
use crate::site::SiteId;

impl Plan {
    /// Leaves out the sites that serve the key already, or takes them in again. What a site serves may be a fallback
    /// (contract.md), so that only the operator's word leaves it out.
    ///
    /// Waves are given anew behind it ([`Plan::in_waves`]).
    pub fn skip_equal<'a>(&mut self, skips: bool, state: impl Fn(SiteId) -> &'a SiteState) {
        let allow = self.allow;
        let is_equal = |row: &PlanRow| Outlook::of(row, state(row.site), allow) == Outlook::ServesAlready;
        for row in &mut self.rows {
            match row.action {
                PlanAction::Put if skips && is_equal(row) => {
                    row.action = PlanAction::Skip(SkipReason::Equal);
                    row.wave = 0;
                }
                PlanAction::Skip(SkipReason::Equal) if !skips => row.action = PlanAction::Put,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::super::Confirm;
    use super::*;
    use crate::key::PublishableKey;
    use crate::rules::moment::Moment;
    use crate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
    use crate::rules::retry::Policy;
    use crate::rules::state::{Allow, Call};
    use crate::site::{MasterKeyId, Site, SiteMode, SiteUrl};
    use crate::text::CleanText;

    fn key(tail: &str) -> PublishableKey {
        PublishableKey::parse(&format!("pk_live_51ExampleExampleExample{tail}")).unwrap()
    }

    fn at(seconds: u64) -> Moment {
        Moment {
            since_start: Duration::ZERO,
            wall: Timestamp::UNIX_EPOCH,
        } + Duration::from_secs(seconds)
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

    fn look(mut state: SiteState, verdict: LookVerdict, seconds: u64) -> SiteState {
        state.order_look(None, 1, at(seconds));
        state.calling(Call::Look, &Policy::default(), at(seconds));
        state.looked(&answer(verdict), &Policy::default(), at(seconds), 0.5);
        state
    }

    fn stored(mut state: SiteState, key: PublishableKey, seconds: u64) -> SiteState {
        let policy = Policy::default();
        state.order_push(key, Allow::default(), false, at(seconds));
        state.calling(Call::Put, &policy, at(seconds));
        state.put_answered(&answer(PutVerdict::Stored), &policy, at(seconds), 0.5);
        state
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

    #[test]
    fn only_what_was_seen_to_serve_the_key_and_no_other_is_left_out() {
        let serves = |tail| LookVerdict::Serves(key(tail));
        let seen = |tail| look(SiteState::default(), serves(tail), 0);
        let states = [
            seen("New"),
            seen("Old"),
            SiteState::default(),
            // Its last look brought no answer.
            look(seen("New"), LookVerdict::Problem(Problem::Timeout), 1),
            // Another key was stored since, which the cache of the process that answered hides.
            look(stored(seen("New"), key("Other"), 2), serves("New"), 3),
            // Stored a moment ago: it serves it, and its proof is due all the same.
            look(stored(seen("Old"), key("New"), 2), serves("New"), 3),
        ];
        let sites: Vec<Site> = (0..6).map(site).collect();
        let state = |id: SiteId| &states[id.index()];
        let all = Plan::new(key("New"), (0..6).map(SiteId), &sites, state, Allow::default());
        let mut plan = all.clone();
        plan.skip_equal(true, state);
        let left_out: Vec<usize> = plan
            .rows
            .iter()
            .filter(|row| row.action == PlanAction::Skip(SkipReason::Equal))
            .map(|row| row.site.index())
            .collect();
        assert_eq!(left_out, [0, 5]);
        assert_eq!(plan.confirm(), Confirm::Phrase("live 4".to_owned()));
        plan.skip_equal(false, state);
        assert_eq!(plan, all);
    }
}
