//! What the reading commands print, in which format, and where.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::status::NotWritten;
use crate::report::rows::Layout;
use crate::report::save::{Readers, save_for};

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One document: docs/schema has its schema.
    Json,
    /// For a spreadsheet; with more columns than the table, and times in UTC.
    Csv,
    /// For a ticket.
    Markdown,
}

impl Format {
    /// How its rows are laid out; none for the document of JSON.
    pub(super) fn layout(self) -> Option<Layout> {
        match self {
            Self::Table => Some(Layout::Table),
            Self::Csv => Some(Layout::Csv),
            Self::Markdown => Some(Layout::Markdown),
            Self::Json => None,
        }
    }
}

/// Where a document goes.
#[derive(Debug, Clone, Args)]
pub(super) struct OutputArgs {
    /// Write it to this file instead, which is replaced all at once: no reader sees a half. Only you can read it
    /// (0600). `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

impl OutputArgs {
    /// Writes `text` to where it goes; who may read it, if that is a file.
    pub(super) fn write(&self, text: &str, readers: Readers) -> anyhow::Result<()> {
        match &self.output {
            Some(path) if path.as_os_str() != "-" => to_file(path, text, readers),
            _ => print(text),
        }
    }
}

fn to_file(path: &Path, text: &str, readers: Readers) -> anyhow::Result<()> {
    save_for(readers, path, &whole(text), true).context(NotWritten)
}

/// To standard output. Who reads it may have seen enough.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(whole(text).as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context(NotWritten),
    }
}

/// With one line end at its end.
fn whole(text: &str) -> String {
    if text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    }
}
