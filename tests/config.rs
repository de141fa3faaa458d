//! The config file: what loads, and what is said about what does not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use stripe_propagate::config::{self, Config, ConfigError, Place};
use stripe_propagate::secret::SecretSource;
use stripe_propagate::tui::actions::bound;
use stripe_propagate::tui::theme::{THEMES, Theme};

const EXAMPLE: &str = include_str!("../config.example.toml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    config::parse(
        text,
        Place {
            path: Path::new("/etc/shops/c.toml"),
            home: Some(Path::new("/home/ops")),
            owner_only: true,
        },
    )
}

fn complaint(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_example_loads_as_it_is() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.sites.len(), 2);
    assert_eq!(config.push.concurrency, 64);
    assert_eq!(config.policy(), stripe_propagate::rules::retry::Policy::default());
    assert!(
        matches!(&config.master_keys[0], SecretSource::Env(names) if names == &["TEMPLATE_MASTER_API_KEY"])
    );
}

#[test]
fn only_the_title_is_shown_outside_the_screen_unless_asked_for() {
    let tab = parse("").unwrap().ui.tab;
    assert!(tab.title && !tab.progress && !tab.bell);
    let tab = parse("[ui]\ntitle = false\nprogress = true\nbell = true\n")
        .unwrap()
        .ui
        .tab;
    assert!(!tab.title && tab.progress && tab.bell);
}

#[test]
fn stripe_is_asked_unless_the_config_says_no_and_over_tls() {
    let stripe = parse("").unwrap().stripe;
    assert!(stripe.check);
    assert_eq!(
        stripe.api.question().as_str(),
        "https://api.stripe.com/v1/customers/cus_A"
    );
    assert!(!parse("[stripe]\ncheck = false\n").unwrap().stripe.check);
    let said = complaint("[stripe]\napi = \"http://api.stripe.com\"\n");
    assert!(
        said.contains(":2:7: api must be an address without a path"),
        "{said}"
    );
}

/// A secret has one form only, so each of the commented forms is tried on its own.
#[test]
fn the_example_loads_with_every_line_uncommented() {
    let is_option = |line: &str| {
        line.starts_with('#')
            && line[1..].starts_with(|first: char| first.is_ascii_lowercase() || "\"[".contains(first))
    };
    let forms = ["env = ", "file = \"~", "command = ", "credential = ", "value = "];
    for form in forms {
        let in_master_key = |number: usize| {
            let before = EXAMPLE
                .lines()
                .take(number)
                .filter(|line| line.starts_with('['))
                .last();
            before == Some("[master_key]")
        };
        let lines = EXAMPLE.lines().enumerate().map(|(number, line)| {
            let bare = if is_option(line) { &line[1..] } else { line };
            let other_form = in_master_key(number)
                && bare.contains(" = ")
                && !line.starts_with("# ")
                && !bare.starts_with(form);
            if other_form { "" } else { bare }
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let config = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(bound(&config).unwrap().words("push all"), "P F9");
        assert_eq!(Theme::of(&config).unwrap().name, "default");
        // The global one, a site's, a group's and a source's.
        assert_eq!(config.master_keys.len(), 4);
        let kinds: Vec<&str> = config.sources.iter().map(|source| source.kind.word()).collect();
        assert_eq!(kinds, ["file", "http", "command", "sql"]);
        assert!(config.inventory.allows("shop.example.com") && !config.inventory.allows("example.org"));
        assert_eq!(config.sites[1].name.as_str(), "boutique");
        assert_eq!(config.push.retry_after_max, Duration::from_mins(5));
        assert_eq!(config.ca_file.as_deref(), Some(Path::new("/etc/shops/ca.pem")));
        if let SecretSource::File(path) = &config.master_keys[0] {
            assert_eq!(path, Path::new("/home/ops/.config/stripe-propagate/master.key"));
        }
    }
}

/// A config, and what is said about it.
const ERRORS: &[(&str, &str)] = &[
    (
        "[push]\nconcurency = 3\n",
        ":2:1: unknown field `concurency`, expected one of `concurrency`",
    ),
    (
        "[push]\nconcurrency = \"many\"\n",
        ":2:15: this must be a whole number",
    ),
    (
        "[push]\nconcurrency = 0\n",
        ":2:15: concurrency must be a number from 1 to 4096",
    ),
    (
        "[push]\ntimeout = \"2h\"\n",
        ":2:11: timeout must be a time from \"1ms\" to \"1h\"",
    ),
    (
        "[push]\ntimeout = \"4s\"\n",
        ":2:11: timeout must be longer than connect_timeout",
    ),
    (
        "[push]\nbackoff = \"soon\"\n",
        ":2:11: this value cannot be read: a time is written",
    ),
    (
        "[push]\nproxy = \"nowhere\"\n",
        ":2:9: proxy must be a web address",
    ),
    (
        "[[sites]]\nurl = \"http://shop.example.com\"\n",
        ":2:7: http:// would send the master key unencrypted",
    ),
    ("[[sites]]\nname = \"x\"\n", ": missing field `url`"),
    (
        "[[sites]]\nurl = \"https://a.example\"\nname = \"\u{200b}\"\n",
        ":3:8: name has no visible character",
    ),
    (
        "[[sites]]\nurl = \"https://a.example\"\nmode = \"prod\"\n",
        ":3:8: this must be one of \"live\", \"test\", \"any\"",
    ),
    (
        "[[sites]]\nurl = \"https://a.example\"\n[[sites]]\nurl = \"https://A.example:443/\"\n",
        ":4:7: this site is in line 2 already",
    ),
    (
        "master_key = \"abc\"\n",
        ":1:14: this must be a table that says where the secret is: { env = ",
    ),
    (
        "[master_key]\nenv = \"A\"\nfile = \"b\"\n",
        ": says twice where the secret is",
    ),
    ("[master_key]\n", ": says not where the secret is"),
    (
        "[master_key]\nenv = \"sk-123 456\"\n",
        ": env must name a variable",
    ),
    ("[master_key]\ncommand = []\n", ": command must be a list"),
    ("[ui]\nfps = 0\n", ":2:7: fps must be a number from 1 to 60"),
    (
        "[log]\nlevel = \"loud\"\n",
        ":2:9: this must be one of \"error\", \"warn\"",
    ),
    (
        "[keys]\nquit = 3\n",
        ":2:8: this must be a key such as \"P\", or a list of them",
    ),
    ("[keys]\nquit = [3]\n", ":2:9: this must be a"),
    ("[ui]\ntheme = 3\n", ":2:9: this must be a"),
    ("[push\n", ":1:6: unclosed table, expected `]`"),
    ("[master_key\n", ":1:12: unclosed table, expected `]`"),
    ("[[sites\n", ":1:8: unclosed array table, expected `]]`"),
    ("[[sites]\n", ":1:9: unclosed array table, expected `]`"),
    ("[push]\nconcurrency 3\n", ":2:13: "),
    ("[push]\nconcurrency =\n", ":2:14: "),
    (
        "[verify]\nsettle = 8\n",
        ":2:10: write a number with its unit, such as \"8s\"",
    ),
    (
        "[[sites]]\nurl = \"shop.example.com\"\n",
        ":2:7: begin with https://, as in https://shop.example.com",
    ),
    (
        "[[sites]]\nurl = \"shop.example.com:8443\"\n",
        ":2:7: begin with https://",
    ),
    (
        "[master_key]\nvalue = \"abc\n",
        ":2:13: this cannot be read: a text stands between two quotes",
    ),
    ("[[sources]]\npath = \"shops.txt\"\n", ": missing field `kind`"),
    (
        "[[sources]]\nkind = \"ldap\"\n",
        ":2:8: this must be one of \"file\", \"sql\", \"http\", \"command\"",
    ),
    (
        "[[sources]]\nkind = \"file\"\n",
        ":2:8: a source of kind \"file\" needs a line more: path = \"shops.txt\"",
    ),
    (
        "[[sources]]\nkind = \"file\"\npath = \"shops.txt\"\nquery = \"select 1\"\n",
        ":4:9: a source of kind \"file\" takes no query: it takes path and format",
    ),
    (
        "[[sources]]\nkind = \"file\"\npath = \"a\"\nformat = \"xml\"\n",
        ":4:10: this must be one of \"lines\", \"csv\", \"json\", \"toml\"",
    ),
    (
        "[[sources]]\nkind = \"file\"\npath = \"a\"\nmax_rows = 1000001\n",
        ":4:12: max_rows must be a number from 1 to 1000000",
    ),
    (
        "[[sources]]\nkind = \"file\"\npath = \"a\"\ntimeout = \"0s\"\n",
        ":4:11: timeout must be a time from \"1ms\" to \"1h\"",
    ),
    (
        "[[sources]]\nkind = \"file\"\npath = \"a\"\npaht = \"b\"\n",
        ":4:1: unknown field `paht`",
    ),
    (
        "[[sources]]\nkind = \"file\"\nname = \"x\"\npath = \"a\"\n[[sources]]\nkind = \"file\"\nname = \"x\"\npath = \"b\"\n",
        ":7:8: another source is called so",
    ),
    (
        "[[sources]]\nkind = \"file\"\nname = \"config\"\npath = \"a\"\n",
        ":3:8: the sites of this file are called so",
    ),
    (
        "[[sources]]\nkind = \"sql\"\nurl = \"postgres://u:p@db\"\nquery = \"select url\"\n",
        ":3:7: the address of a database is a secret",
    ),
    (
        "[[sources]]\nkind = \"sql\"\nurl = { env = \"A\" }\n",
        ":2:8: a source of kind \"sql\" needs a line more: query = ",
    ),
    (
        "[[sources]]\nkind = \"http\"\nurl = { env = \"A\" }\n",
        ":3:7: url of a source of kind \"http\" is plain text",
    ),
    (
        "[[sources]]\nkind = \"http\"\nurl = \"http://shops.example.com\"\n",
        ":3:7: url must begin with https://",
    ),
    (
        "[[sources]]\nkind = \"http\"\nurl = \"https://u:p@shops.example.com\"\n",
        ":3:7: a user name or password in the address",
    ),
    (
        "[[sources]]\nkind = \"http\"\nurl = \"https://a.example\"\npointer = \"sites\"\n",
        ":4:11: pointer begins with a slash",
    ),
    (
        "[[sources]]\nkind = \"http\"\nurl = \"https://a.example\"\nfields = { site = \"url\" }\n",
        ":4:12: a site has no such field: it has url, name, group",
    ),
    (
        "[[sources]]\nkind = \"http\"\nurl = \"https://a.example\"\nheader = { name = \"a b\", value = { env = \"A\" } }\n",
        ":4:19: name must be that of a header",
    ),
    (
        "[[sources]]\nkind = \"command\"\ncommand = []\n",
        ":3:11: command must be a list",
    ),
    (
        "[inventory]\nallow_hosts = [\"https://a.example\"]\n",
        ":2:16: allow_hosts holds hosts such as",
    ),
    (
        "[inventory]\nallow_hosts = [\"a.example.com\", \"*.com\"]\n",
        ":2:33: this admits hosts of strangers",
    ),
    (
        "[master_key]\ncredential = \"../key\"\n",
        ": credential must be the name that LoadCredential= gives it",
    ),
    (
        "[master_key]\ncredential = \"key\"\nenv = \"A\"\n",
        ": says twice where the secret is",
    ),
    (
        "[groups.prod]\nkey = 3\n",
        ":2:1: unknown field `key`, expected `master_key`",
    ),
    ("SECRETVALUE = 1\n", ":1:1: this name is not known here"),
    (
        "[[sites]]\nname = \"x\"\nurll = \"https://a.example\"\n",
        ":3:1: unknown field `urll`",
    ),
    (
        "[[sites]]\nurll = \"https://a.example\"",
        ":2:1: unknown field `urll`",
    ),
];

#[test]
fn each_error_names_its_place_and_what_to_write() {
    for (text, expected) in ERRORS {
        let said = complaint(text);
        assert!(said.starts_with("/etc/shops/c.toml:"), "{said}");
        assert!(said.contains(expected), "{text}\nsaid {said}\nnot  {expected}");
    }
}

#[test]
fn a_store_is_in_a_file_or_in_a_database() {
    let config = parse("[store]\nurl = { env = \"STORE_URL\" }").unwrap();
    assert!(config.store.url.is_some() && config.store.path.is_none());
    assert!(config.secret_variables().contains(&"STORE_URL".to_owned()));
    let error = parse("[store]\npath = \"a.db\"\nurl = { env = \"STORE_URL\" }").unwrap_err();
    assert_eq!(error.place, Some((3, 7)));
    assert!(error.message.contains("path and url both say"), "{error}");
    // The URL itself is a secret, and stands in no string.
    let error = parse("[store]\nurl = \"postgres://u:topsecret@h/d\"").unwrap_err();
    assert!(!error.to_string().contains("topsecret"), "{error}");
    // As a path it would become folders.
    let error = parse("[store]\npath = \"postgres://u:topsecret@h/d\"").unwrap_err();
    assert!(error.message.contains("looks like a URL"), "{error}");
    assert!(!error.to_string().contains("topsecret"), "{error}");
}

#[test]
fn a_theme_is_found_by_its_name_and_a_wrong_one_names_them_all() {
    for theme in THEMES {
        let config = parse(&format!("[ui]\ntheme = \"{}\"\n", theme.name)).unwrap();
        assert_eq!(Theme::of(&config).unwrap().name, theme.name);
    }
    let wrong = parse("[ui]\ntheme = \"dark\"\n").unwrap();
    let said = Theme::of(&wrong).unwrap_err().to_string();
    let names = "\"default\", \"high-contrast\", \"monochrome\" or \"colour-blind-safe\"";
    assert_eq!(said, format!("/etc/shops/c.toml:2:9: theme must be {names}"));
}

#[test]
fn a_secret_in_a_file_that_others_can_read_is_refused() {
    let place = Place {
        path: Path::new("c.toml"),
        home: None,
        owner_only: false,
    };
    let said = config::parse("[master_key]\nvalue = \"topsecret\"\n", place)
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("chmod 600 c.toml") && !said.contains("topsecret"),
        "{said}"
    );
}

#[test]
fn sites_get_names_of_their_own() {
    let text = "[[sites]]\nurl = \"https://a.example\"\n[[sites]]\nurl = \"https://b.example\"\nname = \"a.example\"\n";
    let names: Vec<_> = parse(text)
        .unwrap()
        .sites
        .iter()
        .map(|site| site.name.to_string())
        .collect();
    assert_eq!(names, ["a.example", "a.example-2"]);
}

#[test]
fn a_watch_and_its_notices_are_checked() {
    let good = "[watch]\ninterval = \"15 min\"\npush_owed = true\n[notify]\ncommand = [\"logger\"]\nwebhook = { env = \"HOOK\" }\n";
    let config = parse(good).unwrap();
    assert_eq!(
        (config.watch.interval.as_secs(), config.watch.push_owed),
        (900, true)
    );
    assert_eq!(config.notify.command.as_deref(), Some(&["logger".to_owned()][..]));
    let default = parse("").unwrap();
    assert_eq!(
        (default.watch.interval.as_secs(), default.watch.push_owed),
        (3600, false)
    );
    for wrong in [
        "[watch]\ninterval = \"0s\"\n",
        "[watch]\ninterval = \"400h\"\n",
        "[notify]\ncommand = []\n",
        "[notify]\nwebhook = \"https://hooks.example.com/s3cret\"\n",
    ] {
        let error = parse(wrong).unwrap_err().to_string();
        assert!(error.contains(":2:") && !error.contains("s3cret"), "{error}");
    }
}

/// A site's own key goes first, then its group's, then the global one: the source's is between them (unit tests of
/// `inventory::merge`). A group that no site has is no error.
#[test]
fn a_group_has_a_master_key() {
    let config = parse(
        "[groups.prod]\nmaster_key = { env = \"PROD\" }\n[groups.other]\nmaster_key = { env = \"OTHER\" }\n\
         [[sites]]\nurl = \"https://a.example\"\ngroup = \"prod\"\n\
         [[sites]]\nurl = \"https://b.example\"\ngroup = \"prod\"\nmaster_key = { env = \"OWN\" }\n\
         [[sites]]\nurl = \"https://c.example\"\n",
    )
    .unwrap();
    let variables: Vec<&str> = config
        .sites
        .iter()
        .flat_map(|site| config.master_keys[site.master_key.0 as usize].variables())
        .map(String::as_str)
        .collect();
    assert_eq!(variables, ["PROD", "OWN", "TEMPLATE_MASTER_API_KEY"]);
}

#[test]
fn canaries_may_be_sites_that_only_a_source_lists() {
    let canary = "[rollout]\ncanary = [\"elsewhere\"]\n";
    assert!(complaint(canary).contains(":2:10: canary names a site"));
    let with_source = format!("{canary}[[sources]]\nkind = \"file\"\npath = \"a\"\n");
    let config = parse(&with_source).unwrap();
    // As long as nothing says that the source has it.
    let said = config.check_canary().unwrap_err().to_string();
    assert!(
        said.contains(":2:10: canary names a site that is neither in this config nor"),
        "{said}"
    );
}

#[test]
fn debug_shows_no_secret() {
    let config = parse("[master_key]\nvalue = \"topsecret\"\n").unwrap();
    assert!(!format!("{config:?}").contains("topsecret"));
}

proptest! {
    /// Wherever a secret was put by mistake, the error does not repeat it.
    #[test]
    fn no_error_quotes_a_value(secret in "[a-z0-9]{16,24}", which in 0usize..26) {
        let secret = format!("zq{secret}");
        let text = match which {
            0 => format!("master_key = \"{secret}\""),
            1 => format!("[master_key]\nvalue = [\"{secret}\"]"),
            2 => format!("[push]\nconcurrency = \"{secret}\""),
            3 => format!("[push]\ntimeout = \"{secret}\""),
            4 => format!("[[sites]]\nurl = \"{secret}\""),
            5 => format!("[[sites]]\nurl = \"https://u:{secret}@a.example\""),
            6 => format!("[[sites]]\nurl = \"https://a.example\"\nmode = \"{secret}\""),
            7 => format!("[log]\nlevel = \"{secret}\""),
            8 => format!("[master_key]\nvalue = \"{secret}\"\nenv = \"A\""),
            9 => format!("[master_key]\nvalue = \"{secret}"),
            10 => format!("[keys]\n\"{secret}\" = 3"),
            11 => format!("[keys]\nquit = {{ {secret} = \"P\" }}"),
            13 => format!("[{secret}"),
            14 => format!("[[{secret}]"),
            15 => format!("[push]\n{secret} 3"),
            16 => format!("[verify]\nsettle = {secret}"),
            17 => format!("[store]\nretention = [\"{secret}\"]"),
            18 => format!("{secret} ="),
            20 => format!("[[sources]]\nkind = \"sql\"\nquery = \"x\"\nurl = \"postgres://u:{secret}@db\""),
            21 => format!("[[sources]]\nkind = \"http\"\nurl = \"https://u:{secret}@a.example\""),
            22 => format!("[[sources]]\nkind = \"http\"\nurl = \"https://a.example\"\nheader = {{ name = \"A\", value = \"{secret}\" }}"),
            23 => format!("[[sources]]\nkind = \"{secret}\""),
            24 => format!("[master_key]\ncredential = \"/{secret}\""),
            25 => format!("[groups.a]\nmaster_key = \"{secret}\""),
            12 => format!("[verify]\non_start = \"{secret}\""),
            _ => format!("[master_key]\nenv = \"{secret} x\""),
        };
        let error = parse(&text).unwrap_err();
        prop_assert!(!format!("{:?}", error.around).contains(&secret), "{:?}", error.around);
        let said = error.to_string();
        prop_assert!(!said.contains(&secret), "{}", said);
    }
}
