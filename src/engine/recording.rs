use super::records::Answered;
use super::run::Engine;
use super::{Event, Level};
use crate::rules::moment::Moment;
use crate::rules::note::note;
use crate::rules::state::Next;
use crate::rules::status::Push;
use crate::site::SiteId;
use crate::site_api::SiteApi;
use crate::store::{Newest, Outcome, Record, Recorded, RunId, Store};
use crate::text::CleanText;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// Puts on record what has happened to a site, and all that is known of it now. Nothing waits for it but the
    /// end of the engine: the store keeps the order.
    pub(super) fn record(&mut self, site: SiteId, outcome: Option<Outcome>) {
        if self.slots[site.index()].handed().is_some() {
            // Its worker records what becomes of it.
            return;
        }
        let state = self.slots[site.index()].to_record().clone();
        let note = note(&state, &|moment| format!("{:.0}", moment.wall));
        let recorded = self.store.record(Record {
            site: self.sites[site.index()].url.clone(),
            at: self.clock.now(),
            outcome,
            state,
            note: CleanText::note(&note),
        });
        let adopted = self.slots[site.index()].adopted;
        self.records.follow(site, adopted, recorded);
    }

    /// What came of a record.
    pub(super) fn recorded(&mut self, answered: Answered) {
        let site = answered.site;
        self.slots[site.index()].unrecorded = answered.result.is_err();
        match answered.result {
            Ok(Recorded::Known) => self.records.failing = false,
            Ok(Recorded::TakenOver(newest)) => {
                let slot = &self.slots[site.index()];
                // The answer of what is out is recorded too, and comes back here. What was handed over before the
                // site's state was replaced tells nothing that is not known by now.
                let is_workers = self.chunks.is_worker && slot.chunk.is_none();
                let is_ours = !is_workers && slot.handed().is_none();
                if is_ours && !slot.state.is_calling() && slot.adopted == answered.adopted {
                    let next = self.taken_over(site, &newest);
                    let now = self.clock.now();
                    self.follow(site, next, now);
                }
            }
            // Once, not for each of a hundred thousand.
            Err(error) if !std::mem::replace(&mut self.records.failing, true) => {
                tracing::error!(%error, "what happened could not be recorded");
                self.say(
                    Level::Error,
                    format!("what happened cannot be recorded: the next start looks again ({error})"),
                );
            }
            Err(_) => {}
        }
    }

    /// Takes in what the store says to all that was handed over.
    pub(super) async fn await_records(&mut self) {
        while let Some(done) = self.records.next().await {
            self.recorded(done);
        }
    }

    /// Another process has sent the site a PUT that this one did not know of, or may have.
    pub(super) fn taken_over(&mut self, site: SiteId, newest: &Newest) -> Next {
        let now = self.clock.now();
        let slot = &mut self.slots[site.index()];
        (slot.pending, slot.on_record) = (None, None);
        self.schedule.forget(site);
        let state = newest.state.clone();
        // Once others may send, nothing more is ordered here.
        let sends = self.records.holds_store;
        let Some(next) = self.change(site, |state_here| state_here.taken_over(&state, sends, now)) else {
            return Next::Rest;
        };
        self.adopt(site, newest);
        let state = &self.slots[site.index()].state;
        if state.in_run && state.push == Push::Cancelled {
            // That it was is not on record yet.
            self.record(site, None);
        }
        next
    }

    /// What is on record of a site is what is known of it here from now on.
    pub(super) fn adopt(&mut self, site: SiteId, newest: &Newest) {
        let slot = &mut self.slots[site.index()];
        (slot.adopted, slot.changes) = (slot.adopted + 1, slot.changes.wrapping_add(1));
        self.store.adopt([(&self.sites[site.index()].url, newest)]);
    }

    /// Something of the run is to be sent: no other run may send until all is.
    pub(super) async fn hold_store(&mut self, run: RunId, now: Moment) -> bool {
        if self.records.holds_store {
            return true;
        }
        match self.store.resume_run(run, now).await {
            Ok(()) => {
                self.records.holds_store = true;
                if let Some(hands) = &mut self.hands
                    && hands.runs.insert(run)
                {
                    // What was said of it before another process took it up is no word of now.
                    hands.says(run, hands.may_send);
                }
                true
            }
            Err(error) => {
                self.tell(Event::NotBegun(error));
                false
            }
        }
    }

    /// Nothing of the run is left to send: another may.
    pub(super) async fn let_go_of_store(&mut self, run: RunId, now: Moment) {
        if !std::mem::take(&mut self.records.holds_store) {
            return;
        }
        if let Err(error) = self.store.run_sent(run, now).await {
            self.say(
                Level::Error,
                format!(
                    "that all of run {} is sent could not be recorded ({error})",
                    run.0
                ),
            );
        }
    }

    /// The run before is no longer the one that is shown. What still settles of it goes on.
    pub(super) async fn leave_earlier(&mut self, now: Moment) {
        if let Some(earlier) = self.run.take().filter(|run| run.ended.is_none()) {
            self.earlier.push(earlier.id);
        }
        for index in 0..self.slots.len() {
            self.slots[index].gets = 0;
            let state = &self.slots[index].state;
            if !state.in_run {
                continue;
            }
            if state.push.is_open() {
                // No PUT of it may go in the name of the next.
                self.schedule.forget(SiteId::at(index));
                let policy = self.settings.policy.clone();
                self.change(SiteId::at(index), |state| state.cancel(&policy, now));
            }
            self.change(SiteId::at(index), |state| state.in_run = false);
        }
        self.end_earlier(now).await;
    }

    /// Ends the earlier runs of which nothing waits for its proof any more.
    pub(super) async fn end_earlier(&mut self, now: Moment) {
        if self.earlier.iter().any(|run| !self.goes_on(*run)) {
            self.await_records().await;
        }
        let (goes_on, over): (Vec<RunId>, Vec<RunId>) = std::mem::take(&mut self.earlier)
            .into_iter()
            .partition(|run| self.goes_on(*run));
        self.earlier = goes_on;
        for run in over {
            self.end_run(run, now).await;
        }
    }

    /// Whether sites of the run will change by themselves, or workers have any.
    fn goes_on(&self, run: RunId) -> bool {
        self.busy_of.contains_key(&run) || self.workers_have_some_of(run)
    }

    pub(super) async fn end_run(&mut self, id: RunId, now: Moment) {
        match self.store.end_run(id, now).await {
            Ok(true) => {}
            Ok(false) => tracing::info!(
                run = id.0,
                "something of the run is left for others, or another process works on it"
            ),
            Err(error) => self.say(
                Level::Error,
                format!("the end of run {} could not be recorded ({error})", id.0),
            ),
        }
    }
}
