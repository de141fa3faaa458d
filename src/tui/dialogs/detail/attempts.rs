use jiff::Timestamp;

use crate::engine::Attempt;
use crate::rules::outcome::Cause;
use crate::site::{Site, SiteId};
use crate::store::{Request, RunId, StoredAttempt};
use crate::tui::model::Model;

/// Attempts that are shown.
const SHOWN: usize = 200;

/// A request to a site and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tried {
    run: Option<RunId>,
    pub(super) request: Request,
    pub(super) number: u32,
    /// When it was sent.
    pub(super) sent: Timestamp,
    /// When it was answered, where that was told.
    answered: Option<Timestamp>,
    /// Whether it is known what came of it.
    pub(super) ended: bool,
    ms: Option<u64>,
    http: Option<u16>,
    pub(super) cause: Option<Cause>,
    pub(super) note: String,
}

impl Tried {
    fn told(attempt: &Attempt) -> Self {
        Self {
            run: attempt.run,
            request: attempt.request,
            number: attempt.number,
            sent: (attempt.at - attempt.took).wall,
            answered: Some(attempt.at.wall),
            ended: true,
            ms: u64::try_from(attempt.took.as_millis()).ok(),
            http: attempt.http,
            cause: attempt.cause,
            note: attempt.note.to_string(),
        }
    }

    fn stored(attempt: &StoredAttempt) -> Self {
        // Of a PUT it is on record when it was sent, of a GET when it was answered.
        let is_put = attempt.request == Request::Put;
        let took = jiff::SignedDuration::from_millis(
            attempt
                .ms
                .and_then(|ms| i64::try_from(ms).ok())
                .unwrap_or_default(),
        );
        let sent = if is_put {
            attempt.at
        } else {
            attempt.at.saturating_sub(took).unwrap_or(attempt.at)
        };
        Self {
            run: attempt.run,
            request: attempt.request,
            number: attempt.number,
            sent,
            answered: (!is_put).then_some(attempt.at),
            ended: attempt.ended,
            ms: attempt.ms,
            http: attempt.http,
            cause: attempt.cause,
            note: attempt.note.to_string(),
        }
    }

    /// Whether it is the same request as one that this screen was told of. A run numbers its PUTs; a look has its time,
    /// which is kept in milliseconds.
    fn is(&self, told: &Self) -> bool {
        let ms = |tried: &Self| tried.answered.map(Timestamp::as_millisecond);
        let numbered = self.request == Request::Put && self.run.is_some();
        (self.request, self.run, self.number) == (told.request, told.run, told.number)
            && (numbered || ms(self) == ms(told))
    }

    /// As it went out.
    pub(super) fn line(&self, site: &Site) -> String {
        let url = match self.request {
            Request::Put => site.url.put_url(),
            Request::Get => site.url.look_url(),
        };
        format!("{} {}", self.request.word(), url.path())
    }

    /// Which it was, and what came back.
    pub(super) fn facts(&self) -> String {
        let run = self.run.map_or_else(
            || ", outside of runs".to_owned(),
            |run| format!(" of run {}", run.0),
        );
        let http = self.http.map_or_else(
            || {
                if self.ended {
                    ", no status".to_owned()
                } else {
                    String::new()
                }
            },
            |http| format!(", {http}"),
        );
        let ms = self.ms.map_or_else(String::new, |ms| format!(", {ms} ms"));
        let cause = self
            .cause
            .map_or_else(String::new, |cause| format!(", {}", cause.word()));
        format!("number {}{run}{http}{ms}{cause}", self.number)
    }
}

/// What was tried on a site, newest first: what is on record, and what this screen was told since that was read.
pub(super) fn tried(model: &Model, id: SiteId, stored: &[StoredAttempt]) -> Vec<Tried> {
    let mut all: Vec<Tried> = stored.iter().map(Tried::stored).collect();
    for attempt in model.attempts.get(&id).into_iter().flatten() {
        let told = Tried::told(attempt);
        match all.iter_mut().find(|known| known.is(&told)) {
            Some(known) if known.ended => {}
            Some(known) => *known = told,
            None => all.push(told),
        }
    }
    all.reverse();
    all.truncate(SHOWN);
    all
}
