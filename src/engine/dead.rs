use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Level;
use super::run::{Ending, Engine};
use super::standings::Standings;
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::plan::{Danger, Plan, PlanAction};
use crate::rules::standing::{Asked, Asker, Standing};
use crate::rules::state::Served;
use crate::rules::status::Verify;
use crate::site::SiteId;
use crate::site_api::SiteApi;
use crate::store::Store;
use crate::text::Count;

/// How long an engine takes what it was told for true before it asks again; that may come out of memory.
const HEARD_FOR: Duration = Duration::from_hours(1);
/// How soon it asks again where Stripe could not be asked.
const AGAIN: Duration = Duration::from_mins(1);
/// Keys that are held in mind at most.
const KEYS: usize = 1000;

/// What was asked and is answered: which key, and what Stripe says of it.
pub(super) type Said = (PublishableKey, Option<Asked>);

/// What an engine has heard of keys. Nothing waits for it.
#[derive(Debug)]
pub(super) struct Heard<Db> {
    /// Who is asked; none asks nothing.
    standings: Option<Arc<Standings<Db>>>,
    keys: HashMap<PublishableKey, Word>,
    asks: JoinSet<Said>,
    /// Keys of the run that nobody has confirmed as dead ones.
    of_run: HashSet<PublishableKey>,
}

#[derive(Debug, Clone, Copy)]
struct Word {
    standing: Option<Standing>,
    /// When it is asked again; none while it is being asked.
    again: Option<Moment>,
}

impl<Db> Default for Heard<Db> {
    fn default() -> Self {
        Self {
            standings: None,
            keys: HashMap::new(),
            asks: JoinSet::new(),
            of_run: HashSet::new(),
        }
    }
}

impl<Db: Store> Heard<Db> {
    pub(super) fn is_asking(&self) -> bool {
        !self.asks.is_empty()
    }

    /// The next answer; none of a question that came to nothing.
    pub(super) async fn next(&mut self) -> Option<Said> {
        self.asks.join_next().await?.ok()
    }

    fn ask(&mut self, key: PublishableKey, asker: Asker) {
        let Some(standings) = self.standings.clone() else {
            return;
        };
        self.asks.spawn(async move {
            let asked = standings.of(&key, asker).await;
            (key, asked)
        });
    }

    /// Whether the operator has said that it goes out, whatever Stripe says of it.
    fn is_allowed(&self, key: &PublishableKey) -> bool {
        self.standings
            .as_ref()
            .is_some_and(|standings| standings.is_allowed(key))
    }

    /// The operator has let the run go on, with what is sent.
    pub(super) fn is_confirmed(&mut self) {
        self.of_run.clear();
    }
}

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// What Stripe says is asked there.
    pub(super) fn asks(&mut self, standings: Arc<Standings<Db>>) {
        self.heard.standings = Some(standings).filter(|standings| standings.is_asked());
    }

    /// Whether what Stripe says is still to be waited for, although nothing else is: what the last looks showed is not
    /// judged before.
    pub(super) fn awaits_stripe(&self) -> bool {
        self.ending == Ending::Leaves && self.heard.is_asking()
    }

    /// What Stripe says of what a site serves, as far as was heard. What was not is asked beside all else.
    pub(super) fn standing_of(&mut self, served: &Served, now: Moment) -> Option<Standing> {
        let key = served.key()?;
        let word = self.heard.keys.get(key).copied();
        let is_due = word.is_none_or(|word| word.again.is_some_and(|again| again <= now));
        if is_due && !self.stopping {
            if self.heard.keys.len() >= KEYS {
                self.heard.keys.retain(|_, word| word.again.is_none());
            }
            let standing = word.and_then(|word| word.standing);
            self.heard.keys.insert(
                key.clone(),
                Word {
                    standing,
                    again: None,
                },
            );
            self.heard.ask(key.clone(), Asker::Fleet);
        }
        word?.standing
    }

    /// Asks what Stripe says of the keys of a run that begins. A plan that has told of dead ones was confirmed with
    /// that.
    pub(super) fn ask_of_plan(&mut self, plan: &Plan) {
        let confirmed = plan
            .dangers
            .iter()
            .any(|danger| matches!(danger, Danger::DeadKey { .. }));
        let puts = plan.rows.iter().filter(|row| row.action == PlanAction::Put);
        let keys = puts.map(|row| row.key.clone()).filter(|_| !confirmed);
        self.ask_of_run(keys.collect());
    }

    /// As [`Engine::ask_of_plan`], of a run that is taken up.
    pub(super) fn ask_of_left(&mut self, sites: &[SiteId]) {
        let planned = |site: &SiteId| self.slots[site.index()].state.planned_key().cloned();
        self.ask_of_run(sites.iter().filter_map(planned).collect());
    }

    fn ask_of_run(&mut self, keys: HashSet<PublishableKey>) {
        for key in &keys {
            self.heard.ask(key.clone(), Asker::Push);
        }
        self.heard.of_run = keys;
    }

    /// Stripe has said something of a key: sites that serve it are judged by that, and so is the run.
    pub(super) fn stripe_said(&mut self, (key, asked): Said) {
        let now = self.clock.now();
        let Some(Ok(standing)) = asked else {
            if let Some(word) = self.heard.keys.get_mut(&key) {
                word.again = Some(now + AGAIN);
            }
            return;
        };
        let word = Word {
            standing: Some(standing),
            again: Some(now + HEARD_FOR),
        };
        self.heard.keys.insert(key.clone(), word);
        for index in 0..self.slots.len() {
            let state = &self.slots[index].state;
            let concerns = standing.is_dead() || state.verify == Verify::DeadKey;
            if concerns && state.now.key() == Some(&key) {
                self.judge_by(SiteId::at(index), standing);
            }
        }
        if standing.is_dead() && self.heard.of_run.remove(&key) && !self.heard.is_allowed(&key) {
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
        (self.schedule.paused, self.halted) = (true, true);
        let left = Count(self.open, "site");
        let text = format!("halted with {left} left to send: {key} {what}");
        self.say(Level::Error, text);
    }
}
