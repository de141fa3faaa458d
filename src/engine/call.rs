use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, Clock};
use crate::key::PublishableKey;
use crate::rules::outcome::{Answer, Cause, LookVerdict, Problem, PutVerdict, Verdict};
use crate::rules::state::Served;
use crate::site::{Site, SiteId};
use crate::site_api::SiteApi;
use crate::store::workers::ChunkId;
use crate::store::{Intent, Newest, Outcome, Recorded, Request, RunId, Store, StoreError};
use crate::text::CleanText;

/// What came of one request.
pub(super) enum Finished {
    Put(Answer<PutVerdict>, Attempt),
    Look(Answer<LookVerdict>, Attempt, Served),
    /// The intent could not be recorded: nothing was sent.
    NotRecorded(StoreError),
    /// Another process has sent the site a PUT that this one did not know of: nothing was sent.
    TakenOver(Box<Newest>),
    /// The task ended before its time: whether the request was sent, nobody knows.
    Lost,
}

/// One request to be made: with its intent before, its outcome after.
pub(super) struct Work<Api, Db> {
    pub(super) api: Arc<Api>,
    pub(super) store: Arc<Db>,
    pub(super) sites: Arc<[Site]>,
    pub(super) clock: Clock,
    /// The run that it belongs to.
    pub(super) run: Option<RunId>,
    pub(super) site: SiteId,
    /// Which of the site's PUTs (or GETs) it is.
    pub(super) number: u32,
    /// Where it is made as a worker: of which chunk, and the machine.
    pub(super) as_worker: Option<(ChunkId, CleanText)>,
}

impl<Api: SiteApi, Db: Store> Work<Api, Db> {
    fn site(&self) -> &Site {
        &self.sites[self.site.index()]
    }

    /// A PUT of `key`: of a run, for without one nothing can be on record of it.
    pub(super) async fn put(self, run: RunId, key: PublishableKey) -> Finished {
        let intent = Intent {
            run,
            site: self.site().url.clone(),
            number: self.number,
            key: key.clone(),
            at: self.clock.now(),
        };
        match self.store.record_intent(intent).await {
            Ok(Recorded::Known) => {}
            Ok(Recorded::TakenOver(newest)) => return Finished::TakenOver(newest),
            Err(error) => return Finished::NotRecorded(error),
        }
        let answer = self.told_by(self.api.put(self.site(), &key).await);
        let problem = answer.verdict.problem();
        let words = problem.map_or("stored".to_owned(), |problem| describe(problem, &answer.detail));
        let attempt = self.attempt(Request::Put, &answer, problem, &words);
        Finished::Put(answer, attempt)
    }

    pub(super) async fn look(self, limit: Duration, close: bool) -> Finished {
        let answer = self.told_by(self.api.look(self.site(), limit, close).await);
        let (problem, served, words) = match &answer.verdict {
            LookVerdict::Serves(key) => (
                None,
                Served::Key(key.clone()),
                format!("serves {key} #{}", key.fingerprint()),
            ),
            LookVerdict::NoKey => (None, Served::NoKey, "has no key".to_owned()),
            LookVerdict::ExposedSecret => (
                None,
                Served::Secret,
                "shows a SECRET key to the public (not kept)".to_owned(),
            ),
            LookVerdict::Problem(problem) => (
                Some(*problem),
                Served::Unknown,
                describe(*problem, &answer.detail),
            ),
        };
        let attempt = self.attempt(Request::Get, &answer, problem, &words);
        Finished::Look(answer, attempt, served)
    }

    /// What may be due to the machine of a worker names it.
    fn told_by<V: Verdict>(&self, mut answer: Answer<V>) -> Answer<V> {
        let problem = answer.verdict.problem();
        let depends = problem.is_some_and(Problem::depends_on_who_asks);
        if let Some((_, host)) = self.as_worker.as_ref().filter(|_| depends) {
            let words = match answer.detail.as_str() {
                "" => format!("the worker on {host} asked"),
                detail => format!("the worker on {host} asked: {detail}"),
            };
            answer.detail = CleanText::note(&words);
        }
        answer
    }

    fn attempt<V>(
        &self,
        request: Request,
        answer: &Answer<V>,
        problem: Option<Problem>,
        words: &str,
    ) -> Attempt {
        let attempt = Attempt {
            run: self.run,
            site: self.site,
            request,
            number: self.number,
            at: self.clock.now(),
            took: answer.took,
            http: answer.http,
            cause: problem.map(Problem::cause),
            note: CleanText::note(words),
        };
        tracing::info!(
            run = attempt.run.map(|run| run.0),
            chunk = self.as_worker.as_ref().map(|(chunk, _)| chunk.number),
            site = %self.site().name,
            request = ?request,
            number = attempt.number,
            http = attempt.http,
            ms = attempt.took.as_millis(),
            cause = attempt.cause.map(Cause::word),
            note = %attempt.note,
            "attempt"
        );
        attempt
    }
}

impl Attempt {
    /// As it goes on record.
    pub(super) fn outcome(&self, served: Served) -> Outcome {
        Outcome {
            run: self.run,
            request: self.request,
            number: self.number,
            at: self.at,
            ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            http: self.http,
            cause: self.cause,
            served,
            note: self.note.clone(),
        }
    }
}

/// What came of a worker's request, as it is told here.
pub(super) fn describe_outcome(site: SiteId, outcome: &Outcome) -> Attempt {
    Attempt {
        run: outcome.run,
        site,
        request: outcome.request,
        number: outcome.number,
        at: outcome.at,
        took: Duration::from_millis(outcome.ms),
        http: outcome.http,
        cause: outcome.cause,
        note: outcome.note.clone(),
    }
}

fn describe(problem: Problem, detail: &CleanText) -> String {
    let sentence = problem.row().sentence;
    if detail.is_empty() {
        sentence.to_owned()
    } else {
        format!("{sentence}: {detail}")
    }
}
