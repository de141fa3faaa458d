//! Workers that live, and are not heard of for longer than the queue bears with: their jobs are given to others.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stripe_propagate::demo::record::Record;

use super::ground::{Ground, LIMIT, Running, sharing, text};
use super::servers::{Kind, new_database, run};

const AT_ONCE: &str = "canary = 0\nstop_after = \"never\"";
/// The queue takes a worker for dead behind 15 s.
const TOO_LONG: Duration = Duration::from_secs(17);
/// One chunk for each server: so that the job that is given to another is that of the chunk.
const OF_A_SERVER: usize = 32;
const SITES: usize = 3 * OF_A_SERVER;

/// Three workers, of which one has a chunk whose PUT is on its way until it is let go, and who pushes.
fn in_the_middle(url: &str) -> (Ground, [Running; 3], Running) {
    let timeout = Duration::from_secs(45);
    let ground = Ground::with_timeout(sharing(SITES, OF_A_SERVER), url.to_owned(), AT_ONCE, timeout);
    ground.stage.fleet.hurry(10);
    ground.stage.fleet.hold_next_put(0);
    let first = ground.worker("one");
    let push = ground.push();
    let is_held = |record: &Record| record.held == [0];
    assert!(ground.stage.fleet.wait_until(LIMIT, is_held));
    let [second, third] = ["two", "three"].map(|name| ground.worker(name));
    (ground, [first, second, third], push)
}

/// What the queue says of the job of the chunk whose PUT is on its way.
fn of_the_job(ground: &Ground, what: &str) -> String {
    let url = &ground.stage.fleet.sites()[0].url;
    let job = format!(
        "SELECT {what} FROM stripe_propagate_jobs._private_jobs j \
         JOIN stripe_propagate.chunks c ON j.key = c.run || '/' || c.wave || '/' || c.chunk \
         JOIN stripe_propagate.sites s ON s.id = ANY(c.sites) WHERE s.url = '{url}' AND NOT c.done"
    );
    text(&ground.url, &job)
}

/// Which worker of the queue has it.
fn has_the_job(ground: &Ground) -> String {
    of_the_job(ground, "max(j.locked_by)")
}

/// Until another one than before has it, or has put it back to rest, though the one that had it lives.
fn is_given_to_another(ground: &Ground, before: &str) {
    assert!(!before.is_empty());
    let given = format!(
        "(count(*) FILTER (WHERE j.locked_by <> '{before}' OR j.locked_by IS NULL AND j.run_at > j.updated_at))::text"
    );
    let begin = Instant::now();
    while of_the_job(ground, &given) != "1" {
        assert!(begin.elapsed() < LIMIT, "nobody else took the job");
        sleep(Duration::from_millis(100));
    }
}

/// All have ended well, and nothing is left of it that could stand in the way of the next run.
fn ends_well(ground: &Ground, push: Running) {
    ground.follows(push).verified(SITES);
    assert_eq!(ground.is_true(), SITES, "nothing was sent twice");
    ground.all_serve();
    let left = "SELECT count(*) FROM stripe_propagate_jobs._private_jobs";
    let locked = "SELECT count(*) FROM stripe_propagate_jobs._private_job_queues WHERE locked_by IS NOT NULL";
    let begin = Instant::now();
    while ground.asked(left) + ground.asked(locked) > 0 {
        assert!(begin.elapsed() < LIMIT, "jobs or locks are left");
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn behind_a_long_outage_of_the_database_a_run_goes_on_with_the_workers_that_it_had() {
    let Some((server, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let (ground, _workers, push) = in_the_middle(&url);
    let before = has_the_job(&ground);
    let (_, database) = url.rsplit_once('/').unwrap();
    let beside = Kind::Postgres.url(server.port, "postgres");
    let order = |statement: &str| run(Kind::Postgres, &beside, statement).unwrap();
    order(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"));
    order(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    ));
    sleep(TOO_LONG);
    order(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"));
    // What a worker whose look at the others comes before their words does with all of them.
    let finds_all_dead = "SELECT stripe_propagate_jobs.recover_dead_worker_jobs(array_agg(id)) \
                          FROM stripe_propagate_jobs._private_workers";
    run(Kind::Postgres, &ground.url, finds_all_dead).unwrap();
    is_given_to_another(&ground, &before);
    ground.stage.fleet.let_go(0);
    ends_well(&ground, push);
}

#[test]
fn a_worker_that_hung_and_comes_back_ends_its_chunk_and_nobody_waits_for_it_behind_that() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let (ground, workers, push) = in_the_middle(&url);
    let before = has_the_job(&ground);
    workers[0].signal(Signal::STOP);
    is_given_to_another(&ground, &before);
    workers[0].signal(Signal::CONT);
    ground.stage.fleet.let_go(0);
    ends_well(&ground, push);
}

#[test]
fn a_run_whose_chunks_the_database_has_lost_makes_them_anew() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let ground = Ground::of(sharing(12, 4), url, AT_ONCE);
    let push = ground.push();
    let made = "SELECT CASE WHEN to_regclass('stripe_propagate.chunks') IS NULL THEN 0 ELSE \
                (xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM stripe_propagate.chunks', \
                false, true, '')))[1]::text::bigint END";
    let wait_for_chunks = || {
        let begin = Instant::now();
        while ground.asked(made) == 0 {
            assert!(begin.elapsed() < LIMIT, "no chunk is there\n{}", ground.state());
            sleep(Duration::from_millis(100));
        }
    };
    wait_for_chunks();
    // As a standby that was promoted too early.
    let loses = "DELETE FROM stripe_propagate_jobs._private_jobs; DELETE FROM stripe_propagate.chunks";
    run(Kind::Postgres, &ground.url, loses).unwrap();
    wait_for_chunks();
    let _worker = ground.worker("one");
    ground.follows(push).verified(12);
    assert_eq!(ground.is_true(), 12);
}
