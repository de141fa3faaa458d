//! Who has a chunk, as the store says it.

use std::sync::Arc;

use stripe_propagate::engine::Clock;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::run::Kind;
use stripe_propagate::rules::state::{Allow, Served};
use stripe_propagate::secret::Secret;
use stripe_propagate::site::SiteUrl;
use stripe_propagate::store::postgres::PostgresStore;
use stripe_propagate::store::workers::{ChunkId, NewChunk, Take};
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

#[tokio::test]
async fn a_chunk_is_one_workers_until_that_has_let_go_of_it_and_its_puts_go_while_the_run_may_send() {
    let Some((_, url)) = new_database_beside() else {
        return;
    };
    let url = Secret::parse(url).unwrap();
    let open = async || PostgresStore::open(&url, Operator::default()).await.unwrap();
    let coordinates = open().await.with_workers(true).await.unwrap();
    let run = coordinates.begin_run(run()).await.unwrap();
    let workers = coordinates.workers().unwrap();
    let id = ChunkId { run, number: 1 };
    let chunk = NewChunk {
        id,
        wave: 0,
        backend: Arc::from("shop"),
        puts: true,
        sites: vec![site()],
    };
    for _ in 0..2 {
        workers.hand_over(std::slice::from_ref(&chunk)).await.unwrap();
    }

    let (first, second) = (open().await, open().await);
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
    tokio::task::spawn_blocking(move || drop(first)).await.unwrap();
    assert!(matches!(second.take_chunk(id).await.unwrap(), Take::Taken(_)));
    second.give_back(id).await.unwrap();
    assert!(!sends(&second, run, 2).await, "it was given back");
    assert_eq!(second.take_chunk(id).await.unwrap(), Take::Over);
}

/// Its server is started by a runtime of its own.
pub(crate) fn new_database_beside() -> Option<(u16, String)> {
    let made = std::thread::spawn(|| new_database(Server::Postgres).map(|(server, url)| (server.port, url)));
    made.join().unwrap()
}
