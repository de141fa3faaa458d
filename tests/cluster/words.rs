//! What operators are told of workers, on either side.

use std::time::Duration;

use rustix::process::Signal;

use super::ground::{Ground, LIMIT, sharing};
use super::servers::{Kind, new_database};

const AT_ONCE: &str = "canary = 0\nstop_after = \"never\"";

fn ground(sites: usize) -> Option<Ground> {
    let (_, url) = new_database(Kind::Postgres)?;
    Some(Ground::of(sharing(sites, 10), url, AT_ONCE))
}

/// The config of a worker whose master key is wrong.
fn with_another_key(ground: &Ground) -> &'static str {
    let config = std::fs::read_to_string(ground.stage.path("config.toml")).unwrap();
    let config = config
        .replace("\"master.key\"", "\"other.key\"")
        .replace("concurrency = 16", "concurrency = 1");
    std::fs::write(ground.stage.path("wrong.toml"), config).unwrap();
    // The file has the modes of another secret.
    std::fs::copy(ground.stage.path("master.key"), ground.stage.path("other.key")).unwrap();
    std::fs::write(ground.stage.path("other.key"), "of-another-fleet-0123456789").unwrap();
    "wrong.toml"
}

/// The config of a worker that knows the first sites alone.
fn with_sites(ground: &Ground, sites: usize) -> &'static str {
    let config = std::fs::read_to_string(ground.stage.path("config.toml")).unwrap();
    let parts: Vec<&str> = config.split("\n[[sites]]").take(1 + sites).collect();
    std::fs::write(ground.stage.path("few.toml"), parts.join("\n[[sites]]")).unwrap();
    "few.toml"
}

#[test]
fn whose_master_key_is_refused_stands_in_the_halt_in_the_notes_and_on_the_terminal_of_that_worker() {
    let Some(ground) = ground(20) else { return };
    let (worker, host) = ground.worker_elsewhere("shops-b", with_another_key(&ground));
    let ended = ground.follows(ground.push());
    worker.says("run 1: push of pk_test_");
    worker.says("run 1: two sites refused a master key that this worker has");
    let halted = ended.has(4).events("halted").remove(0);
    let by = format!("(asked by the worker on {host})");
    assert!(halted["note"].as_str().unwrap().ends_with(&by), "{halted}");
    let results = ended.events("result");
    let mut notes = results.iter().map(|result| result["note"].as_str().unwrap());
    let asked = format!("the worker on {host} asked");
    let tells = |note: &str| note.starts_with("refuses the master key") && note.contains(&asked);
    assert!(notes.any(tells), "{}", ended.out);
}

#[test]
fn sites_that_a_worker_does_not_know_make_one_line_on_either_side_and_say_so_in_their_notes() {
    let Some(ground) = ground(10) else { return };
    let names: Vec<String> = ground.stage.fleet.sites()[5..]
        .iter()
        .map(|site| site.name.clone())
        .collect();
    let (worker, host) = ground.worker_elsewhere("shops-b", with_sites(&ground, 5));
    let key = ground.stage.path("key.txt").display().to_string();
    let push = ground.start("pushes", &["push", "--key-file", &key, "--yes"]);
    let ended = ground.follows(push);
    worker.says("run 1: this worker's config does not know 5 sites of it: ");
    let told = format!("run 1: the worker on {host} does not know 5 sites of it: ");
    let lines: Vec<&str> = ended
        .err
        .lines()
        .filter(|line| line.contains("does not know"))
        .collect();
    assert!(matches!(lines[..], [line] if line.contains(&told)), "{lines:?}");
    assert!(names.iter().all(|name| lines[0].contains(name)), "{lines:?}");
    let note = format!("not in the config of the worker that was to do so: the worker on {host}");
    assert_eq!(ended.out.matches(&note).count(), 5, "{}", ended.out);
    assert!(!ended.out.contains("master key"), "{}", ended.out);
}

#[test]
fn what_a_run_gives_back_unsent_says_nothing_of_the_worker_of_the_run_before() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let ground = Ground::of(sharing(8, 1), url, AT_ONCE);
    let key = ground.stage.path("key.txt").display().to_string();
    let push = || ground.start("pushes", &["push", "--key-file", &key, "--yes"]);
    let (worker, _) = ground.worker_elsewhere("shops-b", with_sites(&ground, 4));
    let ended = ground.follows(push());
    assert!(ended.has(1).err.contains("does not know"), "{}", ended.err);
    drop(worker);
    let (_worker, _) = ground.worker_elsewhere("shops-c", with_another_key(&ground));
    let ended = ground.follows(push());
    let lines = ended.has(4).err.lines();
    let told: Vec<&str> = lines
        .filter(|line| line.contains("run 2: the worker on"))
        .collect();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_worker_of_which_nothing_is_heard_is_told_of_once_and_so_is_that_it_is_back() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    // Its lease is longer than what it hangs for: its sites stay its own.
    let ground = Ground::with_timeout(sharing(20, 10), url, AT_ONCE, Duration::from_secs(20));
    ground.stage.fleet.hurry(10);
    ground.stage.fleet.hold_next_put(0);
    let (hangs, host) = ground.worker_elsewhere("shops-b", "config.toml");
    let key = ground.stage.path("key.txt").display().to_string();
    let push = ground.start("pushes", &["push", "--key-file", &key, "--yes"]);
    let is_held = |record: &stripe_propagate::demo::record::Record| record.held == [0];
    assert!(ground.stage.fleet.wait_until(LIMIT, is_held));
    let _other = ground.worker("one");
    hangs.signal(Signal::STOP);
    push.says(&format!("the worker on {host} was not heard of for "));
    hangs.signal(Signal::CONT);
    push.says(&format!("the worker on {host} is heard of again"));
    ground.stage.fleet.let_go(0);
    let ended = ground.follows(push);
    ended.has(0);
    // Once more, in the log.
    let told = ended.err.matches("was not heard of for").count();
    assert_eq!(told, 1, "{}", ended.err);
}

#[test]
fn how_many_workers_are_there_is_told_before_anything_is_sent_and_by_info() {
    let Some(ground) = ground(10) else { return };
    let info = || -> serde_json::Value {
        let ended = ground.start("pushes", &["info", "--format", "json"]).ends();
        serde_json::from_str(&ended.has(0).out).unwrap()
    };
    let told = info();
    assert_eq!(told["program"]["has_workers"], true);
    assert_eq!(
        told["cluster"],
        serde_json::json!({ "enabled": true, "workers": [] })
    );
    let key = ground.stage.path("key.txt").display().to_string();
    let push = ground.start("pushes", &["push", "--key-file", &key, "--yes"]);
    push.says(
        "warning: no worker is there, and without one nothing is sent: start `stripe-propagate worker`",
    );
    let (_worker, host) = ground.worker_elsewhere("shops-b", "config.toml");
    ground.follows(push).has(0);
    assert_eq!(info()["cluster"]["workers"], serde_json::json!([host]));
    let again = ground.start("pushes", &["push", "--key-file", &key, "--yes"]);
    again.says(&format!("calls are made by 1 worker ({host})"));
    ground.follows(again).has(0);
}

#[test]
fn a_worker_without_its_store_ends_so_that_it_is_started_anew_and_with_a_wrong_config_so_that_it_is_not() {
    let Some(ground) = ground(1) else { return };
    let away = ground.url.replace("127.0.0.1", "127.0.0.2");
    std::fs::write(ground.stage.path("url"), "mysql://127.0.0.1/shops").unwrap();
    ground.start("one", &["worker"]).ends().has(2);
    std::fs::write(ground.stage.path("url"), away).unwrap();
    let ended = ground.start("one", &["worker"]).ends();
    assert!(
        ended
            .has(1)
            .err
            .contains("no work taken: the store in PostgreSQL"),
        "{}",
        ended.err
    );
    let unit = include_str!("../../packaging/systemd/stripe-propagate-worker.service");
    for line in [
        "Restart=on-failure",
        "RestartPreventExitStatus=2 5",
        "StartLimitIntervalSec=0",
    ] {
        assert!(unit.lines().any(|unit| unit == line), "{line}");
    }
}
