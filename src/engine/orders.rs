use super::run::Engine;
use super::slot::{Ending, Pending, unknown_of};
use super::{Attempts, Command, Event, Level, RunInfo};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::plan::{Plan, PlanAction, PlanRow, listed};
use crate::rules::probation::Probation;
use crate::rules::run::{Kind, RunPhase};
use crate::rules::state::{Allow, RetryPlan};
use crate::site::SiteId;
use crate::site_api::SiteApi;
use crate::store::{NewRun, PlannedSite, Store};
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
            // Nothing else holds the run: they are what goes on.
            Command::GoOn if self.open == 0 && self.not_asked.is_some() => {
                let sites = self.sites_not_asked();
                self.retry(&sites, Allow::default()).await;
            }
            Command::GoOn => self.go_on(),
            Command::Cancel => self.cancel(),
            Command::Stop => {
                self.cancel();
                self.ending = Ending::Abandons;
                self.stop();
            }
            Command::Leave => {
                self.leave_what_waits();
                self.stop();
            }
            Command::End => {
                self.ending = Ending::GivesUp;
                self.stop();
            }
            Command::Refresh { tells_all } => self.refresh_beside(tells_all).await,
            Command::Acknowledge {
                sites,
                acknowledgement,
            } => self.acknowledge(sites, acknowledgement).await,
            Command::Refuse(why) => self.tell(Event::Refused(why)),
            Command::TakeChunk(chunk) => self.take_chunk(*chunk),
            Command::GiveBack(chunk) => self.give_back_chunk(chunk),
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.schedule.forget_all();
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
        // Another process may have sent a PUT since this one has read what is on record.
        self.refresh().await;
        self.read_acknowledged().await;
        let now = self.clock.now();
        let Some(info) = self.begin_on_record(&plan, now).await else {
            return;
        };
        self.leave_earlier(now).await;
        self.keep_list(plan.kind).await;
        self.begin_waves(plan.rollout);
        self.coordinates(info.id);
        self.trials.begin(Probation::with_odd(self.odd_sites(&plan, now)));
        tracing::info!(run = info.id.0, key = %info.key, puts = info.puts, "run begins");
        self.tell(Event::Run(info.clone()));
        self.run = Some(info);
        self.ask_of_plan(&plan);
        for row in plan.rows {
            let slot = &mut self.slots[row.site.index()];
            slot.state.plan_showed(row.serves);
            match row.action {
                PlanAction::Put => {
                    self.join_wave(row.site, row.wave);
                    self.order_push(row.site, row.key, plan.allow, false, now);
                }
                PlanAction::Skip(reason) => self.change(row.site, |state| state.skip(reason, now)),
            }
        }
    }

    /// The list that a push was confirmed for is what the next one is compared with.
    async fn keep_list(&mut self, kind: Kind) {
        let Some(name) = self.settings.list.as_deref().filter(|_| kind == Kind::Push) else {
            return;
        };
        let sites = listed(&self.sites).cloned().collect();
        if let Err(error) = self.store.keep_list(name, sites).await {
            tracing::warn!(%error, "the list of sites was not kept: the next push is compared with an older one");
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
                kind: plan.kind,
                key: plan.key.clone(),
                phase: RunPhase::Sending,
                started: now,
                ended: None,
                puts,
                rollout: plan.rollout,
                halt: None,
            }),
            Err(error) => {
                self.tell(Event::NotBegun(error));
                None
            }
        }
    }

    fn order_push(&mut self, site: SiteId, key: PublishableKey, allow: Allow, again: bool, now: Moment) {
        let run = self.run.as_ref().map(|run| run.id);
        // What a worker still has of it is of an earlier run, and no request of this process.
        let is_calling = self.let_go_of(site).is_none() && self.slots[site.index()].state.is_calling();
        let slot = &mut self.slots[site.index()];
        slot.background = false;
        slot.ordered_again = again;
        slot.was_unknown = unknown_of(slot.state.push);
        slot.forgets_not_asked();
        if is_calling {
            slot.pending = Some(Pending::Push(key, allow));
            // Nothing has happened to the site in this run yet: what the look shows goes on record as if it had not
            // been ordered.
            slot.on_record = Some(slot.to_record().clone());
            return self.change(site, |state| {
                state.run = run;
                state.await_push(now);
            });
        }
        let recorded = slot.on_record.take();
        let next = self.change(site, |state| {
            state.go_back_to(recorded);
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
        let bold = allow != Allow::default();
        let pushes = |site: &SiteId| match plan(site) {
            RetryPlan::Push => true,
            RetryPlan::Ask(_) => bold,
            _ => false,
        };
        if sites.iter().any(pushes) {
            if !self.hold_store(run, now).await {
                return;
            }
            // Somebody has decided; those that are refused again halt it again.
            self.not_asked = None;
        }
        for &site in sites {
            self.try_key_again(site);
            let slot = &self.slots[site.index()];
            if slot.handed().is_some() {
                let name = &self.sites[site.index()].name;
                self.say(Level::Info, format!("{name}: a worker has not given it back yet"));
                continue;
            }
            match (slot.state.retry_plan(), slot.state.planned_key().cloned()) {
                (RetryPlan::OtherRun, _) => {
                    let name = &self.sites[site.index()].name;
                    self.say(
                        Level::Info,
                        format!(
                            "{name} failed in an earlier run: a retry of it alone plans a run of its own"
                        ),
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
        self.try_canary_again();
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
            if slot.pending.is_some() || slot.handed().is_some() {
                // What begins when the look that is out has ended looks by itself; so does a worker.
                continue;
            }
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
        (self.schedule.paused, self.halt) = (false, None);
        self.waves.cancel();
        if self.not_asked.take().is_some() {
            for site in self.sites_not_asked() {
                self.change(site, |state| state.cancel_not_asked(now));
                self.record(site, None);
            }
        }
        for index in 0..self.slots.len() {
            let site = SiteId::at(index);
            let slot = &mut self.slots[index];
            if !slot.state.is_to_send() {
                continue;
            }
            if let Some(pending) = slot.pending.take() {
                self.cancel_pending(site, pending, now);
                continue;
            }
            if slot.handed().is_some() {
                self.cancel_handed(site);
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

    /// What was to begin when the look that is out has ended does not.
    fn cancel_pending(&mut self, site: SiteId, pending: Pending, now: Moment) {
        match pending {
            Pending::Push(key, allow) => {
                let recorded = self.slots[site.index()].on_record.take();
                self.change(site, |state| {
                    let run = state.run;
                    state.go_back_to(recorded);
                    state.run = run;
                    state.cancel_awaited(key, allow, now);
                });
            }
            Pending::Rest(push) => self.change(site, |state| state.push = push),
        }
        self.record(site, None);
    }
}
