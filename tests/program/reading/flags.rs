//! Flags that no other test has a use for.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use stripe_propagate::demo::faults::Fault;

use super::{Stage, bare, err, out, stage::schema};

#[test]
fn a_demo_without_a_screen_pushes_to_the_sites_that_were_asked_for() {
    let demo = ["demo", "--headless", "--rollout", "--sites", "2", "--seed", "1"];
    let folder = tempfile::tempdir().unwrap();
    let ended = bare(&demo).env("HOME", folder.path()).output().unwrap();
    let told = String::from_utf8(ended.stdout).unwrap();
    let code = ended.status.code();
    assert!(told.contains("2 sites in"), "{code:?} {told}");
    assert!(told.contains("The demo's sites saw"), "{told}");
    assert!(
        !folder
            .path()
            .join(".local/state/stripe-propagate/store.db")
            .exists()
    );
}

#[test]
fn a_demo_that_serves_writes_what_the_real_commands_need() {
    let folder = tempfile::tempdir().unwrap();
    let shops = folder.path().join("my shops").display().to_string();
    fs::create_dir(&shops).unwrap();
    let mut serves = bare(&["demo", "--sites", "24", "--seed", "1", "--serve", &shops])
        .env("HOME", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(serves.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("24 sites on this machine, "), "{first}");
    let told: Vec<String> = lines
        .by_ref()
        .map(Result::unwrap)
        .take_while(|line| !line.contains(" push "))
        .collect();
    assert!(
        told.iter()
            .any(|line| line.contains("takes another master key") && line.trim().starts_with("1 ")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|line| line.ends_with(&format!("--config '{shops}/config.toml'"))),
        "{told:?}"
    );
    nobody_else_serves(&shops);
    let config = format!("{shops}/config.toml");
    let listed = bare(&["--config", &config, "sites", "--format", "json"])
        .env("HOME", folder.path())
        .output()
        .unwrap();
    assert_eq!(
        schema::document("sites", &out(&listed))["sites"]
            .as_array()
            .unwrap()
            .len(),
        24
    );
    its_runs_stay_there(folder.path(), &shops);
    kill_process(Pid::from_child(&serves), Signal::USR2).unwrap();
    let mended = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.starts_with("mended "));
    assert!(mended.is_some());
    kill_process(Pid::from_child(&serves), Signal::TERM).unwrap();
    assert_eq!(serves.wait().unwrap().code(), Some(0));
}

/// A second demo would take the files of the first one away.
fn nobody_else_serves(shops: &str) {
    let second = bare(&["demo", "--sites", "1", "--serve", shops])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(
        err(&second).contains("serves") && err(&second).contains("already"),
        "{}",
        err(&second)
    );
}

/// What a push to its sites leaves is in their folder, and not among the operator's own.
fn its_runs_stay_there(home: &Path, shops: &str) {
    let config = format!("{shops}/config.toml");
    let key = format!("{shops}/key.txt");
    let pushed = bare(&[
        "--config",
        &config,
        "push",
        "--yes",
        "--wait",
        "0",
        "--key-file",
        &key,
    ])
    .env("HOME", home)
    .output()
    .unwrap();
    assert!(matches!(pushed.status.code(), Some(1 | 3)), "{}", err(&pushed));
    assert!(Path::new(shops).join("store.db").exists());
    let mut mistyped = fs::read_to_string(&key).unwrap().trim().to_owned();
    let last = if mistyped.ends_with('a') { "b" } else { "a" };
    mistyped.replace_range(mistyped.len() - 1.., last);
    let file = format!("{shops}/mistyped.txt");
    fs::write(&file, mistyped).unwrap();
    let arguments = ["--config", &config, "push", "--yes", "--key-file", &file];
    let refused = bare(&arguments).env("HOME", home).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", err(&refused));
    assert!(
        err(&refused).contains("is not known to Stripe"),
        "{}",
        err(&refused)
    );
    assert!(
        !home.join(".local").exists(),
        "nothing is left among the operator's own"
    );
}

#[test]
fn a_demo_that_is_only_read_pushes_nothing() {
    let refused = bare(&["--read-only", "demo", "--headless", "--sites", "1"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        err(&refused).contains("leave out one of the two"),
        "{}",
        err(&refused)
    );
    assert!(refused.stdout.is_empty());
}

#[test]
fn a_demo_replaces_no_file_but_a_demos() {
    let folder = tempfile::tempdir().unwrap();
    let shops = folder.path().join("shops");
    fs::create_dir(&shops).unwrap();
    let demo = || {
        let arguments = ["demo", "--sites", "1", "--serve", shops.to_str().unwrap()];
        let mut serves = bare(&arguments)
            .env("HOME", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(serves.stdout.take().unwrap()).lines().next();
        kill_process(Pid::from_child(&serves), Signal::TERM).unwrap();
        (said.is_some(), serves.wait_with_output().unwrap())
    };
    fs::write(shops.join("master.key"), "a-real-master-key").unwrap();
    let (_, refused) = demo();
    assert_eq!(refused.status.code(), Some(2));
    assert!(err(&refused).contains("name another folder"), "{}", err(&refused));
    fs::remove_file(shops.join("master.key")).unwrap();
    assert!(demo().0);
    fs::write(shops.join("store.db"), "of sites that are gone").unwrap();
    assert!(demo().0, "it takes the place of a demo before");
    assert!(!shops.join("store.db").exists());
    let at_work = fs::File::create(shops.join("store.db.run-1.live")).unwrap();
    at_work.lock().unwrap();
    let (_, refused) = demo();
    assert!(
        err(&refused).contains("a run on the sites of the demo before goes on"),
        "{}",
        err(&refused)
    );
    at_work.unlock().unwrap();
    fs::write(shops.join("master.key"), "a-real-master-key").unwrap();
    assert_eq!(demo().1.status.code(), Some(2));
    let kept = fs::read_to_string(shops.join("master.key")).unwrap();
    assert_eq!(kept, "a-real-master-key");
}

#[test]
fn a_document_replaces_another_one_only_where_that_is_asked_for() {
    let stage = Stage::of(1);
    stage.push();
    let file = stage.path("run.csv");
    fs::write(&file, "before").unwrap();
    let kept = stage.run(&["export", "run.csv"]);
    assert_eq!(kept.status.code(), Some(2));
    assert!(err(&kept).contains("--force"), "{}", err(&kept));
    assert_eq!(fs::read_to_string(&file).unwrap(), "before");
    out(&stage.run(&["export", "run.csv", "--force"]));
    assert!(fs::read_to_string(&file).unwrap().starts_with("site,url,"));
}

#[test]
fn a_key_to_compare_with_can_stand_in_a_variable() {
    let stage = Stage::of(3);
    stage.heal();
    stage.push();
    let site = stage
        .fleet
        .sites()
        .iter()
        .find(|site| site.fault == Fault::Healthy);
    let name = &site.unwrap().name;
    let verify = ["verify", "--key-env", "KEY", "--json", "--site", name];
    let ended = stage.command(&verify).env("KEY", stage.key()).output().unwrap();
    let text = String::from_utf8(ended.stdout).unwrap();
    let results = text
        .lines()
        .map(schema::line)
        .filter(|line| line["event"] == "result");
    let results: Vec<_> = results.collect();
    assert_eq!(results.len(), 1, "{text}");
    let verify = results[0]["verify"].as_str().unwrap();
    assert!(["serving", "verified"].contains(&verify), "{text}");
}
