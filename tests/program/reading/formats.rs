use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use super::{Stage, err, out, stage::schema};

/// The rows of a CSV, by the names of their columns.
fn records(text: &str) -> Vec<Value> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().unwrap().clone();
    let record = |record: csv::StringRecord| -> Value {
        let cells = names.iter().zip(&record);
        cells
            .map(|(name, cell)| (name.to_owned(), Value::from(cell)))
            .collect()
    };
    reader.records().map(|row| record(row.unwrap())).collect()
}

/// What a CSV has in this column is what the document has under this name, site by site.
#[track_caller]
fn agree(rows: &[Value], document: &Value, names: &[&str]) {
    let listed = document.as_array().unwrap();
    assert_eq!(rows.len(), listed.len());
    for (row, site) in rows.iter().zip(listed) {
        for name in names {
            let word = match &site[name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(row[name], word, "{name} of {site}");
        }
    }
}

#[test]
fn status_tells_the_same_in_each_format() {
    let stage = Stage::of(8);
    stage.push();
    let document = schema::document("status", &out(&stage.run(&["status", "--format", "json"])));
    let csv = stage.run(&["status", "--format", "csv"]);
    assert_eq!(err(&csv), "");
    let counted = err(&stage.run(&["status"]));
    assert!(
        counted.starts_with("8 sites: ") && counted.lines().count() == 1,
        "{counted}"
    );
    let rows = records(&out(&csv));
    let same = [
        "site",
        "url",
        "group",
        "now",
        "expected",
        "push",
        "reason",
        "verify",
        "cause",
        "http",
        "run",
        "attempts",
        "alarm",
        "acknowledged",
        "at",
        "looked_at",
    ];
    agree(&rows, &document["sites"], &same);
    assert!(rows.iter().any(|row| row["push"] == "stored"), "{rows:?}");

    let table = out(&stage.run(&["status", "--format", "table"]));
    assert!(table.starts_with("SITE "), "{table}");
    let plain = out(&stage.run(&["status"]));
    assert_eq!(table.lines().count(), plain.lines().count());
    let markdown = out(&stage.run(&["status", "--format", "markdown"]));
    assert!(markdown.starts_with("| SITE | NOW | EXPECTED | PUSH | VERIFY | AT | NOTE |\n| --- |"));
    assert_eq!(markdown.lines().count(), table.lines().count() + 1);
    for text in [table, markdown] {
        for site in stage.fleet.sites() {
            assert!(text.contains(&site.name), "{text}");
        }
    }

    let old_keys = stage.run(&["status", "--old-key", "--format", "csv"]);
    assert_eq!(old_keys.status.code(), Some(2));
    assert!(err(&old_keys).contains("--format json"), "{}", err(&old_keys));
    let both = stage.run(&["status", "--json", "--format", "csv"]);
    assert_eq!(both.status.code(), Some(2), "{}", err(&both));
}

#[test]
fn a_name_that_would_be_a_formula_or_markup_is_text() {
    let stage = Stage::of(1);
    let path = stage.path("config.toml");
    let config = fs::read_to_string(&path).unwrap();
    let site = "\n[[sites]]\nurl = \"https://shop.example.com\"\nname = \"=1+2|<b>*x*\"\ngroup = \"@a, b\"\n";
    fs::write(&path, config + site).unwrap();
    for command in ["status", "sites"] {
        let csv = out(&stage.run(&[command, "--format", "csv"]));
        assert!(csv.contains("'=1+2|<b>*x*,"), "{csv}");
        assert!(csv.contains("\"'@a, b\""), "{csv}");
        let markdown = out(&stage.run(&[command, "--format", "markdown"]));
        assert!(markdown.contains("| =1+2\\|&lt;b&gt;\\*x\\* |"), "{markdown}");
    }
}

#[test]
fn the_history_tells_of_each_run_and_of_one_site_by_site() {
    let stage = Stage::of(8);
    let empty = schema::document("history", &out(&stage.run(&["history", "--format", "json"])));
    assert_eq!(empty["runs"], serde_json::json!([]));
    stage.push();
    stage.heal();
    stage.push();

    let document = schema::document("history", &out(&stage.run(&["history", "--format", "json"])));
    let runs = document["runs"].as_array().unwrap();
    let numbers: Vec<&Value> = runs.iter().map(|run| &run["id"]).collect();
    assert_eq!(numbers, [2, 1], "the newest first");
    assert_eq!((&runs[0]["sites"], &runs[0]["kind"]), (&8.into(), &"push".into()));
    assert!(document.get("sites").is_none(), "{document}");
    let newest = schema::document(
        "history",
        &out(&stage.run(&["history", "--limit", "1", "--format", "json"])),
    );
    assert_eq!(newest["runs"], serde_json::json!([runs[0]]));
    let rows = records(&out(&stage.run(&["history", "--format", "csv"])));
    agree(
        &rows,
        &document["runs"],
        &["kind", "key", "mode", "began", "sent", "sites", "state", "live"],
    );
    assert_eq!(
        (&rows[0]["run"], &rows[0]["by"]),
        (&"2".into(), &runs[0]["by"]["user"])
    );
    let table = out(&stage.run(&["history"]));
    assert!(table.starts_with("RUN "), "{table}");
    assert!(!table.contains(stage.key()), "{table}");

    let asked = ["history", "--run", "1", "--attempts", "--format"];
    let of_one = schema::document("history", &out(&stage.run(&[&asked[..], &["json"]].concat())));
    let record = stage.fleet.record();
    let puts = |value: &&Value| value["request"] == "put";
    let told = of_one["attempts"].as_array().unwrap().iter().filter(puts).count();
    assert!(told > 0 && told <= record.requests.len(), "{told}");
    let rows = records(&out(&stage.run(&[&asked[..], &["csv"]].concat())));
    agree(
        &rows,
        &of_one["attempts"],
        &["site", "url", "request", "number", "ms", "http", "cause", "at"],
    );
    let sites = records(&out(&stage.run(&["history", "--run", "1", "--format", "csv"])));
    agree(
        &sites,
        &of_one["sites"],
        &[
            "site", "url", "push", "verify", "cause", "http", "key", "before", "now", "old_key", "note",
        ],
    );
    let markdown = out(&stage.run(&["history", "--run", "1", "--format", "markdown"]));
    assert!(
        markdown.starts_with("| SITE | URL | PUSH | VERIFY | HTTP | TRY |"),
        "{markdown}"
    );

    let unknown = stage.run(&["history", "--run", "9"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(err(&unknown).contains("no run 9"), "{}", err(&unknown));
}

#[test]
fn the_list_of_sites_tells_where_each_stands_and_no_key() {
    let stage = Stage::of(3);
    let path = stage.path("config.toml");
    let config = fs::read_to_string(&path).unwrap();
    let more = "\n[[sites]]\nurl = \"https://bücher.example\"\nenabled = false\nmode = \"live\"\n\
                master_key = { env = \"OWN\" }\n";
    fs::write(&path, config + more).unwrap();
    let document = schema::document("sites", &out(&stage.run(&["sites", "--format", "json"])));
    let sites = document["sites"].as_array().unwrap();
    assert_eq!(sites.len(), 4);
    assert_eq!(
        (&sites[0]["master_key"], &sites[0]["from"]),
        (&"global".into(), &serde_json::json!(["config"]))
    );
    let other = &sites[3];
    assert_eq!(
        (&other["master_key"], &other["enabled"], &other["mode"]),
        (&"own".into(), &false.into(), &"live".into())
    );
    assert_eq!(
        (&other["url"], &other["readable_host"]),
        (&"https://xn--bcher-kva.example".into(), &"bücher.example".into())
    );
    let table = out(&stage.run(&["sites"]));
    assert!(table.contains("the host reads bücher.example"), "{table}");
    let rows = records(&out(&stage.run(&["sites", "--format", "csv"])));
    agree(
        &rows,
        &document["sites"],
        &[
            "site",
            "url",
            "group",
            "mode",
            "backend",
            "enabled",
            "master_key",
            "note",
        ],
    );
}

#[test]
fn a_file_is_replaced_at_once_and_read_by_its_owner() {
    let stage = Stage::of(2);
    let file = stage.path("out.csv");
    fs::write(&file, "before").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    for command in [
        &["sites", "--format", "csv", "--output", "out.csv"][..],
        &["history", "--format", "csv", "--output", "out.csv"],
        &["status", "--format", "csv", "--output", "out.csv"],
    ] {
        assert_eq!(out(&stage.run(command)), "", "{command:?}");
        let about = fs::metadata(&file).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600, "{command:?}");
    }
    let rows = records(&fs::read_to_string(&file).unwrap());
    assert_eq!(rows.len(), 2);
    let left = fs::read_dir(stage.folder.path()).unwrap();
    let left: Vec<String> = left
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !left.iter().any(|name| name.starts_with(".stripe-propagate")),
        "{left:?}"
    );

    let nowhere = stage.run(&["status", "--format", "csv", "--output", "no/such/folder.csv"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(err(&nowhere).contains("no/such/folder.csv"), "{}", err(&nowhere));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let stage = Stage::of(1);
    for command in [
        &["status"][..],
        &["history"],
        &["sites"],
        &["info"],
        &["man"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = stage
            .command(command)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(
            (ended.status.code(), err(&ended)),
            (Some(0), String::new()),
            "{command:?}"
        );
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = stage.command(&["sites"]).stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        err(&ended).contains("the answer was not written"),
        "{}",
        err(&ended)
    );
}

#[test]
fn a_key_behind_the_flags_is_refused_and_not_echoed() {
    let stage = Stage::of(1);
    let key = stage.key().to_owned();
    for command in ["history", "sites", "info", "init", "completions", "man"] {
        let ended = stage.run(&[command, &key]);
        assert_eq!(ended.status.code(), Some(2), "{command}");
        assert!(!err(&ended).contains(&key) && err(&ended).contains("never given as an argument"));
    }
}
