//! Stores to try the promises on, and a shop that goes through a run as the engine lets it.

use std::time::Duration;

use jiff::Timestamp;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::moment::{Moment, ORIGIN};
use stripe_propagate::rules::outcome::{Answer, LookVerdict, PutVerdict};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::Kind;
use stripe_propagate::rules::state::{Allow, Call, Served, SiteState};
use stripe_propagate::secret::Secret;
use stripe_propagate::site::SiteUrl;
use stripe_propagate::store::memory::MemoryStore;
use stripe_propagate::store::postgres::PostgresStore;
use stripe_propagate::store::sqlite::SqliteStore;
use stripe_propagate::store::{
    Intent, NewRun, Operator, Outcome, PlannedSite, Record, Recorded, Request, RunId, RunRecord, RunSite,
    Store, StoreError,
};
use stripe_propagate::text::CleanText;
use tempfile::TempDir;

use crate::servers::{self, new_database};

/// A kind of store.
pub(crate) trait Home {
    type Db: Store;
    /// A process opens the store; others may have it open.
    fn open(&self) -> Self::Db;
    /// The process dies, and another opens the store.
    fn die(&self, db: Self::Db) -> Self::Db;
}

pub(crate) struct Memory(MemoryStore);

impl Default for Memory {
    fn default() -> Self {
        Self(MemoryStore::new(by()))
    }
}

impl Home for Memory {
    type Db = MemoryStore;

    fn open(&self) -> MemoryStore {
        self.0.beside()
    }

    fn die(&self, db: MemoryStore) -> MemoryStore {
        db.reopen()
    }
}

pub(crate) struct Sqlite(pub(crate) TempDir);

impl Default for Sqlite {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Sqlite {
    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.0.path().join("state/store.db")
    }
}

impl Home for Sqlite {
    type Db = SqliteStore;

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path(), by()).unwrap()
    }

    fn die(&self, db: SqliteStore) -> SqliteStore {
        drop(db);
        self.open()
    }
}

/// A database of its own.
pub(crate) struct Postgres {
    pub(crate) url: String,
}

impl Postgres {
    /// None where no server is installed.
    pub(crate) fn begin() -> Option<Self> {
        let made = std::thread::spawn(|| new_database(servers::Kind::Postgres)).join();
        made.unwrap().map(|(server, url)| Self {
            // A socket needs no TLS.
            url: format!("{url}?host={}", server.folder.display()),
        })
    }

    /// Another process, of this operator.
    pub(crate) fn open_by(&self, by: Operator) -> Result<PostgresStore, StoreError> {
        let url = Secret::parse(self.url.clone()).unwrap();
        // It has a thread of its own, and so may be opened on any.
        let opened = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(PostgresStore::open(&url, by))
        });
        opened.join().unwrap()
    }
}

impl Home for Postgres {
    type Db = PostgresStore;

    fn open(&self) -> PostgresStore {
        self.open_by(by()).unwrap()
    }

    fn die(&self, db: PostgresStore) -> PostgresStore {
        drop(db);
        self.open()
    }
}

pub(crate) fn by() -> Operator {
    Operator {
        user: CleanText::note("ada"),
        uid: Some(1000),
        login: None,
        sudo_user: Some(CleanText::note("root")),
        host: CleanText::note("desk"),
        ssh_client: None,
        pid: std::process::id(),
    }
}

pub(crate) fn key(tail: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_test_51ExampleExampleExample{tail}")).unwrap()
}

pub(crate) fn url(name: &str) -> SiteUrl {
    SiteUrl::parse(&format!("https://{name}.example.com")).unwrap()
}

/// So many seconds after the tests' beginning.
pub(crate) fn at(seconds: u64) -> Moment {
    Moment {
        since_start: ORIGIN + Duration::from_secs(seconds),
        wall: time(seconds),
    }
}

pub(crate) fn time(seconds: u64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds.cast_signed()).unwrap()
}

pub(crate) fn planned(name: &str, key: &PublishableKey) -> PlannedSite {
    PlannedSite {
        site: url(name),
        name: CleanText::note(name),
        group: None,
        left_out: None,
        key: key.clone(),
        serves: Served::Unknown,
    }
}

/// A run of `key(tail)` on these shops.
pub(crate) fn run_of(tail: &str, shops: &[&str], seconds: u64) -> NewRun {
    let key = key(tail);
    NewRun {
        kind: Kind::Push,
        parent: None,
        allow: Allow::default(),
        at: at(seconds),
        sites: shops.iter().map(|name| planned(name, &key)).collect(),
        key,
    }
}

pub(crate) async fn known<Db: Store>(db: &Db, name: &str, seconds: u64) -> SiteState {
    let found = db.last_known(&[url(name)], &Policy::default(), at(seconds)).await;
    found.unwrap().pop().unwrap().state
}

/// As [`known`], and the process takes it for what it knows.
async fn adopted<Db: Store>(db: &Db, name: &str, seconds: u64) -> SiteState {
    let found = db.last_known(&[url(name)], &Policy::default(), at(seconds)).await;
    let newest = found.unwrap().pop().unwrap();
    db.adopt([(&url(name), &newest)]);
    newest.state
}

pub(crate) async fn run<Db: Store>(db: &Db, id: RunId) -> RunRecord {
    let runs = db.runs(100).await.unwrap();
    runs.into_iter().find(|run| run.id == id).unwrap()
}

pub(crate) async fn row<Db: Store>(db: &Db, id: RunId, name: &str) -> RunSite {
    let rows = db.run_sites(id).await.unwrap();
    rows.into_iter()
        .find(|row| row.planned.site == url(name))
        .unwrap()
}

/// PUSH and VERIFY.
pub(crate) fn words(state: &SiteState) -> (&'static str, &'static str) {
    (state.push.look().word, state.verify.look().word)
}

pub(crate) fn row_words(row: &RunSite) -> (&'static str, &'static str) {
    (row.push.look().word, row.verify.look().word)
}

pub(crate) fn counts(run: &RunRecord) -> Vec<(&str, usize)> {
    run.counts
        .iter()
        .map(|(word, count)| (word.as_str(), *count))
        .collect()
}

pub(crate) fn answer<V>(verdict: V, http: u16) -> Answer<V> {
    Answer {
        verdict,
        http: Some(http),
        took: Duration::from_millis(20),
        retry_after: None,
        detail: CleanText::default(),
        alarm: None,
    }
}

/// A shop as one process knows it.
pub(crate) struct Shop {
    name: &'static str,
    pub(crate) state: SiteState,
    run: Option<RunId>,
    gets: u32,
}

impl Shop {
    /// What the process knows of it when it starts.
    pub(crate) async fn of<Db: Store>(db: &Db, name: &'static str, seconds: u64) -> Self {
        Self {
            name,
            state: adopted(db, name, seconds).await,
            run: None,
            gets: 0,
        }
    }

    /// The process takes what is on record for what it knows.
    pub(crate) async fn catch_up<Db: Store>(&mut self, db: &Db, seconds: u64) {
        self.state = adopted(db, self.name, seconds).await;
    }

    pub(crate) fn order(&mut self, run: RunId, tail: &str, seconds: u64) {
        (self.run, self.state.run, self.gets) = (Some(run), Some(run), 0);
        let _next = self
            .state
            .order_push(key(tail), Allow::default(), false, at(seconds));
    }

    pub(crate) fn outcome(&self, request: Request, seconds: u64) -> Outcome {
        let number = match request {
            Request::Put => self.state.puts,
            Request::Get => self.gets,
        };
        Outcome {
            run: self.run,
            request,
            number,
            at: at(seconds),
            ms: 20,
            http: Some(200),
            cause: None,
            served: Served::Unknown,
            note: CleanText::note("answered"),
        }
    }

    pub(crate) fn record(&self, outcome: Option<Outcome>, seconds: u64) -> Record {
        Record {
            site: url(self.name),
            at: at(seconds),
            outcome,
            state: self.state.clone(),
            note: CleanText::note("as told"),
        }
    }

    async fn tell<Db: Store>(&self, db: &Db, outcome: Outcome, seconds: u64) -> Recorded {
        db.record(self.record(Some(outcome), seconds)).await.unwrap()
    }

    /// The look before the PUT.
    pub(crate) async fn look_before<Db: Store>(&mut self, db: &Db, tail: &str, seconds: u64) -> Recorded {
        self.gets += 1;
        self.state
            .calling(Call::LookBefore, &Policy::default(), at(seconds));
        let seen = answer(LookVerdict::Serves(key(tail)), 200);
        let _next = self
            .state
            .looked_before(&seen, &Policy::default(), at(seconds), 0.0);
        let served = Served::Key(key(tail));
        let outcome = Outcome {
            served,
            ..self.outcome(Request::Get, seconds)
        };
        self.tell(db, outcome, seconds).await
    }

    /// The PUT is about to be sent.
    pub(crate) async fn intend<Db: Store>(&mut self, db: &Db, seconds: u64) {
        let recorded = self.try_intend(db, seconds).await;
        assert_eq!(recorded.unwrap(), Recorded::Known);
    }

    /// The PUT is about to be sent, if the store lets it.
    pub(crate) async fn try_intend<Db: Store>(
        &mut self,
        db: &Db,
        seconds: u64,
    ) -> Result<Recorded, StoreError> {
        self.state.calling(Call::Put, &Policy::default(), at(seconds));
        let intent = Intent {
            run: self.run.unwrap(),
            site: url(self.name),
            number: self.state.puts,
            key: self.state.expected.clone().unwrap(),
            at: at(seconds),
        };
        db.record_intent(intent).await
    }

    /// The answer to the PUT.
    pub(crate) async fn answered<Db: Store>(
        &mut self,
        db: &Db,
        verdict: PutVerdict,
        seconds: u64,
    ) -> Recorded {
        let _next = self
            .state
            .put_answered(&answer(verdict, 200), &Policy::default(), at(seconds), 0.0);
        self.tell(db, self.outcome(Request::Put, seconds), seconds).await
    }

    /// The whole PUT.
    pub(crate) async fn put<Db: Store>(&mut self, db: &Db, seconds: u64) -> Recorded {
        self.intend(db, seconds).await;
        self.answered(db, PutVerdict::Stored, seconds).await
    }

    /// A look that was ordered, or that its settle time asks for.
    pub(crate) async fn look<Db: Store>(&mut self, db: &Db, tail: &str, seconds: u64) -> Recorded {
        let _next = self.state.order_look(None, 1, at(seconds));
        self.gets += 1;
        self.state.calling(Call::Look, &Policy::default(), at(seconds));
        let seen = answer(LookVerdict::Serves(key(tail)), 200);
        let _next = self.state.looked(&seen, &Policy::default(), at(seconds), 0.0);
        let served = Served::Key(key(tail));
        let outcome = Outcome {
            served,
            ..self.outcome(Request::Get, seconds)
        };
        self.tell(db, outcome, seconds).await
    }
}

pub(crate) const SETTLING: (&str, &str) = ("stored", "settling");
pub(crate) const SERVING: (&str, &str) = ("stored", "serving");
pub(crate) const VERIFIED: (&str, &str) = ("stored", "verified");
