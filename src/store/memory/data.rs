use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use crate::key::PublishableKey;
use crate::rules::acknowledgement::Acknowledged;
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::standing::Standing;
use crate::rules::state::{LeftRow, Served, SiteState};
use crate::rules::status::{Push, Verify};
use crate::rules::watch::Told;
use crate::site::SiteUrl;
use crate::store::left::is_not_reached;
use crate::store::old::Pruned;
use crate::store::{
    Holder, Intent, Kept, NewRun, Newest, PlannedSite, RunId, RunSite, Seen, StoreError, StoredAttempt,
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
    /// Who has not asked since another changed something.
    pub(super) news: HashSet<Me>,
    pub(super) pruned: Option<Pruned>,
    /// What Stripe said of keys, and when.
    pub(super) standings: HashMap<PublishableKey, (Standing, Timestamp)>,
    /// The sites of each list at its last run.
    pub(super) lists: HashMap<String, Vec<SiteUrl>>,
    pub(super) acknowledged: Acknowledged,
    pub(super) told: Told,
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) new: NewRun,
    pub(super) began: Holder,
    pub(super) works: Option<Me>,
    /// Who took it up last.
    pub(super) holder: Holder,
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
    pub(super) version: i64,
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

    pub(super) fn supersede(&mut self) {
        self.rest();
        self.shown.verify = Verify::Superseded;
    }
}

impl Run {
    pub(super) fn row(&mut self, site: &SiteUrl) -> Option<&mut Row> {
        self.place.get(site).map(|&place| &mut self.rows[place])
    }
}

/// What the run planned for the site.
fn left_row(id: RunId, run: &Run, row: &Row) -> LeftRow {
    LeftRow {
        run: id,
        key: row.shown.planned.key.clone(),
        allow: run.new.allow,
        serves: row.shown.planned.serves.clone(),
        began: run.new.at,
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
        self.news.insert(me);
        self.end_idle(me);
        me
    }

    pub(super) fn changed_by(&mut self, me: Me) {
        let others = self.alive.iter().copied().filter(|other| *other != me);
        self.news.extend(others);
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
                Err(StoreError::Busy(Box::new(theirs.holder.clone())))
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
            began: holder.clone(),
            works: Some(me),
            holder,
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
        self.sends = Some((me, holder.clone()));
        if let Some(run) = self.runs.get_mut(&id) {
            run.holder = holder;
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

    /// Returns whether it has ended.
    pub(super) fn end(&mut self, me: Me, id: RunId, at: Moment) -> bool {
        let Some(run) = self.runs.get(&id) else {
            return true;
        };
        let anothers = self.is_live(run) && run.works != Some(me);
        if anothers || !self.is_over(me, id, run) {
            if !anothers && !self.sends_for(me, id) {
                self.changed_by(me);
                self.left_to_others(id);
            }
            return false;
        }
        self.changed_by(me);
        self.over(id, at, false);
        true
    }

    /// Nobody works on it any more.
    fn left_to_others(&mut self, id: RunId) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.works = None;
        }
    }

    /// Whether nothing is left in it to send, to find out or to wait for.
    fn is_over(&self, me: Me, id: RunId, run: &Run) -> bool {
        let open = run.rows.iter().filter(|row| row.open);
        open.into_iter().all(|row| self.is_taken_over(me, id, row))
    }

    /// Whether a later run has the site of this row, though it has sent it no PUT yet.
    fn is_taken_over(&self, me: Me, id: RunId, row: &Row) -> bool {
        let url = &row.shown.planned.site;
        let Some(site) = self.sites.get(url).filter(|_| !row.open_put) else {
            return false;
        };
        let of_state = site.state.as_ref().and_then(|state| state.run);
        let later = of_state.filter(|run| *run > id);
        let closed = later.is_some_and(|run| self.runs.get(&run).is_some_and(|run| run.closed));
        if later.is_some() && (row.left.is_none() || !closed) {
            return true;
        }
        let is_mine = |run: &RunId| self.runs.get(run).is_some_and(|run| run.works == Some(me));
        let mut planned = site.open_in.iter().filter(|run| **run > id);
        row.left.is_none() && planned.any(is_mine)
    }

    /// Returns the sites whose version was raised by that, with what it was.
    pub(super) fn close(&mut self, id: RunId, at: Moment, policy: &Policy) -> Vec<(SiteUrl, i64)> {
        let mut raised = Vec::new();
        let rows = self.runs.get(&id).into_iter().flat_map(|run| &run.rows);
        for row in rows.filter(|row| row.open && row.shown.puts == 0) {
            let url = &row.shown.planned.site;
            let Some(site) = self.sites.get_mut(url) else {
                continue;
            };
            let of_state = site.state.as_ref().and_then(|state| state.run);
            if row.left.is_some() && of_state <= Some(id) {
                // Who read before that it was left over, and hands something over of it later, must learn of the end.
                raised.push((url.clone(), site.version));
                site.version += 1;
            }
            // It was looked at before its PUT, which never was: it expects what it did before.
            if let Some(state) = site.state.as_mut().filter(|_| of_state == Some(id)) {
                state.orphaned(policy, at);
                state.run_closed(at);
            }
        }
        self.over(id, at, true);
        raised
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
    pub(super) fn end_idle(&mut self, me: Me) {
        let dead = self
            .runs
            .iter()
            .filter(|(_, run)| run.ended.is_none() && !self.is_live(run));
        let idle = dead.filter(|(id, run)| self.is_over(me, **id, run));
        let last = |run: &Run| {
            run.rows
                .iter()
                .filter_map(|row| row.at)
                .max()
                .unwrap_or(run.new.at)
        };
        let idle: Vec<(RunId, Moment)> = idle.map(|(id, run)| (*id, last(run))).collect();
        for (id, last) in idle {
            self.changed_by(me);
            self.over(id, last, false);
        }
    }

    /// What is known of the site, as if `me` had died.
    pub(super) fn known(&self, url: &SiteUrl, me: Me, policy: &Policy, now: Moment) -> Newest {
        let Some(site) = self.sites.get(url) else {
            return Newest::default();
        };
        let open = site.open_in.iter().filter_map(|id| {
            let run = self.runs.get(id)?;
            Some((*id, run, &run.rows[*run.place.get(url)?]))
        });
        let open: Vec<_> = open.collect();
        let is_live = |run: &Run| self.is_live(run) && run.works != Some(me);
        let dead = |(_, run, _): &&(RunId, &Run, &Row)| !is_live(run);
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
            !row.open_put && row.left.is_some() && is_not_reached(*id, site.state.as_ref(), closed)
        });
        let kept = Kept {
            live: newest.map(|(_, run, _)| *run).or(of_state).is_some_and(is_live),
            before_restart: None,
            open_put: open_put.map(|(id, run, row)| (left_row(*id, run, row), row.shown.puts)),
            not_reached: not_reached.map(|(id, run, row)| left_row(*id, run, row)),
            state: site.state.clone(),
        };
        kept.newest(site.version, policy, now)
    }

    pub(super) fn prune(&mut self, me: Me, pruned: Pruned) -> usize {
        if !pruned.is_due(self.pruned) {
            return 0;
        }
        self.changed_by(me);
        self.pruned = Some(pruned);
        let before = pruned.before;
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
                None => attempt.stored.at >= pruned.looks_before(),
            });
        }
        dropped.len()
    }
}
