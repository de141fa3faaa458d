//! Jobs: done once, given back, without secrets.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use super::ground::{Ground, sharing};
use super::servers::{Kind, new_database, run};

const AT_ONCE: &str = "canary = 0\nstop_after = \"never\"";

#[test]
fn a_chunk_that_is_enqueued_twice_is_done_once_and_its_job_holds_numbers_only() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let ground = Ground::with_timeout(sharing(20, 10), url, AT_ONCE, Duration::from_secs(20));
    ground.stage.fleet.hurry(10);
    let push = ground.push();
    let begin = std::time::Instant::now();
    let jobs = "SELECT CASE WHEN to_regclass('stripe_propagate.chunks') IS NULL THEN 0 ELSE \
                (xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM stripe_propagate.chunks', \
                false, true, '')))[1]::text::bigint END";
    while ground.asked(jobs) < 2 {
        assert!(begin.elapsed() < super::ground::LIMIT);
        sleep(Duration::from_millis(100));
    }
    let again = "SELECT stripe_propagate_jobs.add_job('chunk', json_build_object('run', run, 'wave', wave, 'chunk', \
                 chunk), job_key => 'again ' || chunk) FROM stripe_propagate.chunks";
    run(Kind::Postgres, &ground.url, again).unwrap();
    let more = "SELECT count(*) FROM stripe_propagate_jobs._private_jobs j WHERE json_typeof(j.payload) <> 'object' OR \
                (SELECT array_agg(key || ' ' || json_typeof(value) ORDER BY key) FROM json_each(j.payload)) \
                IS DISTINCT FROM ARRAY['chunk number', 'run number', 'wave number']";
    assert_eq!(ground.asked(more), 0, "more than numbers");
    let _workers = ["one", "two"].map(|name| ground.worker(name));
    ground.follows(push).verified(20);
    assert_eq!(ground.is_true(), 20);
}

#[test]
fn a_worker_that_is_told_to_end_lets_its_requests_end_and_gives_the_rest_back() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let ground = Ground::with_timeout(sharing(60, 30), url, AT_ONCE, Duration::from_secs(20));
    ground.stage.fleet.hurry(10);
    ground.stage.fleet.hold_next_put(20);
    let mut first = ground.worker("one");
    let push = ground.push();
    let is_held = |record: &stripe_propagate::demo::record::Record| record.held == [20];
    assert!(ground.stage.fleet.wait_until(super::ground::LIMIT, is_held));
    first.signal(Signal::TERM);
    first.says("takes no more work");
    assert!(!first.has_ended());
    ground.stage.fleet.let_go(20);
    first.ends().has(0);
    let before = ground.is_true();
    assert!(before < 60, "it was not in the middle of it");
    let _second = ground.worker("two");
    ground.follows(push).verified(60);
    // Nothing was sent twice for that.
    assert_eq!(ground.is_true(), 60);
}
