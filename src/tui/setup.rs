use std::path::{Path, PathBuf};

use crate::config::{ConfigError, ConfigLine, FailedSource, LACKS_CANARY, RowWarning};
use crate::rules::plan::ListChange;
use crate::site::SiteUrl;
use crate::text::{CleanText, NOTE_LIMIT};

/// The longest path or complaint that is shown, in characters.
const LIMIT: usize = 4 * NOTE_LIMIT;

/// Where the screen has its sites from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Setup {
    /// The config; none where there is none, and in the demo.
    pub file: Option<PathBuf>,
    /// Sites that were added on the screen and stand in no config.
    pub added: Vec<SiteUrl>,
    /// The one of them for which it was opened anew.
    pub newest: Option<SiteUrl>,
    /// Why the config cannot be used; then there is nothing else.
    pub wrong: Option<Wrong>,
    /// A config that was written from here, and not read yet.
    pub example: Option<PathBuf>,
    /// By what the list of sites differs from the one of the last run.
    pub list_change: ListChange,
    /// Whether its `[log]` is another one than that which the program began with, and logs by.
    pub log_waits: bool,
    /// Sources of sites that could not be read.
    pub failed: Vec<FailedSource>,
    /// Whether a site that is to go first is not in the list: nothing is sent then.
    pub lacks_canary: bool,
    /// What is odd with the list of sites.
    pub warnings: Vec<RowWarning>,
}

/// Something about the config that the screen wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupOrder {
    /// Reads it again.
    Reload,
    /// Reads it again, with one site more for this session.
    Add(SiteUrl),
    /// Writes sites of the session into it.
    WriteSites {
        /// The file that the operator was asked about: no other one is written to.
        file: PathBuf,
        /// Which sites.
        urls: Vec<SiteUrl>,
    },
    /// Writes one to begin with.
    WriteExample,
}

impl Setup {
    /// The config that sites can be written to: the one that was read, or the one that was written from here.
    pub(super) fn writable(&self) -> Option<&Path> {
        self.file.as_deref().or(self.example.as_deref())
    }

    /// Whether no canary that is named is missing.
    ///
    /// # Errors
    /// That nothing is sent, why, and what to do.
    pub(super) fn has_canary(&self) -> Result<(), String> {
        if self.lacks_canary {
            Err(LACKS_CANARY.to_owned())
        } else {
            Ok(())
        }
    }
}

impl SetupOrder {
    /// Whether it changes a file.
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::WriteSites { .. } | Self::WriteExample)
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupNews {
    /// It is good, and is taken as soon as the screen lets go of the old one.
    Loaded,
    /// It cannot be used.
    Wrong(Wrong),
    /// These sites stand in it now.
    SitesWritten(Vec<SiteUrl>),
    /// One to begin with was written here.
    ExampleWritten(PathBuf),
    /// It could not be written: why.
    NotWritten(String),
}

/// Why a config cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Which file, with line and column where they are known.
    pub place: String,
    /// What is wrong, and what to write instead.
    pub message: String,
    /// The line with the error.
    pub line: Option<usize>,
    /// It and those beside it.
    pub around: Vec<ConfigLine>,
}

impl Wrong {
    /// A config that reads well and cannot be worked with.
    pub fn unusable(path: &Path, message: &str) -> Self {
        Self {
            place: clean(&path.display().to_string()),
            message: clean(message),
            line: None,
            around: Vec::new(),
        }
    }
}

impl From<&ConfigError> for Wrong {
    fn from(error: &ConfigError) -> Self {
        let path = error.path.display();
        let place = match error.place {
            Some((line, column)) => format!("{path}:{line}:{column}"),
            None => path.to_string(),
        };
        Self {
            place: clean(&place),
            message: clean(&error.message),
            line: error.place.map(|(line, _)| line),
            around: error.around.clone(),
        }
    }
}

fn clean(text: &str) -> String {
    CleanText::new(text, LIMIT).to_string()
}

/// A path, safe to show.
pub(super) fn shown(path: &Path) -> String {
    clean(&path.display().to_string())
}
