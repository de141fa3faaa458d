//! A store in PostgreSQL whose connection is lost at the worst moment: between a COMMIT and its answer, or while what
//! waits cannot be written.

use std::time::Duration;

use stripe_propagate::rules::outcome::PutVerdict;
use stripe_propagate::store::{Outcome, Record, Recorded, Request, Store, StoreError};

use crate::between::Between;
use crate::shared::{bob, number, sql};
use crate::shop::{Home, Postgres, SERVING, Shop, at, row, row_words, run, run_of, url};

#[tokio::test]
async fn a_batch_that_was_committed_before_the_answer_was_lost_is_not_written_again() {
    let Some(home) = Postgres::begin() else { return };
    let between = Between::default();
    let db = between.open(&home);
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    let mut trouble = db.trouble().unwrap();
    let opens = async |trouble: &mut tokio::sync::watch::Receiver<_>| {
        trouble.wait_for(Option::is_some).await.unwrap();
        assert!(between.has_cut(), "its answer was lost");
        between.lets_in();
    };
    between.arm();
    tokio::join!(shop.intend(&db, 1), opens(&mut trouble));
    trouble.wait_for(Option::is_none).await.unwrap();
    between.arm();
    let (told, ()) = tokio::join!(shop.answered(&db, PutVerdict::Stored, 2), opens(&mut trouble));
    assert_eq!(told, Recorded::Known);
    trouble.wait_for(Option::is_none).await.unwrap();
    between.arm();
    let (told, ()) = tokio::join!(shop.look(&db, "New", 3), opens(&mut trouble));
    assert_eq!(told, Recorded::Known);
    let attempts = home.open().attempts(Some(id), None, 9).await.unwrap();
    let told: Vec<_> = attempts
        .iter()
        .map(|told| (told.request.word(), told.ended))
        .collect();
    assert_eq!(told, [("PUT", true), ("GET", true)]);
    assert_eq!(
        number(&home, "SELECT version FROM stripe_propagate.sites").await,
        2,
        "raised once each"
    );
    assert_eq!(row_words(&row(&db, id, "a").await), SERVING);
}

#[tokio::test]
async fn a_put_whose_intent_was_in_doubt_is_not_sent_when_another_has_the_run_now() {
    let Some(home) = Postgres::begin() else { return };
    let between = Between::default();
    let db = between.open(&home);
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    let mut trouble = db.trouble().unwrap();
    let taken = async {
        trouble.wait_for(Option::is_some).await.unwrap();
        sql(&home, "UPDATE stripe_propagate.runs SET epoch = epoch + 1").await;
        between.lets_in();
    };
    between.arm();
    let (refused, ()) = tokio::join!(shop.try_intend(&db, 1), taken);
    assert!(between.has_cut());
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("does not hold the right"), "{refused}");
    let attempts = home.open_by(bob()).unwrap().attempts(Some(id), None, 9).await;
    assert_eq!(
        attempts.unwrap().len(),
        1,
        "the intent is on record, for who took the run"
    );
}

#[tokio::test]
async fn a_run_whose_end_was_in_doubt_is_left_to_others() {
    let Some(home) = Postgres::begin() else { return };
    let between = Between::default();
    let db = between.open(&home);
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    db.run_sent(id, at(1)).await.unwrap();
    let mut trouble = db.trouble().unwrap();
    let opens = async {
        trouble.wait_for(Option::is_some).await.unwrap();
        between.lets_in();
    };
    between.arm();
    let (ended, ()) = tokio::join!(db.end_run(id, at(2)), opens);
    assert!(between.has_cut() && !ended.unwrap());
    let other = home.open_by(bob()).unwrap();
    assert!(!run(&other, id).await.live);
    other.resume_run(id, at(3)).await.unwrap();
}

#[tokio::test]
async fn who_lost_its_connection_and_may_be_back_keeps_its_sites_for_a_while() {
    let Some(home) = Postgres::begin() else { return };
    let between = Between::default();
    let (db, other) = (between.open(&home), home.open_by(bob()).unwrap());
    let id = db.begin_run(run_of("New", &["a", "b"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.intend(&db, 1).await;
    let mut trouble = db.trouble().unwrap();
    between.arm();
    // The PUT is out, and its process has lost all locks.
    let told = db.record(shop.record(None, 2));
    trouble.wait_for(Option::is_some).await.unwrap();
    for refused in [
        other.begin_run(run_of("Newer", &["a"], 3)).await.unwrap_err(),
        other.resume_run(id, at(3)).await.unwrap_err(),
        other.close_run(id, at(3)).await.unwrap_err(),
    ] {
        let words = refused.to_string();
        assert!(
            matches!(refused, StoreError::Busy(_)) && words.contains("it may be back"),
            "{words}"
        );
    }
    assert_eq!(other.live_runs().await.unwrap().len(), 1);
    assert!(other.unfinished_runs().await.unwrap().is_empty());
    // As when that time is over.
    sql(&home, "UPDATE stripe_propagate.processes SET until = now()").await;
    other.begin_run(run_of("Newer", &["a"], 4)).await.unwrap();
    between.lets_in();
    let _told = told.await;
    let mut next = Shop::of(&db, "b", 5).await;
    next.order(id, "New", 5);
    let refused = next.try_intend(&db, 5).await.unwrap_err().to_string();
    assert!(refused.contains("does not hold the right"), "{refused}");
    assert!(!run(&other, id).await.live, "it was taken");
}

#[tokio::test]
async fn a_lock_that_is_not_free_in_time_costs_no_right() {
    let Some(home) = Postgres::begin() else { return };
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    // Of this database: the server has those of the other tests, too.
    let session = "SELECT max(pid)::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let before = number(&home, session).await;
    for statement in [
        "CREATE TABLE public.slow ()",
        "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF to_regclass('public.slow') IS NOT NULL THEN RAISE 'slow' USING ERRCODE = '55P03'; END IF; \
         RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE INSERT ON stripe_propagate.attempts FOR EACH ROW \
         EXECUTE FUNCTION public.slow()",
    ] {
        sql(&home, statement).await;
    }
    let mut trouble = db.trouble().unwrap();
    let free = async {
        trouble.wait_for(Option::is_some).await.unwrap();
        sql(&home, "DROP TABLE public.slow").await;
    };
    tokio::join!(shop.intend(&db, 1), free);
    trouble.wait_for(Option::is_none).await.unwrap();
    assert_eq!(number(&home, session).await, before, "it has its locks yet");
}

/// A look at `a`, of which the store is made to take some and others not, by their number.
fn look(shop: &Shop, number: u32) -> Record {
    let mut record = shop.record(None, 2);
    record.state.puts = number;
    record.outcome = Some(Outcome {
        number,
        ..shop.outcome(Request::Get, 2)
    });
    record
}

#[tokio::test]
async fn beside_what_can_never_be_written_nothing_is_overtaken() {
    let Some(home) = Postgres::begin() else { return };
    let db = home.open();
    let shop = Shop::of(&db, "a", 0).await;
    for statement in [
        "CREATE TABLE public.full_disk ()",
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.number = 99 THEN RAISE 'never'; END IF; \
         IF NEW.number = 1 AND to_regclass('public.full_disk') IS NOT NULL THEN \
         RAISE 'full' USING ERRCODE = '53100'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON stripe_propagate.attempts FOR EACH ROW \
         EXECUTE FUNCTION public.refuse()",
    ] {
        sql(&home, statement).await;
    }
    let mut trouble = db.trouble().unwrap();
    let told = [99, 1, 2].map(|number| db.record(look(&shop, number)));
    trouble.wait_for(Option::is_some).await.unwrap();
    sql(&home, "DROP TABLE public.full_disk").await;
    let [never, one, two] = told;
    let never = never.await.unwrap_err().to_string();
    assert!(never.contains("never"), "{never}");
    assert_eq!(one.await.unwrap(), Recorded::Known);
    assert_eq!(two.await.unwrap(), Recorded::Known);
    let lost = db.flush(Duration::from_mins(1)).unwrap_err().to_string();
    assert!(lost.contains("never"), "{lost}");
    let attempts = db.attempts(None, Some(&url("a")), 9).await.unwrap();
    let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2], "in the order in which they were handed over");
}

#[tokio::test]
async fn a_run_whose_beginning_was_in_doubt_goes_on_and_so_does_what_is_taken_up_or_closed() {
    let Some(home) = Postgres::begin() else { return };
    let between = Between::default();
    let db = between.open(&home);
    let other = home.open_by(bob()).unwrap();
    let mut trouble = db.trouble().unwrap();
    let opens = async |trouble: &mut tokio::sync::watch::Receiver<_>| {
        trouble.wait_for(Option::is_some).await.unwrap();
        assert!(between.has_cut(), "its answer was lost");
        between.lets_in();
    };
    between.arm();
    let (begun, ()) = tokio::join!(db.begin_run(run_of("New", &["a"], 0)), opens(&mut trouble));
    let id = begun.unwrap();
    assert!(run(&other, id).await.live);
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.put(&db, 1).await;
    db.run_sent(id, at(2)).await.unwrap();
    trouble.wait_for(Option::is_none).await.unwrap();
    between.arm();
    let (resumed, ()) = tokio::join!(db.resume_run(id, at(3)), opens(&mut trouble));
    resumed.unwrap();
    let refused = other.begin_run(run_of("Newer", &["a"], 4)).await;
    assert!(
        matches!(refused, Err(StoreError::Busy(_))),
        "it sends again: {refused:?}"
    );
    trouble.wait_for(Option::is_none).await.unwrap();
    between.arm();
    let (closed, ()) = tokio::join!(db.close_run(id, at(5)), opens(&mut trouble));
    closed.unwrap();
    assert!(run(&other, id).await.closed);
    assert_eq!(
        number(&home, "SELECT count(*) FROM stripe_propagate.runs").await,
        1
    );
    other.begin_run(run_of("Newer", &["a"], 6)).await.unwrap();
}

#[tokio::test]
async fn a_beginning_in_doubt_that_the_operator_gives_up_is_undone() {
    let Some(home) = Postgres::begin() else { return };
    let between = Between::default();
    let db = between.open(&home);
    let other = home.open_by(bob()).unwrap();
    let mut trouble = db.trouble().unwrap();
    between.arm();
    let gives_up = async {
        trouble.wait_for(Option::is_some).await.unwrap();
        db.give_up();
    };
    let (begun, ()) = tokio::join!(db.begin_run(run_of("New", &["a"], 0)), gives_up);
    assert!(begun.is_err() && between.has_cut());
    assert_eq!(
        other.live_runs().await.unwrap().len(),
        1,
        "so it seems until then"
    );
    between.lets_in();
    trouble.wait_for(Option::is_none).await.unwrap();
    assert!(other.unfinished_runs().await.unwrap().is_empty());
    assert!(other.runs(9).await.unwrap()[0].closed);
    other.begin_run(run_of("Newer", &["a"], 1)).await.unwrap();
}

/// What a test waits for at most that something is told within seconds.
const SOON: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_server_that_says_nothing_is_told_of_soon_and_does_not_hold_up_who_gives_up() {
    let Some(home) = Postgres::begin() else { return };
    let between = Between::default();
    let db = between.open(&home);
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    let mut trouble = db.trouble().unwrap();
    between.is_silent(true);
    let gives_up = async {
        let told = tokio::time::timeout(SOON, trouble.wait_for(Option::is_some)).await;
        let why = told.unwrap().unwrap().clone().unwrap().to_string();
        assert!(why.contains("does not answer in time"), "{why}");
        db.give_up();
        std::time::Instant::now()
    };
    let (begin, refused) = tokio::join!(gives_up, shop.try_intend(&db, 1));
    assert!(
        refused.is_err() && begin.elapsed() < SOON,
        "{:?}",
        begin.elapsed()
    );
    between.is_silent(false);
    trouble.wait_for(Option::is_none).await.unwrap();
    db.begin_run(run_of("New", &["b"], 2)).await.unwrap();
}

#[tokio::test]
async fn who_does_nothing_is_told_that_the_server_is_away_and_back() {
    let Some(home) = Postgres::begin() else { return };
    let between = Between::default();
    let db = between.open(&home);
    let mut trouble = db.trouble().unwrap();
    for is_silent in [true, false] {
        if is_silent {
            between.is_silent(true);
        } else {
            between.shuts();
        }
        let told = tokio::time::timeout(SOON, trouble.wait_for(Option::is_some));
        assert!(told.await.is_ok(), "silent: {is_silent}");
        let asked = tokio::time::timeout(SOON, db.has_changed())
            .await
            .expect("an answer");
        assert!(matches!(asked, Ok(false)), "{asked:?}");
        between.is_silent(false);
        between.lets_in();
        let told = tokio::time::timeout(SOON * 4, trouble.wait_for(Option::is_none));
        assert!(told.await.is_ok(), "silent: {is_silent}");
    }
    assert!(db.runs(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_waited_for_the_server_goes_into_many_small_transactions_in_order() {
    const ALL: u32 = 9000;
    let Some(home) = Postgres::begin() else { return };
    let between = Between::default();
    let db = between.open(&home);
    let shop = Shop::of(&db, "a", 0).await;
    let mut trouble = db.trouble().unwrap();
    between.shuts();
    trouble.wait_for(Option::is_some).await.unwrap();
    let mut last = None;
    for number in 1..=ALL {
        last = Some(db.record(look(&shop, number)));
    }
    between.lets_in();
    assert_eq!(last.unwrap().await.unwrap(), Recorded::Known);
    let attempts = db.attempts(None, None, 10_000).await.unwrap();
    assert!(attempts.iter().map(|told| told.number).eq(1..=ALL), "in order");
    let most = "SELECT max(records) FROM (SELECT count(*) AS records FROM stripe_propagate.attempts \
                GROUP BY xmin::text) transactions";
    assert!(number(&home, most).await <= 4096);
}

#[tokio::test]
async fn what_another_transaction_stood_in_the_way_of_is_done_again() {
    let Some(home) = Postgres::begin() else { return };
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    db.run_sent(id, at(1)).await.unwrap();
    for statement in [
        "CREATE SEQUENCE public.tries",
        // Each second time it is as if another transaction had stood in the way.
        "CREATE FUNCTION public.stands_in_the_way() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('public.tries') % 2 = 1 THEN RAISE 'deadlock' USING ERRCODE = '40P01'; END IF; \
         RETURN NEW; END $$",
        "CREATE TRIGGER one BEFORE UPDATE ON stripe_propagate.runs FOR EACH ROW \
         WHEN (OLD.epoch <> NEW.epoch) EXECUTE FUNCTION public.stands_in_the_way()",
        "CREATE TRIGGER two BEFORE INSERT ON stripe_propagate.lists FOR EACH ROW \
         EXECUTE FUNCTION public.stands_in_the_way()",
    ] {
        sql(&home, statement).await;
    }
    db.resume_run(id, at(2)).await.unwrap();
    db.keep_list("all", vec![url("a")]).await.unwrap();
    db.close_run(id, at(3)).await.unwrap();
    assert_eq!(number(&home, "SELECT last_value FROM public.tries").await, 6);
    let other = home.open_by(bob()).unwrap();
    other.resume_run(id, at(4)).await.expect("nothing of it is held");
}

#[tokio::test]
async fn processes_that_are_gone_are_forgotten_and_who_holds_a_run_is_not() {
    let Some(home) = Postgres::begin() else { return };
    let db = home.open();
    drop(home.open());
    db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    sql(
        &home,
        "UPDATE stripe_propagate.processes SET at = now() - interval '2 days', until = now() - interval '1 day'",
    )
    .await;
    let _third = home.open_by(bob()).unwrap();
    let known = "SELECT count(*) FROM stripe_propagate.processes";
    assert_eq!(number(&home, known).await, 2);
}
