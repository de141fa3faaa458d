//! What is promised of a store in PostgreSQL alone: several runs at once, several machines, a server that goes away.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use stripe_propagate::rules::outcome::PutVerdict;
use stripe_propagate::rules::status::SkipReason;
use stripe_propagate::store::{Operator, Record, Recorded, RunId, Store, StoreError};
use stripe_propagate::text::CleanText;

use crate::shop::{
    Home, Postgres, SERVING, Shop, at, by, key, planned, row, row_words, run, run_of, time, url,
};

/// Another user, on another machine.
pub(crate) fn bob() -> Operator {
    Operator {
        user: CleanText::note("bob"),
        host: CleanText::note("bastion"),
        pid: 77,
        ..by()
    }
}

/// Runs a statement that is no part of what is tested; how many rows it told of.
pub(crate) async fn sql(home: &Postgres, statement: &str) -> u64 {
    let mut conn = PgConnection::connect(&home.url).await.unwrap();
    let done = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(&mut conn)
        .await
        .unwrap();
    conn.close().await.unwrap();
    done.rows_affected()
}

pub(crate) async fn number(home: &Postgres, query: &str) -> i64 {
    let mut conn = PgConnection::connect(&home.url).await.unwrap();
    let row = sqlx::query(AssertSqlSafe(query.to_owned()))
        .fetch_one(&mut conn)
        .await
        .unwrap();
    row.get(0)
}

/// Cuts all connections of the store, as an operator or a network does.
pub(crate) const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'stripe-propagate'";

#[tokio::test]
async fn runs_without_a_site_in_common_send_at_once() {
    let Some(home) = Postgres::begin() else { return };
    let (db, other) = (home.open(), home.open_by(bob()).unwrap());
    let mut new = run_of("New", &["a", "b"], 0);
    let mut left_out = planned("c", &key("New"));
    left_out.left_out = Some(SkipReason::Disabled);
    new.sites.push(left_out);
    let first = db.begin_run(new).await.unwrap();
    // What was left out there is free.
    let second = other.begin_run(run_of("Newer", &["c", "d"], 1)).await.unwrap();
    let mut shops = [Shop::of(&db, "a", 1).await, Shop::of(&other, "d", 1).await];
    shops[0].order(first, "New", 1);
    shops[1].order(second, "Newer", 1);
    assert_eq!(shops[0].put(&db, 2).await, Recorded::Known);
    assert_eq!(shops[1].put(&other, 2).await, Recorded::Known);
    let refused = other.begin_run(run_of("Newer", &["b"], 3)).await.unwrap_err();
    let StoreError::Busy(holder) = &refused else {
        panic!("{refused}")
    };
    assert_eq!((holder.run, holder.is_elsewhere), (Some(first), true));
    let words = refused.to_string();
    assert!(
        words.starts_with("run 1 of ada on desk is sending to some of these sites"),
        "{words}"
    );
    // A site that its plan left out is another's: no PUT goes there.
    let mut strays = Shop::of(&db, "c", 3).await;
    strays.order(first, "New", 3);
    let refused = strays.try_intend(&db, 3).await.unwrap_err().to_string();
    assert!(
        refused.contains("run 1 does not hold the right to send"),
        "{refused}"
    );
    other.run_sent(second, at(4)).await.unwrap();
    assert_eq!(
        strays.try_intend(&db, 5).await.unwrap(),
        Recorded::Known,
        "it is free"
    );
    let refused = db.begin_run(run_of("Newer", &["c"], 6)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Busy(_)), "and taken now: {refused}");
}

#[tokio::test]
async fn who_lost_its_sites_while_it_was_cut_off_sends_nothing_more() {
    let Some(home) = Postgres::begin() else { return };
    let (db, other) = (home.open(), home.open_by(bob()).unwrap());
    let first = db.begin_run(run_of("New", &["a", "b"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(first, "New", 0);
    shop.put(&db, 1).await;
    // As if its network were gone for so long that the server has let go of it, and somebody else has come.
    sql(
        &home,
        "UPDATE stripe_propagate.runs SET epoch = epoch + 1 WHERE id = 1",
    )
    .await;
    let mut next = Shop::of(&db, "b", 2).await;
    next.order(first, "New", 2);
    let refused = next.try_intend(&db, 3).await.unwrap_err().to_string();
    assert!(refused.contains("does not hold the right"), "{refused}");
    assert!(db.run_sent(first, at(4)).await.is_err());
    assert_eq!(run(&other, first).await.sent, None);
    assert_eq!(other.attempts(Some(first), Some(&url("b")), 9).await.unwrap(), []);
    // What it sees is told as by anybody else.
    shop.look(&db, "New", 5).await;
    assert_eq!(row_words(&row(&other, first, "a").await), SERVING);
}

#[tokio::test]
async fn a_connection_that_is_cut_is_mended_and_nothing_is_lost_or_told_twice() {
    let Some(home) = Postgres::begin() else { return };
    let (db, other) = (home.open(), home.open_by(bob()).unwrap());
    let id = db.begin_run(run_of("New", &["a", "b"], 0)).await.unwrap();
    let mut shops = [Shop::of(&db, "a", 0).await, Shop::of(&db, "b", 0).await];
    for (shop, seconds) in shops.iter_mut().zip([1, 2]) {
        shop.order(id, "New", seconds);
        assert!(sql(&home, CUT).await > 0);
        shop.intend(&db, seconds).await;
        sql(&home, CUT).await;
        let answered = shop.answered(&db, PutVerdict::Stored, seconds).await;
        assert_eq!(answered, Recorded::Known);
        sql(&home, CUT).await;
        shop.look(&db, "New", seconds + 1).await;
    }
    assert!(run(&other, id).await.live, "the run is held again");
    let refused = other.begin_run(run_of("Newer", &["a"], 4)).await;
    assert!(matches!(refused, Err(StoreError::Busy(_))), "{refused:?}");
    for name in ["a", "b"] {
        let attempts = other.attempts(Some(id), Some(&url(name)), 99).await.unwrap();
        let told: Vec<_> = attempts
            .iter()
            .map(|told| (told.request.word(), told.ended))
            .collect();
        assert_eq!(told, [("PUT", true), ("GET", true)], "{name}");
        assert_eq!(row_words(&row(&other, id, name).await), SERVING);
    }
    assert_eq!(db.trouble().unwrap().borrow().clone(), None);
    assert!(db.run_sent(id, at(5)).await.is_ok());
}

#[tokio::test]
async fn what_waits_for_the_server_is_let_go_of_when_the_operator_ends_it() {
    let Some(home) = Postgres::begin() else { return };
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    // The server lets nobody in.
    let (base, _) = home.url.split_once('?').unwrap();
    let name = base.rsplit('/').next().unwrap();
    let lets_in = async |lets| {
        let server = home.url.replace(&format!("/{name}?"), "/postgres?");
        let mut conn = PgConnection::connect(&server).await.unwrap();
        let alter = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {lets}");
        sqlx::raw_sql(AssertSqlSafe(alter))
            .execute(&mut conn)
            .await
            .unwrap();
        let cut = CUT.replace("current_database()", &format!("'{name}'"));
        sqlx::raw_sql(AssertSqlSafe(cut))
            .execute(&mut conn)
            .await
            .unwrap();
    };
    lets_in(false).await;
    let mut trouble = db.trouble().unwrap();
    let ends = async {
        trouble.wait_for(Option::is_some).await.unwrap();
        db.give_up();
    };
    let ((), refused) = tokio::join!(ends, shop.try_intend(&db, 1));
    assert!(refused.is_err());
    let told = db.record(shop.record(None, 2)).await;
    assert!(told.unwrap_err().to_string().contains("the store in PostgreSQL"));
    assert!(db.flush(Duration::from_secs(5)).is_err());
    lets_in(true).await;
    // What has happened is kept, and the PUT that was not sent is not on record.
    trouble.wait_for(Option::is_none).await.unwrap();
    db.flush(Duration::from_mins(1)).unwrap();
    assert_eq!(db.attempts(Some(id), None, 9).await.unwrap(), []);
    assert!(row(&db, id, "a").await.at.is_some());
}

#[tokio::test]
async fn an_older_program_is_refused_also_when_it_runs_already() {
    let Some(home) = Postgres::begin() else { return };
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    sql(
        &home,
        "UPDATE stripe_propagate.meta SET value = 99 WHERE name = 'version'",
    )
    .await;
    for refused in [
        shop.try_intend(&db, 1).await.unwrap_err(),
        db.run_sent(id, at(2)).await.unwrap_err(),
        db.begin_run(run_of("New", &["b"], 3)).await.unwrap_err(),
        home.open_by(bob()).unwrap_err(),
    ] {
        let words = refused.to_string();
        let known = stripe_propagate::store::postgres::newest_version();
        let told = format!(
            "newer version of stripe-propagate (its format is 99, and this one knows {known}): use that"
        );
        assert!(words.contains(&told), "{words}");
    }
    assert_eq!(
        number(&home, "SELECT count(*) FROM stripe_propagate.attempts").await,
        0
    );
    assert_eq!(
        number(&home, "SELECT count(*) FROM stripe_propagate.runs").await,
        1
    );
}

#[tokio::test]
async fn several_programs_may_make_the_tables_at_once() {
    let Some(home) = Postgres::begin() else { return };
    let opened: Vec<_> = std::thread::scope(|scope| {
        let open = |_| scope.spawn(|| home.open());
        let all: Vec<_> = (0..4).map(open).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let ids = [
        opened[0].begin_run(run_of("New", &["a"], 0)).await.unwrap(),
        opened[3].begin_run(run_of("New", &["b"], 0)).await.unwrap(),
    ];
    assert_eq!(ids, [RunId(1), RunId(2)]);
    assert_eq!(opened[1].live_runs().await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_old_is_dropped_by_one_process_at_a_time() {
    let Some(home) = Postgres::begin() else { return };
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    db.close_run(id, at(1)).await.unwrap();
    let mut conn = PgConnection::connect(&home.url).await.unwrap();
    // "stprprun", as another process holds it that is at it.
    sqlx::query("SELECT pg_advisory_lock(x'737470727072756e'::bigint)")
        .execute(&mut conn)
        .await
        .unwrap();
    assert_eq!(db.prune(time(9)).await.unwrap(), 0);
    // A server frees what a connection held some time after that has ended.
    sqlx::query("SELECT pg_advisory_unlock(x'737470727072756e'::bigint)")
        .execute(&mut conn)
        .await
        .unwrap();
    assert_eq!(
        db.prune(time(9)).await.unwrap(),
        1,
        "it is done by who comes next"
    );
}

#[tokio::test]
async fn others_are_told_soon() {
    let Some(home) = Postgres::begin() else { return };
    let (db, other) = (home.open(), home.open_by(bob()).unwrap());
    let mut told = other.others().unwrap();
    told.changed().await.unwrap();
    db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    told.changed().await.unwrap();
    assert!(other.has_changed().await.unwrap());
    let live = other.live_runs().await.unwrap();
    let holder = &live[0].holder;
    assert_eq!((live.len(), holder.who().as_str()), (1, "ada on desk"));
    assert!(
        !db.live_runs().await.unwrap()[0].holder.is_elsewhere,
        "here it is"
    );
}

#[tokio::test]
#[ignore = "how quick it is: cargo test --release --test store records_a_second -- --ignored --nocapture"]
async fn records_a_second() {
    const EACH: u64 = 40;
    let Some(home) = Postgres::begin() else { return };
    let db = Arc::new(home.open());
    let shop = Shop::of(&*db, "a", 0).await;
    let begin = std::time::Instant::now();
    let waiters = (0..128_u64).map(|waiter| {
        let (db, record) = (Arc::clone(&db), shop.record(None, 1));
        tokio::spawn(async move {
            for _ in 0..EACH {
                let site = url(&format!("shop-{waiter}"));
                db.record(Record {
                    site,
                    ..record.clone()
                })
                .await
                .unwrap();
            }
        })
    });
    for waiter in waiters.collect::<Vec<_>>() {
        waiter.await.unwrap();
    }
    let count = u32::try_from(128 * EACH).unwrap();
    println!(
        "{:.0} records a second",
        f64::from(count) / begin.elapsed().as_secs_f64()
    );
}
