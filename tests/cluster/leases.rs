//! Who has a chunk, as the store says it.

use std::sync::Arc;

use stripe_propagate::engine::Clock;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::run::Kind;
use stripe_propagate::rules::state::{Allow, Served};
use stripe_propagate::secret::Secret;
use stripe_propagate::site::SiteUrl;
use stripe_propagate::store::postgres::PostgresStore;
use stripe_propagate::store::workers::{ChunkId, NewChunk, Take, Workers};
use stripe_propagate::store::{Intent, NewRun, Operator, PlannedSite, Recorded, RunId, Store};
use stripe_propagate::text::CleanText;

use super::servers::{Kind as Server, new_database};

fn key() -> PublishableKey {
    PublishableKey::parse("pk_test_51LeaseLeaseLeaseLease").unwrap()
}

fn site() -> SiteUrl {
    SiteUrl::parse("https://shop.example.com").unwrap()
}

fn run() -> NewRun {
    NewRun {
        kind: Kind::Push,
        parent: None,
        key: key(),
        allow: Allow::default(),
        at: Clock::start().now(),
        sites: vec![PlannedSite {
            site: site(),
            name: CleanText::note("shop"),
            group: None,
            left_out: None,
            key: key(),
            serves: Served::Unknown,
        }],
    }
}

async fn sends(worker: &PostgresStore, run: RunId, number: u32) -> bool {
    let intent = Intent {
        run,
        site: site(),
        number,
        key: key(),
        at: Clock::start().now(),
    };
    matches!(worker.record_intent(intent).await, Ok(Recorded::Known))
}

/// A run whose calls workers make, and who coordinates it.
struct Ground {
    url: String,
    coordinates: PostgresStore,
    run: RunId,
}

impl Ground {
    async fn new() -> Option<Self> {
        let (_, url) = new_database_beside()?;
        let opened = open(&url).await;
        let coordinates = opened.with_workers(true).await.unwrap();
        let run = coordinates.begin_run(run()).await.unwrap();
        Some(Self {
            url,
            coordinates,
            run,
        })
    }

    async fn open(&self) -> PostgresStore {
        open(&self.url).await
    }

    fn workers(&self) -> Arc<dyn Workers> {
        self.coordinates.workers().unwrap()
    }

    async fn hands_over(&self, number: u64, backend: &str) -> ChunkId {
        let id = ChunkId {
            run: self.run,
            number,
        };
        let chunk = NewChunk {
            id,
            wave: 0,
            backend: Arc::from(backend),
            puts: true,
            sites: vec![site()],
        };
        self.workers().hand_over(&[chunk]).await.unwrap();
        id
    }

    async fn connect(&self) -> sqlx::PgConnection {
        use sqlx::Connection;

        sqlx::PgConnection::connect(&self.url).await.unwrap()
    }

    async fn asked(&self, sql: &str) -> i64 {
        let mut connection = self.connect().await;
        let asked = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned()));
        asked.fetch_one(&mut connection).await.unwrap()
    }

    async fn does(&self, sql: &str) {
        let mut connection = self.connect().await;
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
        done.execute(&mut connection).await.unwrap();
    }

    async fn jobs(&self) -> i64 {
        self.asked("SELECT count(*) FROM stripe_propagate_jobs._private_jobs")
            .await
    }
}

async fn open(url: &str) -> PostgresStore {
    let url = Secret::parse(url.to_owned()).unwrap();
    PostgresStore::open(&url, Operator::default()).await.unwrap()
}

async fn ends(worker: PostgresStore) {
    tokio::task::spawn_blocking(move || drop(worker)).await.unwrap();
}

#[tokio::test]
async fn a_chunk_is_one_workers_until_that_has_let_go_of_it_and_its_puts_go_while_the_run_may_send() {
    let Some(ground) = Ground::new().await else { return };
    let (workers, run) = (ground.workers(), ground.run);
    let id = ground.hands_over(1, "shop").await;
    assert_eq!(ground.hands_over(1, "shop").await, id);
    assert_eq!(ground.jobs().await, 1);

    let (first, second) = (ground.open().await, ground.open().await);
    assert!(!sends(&first, run, 1).await, "it has not taken it");
    assert!(matches!(first.take_chunk(id).await.unwrap(), Take::Taken(_)));
    // As long as a PUT of it may be out.
    assert!(matches!(second.take_chunk(id).await.unwrap(), Take::Held(seconds) if seconds > 30));
    assert!(!sends(&second, run, 1).await);
    workers.let_send(run, false).await.unwrap();
    assert!(!sends(&first, run, 1).await, "the run is held");
    workers.let_send(run, true).await.unwrap();
    assert!(sends(&first, run, 1).await);

    // It ends with its PUT open: that is for who takes the chunk up, and its own are worth nothing any more.
    ends(first).await;
    assert!(matches!(second.take_chunk(id).await.unwrap(), Take::Taken(_)));
    assert!(second.give_back(id).await.unwrap());
    assert_eq!(ground.jobs().await, 0, "its job ends with it");
    assert!(second.give_back(id).await.unwrap(), "it is done, whoever asks");
    assert!(!sends(&second, run, 2).await, "it was given back");
    assert_eq!(second.take_chunk(id).await.unwrap(), Take::Over);
}

#[tokio::test]
async fn chunks_of_one_backend_are_one_workers_at_a_time_whatever_the_queue_hands_out() {
    let Some(ground) = Ground::new().await else { return };
    let one = ground.hands_over(1, "shop").await;
    let two = ground.hands_over(2, "shop").await;
    let other = ground.hands_over(3, "other").await;
    let (first, second) = (ground.open().await, ground.open().await);
    assert!(matches!(first.take_chunk(one).await.unwrap(), Take::Taken(_)));
    assert!(matches!(second.take_chunk(two).await.unwrap(), Take::Held(_)));
    assert!(matches!(second.take_chunk(other).await.unwrap(), Take::Taken(_)));

    // It is frozen, and its lease is over: when it is back, it has nothing of that backend any more.
    ground
        .does(
            "UPDATE stripe_propagate.processes SET until = now() WHERE id = (SELECT works_process \
             FROM stripe_propagate.chunks WHERE chunk = 1)",
        )
        .await;
    assert!(matches!(second.take_chunk(two).await.unwrap(), Take::Taken(_)));
    assert!(!sends(&first, ground.run, 1).await);
    assert!(
        !first.give_back(one).await.unwrap(),
        "its job is for another to end"
    );
    assert_eq!(ground.jobs().await, 3);
}

#[tokio::test]
async fn a_halt_is_before_every_put_that_asks_behind_it() {
    let Some(ground) = Ground::new().await else { return };
    let (workers, run) = (ground.workers(), ground.run);
    let id = ground.hands_over(1, "shop").await;
    let worker = ground.open().await;
    assert!(matches!(worker.take_chunk(id).await.unwrap(), Take::Taken(_)));

    // Another worker is in the middle of such a transaction.
    let mut beside = ground.connect().await;
    let shares = format!(
        "BEGIN; SELECT pg_advisory_xact_lock_shared({}); \
         SELECT * FROM stripe_propagate.runs WHERE id = {run} FOR SHARE",
        0x7374_7072_0000_0000_i64 + i64::try_from(run.0).unwrap(),
        run = run.0
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(shares))
        .execute(&mut beside)
        .await
        .unwrap();
    let halts = tokio::spawn(async move { workers.let_send(run, false).await });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = \
                   (SELECT oid FROM pg_database WHERE datname = current_database())";
    while ground.asked(waiting).await < 1 && !halts.is_finished() {
        tokio::task::yield_now().await;
    }
    let put = tokio::spawn(async move { sends(&worker, run, 1).await });
    while ground.asked(waiting).await < 2 && !put.is_finished() {
        tokio::task::yield_now().await;
    }
    assert!(!put.is_finished(), "it overtook the halt");
    sqlx::raw_sql("COMMIT").execute(&mut beside).await.unwrap();
    halts.await.unwrap().unwrap();
    assert!(!put.await.unwrap(), "the run is held");
}

#[tokio::test]
async fn what_the_queue_has_lost_is_put_into_it_again_and_its_locks_are_freed() {
    let Some(ground) = Ground::new().await else { return };
    let id = ground.hands_over(1, "shop").await;
    ground
        .does(
            "DELETE FROM stripe_propagate_jobs._private_jobs; UPDATE stripe_propagate_jobs._private_job_queues \
             SET locked_by = 'lost', locked_at = now() - interval '1 min'",
        )
        .await;
    let lost = ChunkId { number: 2, ..id };
    assert_eq!(ground.workers().mend(&[id, lost]).await.unwrap(), [lost]);
    assert_eq!(ground.jobs().await, 1);
    let locked = "SELECT count(*) FROM stripe_propagate_jobs._private_job_queues WHERE locked_by IS NOT NULL";
    assert_eq!(ground.asked(locked).await, 0);
}

/// Its server is started by a runtime of its own.
pub(crate) fn new_database_beside() -> Option<(u16, String)> {
    let made = std::thread::spawn(|| new_database(Server::Postgres).map(|(server, url)| (server.port, url)));
    made.join().unwrap()
}
