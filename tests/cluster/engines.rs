//! An engine that coordinates runs and one that works, in this process: what becomes of a chunk when is for the test to say.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::Connection;
use stripe_propagate::engine::{self, Chunk, Clock, Command, Event, Handle, Left, RunInfo, Settings};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::{Halt, RunId, RunPhase};
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::rules::status::Push;
use stripe_propagate::secret::Secret;
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::site_api::SiteApi;
use stripe_propagate::store::postgres::PostgresStore;
use stripe_propagate::store::workers::{ChunkId, Take, TakenChunk};
use stripe_propagate::store::{Operator, Store};
use stripe_propagate::text::CleanText;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use super::leases::new_database_beside;

/// How long anything may take that does not wait for a lease.
const SOON: Duration = Duration::from_secs(30);

/// A shop, as it answers. The edge is tested against real sites.
#[derive(Debug, Default)]
struct Shop {
    /// Whether it has the call that stores a key: else each PUT fails for good.
    stores: bool,
    stored: Mutex<Option<PublishableKey>>,
}

fn answer<V>(verdict: V, http: u16) -> Answer<V> {
    Answer {
        http: Some(http),
        ..Answer::none(verdict, CleanText::default())
    }
}

impl SiteApi for Shop {
    async fn look(&self, _: &Site, _limit: Duration, _close: bool) -> Answer<LookVerdict> {
        let stored = self.stored.lock().unwrap().clone();
        answer(LookVerdict::Serves(stored.unwrap_or_else(|| key("Old"))), 200)
    }

    async fn put(&self, _: &Site, sent: &PublishableKey) -> Answer<PutVerdict> {
        if self.stores {
            *self.stored.lock().unwrap() = Some(sent.clone());
            return answer(PutVerdict::Stored, 200);
        }
        answer(PutVerdict::Problem(Problem::NoEndpoint), 404)
    }
}

fn key(tail: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_test_51ExampleExampleExample{tail}")).unwrap()
}

fn policy() -> Policy {
    Policy {
        settle: Duration::from_secs(5),
        ..Policy::default()
    }
}

fn sites() -> Arc<[Site]> {
    let url = SiteUrl::parse("https://shop.example.com").unwrap();
    let site = Site {
        name: CleanText::note("shop"),
        backend: url.backend().into(),
        url,
        group: None,
        mode: SiteMode::Any,
        master_key: MasterKeyId(0),
        enabled: true,
    };
    [site].into()
}

/// A process with an engine.
struct Process {
    store: Arc<PostgresStore>,
    clock: Clock,
    handle: Option<Handle>,
    events: UnboundedReceiver<Event>,
    state: SiteState,
    run: Option<RunInfo>,
    /// Chunks that its engine has done with.
    over: Vec<ChunkId>,
    /// What it has told the operator.
    said: Vec<String>,
    halts: Vec<Halt>,
}

impl Process {
    async fn of(url: &str, coordinates: bool) -> Self {
        Self::at(url, coordinates, Arc::default()).await
    }

    async fn at(url: &str, coordinates: bool, shop: Arc<Shop>) -> Self {
        let url = Secret::parse(url.to_owned()).unwrap();
        let store = PostgresStore::open(&url, Operator::default()).await.unwrap();
        let store = Arc::new(store.with_workers(coordinates).await.unwrap());
        let clock = Clock::start();
        let settings = Settings {
            policy: policy(),
            left: if coordinates { Left::TakenUp } else { Left::Alone },
            ..Settings::default()
        };
        let (handle, events) = engine::start(sites(), Vec::new(), shop, Arc::clone(&store), settings, clock);
        Self {
            store,
            clock,
            handle: Some(handle),
            events,
            state: SiteState::default(),
            run: None,
            over: Vec::new(),
            said: Vec::new(),
            halts: Vec::new(),
        }
    }

    fn order(&self, command: Command) {
        self.handle.as_ref().unwrap().send(command);
    }

    fn pushes(&self, key: PublishableKey) {
        let all = [SiteId(0)];
        let plan = Plan::new(key, all, &sites(), |_| &self.state, Allow::default());
        self.order(Command::Push(plan));
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Site { state, .. } => self.state = *state,
            Event::Run(run) => self.run = Some(run),
            Event::ChunkOver(id) => self.over.push(id),
            Event::Halted(halt, _) => self.halts.push(halt),
            Event::Message(message) => self.said.push(message.text),
            Event::NotBegun(error) => panic!("{error}"),
            _ => {}
        }
    }

    async fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let event = timeout(SOON, self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("it never comes: {:?}, {:?}", self.run, self.state));
            self.take(event.unwrap());
        }
    }

    async fn has_begun(&mut self, run: u64) {
        self.until(|process| process.run.as_ref().is_some_and(|shown| shown.id == RunId(run)))
            .await;
    }

    /// Nobody gives orders any more, and nothing is left to do.
    async fn ends(mut self) {
        self.handle = None;
        loop {
            let event = timeout(SOON, self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("it never ends: {:?}, {:?}", self.run, self.state));
            let Some(event) = event else { return };
            self.take(event);
        }
    }

    /// As a worker, the chunk, once it is there.
    async fn takes(&self, id: ChunkId) -> Box<TakenChunk> {
        let begin = Instant::now();
        loop {
            if let Take::Taken(chunk) = self.store.take_chunk(id).await.unwrap() {
                return chunk;
            }
            assert!(begin.elapsed() < SOON, "{id:?} never came");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// As a worker, the chunk, until nothing of it is left to do; it is not given back yet.
    async fn works_on(&mut self, run: u64, number: u64) {
        let id = ChunkId {
            run: RunId(run),
            number,
        };
        let chunk = self.takes(id).await;
        let urls: Vec<SiteUrl> = chunk.sites.into_iter().map(|(url, _)| url).collect();
        let policy = policy();
        let known = self
            .store
            .last_known(&urls, &policy, self.clock.now())
            .await
            .unwrap();
        self.order(Command::TakeChunk(Box::new(Chunk {
            id,
            wave: chunk.wave,
            puts: chunk.puts,
            key: chunk.key,
            sites: [SiteId(0)].into_iter().zip(known).collect(),
        })));
        self.until(|process| process.over.contains(&id)).await;
    }

    async fn gives_back(&self, run: u64, number: u64) {
        let id = ChunkId {
            run: RunId(run),
            number,
        };
        self.store.give_back(id).await.unwrap();
    }
}

/// Carries out statements, beside the program.
async fn sql(url: &str, statements: &str) {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let statements = sqlx::AssertSqlSafe(statements.to_owned());
    sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
}

async fn number(url: &str, asks: &str) -> i64 {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let asks = sqlx::AssertSqlSafe(asks.to_owned());
    sqlx::query_scalar(asks).fetch_one(&mut connection).await.unwrap()
}

/// Whether the workers know that the run may not send.
async fn is_held(url: &str, run: u64) -> bool {
    let held = format!("SELECT count(*) FROM stripe_propagate.runs WHERE id = {run} AND held");
    number(url, &held).await == 1
}

fn has_failed(process: &Process) -> bool {
    matches!(process.state.push, Push::Failed(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_until_its_chunks_are_back_though_all_is_heard_of_their_sites() {
    let Some((_, url)) = new_database_beside() else {
        return;
    };
    let (mut coordinates, mut works) = (Process::of(&url, true).await, Process::of(&url, false).await);
    coordinates.pushes(key("New"));
    works.works_on(1, 1).await;
    coordinates.until(has_failed).await;
    let ends = tokio::spawn(coordinates.ends());
    // All is heard of it by now: the news have come before the chunk.
    sleep(Duration::from_millis(500)).await;
    assert!(!ends.is_finished(), "it has not waited for its chunk");
    works.gives_back(1, 1).await;
    ends.await.unwrap();
    let run = works.store.runs(1).await.unwrap().remove(0);
    assert!(run.ended.is_some(), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_over_a_site_that_a_worker_has_of_an_earlier_one_ends() {
    let Some((_, url)) = new_database_beside() else {
        return;
    };
    let (mut coordinates, mut works) = (Process::of(&url, true).await, Process::of(&url, false).await);
    coordinates.pushes(key("New"));
    works.works_on(1, 1).await;
    coordinates.until(has_failed).await;
    coordinates.pushes(key("Newer"));
    coordinates.has_begun(2).await;
    works.gives_back(1, 1).await;
    works.works_on(2, 1).await;
    works.gives_back(2, 1).await;
    coordinates.until(has_failed).await;
    coordinates.ends().await;
    for run in works.store.runs(2).await.unwrap() {
        assert!(run.ended.is_some(), "{run:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_in_its_run_reaches_the_workers() {
    let Some((_, url)) = new_database_beside() else {
        return;
    };
    let (mut coordinates, mut works) = (Process::of(&url, true).await, Process::of(&url, false).await);
    coordinates.pushes(key("New"));
    works.works_on(1, 1).await;
    works.gives_back(1, 1).await;
    coordinates.until(has_failed).await;
    let over = |process: &Process| {
        process
            .run
            .as_ref()
            .is_some_and(|run| run.phase != RunPhase::Sending)
    };
    coordinates.until(over).await;
    // By now the shop takes the key.
    let shop = Shop {
        stores: true,
        ..Shop::default()
    };
    let mut other = Process::at(&url, false, Arc::new(shop)).await;
    coordinates.order(Command::Retry {
        sites: vec![SiteId(0)],
        allow: Allow::default(),
    });
    other.works_on(1, 2).await;
    other.gives_back(1, 2).await;
    coordinates
        .until(|process| process.state.push == Push::Stored)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_back_in_a_pause_goes_out_as_soon_as_the_run_goes_on() {
    let Some((_, url)) = new_database_beside() else {
        return;
    };
    let (mut coordinates, mut works) = (Process::of(&url, true).await, Process::of(&url, false).await);
    coordinates.pushes(key("New"));
    coordinates.has_begun(1).await;
    coordinates.order(Command::Pause);
    while !is_held(&url, 1).await {
        sleep(Duration::from_millis(20)).await;
    }
    // Nothing else happens behind that.
    sleep(Duration::from_secs(2)).await;
    let before = number(
        &url,
        "SELECT coalesce(max(chunk), 0) FROM stripe_propagate.chunks",
    )
    .await;
    coordinates.order(Command::GoOn);
    works.works_on(1, before.unsigned_abs() + 1).await;
    works.gives_back(1, before.unsigned_abs() + 1).await;
    coordinates.until(has_failed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_is_told_until_it_is_on_record_however_often_that_fails() {
    let Some((_, url)) = new_database_beside() else {
        return;
    };
    let mut coordinates = Process::of(&url, true).await;
    coordinates.pushes(key("New"));
    coordinates.has_begun(1).await;
    let refuse = "CREATE FUNCTION not_now() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$; \
                  CREATE TRIGGER not_now BEFORE UPDATE OF held ON stripe_propagate.runs FOR EACH ROW \
                  EXECUTE FUNCTION not_now()";
    sql(&url, refuse).await;
    coordinates.order(Command::Pause);
    let says =
        |words: &'static str| move |process: &Process| process.said.iter().any(|said| said.contains(words));
    coordinates.until(says("could not be told yet")).await;
    // In vain as often again.
    sleep(Duration::from_secs(6)).await;
    assert!(!is_held(&url, 1).await);
    sql(&url, "DROP TRIGGER not_now ON stripe_propagate.runs").await;
    coordinates.until(says("told that run 1 may not send")).await;
    assert!(is_held(&url, 1).await);
    let told = coordinates
        .said
        .iter()
        .filter(|said| said.contains("could not be told"));
    assert_eq!(told.count(), 1, "{:?}", coordinates.said);
    coordinates.order(Command::Stop);
    coordinates.ends().await;
}

/// As if another process had taken the run up while this one had no connection.
async fn is_taken_up_elsewhere(url: &str, run: u64) {
    let taken = format!(
        "UPDATE stripe_propagate.runs SET epoch = epoch + 1, works_process = NULL WHERE id = {run}; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()"
    );
    sql(url, &taken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_handed_over_a_run_that_another_takes_up_halts_as_without_workers() {
    let Some((_, url)) = new_database_beside() else {
        return;
    };
    let mut coordinates = Process::of(&url, true).await;
    coordinates.pushes(key("New"));
    coordinates.has_begun(1).await;
    while number(&url, "SELECT count(*) FROM stripe_propagate.chunks").await == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    is_taken_up_elsewhere(&url, 1).await;
    coordinates
        .until(|process| process.halts == [Halt::Unrecorded])
        .await;
    let words = "halted: the PUT could not be put on record, so nothing is sent (run 1 does not hold the right to send";
    assert!(
        coordinates.said.last().unwrap().starts_with(words),
        "{:?}",
        coordinates.said
    );
    // As a command without a screen does then.
    coordinates.order(Command::Cancel);
    coordinates.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_time_that_another_process_has_taken_up_comes_to_its_end_here_too() {
    let Some((_, url)) = new_database_beside() else {
        return;
    };
    let shop = Arc::new(Shop {
        stores: true,
        ..Shop::default()
    });
    let mut coordinates = Process::at(&url, true, Arc::clone(&shop)).await;
    let mut works = Process::at(&url, false, shop).await;
    coordinates.pushes(key("New"));
    works.works_on(1, 1).await;
    works.gives_back(1, 1).await;
    coordinates
        .until(|process| process.state.push == Push::Stored)
        .await;
    // What is due later is for workers: nobody has that.
    while number(
        &url,
        "SELECT count(*) FROM stripe_propagate.chunks WHERE NOT puts",
    )
    .await
        == 0
    {
        sleep(Duration::from_millis(20)).await;
    }
    is_taken_up_elsewhere(&url, 1).await;
    coordinates.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_that_workers_give_back_unsent_again_and_again_wait_and_that_is_told_once() {
    let Some((_, url)) = new_database_beside() else {
        return;
    };
    let (mut coordinates, works) = (Process::of(&url, true).await, Process::of(&url, false).await);
    coordinates.pushes(key("New"));
    coordinates.has_begun(1).await;
    let mut taken_at = Vec::new();
    for number in 1..=3 {
        let run = RunId(1);
        works.takes(ChunkId { run, number }).await;
        taken_at.push(Instant::now());
        works.gives_back(1, number).await;
    }
    assert!(taken_at[2] - taken_at[1] > Duration::from_secs(4), "{taken_at:?}");
    let tells = |said: &&String| said.contains("without having sent anything");
    coordinates
        .until(|process| process.said.iter().filter(tells).count() == 1)
        .await;
    coordinates.order(Command::Stop);
    coordinates.ends().await;
}
