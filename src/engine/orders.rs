use super::run::Engine;
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
    /// Carries out an order. None is taken while the engine stops.
    pub(super) async fn obey(&mut self, order: Command) {
        let answered = order.is_answered();
        if !self.stopping {
            self.carry_out(order).await;
        }
        if answered {
            self.tell_phase().await;
            self.tell(Event::Taken);
        }
    }

    async fn carry_out(&mut self, order: Command) {
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
        let Some(info) = self.record(&plan, now).await else {
            return;
        };
        self.close_earlier(now).await;
        self.schedule.paused = false;
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

    /// Puts the run on record before its first request; without that there is none.
    async fn record(&mut self, plan: &Plan, now: Moment) -> Option<RunInfo> {
        let puts = plan.put_sites();
        let sites: Vec<_> = puts.map(|site| self.sites[site.index()].url.clone()).collect();
        let puts = sites.len();
        let run = NewRun {
            key: plan.key.clone(),
            at: now.wall,
            sites,
        };
        match self.store.begin_run(run).await {
            Ok(id) => Some(RunInfo {
                id,
                key: plan.key.clone(),
                phase: RunPhase::Sending,
                started: now,
                ended: None,
                puts,
            }),
            Err(error) => {
                let refusal = format!("nothing sent: the run cannot be recorded ({error})");
                self.say(Level::Error, refusal);
                None
            }
        }
    }

    /// Ends the run before: what still settles of it goes on, nothing of it is left to do.
    async fn close_earlier(&mut self, now: Moment) {
        if let Some(earlier) = self.run.take().filter(|run| run.ended.is_none()) {
            self.end_run(earlier.id, now).await;
        }
        for index in 0..self.slots.len() {
            self.slots[index].gets = 0;
            if self.slots[index].state.in_run {
                self.change(SiteId::at(index), |state| state.in_run = false);
            }
        }
    }

    fn order_push(&mut self, site: SiteId, key: PublishableKey, allow: Allow, again: bool, now: Moment) {
        let slot = &mut self.slots[site.index()];
        slot.background = false;
        if slot.state.is_calling() {
            slot.pending = Some((key, allow));
            return self.change(site, |state| state.await_push(now));
        }
        let next = self.change(site, |state| state.order_push(key, allow, again, now));
        self.follow(site, next, now);
    }

    fn retry(&mut self, sites: &[SiteId], allow: Allow) {
        let now = self.clock.now();
        let Some(run_key) = self.run.as_ref().map(|run| run.key.clone()) else {
            return self.look(sites, None, Attempts::Policy, false);
        };
        for &site in sites {
            match self.slots[site.index()].state.retry_plan() {
                RetryPlan::OtherRun => {
                    let name = &self.sites[site.index()].name;
                    self.say(
                        Level::Info,
                        format!("{name} failed in an earlier run: p plans a push to it"),
                    );
                }
                RetryPlan::Push => self.order_push(site, run_key.clone(), allow, true, now),
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
            let site = SiteId::at(index);
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
