//! A worker that is killed, and a server of PostgreSQL that crashes, in the middle of a push.

use std::time::Duration;

use rustix::process::Signal;

use super::ground::{Ground, LIMIT, sharing};
use super::servers::{Kind, crash, new_database, own_postgres};

/// Sites of the fleet: `CLUSTER_SITES` says how many.
fn sites() -> usize {
    let asked = std::env::var("CLUSTER_SITES").ok();
    asked.and_then(|sites| sites.parse().ok()).unwrap_or(3000)
}

#[test]
fn three_workers_of_which_one_dies_prove_every_site_through_a_crash_of_the_server() {
    let Some(server) = own_postgres() else { return };
    let sites = sites();
    let url = Kind::Postgres.url(server.port, "postgres");
    // The queue gives a dead worker's jobs to others after 20 s, and a site whose PUT hangs on its way lets a look hang
    // for 10 s: long before its PUT may be taken for over.
    let timeout = Duration::from_secs(45);
    let careless = "canary = 0\nstop_after = \"never\"";
    let ground = Ground::with_timeout(sharing(sites, 40), url, careless, timeout);
    ground.stage.fleet.hurry(10);
    // It stays on its way: whoever takes up the chunk sees the old key, and sends anew.
    ground.stage.fleet.hold_next_put(0);
    let first = ground.worker("one");
    let push = ground.push();
    let is_held = |record: &stripe_propagate::demo::record::Record| record.held == [0];
    assert!(ground.stage.fleet.wait_until(LIMIT, is_held));
    let others = ["two", "three"].map(|name| ground.worker(name));
    first.signal(Signal::KILL);
    ground.sees_puts(sites / 2);
    crash(&server);
    let ended = ground.follows(push);
    ground.stage.fleet.let_go(0);
    ended.verified(sites);
    let puts = ground.is_true();
    ground.all_serve();
    assert!(puts > sites, "the PUT that was lost went again: {puts}");
    for worker in others {
        worker.signal(Signal::TERM);
        worker.ends().has(0);
    }
}

#[test]
fn a_put_in_doubt_stays_in_doubt_where_the_next_worker_does_not_know_its_site() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let ground = Ground::of(sharing(4, 2), url, "canary = 0\nstop_after = \"never\"");
    let config = std::fs::read_to_string(ground.stage.path("config.toml")).unwrap();
    let held = ground.stage.fleet.sites().len() - 1;
    ground.stage.fleet.hold_next_put(held);
    let first = ground.worker("one");
    let push = ground.push();
    let is_held = |record: &stripe_propagate::demo::record::Record| record.held == [held];
    assert!(ground.stage.fleet.wait_until(LIMIT, is_held));
    // Its PUT is out, and nobody will ever hear of it.
    first.signal(Signal::KILL);
    let (others, _last) = config.rsplit_once("\n[[sites]]").unwrap();
    std::fs::write(ground.stage.path("config.toml"), others).unwrap();
    let _second = ground.worker("two");
    let ended = ground.follows(push);
    ground.stage.fleet.let_go(held);
    let name = &ground.stage.fleet.sites()[held].name;
    let results = ended.has(1).events("result");
    let result = results.iter().find(|line| line["site"] == name.as_str()).unwrap();
    assert_eq!(result["push"], "unknown", "{result}");
}
