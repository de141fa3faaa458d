use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stripe_propagate::config::Config;
use stripe_propagate::site::SiteMode;

use super::bodies::sites::{COUNT, read, told};

/// What a list says of a site, by the names of its fields.
type Row = BTreeMap<&'static str, String>;

/// A text that is hard to write down.
fn odd() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,12}",
        2 => "[ -~]{1,30}",
        1 => any::<String>(),
        1 => prop::sample::select(vec!["\"", "'''", "\u{202e}x", "a\nb", "\u{1b}[2J", ",;\t", "#x", "\\u0000", "\u{feff}"])
            .prop_map(str::to_owned),
    ]
}

fn url() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "https://[a-z]{1,3}\\.example(/[a-z]{1,3})?/?",
        1 => "(http|ftp|HTTPS)://[a-z]{1,3}\\.example",
        1 => "https://[a-z]{2}:[a-z]{2}@[a-z]{1,3}\\.example\\?[a-z]",
        1 => odd(),
    ]
}

/// What a master key in a list is like.
const SECRET: &str = "Topsecret";

fn row() -> impl Strategy<Value = Row> {
    let word = |words: &[&str]| {
        prop::option::of(prop::sample::select(
            words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(),
        ))
    };
    (
        url(),
        prop::option::of(odd()),
        word(&["live", "test", "any", "both"]),
        word(&["true", "no", "active", "perhaps"]),
        prop::option::of("[A-Za-z0-9 \u{e9}]{0,20}".prop_map(|tail| format!("{SECRET}{tail}"))),
    )
        .prop_map(|(url, name, mode, enabled, master_key)| {
            let fields = [
                ("url", Some(url)),
                ("name", name),
                ("mode", mode),
                ("enabled", enabled),
                ("master_key", master_key),
            ];
            fields
                .into_iter()
                .filter_map(|(name, text)| Some((name, text?)))
                .collect()
        })
}

fn csv(rows: &[Row]) -> String {
    let columns = ["url", "name", "mode", "enabled", "master_key"];
    let cell = |row: &Row, name| {
        let text = row.get(name).cloned().unwrap_or_default();
        format!("\"{}\"", text.replace('"', "\"\""))
    };
    let line = |row: &Row| columns.map(|name| cell(row, name)).join(",");
    let lines = rows.iter().map(line);
    [columns.join(",")]
        .into_iter()
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}

/// As it may stand in the config.
fn toml(rows: &[Row]) -> String {
    let field = |(name, text): (&&str, &String)| match text.as_str() {
        "true" if **name == *"enabled" => "enabled = true\n".to_owned(),
        // JSON's escapes are TOML's too, but for what TOML has no escape for.
        _ => format!(
            "{name} = {}\n",
            serde_json::to_string(text).unwrap().replace('\u{7f}', "\\u007f")
        ),
    };
    let table = |row: &Row| {
        let lines: Vec<String> = row.iter().map(field).collect();
        format!("[[sites]]\n{}", lines.concat())
    };
    rows.iter().map(table).collect::<Vec<_>>().concat()
}

/// Reads it as the source with this place; the others are empty.
fn alone(place: usize, text: &str) -> Config {
    let mut texts: [&[u8]; COUNT] = [b""; COUNT];
    texts[place] = text.as_bytes();
    read(&texts)
}

/// What came of the sites: address, name, mode, whether it is sent keys.
fn listed(config: &Config) -> BTreeSet<(String, String, &'static str, bool)> {
    let mode = |mode| match mode {
        SiteMode::Any => "any",
        SiteMode::Live => "live",
        SiteMode::Test => "test",
    };
    let sites = config.sites.iter();
    sites
        .map(|site| {
            (
                site.url.to_string(),
                site.name.to_string(),
                mode(site.mode),
                site.enabled,
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn csv_and_json_say_the_same_and_quote_no_secret(rows in prop::collection::vec(row(), 1..6)) {
        let json = serde_json::to_string(&rows).unwrap();
        let dashboard = format!("{{\"success\": true, \"sites\": {json}}}");
        let csv = csv(&rows);
        let of_csv = alone(1, &csv);
        let of_json = alone(2, &json);
        prop_assert_eq!(listed(&of_csv), listed(&of_json));
        prop_assert_eq!(listed(&of_csv), listed(&alone(5, &csv)));
        prop_assert_eq!(listed(&of_json), listed(&alone(5, &json)));
        let lines: Vec<&str> = rows.iter().map(|row| row["url"].as_str()).collect();
        let lines = lines.join("\n");
        let toml = toml(&rows);
        let all = read(&[&lines, &csv, &json, &toml, &dashboard, &json].map(String::as_bytes));
        for config in [of_csv, of_json, all] {
            for told in told(&config) {
                prop_assert!(!told.contains(SECRET), "{}", told);
            }
            let printed = format!("{:?}", config.master_keys);
            prop_assert!(!printed.contains(SECRET));
        }
    }

    #[test]
    fn a_list_of_any_text_comes_to_an_end(
        lines in prop::collection::vec(prop_oneof![url(), odd()], 0..30),
        broken in "[\\[\\]{}\",:a-z0-9 \n=]{0,60}",
    ) {
        let text = lines.join("\n");
        read(&[text.as_bytes(); COUNT]);
        read(&[broken.as_bytes(); COUNT]);
    }

    #[test]
    fn each_good_address_of_a_plain_list_is_in_it(hosts in prop::collection::btree_set("[a-z]{1,8}", 1..20)) {
        let lines: Vec<String> = hosts.iter().map(|host| format!("https://{host}.example/")).collect();
        let config = alone(0, &lines.join("\r\n"));
        let found: BTreeSet<String> = config.sites.iter().map(|site| site.url.to_string()).collect();
        for host in hosts {
            let url = format!("https://{host}.example");
            prop_assert!(found.contains(&url), "{}", url);
        }
    }
}
