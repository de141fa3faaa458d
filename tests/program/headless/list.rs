//! The list of sites is another one than at the last run.

use super::*;

impl Stage {
    /// The config as it is, without the first `count` of its sites.
    fn drop_sites(&self, count: usize) {
        let path = self.path("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut parts = text.split("[[sites]]");
        let head = parts.next().unwrap();
        let kept = parts.skip(count).map(|site| format!("[[sites]]{site}"));
        std::fs::write(&path, head.to_owned() + &kept.collect::<String>()).unwrap();
    }
}

#[test]
fn a_list_that_lost_many_sites_is_asked_about_and_names_them() {
    let stage = Stage::of(12);
    stage.heal();
    let push = ["push", "--key-stdin", "--yes", "--json", "--wait", "0"];
    let first = stage.run(&push, stage.key());
    assert_eq!(first.code, Some(3), "{}", first.err);
    assert!(!first.err.contains("since the last run"), "{}", first.err);
    let before = stage.fleet.record().requests.len();
    let gone = stage.fleet.sites()[0].url.default_name().to_string();

    stage.drop_sites(6);
    let refused = stage.run(&push, stage.key());
    assert_eq!(refused.code, Some(2), "{}{}", refused.out, refused.err);
    assert!(refused.err.contains("6 sites went"), "{}", refused.err);
    assert!(refused.err.contains(&gone), "{}", refused.err);
    assert!(refused.err.contains("--allow-list-change"), "{}", refused.err);
    let check = ["check", "--auth"];
    let refused = stage.run(&check, "");
    assert_eq!(refused.code, Some(2), "{}{}", refused.out, refused.err);
    assert!(refused.err.contains("--allow-list-change"), "{}", refused.err);
    assert_eq!(
        stage.fleet.record().requests.len(),
        before,
        "nobody was asked anything"
    );
    let tried = stage.run(&[&check[..], &["--allow-list-change"]].concat(), "");
    assert_eq!(tried.code, Some(0), "{}{}", tried.out, tried.err);

    // Shops that are not in the list any more may serve the old key.
    let old_key = stage.run(&["status", "--old-key"], "");
    assert!(old_key.err.contains("6 sites went"), "{}", old_key.err);
    assert!(
        old_key.out.contains(&gone),
        "its cache may hold the old key: {}",
        old_key.out
    );
    let document = stage.run(&["status", "--json"], "");
    let document = stage::schema::document("status", &document.out);
    assert_eq!(document["sites"].as_array().unwrap().len(), 6);
    let keys = document["old_keys"].as_array().unwrap();
    assert!(keys.iter().all(|old| old["may_expire"] == false), "{keys:?}");

    let allowed = [&push[..], &["--allow-list-change"]].concat();
    let sent = stage.run(&allowed, stage.key());
    assert_eq!(sent.code, Some(3), "{}{}", sent.out, sent.err);
    let again = stage.run(&push, stage.key());
    assert_eq!(
        again.code,
        Some(3),
        "it is the list of the last run by now: {}",
        again.err
    );
    assert!(!again.err.contains("since the last run"), "{}", again.err);
}
