use super::run::{Engine, Pending, Slot};
use super::{Attempts, Command, Event, LeftRun, Level, RunInfo};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::plan::{Plan, PlanAction, PlanRow};
use crate::rules::run::RunPhase;
use crate::rules::state::{Allow, RetryPlan, SiteState};
use crate::rules::status::Push;
use crate::site::SiteId;
use crate::site_api::SiteApi;
use crate::store::{NewRun, PlannedSite, RunId, Store};
use crate::text::Count;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// Carries out an order. None is taken while the engine stops.
    pub(super) async fn obey(&mut self, order: Command) {
        let answered = order.is_answered() || matches!(order, Command::Refuse(_));
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
            Command::Retry { sites, allow } => self.retry(&sites, allow).await,
            Command::Resume(left) => self.resume(left).await,
            Command::Close(run) => self.close(run).await,
            Command::Look {
                sites,
                expected,
                attempts,
                background,
            } => {
                self.look(&sites, expected.as_ref(), attempts, background);
            }
            Command::Pause => self.schedule.paused = self.open > 0,
            Command::GoOn => {
                self.schedule.paused = false;
                self.halted = false;
            }
            Command::Cancel => self.cancel(),
            Command::Stop => {
                self.cancel();
                self.stop();
            }
            Command::Leave => self.stop(),
            Command::Know(states) => self.know(states),
            Command::Refuse(why) => self.tell(Event::Refused(why)),
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.schedule.forget_all();
    }

    fn know(&mut self, states: Vec<SiteState>) {
        let now = self.clock.now();
        for (index, mut known) in states.into_iter().enumerate().take(self.slots.len()) {
            let (site, state) = (SiteId::at(index), &self.slots[index].state);
            // What is on record may be of this engine's own run.
            known.in_run = state.in_run && known.run == state.run;
            if !state.is_busy() && *state != known {
                let next = known.wait_left(now);
                self.change(site, |state| *state = known);
                self.follow(site, next, now);
            }
        }
        self.await_left_runs();
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
        let Some(info) = self.begin_on_record(&plan, now).await else {
            return;
        };
        self.leave_earlier(now).await;
        (self.schedule.paused, self.halted) = (false, false);
        tracing::info!(run = info.id.0, key = %info.key, puts = info.puts, "run begins");
        self.tell(Event::Run(info.clone()));
        self.run = Some(info);
        for row in plan.rows {
            let slot = &mut self.slots[row.site.index()];
            slot.planned = Some(row.key.clone());
            slot.state.plan_showed(row.serves);
            match row.action {
                PlanAction::Put => self.order_push(row.site, row.key, plan.allow, false, now),
                PlanAction::Skip(reason) => self.change(row.site, |state| state.skip(reason, now)),
            }
        }
    }

    /// Puts the run on record before its first request; without that there is none.
    async fn begin_on_record(&mut self, plan: &Plan, now: Moment) -> Option<RunInfo> {
        let puts = plan.puts();
        let planned = |row: &PlanRow| {
            let site = &self.sites[row.site.index()];
            PlannedSite {
                site: site.url.clone(),
                name: site.name.clone(),
                group: site.group.clone(),
                left_out: match row.action {
                    PlanAction::Put => None,
                    PlanAction::Skip(reason) => Some(reason),
                },
                key: row.key.clone(),
                serves: row.serves.clone(),
            }
        };
        let run = NewRun {
            kind: plan.kind,
            parent: plan.parent,
            key: plan.key.clone(),
            allow: plan.allow,
            at: now,
            sites: plan.rows.iter().map(planned).collect(),
        };
        let begun = self.store.begin_run(run).await;
        self.records.holds_store |= begun.is_ok();
        match begun {
            Ok(id) => Some(RunInfo {
                id,
                key: plan.key.clone(),
                phase: RunPhase::Sending,
                started: now,
                ended: None,
                puts,
            }),
            Err(error) => {
                self.tell(Event::NotBegun(error));
                None
            }
        }
    }

    fn order_push(&mut self, site: SiteId, key: PublishableKey, allow: Allow, again: bool, now: Moment) {
        let run = self.run.as_ref().map(|run| run.id);
        let slot = &mut self.slots[site.index()];
        slot.background = false;
        slot.on_record = None;
        if slot.state.is_calling() {
            slot.pending = Some(Pending::Push(key, allow));
            return self.change(site, |state| {
                state.run = run;
                state.await_push(now);
            });
        }
        let next = self.change(site, |state| {
            state.run = run;
            state.order_push(key, allow, again, now)
        });
        self.follow(site, next, now);
    }

    async fn retry(&mut self, sites: &[SiteId], allow: Allow) {
        let now = self.clock.now();
        let Some(run) = self.run.as_ref().map(|run| run.id) else {
            return self.look(sites, None, Attempts::Policy, false);
        };
        let plan = |site: &SiteId| self.slots[site.index()].state.retry_plan();
        let bold = allow.mode_change || allow.unrecognised;
        let pushes = |site: &SiteId| match plan(site) {
            RetryPlan::Push => true,
            RetryPlan::Ask(_) => bold,
            _ => false,
        };
        if sites.iter().any(pushes) && !self.hold_store(run, now).await {
            return;
        }
        for &site in sites {
            let slot = &self.slots[site.index()];
            let key = slot.planned.clone().or_else(|| slot.state.expected.clone());
            match (slot.state.retry_plan(), key) {
                (RetryPlan::OtherRun, _) => {
                    let name = &self.sites[site.index()].name;
                    self.say(
                        Level::Info,
                        format!("{name} failed in an earlier run: r on it plans a run of its own"),
                    );
                }
                (RetryPlan::Push, Some(key)) => self.order_push(site, key, allow, true, now),
                (RetryPlan::Ask(_), Some(key)) if bold => self.order_push(site, key, allow, true, now),
                (RetryPlan::Look, _) => self.look(&[site], None, Attempts::Policy, false),
                _ => {
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

    /// Takes up a run that a process before has left.
    async fn resume(&mut self, left: LeftRun) {
        if self.open > 0 {
            return self.say(Level::Warning, "a run is sending: it comes first".to_owned());
        }
        let now = self.clock.now();
        if !self.hold_store(left.id, now).await {
            return;
        }
        self.leave_earlier(now).await;
        let of_run = |slot: &&Slot| slot.state.run == Some(left.id);
        let puts = self.slots.iter().filter(of_run).count();
        let info = RunInfo {
            id: left.id,
            key: left.key,
            phase: RunPhase::Sending,
            started: left.began,
            ended: None,
            puts,
        };
        tracing::info!(run = info.id.0, key = %info.key, "run goes on");
        self.tell(Event::Run(info.clone()));
        self.run = Some(info);
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.state.run != Some(left.id) {
                continue;
            }
            let site = SiteId::at(index);
            slot.planned = slot.state.expected.clone();
            if slot.state.is_calling() {
                slot.pending = Some(Pending::Rest);
                self.change(site, |state| state.in_run = true);
                continue;
            }
            let next = self.change(site, |state| state.order_rest(now));
            self.follow(site, next, now);
        }
    }

    /// Closes a run that a process before has left: what it did not reach is not expected any more.
    async fn close(&mut self, run: RunId) {
        let now = self.clock.now();
        if let Err(error) = self.store.close_run(run, now).await {
            return self.say(
                Level::Error,
                format!("run {} could not be closed: {error}", run.0),
            );
        }
        for index in 0..self.slots.len() {
            if self.slots[index].state.run == Some(run) {
                self.change(SiteId::at(index), |state| state.run_closed(now));
                self.record(SiteId::at(index), None);
            }
        }
        self.say(Level::Info, format!("run {} is closed", run.0));
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
            slot.on_record = expected
                .filter(|key| slot.state.expected.as_ref() != Some(key))
                .map(|_| {
                    let mut state = slot.state.clone();
                    state.order_look(None, attempts, now);
                    state
                });
            let next = self.change(site, |state| state.order_look(expected.cloned(), attempts, now));
            self.follow(site, next, now);
        }
    }

    fn cancel(&mut self) {
        let now = self.clock.now();
        let policy = self.settings.policy.clone();
        (self.schedule.paused, self.halted) = (false, false);
        for index in 0..self.slots.len() {
            let site = SiteId::at(index);
            let slot = &mut self.slots[index];
            if !slot.state.push.is_open() {
                continue;
            }
            if slot.pending.take().is_some() {
                self.change(site, |state| state.push = Push::Cancelled);
                self.record(site, None);
                continue;
            }
            let calling = slot.state.is_calling();
            let next = self.change(site, |state| state.cancel(&policy, now));
            if !calling {
                self.schedule.forget(site);
                self.follow(site, next, now);
                self.record(site, None);
            }
        }
    }
}
