use std::collections::BTreeSet;

use proptest::prelude::*;

use super::bodies::config::{is_read_the_same_in_pieces, read};

/// A config with all that can stand in one.
const EXAMPLE: &str = include_str!("../../config.example.toml");

/// Its lines, of which none is a remark any more: what names a table, or gives a name its value.
fn example() -> Vec<&'static str> {
    let bare = EXAMPLE.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    bare.filter(|line| {
        line.starts_with('[')
            || line
                .split_once(" = ")
                .is_some_and(|(name, _)| name.bytes().all(is_name))
    })
    .collect()
}

fn names() -> Vec<&'static str> {
    let names = example().into_iter().filter_map(|line| line.split_once(" = "));
    let names: BTreeSet<&str> = names.map(|(name, _)| name).collect();
    names.into_iter().collect()
}

/// A value of any kind. Its texts are words of which a complaint may quote none.
fn value() -> impl Strategy<Value = String> {
    let word = "[a-z]{4}[0-9]{4}[A-Za-z0-9]{0,24}";
    prop_oneof![
        word.prop_map(|word| format!("\"{word}\"")),
        word.prop_map(|word| format!("\"sk_live_{word}\"")),
        word.prop_map(|word| format!("\"https://user:{word}@shop.example/?{word}\"")),
        word.prop_map(|word| format!("{{ value = \"{word}\" }}")),
        word.prop_map(|word| format!("{{ file = \"/{word}\", env = \"{word}\" }}")),
        word.prop_map(|word| format!("{{ {word} = 1 }}")),
        word.prop_map(|word| format!("[\"{word}\", 3, {{}}]")),
        word.prop_map(|word| format!("'{word}")),
        word.prop_map(|word| word),
        "[-+]?[0-9]{1,20}(\\.[0-9]{1,5})?(e[0-9]{1,3})?".prop_map(|number| number),
        "\"-?[0-9]{1,25} ?(s|ms|h|min|days|years|parsecs)\"".prop_map(|time| time),
        "\"[0-9]{1,4}%\"".prop_map(|share| share),
        prop::sample::select(vec![
            "true",
            "nan",
            "inf",
            "\"\"",
            "[]",
            "{}",
            "1979-05-27T07:32:00Z",
            "\"\u{202e}\"",
            "\"\\u0000\"",
            "\"\"\"",
            "[[[[[[[[[[[[",
            "\"file\"",
            "\"csv\"",
            "\"live\"",
            "\"/\"",
            "\"https://shop.example\"",
            "[\"ls\"]",
        ])
        .prop_map(str::to_owned),
    ]
}

#[derive(Debug, Clone)]
enum Edit {
    Value(usize, String),
    Insert(usize, String),
    Remove(usize),
    Twice(usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let line = 0..example().len();
    let named =
        (prop::sample::select(names()), value()).prop_map(|(name, value)| format!("{name} = {value}"));
    let inserted = prop_oneof![4 => named, 1 => "[ -~]{0,40}", 1 => any::<String>()];
    let edit = prop_oneof![
        5 => (line.clone(), value()).prop_map(|(line, value)| Edit::Value(line, value)),
        2 => (line.clone(), inserted).prop_map(|(line, text)| Edit::Insert(line, text)),
        2 => line.clone().prop_map(Edit::Remove),
        1 => line.prop_map(Edit::Twice),
    ];
    prop::collection::vec(edit, 0..4)
}

fn edited(edits: Vec<Edit>) -> String {
    let mut lines: Vec<String> = example().into_iter().map(str::to_owned).collect();
    for edit in edits {
        match edit {
            Edit::Value(at, value) => {
                if let Some((name, _)) = lines[at].clone().split_once(" = ") {
                    lines[at] = format!("{name} = {value}");
                }
            }
            Edit::Insert(at, text) => lines[at] = format!("{}\n{text}", lines[at]),
            Edit::Remove(at) => lines[at].clear(),
            Edit::Twice(at) => lines[at] = format!("{0}\n{0}", lines[at]),
        }
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_a_config_it_is_read_or_refused_without_a_quote(edits in edits(), owner_only in any::<bool>()) {
        let text = edited(edits);
        let _read = read(&text, owner_only);
        is_read_the_same_in_pieces(&text);
    }

    #[test]
    fn tables_of_any_names_and_values(
        lines in prop::collection::vec((prop::sample::select(names()), value()), 0..6),
        table in prop::sample::select(vec!["", "[[sites]]", "[push]", "[[sources]]", "[rollout]", "[notify]", "[keys]"]),
    ) {
        let lines: Vec<String> = lines.into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let text = format!("{table}\n{}", lines.join("\n"));
        let _read = read(&text, true);
        is_read_the_same_in_pieces(&text);
    }

    #[test]
    fn a_secret_that_a_good_config_has_is_not_in_what_it_prints(secret in "[A-Za-z0-9]{24,40}") {
        let text = format!(
            "master_key = {{ value = \"{secret}\" }}\n[[sites]]\nurl = \"https://a.example\"\nmaster_key = {{ value = \"{secret}x\" }}\n"
        );
        let config = read(&text, true).unwrap();
        is_read_the_same_in_pieces(&text);
        let printed = format!("{config:?}");
        prop_assert!(!printed.contains(&secret));
    }
}

#[test]
fn the_twin_begins_with_lines_of_every_table() {
    let lines = example();
    for line in ["[push]", "[[sites]]", "[[sources]]", "[rollout]", "[notify]"] {
        assert!(lines.contains(&line), "{line} is not in the example");
    }
    assert!(names().len() > 40, "{:?}", names());
}
