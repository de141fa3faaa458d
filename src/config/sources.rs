use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::HeaderName;
use url::Url;

use crate::secret::SecretSource;
use crate::site::{Field, MasterKeyId, SiteMode};
use crate::text::CleanText;

/// Reading the tables.
mod tables;
pub(super) use tables::{RawSource, resolve};

/// One of `[[sources]]`: where sites stand besides the config.
#[derive(Debug, Clone)]
pub struct Source {
    /// How it is called in messages and in the list of sites: `name`, else its kind and place ("sql (config line 12)").
    pub name: CleanText,
    /// Where the sites stand.
    pub kind: SourceKind,
    /// How long reading it may take, as a whole.
    pub timeout: Duration,
    /// Rows that it may have; more than that, and it has failed.
    pub max_rows: usize,
    /// The group of its sites, where a row names none.
    pub group: Option<CleanText>,
    /// Which keys its sites may be given, where a row does not say.
    pub mode: Option<SiteMode>,
    /// The master key of its sites, where neither a row nor its group names one.
    pub master_key: Option<MasterKeyId>,
}

/// The kinds of sources.
#[derive(Clone)]
pub enum SourceKind {
    /// A file.
    File {
        /// Which.
        path: PathBuf,
        /// What it holds; none lets the end of its name tell.
        format: Option<ListFormat>,
    },
    /// A query to a database.
    Sql {
        /// Where: `postgres://`, `mysql://`, `mariadb://` or `sqlite:`.
        url: SecretSource,
        /// One statement that reads.
        query: String,
    },
    /// An answer of a web server.
    Http {
        /// https, or http to a loopback address.
        url: Url,
        /// Where in the answer the list is (RFC 6901); none is the whole answer.
        pointer: Option<String>,
        /// What the fields of a site are called in an object of the list, where not by their own names.
        fields: BTreeMap<Field, String>,
        /// A header of the request: its name, and where its value comes from.
        header: Option<(HeaderName, SecretSource)>,
    },
    /// What a command prints.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
        /// As of an answer of a web server.
        pointer: Option<String>,
        /// As of an answer of a web server.
        fields: BTreeMap<Field, String>,
    },
}

impl fmt::Debug for SourceKind {
    /// Its word and nothing of where it is: a token may stand in an address, in a query, in the arguments of a command.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SourceKind({})", self.word())
    }
}

impl SourceKind {
    /// Its word in the config.
    pub fn word(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Sql { .. } => "sql",
            Self::Http { .. } => "http",
            Self::Command { .. } => "command",
        }
    }

    /// The secret that it takes, if it takes one.
    pub fn secret(&self) -> Option<&SecretSource> {
        match self {
            Self::Sql { url, .. } => Some(url),
            Self::Http { header, .. } => header.as_ref().map(|(_, value)| value),
            Self::File { .. } | Self::Command { .. } => None,
        }
    }
}

/// What a file can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListFormat {
    /// An address a line, with `#` comments.
    Lines,
    /// With a head that names the fields.
    Csv,
    /// A list of objects, or of addresses.
    Json,
    /// `[[sites]]`, as in the config.
    Toml,
}
