use jiff::Timestamp;
use serde::Serialize;

use super::rows::{Column, Layout, or_dash, or_empty, render};
use crate::config::Config;
use crate::site::{MasterKeyId, Site, SiteMode, SiteUrl};

/// Where a site's master key stands. Never the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// `[master_key]`: that of all sites.
    Global,
    /// Its own.
    Own,
    /// That of its group.
    Group,
    /// That of the source that lists it.
    Source,
}

impl KeyPlace {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Global, Self::Own, Self::Group, Self::Source];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Own => "own",
            Self::Group => "group",
            Self::Source => "source",
        }
    }

    /// Of a site of this config.
    fn of(config: &Config, site: &Site) -> Self {
        let key = site.master_key;
        if key == MasterKeyId::default() {
            Self::Global
        } else if config.sources.iter().any(|source| source.master_key == Some(key)) {
            Self::Source
        } else if config.is_of_a_group(key) {
            Self::Group
        } else {
            Self::Own
        }
    }
}

/// Which keys a site may be given, in a word.
fn mode(mode: SiteMode) -> &'static str {
    match mode {
        SiteMode::Live => "live",
        SiteMode::Test => "test",
        SiteMode::Any => "any",
    }
}

/// A site of the list.
#[derive(Clone, Copy)]
struct Row<'a> {
    config: &'a Config,
    place: usize,
    site: &'a Site,
}

impl<'a> Row<'a> {
    /// Where it is listed: "config", or the names of sources.
    fn from(&self) -> Vec<&'a str> {
        match self.config.listed.origins.get(self.place) {
            Some(origins) => origins.iter().map(AsRef::as_ref).collect(),
            None => vec!["config"],
        }
    }

    fn key_place(&self) -> &'static str {
        KeyPlace::of(self.config, self.site).word()
    }
}

/// What is told of a site.
fn columns<'a>() -> [Column<Row<'a>>; 9] {
    [
        Column::new("site", |row| row.site.name.to_string()),
        Column::new("url", |row| row.site.url.to_string()),
        Column::each(
            "group",
            |row| or_dash(row.site.group.as_ref()),
            |row| or_empty(row.site.group.as_ref()),
        ),
        Column::new("mode", |row| mode(row.site.mode).to_owned()),
        Column::new("backend", |row| row.site.backend.to_string()),
        Column::each(
            "enabled",
            |row| if row.site.enabled { "yes" } else { "no" }.to_owned(),
            |row| row.site.enabled.to_string(),
        ),
        Column::new("master_key", |row| row.key_place().to_owned()),
        Column::new("from", |row| row.from().join(", ")),
        Column::new("note", |row| note(&row.site.url)),
    ]
}

/// How its host is read, where it is written otherwise, and whether it may be made to look like another one.
fn note(url: &SiteUrl) -> String {
    let Some(readable) = url.readable_host() else {
        return String::new();
    };
    if url.mixes_scripts() {
        format!(
            "the host reads {readable}, with letters of several scripts: is it the one that it looks like?"
        )
    } else {
        format!("the host reads {readable}")
    }
}

fn listed(config: &Config) -> impl Iterator<Item = Row<'_>> {
    let places = config.sites.iter().enumerate();
    places.map(move |(place, site)| Row { config, place, site })
}

/// The sites, a row a site.
pub fn rows(layout: Layout, config: &Config) -> String {
    render(layout, &columns(), listed(config))
}

/// Fields may be added, none renamed.
#[derive(Serialize)]
struct Document<'a> {
    v: u8,
    at: String,
    sites: Vec<SiteBody<'a>>,
    /// Rows that are no sites, and what nobody knows in others.
    warnings: Vec<WarningBody<'a>>,
    /// Sources whose sites are missing.
    failed_sources: Vec<FailedBody<'a>>,
}

#[derive(Serialize)]
struct SiteBody<'a> {
    site: &'a str,
    url: String,
    /// How its host is read, where its ASCII form is another.
    readable_host: Option<String>,
    /// Whether it has letters of scripts that are not written together.
    mixed_scripts: bool,
    group: Option<&'a str>,
    mode: SiteMode,
    backend: &'a str,
    enabled: bool,
    master_key: &'static str,
    from: Vec<&'a str>,
    note: String,
}

#[derive(Serialize)]
struct WarningBody<'a> {
    source: &'a str,
    place: Option<&'a str>,
    text: &'a str,
}

#[derive(Serialize)]
struct FailedBody<'a> {
    source: &'a str,
    reason: &'a str,
}

/// The list and what came of reading it, as one document in one line.
pub fn document(config: &Config, at: Timestamp) -> String {
    let warnings = config.listed.warnings.iter().map(|warning| WarningBody {
        source: warning.source.as_str(),
        place: warning.place.as_deref(),
        text: warning.text.as_str(),
    });
    let failed = config.listed.failed.iter().map(|failed| FailedBody {
        source: failed.source.as_str(),
        reason: failed.reason.as_str(),
    });
    let document = Document {
        v: 1,
        at: format!("{at:.3}"),
        sites: listed(config).map(|row| body(&row)).collect(),
        warnings: warnings.collect(),
        failed_sources: failed.collect(),
    };
    // Structs of text and numbers: serializing them cannot fail.
    serde_json::to_string(&document).unwrap_or_default()
}

fn body<'a>(row: &Row<'a>) -> SiteBody<'a> {
    let site = row.site;
    let readable = site.url.readable_host();
    SiteBody {
        site: site.name.as_str(),
        url: site.url.to_string(),
        mixed_scripts: site.url.mixes_scripts(),
        readable_host: readable.map(|host| host.to_string()),
        group: site.group.as_ref().map(AsRef::as_ref),
        mode: site.mode,
        backend: &site.backend,
        enabled: site.enabled,
        master_key: row.key_place(),
        from: row.from(),
        note: note(&site.url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::config::{FailedSource, Place, RowWarning, parse};
    use crate::text::CleanText;

    fn config(urls: &[&str]) -> Config {
        let mut config = Config::empty();
        for url in urls {
            assert!(config.add_site(&SiteUrl::parse(url).unwrap()), "{url}");
        }
        config
    }

    #[test]
    fn a_host_that_may_look_like_another_one_is_told_in_words() {
        // The first letter of the last one is Cyrillic.
        let config = config(&[
            "https://shop.example.com",
            "https://bücher.example",
            "https://\u{440}aypal.example",
        ]);
        let table = rows(Layout::Table, &config);
        let note = |line: usize| {
            let (_, note) = table
                .lines()
                .nth(line)
                .unwrap()
                .split_once("this session")
                .unwrap();
            note.trim().to_owned()
        };
        assert_eq!(note(1), "");
        assert_eq!(note(2), "the host reads bücher.example");
        assert!(note(3).contains("letters of several scripts"), "{table}");
        assert!(table.contains("xn--bcher-kva.example"), "{table}");
    }

    #[test]
    fn what_is_missing_stands_in_the_document() {
        let mut config = config(&["https://shop.example.com"]);
        config.listed.origins = vec![[CleanText::note("config"), CleanText::note("dashboard")].into()];
        config.listed.warnings.push(RowWarning {
            source: CleanText::note("dashboard"),
            place: Some("row 3".to_owned()),
            text: CleanText::note("has no url"),
        });
        config.listed.failed.push(FailedSource {
            source: CleanText::note("list"),
            reason: CleanText::note("timed out"),
        });
        let document: serde_json::Value =
            serde_json::from_str(&document(&config, Timestamp::UNIX_EPOCH)).unwrap();
        assert_eq!(
            document["sites"][0]["from"],
            serde_json::json!(["config", "dashboard"])
        );
        assert_eq!(document["warnings"][0]["place"], "row 3");
        assert_eq!(document["failed_sources"][0]["source"], "list");
        let csv = rows(Layout::Csv, &config);
        assert!(csv.contains(",global,\"config, dashboard\","), "{csv}");
    }

    #[test]
    fn each_place_of_a_master_key_has_its_word() {
        let text = "
            [groups.prod]
            master_key = { env = \"PROD\" }
            [[sites]]
            url = \"https://a.example\"
            [[sites]]
            url = \"https://b.example\"
            master_key = { env = \"B\" }
            [[sites]]
            url = \"https://c.example\"
            group = \"prod\"
        ";
        let place = Place {
            path: Path::new("c.toml"),
            home: None,
            owner_only: true,
        };
        let config = parse(text, place).unwrap();
        let places: Vec<KeyPlace> = config
            .sites
            .iter()
            .map(|site| KeyPlace::of(&config, site))
            .collect();
        assert_eq!(places, [KeyPlace::Global, KeyPlace::Own, KeyPlace::Group]);
    }
}
