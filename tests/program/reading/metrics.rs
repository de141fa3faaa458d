use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use stripe_propagate::rules::status::{push_looks, verify_looks};

use super::{Stage, out};

/// What the text says, read strictly: what it must be for `OpenMetrics` 1.0 and for the format of Prometheus both.
fn samples(text: &str) -> BTreeMap<String, i64> {
    assert!(text.ends_with("\n# EOF\n"), "OpenMetrics ends so");
    let mut samples = BTreeMap::new();
    let mut families: Vec<&str> = Vec::new();
    let mut unit = None;
    for line in text.lines() {
        assert!(!line.is_empty(), "OpenMetrics has no empty line");
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "EOF"] => break,
            ["#", "TYPE", name, kind] => {
                assert_eq!(kind, "gauge", "the only kind that both know alike");
                assert!(!families.contains(&name), "{name} stands there twice");
                families.push(name);
                unit = None;
            }
            ["#", "UNIT", name, of] => {
                assert_eq!(families.last(), Some(&name));
                assert!(name.ends_with(&format!("_{of}")), "{line}");
                unit = Some(of);
            }
            ["#", "HELP", name, help] => {
                assert_eq!(families.last(), Some(&name));
                assert!(!help.is_empty() && !help.contains('\\'));
                assert_eq!(unit.is_some(), name.ends_with("_seconds"), "{line}");
            }
            [sample, value] => {
                let name = sample.split('{').next().unwrap();
                assert_eq!(families.last(), Some(&name), "behind its TYPE: {line}");
                let legal = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
                assert!(
                    name.starts_with("stripe_propagate_") && name.bytes().all(legal),
                    "{line}"
                );
                if let Some(label) = sample.strip_prefix(name).filter(|label| !label.is_empty()) {
                    let (label, value) = label.trim_matches(['{', '}']).split_once('=').unwrap();
                    assert!(label.bytes().all(legal), "{line}");
                    assert!(value.trim_matches('"').bytes().all(legal), "{line}");
                }
                assert!(
                    samples
                        .insert(sample.to_owned(), value.parse().unwrap())
                        .is_none(),
                    "{line}"
                );
            }
            _ => panic!("no line of either format: {line}"),
        }
    }
    samples
}

#[test]
fn numbers_for_a_monitoring_system_are_those_of_the_sites() {
    let stage = Stage::of(8);
    let metrics = ["status", "--format", "openmetrics"];
    let before = samples(&out(&stage.run(&metrics)));
    assert_eq!(before["stripe_propagate_sites{verify=\"unchecked\"}"], 8);
    assert_eq!(before["stripe_propagate_sites_never_looked_at"], 8);
    assert!(!before.keys().any(|name| name.contains("last_")), "{before:?}");

    stage.push();
    let text = out(&stage.run(&metrics));
    let after = samples(&text);
    let document: serde_json::Value =
        serde_json::from_str(&out(&stage.run(&["status", "--format", "json"]))).unwrap();
    let sites = document["sites"].as_array().unwrap();
    let having = |field: &str, word: &str| sites.iter().filter(|site| site[field] == word).count();
    let of = |name: &str| usize::try_from(after[name]).unwrap();
    for look in push_looks() {
        let name = format!("stripe_propagate_sites_by_push{{push=\"{}\"}}", look.word);
        assert_eq!(of(&name), having("push", look.word), "{name}");
    }
    // VERIFY goes on by itself between the two questions; no site is lost.
    let all = verify_looks().map(|look| of(&format!("stripe_propagate_sites{{verify=\"{}\"}}", look.word)));
    assert_eq!(all.sum::<usize>(), 8);
    let old = document["old_keys"].as_array().unwrap();
    assert_eq!(
        of("stripe_propagate_old_keys{may_expire=\"true\"}")
            + of("stripe_propagate_old_keys{may_expire=\"false\"}"),
        old.len()
    );
    assert!(of("stripe_propagate_old_keys{may_expire=\"false\"}") > 0);
    let looked: Vec<&str> = sites
        .iter()
        .filter_map(|site| site["looked_at"].as_str())
        .collect();
    let seconds = |look: &str| {
        let moment: jiff::Timestamp = look.parse().unwrap();
        moment.as_second()
    };
    for (look, at) in [("oldest", looked.iter().min()), ("newest", looked.iter().max())] {
        let told = after[&format!("stripe_propagate_last_look_timestamp_seconds{{look=\"{look}\"}}")];
        assert_eq!(told, seconds(at.unwrap()), "{look}");
        assert!(after[&format!("stripe_propagate_last_look_age_seconds{{look=\"{look}\"}}")] >= 0);
    }
    assert_eq!(after["stripe_propagate_last_run_number"], 1);
    assert!(after["stripe_propagate_last_run_sent_timestamp_seconds"] > 0);
    for site in sites {
        assert!(!text.contains(site["site"].as_str().unwrap()), "{text}");
    }
    assert!(!text.contains("pk_"), "{text}");
}

#[test]
fn their_file_can_be_read_by_the_collector_whatever_the_umask() {
    let stage = Stage::of(1);
    let file = stage.path("stripe_propagate.prom");
    let mut shell = std::process::Command::new("sh");
    let metrics = [
        "status",
        "--format",
        "openmetrics",
        "--output",
        "stripe_propagate.prom",
    ];
    shell
        .args([
            "-c",
            "umask 077; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_stripe-propagate"),
        ])
        .args(metrics)
        .env_clear()
        .env("HOME", stage.folder.path())
        .env("XDG_STATE_HOME", stage.path("state"))
        .env("STRIPE_PROPAGATE_CONFIG", stage.path("config.toml"))
        .current_dir(stage.folder.path());
    for _ in 0..2 {
        assert_eq!(out(&shell.output().unwrap()), "");
        let about = fs::metadata(&file).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o644);
        assert_eq!(
            samples(&fs::read_to_string(&file).unwrap())["stripe_propagate_sites_owed"],
            0
        );
    }
}
