use std::path::Path;

use super::bodies;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // What libFuzzer has found on this machine has no end in its name.
        if path.extension().is_some() {
            let bytes = std::fs::read(&path).unwrap();
            let kept = std::panic::catch_unwind(|| check(&bytes));
            assert!(kept.is_ok(), "{} breaks a law", path.display());
            files += 1;
        }
    }
    assert!(files > 0, "{} has no files", folder.display());
}

#[test]
fn configs() {
    replay("config", bodies::config::check);
}

#[test]
fn lists_of_sites() {
    replay("sites", bodies::sites::check);
}

#[test]
fn key_fields() {
    replay("key_field", bodies::key_field::check);
}

#[test]
fn answers() {
    replay("answer", bodies::answer::check);
}

#[test]
fn screens() {
    replay("screen", bodies::screen::check);
}

#[test]
fn each_target_has_its_body_and_its_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for target in ["config", "sites", "key_field", "answer", "screen"] {
        let text =
            std::fs::read_to_string(root.join("fuzz_targets").join(target).with_extension("rs")).unwrap();
        assert!(
            text.contains(&format!("bodies::{target}::check(bytes)")),
            "{target}"
        );
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")),
            "{target}"
        );
    }
    assert_eq!(std::fs::read_dir(root.join("fuzz_targets")).unwrap().count(), 5);
}
