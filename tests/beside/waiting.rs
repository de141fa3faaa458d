//! A push that waits for the end of a look has not begun for the site: what happens until then is not of its run.

use std::sync::Arc;

use stripe_propagate::engine::{Clock, Command};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::plan::{Plan, PlanAction};
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::{Allow, Served, SiteState};
use stripe_propagate::rules::status::{Push, SkipReason, Verify};
use stripe_propagate::site::{Site, SiteId};
use stripe_propagate::store::memory::MemoryStore;
use stripe_propagate::store::{RunId, RunRecord, RunSite, Store};

use super::{Process, Shops, key, sites, stage};

/// Its first run has proven its key.
async fn proven(shops: &Arc<Shops>, store: &Arc<MemoryStore>, list: &Arc<[Site]>, clock: Clock) -> Process {
    let mut process = Process::begin(shops, store, list, clock).await;
    process.push("One");
    process.for_seconds(400).await;
    assert_eq!(process.words(0), (Push::Stored, Verify::Verified));
    process
}

/// A look is out when the push is ordered, and ends; the process dies before the site has its turn.
async fn dies_before_its_turn(
    mut process: Process,
    store: &Arc<MemoryStore>,
) -> (Arc<MemoryStore>, RunRecord) {
    process.look(None);
    process.for_a_moment().await;
    process.push("Two");
    process.handle.send(Command::Pause);
    process.for_seconds(5).await;
    assert_eq!(process.phase, Some(RunPhase::Paused));
    let store = Arc::new(store.reopen());
    let run = store.unfinished_runs().await.unwrap().remove(0);
    assert_eq!(run.key, key("Two"));
    (store, run)
}

async fn row(store: &MemoryStore, run: RunId) -> RunSite {
    store.run_sites(run).await.unwrap().remove(0)
}

/// The run is taken up, sends its own key, and ends.
async fn is_taken_up(shops: &Arc<Shops>, store: &Arc<MemoryStore>, list: &Arc<[Site]>, clock: Clock) {
    let run = store.unfinished_runs().await.unwrap().remove(0);
    let before = shops.puts();
    let mut next = Process::begin(shops, store, list, clock).await;
    assert_eq!(next.words(0), (Push::NotStarted, Verify::Unchecked));
    assert_eq!(next.states[0].planned_key(), Some(&key("Two")));
    next.resume(&run);
    next.for_seconds(800).await;
    assert_eq!(
        (shops.puts() - before, shops.last_put()),
        (1, key("Two")),
        "the run's own key"
    );
    assert_eq!(next.words(0), (Push::Stored, Verify::Verified));
    assert_eq!(next.phase, Some(RunPhase::Settled));
    assert!(store.unfinished_runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_push_that_waits_behind_a_look_is_not_started_when_its_process_dies() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let process = proven(&shops, &store, &list, clock).await;
    let (store, run) = dies_before_its_turn(process, &store).await;
    let row = row(&store, run.id).await;
    assert_eq!(
        (row.push, row.puts, row.before),
        (Push::NotStarted, 0, Served::Unknown)
    );
    is_taken_up(&shops, &store, &list, clock).await;
}

#[tokio::test(start_paused = true)]
async fn the_key_of_an_earlier_run_is_not_sent_in_the_one_that_waited() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let mut process = proven(&shops, &store, &list, clock).await;
    // Then it was left out of a run: no PUT of that is on record.
    let unseen = SiteState::default();
    let mut plan = Plan::new(key("Mid"), [SiteId(0)], &list, |_| &unseen, Allow::default());
    plan.rows[0].action = PlanAction::Skip(SkipReason::OtherMode);
    process.handle.send(Command::Push(plan));
    process.for_seconds(5).await;
    let (store, _) = dies_before_its_turn(process, &store).await;
    is_taken_up(&shops, &store, &list, clock).await;
}

#[tokio::test(start_paused = true)]
async fn a_first_push_that_waits_behind_a_look_is_taken_up() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let process = Process::begin(&shops, &store, &list, clock).await;
    let (store, _) = dies_before_its_turn(process, &store).await;
    is_taken_up(&shops, &store, &list, clock).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_behind_a_look_has_sent_nothing_in_its_run() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let mut process = proven(&shops, &store, &list, clock).await;
    process.look(None);
    process.for_a_moment().await;
    process.push("Two");
    process.handle.send(Command::Cancel);
    for behind_the_look in [false, true] {
        if behind_the_look {
            process.for_seconds(10).await;
        } else {
            process.for_a_moment().await;
        }
        let row = row(&store, RunId(2)).await;
        assert_eq!((row.push, row.puts), (Push::Cancelled, 0));
    }
    assert_eq!((process.phase, shops.puts()), (Some(RunPhase::Settled), 1));
    assert!(store.unfinished_runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_asked_about_is_not_what_a_run_sends() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let process = Process::begin(&shops, &store, &list, clock).await;
    let (mut store, run) = dies_before_its_turn(process, &store).await;
    let asked: PublishableKey = key("Asked");
    for look_is_out in [true, false] {
        let mut next = Process::begin(&shops, &store, &list, clock).await;
        next.look(Some(asked.clone()));
        if look_is_out {
            next.for_a_moment().await;
        } else {
            next.for_seconds(5).await;
        }
        next.resume(&run);
        if look_is_out {
            // It dies before its turn once more.
            next.handle.send(Command::Pause);
            next.for_seconds(5).await;
            assert_eq!(next.phase, Some(RunPhase::Paused));
            next.leave().await;
            store = Arc::new(store.reopen());
            continue;
        }
        next.for_seconds(10).await;
        assert_eq!((shops.puts(), shops.last_put()), (1, key("Two")));
    }
}
