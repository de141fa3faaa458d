//! Which key is where: modes, keys that are there already, keys of another account, and old keys.

use super::*;

/// As long as the fleet's own, and beginning as they do.
fn live_key() -> String {
    format!("pk_live_51DemoDemoDemoDe{}", "x".repeat(83))
}

impl Stage {
    fn requests(&self) -> usize {
        self.fleet.record().requests.len()
    }

    fn has_puts(&self, index: usize) -> bool {
        !self.fleet.record().puts(index).is_empty()
    }
}

#[test]
fn a_site_keeps_its_mode_unless_the_operator_says_otherwise() {
    let stage = Stage::of(3);
    stage.heal();
    let push = ["push", "--key-stdin", "--yes", "--json", "--wait", "0"];
    // Nobody has looked yet: the look before each PUT tells. Then the plan does, from what was seen.
    for _ in 0..2 {
        let ended = stage.run(&push, &live_key());
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        let results = ended.events("result");
        assert!(
            results.iter().all(|result| result["reason"] == "other_mode"),
            "{results:?}"
        );
        assert!((0..3).all(|site| !stage.has_puts(site)));
    }
    let allowed = [&push[..], &["--allow-mode-change"]].concat();
    let ended = stage.run(&allowed, &live_key());
    assert_eq!(ended.code, Some(3), "{}{}", ended.out, ended.err);
    assert!((0..3).all(|site| stage.fleet.stored(site) == Some(live_key())));
    // And back: caches may still show the test key, and what was stored is live.
    let ended = stage.run(&push, stage.key());
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!((0..3).all(|site| stage.fleet.stored(site) == Some(live_key())));
}

#[test]
fn what_serves_the_key_already_is_left_out_when_that_is_asked_for() {
    let stage = Stage::of(3);
    stage.heal();
    let healthy = stage.name(Fault::Healthy).to_owned();
    let index = stage.index(&healthy);
    let push = ["push", "--key-stdin", "--yes", "--json", "--wait", "0"];
    let one = [&push[..], &["--site", &healthy]].concat();
    assert_eq!(stage.run(&one, stage.key()).code, Some(3));
    let equal = [&push[..], &["--skip-equal"]].concat();
    let ended = stage.run(&equal, stage.key());
    let results = ended.events("result");
    let reason = |result: &&Value| result["reason"] == "equal" && result["push"] == "skipped";
    let left_out: Vec<&Value> = results.iter().filter(reason).collect();
    assert_eq!(left_out.len(), 1, "{results:?}");
    assert_eq!(left_out[0]["site"], healthy.as_str());
    assert_eq!(stage.fleet.record().puts(index).len(), 1);
    assert!((0..3).all(|site| stage.has_puts(site)));
    // Without the flag it is pushed all the same: what it serves may be a fallback.
    stage.run(&one, stage.key());
    assert_eq!(stage.fleet.record().puts(index).len(), 2);
}

#[test]
fn a_key_that_may_be_of_another_account_is_warned_of_and_goes() {
    let stage = Stage::of(3);
    stage.heal();
    let hint = "is it of another Stripe account? (a hint, no proof)";
    assert_eq!(stage.run(&["verify"], "").code, Some(0));
    let push = ["push", "--key-stdin", "--yes", "--wait", "0"];
    let other = format!("pk_test_51OtherOtherOth{}", "y".repeat(84));
    let ended = stage.run(&push, &other);
    assert!(ended.err.contains(hint), "{}", ended.err);
    assert_eq!(ended.code, Some(3), "it is no danger: {}", ended.err);
    let again = stage.run(&push, &other);
    assert!(!again.err.contains(hint), "sites have served it: {}", again.err);
    let back = stage.run(&push, stage.key());
    assert!(back.err.contains(hint), "{}", back.err);
}

/// Of an old key that `pushed` may serve for a while: all other sites that serve it are named, and no other one.
fn names_who_serves(stage: &Stage, keys: &Value, pushed: &str) {
    let keys = keys.as_array().unwrap();
    let may = |key: &&Value| {
        let sites = key["may"].as_array().unwrap();
        sites
            .iter()
            .any(|may| may["site"] == pushed && may["until"].is_string())
    };
    let old = keys.iter().find(may).unwrap_or_else(|| panic!("{keys:?}"));
    let sites = old["sites"].as_array().unwrap();
    let mut serving: Vec<&str> = sites.iter().map(|site| site.as_str().unwrap()).collect();
    serving.sort_unstable();
    assert_eq!(old["serving"], serving.len());
    assert_eq!(old["may_expire"], false);
    let mask = old["key"].as_str().unwrap();
    let tail = &mask[mask.len() - 4..];
    let serves = |index: usize| {
        let keys = stage.fleet.serves_now(index);
        keys.iter().flatten().all(|key| key.ends_with(tail))
    };
    let sites = stage.fleet.sites().iter().enumerate();
    let truth = sites.filter(|(index, site)| site.name != pushed && serves(*index));
    let mut truth: Vec<&str> = truth.map(|(_, site)| site.name.as_str()).collect();
    truth.sort_unstable();
    assert_eq!(serving, truth);
}

#[test]
fn the_status_tells_from_the_store_alone_which_sites_hold_an_old_key() {
    let stage = Stage::of(6);
    stage.heal();
    let nothing = stage.run(&["status", "--old-key"], "");
    assert_eq!(nothing.code, Some(0), "{}", nothing.err);
    assert!(nothing.out.contains("no run on record has replaced a key"));
    let pushed = stage.name(Fault::Healthy).to_owned();
    assert_eq!(stage.run(&["verify"], "").code, Some(0));
    let push = ["push", "--key-stdin", "--yes", "--json", "--wait", "0", "--site"];
    let ended = stage.run(&[&push[..], &[&pushed]].concat(), stage.key());
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    let summary = ended.events("summary").remove(0);
    names_who_serves(&stage, &summary["old_keys"], &pushed);
    let requests = stage.requests();

    let told = stage.run(&["status", "--json"], "");
    let document = stage::schema::document("status", &told.out);
    assert_eq!(document["v"], 1);
    assert_eq!(document["sites"].as_array().unwrap().len(), 6);
    names_who_serves(&stage, &document["old_keys"], &pushed);
    let answer = stage.run(&["status", "--old-key"], "");
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    for words in [
        "do not expire pk_test_…",
        "may serve pk_test_…",
        &pushed,
        "SECRET key",
    ] {
        assert!(answer.out.contains(words), "{words}: {}", answer.out);
    }
    let table = stage.run(&["status"], "");
    assert_eq!(table.code, Some(0), "{}", table.err);
    let heads: Vec<&str> = table.out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["SITE", "NOW", "EXPECTED", "PUSH", "VERIFY", "AT", "NOTE"]);
    assert_eq!(table.out.lines().count(), 7);
    let one = stage.run(&["status", "--site", &pushed], "");
    assert_eq!(one.out.lines().count(), 2, "{}", one.out);
    assert!(one.out.contains("stored"), "{}", one.out);
    assert_eq!(stage.requests(), requests, "no site is asked");
    stage.keeps_secrets(&answer);
}

#[test]
fn the_status_needs_neither_master_key_nor_network_and_refuses_a_key() {
    let stage = Stage::of(3);
    std::fs::remove_file(stage.path("master.key")).unwrap();
    let ended = stage.run(&["status", "--json"], "");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let document = stage::schema::document("status", &ended.out);
    assert_eq!(document["sites"][0]["verify"], "unchecked");
    assert_eq!(document["old_keys"], Value::Array(Vec::new()));
    let ended = stage.run(&["status", "pk_test_51NeverShown"], "");
    assert_eq!(ended.code, Some(2));
    assert!(!(ended.err + &ended.out).contains("NeverShown"));
    let unknown = stage.run(&["status", "--site", "nowhere"], "");
    assert_eq!(unknown.code, Some(2), "{}", unknown.out);
    assert!(stage.fleet.record().requests.is_empty());
}

#[test]
fn an_exposed_secret_is_told_when_it_is_seen() {
    let stage = Stage::of(24);
    let name = stage.name(Fault::ExposesSecret).to_owned();
    let ended = stage.run(&["verify", "--json"], "");
    stage.keeps_secrets(&ended);
    let alarms = ended.events("alarm");
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(alarms[0]["why"], "exposed_secret");
    assert!(alarms[0]["note"].as_str().unwrap().contains(&name), "{alarms:?}");
    let place = |event: &str| {
        ended
            .json()
            .iter()
            .position(|line| line["event"] == event)
            .unwrap()
    };
    assert!(place("alarm") < place("result"), "at once, not at the end");
    let plain = stage.run(&["verify", "--site", &name], "");
    assert!(
        plain.err.contains(&format!("ALARM: {name} shows a SECRET key")),
        "{}",
        plain.err
    );
}

#[test]
fn what_someone_else_has_changed_is_held_back_until_a_word_lets_it_go() {
    let stage = Stage::of(3);
    stage.heal();
    // The record is of a key that is served no more: too old to go without a look, and young enough for a plan.
    stage.showed(
        0,
        Duration::from_mins(30),
        &format!("pk_test_51{}", "Elder".repeat(19)),
    );
    let name = stage.fleet.sites()[0].name.clone();
    let push = [
        "push",
        "--key-stdin",
        "--yes",
        "--json",
        "--wait",
        "0",
        "--site",
        &name,
    ];
    let ended = stage.run(&push, stage.key());
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert_eq!(ended.events("result")[0]["reason"], "changed_meanwhile");
    assert!(!stage.has_puts(0));
    stage.showed(
        0,
        Duration::from_mins(20),
        &format!("pk_test_51{}", "Elder".repeat(19)),
    );
    let ended = stage.run(&[&push[..], &["--allow-changed"]].concat(), stage.key());
    assert_eq!(ended.code, Some(3), "{}{}", ended.out, ended.err);
    assert!(stage.has_puts(0));
}

#[test]
fn what_is_no_template_site_gets_the_master_key_only_on_a_word() {
    let stage = Stage::of(24);
    let name = stage.name(Fault::HtmlPage).to_owned();
    let index = stage.index(&name);
    let push = [
        "push",
        "--key-stdin",
        "--yes",
        "--json",
        "--wait",
        "0",
        "--site",
        &name,
    ];
    let ended = stage.run(&push, stage.key());
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert_eq!(ended.events("result")[0]["reason"], "not_this_api");
    assert!(!stage.has_puts(index));
    let allowed = [&push[..], &["--allow-unrecognised"]].concat();
    let ended = stage.run(&allowed, stage.key());
    assert_eq!(
        ended.code,
        Some(1),
        "its answer is no template site's: {}",
        ended.err
    );
    assert!(stage.has_puts(index));
}
