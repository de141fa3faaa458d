use std::collections::HashSet;
use std::sync::Arc;

use super::records::Read;
use super::run::{Engine, count_run};
use super::slot::{Pending, Slot, unknown_of};
use super::{Event, LeftRun, Level, RunInfo};
use crate::rules::plan::left_out;
use crate::rules::run::{RunId, RunPhase};
use crate::site::SiteId;
use crate::site_api::SiteApi;
use crate::store::{Newest, Store, StoreError};
use crate::text::Count;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// What the store says that sites wait for, from a process before.
    pub(super) fn wait_for_what_is_left(&mut self) {
        let now = self.clock.now();
        for index in 0..self.slots.len() {
            let state = &self.slots[index].state;
            if state.is_busy() {
                count_run(&mut self.busy_of, None, state.run);
                let next = state.wait_left(now);
                self.follow(SiteId::at(index), next, now);
            }
        }
        self.await_left_runs();
    }

    /// Runs of a process before end when nothing of them waits for its proof any more; one with something left to
    /// send when that is sent, or when it is closed.
    fn await_left_runs(&mut self) {
        let states = self.slots.iter().map(|slot| &slot.state);
        let left: HashSet<RunId> = states
            .filter(|state| state.is_left_over())
            .filter_map(|state| state.run)
            .collect();
        let own = self.run.as_ref().map(|run| run.id);
        let settling = self.busy_of.keys().copied();
        let settling = settling.filter(|run| !left.contains(run) && Some(*run) != own);
        for run in settling.collect::<Vec<_>>() {
            if !self.earlier.contains(&run) {
                self.earlier.push(run);
            }
        }
    }

    /// Takes over what is on record by now, for each site that nothing goes on for here. What is on its way there
    /// from here is waited for first, so that nothing goes back in time.
    pub(super) async fn refresh(&mut self) {
        self.await_records().await;
        let (number, asked) = self.asked();
        let known = self.read(&asked).await;
        self.take_read(Read { number, asked, known });
    }

    /// As [`Self::refresh`], beside all else: a large store is read for seconds.
    pub(super) async fn refresh_beside(&mut self, tells_all: bool) {
        // A run that sends does not wait for it.
        if self.open == 0 {
            self.await_records().await;
            self.read_acknowledged().await;
        }
        let (number, asked) = self.asked();
        let read = self.read(&asked);
        let since = self.clock.now();
        self.reads.spawn(async move {
            let known = read.await;
            let read = Read { number, asked, known };
            (read, tells_all, since)
        });
    }

    /// The number of the reading, and what is read. Only these: the others are known by what goes on here, by what is on
    /// its way to the store, or by what that did not take. What the run of this process still holds nobody else sends to.
    fn asked(&mut self) -> (u32, Vec<(usize, u32)>) {
        self.records.asked += 1;
        let (on_their_way, sends) = (self.records.sites(), self.open > 0);
        let slots = self.slots.iter().enumerate();
        let asked = slots
            .filter(|(_, slot)| !(slot.state.is_busy() || slot.unrecorded || sends && slot.state.in_run))
            .filter(|(index, _)| !on_their_way.contains(index))
            .map(|(index, slot)| (index, slot.changes))
            .collect();
        (self.records.asked, asked)
    }

    fn read(
        &self,
        asked: &[(usize, u32)],
    ) -> impl Future<Output = Result<Vec<Newest>, StoreError>> + Send + 'static + use<Api, Db> {
        let urls: Vec<_> = asked
            .iter()
            .map(|(index, _)| self.sites[*index].url.clone())
            .collect();
        let (store, policy) = (Arc::clone(&self.store), self.settings.policy.clone());
        let now = self.clock.now();
        async move { store.last_known(&urls, &policy, now).await }
    }

    pub(super) fn take_read(&mut self, read: Read) {
        let known = match read.known {
            Ok(known) => known,
            Err(error) => {
                return self.say(
                    Level::Error,
                    format!("what is on record cannot be read ({error})"),
                );
            }
        };
        let now = self.clock.now();
        for ((index, changes), newest) in read.asked.into_iter().zip(known) {
            let site = SiteId::at(index);
            let slot = &self.slots[index];
            if slot.changes != changes || slot.read > read.number {
                // Something has happened to it here since that was asked, or what was asked later is known already.
                continue;
            }
            self.adopt(site, &newest);
            let slot = &mut self.slots[index];
            slot.on_record = None;
            let mut known = newest.state;
            if self.settings.left.leaves_alone(&known) || !self.sites[index].enabled {
                known.is_elsewhere();
            }
            // What is on record may be of this engine's own run. What is to be sent there, another process sends.
            known.in_run = slot.state.in_run && known.run == slot.state.run && !known.push.is_open();
            if slot.state != known {
                let next = known.wait_left(now);
                self.schedule.forget(site);
                self.change(site, |state| *state = known);
                self.sound(site);
                self.follow(site, next, now);
            }
            // That was read is nothing that has happened: a reading that was asked for before it, and is newer, counts.
            let slot = &mut self.slots[index];
            (slot.changes, slot.read) = (changes, read.number);
        }
        self.await_left_runs();
    }

    /// Takes up a run that a process before has left.
    pub(super) async fn resume(&mut self, left: LeftRun) {
        if self.open > 0 {
            return self.say(Level::Warning, "a run is sending: it comes first".to_owned());
        }
        let is_own = self.works_on(left.id);
        if let Err(error) = must_be_unfinished(&*self.store, left.id, is_own).await {
            return self.tell(Event::NotBegun(error));
        }
        // Behind that what the store says to the run before must order nothing.
        self.await_records().await;
        if !self.hold_store(left.id, self.clock.now()).await {
            return;
        }
        // Behind that no other process sends, or has the run: what is read now stays so.
        self.refresh().await;
        let now = self.clock.now();
        self.leave_earlier(now).await;
        let (rollout, waves) = self.waves_of_the_rest(left.id, left.kind);
        let of_run = |slot: &&Slot| slot.state.run == Some(left.id);
        let puts = self.slots.iter().filter(of_run).count();
        let info = RunInfo {
            id: left.id,
            kind: left.kind,
            key: left.key,
            phase: RunPhase::Sending,
            started: left.began,
            ended: None,
            puts,
            rollout,
            halt: None,
        };
        self.begin_waves(rollout);
        self.coordinates(info.id);
        tracing::info!(run = info.id.0, key = %info.key, "run goes on");
        self.tell(Event::Run(info.clone()));
        self.run = Some(info);
        self.ask_of_left(&left.sites);
        let mut kept_out = 0;
        for index in 0..self.slots.len() {
            if self.slots[index].state.run == Some(left.id) {
                let site = SiteId::at(index);
                // What has ended before says nothing of what goes out now.
                if let Some(wave) = waves.get(&site) {
                    self.join_wave(site, *wave);
                }
                kept_out += usize::from(!self.take_up(SiteId::at(index)));
            }
        }
        if kept_out > 0 {
            let sites = Count(kept_out, "site");
            self.say(
                Level::Warning,
                format!(
                    "{sites} of the run left out: by now the config disables it or allows no such key there"
                ),
            );
        }
    }

    /// Whether something of the run goes on in this process.
    pub(super) fn works_on(&self, run: RunId) -> bool {
        let shown = self.run.as_ref().filter(|shown| shown.ended.is_none());
        shown.is_some_and(|shown| shown.id == run) || self.earlier.contains(&run)
    }

    /// Takes up one site of the run. Returns whether the config lets it.
    pub(super) fn take_up(&mut self, site: SiteId) -> bool {
        let now = self.clock.now();
        self.let_go_of(site);
        let slot = &mut self.slots[site.index()];
        if !slot.state.is_calling() && slot.on_record.is_some() {
            // What somebody asked about here is not what the run sends.
            let recorded = slot.on_record.take();
            self.change(site, |state| state.go_back_to(recorded));
        }
        let slot = &mut self.slots[site.index()];
        let key = slot
            .to_record()
            .planned_key()
            .filter(|_| slot.state.is_left_over());
        let reason = key.and_then(|key| left_out(&self.sites[site.index()], key));
        if let Some(reason) = reason {
            self.change(site, |state| state.left_out(reason, now));
            self.record(site, None);
            return false;
        }
        slot.was_unknown = unknown_of(slot.state.push);
        slot.forgets_not_asked();
        if slot.state.is_calling() && slot.state.is_left_over() {
            let push = slot.state.push;
            slot.pending = Some(Pending::Rest(push));
            self.change(site, |state| state.await_push(now));
            return true;
        }
        let next = self.change(site, |state| state.order_rest(now));
        self.follow(site, next, now);
        true
    }

    /// Closes a run that a process before has left: what it did not reach is not expected any more.
    pub(super) async fn close(&mut self, run: RunId) {
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
}

/// Another process may have finished the run since it was asked about.
async fn must_be_unfinished(store: &impl Store, run: RunId, is_own: bool) -> Result<(), StoreError> {
    let unfinished = store.unfinished_runs().await?;
    if unfinished.iter().any(|known| known.id == run) {
        return Ok(());
    }
    let live = store.live_runs().await?;
    let text = match live.into_iter().find(|live| live.run.id == run) {
        Some(_) if is_own => format!("run {} goes on here already", run.0),
        Some(live) if live.run.sent.is_none() => return Err(StoreError::Busy(Box::new(live.holder))),
        Some(live) if live.holder.is_elsewhere => format!(
            "run {} of {} goes on (PID {} there): nothing of it is left to send",
            run.0,
            live.holder.who(),
            live.holder.by.pid
        ),
        Some(live) => format!(
            "run {} goes on in another process (PID {}): nothing of it is left to send",
            run.0, live.holder.by.pid
        ),
        None => format!(
            "run {} was finished meanwhile: there is nothing to take up",
            run.0
        ),
    };
    Err(StoreError::Failed(text))
}
