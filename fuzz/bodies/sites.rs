use std::collections::HashSet;
use std::path::Path;

use stripe_propagate::config::{Config, Place, parse};
use stripe_propagate::inventory::of_texts;
use stripe_propagate::text::is_hidden;

/// A source of each kind and format; each may have a thousand rows.
const SOURCES: &str = r#"
[[sites]]
url = "https://own.example"

[[sources]]
kind = "file"
name = "lines"
path = "shops.txt"
max_rows = 1000

[[sources]]
kind = "file"
name = "csv"
path = "shops.csv"
max_rows = 1000

[[sources]]
kind = "file"
name = "json"
path = "shops.json"
max_rows = 1000

[[sources]]
kind = "file"
name = "toml"
path = "shops.toml"
max_rows = 1000

[[sources]]
kind = "http"
name = "dashboard"
url = "https://dashboard.example/api/sites"
pointer = "/sites"
fields = { name = "title", enabled = "status" }
max_rows = 1000

[[sources]]
kind = "command"
name = "command"
command = ["list-shops"]
max_rows = 1000
"#;
/// How many sources that are.
pub(crate) const COUNT: usize = 6;
const MOST: usize = 1000;

/// The bytes are what every source holds, whatever its format.
pub(crate) fn check(bytes: &[u8]) {
    read(&[bytes; COUNT]);
}

/// What comes of the sources when they hold this, in their order: lines, CSV, JSON, TOML, the dashboard's JSON, what
/// a command prints.
pub(crate) fn read(texts: &[&[u8]; COUNT]) -> Config {
    let place = Place {
        path: Path::new("/etc/shops.toml"),
        home: None,
        owner_only: true,
    };
    let config = match parse(SOURCES, place) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    };
    let config = of_texts(config, texts);
    is_sound(&config);
    config
}

fn is_sound(config: &Config) {
    let own = config.sites.first().map(|site| site.url.to_string());
    assert_eq!(
        own.as_deref(),
        Some("https://own.example"),
        "the config's own are first"
    );
    assert!(config.sites.len() <= 1 + COUNT * MOST);
    assert_eq!(config.listed.origins.len(), config.sites.len());
    let mut urls = HashSet::new();
    for site in config.sites.iter() {
        let url = site.url.to_string();
        leads_to_its_host(&url);
        assert!(urls.insert(url), "a site stands in the list twice");
        assert!(config.master_keys.get(site.master_key.0 as usize).is_some());
        let texts = [Some(&site.name), site.group.as_ref()];
        for text in texts.into_iter().flatten() {
            assert!(
                !text.as_str().chars().any(is_hidden) && !text.is_empty(),
                "{text:?}"
            );
        }
    }
    for told in told(config) {
        assert!(!told.chars().any(is_hidden), "{told:?}");
        assert!(told.chars().count() <= 600, "{told}");
    }
}

/// Whether what is sent to this address goes where it seems to, and has nothing in it that is a secret or gets lost.
pub(crate) fn leads_to_its_host(url: &str) {
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"));
    let host = rest.unwrap_or_default().split('/').next().unwrap_or_default();
    // Behind the host it is a character like others.
    assert!(!host.is_empty() && !host.contains('@'), "{url}");
    assert!(!url.contains(['?', '#']), "{url}");
}

/// What the operator is told of the sources.
pub(crate) fn told(config: &Config) -> Vec<String> {
    let warnings = config
        .listed
        .warnings
        .iter()
        .map(|warning| warning.text.to_string());
    let failed = config
        .listed
        .failed
        .iter()
        .map(|failed| failed.reason.to_string());
    warnings.chain(failed).collect()
}
