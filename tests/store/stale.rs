//! What every store promises where a process does not know what others have sent.

use stripe_propagate::rules::state::{Next, Served, SiteState};
use stripe_propagate::store::{Recorded, RunId, Store, StoreError};

use crate::shop::{Home, SERVING, Shop, VERIFIED, at, key, known, row, row_words, run_of, url, words};

pub(crate) fn newest(recorded: Recorded) -> SiteState {
    let Recorded::TakenOver(newest) = recorded else {
        panic!("not told")
    };
    newest.state
}

async fn attempts<Db: Store>(db: &Db, run: RunId) -> usize {
    db.attempts(Some(run), None, 99).await.unwrap().len()
}

pub(crate) async fn only_the_run_that_may_send_begins_a_put(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let first = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(first, "New", 0);
    let refused = |recorded: Result<Recorded, StoreError>| {
        let Err(StoreError::Failed(words)) = recorded else {
            panic!("{recorded:?}")
        };
        assert!(words.contains("run 1 does not hold the right to send"), "{words}");
    };
    refused(shop.try_intend(&other, 1).await);
    db.run_sent(first, at(1)).await.unwrap();
    refused(shop.try_intend(&db, 2).await);
    let second = db.begin_run(run_of("Newer", &["b"], 3)).await.unwrap();
    refused(shop.try_intend(&db, 4).await);
    assert_eq!(attempts(&db, first).await, 0, "nothing is recorded");
    assert_eq!(row_words(&row(&db, first, "a").await).0, "queued");
    db.close_run(second, at(5)).await.unwrap();
    db.resume_run(first, at(6)).await.unwrap();
    assert_eq!(shop.try_intend(&db, 7).await.unwrap(), Recorded::Known);
}

pub(crate) async fn no_put_is_begun_that_does_not_know_of_the_last(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let mut mine = Shop::of(&db, "a", 0).await;
    let mut theirs = Shop::of(&other, "a", 0).await;
    let first = other.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    theirs.order(first, "New", 0);
    theirs.put(&other, 1).await;
    theirs.look(&other, "New", 2).await;
    other.run_sent(first, at(2)).await.unwrap();
    let second = db.begin_run(run_of("Newer", &["a"], 3)).await.unwrap();
    mine.order(second, "Newer", 3);
    for _once_more in 0..2 {
        // What its own run has not sent is not started, on top of what the other one has stored.
        let mut newest = newest(mine.try_intend(&db, 4).await.unwrap());
        assert_eq!(
            (newest.run, newest.push.look().word),
            (Some(second), "not_started")
        );
        newest.run_closed(at(4));
        assert_eq!(newest.expected, Some(key("New")));
    }
    assert_eq!(attempts(&db, second).await, 0, "nothing is recorded");
    assert_eq!(row_words(&row(&db, second, "a").await).0, "queued");
    assert_eq!(row_words(&row(&db, first, "a").await), SERVING);
    assert_eq!(
        theirs.look(&other, "New", 5).await,
        Recorded::Known,
        "it is still theirs"
    );
    // Once it has read that it knows.
    let mut mine = Shop::of(&db, "a", 6).await;
    mine.order(second, "Newer", 6);
    assert_eq!(mine.try_intend(&db, 7).await.unwrap(), Recorded::Known);
}

pub(crate) async fn what_was_refused_teaches_nothing(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let mut stale = Shop::of(&db, "a", 0).await;
    let id = other.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut theirs = Shop::of(&other, "a", 0).await;
    theirs.order(id, "New", 0);
    theirs.put(&other, 1).await;
    // Handed over one after the other, before what came of the first is known.
    let handed: Vec<_> = (2..5)
        .map(|seconds| db.record(stale.record(None, seconds)))
        .collect();
    for recorded in handed {
        assert_eq!(newest(recorded.await.unwrap()).expected, Some(key("New")));
    }
    newest(stale.look(&db, "Old", 5).await);
    assert_eq!(known(&other, "a", 6).await.expected, Some(key("New")));
    let mut told = Shop::of(&db, "a", 7).await;
    assert_eq!(told.look(&db, "New", 8).await, Recorded::Known);
}

pub(crate) async fn a_look_after_a_death_hides_no_put(home: &impl Home) {
    for looked_before in [false, true] {
        let (db, other, third) = (home.open(), home.open(), home.open());
        let name = if looked_before { "b" } else { "a" };
        let id = db.begin_run(run_of("New", &[name], 0)).await.unwrap();
        let mut shop = Shop::of(&db, name, 0).await;
        shop.order(id, "New", 0);
        if looked_before {
            shop.look_before(&db, "Old", 1).await;
        }
        shop.intend(&db, 2).await;
        let mut beside = [Shop::of(&other, name, 3).await, Shop::of(&third, name, 3).await];
        let db = home.die(db);
        // They looked while its process lived, and hand that over now.
        for (shop, db) in beside.iter_mut().zip([&other, &third]) {
            let newest = newest(shop.look(db, "Old", 4).await);
            assert_eq!(newest.push.look().word, "unknown");
            assert_eq!((newest.run, newest.puts), (Some(id), 1));
            let row = row(db, id, name).await;
            assert_eq!((row_words(&row).0, row.puts), ("unknown", 1));
        }
        // The PUT arrives late. Who knows of it now waits for its settle time.
        beside[0].state = known(&other, name, 5).await;
        assert_eq!(beside[0].look(&other, "New", 6).await, Recorded::Known);
        assert_eq!(words(&known(&db, name, 7).await), SERVING);
        assert_eq!(row_words(&row(&db, id, name).await), SERVING);
        // Who still does not know of it takes none of that back.
        assert_eq!(words(&newest(beside[1].look(&third, "Old", 8).await)), SERVING);
        assert_eq!(words(&known(&db, name, 9).await), SERVING);
        db.close_run(id, at(10)).await.unwrap();
    }
}

pub(crate) async fn what_was_told_in_answer_can_be_recorded(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.intend(&db, 1).await;
    let mut beside = Shop::of(&other, "a", 2).await;
    let db = home.die(db);
    beside.state = newest(beside.look(&other, "Old", 3).await);
    // Its own state carries the doubt from now on.
    assert_eq!(beside.look(&other, "Old", 4).await, Recorded::Known);
    assert_eq!(known(&db, "a", 5).await.push.look().word, "unknown");
    assert_eq!(row(&db, id, "a").await.puts, 1);
    assert_eq!(beside.look(&other, "New", 6).await, Recorded::Known);
    assert_eq!(words(&known(&db, "a", 7).await), SERVING);
}

pub(crate) async fn reading_is_not_knowing_and_what_is_adopted_is_known(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let mut mine = Shop::of(&db, "a", 0).await;
    let mut theirs = Shop::of(&other, "a", 0).await;
    let id = other.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    theirs.order(id, "New", 0);
    theirs.put(&other, 1).await;
    theirs.look(&other, "New", 2).await;
    let Recorded::TakenOver(told) = mine.look(&db, "New", 3).await else {
        panic!("not told")
    };
    assert_eq!(words(&known(&db, "a", 4).await), SERVING);
    let before = mine.state.clone();
    assert!(matches!(mine.look(&db, "New", 5).await, Recorded::TakenOver(_)));
    mine.state = before;
    assert_eq!(words(&known(&other, "a", 6).await), SERVING);
    // What was told in answer is as good as what is read.
    db.adopt([(&url("a"), &*told)]);
    mine.state = told.state.clone();
    assert_eq!(mine.look(&db, "New", 400).await, Recorded::Known);
    assert_eq!(words(&known(&other, "a", 401).await), VERIFIED);
    // It is no more than that: a PUT since then is not known.
    theirs.order(id, "New", 402);
    theirs.put(&other, 403).await;
    db.adopt([(&url("a"), &*told)]);
    assert!(matches!(mine.look(&db, "New", 800).await, Recorded::TakenOver(_)));
}

pub(crate) async fn a_run_goes_on_with_what_was_sent_before_it_could(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let mut mine = Shop::of(&db, "a", 0).await;
    let mut theirs = Shop::of(&other, "a", 0).await;
    let first = other.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    theirs.order(first, "New", 0);
    theirs.put(&other, 1).await;
    theirs.look(&other, "New", 2).await;
    other.run_sent(first, at(2)).await.unwrap();
    let second = db.begin_run(run_of("Newer", &["a"], 3)).await.unwrap();
    mine.order(second, "Newer", 3);
    let Recorded::TakenOver(told) = mine.try_intend(&db, 4).await.unwrap() else {
        panic!("not told")
    };
    let next = mine.state.taken_over(&told.state, true, at(4));
    assert!(matches!(next, Some(Next::At(..))), "{next:?}");
    assert_eq!(mine.state.push.look().word, "queued");
    assert_eq!(
        (mine.state.run, mine.state.expected.clone(), mine.state.puts),
        (Some(second), Some(key("Newer")), 0)
    );
    db.adopt([(&url("a"), &*told)]);
    mine.put(&db, 5).await;
    assert_eq!(row(&db, second, "a").await.before, Served::Key(key("New")));
    assert_eq!(row_words(&row(&db, first, "a").await), ("stored", "superseded"));
}

pub(crate) async fn no_put_is_begun_that_does_not_know_of_one_left_open(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let first = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(first, "New", 0);
    shop.intend(&db, 1).await;
    let mut beside = Shop::of(&other, "a", 2).await;
    let db = home.die(db);
    let second = other.begin_run(run_of("Newer", &["a"], 3)).await.unwrap();
    beside.order(second, "Newer", 3);
    let left = newest(beside.try_intend(&other, 4).await.unwrap());
    assert_eq!((left.run, left.push.look().word), (Some(first), "unknown"));
    assert_eq!(attempts(&db, second).await, 0);
    other.close_run(second, at(5)).await.unwrap();
    // Who knows of it may send another.
    let mut knows = Shop::of(&other, "a", 6).await;
    assert_eq!(knows.state.push.look().word, "unknown");
    let third = other.begin_run(run_of("Newer", &["a"], 7)).await.unwrap();
    knows.order(third, "Newer", 7);
    assert_eq!(knows.look_before(&other, "Old", 8).await, Recorded::Known);
    knows.put(&other, 9).await;
    assert_eq!(row_words(&row(&db, first, "a").await), ("unknown", "superseded"));
}

pub(crate) async fn a_run_taken_up_keeps_the_doubt_until_it_is_decided(home: &impl Home) {
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.intend(&db, 1).await;
    let db = home.die(db);
    let mut again = Shop::of(&db, "a", 2).await;
    db.resume_run(id, at(2)).await.unwrap();
    let left = again.state.clone();
    again.order(id, "New", 2);
    again.state = left;
    let _next = again.state.order_rest(at(2));
    // A look shows another key: the PUT is to go again, and its process dies before.
    assert_eq!(again.look_before(&db, "Old", 3).await, Recorded::Known);
    let db = home.die(db);
    let left = known(&db, "a", 4).await;
    assert_eq!((left.push.look().word, left.puts), ("unknown", 1));
    let row = row(&db, id, "a").await;
    assert_eq!((row_words(&row).0, row.puts), ("unknown", 1));
    assert_eq!(db.attempts(Some(id), Some(&url("a")), 9).await.unwrap().len(), 2);
}

pub(crate) async fn what_is_to_be_sent_only_its_process_can_say(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.look_before(&db, "Old", 1).await;
    let mut beside = Shop::of(&other, "a", 2).await;
    let db = home.die(db);
    let left = newest(beside.look(&other, "Old", 3).await);
    assert_eq!((left.run, left.push.look().word), (Some(id), "not_started"));
    assert_eq!(row_words(&row(&db, id, "a").await).0, "not_started");
    assert_eq!(known(&db, "a", 4).await.push.look().word, "not_started");
}

pub(crate) async fn a_look_that_was_out_brings_back_nothing_of_a_closed_run(home: &impl Home) {
    for looked_before in [false, true] {
        let (db, other) = (home.open(), home.open());
        let name = if looked_before { "b" } else { "a" };
        let mut shop = Shop::of(&db, name, 0).await;
        let old = db.begin_run(run_of("Old", &[name], 0)).await.unwrap();
        shop.order(old, "Old", 0);
        shop.put(&db, 1).await;
        shop.look(&db, "Old", 400).await;
        db.run_sent(old, at(400)).await.unwrap();
        assert!(db.end_run(old, at(400)).await.unwrap());
        let id = db.begin_run(run_of("New", &[name], 401)).await.unwrap();
        if looked_before {
            shop.order(id, "New", 401);
            shop.look_before(&db, "Old", 402).await;
        }
        let db = home.die(db);
        let mut beside = Shop::of(&other, name, 403).await;
        assert_eq!(beside.state.expected, Some(key("New")));
        let mut closes = Shop::of(&db, name, 403).await;
        db.close_run(id, at(404)).await.unwrap();
        // It looked while the run was left, and hands that over now.
        let told = newest(beside.look(&other, "Old", 405).await);
        assert_eq!(told.expected, Some(key("Old")));
        assert_eq!(known(&other, name, 406).await.expected, Some(key("Old")));
        // Who closed it knows of that.
        closes.state.run_closed(at(404));
        assert_eq!(closes.look(&db, "Old", 407).await, Recorded::Known);
        assert_eq!(known(&other, name, 408).await.expected, Some(key("Old")));
    }
}
