//! Who has a chunk, as the store says it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stripe_propagate::engine::Clock;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::Kind;
use stripe_propagate::rules::state::{Allow, Served};
use stripe_propagate::secret::Secret;
use stripe_propagate::site::SiteUrl;
use stripe_propagate::store::postgres::{NotDone, PostgresStore, Queue, Work};
use stripe_propagate::store::workers::{ChunkId, Did, Heard, NewChunk, Take, Workers};
use stripe_propagate::store::{Intent, NewRun, Operator, PlannedSite, Recorded, RunId, Store, StoreError};
use stripe_propagate::text::CleanText;
use tokio_util::sync::CancellationToken;

use super::servers::{Kind as Server, new_database};

fn key() -> PublishableKey {
    PublishableKey::parse("pk_test_51LeaseLeaseLeaseLease").unwrap()
}

fn site() -> SiteUrl {
    SiteUrl::parse("https://shop.example.com").unwrap()
}

fn other() -> SiteUrl {
    SiteUrl::parse("https://other.example.com").unwrap()
}

fn run() -> NewRun {
    let planned = |site| PlannedSite {
        site,
        name: CleanText::note("shop"),
        group: None,
        left_out: None,
        key: key(),
        serves: Served::Unknown,
    };
    NewRun {
        kind: Kind::Push,
        parent: None,
        key: key(),
        allow: Allow::default(),
        at: Clock::start().now(),
        sites: [site(), other()].map(planned).into(),
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

    fn chunk(&self, number: u64, backend: &str) -> NewChunk {
        NewChunk {
            id: ChunkId {
                run: self.run,
                number,
            },
            wave: 0,
            backend: Arc::from(backend),
            puts: true,
            sites: vec![site()],
        }
    }

    async fn hands_over(&self, number: u64, backend: &str) -> ChunkId {
        let chunk = self.chunk(number, backend);
        self.workers()
            .hand_over(std::slice::from_ref(&chunk))
            .await
            .unwrap();
        chunk.id
    }

    async fn hears(&self) -> Result<Heard, StoreError> {
        let now = Clock::start().now();
        self.workers().heard(&[], &Policy::default(), now).await
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
    let queues = "SELECT count(*) FROM stripe_propagate_jobs._private_job_queues";
    assert_eq!(ground.asked(queues).await, 0, "and so does its queue");
    assert!(second.give_back(id).await.unwrap(), "it is done, whoever asks");
    assert!(!sends(&second, run, 2).await, "it was given back");
    assert_eq!(second.take_chunk(id).await.unwrap(), Take::Over);
}

#[tokio::test]
async fn chunks_that_are_handed_over_together_each_have_their_sites_and_one_job() {
    let Some(ground) = Ground::new().await else { return };
    let there = [5, 70].map(|number| ground.chunk(number, "shop"));
    ground.workers().hand_over(&there).await.unwrap();
    let sites = |number: u64| match number % 3 {
        0 => vec![other(), site()],
        1 => vec![site()],
        _ => vec![site(), other()],
    };
    let chunk = |number: u64| NewChunk {
        wave: usize::try_from(number).unwrap(),
        puts: number.is_multiple_of(2),
        sites: sites(number),
        ..ground.chunk(number, if number < 50 { "one" } else { "two" })
    };
    let all: Vec<_> = (1..=100).map(chunk).collect();
    ground.workers().hand_over(&all).await.unwrap();
    assert_eq!(ground.jobs().await, 100);
    let with_one = "SELECT count(*) FROM stripe_propagate.chunks c WHERE (SELECT count(*) FROM \
                    stripe_propagate_jobs._private_jobs j WHERE j.payload->>'chunk' = c.chunk::text \
                    AND j.key = c.run || '/' || c.wave || '/' || c.chunk) = 1";
    assert_eq!(ground.asked(with_one).await, 100);
    let as_it_was = "SELECT count(*) FROM stripe_propagate.chunks WHERE backend = 'shop' AND wave = 0";
    assert_eq!(ground.asked(as_it_was).await, 2);
    let as_given = "SELECT count(*) FROM stripe_propagate.chunks c WHERE wave = chunk AND puts = (chunk % 2 = 0) \
                    AND backend = CASE WHEN chunk < 50 THEN 'one' ELSE 'two' END AND sites = (SELECT \
                    CASE chunk % 3 WHEN 0 THEN ARRAY[o.id, s.id] WHEN 1 THEN ARRAY[s.id] ELSE ARRAY[s.id, o.id] END \
                    FROM stripe_propagate.sites s, stripe_propagate.sites o \
                    WHERE s.url LIKE '%shop%' AND o.url LIKE '%other%')";
    assert_eq!(ground.asked(as_given).await, 98);
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

#[tokio::test]
async fn a_job_that_nobody_knows_of_is_put_back_once_nobody_may_have_a_put_of_its_backend_out() {
    let Some(ground) = Ground::new().await else { return };
    let one = ground.hands_over(1, "shop").await;
    let two = ground.hands_over(2, "shop").await;
    let worker = ground.open().await;
    assert!(matches!(worker.take_chunk(one).await.unwrap(), Take::Taken(_)));
    // Its worker of the queue lives, and the answer did not come.
    ground
        .does(
            "UPDATE stripe_propagate_jobs._private_jobs SET locked_by = 'deaf', locked_at = now() - interval '1 min' \
             WHERE payload->>'chunk' = '2'; UPDATE stripe_propagate_jobs._private_job_queues \
             SET locked_by = 'deaf', locked_at = now() - interval '1 min'",
        )
        .await;
    let locked = "SELECT (SELECT count(*) FROM stripe_propagate_jobs._private_jobs WHERE locked_by IS NOT NULL) \
                  + (SELECT count(*) FROM stripe_propagate_jobs._private_job_queues WHERE locked_by IS NOT NULL)";
    ground.workers().mend(&[one, two]).await.unwrap();
    assert_eq!(ground.asked(locked).await, 2, "a PUT to that backend may be out");
    ends(worker).await;
    ground.workers().mend(&[one, two]).await.unwrap();
    assert_eq!(ground.asked(locked).await, 0);
    assert_eq!(ground.jobs().await, 2);
}

#[tokio::test]
async fn a_job_that_goes_back_to_rest_leaves_its_hand_to_the_next() {
    let Some(ground) = Ground::new().await else { return };
    let held = ground.hands_over(1, "shop").await;
    let free = ground.hands_over(2, "other").await;
    let rests = Duration::from_secs(2);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let work: Work = Arc::new(move |id| {
        tell.send(id).unwrap();
        let why = "another worker may have it".to_owned();
        let worked = if id == held {
            Err(NotDone { why, rests })
        } else {
            Ok(())
        };
        Box::pin(async move { worked })
    });
    let url = Secret::parse(ground.url.clone()).unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(Queue::new(&url, 1).unwrap().serve(work, stop.clone()));
    assert_eq!(told.recv().await, Some(held));
    let begin = Instant::now();
    assert_eq!(told.recv().await, Some(free));
    assert_eq!(told.recv().await, Some(held));
    assert!(begin.elapsed() > rests / 2, "it did not rest");
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn news_that_cannot_be_read_keep_no_others_from_being_heard() {
    let Some(ground) = Ground::new().await else { return };
    let id = ground.hands_over(1, "shop").await;
    let worker = ground.open().await;
    assert!(matches!(worker.take_chunk(id).await.unwrap(), Take::Taken(_)));
    // As a build would that knows of other causes.
    let strange = "INSERT INTO stripe_propagate.chunk_news (run, site, outcome) \
                   SELECT max(r.id), max(s.id), '{\"cause\": \"strange\"}' \
                   FROM stripe_propagate.runs r, stripe_propagate.sites s";
    ground.does(strange).await;
    assert!(sends(&worker, ground.run, 1).await);
    let heard = ground.hears().await.unwrap();
    let did: Vec<_> = heard.news.iter().map(|news| &news.did).collect();
    assert_eq!(did, [&Did::Intends]);
}

#[tokio::test]
async fn news_are_told_though_what_was_given_back_cannot_be_read_just_now() {
    let Some(ground) = Ground::new().await else { return };
    let id = ground.hands_over(1, "shop").await;
    let worker = ground.open().await;
    assert!(matches!(worker.take_chunk(id).await.unwrap(), Take::Taken(_)));
    assert!(sends(&worker, ground.run, 1).await);
    assert!(worker.give_back(id).await.unwrap());
    let rename =
        |from: &str, to: &str| format!("ALTER TABLE stripe_propagate.run_sites RENAME COLUMN {from} TO {to}");
    ground.does(&rename("open_put", "away")).await;
    let heard = ground.hears().await.unwrap();
    assert_eq!((heard.news.len(), heard.back.len()), (1, 0));
    assert!(ground.hears().await.is_err(), "nothing is lost with it");
    ground.does(&rename("away", "open_put")).await;
    let heard = ground.hears().await.unwrap();
    assert_eq!((heard.news.len(), heard.back.len()), (0, 1));
}

/// Its server is started by a runtime of its own.
pub(crate) fn new_database_beside() -> Option<(u16, String)> {
    let made = std::thread::spawn(|| new_database(Server::Postgres).map(|(server, url)| (server.port, url)));
    made.join().unwrap()
}
