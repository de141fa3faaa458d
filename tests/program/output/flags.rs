//! Each flag of the commands that send, where no other test uses it.

use super::*;

#[test]
fn names_and_groups_say_who_is_meant() {
    let stage = Stage::of(6);
    stage.heal();
    let names: Vec<String> = stage.fleet.sites().iter().map(|site| site.name.clone()).collect();
    let in_group = |place: usize| {
        let line = format!("name = \"{}\"", names[place]);
        stage.configures(&line, &format!("{line}\ngroup = \"prod {place}\""));
    };
    [0, 1, 2].into_iter().for_each(in_group);
    let told = |flags: &[&str]| {
        let ended = stage.push(&[&["--dry-run", "--json"], flags].concat());
        ended.ends(0);
        ended.sites("plan", |line| line["action"] == "put")
    };
    assert_eq!(told(&[]), names);
    assert_eq!(
        told(&["--site", &names[4], "--site", &names[1]]),
        [&names[1][..], &names[4]]
    );
    assert_eq!(told(&["--group", "prod ?", "--exclude", &names[0]]), names[1..3]);
    assert_eq!(
        told(&["--site", &stage.fleet.sites()[3].url.to_string()]),
        names[3..4]
    );
    for (flags, says) in [
        (&["--site", "nowhere"][..], "no site is called nowhere"),
        (&["--group", "prot 1"], "is it prod 1"),
        (&["--exclude", "*"], "leave no site"),
        (&["--only-failed"], "--only-failed leaves none of 6 sites"),
        (&["--owed"], "--owed leaves none of 6 sites"),
    ] {
        stage.push(&[&["--yes"], flags].concat()).ends(2).says(says);
    }
    assert_eq!(stage.requests(), 0);
    let knows = [
        "acknowledge",
        "--group",
        "prod *",
        "--exclude",
        &names[1],
        "--reason",
        "moves",
    ];
    let said = stage.run(&knows);
    assert!(said.ends(0).out.starts_with("2 sites "), "{}", said.out);
    stage
        .run(&["acknowledge", "--reason", "all"])
        .ends(2)
        .says("which sites?");
}

#[test]
fn what_is_on_record_says_who_is_meant() {
    let stage = Stage::of(6);
    stage.heal();
    // One of them refuses, and owes; another one is proven soon, and the rest had nothing to do with it.
    let names = stage.fleet.sites().iter().map(|site| site.name.clone());
    let names: Vec<String> = names.collect();
    let (good, bad) = (&names[1], &names[4]);
    let master_key = std::fs::read(stage.path("master.key")).unwrap();
    std::fs::write(stage.path("master.key"), "a-master-key-of-another-fleet").unwrap();
    stage.push(&[&JSON[..], &["--site", bad]].concat()).ends(1);
    std::fs::write(stage.path("master.key"), master_key).unwrap();
    stage.push(&[&JSON[..], &["--site", good]].concat()).ends(3);
    let told = |flag| {
        let ended = stage.push(&["--dry-run", "--json", flag]);
        ended.ends(0).sites("plan", |line| line["action"] == "put")
    };
    for flag in ["--only-failed", "--owed"] {
        assert_eq!(told(flag), [&bad[..]], "{flag}");
        let status = stage.run(&["status", "--json", flag]);
        let known: Value = serde_json::from_str(&status.ends(0).out).unwrap();
        assert_eq!(known["sites"].as_array().unwrap().len(), 1, "{known}");
        assert_eq!(known["sites"][0]["site"], bad.as_str());
        let checked = stage.run(&["check", "--json", flag, "--concurrency", "1"]);
        assert_eq!(checked.ends(0).sites("check", |_| true), [&bad[..]]);
        let looked = stage.run(&["verify", "--json", flag, "--concurrency", "1"]);
        assert_eq!(looked.sites("result", |_| true), [&bad[..]]);
    }
}

#[test]
fn a_dry_run_tells_all_and_leaves_nothing() {
    let stage = Stage::of(24);
    stage.push(&JSON).ends(1);
    std::fs::remove_file(stage.path("master.key")).unwrap();
    let store = stage.path("state/stripe-propagate/store.db");
    let (requests, bytes) = (stage.requests(), std::fs::read(&store).unwrap());
    let plain = stage.push(&["--dry-run"]);
    plain.ends(0);
    for words in [
        "a dry run: nothing is sent",
        "to 24 of 24 sites",
        "\"24\" would confirm it",
        "GETS",
    ] {
        assert!(plain.out.contains(words), "{words}: {}", plain.out);
    }
    let told = stage.push(&["--dry-run", "--json", "--skip-equal"]);
    let summary = told.ends(0).events("summary").remove(0);
    let puts = told.sites("plan", |line| line["action"] == "put").len();
    assert_eq!(
        (summary["puts"].as_u64(), &summary["dry_run"]),
        (Some(puts as u64), &Value::from(true))
    );
    let equal = told.sites("plan", |line| line["reason"] == "equal").len();
    assert_eq!(summary["left_out"]["equal"].as_u64(), Some(equal as u64));
    assert_eq!(puts + equal, 24);
    let line = told.events("plan").remove(0);
    for field in ["site", "url", "action", "reason", "from", "to", "wave"] {
        assert!(line.get(field).is_some(), "{field}: {line}");
    }
    for others in ["retry", "rollback", "resume"] {
        let told = stage.run(&[others, "--dry-run", "--json"]);
        told.ends(0);
        assert!(!told.out.contains(stage.key()), "keys are masked");
    }
    // Also where the command line promises that nothing is sent.
    stage.push(&["--dry-run", "--read-only"]).ends(0);
    assert_eq!(stage.requests(), requests);
    assert!(
        std::fs::read(&store).unwrap() == bytes,
        "nothing is written to the store"
    );
    let asks = stage.fleet.record().asked_stripe;
    assert!(asks.iter().all(|asked| !asked.had_master_key));
}

#[test]
fn a_dry_run_names_each_danger_and_its_flag() {
    let stage = Stage::of(3);
    stage.heal();
    stage.run(&["verify"]).ends(0);
    stage.fleet.roll(stage.key());
    let told = stage.push(&["--dry-run", "--json"]);
    let summary = told.ends(0).events("summary").remove(0);
    let danger = &summary["dangers"][0];
    assert_eq!(
        (&danger["danger"], &danger["flag"]),
        (&"dead".into(), &"--allow-unknown-key".into())
    );
    let requests = stage.requests();
    stage.push(&["--yes"]).ends(2).says("--allow-unknown-key");
    assert_eq!(stage.requests(), requests);
    let live = stage.path("live.txt");
    std::fs::write(&live, format!("pk_live_51DemoDemoDemoDe{}", "x".repeat(83))).unwrap();
    let live = live.display().to_string();
    let told = stage.run(&["push", "--dry-run", "--key-file", &live]);
    told.ends(0);
    assert!(
        told.out.contains("3 sites left out") && told.out.contains("(--allow-mode-change)"),
        "{}",
        told.out
    );
    let allowed = stage.run(&["push", "--dry-run", "--key-file", &live, "--allow-mode-change"]);
    assert!(
        allowed.ends(0).out.contains("\"live 3 over-test"),
        "{}",
        allowed.out
    );
}

#[test]
fn no_more_requests_go_out_at_once_than_the_flag_says() {
    let stage = Stage::of(12);
    stage.push(&[&JSON[..], &["--concurrency", "2"]].concat());
    assert!(stage.fleet.record().most_connections <= 2);
    for many in ["0", "4097", "many"] {
        stage
            .push(&["--yes", "--concurrency", many])
            .ends(2)
            .says("--concurrency");
    }
}

#[test]
fn who_promises_to_send_nothing_sends_nothing() {
    let stage = Stage::of(3);
    stage.heal();
    let key = stage.path("key.txt").display().to_string();
    for sends in [
        &["push", "--yes", "--key-file", &key][..],
        &["retry", "--yes"],
        &["resume", "--yes"],
        &["rollback", "--yes"],
        &["check", "--auth"],
        &["acknowledge", "--site", "*", "--reason", "r"],
    ] {
        let refused = stage.run(&[&["--read-only"], sends].concat());
        refused.ends(2).says("--read-only");
    }
    assert_eq!(stage.requests(), 0);
    stage.run(&["verify", "--read-only", "--no-color"]).ends(0);
}

#[test]
fn what_repeats_or_takes_back_a_run_takes_the_flags_of_a_push() {
    let stage = Stage::of(3);
    stage.heal();
    stage.push(&JSON).ends(3);
    let requests = stage.requests();
    let site = &stage.fleet.sites()[0].name;
    for (command, flags) in [
        ("retry", &["--run", "1", "--exclude", site, "--allow-old-run"][..]),
        ("rollback", &["--run", "1", "--exclude", site]),
        ("resume", &["--allow-old-run"]),
    ] {
        let answers = [
            "--allow-unknown-key",
            "--concurrency",
            "3",
            "--wait",
            "5 min",
            "--yes",
        ];
        let allows = ["--allow-mode-change", "--allow-changed", "--allow-unrecognised"];
        let allows = if command == "resume" { &[][..] } else { &allows };
        let told = stage.run(&[&[command, "--dry-run"], flags, &answers, allows].concat());
        told.ends(0);
        assert!(!told.out.contains(site), "{command}: {}", told.out);
    }
    assert_eq!(stage.requests(), requests);
}
