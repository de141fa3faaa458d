//! Who is meant, with each command that takes such flags; and lists that are not whole.

use super::*;

/// A stage with two sites in the group `prod` and one that refuses the master key outside of it, and the names of these
/// three.
fn grouped() -> (Stage, [String; 3]) {
    let stage = Stage::of(6);
    stage.heal();
    let names = [0, 1, 2].map(|place| stage.fleet.sites()[place].name.clone());
    for name in &names[..2] {
        let line = format!("name = \"{name}\"");
        stage.configures(&line, &format!("{line}\ngroup = \"prod\""));
    }
    (stage, names)
}

/// The sites of one document.
fn listed(ended: &Ended) -> Vec<String> {
    let document: Value = serde_json::from_str(&ended.ends(0).out).unwrap();
    let sites = document["sites"].as_array().unwrap().iter();
    sites
        .map(|site| site["site"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_group_without_one_of_it_is_meant_by_each_command() {
    let (stage, [first, second, third]) = grouped();
    // Two sites refuse the master key, and the third is not tried: all of them are owed the key.
    let master_key = std::fs::read(stage.path("master.key")).unwrap();
    std::fs::write(stage.path("master.key"), "a-master-key-of-another-fleet").unwrap();
    let three = ["--site", &first, "--site", &second, "--site", &third];
    stage.push(&[&JSON[..], &three].concat()).ends(4);
    std::fs::write(stage.path("master.key"), master_key).unwrap();

    let puts = |line: &Value| line["action"] == "put";
    let retried = stage.run(&[
        "retry",
        "--dry-run",
        "--json",
        "--group",
        "prod",
        "--exclude",
        &second,
    ]);
    assert_eq!(retried.ends(0).sites("plan", puts), [&first[..]]);
    let owed = stage.run(&[
        "retry",
        "--dry-run",
        "--json",
        "--owed",
        "--only-failed",
        "--group",
        "prod",
    ]);
    assert_eq!(owed.ends(0).sites("plan", puts), [&first[..], &second]);
    let sent = stage.run(&[
        "retry",
        "--yes",
        "--json",
        "--wait",
        "0",
        "--group",
        "prod",
        "--exclude",
        &second,
    ]);
    assert_eq!(sent.ends(3).sites("result", |_| true), [&first[..]]);

    let back = stage.run(&[
        "rollback",
        "--dry-run",
        "--json",
        "--group",
        "prod",
        "--exclude",
        &second,
    ]);
    assert_eq!(back.ends(0).sites("plan", puts), [&first[..]]);
    stage
        .run(&["rollback", "--dry-run", "--only-failed", "--site", &first])
        .ends(2)
        .says("--only-failed leaves none of 1 site");
    let serving = stage.run(&["rollback", "--dry-run", "--json", "--owed", "--site", &second]);
    assert!(
        serving.ends(0).sites("plan", puts).is_empty(),
        "nothing was changed there"
    );
}

#[test]
fn what_looks_and_what_reads_takes_a_group_as_well() {
    let (stage, [first, second, _]) = grouped();
    let known = stage.run(&["status", "--json", "--group", "prod", "--exclude", &first]);
    assert_eq!(listed(&known), [&second[..]]);
    let looked = stage.run(&["verify", "--json", "--group", "prod", "--exclude", &first]);
    assert_eq!(looked.sites("result", |_| true), [&second[..]]);
    let checked = stage.run(&["check", "--json", "--group", "prod", "--exclude", &first]);
    assert_eq!(checked.ends(0).sites("check", |_| true), [&second[..]]);
}

#[test]
fn a_list_that_is_not_whole_stops_what_sends_unless_it_is_allowed() {
    let stage = Stage::of(3);
    stage.heal();
    let name = stage.fleet.sites()[0].name.clone();
    stage.push(&[&JSON[..], &["--site", &name]].concat()).ends(3);
    stage.configures(
        "[master_key]",
        "[[sources]]\nkind = \"file\"\npath = \"gone.txt\"\n\n[master_key]",
    );
    for command in ["retry", "rollback", "resume"] {
        let refused = stage.run(&[command, "--yes"]);
        refused.ends(2).says("gone.txt").says("--allow-failed-source");
    }
    let before = stage.requests();
    stage
        .run(&["retry", "--yes", "--allow-failed-source"])
        .ends(0)
        .says("nothing");
    assert_eq!(stage.requests(), before);
    stage.configures("canary = 0", "canary = [\"gone\"]");
    stage
        .run(&["retry", "--yes", "--allow-failed-source"])
        .ends(2)
        .says("rollout.canary");
    stage.configures("canary = [\"gone\"]", "canary = 0");
    let back = stage.run(&[
        "rollback",
        "--yes",
        "--json",
        "--wait",
        "0",
        "--allow-failed-source",
    ]);
    assert_eq!(back.ends(3).sites("result", |_| true), [&name[..]]);
}
