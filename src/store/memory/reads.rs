use std::collections::BTreeMap;

use super::data::{Data, Run};
use crate::rules::state::SiteState;
use crate::rules::tally::word;
use crate::site::SiteUrl;
use crate::store::left::times;
use crate::store::{RunId, RunRecord, RunSite, Seen, StoredAttempt};

impl Data {
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

    pub(super) fn run_sites(&self, run: RunId) -> Vec<RunSite> {
        let run = self.runs.get(&run);
        run.map(|run| self.rows(run).collect()).unwrap_or_default()
    }

    pub(super) fn attempts(&self, run: Option<RunId>, site: &SiteUrl, count: usize) -> Vec<StoredAttempt> {
        let Some(site) = self.sites.get(site) else {
            return Vec::new();
        };
        let all = site.attempts.iter().map(|attempt| &attempt.stored);
        let of_run = all.filter(|attempt| run.is_none() || attempt.run == run);
        newest(of_run.cloned().collect(), count)
    }

    pub(super) fn timeline(&self, site: &SiteUrl, count: usize) -> Vec<Seen> {
        let site = self.sites.get(site);
        newest(site.map(|site| site.seen.clone()).unwrap_or_default(), count)
    }
}

fn newest<T>(mut all: Vec<T>, count: usize) -> Vec<T> {
    all.split_off(all.len().saturating_sub(count))
}
