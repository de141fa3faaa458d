//! A process that is behind: another one has worked on the sites that it knows.

use std::sync::Arc;

use stripe_propagate::engine::Command;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::state::SiteState;
use stripe_propagate::rules::status::{Push, Verify};
use stripe_propagate::store::Store;
use stripe_propagate::store::memory::MemoryStore;

use super::{Process, key, sites, stage};

/// What is on record of the first site.
async fn on_record(store: &MemoryStore, process: &Process, clock: super::Clock) -> SiteState {
    let urls = [process.sites[0].url.clone()];
    let known = store.last_known(&urls, &Policy::default(), clock.now()).await;
    known.unwrap().remove(0).state
}

#[tokio::test(start_paused = true)]
async fn what_a_process_was_told_in_answer_to_its_look_it_proves() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let mut looks = Process::begin(&shops, &store, &list, clock).await;
    let other = Arc::new(store.beside());
    let mut pushes = Process::begin(&shops, &other, &list, clock).await;
    pushes.push("Two");
    pushes.for_seconds(5).await;
    assert_eq!(pushes.words(0), (Push::Stored, Verify::Serving));
    pushes.leave().await;
    let third = other.reopen();
    let before = shops.looks();
    looks.look(None);
    looks.for_seconds(5).await;
    assert_eq!(looks.words(0), (Push::Stored, Verify::Serving));
    looks.for_seconds(1000).await;
    assert_eq!(looks.words(0), (Push::Stored, Verify::Verified));
    assert_eq!(
        shops.looks() - before,
        2,
        "the one that was ordered, and the proof"
    );
    assert_eq!(on_record(&third, &looks, clock).await.verify, Verify::Verified);
    assert!(third.unfinished_runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_read_beside_an_engine_teaches_it_nothing() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let first = Arc::new(store.beside());
    let mut dead = Process::begin(&shops, &first, &list, clock).await;
    dead.push("One");
    dead.for_seconds(5).await;
    dead.leave().await;
    let _next = first.reopen();
    // It waits for the proof of the first run.
    let mut waits = Process::begin(&shops, &store, &list, clock).await;
    waits.for_seconds(100).await;
    assert_eq!(waits.words(0), (Push::Stored, Verify::Serving));
    let second = Arc::new(store.beside());
    let mut quick = Process::begin(&shops, &second, &list, clock).await;
    quick.push("Two");
    quick.for_seconds(10).await;
    quick.leave().await;
    let third = second.reopen();
    // Somebody reads what is on record, as a screen does; the engine is busy with the site and keeps what it knows.
    assert_eq!(on_record(&store, &waits, clock).await.expected, Some(key("Two")));
    waits.handle.send(Command::Refresh { tells_all: true });
    waits.for_seconds(150).await;
    // A process of the site that has the old key in its cache answers the look that is due.
    shops.stored.lock().unwrap().insert("a".to_owned(), key("One"));
    waits.for_seconds(100).await;
    shops.stored.lock().unwrap().insert("a".to_owned(), key("Two"));
    waits.for_seconds(1000).await;
    let known = on_record(&third, &waits, clock).await;
    assert_eq!(
        (known.expected.clone(), known.verify),
        (Some(key("Two")), Verify::Verified)
    );
    assert!(third.unfinished_runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_out_while_the_store_is_read_does_not_take_a_newer_run_back() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let first = Arc::new(store.beside());
    let mut one = Process::begin(&shops, &first, &list, clock).await;
    one.push("One");
    one.for_seconds(400).await;
    assert_eq!(one.words(0), (Push::Stored, Verify::Verified));
    let mut looks = Process::begin(&shops, &store, &list, clock).await;
    let second = Arc::new(store.beside());
    let mut quick = Process::begin(&shops, &second, &list, clock).await;
    quick.push("Two");
    quick.for_seconds(5).await;
    assert_eq!(quick.words(0), (Push::Stored, Verify::Serving));
    quick.leave().await;
    let third = second.reopen();
    looks.look(None);
    looks.for_a_moment().await;
    on_record(&store, &looks, clock).await;
    looks.handle.send(Command::Refresh { tells_all: true });
    looks.for_seconds(1000).await;
    let known = on_record(&third, &looks, clock).await;
    assert_eq!(
        (known.expected.clone(), known.verify),
        (Some(key("Two")), Verify::Verified)
    );
    assert!(third.unfinished_runs().await.unwrap().is_empty(), "the run ends");
}
