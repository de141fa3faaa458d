use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::key::PublishableKey;
use crate::rules::run::{Kind, RunId};
use crate::rules::state::SiteState;
use crate::rules::status::{Push, Verify};
use crate::rules::strange::Strange;
use crate::site::SiteId;
use crate::text::{CleanText, Count};

/// So long nothing of a run is here before that is told: chunks of one run follow each other.
const QUIET: Duration = Duration::from_secs(10);

/// What this worker has of runs, told in a few lines a run.
#[derive(Default)]
pub(super) struct Runs(HashMap<RunId, OfRun>);

#[derive(Default)]
struct OfRun {
    /// Chunks that it works on.
    chunks: usize,
    /// What is known of the sites that it had.
    sites: HashMap<SiteId, SiteState>,
    strange: Strange,
    /// Since when there is no chunk.
    quiet_since: Option<Instant>,
}

impl Runs {
    /// A chunk is taken: a line, if it is the first of its run.
    pub(super) fn takes(&mut self, run: RunId, kind: Kind, key: &PublishableKey) -> Option<String> {
        let is_new = !self.0.contains_key(&run);
        let of_run = self.0.entry(run).or_default();
        of_run.chunks += 1;
        of_run.quiet_since = None;
        let what = || format!("run {}: {} of {key}: works on it", run.0, kind.word());
        is_new.then(what)
    }

    /// What has become of a site.
    pub(super) fn sees(&mut self, site: SiteId, state: &SiteState) {
        if let Some(of_run) = state.run.and_then(|run| self.0.get_mut(&run)) {
            of_run.sites.insert(site, state.clone());
        }
    }

    /// The config here does not know these sites of a run: a line, if they are many more than were told of.
    pub(super) fn does_not_know(&mut self, run: RunId, names: Vec<CleanText>) -> Option<String> {
        let sites = self.0.entry(run).or_default().strange.add(names)?;
        Some(format!(
            "run {}: this worker's config does not know {sites}: bring it together with that of who pushes, start the \
             worker anew, and have them retried",
            run.0
        ))
    }

    /// A chunk is done with.
    pub(super) fn lets_go(&mut self, run: RunId, now: Instant) {
        if let Some(of_run) = self.0.get_mut(&run) {
            of_run.chunks = of_run.chunks.saturating_sub(1);
            of_run.quiet_since = Some(now).filter(|_| of_run.chunks == 0);
        }
    }

    /// A line for each run of which nothing was here for a while.
    pub(super) fn ended(&mut self, now: Instant) -> Vec<String> {
        let is_quiet = |since: Instant| now.duration_since(since) >= QUIET;
        self.end(|of_run| of_run.quiet_since.is_some_and(is_quiet))
    }

    /// A line for each run that was told of: the worker ends.
    pub(super) fn all_ended(&mut self) -> Vec<String> {
        self.end(|_| true)
    }

    fn end(&mut self, is_over: impl Fn(&OfRun) -> bool) -> Vec<String> {
        let over = self.0.extract_if(|_, of_run| is_over(of_run));
        let mut over: Vec<(RunId, OfRun)> = over.collect();
        over.sort_by_key(|(run, _)| *run);
        over.into_iter()
            .map(|(run, of_run)| format!("run {}: has nothing of it any more{}", run.0, of_run.in_words()))
            .collect()
    }
}

impl OfRun {
    /// What became of its sites; nothing where a later run has them all.
    fn in_words(&self) -> String {
        if self.sites.is_empty() {
            return String::new();
        }
        let count = |is: fn(&SiteState) -> bool| self.sites.values().filter(|state| is(state)).count();
        let counts = [
            (count(|state| state.push == Push::Stored), "stored"),
            (count(|state| state.verify == Verify::Verified), "verified"),
            (
                count(|state| {
                    matches!(state.push, Push::Failed(_)) || matches!(state.verify, Verify::Failed(_))
                }),
                "failed",
            ),
            (count(|state| state.is_left_over()), "given back"),
        ];
        let told = counts.iter().filter(|(count, _)| *count > 0);
        let told = told.map(|(count, word)| format!("{count} {word}"));
        let sites = Count(self.sites.len(), "site").to_string();
        let words: Vec<String> = std::iter::once(sites).chain(told).collect();
        format!(": {}", words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::outcome::Problem;

    #[test]
    fn a_run_makes_two_lines_however_many_chunks_it_has() {
        let (run, begin) = (RunId(12), Instant::now());
        let key = PublishableKey::parse(&format!("pk_test_{}", "A".repeat(99))).unwrap();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut runs = Runs::default();
        let began = runs.takes(run, Kind::Push, &key);
        assert_eq!(
            began.as_deref(),
            Some("run 12: push of pk_test_…AAAA: works on it")
        );
        assert_eq!(runs.takes(run, Kind::Push, &key), None);
        let mut state = SiteState::default();
        (state.run, state.push, state.verify) = (Some(run), Push::Sending, Verify::Unchecked);
        runs.sees(SiteId(0), &state);
        state.push = Push::Failed(Problem::RefusedKey.cause());
        runs.sees(SiteId(0), &state);
        (state.push, state.verify) = (Push::Stored, Verify::Verified);
        runs.sees(SiteId(1), &state);
        runs.lets_go(run, at(1));
        assert!(runs.ended(at(60)).is_empty(), "it has another chunk");
        runs.lets_go(run, at(60));
        assert!(runs.ended(at(69)).is_empty());
        assert_eq!(runs.takes(run, Kind::Push, &key), None, "it goes on");
        runs.lets_go(run, at(70));
        let ended = "run 12: has nothing of it any more: 2 sites, 1 stored, 1 verified, 1 failed";
        assert_eq!(runs.ended(at(80)), [ended]);
        assert!(runs.all_ended().is_empty());
    }
}
