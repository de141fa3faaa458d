//! What halts a run holds over all workers.

use serde_json::Value;
use stripe_propagate::demo::FleetOptions;
use stripe_propagate::demo::asked::{AskedFault, Share};
use stripe_propagate::demo::faults::Fault;
use stripe_propagate::store::Request;

use super::ground::{Ended, Ground, PER_BACKEND};
use super::servers::{Kind, new_database};

/// Some sites that say that they did not store the key, among others.
fn some_fail(failing: usize, sites: usize) -> FleetOptions {
    FleetOptions {
        sites,
        faults: vec![
            AskedFault {
                fault: Fault::SaysNotStored,
                share: Share::Sites(failing),
            },
            AskedFault {
                fault: Fault::SharedBackend,
                share: Share::Sites(sites - failing),
            },
        ],
        of_a_server: 40,
        ..FleetOptions::default()
    }
}

fn push(ground: &Ground) -> Ended {
    let _workers = ["one", "two", "three"].map(|name| ground.worker(name));
    let ended = ground.push().ends();
    ended.has(4);
    ground.is_true();
    ended
}

#[test]
fn a_canary_that_fails_keeps_every_worker_from_all_else() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let ground = Ground::of(some_fail(1, 60), url, "");
    let fleet = &ground.stage.fleet;
    let sick = fleet
        .sites()
        .iter()
        .position(|site| site.fault == Fault::SaysNotStored);
    let sick = sick.unwrap();
    let config = std::fs::read_to_string(ground.stage.path("config.toml")).unwrap();
    let name = &fleet.sites()[sick].name;
    let config = config.replace("[rollout]\n", &format!("[rollout]\ncanary = [\"{name}\"]\n"));
    std::fs::write(ground.stage.path("config.toml"), config).unwrap();
    let ended = push(&ground);
    let halted = ended.events("halted");
    assert!(halted.iter().any(|line| line["why"] == "canary"), "{}", ended.out);
    let record = fleet.record();
    for index in 0..fleet.sites().len() {
        assert_eq!(record.puts(index).is_empty(), index != sick, "{index}");
    }
}

#[test]
fn behind_a_halt_no_worker_begins_with_another_site() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let ground = Ground::of(some_fail(80, 240), url, "canary = 0\nstop_after = 5");
    let ended = push(&ground);
    let halted: Value = ended.events("halted").remove(0);
    let at: jiff::Timestamp = halted["at"].as_str().unwrap().parse().unwrap();
    let puts = ground.attempts();
    let puts = puts.iter().filter(|attempt| attempt.request == Request::Put);
    let behind = puts.clone().filter(|attempt| attempt.at > at).count();
    // Three workers, and each has at most as many calls out as it may have.
    let most = 3 * 16;
    assert!(behind <= most, "{behind} PUTs began behind the halt");
    let late = at + jiff::SignedDuration::from_secs(1);
    let late = puts.filter(|attempt| attempt.at > late).count();
    assert_eq!(late, 0, "PUTs began a second behind the halt");
    let summary = ended.events("summary").remove(0);
    let left = summary["push"]["not_started"].as_u64().unwrap_or_default();
    assert!(left > 0 && PER_BACKEND > 0, "{summary}");
}
