use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use reqwest::header::HeaderName;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use toml::Spanned;
use url::Url;

use super::{ListFormat, Source, SourceKind};
use crate::config::Place;
use crate::config::error::{ConfigError, Places};
use crate::config::file;
use crate::config::secrets::{self, RawSecret};
use crate::config::sites;
use crate::secret::SecretSource;
use crate::site::{FIELDS, Field, SiteMode, is_loopback};
use crate::text::{CleanText, list};

/// How long reading a source may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Rows that a source may have.
const MAX_ROWS: usize = 100_000;
/// The most that `max_rows` can be.
const MOST_ROWS: u32 = 1_000_000;

/// One of `[[sources]]`. Which of its options there must be, and may be, depends on `kind`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RawSource {
    kind: Spanned<Kind>,
    name: Option<Spanned<String>>,
    path: Option<Spanned<PathBuf>>,
    format: Option<Spanned<ListFormat>>,
    url: Option<Spanned<RawUrl>>,
    query: Option<Spanned<String>>,
    pointer: Option<Spanned<String>>,
    fields: Option<Spanned<BTreeMap<Spanned<String>, String>>>,
    header: Option<Spanned<RawHeader>>,
    command: Option<Spanned<Vec<String>>>,
    timeout: Option<Spanned<SignedDuration>>,
    max_rows: Option<Spanned<i64>>,
    group: Option<Spanned<String>>,
    mode: Option<SiteMode>,
    master_key: Option<Spanned<RawSecret>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Sql,
    Http,
    Command,
}

/// Where a database or a web server is: the one is a secret, the other is not.
enum RawUrl {
    Plain(String),
    Secret(RawSecret),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeader {
    name: Spanned<String>,
    value: Spanned<RawSecret>,
}

impl<'de> Deserialize<'de> for RawUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = RawUrl;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(
                    "a web address (kind http), or a table that says where the secret is (kind sql)",
                )
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RawUrl, E> {
                Ok(RawUrl::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawUrl, A::Error> {
                RawSecret::deserialize(MapAccessDeserializer::new(map)).map(RawUrl::Secret)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Sql => "sql",
            Self::Http => "http",
            Self::Command => "command",
        }
    }

    /// What it takes besides what every kind takes.
    fn takes(self) -> &'static [&'static str] {
        match self {
            Self::File => &["path", "format"],
            Self::Sql => &["url", "query"],
            Self::Http => &["url", "pointer", "fields", "header"],
            Self::Command => &["command", "pointer", "fields"],
        }
    }
}

/// The sources, in their order. Their master keys are added to `master_keys`.
pub(in crate::config) fn resolve(
    raw: &[Spanned<RawSource>],
    master_keys: &mut Vec<SecretSource>,
    place: Place<'_>,
    at: &Places<'_>,
) -> Result<Vec<Source>, ConfigError> {
    let mut sources: Vec<Source> = Vec::with_capacity(raw.len());
    for entry in raw {
        let source = resolve_one(entry.get_ref(), master_keys, place, at)?;
        let span = entry.get_ref().name.as_ref().map(Spanned::span);
        if source.name.as_str() == "config" {
            let text = "the sites of this file are called so: give the source another name";
            return Err(at.error(span, text));
        }
        if sources.iter().any(|other| other.name == source.name) {
            let text = "another source is called so: give each a name of its own";
            return Err(at.error(span, text));
        }
        sources.push(source);
    }
    Ok(sources)
}

fn resolve_one(
    raw: &RawSource,
    master_keys: &mut Vec<SecretSource>,
    place: Place<'_>,
    at: &Places<'_>,
) -> Result<Source, ConfigError> {
    let table = Table { raw, place, at };
    table.refuse_what_it_does_not_take()?;
    let text = |what, raw: &Option<Spanned<String>>| {
        let clean = |raw: &Spanned<String>| sites::clean(what, raw, at);
        raw.as_ref().map(clean).transpose()
    };
    let kind = table.kind()?;
    let name = text("name", &raw.name)?;
    Ok(Source {
        name: name.unwrap_or_else(|| table.default_name()),
        kind,
        timeout: match &raw.timeout {
            Some(timeout) => at.duration(
                "timeout",
                timeout,
                Duration::from_millis(1)..=Duration::from_hours(1),
            )?,
            None => TIMEOUT,
        },
        max_rows: match &raw.max_rows {
            Some(rows) => at.number("max_rows", rows, 1..=MOST_ROWS)? as usize,
            None => MAX_ROWS,
        },
        group: text("group", &raw.group)?,
        mode: raw.mode,
        master_key: sites::key(raw.master_key.as_ref(), master_keys, place, at)?,
    })
}

/// A table of the config that describes a source.
struct Table<'a> {
    raw: &'a RawSource,
    place: Place<'a>,
    at: &'a Places<'a>,
}

impl Table<'_> {
    /// The options that are set and not of every kind, with where they stand.
    fn set(&self) -> impl Iterator<Item = (&'static str, Range<usize>)> {
        let raw = self.raw;
        [
            ("path", raw.path.as_ref().map(Spanned::span)),
            ("format", raw.format.as_ref().map(Spanned::span)),
            ("url", raw.url.as_ref().map(Spanned::span)),
            ("query", raw.query.as_ref().map(Spanned::span)),
            ("pointer", raw.pointer.as_ref().map(Spanned::span)),
            ("fields", raw.fields.as_ref().map(Spanned::span)),
            ("header", raw.header.as_ref().map(Spanned::span)),
            ("command", raw.command.as_ref().map(Spanned::span)),
        ]
        .into_iter()
        .filter_map(|(name, span)| Some((name, span?)))
    }

    fn word(&self) -> &'static str {
        self.raw.kind.get_ref().word()
    }

    fn refuse_what_it_does_not_take(&self) -> Result<(), ConfigError> {
        let takes = self.raw.kind.get_ref().takes();
        match self.set().find(|(name, _)| !takes.contains(name)) {
            Some((name, span)) => Err(self.at.error(
                Some(span),
                format!(
                    "a source of kind \"{}\" takes no {name}: it takes {}",
                    self.word(),
                    list(takes, "and")
                ),
            )),
            None => Ok(()),
        }
    }

    /// `sql (config line 12)`
    fn default_name(&self) -> CleanText {
        let (line, _) = self.at.line_and_column(self.raw.kind.span().start);
        CleanText::note(&format!("{} (config line {line})", self.word()))
    }

    fn kind(&self) -> Result<SourceKind, ConfigError> {
        let raw = self.raw;
        Ok(match raw.kind.get_ref() {
            Kind::File => SourceKind::File {
                path: file::resolve(
                    self.needed("path = \"shops.txt\"", raw.path.as_ref())?.get_ref(),
                    self.place,
                ),
                format: raw.format.as_ref().map(|format| *format.get_ref()),
            },
            Kind::Sql => SourceKind::Sql {
                url: self.database()?,
                query: self.query()?,
            },
            Kind::Http => SourceKind::Http {
                url: self.web_address()?,
                pointer: self.pointer()?,
                fields: self.fields()?,
                header: self.header()?,
            },
            Kind::Command => SourceKind::Command {
                argv: self.argv()?,
                pointer: self.pointer()?,
                fields: self.fields()?,
            },
        })
    }

    /// What this kind cannot be without; `example` shows how it is written.
    fn needed<'a, T>(
        &self,
        example: &str,
        option: Option<&'a Spanned<T>>,
    ) -> Result<&'a Spanned<T>, ConfigError> {
        option.ok_or_else(|| {
            let text = format!(
                "a source of kind \"{}\" needs a line more: {example}",
                self.word()
            );
            self.at.error(Some(self.raw.kind.span()), text)
        })
    }

    fn database(&self) -> Result<SecretSource, ConfigError> {
        const EXAMPLE: &str = "url = { file = \"shops.url\" }";

        let url = self.needed(EXAMPLE, self.raw.url.as_ref())?;
        match url.get_ref() {
            RawUrl::Secret(secret) => secrets::resolve_at(secret, url.span(), self.place, self.at),
            RawUrl::Plain(_) => Err(self.at.error(
                Some(url.span()),
                format!(
                    "the address of a database is a secret, since a password can stand in it: write {EXAMPLE}"
                ),
            )),
        }
    }

    fn query(&self) -> Result<String, ConfigError> {
        let query = self.needed("query = \"select url, name from sites\"", self.raw.query.as_ref())?;
        if query.get_ref().trim().is_empty() {
            let text = "query must be one statement that reads, such as \"select url, name from sites\"";
            return Err(self.at.error(Some(query.span()), text));
        }
        Ok(query.get_ref().clone())
    }

    fn web_address(&self) -> Result<Url, ConfigError> {
        let url = self.needed(
            "url = \"https://shops.example.com/sites.json\"",
            self.raw.url.as_ref(),
        )?;
        let refuse = |text: &str| self.at.error(Some(url.span()), text);
        let RawUrl::Plain(text) = url.get_ref() else {
            return Err(refuse(
                "url of a source of kind \"http\" is plain text: what is secret goes into header",
            ));
        };
        let parsed = Url::parse(text).map_err(|_| {
            refuse("url must be a web address such as \"https://shops.example.com/sites.json\"")
        })?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(refuse(
                "a user name or password in the address: take it out, and send it in header = { name = \
                 \"Authorization\", value = { … } }",
            ));
        }
        match parsed.scheme() {
            "https" => Ok(parsed),
            "http" if is_loopback(&parsed) => Ok(parsed),
            _ => Err(refuse(
                "url must begin with https:// (http:// is taken for loopback addresses only): whoever can change \
                 the answer on its way says where the master key goes",
            )),
        }
    }

    fn pointer(&self) -> Result<Option<String>, ConfigError> {
        let Some(pointer) = &self.raw.pointer else {
            return Ok(None);
        };
        let text = pointer.get_ref();
        if text.is_empty() || text.starts_with('/') {
            return Ok(Some(text.clone()));
        }
        let text = "pointer begins with a slash before each name: \"/data/sites\" (RFC 6901)";
        Err(self.at.error(Some(pointer.span()), text))
    }

    fn fields(&self) -> Result<BTreeMap<Field, String>, ConfigError> {
        let raw = self.raw.fields.iter().flat_map(Spanned::get_ref);
        let field = |(name, called): (&Spanned<String>, &String)| {
            let field = Field::of_name(name.get_ref()).ok_or_else(|| {
                let known = FIELDS.map(|(_, name)| name);
                let text = format!("a site has no such field: it has {}", list(&known, "and"));
                self.at.error(Some(name.span()), text)
            })?;
            Ok((field, called.clone()))
        };
        raw.map(field).collect()
    }

    fn header(&self) -> Result<Option<(HeaderName, SecretSource)>, ConfigError> {
        let Some(header) = &self.raw.header else {
            return Ok(None);
        };
        let RawHeader { name, value } = header.get_ref();
        let name = HeaderName::from_bytes(name.get_ref().as_bytes()).map_err(|_| {
            let text = "name must be that of a header, such as \"Authorization\"";
            self.at.error(Some(name.span()), text)
        })?;
        Ok(Some((name, secrets::resolve(value, self.place, self.at)?)))
    }

    fn argv(&self) -> Result<Vec<String>, ConfigError> {
        const EXAMPLE: &str = "command = [\"PROGRAM\", \"ARGUMENT\"]";

        let argv = self.needed(EXAMPLE, self.raw.command.as_ref())?;
        if argv.get_ref().first().is_none_or(String::is_empty) {
            let text = format!("command must be a list, the program and its arguments: {EXAMPLE}");
            return Err(self.at.error(Some(argv.span()), text));
        }
        Ok(argv.get_ref().clone())
    }
}
