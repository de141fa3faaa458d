use std::collections::HashSet;
use std::sync::Arc;

use super::Level;
use super::heard::Said;
use super::run::Engine;
use super::slot::Ending;
use super::standings::Standings;
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::plan::{Plan, PlanAction};
use crate::rules::run::Halt;
use crate::rules::standing::{Purpose, Standing};
use crate::rules::state::Served;
use crate::site::SiteId;
use crate::site_api::SiteApi;
use crate::store::Store;
use crate::text::Count;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// What Stripe says is asked there.
    pub(super) fn asks(&mut self, standings: Arc<Standings<Db>>) {
        self.heard.asks(standings);
    }

    /// Whether what Stripe says is still to be waited for, although nothing else is: what the last looks showed is not
    /// judged before.
    pub(super) fn awaits_stripe(&self) -> bool {
        self.ending == Ending::Leaves && self.heard.is_asking()
    }

    /// What Stripe says of what a look at the site has shown, as far as was heard. What was not is asked beside all
    /// else.
    pub(super) fn standing_of(&mut self, site: SiteId, served: &Served, now: Moment) -> Option<Standing> {
        let key = served.key()?;
        if self.stopping {
            return self.heard.standing(key);
        }
        self.heard.of_look(site, key, now)
    }

    /// Asks what Stripe says of the keys of a run that begins, but for those that the plan has told of as dead ones: it
    /// was confirmed with that.
    pub(super) fn ask_of_plan(&mut self, plan: &Plan) {
        let puts = plan.rows.iter().filter(|row| row.action == PlanAction::Put);
        let unconfirmed = puts.filter(|row| !row.is_dead);
        self.ask_of_run(unconfirmed.map(|row| row.key.clone()).collect());
    }

    /// As [`Engine::ask_of_plan`], of a run that is taken up.
    pub(super) fn ask_of_left(&mut self, sites: &[SiteId]) {
        let planned = |site: &SiteId| self.slots[site.index()].state.planned_key().cloned();
        self.ask_of_run(sites.iter().filter_map(planned).collect());
    }

    fn ask_of_run(&mut self, keys: HashSet<PublishableKey>) {
        for key in &keys {
            self.heard.ask(key.clone(), Purpose::Push);
        }
        self.heard.is_sent_by_run(keys);
    }

    /// Stripe has said something of a key: sites that serve it are judged by that, and so is the run.
    pub(super) fn stripe_said(&mut self, (key, asked): Said) {
        let now = self.clock.now();
        let Some((standing, waits)) = self.heard.take(&key, asked.as_ref(), now) else {
            return;
        };
        for site in waits {
            if self.slots[site.index()].state.now.key() == Some(&key) {
                self.judge_by(site, standing);
            }
        }
        if standing.is_dead() && self.heard.is_unconfirmed(&key) {
            self.hold_run_of(&key, standing);
        }
    }

    fn judge_by(&mut self, site: SiteId, standing: Standing) {
        let slot = &mut self.slots[site.index()];
        let mut recorded = slot.on_record.as_mut();
        let on_record = recorded
            .as_mut()
            .is_some_and(|state| state.take_standing(Some(standing)));
        let changes = slot.state.clone().take_standing(Some(standing));
        if changes {
            self.change(site, |state| state.take_standing(Some(standing)));
        }
        if changes || on_record {
            self.record(site, None);
        }
    }

    /// The run was confirmed before Stripe had said that its key is dead: no more of it goes out unasked.
    fn hold_run_of(&mut self, key: &PublishableKey, standing: Standing) {
        let Some(run) = self.run.as_ref().map(|run| run.id.0) else {
            return;
        };
        let what = standing.sentence();
        if self.open == 0 {
            let text =
                format!("run {run} has sent a key that takes no payments: {key} {what}; push another one");
            return self.say(Level::Error, text);
        }
        let left = Count(self.open, "site");
        let text = format!("halted with {left} left to send: {key} {what}");
        self.hold(Halt::DeadKey, text);
    }
}
