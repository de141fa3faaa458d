//! Sites in a database, pushed to by the real program: the dashboard's table of contract.md.

use super::super::sql::databases::{Database, Kind};
use super::*;

/// The dashboard's rows: two sites with a key of their own, one of them suspended, and a third whose key is cut short, as
/// the dashboard's own answer has it.
fn rows(stage: &Stage) -> String {
    let key = stage.fleet.master_key();
    let row = |which: usize, name: &str, key: &str, status: &str| {
        format!("('{name}', '{}/', '{key}', '{status}')", stage.url(which))
    };
    [
        row(0, "l''Atelier \"du\" Nord; DROP TABLE sites; --", key, "active"),
        row(1, "suspended", key, "suspended"),
        row(2, "cut short", "abcdefghij...", "active"),
    ]
    .join(", ")
}

fn pushes_to_what_the_table_lists(kind: Kind) {
    let stage = Stage::of(24);
    stage.heal();
    let Some(database) = Database::with_sites(kind, &rows(&stage)) else {
        return;
    };
    stage.write("dashboard.url", &database.url);
    // No other key is there to send: each site gets its own.
    stage.write("master.key", "a-key-that-no-site-takes");
    stage.lists(&source(
        "kind = \"sql\"\nname = \"dashboard\"\nurl = { file = \"dashboard.url\" }\n\
         query = \"SELECT name, url, api_key AS master_key, status AS enabled, id FROM sites ORDER BY id\"",
    ));
    let listed = stage.run(&["sites", "--format", "json"]);
    assert_eq!(listed.code, Some(0), "{kind:?} {}", listed.err);
    let document: Value = serde_json::from_str(&listed.out).unwrap();
    let sites = document["sites"].as_array().unwrap();
    assert_eq!(sites.len(), 2, "{kind:?} {document}");
    assert_eq!(sites[0]["site"], "l'Atelier \"du\" Nord; DROP TABLE sites; --");
    assert_eq!(sites[0]["from"], json!(["dashboard"]));
    assert_eq!(sites[0]["master_key"], "own");
    assert_eq!(sites[1]["enabled"], false);
    assert!(listed.err.contains("dashboard, row 3"), "{kind:?} {}", listed.err);
    assert!(
        listed.err.contains("id"),
        "a column that is no field is named: {}",
        listed.err
    );

    let pushed = stage.push(&["--wait", "0"]);
    assert_eq!(pushed.code, Some(0), "{kind:?} {}{}", pushed.out, pushed.err);
    assert_eq!(stage.puts(), 1, "{kind:?}");
    let mut all = stage.fleet.sites().iter();
    let first = all.position(|site| site.url.to_string() == stage.url(0)).unwrap();
    let key = std::fs::read_to_string(stage.path("key.txt")).unwrap();
    assert_eq!(stage.fleet.stored(first).as_deref(), Some(key.trim()));

    database.run("DROP TABLE sites");
    let refused = stage.push(&[]);
    assert_eq!(refused.code, Some(2), "{kind:?} {}{}", refused.out, refused.err);
    assert!(refused.err.contains("dashboard"), "{kind:?} {}", refused.err);
    assert_eq!(stage.puts(), 1);
    let missing = stage.run(&["sites"]);
    assert_eq!(
        missing.code,
        Some(2),
        "{kind:?} its sites are missing: {}",
        missing.err
    );
    for text in [&listed.err, &pushed.err, &refused.err, &missing.err, &pushed.out] {
        assert!(
            !text.contains(stage.fleet.master_key()) && !text.contains("owner:"),
            "{text}"
        );
    }
}

#[test]
fn a_push_goes_to_what_a_postgresql_lists() {
    pushes_to_what_the_table_lists(Kind::Postgres);
}

#[test]
fn a_push_goes_to_what_a_mariadb_lists() {
    pushes_to_what_the_table_lists(Kind::MariaDb);
}

#[test]
fn a_push_goes_to_what_a_file_of_sqlite_lists() {
    pushes_to_what_the_table_lists(Kind::Sqlite);
}
