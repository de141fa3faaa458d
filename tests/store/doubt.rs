//! A store in PostgreSQL whose connection is lost at the worst moment: between a COMMIT and its answer, or while what
//! waits cannot be written.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stripe_propagate::rules::outcome::PutVerdict;
use stripe_propagate::store::postgres::PostgresStore;
use stripe_propagate::store::{Outcome, Record, Recorded, Request, Store, StoreError};

use crate::shared::{bob, number, sql};
use crate::shop::{Home, Postgres, SERVING, Shop, at, row, row_words, run, run_of, url};

/// Passes on what programs and the server say. Where it is `armed`, it passes on the next COMMIT, and ends the connection
/// in the place of its answer; from then on it lets nobody in, until it is told to.
#[derive(Clone, Default)]
struct Between {
    armed: Arc<AtomicBool>,
    shut: Arc<AtomicBool>,
}

impl Between {
    /// A store that is reached through it.
    fn open(&self, home: &Postgres) -> PostgresStore {
        let (url, folder) = home.url.split_once("?host=").unwrap();
        let server = url.rsplit(':').next().unwrap().split('/').next().unwrap();
        let port = self.listens_in(Path::new(folder).join(format!(".s.PGSQL.{server}")));
        let through = url.replace(&format!(":{server}/"), &format!(":{port}/"));
        let url = format!("{through}?sslmode=disable");
        Postgres { url }.open()
    }

    fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Whether it has ended a connection since it was armed.
    fn has_cut(&self) -> bool {
        !self.armed.load(Ordering::SeqCst)
    }

    fn lets_in(&self) {
        self.shut.store(false, Ordering::SeqCst);
    }

    fn listens_in(&self, socket: PathBuf) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let between = self.clone();
        std::thread::spawn(move || {
            for program in listener.incoming().flatten() {
                if between.shut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = UnixStream::connect(&socket) else {
                    continue;
                };
                let answers = (server.try_clone().unwrap(), program.try_clone().unwrap());
                let ends = program.try_clone().unwrap();
                let committed = Arc::new(AtomicBool::new(false));
                let cuts = Arc::clone(&committed);
                std::thread::spawn(move || {
                    pass_on(answers.0, answers.1, |_| !cuts.load(Ordering::SeqCst));
                    let _closed = ends.shutdown(Shutdown::Both);
                });
                let between = between.clone();
                std::thread::spawn(move || {
                    pass_on(program, server, |said| {
                        let commits = said.windows(7).any(|part| part == b"COMMIT\0");
                        if commits && between.armed.swap(false, Ordering::SeqCst) {
                            between.shut.store(true, Ordering::SeqCst);
                            committed.store(true, Ordering::SeqCst);
                        }
                        true
                    });
                });
            }
        });
        port
    }
}

fn pass_on(mut from: impl Read, mut to: impl Write, passes: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !passes(&buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
}

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
