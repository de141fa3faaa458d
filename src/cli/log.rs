use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context;
use etcetera::BaseStrategy;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogLevel, LogSettings};

/// Begins to log. A log that cannot be written is a warning: it stops no push.
pub(super) fn start(settings: &LogSettings) {
    if let Err(error) = open(settings) {
        let _closed = writeln!(std::io::stderr(), "warning: no log: {error:#}");
    }
}

fn open(settings: &LogSettings) -> anyhow::Result<()> {
    let path = settings.file.clone().map_or_else(default_path, Ok)?;
    let file = open_file(&path).with_context(|| format!("opening {}", path.display()))?;
    let level = match settings.level {
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
        .with_writer(Mutex::new(file));
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()?;
    Ok(())
}

fn default_path() -> anyhow::Result<PathBuf> {
    let strategy =
        etcetera::choose_base_strategy().context("the home directory is not known: set log.file")?;
    let state = strategy.state_dir().unwrap_or_else(|| strategy.data_dir());
    Ok(state.join("stripe-propagate").join("stripe-propagate.log"))
}

/// Opens the file to append to it, readable by the user alone, and follows no link to it.
fn open_file(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // A named pipe is not waited for.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("is no plain file"));
    }
    // One that was there already may have been readable by others.
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}
