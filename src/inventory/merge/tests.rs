use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::{Place as ConfigPlace, parse};
use crate::inventory::formats;
use crate::site::{Field, Site, SiteMode};

fn config(text: &str) -> Config {
    let place = ConfigPlace {
        path: Path::new("c.toml"),
        home: None,
        owner_only: true,
    };
    parse(text, place).unwrap()
}

/// A source of this name, with more lines.
fn source(name: &str, more: &str) -> String {
    format!("[[sources]]\nkind = \"file\"\npath = \"x\"\nname = \"{name}\"\n{more}\n")
}

/// Rows with these fields.
fn rows(of: &[&[(Field, &str)]]) -> Rows {
    let row = |(number, fields): (u64, &&[(Field, &str)])| Row {
        place: Place::Row(number),
        fields: fields
            .iter()
            .map(|(field, text)| (*field, SecretString::from(*text)))
            .collect(),
    };
    Rows {
        found: (1..).zip(of).map(row).collect(),
        ..Rows::default()
    }
}

fn site<'a>(config: &'a Config, host: &str) -> &'a Site {
    config.sites.iter().find(|site| site.url.host() == host).unwrap()
}

fn key_of(config: &Config, host: &str) -> String {
    let key = &config.master_keys[site(config, host).master_key.0 as usize];
    match key {
        SecretSource::Value(text) => text.expose_secret().to_owned(),
        other => other.variables().concat(),
    }
}

fn warnings(config: &Config) -> Vec<String> {
    config.listed.warnings.iter().map(ToString::to_string).collect()
}

const A: (Field, &str) = (Field::Url, "https://a.example");
const B: (Field, &str) = (Field::Url, "https://b.example");

#[test]
fn what_is_set_beats_a_default_and_the_first_place_a_later_one() {
    let text = format!(
        "[[sites]]\nurl = \"https://a.example\"\ngroup = \"own\"\n{}{}",
        source("one", "group = \"all\"\nmode = \"test\""),
        source("two", "")
    );
    let one = rows(&[&[A, (Field::Name, "first"), (Field::Group, "other")], &[B]]);
    let two = rows(&[
        &[
            (Field::Url, "HTTPS://A.example:443/"),
            (Field::Name, "second"),
            (Field::Enabled, "no"),
        ],
        &[B, (Field::Mode, "live"), (Field::Backend, "s3")],
    ]);
    let config = merge(config(&text), vec![Ok(one), Ok(two)]);
    let (a, b) = (site(&config, "a.example"), site(&config, "b.example"));
    assert_eq!(config.sites.len(), 2);
    assert_eq!(
        (a.name.as_str(), a.enabled, a.mode),
        ("first", false, SiteMode::Test)
    );
    assert_eq!(a.group.as_ref().unwrap().as_str(), "own");
    assert_eq!(
        (b.mode, &*b.backend),
        (SiteMode::Live, "s3"),
        "a row beats what is said of all"
    );
    assert_eq!(b.group.as_ref().unwrap().as_str(), "all");
    let origins: Vec<Vec<&str>> = config
        .listed
        .origins
        .iter()
        .map(|places| places.iter().map(CleanText::as_str).collect())
        .collect();
    assert_eq!(origins, [vec!["config", "one", "two"], vec!["one", "two"]]);
    assert_eq!(warnings(&config), [""; 0]);
}

#[test]
fn a_master_key_is_the_sites_own_then_the_groups_then_the_sources_then_the_global_one() {
    let text = format!(
        "[groups.prod]\nmaster_key = {{ env = \"GROUP\" }}\n{}{}",
        source("one", "master_key = { env = \"SOURCE\" }"),
        source("two", "")
    );
    let one = rows(&[
        &[A, (Field::Group, "prod"), (Field::MasterKey, "own-key")],
        &[B, (Field::Group, "prod")],
        &[(Field::Url, "https://c.example"), (Field::Group, "dev")],
        &[(Field::Url, "https://e.example"), (Field::MasterKey, " own-key ")],
    ]);
    let two = rows(&[
        &[(Field::Url, "https://d.example")],
        &[A, (Field::MasterKey, "not-this-one")],
    ]);
    let config = merge(config(&text), vec![Ok(one), Ok(two)]);
    let keys = ["a", "b", "c", "d"].map(|host| key_of(&config, &format!("{host}.example")));
    assert_eq!(keys, ["own-key", "GROUP", "SOURCE", "TEMPLATE_MASTER_API_KEY"]);
    // Sites with one key share it, so that it is tried once.
    assert_eq!(
        site(&config, "a.example").master_key,
        site(&config, "e.example").master_key
    );
    assert!(!format!("{config:?}").contains("own-key"));
}

#[test]
fn a_bad_row_is_a_warning_and_loses_no_other() {
    let text = source("shops", "");
    let one = rows(&[
        &[A],
        &[(Field::Name, "x")],
        &[B, (Field::MasterKey, "abcdefghij…")],
        &[
            (Field::Url, "https://c.example"),
            (Field::MasterKey, "sk_live_51Secret"),
        ],
        &[A, (Field::Name, "again")],
    ]);
    let config = merge(config(&text), vec![Ok(one)]);
    assert_eq!(config.sites.len(), 1);
    assert_eq!(config.sites[0].name.as_str(), "again");
    assert_eq!(
        warnings(&config),
        [
            "shops, row 2: has no url",
            "shops, row 3: master_key: it is cut short (it ends with dots), and no site takes it",
            "shops, row 4: master_key: this is a secret key of Stripe's, not the sites' master key",
            "shops, row 5: this site is in row 1 already: what both say is one",
        ]
    );
}

/// Else it would be of any mode, enabled, and with the global master key.
#[test]
fn a_site_of_a_bad_row_that_stands_elsewhere_too_gets_no_key() {
    let text = format!(
        "[[sites]]\nurl = \"https://a.example\"\nenabled = true\n{}{}{}",
        source("one", ""),
        source("two", ""),
        source("three", "")
    );
    let c = (Field::Url, "https://c.example");
    let d = (Field::Url, "https://d.example");
    let one = rows(&[
        &[A, (Field::Mode, "life")],
        &[B, (Field::MasterKey, "abcdefghij…")],
        &[c, (Field::Enabled, "off")],
    ]);
    let two = rows(&[&[B], &[d]]);
    let cut_off = formats::read(
        b"name,url,enabled\nd,https://d.example\n",
        crate::config::ListFormat::Csv,
        9,
    );
    let config = merge(config(&text), vec![Ok(one), Ok(two), cut_off]);
    let sites: Vec<(&str, bool)> = config
        .sites
        .iter()
        .map(|site| (site.url.host(), site.enabled))
        .collect();
    assert_eq!(
        sites,
        [("a.example", false), ("b.example", false), ("d.example", false)]
    );
    let told = warnings(&config);
    let held: Vec<&str> = told
        .iter()
        .map(String::as_str)
        .filter(|told| told.contains("elsewhere too"))
        .collect();
    let words = "stands elsewhere too, but what this row says of it is not known: it gets no key until the row is mended";
    assert_eq!(
        held,
        [
            format!("one, row 1: https://a.example {words}"),
            format!("one, row 2: https://b.example {words}"),
            format!("three, line 2: https://d.example {words}"),
        ]
    );
}

#[test]
fn a_host_that_a_source_may_not_add_is_not_held_back_by_it() {
    let text = format!(
        "[inventory]\nallow_hosts = [\"*.shops.example\"]\n[[sites]]\nurl = \"https://a.example\"\n{}",
        source("one", "")
    );
    let good: &[(Field, &str)] = &[(Field::Url, "https://x.shops.example")];
    let one = rows(&[good, &[A, (Field::Mode, "life")]]);
    assert!(site(&merge(config(&text), vec![Ok(one)]), "a.example").enabled);
}

#[test]
fn a_hundred_warnings_are_told_of_a_source() {
    let bad: &[(Field, &str)] = &[(Field::Name, "x")];
    let mut all = vec![bad; 512];
    all.push(&[A]);
    let config = merge(config(&source("shops", "")), vec![Ok(rows(&all))]);
    let told = warnings(&config);
    assert_eq!(told.len(), 101);
    assert_eq!(told[100], "shops: and 412 more");
}

#[test]
fn a_source_without_a_good_row_has_failed_and_an_empty_one_is_odd() {
    let text = ["one", "two", "three"].map(|name| source(name, "")).concat();
    let all_bad = rows(&[&[(Field::Name, "x")], &[]]);
    let unread = Err("was not read".to_owned());
    let config = merge(config(&text), vec![Ok(all_bad), unread, Ok(rows(&[]))]);
    let failed: Vec<String> = config.listed.failed.iter().map(ToString::to_string).collect();
    assert_eq!(
        failed,
        [
            "one: none of its 2 rows is a site (row 1: has no url)",
            "two: was not read"
        ]
    );
    assert_eq!(warnings(&config), ["three: lists no sites"]);
}

#[test]
fn hosts_bound_what_a_source_may_add_and_not_the_config() {
    let text = format!(
        "[inventory]\nallow_hosts = [\"*.shops.example\"]\n[[sites]]\nurl = \"https://a.example\"\n{}",
        source("one", "")
    );
    let one = rows(&[
        &[(Field::Url, "https://x.shops.example")],
        &[(Field::Url, "https://shops.example")],
        &[A, (Field::Name, "taken over")],
    ]);
    let config = merge(config(&text), vec![Ok(one)]);
    let hosts: Vec<&str> = config.sites.iter().map(|site| site.url.host()).collect();
    assert_eq!(hosts, ["a.example", "x.shops.example"]);
    assert_eq!(
        site(&config, "a.example").name.as_str(),
        "a.example",
        "nor does it say anything of one"
    );
    assert_eq!(
        warnings(&config),
        [
            "one, row 2: host shops.example is none of inventory.allow_hosts: it is left out",
            "one, row 3: host a.example is none of inventory.allow_hosts: it is left out",
        ]
    );
}

#[test]
fn a_host_of_several_scripts_is_told_wherever_it_is_listed() {
    let text = format!(
        "[[sites]]\nurl = \"https://sh\u{43e}p.example\"\n{}",
        source("one", "")
    );
    let one = rows(&[
        &[(Field::Url, "https://sh\u{43e}p.example")],
        &[(Field::Url, "https://p\u{430}y.example")],
    ]);
    let config = merge(config(&text), vec![Ok(one)]);
    let told = warnings(&config);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("config: host xn--shp-"), "{}", told[0]);
    assert!(told[1].starts_with("one, row 2: host xn--py-"), "{}", told[1]);
    assert!(
        told[1].ends_with("in more than one script: is it the right one?"),
        "{}",
        told[1]
    );
}

#[test]
fn names_are_unique_over_all_places() {
    let text = format!(
        "[[sites]]\nurl = \"https://a.example\"\nname = \"shop\"\n{}",
        source("one", "")
    );
    let one = rows(&[&[B, (Field::Name, "shop")]]);
    let config = merge(config(&text), vec![Ok(one)]);
    let names: Vec<&str> = config.sites.iter().map(|site| site.name.as_str()).collect();
    assert_eq!(names, ["shop", "shop-2"]);
}

/// Lists of files, more or less broken.
fn list_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("https://a.example\n"),
        Just("https://sh\u{43e}p.example/x?y # z\n"),
        Just("url,name,mode\n"),
        Just("https://b.example,b,live\n"),
        Just("[{\"url\":\"https://c.example\",\"master_key\":\"k…\"},7]"),
        Just("[[sites]]\nurl = \"https://d.example\"\nenabled = 3\n"),
        Just("\0\u{feff}\"'"),
    ];
    let bytes = prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![bytes, prop::collection::vec(any::<u8>(), 0..100)]
}

/// Which of a site's fields a place sets: name and mode.
type Says = (Option<u8>, Option<bool>);

proptest! {
    /// Whatever stands in a list, it comes to sites with their places, or to a failure.
    #[test]
    fn no_list_is_too_odd_to_be_merged(bytes in list_bytes()) {
        use crate::config::ListFormat::{Csv, Json, Lines, Toml};

        let text: String = (0..4).map(|place| source(&format!("s{place}"), "")).collect();
        let outcomes = [Lines, Csv, Json, Toml].map(|format| formats::read(&bytes, format, 50));
        let config = merge(config(&text), outcomes.into());
        prop_assert_eq!(config.listed.origins.len(), config.sites.len());
        prop_assert!(config.listed.origins.iter().all(|places| !places.is_empty()));
        let told = config.listed.failed.len() + config.listed.warnings.len() + config.sites.len();
        prop_assert!(told > 0, "an empty list is told of");
    }

    /// Each field is as the first place has it that has it at all, and the list has each site once, in the order in
    /// which the places name them.
    #[test]
    fn the_first_place_that_says_it_wins(
        places in prop::collection::vec(prop::collection::vec((0usize..4, (any::<Option<u8>>(), any::<Option<bool>>())), 0..6), 1..4)
    ) {
        let text: String = (0..places.len()).map(|place| source(&format!("s{place}"), "")).collect();
        let outcomes = places.iter().map(|place| {
            let row = |(number, (host, (name, live))): (u64, &(usize, Says))| {
                let mut fields = std::collections::BTreeMap::new();
                fields.insert(Field::Url, SecretString::from(format!("https://h{host}.example")));
                if let Some(name) = name {
                    fields.insert(Field::Name, SecretString::from(format!("n{host}x{name}")));
                }
                if let Some(live) = live {
                    fields.insert(Field::Mode, SecretString::from(if *live { "live" } else { "test" }));
                }
                Row { place: Place::Row(number), fields }
            };
            Ok(Rows {
        found: (1..).zip(place).map(row).collect(),
        ..Rows::default()
    })
        });
        let config = merge(config(&text), outcomes.collect());
        let all: Vec<&(usize, Says)> = places.iter().flatten().collect();
        let mut order: Vec<usize> = Vec::new();
        for (host, _) in &all {
            if !order.contains(host) {
                order.push(*host);
            }
        }
        let listed: Vec<String> = config.sites.iter().map(|site| site.url.host().to_owned()).collect();
        let expected: Vec<String> = order.iter().map(|host| format!("h{host}.example")).collect();
        prop_assert_eq!(listed, expected);
        prop_assert_eq!(config.listed.origins.len(), config.sites.len());
        for (host, site) in order.iter().zip(config.sites.iter()) {
            let of_site = || all.iter().filter(|(other, _)| other == host);
            let name = of_site().find_map(|(_, (name, _))| *name);
            let mode = of_site().find_map(|(_, (_, live))| *live);
            let name = name.map_or_else(|| format!("h{host}.example"), |name| format!("n{host}x{name}"));
            let mode = mode.map_or(SiteMode::Any, |live| if live { SiteMode::Live } else { SiteMode::Test });
            prop_assert_eq!(site.name.as_str(), name);
            prop_assert_eq!(site.mode, mode);
        }
    }
}
