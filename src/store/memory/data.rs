use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::outcome::Problem;
use crate::rules::retry::Policy;
use crate::rules::state::{Served, SiteState};
use crate::rules::status::{Push, Verify};
use crate::site::SiteUrl;
use crate::store::left::{is_not_reached, left};
use crate::store::{
    Holder, Intent, Kept, NewRun, Outcome, PlannedSite, Record, Recorded, Request, RunId, RunSite, Seen,
    StoreError, StoredAttempt,
};
use crate::text::CleanText;

/// A process, as it were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Me(u64);

#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) entered: u64,
    pub(super) alive: HashSet<Me>,
    pub(super) intents: Vec<Intent>,
    pub(super) sends: Option<(Me, Holder)>,
    pub(super) last_run: u64,
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) sites: HashMap<SiteUrl, Site>,
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) new: NewRun,
    pub(super) began: Holder,
    pub(super) works: Option<Me>,
    pub(super) sent: Option<Moment>,
    pub(super) ended: Option<Moment>,
    pub(super) closed: bool,
    pub(super) rows: Vec<Row>,
    pub(super) place: HashMap<SiteUrl, usize>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) shown: RunSite,
    /// When something last happened.
    pub(super) at: Option<Moment>,
    /// Something of it is still to come.
    pub(super) open: bool,
    /// What PUSH becomes if the process that works on it dies now.
    pub(super) left: Option<Push>,
    pub(super) open_put: bool,
}

#[derive(Debug, Default)]
pub(super) struct Site {
    pub(super) version: u64,
    pub(super) state: Option<SiteState>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) seen: Vec<Seen>,
    /// Runs in which something is still to come here.
    pub(super) open_in: Vec<RunId>,
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) stored: StoredAttempt,
    pub(super) key: Option<PublishableKey>,
}

impl Row {
    /// Nothing follows any more.
    fn rest(&mut self) {
        if let Some(left) = self.left.take() {
            self.shown.push = left;
        }
        (self.open, self.open_put) = (false, false);
    }

    fn supersede(&mut self) {
        self.rest();
        self.shown.verify = Verify::Superseded;
    }
}

impl Run {
    fn row(&mut self, site: &SiteUrl) -> Option<&mut Row> {
        self.place.get(site).map(|&place| &mut self.rows[place])
    }
}

/// How a row begins.
fn row(planned: PlannedSite) -> Row {
    let push = planned.left_out.map_or(Push::Queued, Push::Skipped);
    Row {
        at: None,
        open: push.is_open(),
        left: push.is_open().then_some(Push::NotStarted),
        open_put: false,
        shown: RunSite {
            planned,
            push,
            verify: Verify::Unchecked,
            http: None,
            puts: 0,
            before: Served::Unknown,
            before_pushed: false,
            now: Served::Unknown,
            note: CleanText::default(),
            at: None,
        },
    }
}

impl Data {
    /// Another process opens the store.
    pub(super) fn enter(&mut self) -> Me {
        self.entered += 1;
        let me = Me(self.entered);
        self.alive.insert(me);
        self.end_idle();
        me
    }

    /// The process is gone, and with it its locks.
    pub(super) fn die(&mut self, me: Me) {
        self.alive.remove(&me);
        self.sends.take_if(|(sends, _)| *sends == me);
    }

    pub(super) fn is_live(&self, run: &Run) -> bool {
        run.ended.is_none() && run.works.is_some_and(|works| self.alive.contains(&works))
    }

    pub(super) fn must_exist(&self, run: RunId) -> Result<(), StoreError> {
        let absent = || StoreError::Failed(format!("there is no run {} on record", run.0));
        self.runs.get(&run).map(drop).ok_or_else(absent)
    }

    /// Nobody sends.
    pub(super) fn must_be_free(&self) -> Result<(), StoreError> {
        match &self.sends {
            Some((_, holder)) => Err(StoreError::Busy(Box::new(holder.clone()))),
            None => Ok(()),
        }
    }

    /// Nobody but `me` works on the run.
    pub(super) fn must_be_mine(&self, me: Me, run: RunId) -> Result<(), StoreError> {
        match self.runs.get(&run) {
            Some(theirs) if self.is_live(theirs) && theirs.works != Some(me) => {
                Err(StoreError::Busy(Box::new(theirs.began.clone())))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn sends_for(&self, me: Me, run: RunId) -> bool {
        let mut sends = self.sends.iter();
        sends.any(|(sends, holder)| *sends == me && holder.run == Some(run))
    }

    pub(super) fn begin(&mut self, me: Me, mut holder: Holder, mut new: NewRun) -> RunId {
        self.last_run += 1;
        let id = RunId(self.last_run);
        holder.run = Some(id);
        let rows: Vec<Row> = std::mem::take(&mut new.sites).into_iter().map(row).collect();
        for row in rows.iter().filter(|row| row.open) {
            let site = self.sites.entry(row.shown.planned.site.clone()).or_default();
            site.open_in.push(id);
        }
        let places = rows.iter().enumerate();
        let place = places
            .map(|(place, row)| (row.shown.planned.site.clone(), place))
            .collect();
        self.sends = Some((me, holder.clone()));
        let run = Run {
            new,
            began: holder,
            works: Some(me),
            sent: None,
            ended: None,
            closed: false,
            rows,
            place,
        };
        self.runs.insert(id, run);
        id
    }

    pub(super) fn reopen(&mut self, me: Me, holder: Holder, id: RunId) {
        self.sends = Some((me, holder));
        if let Some(run) = self.runs.get_mut(&id) {
            (run.sent, run.ended, run.closed, run.works) = (None, None, false, Some(me));
        }
    }

    fn let_others_send(&mut self, id: RunId) {
        self.sends.take_if(|(_, holder)| holder.run == Some(id));
    }

    pub(super) fn sent(&mut self, id: RunId, at: Moment) {
        self.let_others_send(id);
        if let Some(run) = self.runs.get_mut(&id) {
            run.sent = Some(at);
        }
    }

    pub(super) fn end(&mut self, id: RunId, at: Moment) {
        self.over(id, at, false);
    }

    pub(super) fn close(&mut self, id: RunId, at: Moment, policy: &Policy) {
        let rows = self.runs.get(&id).into_iter().flat_map(|run| &run.rows);
        for row in rows.filter(|row| row.open && row.shown.puts == 0) {
            let site = self.sites.get_mut(&row.shown.planned.site);
            // It was looked at before its PUT, which never was: it expects what it did before.
            let state = site.and_then(|site| site.state.as_mut());
            if let Some(state) = state.filter(|state| state.run == Some(id)) {
                state.orphaned(policy, at);
                state.run_closed(at);
            }
        }
        self.over(id, at, true);
    }

    fn over(&mut self, id: RunId, at: Moment, closed: bool) {
        self.let_others_send(id);
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.ended.is_none()) else {
            return;
        };
        (run.ended, run.closed, run.works) = (Some(at), closed, None);
        if !closed {
            run.sent = run.sent.or(Some(at));
        }
        for row in run.rows.iter_mut().filter(|row| row.open) {
            if closed {
                row.rest();
            } else {
                row.supersede();
            }
            if let Some(site) = self.sites.get_mut(&row.shown.planned.site) {
                site.open_in.retain(|open| *open != id);
            }
        }
    }

    /// Ends the runs whose process died with nothing left to do.
    pub(super) fn end_idle(&mut self) {
        let dead = self
            .runs
            .iter()
            .filter(|(_, run)| run.ended.is_none() && !self.is_live(run));
        let idle = dead.filter(|(_, run)| run.rows.iter().all(|row| !row.open));
        let last = |run: &Run| {
            run.rows
                .iter()
                .filter_map(|row| row.at)
                .max()
                .unwrap_or(run.new.at)
        };
        let idle: Vec<(RunId, Moment)> = idle.map(|(id, run)| (*id, last(run))).collect();
        for (id, last) in idle {
            self.end(id, last);
        }
    }

    /// Returns the site's version.
    pub(super) fn intend(&mut self, intent: &Intent) -> u64 {
        self.intents.push(intent.clone());
        let site = self.sites.entry(intent.site.clone()).or_default();
        site.version += 1;
        site.attempts.push(Attempt {
            stored: StoredAttempt {
                run: Some(intent.run),
                site: intent.site.clone(),
                request: Request::Put,
                number: intent.number,
                at: intent.at.wall,
                ended: false,
                ms: None,
                http: None,
                cause: None,
                note: CleanText::default(),
            },
            key: Some(intent.key.clone()),
        });
        for id in std::mem::take(&mut site.open_in) {
            let run = self.runs.get_mut(&id);
            let Some(row) = run.and_then(|run| run.row(&intent.site)) else {
                continue;
            };
            if id == intent.run || (id > intent.run && row.left.is_some()) {
                site.open_in.push(id);
            } else {
                row.supersede();
            }
        }
        let run = self.runs.get_mut(&intent.run);
        if let Some(row) = run.and_then(|run| run.row(&intent.site)) {
            (row.shown.push, row.shown.verify, row.shown.puts) =
                (Push::Sending, Verify::Unchecked, intent.number);
            (row.shown.at, row.at) = (Some(intent.at.wall), Some(intent.at));
            row.left = Some(Push::Unknown(Problem::ConnectionLost.cause()));
            row.open_put = true;
            mark(&mut row.open, true, &mut site.open_in, intent.run);
        }
        site.version
    }

    /// Returns the version of the site that is known now.
    pub(super) fn record(&mut self, me: Me, known: u64, record: Record, policy: &Policy) -> (Recorded, u64) {
        let anothers = self.is_anothers(me, &record);
        let site = self.sites.entry(record.site.clone()).or_default();
        if let Some(outcome) = &record.outcome {
            site.attempt(&record.site, outcome);
            site.see(outcome);
        }
        if known < site.version || anothers {
            let version = site.version;
            let state = self.known(&record.site).1.restore(policy, record.at);
            return (Recorded::TakenOver(Box::new(state)), version);
        }
        let put = record
            .outcome
            .as_ref()
            .is_some_and(|outcome| outcome.request == Request::Put);
        site.version += u64::from(put);
        let version = site.version;
        self.row_of(&record, policy);
        if let Some(site) = self.sites.get_mut(&record.site) {
            site.state = Some(record.state);
        }
        (Recorded::Known, version)
    }

    /// Whether another process has a PUT to the site out, or to come: what becomes of it only that one can say.
    fn is_anothers(&self, me: Me, record: &Record) -> bool {
        let run = record.state.run.and_then(|run| self.runs.get(&run));
        let Some(run) = run.filter(|run| run.works != Some(me) && self.is_live(run)) else {
            return false;
        };
        let row = run.place.get(&record.site).map(|&place| &run.rows[place]);
        row.is_some_and(|row| row.open && (row.open_put || record.state.push.is_open()))
    }

    /// Its row in a run that has not ended, and to which no later run has put an end there.
    fn row_of(&mut self, record: &Record, policy: &Policy) {
        let state = &record.state;
        let run = state.run.and_then(|id| self.runs.get_mut(&id));
        let row = run
            .filter(|run| run.ended.is_none())
            .and_then(|run| run.row(&record.site));
        let Some(row) = row.filter(|row| row.shown.verify != Verify::Superseded) else {
            return;
        };
        let shown = &mut row.shown;
        (shown.push, shown.verify, shown.http, shown.puts) =
            (state.push, state.verify, state.http, state.puts);
        (shown.before, shown.now) = (state.before.clone(), state.now.clone());
        (shown.note, shown.at, row.at) = (record.note.clone(), Some(record.at.wall), Some(record.at));
        (row.left, row.open_put) = (left(state, policy, record.at), false);
        let open = state.is_busy() || state.push.is_open();
        if let (Some(site), Some(run)) = (self.sites.get_mut(&record.site), state.run) {
            mark(&mut row.open, open, &mut site.open_in, run);
        }
    }

    /// The site's version, and what is kept of it.
    pub(super) fn known(&self, url: &SiteUrl) -> (u64, Kept) {
        let Some(site) = self.sites.get(url) else {
            return (0, Kept::default());
        };
        let open = site.open_in.iter().filter_map(|id| {
            let run = self.runs.get(id)?;
            Some((*id, run, &run.rows[*run.place.get(url)?]))
        });
        let open: Vec<_> = open.collect();
        let dead = |(_, run, _): &&(RunId, &Run, &Row)| !self.is_live(run);
        let newest = open.iter().max_by_key(|(id, ..)| *id);
        let of_state = site.state.as_ref().and_then(|state| state.run);
        let of_state = of_state.and_then(|id| self.runs.get(&id));
        let open_put = open
            .iter()
            .filter(dead)
            .filter(|(.., row)| row.open_put)
            .max_by_key(|(id, ..)| *id);
        let closed = of_state.is_some_and(|run| run.closed);
        let not_reached = newest.filter(dead).filter(|(id, _, row)| {
            row.shown.puts == 0 && row.left.is_some() && is_not_reached(*id, site.state.as_ref(), closed)
        });
        let kept = Kept {
            live: newest
                .map(|(_, run, _)| *run)
                .or(of_state)
                .is_some_and(|run| self.is_live(run)),
            before_restart: false,
            open_put: open_put.map(|(id, _, row)| (*id, row.shown.planned.key.clone(), row.shown.puts)),
            not_reached: not_reached
                .map(|(id, run, row)| (*id, row.shown.planned.key.clone(), run.new.allow)),
            state: site.state.clone(),
        };
        (site.version, kept)
    }

    pub(super) fn prune(&mut self, before: Timestamp) -> usize {
        let old = |run: &Run| run.ended.is_some_and(|ended| ended.wall < before);
        let dropped: HashSet<RunId> = self
            .runs
            .iter()
            .filter(|(_, run)| old(run))
            .map(|(id, _)| *id)
            .collect();
        self.runs.retain(|id, _| !dropped.contains(id));
        for site in self.sites.values_mut() {
            site.seen.retain(|seen| seen.last >= before);
            site.attempts.retain(|attempt| match attempt.stored.run {
                Some(run) => !dropped.contains(&run),
                None => attempt.stored.at >= before,
            });
        }
        dropped.len()
    }
}

/// Keeps the site's list of runs in step with its row.
fn mark(open: &mut bool, now: bool, open_in: &mut Vec<RunId>, run: RunId) {
    *open = now;
    open_in.retain(|id| *id != run);
    if now {
        open_in.push(run);
    }
}

impl Site {
    fn attempt(&mut self, url: &SiteUrl, outcome: &Outcome) {
        let put = outcome.request == Request::Put;
        let same = |attempt: &&mut Attempt| {
            let stored = &attempt.stored;
            put && !stored.ended && stored.run == outcome.run && stored.number == outcome.number
        };
        let sent = outcome.at - Duration::from_millis(outcome.ms);
        let mut stored = StoredAttempt {
            run: outcome.run,
            site: url.clone(),
            request: outcome.request,
            number: outcome.number,
            at: if put { sent.wall } else { outcome.at.wall },
            ended: true,
            ms: Some(outcome.ms),
            http: outcome.http,
            cause: outcome.cause,
            note: outcome.note.clone(),
        };
        if let Some(intent) = self.attempts.iter_mut().rev().find(same) {
            stored.at = intent.stored.at;
            intent.stored = stored;
        } else {
            self.attempts.push(Attempt { stored, key: None });
        }
    }

    /// What a look showed: the same as the look before goes on, anything else begins anew.
    fn see(&mut self, outcome: &Outcome) {
        if outcome.served == Served::Unknown {
            return;
        }
        let at = outcome.at.wall;
        if let Some(last) = self.seen.last_mut().filter(|last| last.served == outcome.served) {
            last.last = last.last.max(at);
            return;
        }
        let key = outcome.served.key();
        let puts = self.attempts.iter().rev();
        let mut puts = puts.filter(|attempt| key.is_some() && attempt.key.as_ref() == key);
        self.seen.push(Seen {
            served: outcome.served.clone(),
            first: at,
            last: at,
            pushed_by: puts.next().and_then(|attempt| attempt.stored.run),
        });
    }
}
