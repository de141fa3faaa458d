//! Who coordinates a run ends it, dies, or has workers that cannot work.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stripe_propagate::store::Request;

use super::ground::{Ground, LIMIT, sharing};
use super::servers::{Kind, new_database};

const AT_ONCE: &str = "canary = 0\nstop_after = \"never\"";

fn ground(sites: usize, rollout: &str) -> Option<Ground> {
    let (_, url) = new_database(Kind::Postgres)?;
    Some(Ground::of(sharing(sites, 40), url, rollout))
}

#[test]
fn an_interrupted_push_takes_back_what_no_worker_has_begun_with() {
    let Some(ground) = ground(160, AT_ONCE) else {
        return;
    };
    let workers = ["one", "two", "three"].map(|name| ground.worker(name));
    let push = ground.push();
    ground.sees_puts(10);
    push.signal(Signal::INT);
    let ended = ground.follows(push);
    let summary = ended.has(130).events("summary").remove(0);
    let cancelled = summary["push"]["cancelled"].as_u64().unwrap_or_default();
    assert!(cancelled > 0, "{summary}");
    let puts = ground.is_true();
    assert!(puts < 160, "{puts}");
    // Nothing of it is left, and nothing more comes.
    assert_eq!(
        ground.asked("SELECT count(*) FROM stripe_propagate.chunks WHERE NOT done"),
        0
    );
    drop(workers);
    assert_eq!(ground.is_true(), puts);
}

#[test]
fn without_any_worker_a_push_waits_and_can_be_ended() {
    let Some(ground) = ground(4, AT_ONCE) else { return };
    let key = ground.stage.path("key.txt").display().to_string();
    let push = ground.start("pushes", &["push", "--key-file", &key, "--yes"]);
    push.says("no worker is there, so nothing of the run goes on");
    push.signal(Signal::INT);
    let ended = ground.follows(push);
    assert!(ended.has(130).out.contains(": 4 cancelled"), "{}", ended.out);
    assert_eq!(ground.is_true(), 0);
}

#[test]
fn behind_the_death_of_who_coordinates_workers_stop_and_a_resumption_finishes() {
    let Some(ground) = ground(160, AT_ONCE) else {
        return;
    };
    let workers = ["one", "two", "three"].map(|name| ground.worker(name));
    let push = ground.push();
    ground.sees_puts(5);
    push.signal(Signal::KILL);
    let open = "SELECT count(*) FROM stripe_propagate.chunks WHERE NOT done AND works_process IS NOT NULL";
    let begin = Instant::now();
    // What they have goes on until nobody has been there for too long, or is done before.
    while ground.asked(open) > 0 {
        assert!(begin.elapsed() < LIMIT);
        sleep(Duration::from_millis(200));
    }
    let resumed = loop {
        let resumed = ground.start("resumes", &["resume", "--yes", "--json"]).ends();
        let waits = format!("{}{}", resumed.out, resumed.err).contains("it may be back");
        if !waits && resumed.status.code() != Some(5) {
            break resumed;
        }
        assert!(begin.elapsed() < LIMIT, "{}\n{}", resumed.out, resumed.err);
    };
    resumed.has(0);
    assert!(ground.is_true() >= 160);
    ground.all_serve();
    drop(workers);
}

#[test]
fn a_wrong_master_key_of_the_workers_is_tried_on_two_sites_each_and_halts() {
    let Some(ground) = ground(120, AT_ONCE) else {
        return;
    };
    std::fs::write(ground.stage.path("master.key"), "wrong-master-key").unwrap();
    let _workers = ["one", "two", "three"].map(|name| ground.worker(name));
    let ended = ground.follows(ground.push());
    let halted = ended.has(4).events("halted");
    assert!(
        halted.iter().any(|line| line["why"] == "refused_key"),
        "{}",
        ended.out
    );
    let puts = ground.attempts();
    let puts = puts
        .iter()
        .filter(|attempt| attempt.request == Request::Put)
        .count();
    assert!((2..=6).contains(&puts), "{puts} sites saw the wrong key");
}

#[test]
fn a_worker_that_knows_its_key_to_be_wrong_ends_a_resumption_without_trying_it_again() {
    let Some(ground) = ground(20, AT_ONCE) else { return };
    std::fs::write(ground.stage.path("master.key"), "wrong-master-key").unwrap();
    let _worker = ground.worker("one");
    ground.follows(ground.push()).has(4);
    let resumed = ground.start("resumes", &["resume", "--yes", "--json"]);
    let resumed = ground.follows(resumed);
    let halted = resumed.has(4).events("halted");
    assert!(
        halted.iter().any(|line| line["why"] == "refused_key"),
        "{}",
        resumed.out
    );
    let summary = resumed.events("summary").remove(0);
    assert_eq!(summary["push"]["not_started"], 18, "{summary}");
    let puts = ground.attempts();
    let puts = puts.iter().filter(|attempt| attempt.request == Request::Put);
    assert_eq!(puts.count(), 2);
}

#[test]
fn a_site_that_a_worker_does_not_know_fails_and_says_why() {
    let Some(ground) = ground(6, AT_ONCE) else { return };
    let config = std::fs::read_to_string(ground.stage.path("config.toml")).unwrap();
    let (rest, last) = config.rsplit_once("\n[[sites]]").unwrap();
    // The worker reads its config at its start.
    std::fs::write(ground.stage.path("config.toml"), rest).unwrap();
    let _worker = ground.worker("one");
    std::fs::write(
        ground.stage.path("config.toml"),
        format!("{rest}\n[[sites]]{last}"),
    )
    .unwrap();
    let ended = ground.follows(ground.push());
    let results = ended.has(1).events("result");
    let failed: Vec<_> = results.iter().filter(|line| line["push"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{}", ended.out);
    assert!(
        failed[0]["note"]
            .as_str()
            .unwrap()
            .contains("not in the config of the worker"),
        "{failed:?}"
    );
    assert_eq!(failed[0]["cause"], "unknown_site");
    ground.is_true();
}

/// Its looks are chunks, too: no worker may take them for an order to begin anew with its PUTs.
#[test]
fn a_shop_that_never_answers_is_sent_to_as_often_as_without_workers() {
    use stripe_propagate::demo::FleetOptions;
    use stripe_propagate::demo::asked::{AskedFault, Share};
    use stripe_propagate::demo::faults::Fault;

    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let options = FleetOptions {
        sites: 6,
        faults: vec![AskedFault {
            fault: Fault::NeverAnswers,
            share: Share::Sites(2),
        }],
        ..FleetOptions::default()
    };
    let ground = Ground::of(options, url, AT_ONCE);
    let _workers = ["one", "two"].map(|name| ground.worker(name));
    let ended = ground.follows(ground.push());
    let results = ended.has(1).events("result");
    let unknown = results.iter().filter(|line| line["push"] == "unknown");
    assert_eq!(unknown.count(), 2, "{}", ended.out);
    let attempts = ground.attempts();
    let puts = attempts.iter().filter(|attempt| attempt.request == Request::Put);
    // Each of the two as often as a site is tried.
    assert_eq!(puts.count(), 4 + 2 * 3);
}

#[test]
fn workers_without_a_database_are_refused() {
    let Some(ground) = ground(2, AT_ONCE) else { return };
    let path = ground.stage.path("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let config = config.replace("url = { file = \"url\" }", "");
    std::fs::write(&path, &config).unwrap();
    let ended = ground.start("one", &["worker"]).ends();
    assert!(
        ended.has(2).err.contains("say where that is by url in [store]"),
        "{}",
        ended.err
    );
    // Also where nobody says that they make the calls.
    std::fs::write(&path, config.replace("enabled = true", "")).unwrap();
    let ended = ground.start("one", &["worker"]).ends();
    assert!(
        ended.has(2).err.contains("say where that is by url in [store]"),
        "{}",
        ended.err
    );
}
