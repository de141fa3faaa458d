//! A worker that is killed, and a server of PostgreSQL that crashes, in the middle of a push.

use rustix::process::Signal;

use super::ground::{Ground, sharing};
use super::servers::{Kind, crash, own_postgres};

/// Sites of the fleet: `CLUSTER_SITES` says how many.
fn sites() -> usize {
    let asked = std::env::var("CLUSTER_SITES").ok();
    asked.and_then(|sites| sites.parse().ok()).unwrap_or(300)
}

#[test]
fn three_workers_of_which_one_dies_prove_every_site_through_a_crash_of_the_server() {
    let Some(server) = own_postgres() else { return };
    let sites = sites();
    let url = Kind::Postgres.url(server.port, "postgres");
    let ground = Ground::of(sharing(sites, 40), url, "canary = 0\nstop_after = \"never\"");
    let workers = ["one", "two", "three"].map(|name| ground.worker(name));
    let push = ground.push();
    ground.sees_puts(sites / 4);
    workers[0].signal(Signal::KILL);
    ground.sees_puts(sites / 2);
    crash(&server);
    let ended = push.ends();
    ended.verified(sites);
    let puts = ground.is_true();
    ground.all_serve();
    assert!(puts >= sites, "{puts}");
    for worker in workers.into_iter().skip(1) {
        worker.signal(Signal::TERM);
        worker.ends().has(0);
    }
}
