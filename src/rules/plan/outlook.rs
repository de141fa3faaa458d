use super::{Plan, PlanAction, PlanRow};
use crate::rules::state::{Allow, SiteState};
use crate::rules::status::{Push, SkipReason};
use crate::site::SiteId;

/// What is to be expected of a site of a plan, from what was last seen of it. Each site has one. In the order of how
/// much attention it needs: what may come otherwise than planned, what is refused, what changes, and the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outlook {
    /// At the last look it did not answer like a template site: if it still does not, its PUT is held back.
    NoTemplateSite,
    /// It did not answer at the last look.
    NoAnswer,
    /// What is put back there may never have been stored there.
    Doubtful,
    /// It was held back for this reason, or would be; the operator lets it go all the same.
    AllTheSame(SkipReason),
    /// Its mode, or that of the key it serves, keeps it out.
    Refused(SkipReason),
    /// It had no key that could be put back.
    NotReversible,
    /// It was never looked at.
    NeverSeen,
    /// It serves something else.
    Changes,
    /// It serves the key already.
    ServesAlready,
    /// It is left out for this reason.
    LeftOut(SkipReason),
}

/// What becomes of a site that did not answer at the last look: no look has to come before its PUT, and silence holds
/// nothing back.
pub const TRIED_ALL_THE_SAME: &str = "the PUT is tried all the same";

impl Outlook {
    /// Of the site of `row`, of which `known` is known, in a plan that allows this.
    pub fn of(row: &PlanRow, known: &SiteState, allow: Allow) -> Self {
        match row.action {
            PlanAction::Skip(reason @ (SkipReason::WrongMode | SkipReason::OtherMode)) => {
                Self::Refused(reason)
            }
            PlanAction::Skip(SkipReason::NotReversible) => Self::NotReversible,
            PlanAction::Skip(reason) => Self::LeftOut(reason),
            PlanAction::Put => Self::of_put(row, known, allow),
        }
    }

    fn of_put(row: &PlanRow, known: &SiteState, allow: Allow) -> Self {
        if let Some(reason) = all_the_same(row, known, allow) {
            Self::AllTheSame(reason)
        } else if known.is_strange() && !known.was_verified() {
            Self::NoTemplateSite
        } else if known.is_unanswered() {
            Self::NoAnswer
        } else if row.doubtful {
            Self::Doubtful
        } else if !known.is_seen() {
            Self::NeverSeen
        } else if known.serves_already(&row.key) {
            Self::ServesAlready
        } else {
            Self::Changes
        }
    }

    /// What a row of the plan says of it: a few words, or none.
    pub fn in_short(self) -> &'static str {
        match self {
            Self::NoTemplateSite => "no template site",
            Self::NoAnswer => "no answer",
            Self::Doubtful => "doubtful",
            Self::AllTheSame(SkipReason::OtherMode) => "over other mode",
            Self::AllTheSame(SkipReason::ChangedMeanwhile) => "changed since",
            Self::AllTheSame(_) => "held back before",
            Self::Refused(SkipReason::OtherMode) => "other mode",
            Self::Refused(_) => "mode not taken",
            Self::NotReversible => "not reversible",
            Self::NeverSeen => "never looked at",
            Self::Changes => "",
            Self::ServesAlready | Self::LeftOut(SkipReason::Equal) => "serves it already",
            Self::LeftOut(SkipReason::Disabled) => "disabled",
            Self::LeftOut(SkipReason::Unchanged) => "not changed then",
            Self::LeftOut(_) => "left as it is",
        }
    }

    /// Whether its site gets a PUT, as the plan has it.
    pub fn is_put(self) -> bool {
        !matches!(self, Self::Refused(_) | Self::NotReversible | Self::LeftOut(_))
    }
}

/// Which question about the site the operator has answered with a word.
fn all_the_same(row: &PlanRow, known: &SiteState, allow: Allow) -> Option<SkipReason> {
    let other_mode = known.serves_other_mode_than(&row.key);
    match known.push {
        Push::Skipped(reason @ SkipReason::NotThisApi) if allow.unrecognised => Some(reason),
        Push::Skipped(reason @ SkipReason::ChangedMeanwhile) if allow.changed => Some(reason),
        _ => (other_mode && allow.mode_change).then_some(SkipReason::OtherMode),
    }
}

impl Plan {
    /// What is to be expected of each row, by its place in the plan; what needs attention first.
    pub fn outlooks<'a>(&self, state: impl Fn(SiteId) -> &'a SiteState) -> Vec<(Outlook, usize)> {
        let of = |(place, row): (usize, &PlanRow)| (Outlook::of(row, state(row.site), self.allow), place);
        let mut outlooks: Vec<(Outlook, usize)> = self.rows.iter().enumerate().map(of).collect();
        outlooks.sort_unstable();
        outlooks
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::PublishableKey;
    use crate::rules::moment::Moment;
    use crate::rules::outcome::{Answer, LookVerdict, Problem};
    use crate::rules::retry::Policy;
    use crate::rules::state::{Call, Served};
    use crate::text::CleanText;

    fn key(raw: &str) -> PublishableKey {
        PublishableKey::parse(&format!("{raw}_51ExampleExampleExample")).unwrap()
    }

    fn looked(verdicts: impl IntoIterator<Item = LookVerdict>) -> SiteState {
        let (mut state, policy) = (SiteState::default(), Policy::default());
        let now = Moment {
            since_start: Duration::ZERO,
            wall: jiff::Timestamp::UNIX_EPOCH,
        };
        for verdict in verdicts {
            let answer = Answer {
                verdict,
                http: Some(200),
                took: Duration::ZERO,
                retry_after: None,
                detail: CleanText::default(),
                alarm: None,
            };
            state.order_look(None, 1, now);
            state.calling(Call::Look, &policy, now);
            state.looked(&answer, &policy, now, 0.5);
        }
        state
    }

    fn row(action: PlanAction, known: &SiteState) -> PlanRow {
        PlanRow {
            wave: 0,
            is_dead: false,
            site: SiteId(0),
            action,
            key: key("pk_live"),
            serves: known.now.clone(),
            doubtful: false,
        }
    }

    fn put(known: &SiteState, allow: Allow) -> Outlook {
        Outlook::of(&row(PlanAction::Put, known), known, allow)
    }

    #[test]
    fn the_last_look_says_what_is_to_be_expected() {
        let old = PublishableKey::parse("pk_live_51AnotherExampleKey").unwrap();
        let serves = |key: &PublishableKey| LookVerdict::Serves(key.clone());
        let problem = |problem| LookVerdict::Problem(problem);
        let new = key("pk_live");
        for (looks, expected) in [
            (vec![], Outlook::NeverSeen),
            (vec![serves(&old)], Outlook::Changes),
            (vec![LookVerdict::NoKey], Outlook::Changes),
            (vec![serves(&new)], Outlook::ServesAlready),
            (vec![problem(Problem::Timeout)], Outlook::NoAnswer),
            (vec![serves(&old), problem(Problem::Timeout)], Outlook::NoAnswer),
            (vec![serves(&new), problem(Problem::Timeout)], Outlook::NoAnswer),
            (vec![problem(Problem::Redirect)], Outlook::NoTemplateSite),
            (vec![problem(Problem::Redirect), serves(&old)], Outlook::Changes),
        ] {
            assert_eq!(
                put(&looked(looks.clone()), Allow::default()),
                expected,
                "{looks:?}"
            );
        }
    }

    #[test]
    fn what_a_word_lets_go_is_told_so() {
        let test = looked([LookVerdict::Serves(key("pk_test"))]);
        let bold = Allow {
            mode_change: true,
            unrecognised: true,
            changed: true,
        };
        assert_eq!(put(&test, bold), Outlook::AllTheSame(SkipReason::OtherMode));
        for reason in [SkipReason::NotThisApi, SkipReason::ChangedMeanwhile] {
            let mut held_back = looked([LookVerdict::Problem(Problem::Redirect)]);
            held_back.push = Push::Skipped(reason);
            assert_eq!(put(&held_back, bold), Outlook::AllTheSame(reason));
            assert_eq!(put(&held_back, Allow::default()), Outlook::NoTemplateSite);
        }
    }

    #[test]
    fn what_needs_attention_comes_first_and_no_site_is_lost() {
        let states = [
            looked([LookVerdict::Serves(key("pk_live"))]),
            looked([LookVerdict::NoKey]),
            SiteState::default(),
            looked([LookVerdict::Problem(Problem::Timeout)]),
            looked([LookVerdict::Problem(Problem::Redirect)]),
            SiteState::default(),
        ];
        let mut rows: Vec<PlanRow> = (0..)
            .zip(&states)
            .map(|(place, state)| PlanRow {
                site: SiteId(place),
                ..row(PlanAction::Put, state)
            })
            .collect();
        rows[5].action = PlanAction::Skip(SkipReason::WrongMode);
        let plan = Plan {
            rollout: crate::rules::rollout::Rollout::default(),
            kind: crate::rules::run::Kind::Push,
            parent: None,
            key: key("pk_live"),
            rows,
            allow: Allow::default(),
            dangers: Vec::new(),
        };
        let outlooks = plan.outlooks(|id| &states[id.index()]);
        let places: Vec<usize> = outlooks.iter().map(|(_, place)| *place).collect();
        assert_eq!(places, [4, 3, 5, 2, 1, 0]);
        let puts = outlooks.iter().filter(|(outlook, _)| outlook.is_put()).count();
        assert_eq!(puts, plan.puts());
        assert_eq!(states[0].now, Served::Key(key("pk_live")));
    }
}
