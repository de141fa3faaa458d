//! The manual pages, made of the command line's own definition.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::format::print;
use super::help;
use super::status::{EXIT_STATUSES, Status};
use crate::report::save::{Readers, save_for};

/// Flags of `man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for each command into this folder, which is made if it is not there. What stands there under the
    /// pages' names is replaced.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// `man`: needs no config.
pub(super) fn run(args: &ManArgs) -> anyhow::Result<Status> {
    let mut command = super::command();
    command.build();
    match &args.output {
        None => print(&page(&command)?)?,
        Some(folder) => {
            let count = write_pages(&command, folder)?;
            let _closed = writeln!(
                std::io::stderr(),
                "{count} pages written to {}: `man -l {}` shows the first",
                folder.display(),
                folder.join("stripe-propagate.1").display()
            );
        }
    }
    Ok(Status::Good)
}

/// One page a command, and one for all of it; how many.
fn write_pages(command: &Command, folder: &Path) -> anyhow::Result<usize> {
    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    let each = commands.flat_map(|command| std::iter::once(command).chain(command.get_subcommands()));
    let mut count = 0;
    for command in std::iter::once(command).chain(each) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let path = folder.join(format!("{name}.1"));
        // They are read by everyone, where they are installed.
        save_for(Readers::Everyone, &path, &page(command)?, true).context("the page was not written")?;
        count += 1;
    }
    Ok(count)
}

/// The page of a command. What stands behind its help is laid out by hand there, and stays so.
fn page(command: &Command) -> anyhow::Result<String> {
    let man = Man::new(command.clone()).manual("stripe-propagate");
    let mut page = Vec::new();
    let written: std::io::Result<()> = (|| {
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        if command.get_subcommands().next().is_some() {
            man.render_subcommands_section(&mut page)?;
        }
        rest(command).to_writer(&mut page)
    })();
    written.context("writing a page")?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Examples, and what is the same on all pages.
fn rest(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let help = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    // The exit statuses have a section of their own.
    let examples = help
        .split(help::EXIT_STATUS_HEAD)
        .next()
        .unwrap_or_default()
        .trim_end();
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for line in examples.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    let exits = EXIT_STATUSES.map(|(code, means)| (code.to_string(), means));
    section(
        &mut roff,
        "EXIT STATUS",
        exits.iter().map(|(code, means)| (code.as_str(), *means)),
    );
    section(&mut roff, "FILES", help::FILES);
    section(&mut roff, "ENVIRONMENT", help::VARIABLES);
    roff
}

fn section<'a>(roff: &mut Roff, head: &str, rows: impl IntoIterator<Item = (&'a str, &'a str)>) {
    roff.control("SH", [head]);
    for (name, means) in rows {
        roff.control("TP", []);
        roff.text([roman(name)]);
        roff.text([roman(means)]);
    }
}
