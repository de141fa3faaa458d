//! What halts a run holds over all workers.

use std::fmt::Write;

use serde_json::Value;
use stripe_propagate::demo::FleetOptions;
use stripe_propagate::demo::asked::{AskedFault, Share};
use stripe_propagate::demo::faults::Fault;
use stripe_propagate::store::Request;

use super::ground::{Ended, Ground, PER_BACKEND};
use super::servers::{Kind, new_database, run};

/// Servers that the sites share.
const SERVERS: usize = 4;

/// Writes down when a PUT goes on record, and when a halt does.
const WATCH: &str = "
CREATE TABLE watched (what TEXT NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.watched (what) VALUES (TG_ARGV[0]); RETURN NULL; END $$;
CREATE TRIGGER puts AFTER INSERT ON stripe_propagate.attempts FOR EACH ROW
    WHEN (NEW.request = '\"put\"') EXECUTE FUNCTION watch('put');
CREATE TRIGGER halts AFTER UPDATE OF held ON stripe_propagate.runs FOR EACH ROW
    WHEN (NEW.held AND NOT OLD.held) EXECUTE FUNCTION watch('halt');
";

/// A fleet in which some sites say that they did not store the key, among others, and all share a few servers.
fn ground(failing: usize, sites: usize, rollout: &str) -> Option<Ground> {
    let (_, url) = new_database(Kind::Postgres)?;
    let options = FleetOptions {
        sites,
        faults: vec![AskedFault {
            fault: Fault::SaysNotStored,
            share: Share::Sites(failing),
        }],
        ..FleetOptions::default()
    };
    let ground = Ground::of(options, url, rollout);
    let config = std::fs::read_to_string(ground.stage.path("config.toml")).unwrap();
    let mut parts = config.split("\n[[sites]]");
    let mut shared = parts.next().unwrap().to_owned();
    for (index, part) in parts.enumerate() {
        let server = index % SERVERS;
        write!(shared, "\n[[sites]]\nbackend = \"server-{server}\"{part}").unwrap();
    }
    std::fs::write(ground.stage.path("config.toml"), shared).unwrap();
    Some(ground)
}

fn push(ground: &Ground) -> Ended {
    let _workers = ["one", "two", "three"].map(|name| ground.worker(name));
    let ended = ground.follows(ground.push());
    ended.has(4);
    ground.is_true();
    ended
}

#[test]
fn a_canary_that_fails_keeps_every_worker_from_all_else() {
    let Some(ground) = ground(1, 60, "") else { return };
    let fleet = &ground.stage.fleet;
    let is_sick = |site: &stripe_propagate::demo::FleetSite| site.fault == Fault::SaysNotStored;
    let sick = fleet.sites().iter().position(is_sick).unwrap();
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
    let Some(ground) = ground(60, 240, "canary = 0\nstop_after = 5") else {
        return;
    };
    // The tables are there behind the first command.
    ground.start("pushes", &["history"]).ends().has(0);
    run(Kind::Postgres, &ground.url, WATCH).unwrap();
    let ended = push(&ground);
    // What is sent behind the halt is what was on record before it: at most what was in flight.
    let behind = "SELECT count(*) FROM watched WHERE what = 'put' \
                  AND at > (SELECT min(at) FROM watched WHERE what = 'halt')";
    assert_eq!(ground.asked(behind), 0, "PUTs were put on record behind the halt");
    assert!(ground.asked("SELECT count(*) FROM watched WHERE what = 'put'") >= 5);
    let halted: Value = ended.events("halted").remove(0);
    let at: jiff::Timestamp = halted["at"].as_str().unwrap().parse().unwrap();
    let puts = ground.attempts();
    let puts = puts.iter().filter(|attempt| attempt.request == Request::Put);
    let behind = puts.clone().filter(|attempt| attempt.at > at).count();
    // Until it is on record each of the calls that a server may have at once can have ended, and another one begun.
    assert!(
        behind <= 2 * SERVERS * PER_BACKEND,
        "{behind} PUTs began behind the halt"
    );
    let late = at + jiff::SignedDuration::from_secs(1);
    let late = puts.filter(|attempt| attempt.at > late).count();
    assert_eq!(late, 0, "PUTs began a second behind the halt");
    let summary = ended.events("summary").remove(0);
    let left = summary["push"]["not_started"].as_u64().unwrap_or_default();
    assert!(left > 0, "{summary}");
}

#[test]
fn waves_follow_each_other_over_all_workers_and_a_word_between_them_lets_the_next_go() {
    let Some(ground) = ground(0, 40, "canary = 1\nwaves = [\"25%\", \"100%\"]\npause = \"ask\"") else {
        return;
    };
    // A live key has its canary by itself, a test key where the config says so; with --yes the waves go on.
    let _workers = ["one", "two", "three"].map(|name| ground.worker(name));
    ground.follows(ground.push()).verified(40);
    let mut puts = ground.attempts();
    puts.retain(|attempt| attempt.request == Request::Put);
    puts.sort_by_key(|attempt| attempt.at);
    let ended = |put: &stripe_propagate::store::StoredAttempt| {
        put.at + jiff::SignedDuration::from_millis(put.ms.unwrap_or_default().cast_signed())
    };
    // The canary first, then a quarter of all, then the rest: each when all before it have ended.
    for first_of_wave in [1, 10] {
        let (before, behind) = puts.split_at(first_of_wave);
        let last = before.iter().map(ended).max().unwrap();
        assert!(behind[0].at >= last, "{first_of_wave}: {:?}", behind[0]);
    }
    assert_eq!(ground.is_true(), 40);
}
