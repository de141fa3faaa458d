//! Workers that live, and are not heard of for longer than the queue bears with: their jobs are given to others.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stripe_propagate::demo::record::Record;

use super::ground::{Ground, LIMIT, Running, sharing};
use super::servers::{Kind, new_database, run};

const AT_ONCE: &str = "canary = 0\nstop_after = \"never\"";
/// The queue takes a worker for dead behind 15 s.
const TOO_LONG: Duration = Duration::from_secs(17);
const SITES: usize = 120;

/// Three workers, of which one has a chunk whose PUT is on its way until it is let go, and who pushes.
fn in_the_middle(url: &str) -> (Ground, [Running; 3], Running) {
    let timeout = Duration::from_secs(45);
    let ground = Ground::with_timeout(sharing(SITES, 40), url.to_owned(), AT_ONCE, timeout);
    ground.stage.fleet.hurry(10);
    ground.stage.fleet.hold_next_put(0);
    let first = ground.worker("one");
    let push = ground.push();
    let is_held = |record: &Record| record.held == [0];
    assert!(ground.stage.fleet.wait_until(LIMIT, is_held));
    let [second, third] = ["two", "three"].map(|name| ground.worker(name));
    (ground, [first, second, third], push)
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
    let (_, database) = url.rsplit_once('/').unwrap();
    let beside = Kind::Postgres.url(server.port, "postgres");
    let order = |statement: &str| run(Kind::Postgres, &beside, statement).unwrap();
    order(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"));
    order(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    ));
    sleep(TOO_LONG);
    order(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"));
    // All of them are late by now, and the first that looks gives the jobs of all to others.
    let begin = Instant::now();
    let given = "SELECT count(*) FROM stripe_propagate_jobs._private_jobs WHERE locked_by IS NOT NULL";
    while ground.asked(given) == 0 {
        assert!(begin.elapsed() < LIMIT);
        sleep(Duration::from_millis(100));
    }
    ground.stage.fleet.let_go(0);
    ends_well(&ground, push);
}

#[test]
fn a_worker_that_hung_and_comes_back_ends_its_chunk_and_nobody_waits_for_it_behind_that() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let (ground, workers, push) = in_the_middle(&url);
    workers[0].signal(Signal::STOP);
    let begin = Instant::now();
    let counted = "SELECT count(*) FROM stripe_propagate_jobs._private_workers";
    while ground.asked(counted) != 2 {
        assert!(begin.elapsed() < LIMIT, "it was not taken for dead");
        sleep(Duration::from_millis(200));
    }
    workers[0].signal(Signal::CONT);
    ground.stage.fleet.let_go(0);
    ends_well(&ground, push);
}
