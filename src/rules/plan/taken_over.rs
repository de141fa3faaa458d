use std::collections::BTreeMap;

use super::{Plan, PlanAction};
use crate::key::PublishableKey;
use crate::rules::run::{Kind, RunId};
use crate::rules::state::SiteState;
use crate::rules::status::Verify;
use crate::site::SiteId;
use crate::text::Count;

/// Sites of a plan that still wait for their proof of an earlier run, which nobody looks for behind this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOver {
    /// That run.
    pub run: RunId,
    /// The key that it has put there.
    pub key: PublishableKey,
    /// How many sites wait.
    pub sites: usize,
    /// On how many of them it has replaced the very key that goes out now.
    pub replaced: usize,
    /// What the plan is for.
    pub kind: Kind,
}

impl Plan {
    /// What it takes from earlier runs, by run and key. What a rollback takes back is no news.
    pub fn taken_over<'a>(&self, state: impl Fn(SiteId) -> &'a SiteState) -> Vec<TakenOver> {
        let mut found: BTreeMap<(RunId, &PublishableKey), (usize, usize)> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.action == PlanAction::Put) {
            let known = state(row.site);
            let (Some(run), Some(key)) = (known.run, &known.expected) else {
                continue;
            };
            let waits = matches!(known.verify, Verify::Settling | Verify::Serving);
            if waits && self.parent != Some(run) {
                let (sites, replaced) = found.entry((run, key)).or_default();
                *sites += 1;
                *replaced += usize::from(*key != row.key && known.before.key() == Some(&row.key));
            }
        }
        let told = |((run, key), (sites, replaced)): ((RunId, &PublishableKey), _)| TakenOver {
            run,
            key: key.clone(),
            sites,
            replaced,
            kind: self.kind,
        };
        found.into_iter().map(told).collect()
    }
}

impl TakenOver {
    /// The line in the plan; `key` is how the run's key is written.
    pub fn sentence(&self, key: &str) -> String {
        let (run, kind) = (self.run.0, self.kind.word());
        let (wait, them) = match self.sites {
            1 => ("waits for its", "it"),
            _ => ("wait for their", "them"),
        };
        let sites = Count(self.sites, "site");
        let replaced = match self.replaced {
            0 => String::new(),
            all if all == self.sites => format!("; the key to send was replaced there by run {run}"),
            some => format!("; on {some} of them the key to send was replaced by run {run}"),
        };
        format!(
            "{sites} still {wait} proof of run {run} (key {key}): this {kind} takes {them} over{replaced}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::state::{Allow, Served};
    use crate::site::{MasterKeyId, Site, SiteMode, SiteUrl};
    use crate::text::CleanText;

    fn key(tail: &str) -> PublishableKey {
        PublishableKey::parse(&format!("pk_test_51ExampleExampleExample{tail}")).unwrap()
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
    fn what_waits_for_another_run_is_told_and_whether_that_replaced_the_key() {
        let state = |verify, before: &str| {
            let mut state = SiteState::default();
            (state.run, state.verify) = (Some(RunId(2)), verify);
            state.expected = Some(key("New"));
            state.before = Served::Key(key(before));
            state
        };
        let states = [
            state(Verify::Serving, "Old"),
            state(Verify::Settling, "Other"),
            state(Verify::Verified, "Old"),
            SiteState::default(),
        ];
        let sites: Vec<Site> = (0..4).map(site).collect();
        let of = |id: SiteId| &states[id.index()];
        let told = |pushed: &str, selection: &[u32]| {
            let selection = selection.iter().map(|index| SiteId(*index));
            let plan = Plan::new(key(pushed), selection, &sites, of, Allow::default());
            let taken = plan.taken_over(of).into_iter();
            taken.map(|taken| taken.sentence("…New")).collect::<Vec<_>>()
        };
        let waits = "site still waits for its proof of run 2 (key …New): this push takes it over";
        assert_eq!(
            told("Old", &[0, 1, 2, 3]),
            [
                "2 sites still wait for their proof of run 2 (key …New): this push takes them over; on 1 of them the \
                 key to send was replaced by run 2"
            ]
        );
        let replaced = format!("1 {waits}; the key to send was replaced there by run 2");
        assert_eq!(told("Old", &[0]), [replaced]);
        assert_eq!(told("Third", &[1]), [format!("1 {waits}")]);
        assert!(told("Old", &[2, 3]).is_empty());
        // A rollback of that run takes nothing from it that it does not say.
        let mut back = Plan::new(key("Old"), [SiteId(0)], &sites, of, Allow::default());
        back.parent = Some(RunId(2));
        assert!(back.taken_over(of).is_empty());
    }
}
