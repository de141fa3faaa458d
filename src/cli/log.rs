use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Context;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::lines::Lines;
use self::rotating::Rotating;
use super::Globals;
use super::session::state_folder;
use crate::config::{LogLevel, LogSettings};

/// A file of bounded size that several processes write to.
mod rotating;
/// One record, one line, without keys.
mod lines;

/// A file is rotated before it is longer than this, in bytes: it and five old ones.
const LIMIT: u64 = 10 * 1024 * 1024;

/// The first reason why something is not in the log.
static GAP: OnceLock<String> = OnceLock::new();

/// Begins to log. A log that cannot be written is a warning: it stops no push.
pub(super) fn start(settings: &LogSettings, globals: &Globals) {
    let settings = settings.clone().overridden(globals.log.clone(), globals.verbose);
    if let Err(error) = begin(settings) {
        warn(&format!("no log: {error:#}"));
    }
}

/// Tells that the log has a gap, if it has one. At the end: before, the screen may have the terminal, and a
/// terminal that reads no more would hold up the push.
pub(super) fn finish() {
    if let Some(error) = GAP.get() {
        warn(&format!("the log is not whole: {error}"));
    }
}

fn warn(what: &str) {
    let text = crate::text::CleanText::new(what, 2000);
    let _closed = writeln!(std::io::stderr(), "warning: {text}");
}

fn begin(settings: LogSettings) -> anyhow::Result<()> {
    let path = path(settings.file)?;
    let file = Rotating::open(path.clone(), LIMIT).with_context(|| format!("opening {}", path.display()))?;
    let gap = move |error: std::io::Error| {
        GAP.get_or_init(|| format!("{}: {error}", path.display()));
    };
    subscriber(Lines::new(file, Box::new(gap)), settings.level).try_init()?;
    Ok(())
}

fn subscriber(lines: Lines, level: LogLevel) -> impl Subscriber + Send + Sync {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // What dependencies log at finer levels holds headers and bodies; RUST_LOG is not asked.
    let filter = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("stripe_propagate", level);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        // Or it would write on the screen what it cannot format.
        .log_internal_errors(false)
        .with_writer(lines);
    tracing_subscriber::registry().with(filter).with(lines)
}

/// The log file, if the config or the command line names one, else the usual one.
pub(super) fn path(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match named {
        Some(path) => Ok(path),
        None => Ok(state_folder()?.join("stripe-propagate.log")),
    }
}
