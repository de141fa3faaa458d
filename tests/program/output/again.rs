//! `retry` and `rollback`.

use super::*;

#[test]
fn a_retry_repeats_what_failed_with_the_key_of_its_run() {
    let stage = Stage::of(24);
    stage.run(&["retry", "--yes"]).ends(0).says("no run is on record");
    let pushed = stage.push(&JSON);
    pushed.ends(1);
    let page = stage.name(Fault::HtmlPage).to_owned();
    // What is held back needs a word of its own, and nobody is here to give it.
    let held = stage.run(&["retry", "--yes", "--site", &page]);
    held.ends(2).says("--allow-unrecognised").says("nothing sent");
    stage.heal();
    let failed = pushed.sites("result", is_bad);
    let puts = |name: &str| stage.fleet.record().puts(stage.index(name)).len();
    let before: Vec<usize> = stage.fleet.sites().iter().map(|site| puts(&site.name)).collect();
    let told = stage.run(&["retry", "--dry-run", "--json"]);
    assert_eq!(told.ends(0).sites("plan", |line| line["action"] == "put"), failed);
    says_why_others_get_none(&stage, &told);
    let retried = stage.run(&["retry", "--yes", "--json", "--wait", "0"]);
    // Two were left out for want of a flag.
    retried
        .ends(1)
        .says("it is looked at next")
        .says("--allow-unrecognised");
    assert_eq!(retried.events("summary")[0]["exit"], 1);
    let started = retried.events("run_started").remove(0);
    assert_eq!(
        (&started["run"], started["puts"].as_u64()),
        (&2.into(), Some(failed.len() as u64))
    );
    for (index, site) in stage.fleet.sites().iter().enumerate() {
        let again = usize::from(failed.contains(&site.name));
        let most = if again == 1 { 3 } else { 0 };
        let new = puts(&site.name) - before[index];
        assert!((again..=most).contains(&new), "{}: {new}", site.name);
    }
    assert!(
        failed
            .iter()
            .all(|name| stage.fleet.stored(stage.index(name)).as_deref() == Some(stage.key()))
    );
    stage
        .run(&["retry", "--yes"])
        .ends(0)
        .says("nothing failed in run 2");
    stage
        .run(&["retry", "--run", "7"])
        .ends(2)
        .says("there is no run 7");
    let bold = [
        "retry",
        "--run",
        "1",
        "--site",
        &page,
        "--allow-unrecognised",
        "--yes",
        "--wait",
        "0",
    ];
    stage.run(&bold).ends(3);
    assert_eq!(
        stage.fleet.stored(stage.index(&page)).as_deref(),
        Some(stage.key())
    );
}

#[test]
fn a_rollback_goes_over_no_later_run_without_a_word() {
    let stage = Stage::of(3);
    stage.heal();
    let push = |key: &str| {
        let file = stage.path(key).display().to_string();
        stage
            .run(&["push", "--key-file", &file, "--yes", "--wait", "0"])
            .ends(3);
    };
    let other = stage.key().replace(&stage.key()[20..24], "Zz9y");
    std::fs::write(stage.path("other.txt"), &other).unwrap();
    push("key.txt");
    push("other.txt");
    // What waited for its proof is told to whoever takes it over.
    let waits = stage.run(&[
        "push",
        "--key-file",
        &stage.path("key.txt").display().to_string(),
        "--dry-run",
    ]);
    let words = [
        "3 sites still wait for their proof of run 2",
        "the key to send was replaced there by run 2",
    ];
    assert!(
        words.iter().all(|words| waits.out.contains(words)),
        "{}",
        waits.out
    );
    let words = "run 2 has put another key on 3 sites since, which this would replace";
    let rollback = ["rollback", "--run", "1", "--yes", "--wait", "0"];
    let dry = stage.run(&[&rollback[..], &["--dry-run"]].concat());
    assert!(dry.ends(0).out.contains(words), "{}", dry.out);
    stage.run(&rollback).ends(2).says(words).says("--allow-changed");
    assert_eq!(stage.fleet.stored(0).as_deref(), Some(&*other));
    // What the newest run has put there is what is taken back.
    let of_newest = stage.run(&["rollback", "--run", "2", "--dry-run"]);
    assert!(!of_newest.ends(0).out.contains("since"), "{}", of_newest.out);
    stage.run(&[&rollback[..], &["--allow-changed"]].concat()).ends(3);
    assert_ne!(stage.fleet.stored(0).as_deref(), Some(&*other));
    assert_ne!(stage.fleet.stored(0).as_deref(), Some(stage.key()));
}

/// Whether a retry sends it again.
fn is_bad(line: &Value) -> bool {
    let cancelled = ["failed", "unknown"].contains(&line["push"].as_str().unwrap());
    cancelled || ["mismatch", "no_key"].contains(&line["verify"].as_str().unwrap())
}

fn says_why_others_get_none(stage: &Stage, told: &Ended) {
    let reasons = told.sites("plan", |line| line["reason"] == "not_this_api");
    assert_eq!(
        reasons,
        [stage.name(Fault::HtmlPage), stage.name(Fault::Redirects)]
    );
    let settles = told.sites("plan", |line| line["reason"] == "settling");
    assert!(settles.len() > 3, "{}", told.out);
}

#[test]
fn a_rollback_puts_back_what_sites_had_and_names_what_stays() {
    let stage = Stage::of(24);
    stage
        .run(&["rollback", "--yes"])
        .ends(0)
        .says("no run is on record");
    let had: Vec<Option<String>> = (0..24).map(|index| stage.fleet.stored(index)).collect();
    stage.push(&JSON).ends(1);
    let new = stage.name(Fault::NoKeyYet).to_owned();
    let healthy = stage.name(Fault::Healthy).to_owned();
    let one = [
        "rollback",
        "--run",
        "1",
        "--site",
        &healthy,
        "--dry-run",
        "--json",
    ];
    let told = stage.run(&one);
    assert_eq!(
        told.ends(0).sites("plan", |line| line["action"] == "put"),
        [&healthy[..]]
    );
    // One of them had a key that has expired since.
    let all = ["rollback", "--yes", "--json", "--wait", "0"];
    stage.run(&all).ends(2).says("--allow-unknown-key");
    let back = stage.run(&[&all[..], &["--allow-unknown-key"]].concat());
    assert!(matches!(back.code, Some(1 | 3)), "{}", back.err);
    back.says(&new).says("may get a fallback");
    let stored = back.sites("result", |line| line["push"] == "stored");
    assert!(stored.len() > 10, "{}", back.out);
    for name in &stored {
        let index = stage.index(name);
        let fault = stage.fleet.sites()[index].fault;
        if fault != Fault::OtherTenant && fault != Fault::StoresNothing {
            assert_eq!(stage.fleet.stored(index), had[index], "{name}");
        }
    }
    let of_new = stage.run(&["rollback", "--run", "1", "--site", &new, "--yes"]);
    of_new.ends(0).says("nothing of run 1");
    assert_eq!(
        stage.fleet.stored(stage.index(&new)).as_deref(),
        Some(stage.key())
    );
}
