use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::Globals;
use super::session::{ca_pem, find_config, http_settings};
use super::signals::Signals;
use crate::config::{Config, LACKS_CANARY, Listed, Searched, SourceKind};
use crate::inventory::{Around, Gathering};
use crate::secret::Surroundings;
use crate::text::{Count, list};

/// Reading that takes longer is told of.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many warnings are told, and so many failures; the others are counted.
const TOLD: usize = 10;

/// What reading a config's sources depends on besides the config.
///
/// # Errors
/// When the certificate authority that the config names cannot be read.
pub(super) fn around(config: &Config) -> anyhow::Result<Around> {
    let asks_a_server = |kind: &SourceKind| matches!(kind, SourceKind::Http { .. });
    let asks = config.sources.iter().any(|source| asks_a_server(&source.kind));
    let ca_pem = if asks { ca_pem(config)? } else { None };
    Ok(Around {
        secrets: Surroundings::of_process(),
        http: http_settings(config, ca_pem),
    })
}

/// The config with all sites, those of its sources too: that is told where it takes a while, and what is odd with it.
pub(super) async fn config_with_sites(globals: &Globals, signals: &mut Signals) -> anyhow::Result<Config> {
    let config = match find_config(globals)? {
        Ok(config) => Box::pin(gathered(config, signals)).await?,
        Err(Searched(places)) => {
            let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
            bail!(
                "no config was found; looked for {}. `stripe-propagate init` writes one with a \
                 comment on all that can stand in it; or name one with --config; `stripe-propagate demo` needs none",
                places.join(" and ")
            );
        }
    };
    if config.sites.is_empty() {
        let by_sources = match (config.sources.len(), config.listed.failed.is_empty()) {
            (0, _) => "",
            (_, true) => ", and its sources list none",
            (_, false) => ", and the sources that list some could not be read",
        };
        bail!(
            "{} lists no sites{by_sources}: add [[sites]] with a url, or [[sources]] that list them",
            config.path.display()
        );
    }
    Ok(config)
}

/// The config with the sites of its sources, for a command: what is odd with them is told on standard error.
///
/// # Errors
/// When something of the config turns out wrong by them, or the operator breaks it off.
async fn gathered(config: Config, signals: &mut Signals) -> anyhow::Result<Config> {
    let config = if config.sources.is_empty() {
        config
    } else {
        Box::pin(read(config, signals)).await?
    };
    tell(&config.listed);
    config.check_canary()?;
    Ok(config)
}

async fn read(config: Config, signals: &mut Signals) -> anyhow::Result<Config> {
    let around = around(&config)?;
    // A command that lists sites is in a group of its own: it would go on alone where this process ends at once.
    let work = async { Ok(patiently(config, around).await) };
    signals.unless_stopped(work).await
}

/// The config with the sites of its sources. On a terminal it says what it waits for, if that takes a while.
pub(super) async fn patiently(config: Config, around: Around) -> Config {
    if config.sources.is_empty() {
        return config;
    }
    let mut gathering = Gathering::begin(config, around);
    let at_once = tokio::time::timeout(PATIENCE, gathering.all_read()).await;
    if at_once.is_err() && std::io::stderr().is_terminal() {
        let names = list(&gathering.waits_for(), "and");
        let _closed = writeln!(std::io::stderr(), "reading sites from {names} …");
    }
    gathering.finish().await
}

fn tell(listed: &Listed) {
    let failed = listed
        .failed
        .iter()
        .map(|failed| format!("source {failed}; its sites are missing"));
    some(failed, "source failed", "sources failed");
    some(
        listed.warnings.iter().map(ToString::to_string),
        "warning",
        "warnings",
    );
}

fn some(told: impl ExactSizeIterator<Item = String>, one: &str, many: &str) {
    let more = told.len().saturating_sub(TOLD);
    let mut err = std::io::stderr().lock();
    for text in told.take(TOLD) {
        let _closed = writeln!(err, "warning: {text}");
    }
    if more > 0 {
        let what = if more == 1 { one } else { many };
        let _closed = writeln!(err, "warning: and {more} more {what}");
    }
}

/// What a script says to the questions about the list of sites.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct ListArgs {
    /// Also send when a source of sites could not be read: its sites are missing, and so are the modes, exclusions
    /// (enabled = false) and master keys that it may set for sites that stand elsewhere too.
    #[arg(long)]
    allow_failed_source: bool,
}

/// Whether a command may send, since the list is whole, or the operator says that it need not be.
///
/// # Errors
/// Which sources failed, and what to do; also when a site that is to go first is missing, where one is (`canary`).
pub(super) fn may_send(config: &Config, args: ListArgs, canary: bool) -> anyhow::Result<()> {
    let failed = &config.listed.failed;
    if failed.is_empty() || args.allow_failed_source {
        if canary && config.lacks_canary() {
            bail!(LACKS_CANARY);
        }
        return Ok(());
    }
    let names: Vec<&str> = failed.iter().map(|failed| failed.source.as_str()).collect();
    bail!(
        "nothing sent: {} could not be read, and sites are missing by that: {}. Which modes, exclusions and master \
         keys of other sites stand there is not known either. Mend it, or send to the others with \
         --allow-failed-source",
        Count(failed.len(), "source"),
        list(&names, "and")
    );
}
