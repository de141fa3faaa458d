//! What every store promises of the end of a run.

use stripe_propagate::rules::retry::Policy;
use stripe_propagate::store::{LiveRun, Recorded, RunId, Store, StoreError};

use crate::shop::{Home, SERVING, Shop, VERIFIED, at, counts, known, row, row_words, run, run_of, time};

async fn unfinished<Db: Store>(db: &Db) -> Vec<RunId> {
    let left = db.unfinished_runs().await.unwrap();
    left.iter().map(|run| run.id).collect()
}

async fn all_words<Db: Store>(db: &Db, id: RunId) -> Vec<(&'static str, &'static str)> {
    let rows = db.run_sites(id).await.unwrap();
    rows.iter().map(row_words).collect()
}

pub(crate) async fn a_run_that_another_process_works_on_does_not_end(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.put(&db, 1).await;
    shop.look(&db, "New", 2).await;
    shop.look(&db, "New", 400).await;
    assert!(!other.end_run(id, at(401)).await.unwrap());
    let goes_on = run(&other, id).await;
    assert_eq!((goes_on.ended, goes_on.sent, goes_on.live), (None, None, true));
    assert!(db.end_run(id, at(402)).await.unwrap());
    assert_eq!(run(&other, id).await.ended, Some(at(402)));
    assert!(other.end_run(id, at(403)).await.unwrap(), "it has ended");
    assert_eq!(run(&other, id).await.ended, Some(at(402)));
}

pub(crate) async fn a_run_with_something_left_does_not_end(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a", "b", "c"], 0)).await.unwrap();
    let mut shops = [Shop::of(&db, "a", 0).await, Shop::of(&db, "b", 0).await];
    for shop in &mut shops {
        shop.order(id, "New", 0);
    }
    shops[0].put(&db, 1).await;
    shops[0].look(&db, "New", 2).await;
    shops[1].intend(&db, 3).await;
    let before = all_words(&db, id).await;
    assert_eq!(
        before,
        [SERVING, ("sending", "unchecked"), ("queued", "unchecked")]
    );
    assert!(!db.end_run(id, at(4)).await.unwrap());
    assert_eq!(all_words(&db, id).await, before, "nothing changes");
    assert_eq!(run(&other, id).await.ended, None);
    assert!(run(&other, id).await.live);
    let refused = other.begin_run(run_of("Newer", &["d", "c"], 5)).await;
    assert!(matches!(refused, Err(StoreError::Busy(_))), "it still sends");
    // Nor does it by the hand of another once its process is gone.
    drop(home.die(db));
    assert!(!other.end_run(id, at(6)).await.unwrap());
    assert_eq!(unfinished(&other).await, [id]);
    assert_eq!(
        all_words(&other, id).await,
        [SERVING, ("unknown", "unchecked"), ("not_started", "unchecked")]
    );
}

pub(crate) async fn a_run_with_something_left_is_left_to_others(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a", "b"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.put(&db, 1).await;
    shop.look(&db, "New", 400).await;
    assert!(matches!(
        other.resume_run(id, at(401)).await,
        Err(StoreError::Busy(_))
    ));
    db.run_sent(id, at(402)).await.unwrap();
    assert!(other.resume_run(id, at(403)).await.is_err(), "it is worked on");
    assert!(!db.end_run(id, at(404)).await.unwrap());
    assert_eq!(unfinished(&other).await, [id]);
    assert!(other.live_runs().await.unwrap().is_empty());
    other.resume_run(id, at(405)).await.unwrap();
    assert_eq!(unfinished(&db).await, []);
    let later = other.begin_run(run_of("New", &["c", "b"], 406)).await;
    assert!(matches!(later, Err(StoreError::Busy(_))));
    // Who works on it is who took it up, not who began it.
    let live = db.live_runs().await.unwrap();
    let worker = |live: &LiveRun| (live.run.id, live.holder.run, live.holder.since);
    assert_eq!(
        live.iter().map(worker).collect::<Vec<_>>(),
        [(id, Some(id), time(405))]
    );
    // It is not taken from who works on it now.
    assert!(!db.end_run(id, at(406)).await.unwrap());
    assert!(run(&db, id).await.live);
}

pub(crate) async fn a_look_at_what_a_dead_run_did_not_reach_does_not_end_it(home: &impl Home) {
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let db = home.die(db);
    let mut shop = Shop::of(&db, "a", 1).await;
    assert_eq!(shop.look(&db, "Old", 2).await, Recorded::Known);
    assert_eq!(unfinished(&db).await, [id]);
    assert!(!db.end_run(id, at(3)).await.unwrap());
    let rows = all_words(&db, id).await;
    assert_eq!(rows, [("not_started", "mismatch")]);
    // It is left over for the next one too, until the run is closed.
    let db = home.die(db);
    assert!(known(&db, "a", 4).await.is_left_over());
    db.close_run(id, at(5)).await.unwrap();
    assert_eq!(known(&db, "a", 6).await.expected, None);
}

pub(crate) async fn a_run_that_settles_does_not_end_until_a_later_one_has_its_sites(home: &impl Home) {
    let db = home.open();
    let first = db.begin_run(run_of("New", &["a", "b"], 0)).await.unwrap();
    let mut shops = [Shop::of(&db, "a", 0).await, Shop::of(&db, "b", 0).await];
    for shop in &mut shops {
        shop.order(first, "New", 0);
        shop.put(&db, 1).await;
        shop.look(&db, "New", 2).await;
    }
    db.run_sent(first, at(2)).await.unwrap();
    assert!(!db.end_run(first, at(3)).await.unwrap());
    // One site has its PUT of the later run, the other waits for it: what settled in the first one ends here.
    let second = db.begin_run(run_of("Newer", &["a", "b"], 4)).await.unwrap();
    shops[0].order(second, "Newer", 4);
    shops[0].intend(&db, 5).await;
    assert_eq!(row_words(&row(&db, first, "a").await), ("stored", "superseded"));
    assert_eq!(row_words(&row(&db, first, "b").await), SERVING);
    assert!(db.end_run(first, at(6)).await.unwrap());
    assert_eq!(counts(&run(&db, first).await), [("superseded", 2)]);
    assert!(!db.end_run(second, at(7)).await.unwrap());
}

pub(crate) async fn who_sees_the_last_of_a_dead_run_can_end_it(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.put(&db, 1).await;
    shop.look(&db, "New", 2).await;
    drop(home.die(db));
    let mut shop = Shop::of(&other, "a", 3).await;
    assert!(!other.end_run(id, at(3)).await.unwrap());
    assert_eq!(shop.look(&other, "New", 400).await, Recorded::Known);
    assert!(other.end_run(id, at(401)).await.unwrap());
    let over = run(&other, id).await;
    assert_eq!((over.ended, over.live), (Some(at(401)), false));
    assert_eq!(row_words(&row(&other, id, "a").await), VERIFIED);
}

pub(crate) async fn a_dead_run_that_a_later_one_took_over_ends_by_itself(home: &impl Home) {
    let db = home.open();
    let first = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(first, "New", 0);
    shop.put(&db, 1).await;
    shop.look(&db, "New", 2).await;
    let db = home.die(db);
    // What is known of the site is the later run's, which was stopped before its PUT.
    let second = db.begin_run(run_of("Newer", &["a"], 3)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 3).await;
    shop.order(second, "Newer", 3);
    let _next = shop.state.cancel(&Policy::default(), at(4));
    assert_eq!(db.record(shop.record(None, 4)).await.unwrap(), Recorded::Known);
    assert!(db.end_run(second, at(5)).await.unwrap());
    let db = home.die(db);
    assert!(unfinished(&db).await.is_empty());
    assert_eq!(counts(&run(&db, first).await), [("superseded", 1)]);
}
