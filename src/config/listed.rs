use std::fmt;
use std::sync::Arc;

use crate::site::{Site, SiteUrl};
use crate::text::CleanText;

/// What came of reading the sources, beside the sites.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// For each site of the config, in its order, the places that describe it: the first is the one that listed it first.
    pub origins: Vec<Origins>,
    /// Rows that are no sites, and fields that nobody knows: the other rows count all the same.
    pub warnings: Vec<RowWarning>,
    /// Sources that could not be read: their sites are missing.
    pub failed: Vec<FailedSource>,
    /// How many sites are held back, since a row that speaks of them could not be read.
    pub held_back: usize,
}

impl Listed {
    /// Of a config's own sites.
    pub(super) fn of_config(sites: &[Site]) -> Self {
        let config = CleanText::note(CONFIG);
        let config_alone: Origins = [config.clone()].into();
        Self {
            origins: vec![config_alone; sites.len()],
            warnings: sites
                .iter()
                .filter_map(|site| RowWarning::of_scripts(&config, None, &site.url))
                .collect(),
            failed: Vec::new(),
            held_back: 0,
        }
    }
}

/// Why nothing is sent while a canary that is named is missing, and what to do.
pub const LACKS_CANARY: &str = "nothing sent: a site that rollout.canary names is missing or disabled, and all others would \
                                go without a canary. Mend that (a source, a row), or name another canary";

/// How the config is called among the places that list sites.
pub const CONFIG: &str = "config";

/// The places that describe a site: "config", or the names of sources.
pub type Origins = Arc<[CleanText]>;

/// A row that is left out, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowWarning {
    /// The source's name.
    pub source: CleanText,
    /// Where in it ("line 12"), if it is about one place.
    pub place: Option<String>,
    /// What is wrong. Quotes no value.
    pub text: CleanText,
}

impl RowWarning {
    /// A host that mixes scripts may only look like the one that is meant.
    pub fn of_scripts(source: &CleanText, place: Option<String>, url: &SiteUrl) -> Option<Self> {
        let readable = url.readable_host().filter(|_| url.mixes_scripts())?;
        let host = url.host();
        let text = format!("host {host} reads as {readable}, in more than one script: is it the right one?");
        Some(Self {
            source: source.clone(),
            place,
            text: CleanText::note(&text),
        })
    }
}

impl fmt::Display for RowWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(formatter, "{}, {place}: {}", self.source, self.text),
            None => write!(formatter, "{}: {}", self.source, self.text),
        }
    }
}

/// A source that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedSource {
    /// Its name.
    pub source: CleanText,
    /// Why, and what to do. Quotes no secret.
    pub reason: CleanText,
}

impl fmt::Display for FailedSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.source, self.reason)
    }
}
