use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::call::Finished;
use super::run::Engine;
use super::schedule::{Health, Shown};
use super::{Event, Level};
use crate::rules::moment::Moment;
use crate::rules::outcome::{Answer, Cause, Problem, Verdict};
use crate::rules::plan::{Plan, left_out};
use crate::rules::probation::{Probation, Turn, Word};
use crate::rules::rollout::{Candidate, Counts, Rollout, Step, Waves};
use crate::rules::run::{Halt, Kind, RunId};
use crate::rules::state::{Call, Next};
use crate::rules::status::Push;
use crate::site::{MasterKeyId, SiteId};
use crate::site_api::SiteApi;
use crate::store::Store;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// A run begins: no site is in its waves yet, and no master key is known to be right.
    pub(super) fn begin_waves(&mut self, rollout: Rollout) {
        (self.schedule.paused, self.halt, self.not_asked) = (false, None, None);
        self.waves = Waves::new(rollout);
        self.later = vec![Vec::new(); rollout.waves];
        self.trials.begin(Probation::default());
        for slot in &mut self.slots {
            slot.member = None;
        }
    }

    /// Sites of a plan that refused their master key when they were sent to last, while others that use it took it lately.
    pub(super) fn odd_sites(&self, plan: &Plan, now: Moment) -> BTreeSet<SiteId> {
        let slots = self.slots.iter().zip(self.sites.iter());
        let taken = slots.filter(|(slot, _)| slot.state.has_taken_lately(now));
        let taken: BTreeSet<MasterKeyId> = taken.map(|(_, site)| site.master_key).collect();
        let odd = plan.put_sites().filter(|site| {
            let has_refused = self.slots[site.index()].state.push == Push::Failed(Cause::RefusedKey);
            has_refused && taken.contains(&self.sites[site.index()].master_key)
        });
        odd.collect()
    }

    /// A site of the run is in this wave.
    pub(super) fn join_wave(&mut self, site: SiteId, wave: usize) {
        let now = self.clock.now();
        let is_known_bad = self
            .acknowledged
            .of(&self.sites[site.index()].url, now.wall)
            .is_some();
        let slot = &mut self.slots[site.index()];
        let counts = Counts::of(&slot.state, is_known_bad);
        slot.member = Some(self.waves.join(wave, counts));
        slot.state.wave = Some(wave);
    }

    /// The operator says of a site that it is known to be bad, or not any more.
    pub(super) fn recount(&mut self, site: SiteId, is_known_bad: bool) {
        let slot = &mut self.slots[site.index()];
        if let Some(member) = &mut slot.member {
            let counts = Counts::of(&slot.state, is_known_bad);
            self.waves.recount(member, counts);
        }
    }

    /// The waves of what a process before has left of a run: as those of a run of that kind. What the config leaves
    /// out by now is in none.
    pub(super) fn waves_of_the_rest(&self, run: RunId, kind: Kind) -> (Rollout, BTreeMap<SiteId, usize>) {
        let rest = self.slots.iter().enumerate();
        let rest = rest.filter(|(_, slot)| slot.state.run == Some(run) && slot.state.is_left_over());
        let puts: Vec<Candidate<'_>> = rest
            .filter_map(|(index, slot)| {
                let (site, key) = (&self.sites[index], slot.to_record().planned_key()?);
                left_out(site, key).is_none().then(|| Candidate {
                    site: SiteId::at(index),
                    name: site.name.as_str(),
                    key,
                    state: &slot.state,
                })
            })
            .collect();
        let serves = |key: &_| self.slots.iter().any(|slot| slot.state.now.key() == Some(key));
        let rollout = &self.settings.rollout;
        let (rollout, waves) = rollout.assign(kind, &puts, serves, self.clock.now());
        (rollout, puts.iter().map(|put| put.site).zip(waves).collect())
    }

    /// Begins what is due: waves, and sites whose master key was on trial.
    pub(super) fn advance(&mut self) {
        let now = self.clock.now();
        let slots = &self.slots;
        let wants = |run, site: SiteId| {
            let slot = &slots[site.index()];
            slot.run_of_chunk() == run && slot.state.awaits_put()
        };
        for site in self.trials.next(now, wants) {
            self.ask_again(site, now);
        }
        while self.open > 0 && !self.schedule.paused && !self.stopping {
            if self.waves.is_canary_out() && self.heard.is_asking_of_run() {
                // The rest waits for what Stripe says, too: that comes within seconds.
                return;
            }
            match self.waves.step() {
                Step::None => return,
                Step::Begin(wave) => self.begin_wave(wave, now),
                Step::Hold(halt) => {
                    let text = self.why(halt);
                    self.hold(halt, text);
                }
            }
        }
    }

    fn why(&self, halt: Halt) -> String {
        let sentence = halt.sentence();
        match halt {
            Halt::Canary => {
                let site = self.waves.last_without();
                let name = site.map_or("", |site| self.sites[site.index()].name.as_str());
                format!("halted: the canary {name} does not serve the key, so no other site was sent it")
            }
            Halt::NextWave { wave, .. } => {
                let rollout = self.run.as_ref().map(|run| run.rollout).unwrap_or_default();
                format!("paused: wave {} waits for a word", rollout.wave_name(wave))
            }
            _ => format!("halted: {sentence}"),
        }
    }

    fn begin_wave(&mut self, wave: usize, now: Moment) {
        let rollout = self.run.as_ref().map(|run| run.rollout).unwrap_or_default();
        self.say(Level::Info, format!("wave {} begins", rollout.wave_name(wave)));
        for (site, call) in std::mem::take(&mut self.later[wave]) {
            if self.slots[site.index()].state.awaits_put() {
                self.follow(site, Next::At(now, call), now);
            }
        }
    }

    /// Whether the site's wave is still to come: then its call is kept for that.
    pub(super) fn waits_for_wave(&mut self, site: SiteId, call: Call) -> bool {
        let slot = &self.slots[site.index()];
        let Some(member) = slot.member.filter(|_| slot.state.in_run) else {
            return false;
        };
        let waits = !self.waves.may_send(member.wave);
        if waits {
            self.later[member.wave].push((site, call));
        }
        waits
    }

    /// The run holds by itself. Sites that had no turn are not started; somebody may say that it goes on.
    pub(super) fn hold(&mut self, halt: Halt, text: String) {
        let level = if halt.is_bad() { Level::Error } else { Level::Info };
        self.say(level, text.clone());
        tracing::warn!(why = halt.word(), "the run holds");
        (self.schedule.paused, self.halt) = (true, Some(halt));
        if halt.is_bad() {
            self.leave_what_waits();
        }
        self.tell(Event::Halted(halt, text));
    }

    /// What had no turn is not started: it may go when somebody says so, or is left to the next process.
    pub(super) fn leave_what_waits(&mut self) {
        let now = self.clock.now();
        for index in 0..self.slots.len() {
            self.leave_if_it_waits(SiteId::at(index), now);
        }
    }

    /// A site that had no turn is not started, where the run is halted.
    pub(super) fn hold_too(&mut self, site: SiteId, now: Moment) {
        if self.halt.is_some_and(Halt::is_bad) {
            self.leave_if_it_waits(site, now);
        }
    }

    fn leave_if_it_waits(&mut self, site: SiteId, now: Moment) {
        let slot = &self.slots[site.index()];
        if slot.state.in_run && slot.state.awaits_first_put() && slot.handed().is_none() {
            self.change(site, |state| state.hold(now));
        }
    }

    /// Somebody says that the run goes on.
    pub(super) fn go_on(&mut self) {
        let now = self.clock.now();
        self.schedule.paused = false;
        let Some(halt) = self.halt.take() else { return };
        if halt == Halt::DeadKey {
            self.heard.is_confirmed();
        }
        self.waves.go_on(halt);
        for slot in &mut self.slots {
            if let Some(member) = &mut slot.member {
                self.waves.forgive(member);
            }
        }
        self.let_go(now);
    }

    fn let_go(&mut self, now: Moment) {
        for index in 0..self.slots.len() {
            if self.slots[index].state.is_held() {
                self.change(SiteId::at(index), |state| state.go_on(now));
            }
        }
    }

    /// The canary that has failed is tried again: the rest waits for it as before.
    pub(super) fn try_canary_again(&mut self) {
        if self.halt == Some(Halt::Canary) && self.waves.is_canary_well() {
            (self.schedule.paused, self.halt) = (false, None);
            self.let_go(self.clock.now());
        }
    }

    /// Whether no PUT of the site may go now, though it has a slot.
    pub(super) fn puts_wait(&mut self, site: SiteId, now: Moment) -> bool {
        self.schedule.paused || self.schedule.is_held(site, now) || self.schedule.exceeds_rate(site, now)
    }

    /// Whether the site may have its PUT now: its master key may be on trial. If not, it is asked for again when
    /// others have told.
    pub(super) fn may_put(&mut self, site: SiteId, now: Moment) -> bool {
        let key = self.sites[site.index()].master_key;
        let is_awake = self.slots[site.index()].state.is_awake(now);
        match self.trial_of(site).ask(site, key, is_awake, now) {
            Turn::Now => true,
            Turn::Later => {
                self.change(site, |state| state.await_push(now));
                false
            }
            Turn::Never => {
                self.refused_elsewhere(site, now);
                false
            }
        }
    }

    /// When the trial of a master key goes on by itself, as time since the start of the process.
    pub(super) fn key_timer(&self) -> Option<Duration> {
        let at = self.trials.next_at(self.clock.now())?;
        Some(at.since_start)
    }

    fn ask_again(&mut self, site: SiteId, now: Moment) {
        if self.slots[site.index()].state.awaits_put() {
            self.follow(site, Next::At(now, Call::Put), now);
        }
    }

    /// Takes note of what an answer says of the backend and of the master key.
    pub(super) fn hear(&mut self, site: SiteId, call: Call, finished: &Finished, now: Moment) {
        match finished {
            Finished::Put(answer, _) => {
                self.hear_health(site, answer, now);
                self.hear_of_key(site, word(answer.verdict.problem()), now);
            }
            Finished::Look(answer, ..) => self.hear_health(site, answer, now),
            Finished::NotRecorded(_) | Finished::TakenOver(_) | Finished::Lost if call == Call::Put => {
                self.hear_of_key(site, Word::Nothing, now);
            }
            Finished::NotRecorded(_) | Finished::TakenOver(_) | Finished::Lost => {}
        }
    }

    fn hear_health<V: Verdict>(&mut self, site: SiteId, answer: &Answer<V>, now: Moment) {
        // What asks for longer than that is not waited for.
        let most = self.settings.policy.retry_after_max;
        let retry_after = answer.retry_after.filter(|wait| *wait <= most);
        let shown = self
            .schedule
            .answered(site, Health::of(answer.verdict.problem()), retry_after, now);
        if let Some(shown) = shown {
            self.tell_of_backend(site, shown, now);
        } else if self.backends.is_due(&self.sites[site.index()].backend, now) {
            self.tell_of_backend(site, self.schedule.shown(site, now), now);
        }
    }

    fn tell_of_backend(&mut self, site: SiteId, shown: Shown, now: Moment) {
        let backend = Arc::clone(&self.sites[site.index()].backend);
        if self.backends.is_news(&backend, site, shown, now) {
            self.tell(Event::Backend { backend, shown });
        }
    }

    /// The run has come to another point: what was told of backends is of now again.
    pub(super) fn tell_of_backends(&mut self, now: Moment) {
        for site in self.backends.sites() {
            self.tell_of_backend(site, self.schedule.shown(site, now), now);
        }
    }

    pub(super) fn hear_of_key(&mut self, site: SiteId, word: Word, now: Moment) {
        let key = self.sites[site.index()].master_key;
        let was_refused = self.is_key_refused(site);
        let waited = self.trial_of(site).answered(site, key, word, now);
        if self.is_key_refused(site) && !was_refused {
            let has_refused = word == Word::Refused;
            return self.key_refused(key, site, has_refused, now);
        }
        let run = self.slots[site.index()].run_of_chunk();
        for site in waited {
            if self.slots[site.index()].run_of_chunk() == run {
                self.ask_again(site, now);
            }
        }
    }

    /// Whether two sites refuse the site's master key in its run.
    pub(super) fn is_key_refused(&self, site: SiteId) -> bool {
        let run = self.slots[site.index()].run_of_chunk();
        let key = self.sites[site.index()].master_key;
        self.trials.of(run).is_refused(site, key)
    }

    fn trial_of(&mut self, site: SiteId) -> &mut Probation {
        let run = self.slots[site.index()].run_of_chunk();
        self.trials.of_mut(run)
    }

    /// Two sites refuse the key: the others that use it are not asked. That was heard of `last`, which `has_refused` it or
    /// was not asked itself.
    fn key_refused(&mut self, key: MasterKeyId, last: SiteId, has_refused: bool, now: Moment) {
        let mut sites = 0;
        let run = self.slots[last.index()].run_of_chunk();
        for index in 0..self.slots.len() {
            let state = &self.slots[index].state;
            if (index == last.index() && has_refused)
                || self.sites[index].master_key != key
                || self.slots[index].run_of_chunk() != run
                || !self.is_key_refused(SiteId::at(index))
                || !state.in_run
                || !state.is_to_send()
            {
                continue;
            }
            // What looks before its PUT ends when that is answered.
            sites += usize::from(!state.is_put_out());
            if self.slots[index].handed().is_some() {
                self.recall();
            } else {
                self.leave_not_asked(SiteId::at(index), now);
            }
        }
        if let Some(part) = self.slots[last.index()].chunk {
            // Who coordinates the run decides what becomes of it.
            return self.tell(Event::KeyRefused(part.chunk.run, key));
        }
        if sites > 0 {
            let others_took = self.trials.of(run).is_odd(last);
            let halt = Halt::RefusedKey { sites, others_took };
            let text = format!("halted: {}{}", halt.sentence(), self.refused_by_in_words(key));
            self.say(Level::Error, text.clone());
            self.not_asked = Some(halt);
            self.tell(Event::Halted(halt, text));
        }
    }

    /// A site whose key is refused is not asked, if it was to be.
    pub(super) fn leave_not_asked(&mut self, site: SiteId, now: Moment) {
        if self.slots[site.index()].state.awaits_put() {
            self.refused_elsewhere(site, now);
        }
    }

    fn refused_elsewhere(&mut self, site: SiteId, now: Moment) {
        let policy = self.settings.policy.clone();
        let unknown = self.slots[site.index()].was_unknown;
        let next = self.change(site, |state| state.refused_elsewhere(unknown, &policy, now));
        self.schedule.forget(site);
        self.follow(site, next, now);
        self.record(site, None);
    }

    /// Sites of the run that were not asked, since others refuse their master key.
    pub(super) fn sites_not_asked(&self) -> Vec<SiteId> {
        let slots = self.slots.iter().enumerate();
        let not_asked = slots.filter(|(_, slot)| slot.state.in_run && slot.state.is_not_asked());
        not_asked.map(|(index, _)| SiteId::at(index)).collect()
    }

    /// Somebody retries this site: its master key may be right by now.
    pub(super) fn try_key_again(&mut self, site: SiteId) {
        let key = self.sites[site.index()].master_key;
        self.trial_of(site).try_again(site, key);
        if let Some(hands) = &mut self.hands {
            hands.refused_by.remove(&key);
            hands.unasked.forget(key);
        }
    }
}

/// What an answer to a PUT says of the master key: authentication comes before all else (contract.md).
fn word(problem: Option<Problem>) -> Word {
    match problem {
        None | Some(Problem::RefusedFormat | Problem::SaysNotStored) => Word::Accepted,
        Some(Problem::RefusedKey) => Word::Refused,
        Some(_) => Word::Nothing,
    }
}
