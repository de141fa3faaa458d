use std::collections::BTreeMap;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

const MOST: usize = 1000;
const FORMATS: [ListFormat; 4] = [
    ListFormat::Lines,
    ListFormat::Csv,
    ListFormat::Json,
    ListFormat::Toml,
];

/// `place: field=text field=text`, a row each.
fn told(rows: &Rows) -> Vec<String> {
    let row = |row: &Row| {
        let fields = row.fields.iter();
        let fields = fields.map(|(field, text)| format!("{}={}", field.name(), text.expose_secret()));
        format!("{}: {}", row.place, fields.collect::<Vec<_>>().join(" "))
    };
    rows.found.iter().map(row).collect()
}

fn bad(rows: Rows) -> Vec<String> {
    let (kept, _) = rows.bad.into_kept();
    kept.iter()
        .map(|(place, text)| format!("{place}: {text}"))
        .collect()
}

/// Those of bad rows.
fn addresses(rows: &Rows) -> Vec<String> {
    let addresses = rows.bad_addresses.iter();
    addresses
        .map(|(place, url)| format!("{place}: {}", url.expose_secret()))
        .collect()
}

fn read_text(text: &str, format: ListFormat) -> Rows {
    read(text.as_bytes(), format, MOST).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(text: &str, format: ListFormat) -> String {
    read(text.as_bytes(), format, MOST).err().unwrap()
}

#[test]
fn a_plain_list_is_read_as_operators_have_it() {
    let text = "\u{feff}# all shops\r\n\r\nhttps://a.example/\r\n  https://b.example   # moves house\n\t#https://c.example\nhttps://d.example/x#y\n";
    assert_eq!(
        told(&read_text(text, ListFormat::Lines)),
        [
            "line 3: url=https://a.example/",
            "line 4: url=https://b.example",
            "line 6: url=https://d.example/x#y"
        ]
    );
    assert!(told(&read_text("", ListFormat::Lines)).is_empty());
}

#[test]
fn csv_has_its_columns_in_any_order() {
    let text = "\u{feff}Name, URL ,colour,master_key\r\n# a comment\r\n\"Shop, \"\"A\"\"\",https://a.example,red,\r\n\r\n\"two\nlines\",https://b.example,,k\r\nx,https://c.example\r\n";
    let rows = read_text(text, ListFormat::Csv);
    assert_eq!(
        told(&rows),
        [
            "line 3: url=https://a.example name=Shop, \"A\"",
            "line 5: url=https://b.example name=two\nlines master_key=k"
        ]
    );
    assert_eq!(
        unknown_in_words(&rows.unknown).split(':').next().unwrap(),
        "no field of a site is called colour"
    );
    assert_eq!(bad(rows), ["line 7: has 2 columns, and the head has 4"]);
}

#[test]
fn csv_needs_a_head() {
    let said = refusal("https://a.example,secret-name\n", ListFormat::Csv);
    assert!(
        said.contains("first row must name the columns") && !said.contains("secret"),
        "{said}"
    );
    assert!(refusal("url;name\nhttps://a.example;x\n", ListFormat::Csv).contains("not semicolons"));
    assert!(refusal("url,name,URL\n", ListFormat::Csv).contains("names url twice"));
}

#[test]
fn json_is_a_list_of_addresses_or_objects() {
    let list = r#"["https://a.example", {"url": "https://b.example", "enabled": false, "name": null, "id": 7, "group": 3}, 5, {"url": ["x"]}, {"mode": {}, "url": "https://c.example"}]"#;
    let rows = read_text(list, ListFormat::Json);
    assert_eq!(
        told(&rows),
        [
            "row 1: url=https://a.example",
            "row 2: url=https://b.example group=3 enabled=false"
        ]
    );
    assert!(rows.unknown.is_empty(), "real lists have other names");
    assert_eq!(addresses(&rows), ["row 5: https://c.example"]);
    assert_eq!(
        bad(rows),
        [
            "row 3: is neither an address nor an object",
            "row 4: url: is a list or an object, and must be a text",
            "row 5: mode: is a list or an object, and must be a text"
        ]
    );
    // The dashboard's answer (contract.md).
    let dashboard = r#"{"success": true, "count": 1, "sites": [{"id": 1, "url": "https://a.example", "status": "active", "api_key": "abcdefghij…"}]}"#;
    assert_eq!(
        told(&read_text(dashboard, ListFormat::Json)),
        ["row 1: url=https://a.example"]
    );
}

#[test]
fn a_pointer_leads_to_the_list_and_a_map_to_its_names() {
    let text = br#"{"data": {"list": [{"address": "https://a.example", "status": "inactive"}]}}"#;
    let fields: BTreeMap<Field, String> = [
        (Field::Url, "address"),
        (Field::Enabled, "status"),
        (Field::MasterKey, "key"),
    ]
    .map(|(field, name)| (field, name.to_owned()))
    .into();
    let rows = json::read(text, Some("/data/list"), &fields, MOST).unwrap();
    assert_eq!(told(&rows), ["row 1: url=https://a.example enabled=inactive"]);
    assert_eq!(rows.odd, ["none of its rows has key: is fields right?"]);
    let refused = |pointer| json::read(text, pointer, &fields, MOST).err().unwrap();
    assert_eq!(
        refused(Some("/data/sites")),
        "has nothing at /data/sites: is pointer right?"
    );
    assert!(refused(Some("/data")).contains("holds no list there"));
    assert!(refused(None).contains("holds no list there"));
    assert_eq!(
        refusal("<html>secret", ListFormat::Json),
        "is no JSON (line 1, column 1)"
    );
}

#[test]
fn json_names_its_fields_in_any_letters_and_once() {
    let list = r#"[{"URL": "https://a.example", "Enabled": false}, {"url": "https://b.example", "enabled": true, "ENABLED": false}]"#;
    let rows = read_text(list, ListFormat::Json);
    assert_eq!(told(&rows), ["row 1: url=https://a.example enabled=false"]);
    assert_eq!(addresses(&rows), ["row 2: https://b.example"]);
    assert_eq!(bad(rows), ["row 2: enabled: stands there twice"]);
    // A name of the config's own is meant as it stands there, and may be of several fields.
    let fields: BTreeMap<Field, String> =
        [(Field::Url, "At".to_owned()), (Field::Name, "At".to_owned())].into();
    let text = br#"[{"At": "https://a.example"}, {"at": "https://b.example", "url": "https://c.example"}]"#;
    let rows = json::read(text, None, &fields, MOST).unwrap();
    assert_eq!(
        told(&rows),
        ["row 1: url=https://a.example name=https://a.example", "row 2: "]
    );
}

/// Values take many times the memory of their text: what stands beside the list is not made into any.
#[test]
fn of_a_large_text_only_the_rows_take_memory() {
    // Values as deep as this are refused.
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let list = r#"["https://a.example"]"#;
    for (text, pointer) in [
        (format!("{{\"beside\": {deep}, \"sites\": {list}}}"), None),
        (
            format!("[{deep}, {{\"a/b\": {{\"c~\": {list}}}}}]"),
            Some("/1/a~1b/c~0"),
        ),
    ] {
        let rows = json::read(text.as_bytes(), pointer, &BTreeMap::new(), MOST).unwrap();
        assert_eq!(told(&rows), ["row 1: url=https://a.example"]);
    }
    let long = format!(
        r#"[{{"url": "https://a.example", "x": "{}"}}]"#,
        "x".repeat(1024 * 1024)
    );
    assert_eq!(refusal(&long, ListFormat::Json), "row 1 is longer than 1 MiB");
    // Which site it speaks of is not known.
    let half = r#"["https://b.example", {"url": "https://a.example", "enabled": false, "note": "\ud800"}]"#;
    assert_eq!(refusal(half, ListFormat::Json), "row 2 cannot be read");
    let long = "#".repeat(8 * 1024 * 1024 + 1);
    assert!(refusal(&long, ListFormat::Toml).starts_with("is longer than 8 MiB, the most for TOML"));
    assert!(told(&read_text(&long[1..], ListFormat::Toml)).is_empty());
}

#[test]
fn toml_has_sites_as_the_config() {
    let text = "version = 1\n[[sites]]\nurl = \"https://a.example\"\nenabled = false\nid = 3\n[[sites]]\nurl = \"https://b.example\"\nmaster_key = { env = \"A\" }\n";
    let rows = read_text(text, ListFormat::Toml);
    assert_eq!(told(&rows), ["row 1: url=https://a.example enabled=false"]);
    assert_eq!(rows.unknown.len(), 2);
    assert_eq!(addresses(&rows), ["row 2: https://b.example"]);
    assert_eq!(bad(rows), ["row 2: master_key: must be a text"]);
    let said = refusal("a = 1\nkey = sk_live_x\n", ListFormat::Toml);
    assert_eq!(said, "is no TOML (line 2)");
}

#[test]
fn what_a_command_prints_says_itself_what_it_is() {
    let read = |text: &str| told(&printed(text.as_bytes(), None, &BTreeMap::new(), MOST).unwrap()).join("; ");
    assert_eq!(
        read("\u{feff} \n[\"https://a.example\"]"),
        "row 1: url=https://a.example"
    );
    assert_eq!(read("{\"sites\": []}"), "");
    assert_eq!(read("url\nhttps://a.example\n"), "line 2: url=https://a.example");
    assert_eq!(
        read("name,url\nx,https://a.example\n"),
        "line 2: url=https://a.example name=x"
    );
    assert_eq!(read("https://a.example\n"), "line 1: url=https://a.example");
    let said = printed(b"https://a.example\n", Some("/sites"), &BTreeMap::new(), MOST);
    assert!(said.err().unwrap().contains("prints no JSON"));
}

#[test]
fn more_rows_than_allowed_are_a_failure_in_each_format() {
    for (text, format) in [
        ("https://a\nhttps://b\nhttps://c\n", ListFormat::Lines),
        ("url\nhttps://a\nhttps://b\nhttps://c\n", ListFormat::Csv),
        ("url\na,b\na,b\na,b\n", ListFormat::Csv),
        ("[1, 2, 3]", ListFormat::Json),
        ("[[sites]]\n[[sites]]\n[[sites]]\n", ListFormat::Toml),
    ] {
        let said = read(text.as_bytes(), format, 2).err().unwrap();
        assert_eq!(
            said, "has more than 2 rows: raise max_rows if that is right",
            "{text}"
        );
        assert!(read(text.as_bytes(), format, 3).is_ok(), "{text}");
    }
}

#[test]
fn many_remarks_are_counted_and_a_hundred_are_told() {
    let text = format!("url,name\n{}", "x\n".repeat(512));
    let (kept, more) = read_text(&text, ListFormat::Csv).bad.into_kept();
    assert_eq!((kept.len(), more), (100, 412));
}

/// Bytes that look like a list in places.
fn odd_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"https://a.example"[..]),
        Just(&b"url,name\n"[..]),
        Just(&b"[[sites]]\nurl = "[..]),
        Just(&b"{\"sites\":["[..]),
        Just(&b"\"\n"[..]),
        Just(&b"\xef\xbb\xbf"[..]),
        Just(&b"\xff\xfe\0#\r\n"[..]),
        Just(&b"]}"[..]),
        Just(&b","[..]),
    ];
    let pieces = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    prop_oneof![pieces, prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    /// Whatever stands in a list: it is read or refused, within its limit.
    #[test]
    fn no_bytes_are_too_odd(bytes in odd_bytes()) {
        let read_all = FORMATS.map(|format| read(&bytes, format, 5)).into_iter();
        let all = read_all.chain([printed(&bytes, None, &BTreeMap::new(), 5)]);
        for rows in all.flatten() {
            prop_assert!(rows.count() <= 5);
            for row in rows.found {
                let _parsed_or_refused = row.parse();
            }
        }
    }
}
