use std::collections::BTreeMap;

use super::data::{Attempt, Data, Run, Site};
use crate::key::PublishableKey;
use crate::rules::state::SiteState;
use crate::rules::status::Push;
use crate::rules::tally::word;
use crate::site::SiteUrl;
use crate::store::left::times;
use crate::store::{LiveRun, RunId, RunRecord, RunSite, Seen, SiteRun, StoredAttempt};

impl Data {
    /// Those that a process works on, newest first.
    pub(super) fn live_runs(&self) -> Vec<LiveRun> {
        let live = self.runs().filter(|run| run.live);
        let of_run = |run: RunRecord| {
            let holder = self.runs.get(&run.id)?.holder.clone();
            Some(LiveRun { run, holder })
        };
        live.filter_map(of_run).collect()
    }

    /// All runs, newest first.
    pub(super) fn runs(&self) -> impl Iterator<Item = RunRecord> {
        self.runs.iter().rev().map(|(id, run)| self.run_record(*id, run))
    }

    fn run_record(&self, id: RunId, run: &Run) -> RunRecord {
        let times = run.ended.map(|ended| times(run.new.at, ended));
        let mut counts = BTreeMap::new();
        for site in self.rows(run) {
            let mut state = SiteState::default();
            (state.push, state.verify) = (site.push, site.verify);
            *counts.entry(word(&state).to_owned()).or_default() += 1;
        }
        RunRecord {
            id,
            kind: run.new.kind,
            parent: run.new.parent,
            key: run.new.key.clone(),
            by: run.began.by.clone(),
            began: run.new.at,
            sent: run.sent,
            ended: run.ended,
            closed: run.closed,
            live: self.is_live(run),
            took: times.map(|(took, _)| took),
            clock_set: times.and_then(|(_, set)| set),
            counts,
        }
    }

    /// The rows of a run: what nobody works on any more as what it has become.
    fn rows(&self, run: &Run) -> impl Iterator<Item = RunSite> {
        let live = self.is_live(run);
        run.rows.iter().map(move |row| {
            let mut shown = row.shown.clone();
            if let Some(left) = row.left.filter(|_| !live) {
                shown.push = left;
            }
            shown
        })
    }

    /// Whether a run before this one had stored `key` on the site.
    fn stored_before(&self, run: RunId, site: &SiteUrl, key: &PublishableKey) -> bool {
        let stored = |attempt: &Attempt| {
            let told = &attempt.stored;
            let row = told.run.and_then(|run| {
                self.runs
                    .get(&run)?
                    .rows
                    .iter()
                    .find(|row| row.shown.planned.site == *site)
            });
            let stored = row.is_some_and(|row| row.shown.push == Push::Stored);
            told.run < Some(run) && stored && attempt.key.as_ref() == Some(key)
        };
        let known = self.sites.get(site);
        known.is_some_and(|site| site.attempts.iter().any(stored))
    }

    pub(super) fn run_sites(&self, id: RunId) -> Vec<RunSite> {
        let run = self.runs.get(&id);
        let mut rows: Vec<RunSite> = run.map(|run| self.rows(run).collect()).unwrap_or_default();
        for row in &mut rows {
            let key = row.before.key();
            row.before_pushed = key.is_some_and(|key| self.stored_before(id, &row.planned.site, key));
        }
        rows
    }

    pub(super) fn site_runs(&self, url: &SiteUrl, count: usize) -> Vec<SiteRun> {
        let of_run = |(id, run): (&RunId, &Run)| {
            let place = *run.place.get(url)?;
            let mut site = self.rows(run).nth(place)?;
            let key = site.before.key();
            site.before_pushed = key.is_some_and(|key| self.stored_before(*id, url, key));
            Some(SiteRun {
                run: *id,
                kind: run.new.kind,
                began: run.new.at.wall,
                site,
            })
        };
        self.runs.iter().rev().filter_map(of_run).take(count).collect()
    }

    pub(super) fn attempts(
        &self,
        run: Option<RunId>,
        site: Option<&SiteUrl>,
        count: usize,
    ) -> Vec<StoredAttempt> {
        let of_site = |(url, _): &(&SiteUrl, &Site)| site.is_none_or(|site| site == *url);
        let sites = self.sites.iter().filter(of_site);
        let all = sites.flat_map(|(_, site)| site.attempts.iter().map(|attempt| &attempt.stored));
        let of_run = all.filter(|attempt| run.is_none() || attempt.run == run);
        let mut chosen: Vec<StoredAttempt> = of_run.cloned().collect();
        chosen.sort_by_key(|attempt| attempt.at);
        newest(chosen, count)
    }

    pub(super) fn timeline(&self, site: &SiteUrl, count: usize) -> Vec<Seen> {
        let site = self.sites.get(site);
        newest(site.map(|site| site.seen.clone()).unwrap_or_default(), count)
    }

    pub(super) fn was_served(&self, key: &PublishableKey) -> bool {
        let mut seen = self.sites.values().flat_map(|site| &site.seen);
        seen.any(|seen| seen.served.key() == Some(key))
    }
}

fn newest<T>(mut all: Vec<T>, count: usize) -> Vec<T> {
    all.split_off(all.len().saturating_sub(count))
}
