use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};

use super::backends::Backends;
use super::call::{Finished, Work};
use super::chunks::Chunks;
use super::hands::Hands;
use super::heard::Heard;
use super::records::{Read, Records};
use super::schedule::{Lane, Schedule, Want};
use super::slot::{Ending, Pending, Slot};
use super::trials::Trials;
use super::{Clock, Command, Event, Level, Message, RunInfo, Settings, sleep_until};
use crate::rules::acknowledgement::Acknowledged;
use crate::rules::alarm::Alarms;
use crate::rules::moment::Moment;
use crate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use crate::rules::rollout::{Rollout, Waves};
use crate::rules::run::{Halt, RunPhase};
use crate::rules::state::{Call, Next, Served, SiteState};
use crate::site::{Site, SiteId};
use crate::site_api::SiteApi;
use crate::store::{Newest, RunId, Store, StoreError};
use crate::text::CleanText;

/// Owns all state. Nothing in it waits for the network or the terminal.
pub(super) struct Engine<Api, Db> {
    pub(super) sites: Arc<[Site]>,
    pub(super) slots: Vec<Slot>,
    pub(super) schedule: Schedule,
    api: Arc<Api>,
    pub(super) store: Arc<Db>,
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    events: mpsc::UnboundedSender<Event>,
    calls: JoinSet<Finished>,
    pub(super) out: HashMap<Id, (SiteId, Call, Lane)>,
    pub(super) run: Option<RunInfo>,
    /// The workers that make the calls of its runs, where it does not make them itself.
    pub(super) hands: Option<Hands>,
    /// What it does as a worker.
    pub(super) chunks: Chunks,
    /// Runs before it of which something still waits for its proof.
    pub(super) earlier: Vec<RunId>,
    /// Sites of each run that will change by themselves; no run without any.
    pub(super) busy_of: HashMap<RunId, usize>,
    pub(super) records: Records,
    /// What is read beside all else, whether all sites are told of again then, and since when it is read.
    pub(super) reads: JoinSet<(Read, bool, Moment)>,
    /// Why the run holds by itself, if it does.
    pub(super) halt: Option<Halt>,
    /// That sites were not asked, since others refuse their master key, until somebody decides what becomes of them. All
    /// else of the run goes on beside that.
    pub(super) not_asked: Option<Halt>,
    /// How far the waves of the run have come.
    pub(super) waves: Waves,
    /// PUTs of waves that are to come, by wave.
    pub(super) later: Vec<Vec<(SiteId, Call)>>,
    /// Which master keys each run may send to how many sites.
    pub(super) trials: Trials,
    /// What was told at once.
    pub(super) alarms: Alarms,
    /// Sites that the operator knows to be bad: they are left out of what halts a run.
    pub(super) acknowledged: Acknowledged,
    /// Sites of the run whose PUT is still to come or out.
    pub(super) open: usize,
    /// Sites of the run that will change by themselves.
    pub(super) busy: usize,
    pub(super) stopping: bool,
    /// What becomes of what it waits for when it is stopped.
    pub(super) ending: Ending,
    /// What Stripe says of keys.
    pub(super) heard: Heard<Db>,
    /// What was told of backends.
    pub(super) backends: Backends,
    dice: fastrand::Rng,
}

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    pub(super) fn new(
        sites: Arc<[Site]>,
        known: Vec<Newest>,
        api: Arc<Api>,
        store: Arc<Db>,
        settings: Settings,
        clock: Clock,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        store.adopt(sites.iter().map(|site| &site.url).zip(&known));
        let mut known: Vec<SiteState> = known.into_iter().map(|newest| newest.state).collect();
        known.resize(sites.len(), SiteState::default());
        for (state, site) in known.iter_mut().zip(sites.iter()) {
            if settings.left.leaves_alone(state) || !site.enabled {
                state.is_elsewhere();
            }
        }
        Self {
            schedule: Schedule::new(&sites, &settings),
            slots: known.into_iter().map(Slot::of).collect(),
            hands: Hands::of(&*store, &sites, &settings, clock),
            chunks: Chunks::default(),
            sites,
            api,
            store,
            settings,
            clock,
            events,
            calls: JoinSet::new(),
            out: HashMap::new(),
            run: None,
            earlier: Vec::new(),
            busy_of: HashMap::new(),
            records: Records::default(),
            reads: JoinSet::new(),
            halt: None,
            not_asked: None,
            waves: Waves::new(Rollout::default()),
            later: Vec::new(),
            trials: Trials::default(),
            alarms: Alarms::default(),
            acknowledged: Acknowledged::default(),
            open: 0,
            busy: 0,
            stopping: false,
            ending: Ending::Leaves,
            heard: Heard::default(),
            backends: Backends::default(),
            dice: fastrand::Rng::new(),
        }
    }

    /// Until stopped, or until nobody can give orders and nothing is open.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Command>) {
        let mut handles = true;
        self.read_acknowledged().await;
        self.wait_for_what_is_left();
        loop {
            self.advance();
            self.sound_counted();
            self.fill_slots();
            self.tell_phase().await;
            // What the store said meanwhile may have ordered something.
            self.fill_slots();
            self.tell_workers();
            let still = self.busy == 0 && self.busy_of.is_empty();
            let nothing_is_out =
                (self.calls.is_empty() && !self.awaits_stripe()) || self.gives_up_what_is_out();
            let idle = nothing_is_out && !self.awaits_workers() && (self.stopping || (!handles && still));
            if idle {
                break;
            }
            let timer = [
                self.schedule.next_timer(),
                self.key_timer(),
                self.alarm_timer(),
                self.hands_timer(),
            ];
            let timer = timer.into_iter().flatten().min();
            let wait = timer.map(|at| self.clock.instant_of(at));
            tokio::select! {
                order = orders.recv(), if handles => match order {
                    Some(order) => self.obey(order).await,
                    None => handles = false,
                },
                Some(done) = self.calls.join_next_with_id(), if !self.calls.is_empty() => self.finished(done),
                Some(done) = self.records.next() => self.recorded(done),
                Some(done) = self.reads.join_next(), if !self.reads.is_empty() => self.refreshed(done),
                Some(said) = self.heard.next(), if self.heard.is_asking() => self.stripe_said(said),
                told = Hands::next(&mut self.hands) => self.workers_told(told),
                () = sleep_until(wait) => self.schedule.wake(self.clock.now()),
            }
        }
        self.finish().await;
    }

    /// A PUT is waited for in any case.
    fn gives_up_what_is_out(&self) -> bool {
        self.ending == Ending::GivesUp && self.out.values().all(|(_, call, _)| *call != Call::Put)
    }

    /// Nothing more is sent: what was answered goes on record.
    async fn finish(&mut self) {
        let now = self.clock.now();
        self.sound_rest();
        self.await_records().await;
        let run = self.run.as_ref().map(|run| run.id);
        if let Some(run) = run.filter(|_| self.open == 0 && !self.chunks.is_worker) {
            self.let_go_of_store(run, now).await;
        }
        // What was stopped is looked at by nobody; what was left, by the next process.
        for index in 0..self.slots.len() {
            if self.ending == Ending::Abandons && self.slots[index].state.is_busy() {
                self.change(SiteId::at(index), |state| state.abandon());
            }
        }
    }

    fn fill_slots(&mut self) {
        let now = self.clock.now();
        while let Some((site, call, lane)) = self.schedule.take(now) {
            let call = self.slots[site.index()].state.call_now(call, now);
            if self.is_for_workers(site, call) {
                self.schedule.give_back(site, lane, now);
                self.hand(site, call);
            } else if call == Call::Put && !self.may_put(site, now) {
                self.schedule.give_back(site, lane, now);
            } else {
                self.call(site, call, lane);
            }
        }
    }

    /// Sends `call` out. The site holds a slot of `lane`.
    fn call(&mut self, site: SiteId, call: Call, lane: Lane) {
        let now = self.clock.now();
        let policy = self.settings.policy.clone();
        self.change(site, |state| state.calling(call, &policy, now));
        let slot = &mut self.slots[site.index()];
        if let Some(state) = &mut slot.on_record {
            state.calling(call, &policy, now);
        }
        if call != Call::Put {
            slot.gets += 1;
            if let Some(part) = &mut slot.chunk {
                part.look_is_due = false;
            }
        }
        let number = if call == Call::Put {
            slot.state.puts
        } else {
            slot.gets
        };
        let work = Work {
            api: Arc::clone(&self.api),
            store: Arc::clone(&self.store),
            sites: Arc::clone(&self.sites),
            clock: self.clock,
            run: slot
                .state
                .run
                .filter(|_| slot.state.in_run || slot.state.is_settling()),
            site,
            number,
            as_worker: slot.chunk.map(|part| (part.chunk, self.settings.host.clone())),
        };
        let task = match call {
            Call::Put => match slot.state.run.zip(slot.state.expected.clone()) {
                Some((run, key)) => self.calls.spawn(work.put(run, key)),
                // It cannot be ordered: orders set both.
                None => self.calls.spawn(async { Finished::NotRecorded(of_no_run()) }),
            },
            Call::LookBefore => self.calls.spawn(work.look(policy.look_before_limit(), false)),
            Call::Look => self.calls.spawn(work.look(policy.timeout, true)),
        };
        self.out.insert(task.id(), (site, call, lane));
    }

    fn finished(&mut self, done: Result<(Id, Finished), JoinError>) {
        let (id, finished) = match done {
            Ok((id, finished)) => (id, finished),
            Err(error) => (error.id(), Finished::Lost),
        };
        let Some((site, call, lane)) = self.out.remove(&id) else {
            return;
        };
        let now = self.clock.now();
        if let Some(Pending::Rest(push)) = self.slots[site.index()].pending {
            // The look is judged by what is in doubt.
            self.change(site, |state| state.push = push);
        }
        self.hear(site, call, &finished, now);
        let next = self.take_in(site, call, finished, now);
        self.sound(site);
        if let Some(pending) = self.slots[site.index()].pending.take() {
            self.release(site, lane);
            let recorded = self.slots[site.index()].on_record.take();
            let next = self.change(site, |state| {
                let run = state.run;
                state.go_back_to(recorded);
                state.run = run;
                match pending {
                    Pending::Push(key, allow) => state.order_push(key, allow, false, now),
                    Pending::Rest(_) => state.order_rest(now),
                }
            });
            self.follow(site, next, now);
            return self.hold_too(site, now);
        }
        match next {
            Next::Now(Call::Put) if !self.stopping && self.puts_wait(site, now) => {
                self.release(site, lane);
                self.change(site, |state| state.await_push(now));
                self.follow(site, next, now);
                self.hold_too(site, now);
            }
            Next::Now(Call::Put) if !self.stopping && !self.may_put(site, now) => self.release(site, lane),
            Next::Now(_) if !self.stopping && self.schedule.is_held(site, now) => {
                self.release(site, lane);
                self.follow(site, next, now);
            }
            Next::Now(next_call) if !self.stopping => {
                self.schedule.calls_on(site, now);
                self.call(site, next_call, lane);
            }
            next => {
                self.release(site, lane);
                self.follow(site, next, now);
            }
        }
    }

    /// Gives the site's slot and its connection back.
    fn release(&mut self, site: SiteId, lane: Lane) {
        self.api.hang_up(&self.sites[site.index()]);
        self.schedule.release(site, lane, self.clock.now());
    }

    /// Feeds an answer to the site's state.
    fn take_in(&mut self, site: SiteId, call: Call, finished: Finished, now: Moment) -> Next {
        let policy = self.settings.policy.clone();
        let dice = self.dice.f64();
        match finished {
            Finished::Put(answer, attempt) => {
                let outcome = attempt.outcome(Served::Unknown);
                self.tell(Event::Attempt(attempt));
                let next = self.change(site, |state| state.put_answered(&answer, &policy, now, dice));
                self.record(site, Some(outcome));
                next
            }
            Finished::Look(answer, attempt, served) => {
                let standing = self.standing_of(site, &served, now);
                let outcome = attempt.outcome(served);
                self.tell(Event::Attempt(attempt));
                if let Some(state) = &mut self.slots[site.index()].on_record {
                    state.looked(&answer, &policy, now, dice);
                    state.take_standing(standing);
                }
                let next = self.change(site, |state| {
                    let next = if call == Call::LookBefore {
                        state.looked_before(&answer, &policy, now, dice)
                    } else {
                        state.looked(&answer, &policy, now, dice)
                    };
                    state.take_standing(standing);
                    next
                });
                self.record(site, Some(outcome));
                next
            }
            Finished::Lost if call == Call::Put => {
                let answer = lost(PutVerdict::Problem(Problem::ConnectionLost));
                self.change(site, |state| state.put_answered(&answer, &policy, now, dice))
            }
            Finished::Lost => {
                let answer = lost(LookVerdict::Problem(Problem::ConnectionLost));
                self.change(site, |state| {
                    if call == Call::LookBefore {
                        state.looked_before(&answer, &policy, now, dice)
                    } else {
                        state.looked(&answer, &policy, now, dice)
                    }
                })
            }
            Finished::TakenOver(newest) => self.taken_over(site, &newest),
            Finished::NotRecorded(error) if self.chunks.is_worker => {
                tracing::warn!(%error, "a PUT is not put on record, so it is not sent: its chunk is given back");
                // Its run is held, or another worker has it: that is for who coordinates it.
                self.change(site, |state| state.put_unsent(now));
                self.give_back_chunk_of(site);
                Next::Rest
            }
            Finished::NotRecorded(error) => {
                let next = self.change(site, |state| state.put_unsent(now));
                let text =
                    format!("halted: the PUT could not be put on record, so nothing is sent ({error})");
                self.hold(Halt::Unrecorded, text);
                next
            }
        }
    }

    /// Schedules what the site needs next.
    pub(super) fn follow(&mut self, site: SiteId, next: Next, now: Moment) {
        if self.stopping {
            return self.schedule.forget(site);
        }
        let (at, call) = match next {
            Next::Rest => return,
            Next::Now(call) => (now, call),
            Next::At(at, call) => (at, call),
        };
        let lane = match call {
            Call::LookBefore | Call::Put => Lane::Push,
            Call::Look if self.slots[site.index()].background => Lane::Background,
            Call::Look => Lane::Look,
        };
        let slot = &self.slots[site.index()];
        if slot.handed().is_some() || self.rests_between_looks(site, call) {
            return self.schedule.forget(site);
        }
        let want = Want {
            call,
            lane,
            is_retry: slot.state.is_trying_again(call),
        };
        if lane == Lane::Push && self.waits_for_wave(site, call) {
            return self.schedule.forget(site);
        }
        self.schedule.want(site, want, at, now);
    }

    /// Changes a site's state, keeps the run's counts, and tells.
    pub(super) fn change<T>(&mut self, site: SiteId, how: impl FnOnce(&mut SiteState) -> T) -> T {
        let slot = &mut self.slots[site.index()];
        let counts = |state: &SiteState| {
            let of_run = |is: bool| usize::from(is && state.in_run);
            (of_run(state.is_to_send()), of_run(state.is_busy()))
        };
        let before = counts(&slot.state);
        let run_before = slot.state.run.filter(|_| slot.state.is_busy());
        let result = how(&mut slot.state);
        slot.changes = slot.changes.wrapping_add(1);
        if slot.chunk.is_some() {
            self.chunks.touched.push(site);
        }
        if let Some(member) = slot.member.as_mut().filter(|_| slot.state.in_run) {
            self.waves.changed(site, member, &slot.state);
        }
        let after = counts(&slot.state);
        let run_after = slot.state.run.filter(|_| slot.state.is_busy());
        if run_before != run_after {
            count_run(&mut self.busy_of, run_before, run_after);
        }
        self.open = self.open + after.0 - before.0;
        self.busy = self.busy + after.1 - before.1;
        let state = Box::new(slot.state.clone());
        self.tell(Event::Site { site, state });
        result
    }

    /// Tells where the run is, when that changed.
    pub(super) async fn tell_phase(&mut self) {
        if self.chunks.is_worker {
            return self.end_chunks();
        }
        let now = self.clock.now();
        if !self.earlier.is_empty() {
            self.end_earlier(now).await;
        }
        if self.open == 0 && self.records.holds_store {
            // What the store says to what was recorded last may be that something is still to be sent.
            self.await_records().await;
        }
        if self.open == 0 {
            (self.schedule.paused, self.halt) = (false, None);
            if let Some(id) = self.run.as_ref().map(|run| run.id) {
                self.let_go_of_store(id, now).await;
            }
        }
        if self.run.as_ref().is_none_or(|run| run.ended.is_some()) {
            return;
        }
        if self.busy == 0 {
            // What the store says to what was recorded last may be that something goes on.
            self.await_records().await;
        }
        let Some(run) = &self.run else { return };
        // Until they have given it back, something may be left of what a worker has.
        let busy = self.busy + usize::from(self.workers_have_some_of(run.id));
        let Some(run) = &mut self.run else { return };
        let phase = match (self.schedule.paused, self.open, busy) {
            (false, 0, _) if self.not_asked.is_some() => RunPhase::Halted,
            (true, ..) if self.halt.is_some_and(Halt::is_bad) => RunPhase::Halted,
            (true, ..) => RunPhase::Paused,
            (false, 1.., _) => RunPhase::Sending,
            (false, 0, 1..) => RunPhase::Settling,
            (false, 0, 0) => RunPhase::Settled,
        };
        let halt = self.halt.or(self.not_asked.filter(|_| phase != RunPhase::Paused));
        if phase == run.phase && run.halt == halt {
            return;
        }
        (run.phase, run.halt) = (phase, halt);
        let ended = (phase == RunPhase::Settled).then_some(now);
        run.ended = ended;
        let info = run.clone();
        tracing::info!(run = info.id.0, phase = info.phase.word(), "run");
        if ended.is_some() {
            self.end_run(info.id, now).await;
        }
        self.tell_of_backends(now);
        self.tell(Event::Run(info));
    }

    pub(super) fn say(&self, level: Level, text: String) {
        let at = self.clock.now();
        self.tell(Event::Message(Message { at, level, text }));
    }

    /// What was read beside all else is there.
    fn refreshed(&mut self, done: Result<(Read, bool, Moment), JoinError>) {
        // A store that panics has told nothing: what is known here is what is known.
        let (read, tells_all, since) = match done {
            Ok((read, tells_all, since)) => (Some(read), tells_all, since),
            Err(_) => (None, true, self.clock.now()),
        };
        if let Some(read) = read.filter(|_| !self.stopping) {
            self.take_read(read);
        }
        if tells_all {
            self.tell_all();
        }
        self.tell(Event::Refreshed { since });
    }

    /// Tells of each site what is known of it.
    fn tell_all(&self) {
        for (index, slot) in self.slots.iter().enumerate() {
            let state = Box::new(slot.state.clone());
            self.tell(Event::Site {
                site: SiteId::at(index),
                state,
            });
        }
    }

    pub(super) fn tell(&self, event: Event) {
        // Nobody listens any more: the run goes on without.
        let _gone = self.events.send(event);
    }
}

/// A site more or less of these runs will change by itself.
pub(super) fn count_run(busy_of: &mut HashMap<RunId, usize>, less: Option<RunId>, more: Option<RunId>) {
    if let Some(run) = more {
        *busy_of.entry(run).or_default() += 1;
    }
    if let Some(run) = less
        && let Some(busy) = busy_of.get_mut(&run)
    {
        *busy -= 1;
        if *busy == 0 {
            busy_of.remove(&run);
        }
    }
}

/// A PUT that belongs to no run, or has no key.
fn of_no_run() -> StoreError {
    StoreError::Failed("a PUT belongs to no run: please report this".to_owned())
}

/// The answer of a request whose task ended before its time.
fn lost<Verdict>(verdict: Verdict) -> Answer<Verdict> {
    let detail = CleanText::note("the program lost track of this request: please report it");
    Answer::none(verdict, detail)
}
