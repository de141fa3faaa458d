use super::run::Engine;
use super::{Event, Level};
use crate::rules::moment::Moment;
use crate::rules::note::note;
use crate::rules::state::SiteState;
use crate::site::SiteId;
use crate::site_api::SiteApi;
use crate::store::{Outcome, Record, Recorded, RunId, Store, StoreError};
use crate::text::CleanText;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// Puts on record what has happened to a site, and all that is known of it now. Nothing waits for it but the
    /// end of the engine: the store keeps the order.
    pub(super) fn record(&mut self, site: SiteId, outcome: Option<Outcome>) {
        let state = self.slots[site.index()].to_record().clone();
        let note = note(&state, &|moment| format!("{:.0}", moment.wall));
        let recorded = self.store.record(Record {
            site: self.sites[site.index()].url.clone(),
            at: self.clock.now(),
            outcome,
            state,
            note: CleanText::note(&note),
        });
        self.records.follow(site, recorded);
    }

    /// What came of a record.
    pub(super) fn recorded(&mut self, (site, result): (SiteId, Result<Recorded, StoreError>)) {
        match result {
            Ok(Recorded::Known) => self.records.failing = false,
            Ok(Recorded::TakenOver(newest)) => self.taken_over(site, *newest),
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

    /// A run of another process has the site now.
    fn taken_over(&mut self, site: SiteId, newest: SiteState) {
        let slot = &mut self.slots[site.index()];
        if slot.state.is_calling() {
            // Its answer is recorded too, and comes back here.
            return;
        }
        slot.pending = None;
        slot.on_record = None;
        self.schedule.forget(site);
        self.change(site, |state| state.taken_over(newest));
        let now = self.clock.now();
        let next = self.slots[site.index()].state.wait_left(now);
        self.follow(site, next, now);
    }

    /// Something of the run is to be sent: no other run may send until all is.
    pub(super) async fn hold_store(&mut self, run: RunId, now: Moment) -> bool {
        if self.records.holds_store {
            return true;
        }
        match self.store.resume_run(run, now).await {
            Ok(()) => {
                self.records.holds_store = true;
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
            if self.slots[index].state.in_run {
                self.change(SiteId::at(index), |state| state.in_run = false);
            }
        }
        self.end_earlier(now).await;
    }

    /// Ends the earlier runs of which nothing waits for its proof any more.
    pub(super) async fn end_earlier(&mut self, now: Moment) {
        let (goes_on, over): (Vec<RunId>, Vec<RunId>) = std::mem::take(&mut self.earlier)
            .into_iter()
            .partition(|run| self.busy_of.contains_key(run));
        self.earlier = goes_on;
        for run in over {
            self.end_run(run, now).await;
        }
    }

    pub(super) async fn end_run(&mut self, id: RunId, now: Moment) {
        match self.store.end_run(id, now).await {
            Ok(true) => {}
            Ok(false) => tracing::info!(
                run = id.0,
                "something of the run is left, or another process works on it"
            ),
            Err(error) => self.say(
                Level::Error,
                format!("the end of run {} could not be recorded ({error})", id.0),
            ),
        }
    }
}
