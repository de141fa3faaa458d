//! What is handed over faster than it is written, and so becomes one transaction, ends as what it would have become
//! one by one.

use std::sync::Arc;

use stripe_propagate::rules::outcome::{LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::state::{Call, Served, SiteState};
use stripe_propagate::store::{
    Intent, Outcome, Record, Recorded, Request, RunId, RunSite, Seen, Store, StoreError, StoredAttempt,
};
use stripe_propagate::text::CleanText;

use crate::shop::{Home, Postgres, Shop, Sqlite, answer, at, key, known, row, run_of, url};

#[derive(Clone)]
enum Told {
    Intent(Intent),
    Record(Box<Record>),
}

async fn tell(db: Arc<impl Store>, told: Told) -> Result<Recorded, StoreError> {
    match told {
        Told::Intent(intent) => db.record_intent(intent).await,
        Told::Record(record) => db.record(*record).await,
    }
}

/// What a process tells of a site's push: it looks, sends, fails, sends again, looks twice.
struct Push {
    run: RunId,
    state: SiteState,
    seconds: u64,
    told: Vec<Told>,
}

impl Push {
    fn outcome(&self, request: Request, served: Served) -> Outcome {
        Outcome {
            run: Some(self.run),
            request,
            number: self.state.puts.max(1),
            at: at(self.seconds),
            ms: 20,
            http: self.state.http,
            cause: None,
            served,
            note: CleanText::note("answered"),
        }
    }

    fn record(&mut self, outcome: Option<Outcome>) {
        let note = CleanText::note(&format!("at {}", self.seconds));
        self.told.push(Told::Record(Box::new(Record {
            site: url("a"),
            at: at(self.seconds),
            outcome,
            state: self.state.clone(),
            note,
        })));
        self.seconds += 1;
    }

    fn look(&mut self, call: Call, tail: &str) {
        let (policy, now) = (Policy::default(), at(self.seconds));
        let seen = answer(LookVerdict::Serves(key(tail)), 200);
        self.state.calling(call, &policy, now);
        let _next = match call {
            Call::LookBefore => self.state.looked_before(&seen, &policy, now, 0.0),
            Call::Look | Call::Put => self.state.looked(&seen, &policy, now, 0.0),
        };
        self.record(Some(self.outcome(Request::Get, Served::Key(key(tail)))));
    }

    fn intend(&mut self) {
        self.state
            .calling(Call::Put, &Policy::default(), at(self.seconds));
        self.told.push(Told::Intent(Intent {
            run: self.run,
            site: url("a"),
            number: self.state.puts,
            key: key("New"),
            at: at(self.seconds),
        }));
        self.seconds += 1;
    }

    fn answered(&mut self, verdict: PutVerdict) {
        let answer = answer(verdict, 200);
        let _next = self
            .state
            .put_answered(&answer, &Policy::default(), at(self.seconds), 0.0);
        self.record(Some(self.outcome(Request::Put, Served::Unknown)));
    }

    fn all(run: RunId, mut state: SiteState) -> Vec<Told> {
        state.run = Some(run);
        let _next = state.order_push(
            key("New"),
            stripe_propagate::rules::state::Allow::default(),
            false,
            at(10),
        );
        let mut push = Self {
            run,
            state,
            seconds: 11,
            told: Vec::new(),
        };
        push.look(Call::LookBefore, "Old");
        push.intend();
        push.answered(PutVerdict::Problem(Problem::ConnectionLost));
        push.intend();
        push.answered(PutVerdict::Stored);
        push.look(Call::Look, "New");
        push.record(None);
        push.told
    }
}

/// All that is on record of the site.
type OnRecord = (Vec<RunSite>, SiteState, Vec<StoredAttempt>, Vec<Seen>);

/// A push to a site, of which an earlier run has left a PUT open that it knows of (or nothing); as far as the first
/// `count` things that are told of it, in so many at once.
async fn pushed(home: &impl Home, left: bool, count: usize, at_once: usize) -> OnRecord {
    let mut runs = Vec::new();
    if left {
        let db = home.open();
        runs.push(db.begin_run(run_of("Older", &["a"], 0)).await.unwrap());
        let mut shop = Shop::of(&db, "a", 0).await;
        shop.order(runs[0], "Older", 0);
        shop.intend(&db, 1).await;
        drop(db);
    }
    let db = Arc::new(home.open());
    let state = Shop::of(&*db, "a", 2).await.state;
    runs.push(db.begin_run(run_of("New", &["a"], 3)).await.unwrap());
    let told = Push::all(runs[runs.len() - 1], state);
    for told in told[..count].chunks(at_once) {
        // Each is handed over when its task begins, and tasks begin in order.
        let tasks: Vec<_> = told
            .iter()
            .map(|told| tokio::spawn(tell(Arc::clone(&db), told.clone())))
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), Recorded::Known);
        }
    }
    drop(db);
    let db = home.open();
    let mut rows = Vec::new();
    for run in runs {
        rows.push(row(&db, run, "a").await);
    }
    let attempts = db.attempts(None, Some(&url("a")), 99).await.unwrap();
    let seen = db.timeline(&url("a"), 99).await.unwrap();
    (rows, known(&db, "a", 30).await, attempts, seen)
}

#[tokio::test]
async fn what_is_told_at_once_becomes_what_it_would_one_by_one() {
    for left in [false, true] {
        for count in 1..=7 {
            let one_by_one = pushed(&Sqlite::default(), left, count, 1).await;
            for at_once in 2..=count {
                let so = pushed(&Sqlite::default(), left, count, at_once).await;
                assert_eq!(so, one_by_one, "{count} things, {at_once} at once, left: {left}");
            }
        }
    }
}

#[tokio::test]
async fn in_postgres_too() {
    for left in [false, true] {
        for (count, at_once) in [(3, 3), (5, 2), (7, 1), (7, 3), (7, 7)] {
            let Some(home) = Postgres::begin() else { return };
            let one_by_one = pushed(&Sqlite::default(), left, count, 1).await;
            let so = pushed(&home, left, count, at_once).await;
            assert_eq!(so, one_by_one, "{count} things, {at_once} at once, left: {left}");
        }
    }
}
