use super::run::{Engine, Slot, site_id};
use super::{Attempts, Command, Event, Level, RunInfo};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::plan::{Plan, PlanAction};
use crate::rules::state::{Allow, RetryPlan};
use crate::rules::status::Push;
use crate::rules::tally::RunPhase;
use crate::site::SiteId;
use crate::site_api::SiteApi;
use crate::store::{NewRun, Store};
use crate::text::Count;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// Carries out an order.
    pub(super) async fn obey(&mut self, order: Command) {
        match order {
            Command::Push(plan) => self.begin(plan).await,
            Command::Retry { sites, allow } => self.retry(&sites, allow),
            Command::Look {
                sites,
                expected,
                attempts,
                background,
            } => {
                self.look(&sites, expected.as_ref(), attempts, background);
            }
            Command::Pause => self.schedule.paused = self.open > 0,
            Command::GoOn => self.schedule.paused = false,
            Command::Cancel => self.cancel(),
            Command::Stop => {
                self.cancel();
                self.stopping = true;
                self.schedule.forget_all();
            }
        }
    }

    async fn begin(&mut self, plan: Plan) {
        if let Some(run) = self.run.as_ref().filter(|_| self.open > 0) {
            let refusal = format!(
                "run {} still has {} to send: pause or cancel it first",
                run.id.0,
                Count(self.open, "site")
            );
            return self.say(Level::Warning, refusal);
        }
        let now = self.clock.now();
        let puts: Vec<SiteId> = plan
            .rows
            .iter()
            .filter(|row| row.action == PlanAction::Put)
            .map(|row| row.site)
            .collect();
        let sites = puts.iter().map(|id| self.sites[id.index()].url.clone()).collect();
        let id = match self
            .store
            .begin_run(NewRun {
                key: plan.key.clone(),
                at: now.wall,
                sites,
            })
            .await
        {
            Ok(id) => id,
            Err(error) => {
                return self.say(
                    Level::Error,
                    format!("nothing sent: the run cannot be recorded ({error})"),
                );
            }
        };
        for slot in &mut self.slots {
            slot.in_run = false;
            slot.gets = 0;
        }
        (self.open, self.busy, self.schedule.paused) = (0, 0, false);
        let info = RunInfo {
            id,
            key: plan.key.clone(),
            phase: RunPhase::Sending,
            started: now,
            ended: None,
            puts: puts.len(),
        };
        tracing::info!(run = info.id.0, key = %info.key, puts = info.puts, "run begins");
        self.tell(Event::Run(info.clone()));
        self.run = Some(info);
        for row in plan.rows {
            match row.action {
                PlanAction::Put => self.order_push(row.site, plan.key.clone(), plan.allow, false, now),
                PlanAction::Skip(reason) => self.change(row.site, |state| state.skip(reason, now)),
            }
        }
    }

    fn order_push(&mut self, site: SiteId, key: PublishableKey, allow: Allow, again: bool, now: Moment) {
        self.join_run(site);
        let slot = &mut self.slots[site.index()];
        slot.background = false;
        if slot.state.is_calling() {
            slot.pending = Some((key, allow));
            return self.change(site, |state| state.await_push(now));
        }
        let next = self.change(site, |state| state.order_push(key, allow, again, now));
        self.follow(site, next, now);
    }

    fn join_run(&mut self, site: SiteId) {
        let slot = &mut self.slots[site.index()];
        if !slot.in_run {
            slot.in_run = true;
            self.open += usize::from(slot.state.push.is_open());
            self.busy += usize::from(slot.state.is_busy());
        }
    }

    fn retry(&mut self, sites: &[SiteId], allow: Allow) {
        let now = self.clock.now();
        let Some(run_key) = self.run.as_ref().map(|run| run.key.clone()) else {
            return self.look(sites, None, Attempts::Policy, false);
        };
        for &site in sites {
            let Slot { state, in_run, .. } = &self.slots[site.index()];
            let skipped = matches!(state.push, Push::Skipped(_));
            // The key of the site's own run. What a skipped site expects is of an earlier one.
            let own = state.expected.clone().filter(|_| !skipped);
            let key = own.unwrap_or_else(|| run_key.clone());
            match state.retry_plan() {
                RetryPlan::Push if skipped && !in_run => {
                    let name = &self.sites[site.index()].name;
                    self.say(
                        Level::Info,
                        format!("{name} is not in this run: p plans a push to it"),
                    );
                }
                RetryPlan::Push => self.order_push(site, key, allow, true, now),
                RetryPlan::Ask(_) if allow.mode_change || allow.unrecognised => {
                    self.order_push(site, run_key.clone(), allow, true, now);
                }
                RetryPlan::Look => self.look(&[site], None, Attempts::Policy, false),
                RetryPlan::Ask(_) | RetryPlan::Settles | RetryPlan::Busy | RetryPlan::Nothing => {
                    let name = &self.sites[site.index()].name;
                    self.say(Level::Info, format!("{name}: nothing to retry just now"));
                }
            }
        }
        if self.busy > 0
            && let Some(run) = &mut self.run
        {
            run.ended = None;
        }
    }

    fn look(
        &mut self,
        sites: &[SiteId],
        expected: Option<&PublishableKey>,
        attempts: Attempts,
        background: bool,
    ) {
        let now = self.clock.now();
        let attempts = if attempts == Attempts::One {
            1
        } else {
            self.settings.policy.attempts
        };
        for &site in sites {
            let slot = &mut self.slots[site.index()];
            slot.background = background && !slot.state.is_busy();
            let next = self.change(site, |state| state.order_look(expected.cloned(), attempts, now));
            self.follow(site, next, now);
        }
    }

    fn cancel(&mut self) {
        let now = self.clock.now();
        let policy = self.settings.policy.clone();
        self.schedule.paused = false;
        for index in 0..self.slots.len() {
            let site = site_id(index);
            let slot = &mut self.slots[index];
            if !slot.state.push.is_open() {
                continue;
            }
            if slot.pending.take().is_some() {
                self.change(site, |state| state.push = Push::Cancelled);
                continue;
            }
            let calling = slot.state.is_calling();
            let next = self.change(site, |state| state.cancel(&policy, now));
            if !calling {
                self.schedule.forget(site);
                self.follow(site, next, now);
            }
        }
    }
}
