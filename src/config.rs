//! The config file: its shape, its defaults, and errors that name line and column and quote no value.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use toml::Spanned;

use crate::rules::retry::Policy;
use crate::rules::rollout as rules;
use crate::secret::{ProxyUrl, SecretSource};
use crate::site::{MasterKeyId, Site, SiteUrl};
use crate::text::CleanText;

/// Where the file is looked for, and whether it may be trusted.
mod file;
/// Errors with their place; the policy's too.
pub(crate) mod error;
/// What may be shown of the lines at an error.
mod outline;
/// Writing into a config, which keeps all that it holds.
mod write;
/// The `[[sites]]`, resolved.
mod sites;
/// The `[[sites]]` of a long config, read piece by piece.
mod pieces;
/// The `[[sources]]`.
mod sources;
/// What came of reading them.
mod listed;
/// `[inventory]`.
mod inventory;
/// `[push]`.
mod push;
/// `[rollout]`.
mod rollout;
/// The form that every secret has.
mod secrets;
/// `[cluster]`.
mod cluster;
/// `[store]`.
mod store;
/// `[stripe]`.
mod stripe;
/// `[watch]` and `[notify]`.
mod watch;
/// `[keys]`, and what else only the screen's tables can check.
mod placed;

pub use cluster::{ClusterSettings, HOW_TO_GET};
pub use error::ConfigError;
pub(crate) use file::distrusted;
pub use file::{Found, Searched, Surroundings, find, load, typed_path};
pub use inventory::InventorySettings;
pub use listed::{CONFIG, FailedSource, LACKS_CANARY, Listed, Origins, RowWarning};
pub use outline::ConfigLine;
pub use placed::{KeySetting, Placed};
pub use secrets::DEFAULT_VARIABLE;
pub use sites::{Otherwise, SiteEntry};
pub use sources::{ListFormat, Source, SourceKind};
pub use store::StoreSettings;
pub use stripe::{StripeApi, StripeSettings};
pub use watch::{NotifySettings, WatchSettings};
pub use write::{add_sites, write_example};

/// A config with a comment on all that can stand in one.
const EXAMPLE: &str = include_str!("../config.example.toml");

/// A config, resolved: each value in it is valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// The sites: those of the file in its order, then those of the sources, once these are read.
    pub sites: Arc<[Site]>,
    /// The sites of the file as they stand there, until the sources are read; none where there are no sources.
    pub entries: Vec<SiteEntry>,
    /// The master keys of groups.
    groups: sites::Groups,
    /// Where the names of canaries stand, where only the sources can tell whether there are such sites.
    canary: Option<Placed>,
    /// Where else sites stand.
    pub sources: Vec<Source>,
    /// What they may add.
    pub inventory: InventorySettings,
    /// What came of reading the sources, once they are.
    pub listed: Listed,
    /// Where the master keys come from; a site's [`crate::site::MasterKeyId`] is an index into this. The
    /// first is the global one.
    pub master_keys: Vec<SecretSource>,
    /// `[push]`.
    pub push: PushSettings,
    /// `[rollout]`.
    pub rollout: rules::Settings,
    /// `[verify]`.
    pub verify: VerifySettings,
    /// `[stripe]`.
    pub stripe: StripeSettings,
    /// `[watch]`.
    pub watch: WatchSettings,
    /// `[notify]`.
    pub notify: NotifySettings,
    /// `[tls] ca_file`: a certificate authority besides the system's.
    pub ca_file: Option<PathBuf>,
    /// `[ui]`.
    pub ui: UiSettings,
    /// `[keys]`, as it stands there: the screen's table of actions checks it.
    pub keys: Vec<KeySetting>,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[cluster]`.
    pub cluster: ClusterSettings,
    /// `[log]`.
    pub log: LogSettings,
}

/// `[push]`: how much at once, how long, how often.
#[derive(Debug, Clone, PartialEq)]
pub struct PushSettings {
    /// Requests out at once, in all.
    pub concurrency: usize,
    /// Requests out at once to one backend.
    pub per_backend: usize,
    /// Calls a second, in all; none is no limit.
    pub rate_per_second: Option<f64>,
    /// Calls a second to one backend; none is no limit.
    pub backend_rate_per_second: Option<f64>,
    /// The limit of DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// The limit of a whole request.
    pub timeout: Duration,
    /// PUTs a site gets at most.
    pub attempts: u32,
    /// The base of the exponential backoff.
    pub backoff: Duration,
    /// The most that a backoff can be.
    pub backoff_max: Duration,
    /// A `Retry-After` beyond this ends the site's turn.
    pub retry_after_max: Duration,
    /// A proxy. The environment's is not taken.
    pub proxy: Option<ProxyUrl>,
}

/// `[verify]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifySettings {
    /// Whether the screen looks at the sites when it opens.
    pub on_start: bool,
    /// How long a site's other processes may answer the old key.
    pub settle: Duration,
}

/// `[ui]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UiSettings {
    /// Frames a second at most; none lets the program choose (5 over SSH, else 20).
    pub fps: Option<u32>,
    /// ASCII glyphs and borders; none lets the terminal decide.
    pub ascii: Option<bool>,
    /// Whether the mouse is captured.
    pub mouse: bool,
    /// What the terminal shows outside the screen.
    pub tab: TabSettings,
    /// The name of the theme, which the screen's table of themes checks.
    pub theme: Option<Placed>,
}

/// What of `[ui]` the terminal shows of a run outside the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TabSettings {
    /// Whether its title tells how far a run is.
    pub title: bool,
    /// Whether its tab or task bar does.
    pub progress: bool,
    /// Whether it rings a bell at the end of a run.
    pub bell: bool,
}

impl Default for TabSettings {
    fn default() -> Self {
        Self {
            title: true,
            progress: false,
            bell: false,
        }
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The file; none is the XDG state directory's.
    pub file: Option<PathBuf>,
    /// How much is logged.
    pub level: LogLevel,
}

impl LogSettings {
    /// With what the command line says: another file, and `-v` (1) or `-vv` (2) for more than the config asks.
    #[must_use]
    pub fn overridden(self, file: Option<PathBuf>, verbose: u8) -> Self {
        let least = match verbose {
            0 => self.level,
            1 => LogLevel::Debug,
            _ => LogLevel::Trace,
        };
        Self {
            file: file.or(self.file),
            level: self.level.max(least),
        }
    }
}

/// How much is logged, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures.
    Error,
    /// And what is odd.
    Warn,
    /// And each attempt.
    #[default]
    Info,
    /// And more.
    Debug,
    /// And everything.
    Trace,
}

impl Config {
    /// What there is without a config: defaults, and no sites.
    pub fn empty() -> Self {
        let place = Place {
            path: Path::new(""),
            home: None,
            owner_only: false,
        };
        parse("", place).unwrap_or_else(|_| unreachable!("each key of a config has a default"))
    }

    /// Adds a site that the file does not list, with what a site has by default; whether it was new.
    pub fn add_site(&mut self, url: &SiteUrl) -> bool {
        if self.sites.iter().any(|site| site.url == *url) {
            return false;
        }
        let new = sites::by_default(url, &self.sites);
        self.sites = self.sites.iter().cloned().chain([new]).collect();
        self.listed.origins.push([CleanText::note("this session")].into());
        true
    }

    /// The sites that these entries describe, each with what is the default and a name of its own.
    pub fn complete(&self, entries: &[SiteEntry]) -> Vec<Site> {
        sites::complete(entries, &self.groups)
    }

    /// Whether each canary that is named is a site: with sources that is known when they are read. One that could not be
    /// read may have listed it.
    ///
    /// # Errors
    /// With the place of the names, and what to write.
    pub fn check_canary(&self) -> Result<(), ConfigError> {
        match &self.canary {
            Some(place) if self.listed.failed.is_empty() && !self.lists_canary() => {
                let text = "canary names a site that is neither in this config nor in a source: write it as its `name`";
                Err(self.error(place, text))
            }
            _ => Ok(()),
        }
    }

    fn lists_canary(&self) -> bool {
        match &self.rollout.canary {
            rules::Canary::Named(names) => rollout::are_sites(names, &self.sites),
            _ => true,
        }
    }

    /// Whether a site that is to go first gets no key: it is not in the list, disabled, or held back for a row that could
    /// not be read.
    pub fn lacks_canary(&self) -> bool {
        let rules::Canary::Named(names) = &self.rollout.canary else {
            return false;
        };
        let goes = |name: &String| {
            let mut sites = self.sites.iter().filter(|site| site.enabled);
            sites.any(|site| site.name.as_str() == name)
        };
        !names.iter().all(goes)
    }

    /// The environment variables that may hold a secret: no command that is started sees them.
    pub fn secret_variables(&self) -> Vec<String> {
        let of_sources = self.sources.iter().filter_map(|source| source.kind.secret());
        let secrets = self
            .master_keys
            .iter()
            .chain(&self.notify.webhook)
            .chain(&self.store.url)
            .chain(of_sources);
        let named = secrets.flat_map(SecretSource::variables).cloned();
        // It may hold the master key also where the config names another place for it.
        let mut all: Vec<String> = named.chain([DEFAULT_VARIABLE.to_owned()]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether `[groups]` names this master key.
    pub fn is_of_a_group(&self, key: MasterKeyId) -> bool {
        self.groups.values().any(|of_group| *of_group == key)
    }

    /// The retry policy that `[push]` and `[verify]` describe.
    pub fn policy(&self) -> Policy {
        Policy {
            attempts: self.push.attempts,
            backoff: self.push.backoff,
            backoff_max: self.push.backoff_max,
            retry_after_max: self.push.retry_after_max,
            settle: self.verify.settle,
            timeout: self.push.timeout,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    master_key: Option<Spanned<secrets::RawSecret>>,
    sites: Option<Vec<Spanned<sites::RawSite>>>,
    sources: Vec<Spanned<sources::RawSource>>,
    groups: BTreeMap<Spanned<String>, sites::RawGroup>,
    inventory: inventory::RawInventory,
    push: push::RawPush,
    rollout: rollout::RawRollout,
    verify: RawVerify,
    stripe: stripe::RawStripe,
    watch: watch::RawWatch,
    notify: watch::RawNotify,
    tls: RawTls,
    ui: RawUi,
    keys: placed::RawKeys,
    store: store::RawStore,
    cluster: cluster::RawCluster,
    log: RawLog,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawVerify {
    on_start: Option<bool>,
    settle: Option<Spanned<SignedDuration>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawTls {
    ca_file: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawUi {
    fps: Option<Spanned<i64>>,
    ascii: Option<bool>,
    mouse: Option<bool>,
    title: Option<bool>,
    progress: Option<bool>,
    bell: Option<bool>,
    theme: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawLog {
    file: Option<PathBuf>,
    level: Option<LogLevel>,
}

/// Where a relative path and `~` lead, and whether the file is private.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The config file.
    pub path: &'a Path,
    /// The user's home.
    pub home: Option<&'a Path>,
    /// Whether nobody but its owner can read the file.
    pub owner_only: bool,
}

/// Parses a config's text. Does no I/O.
///
/// # Errors
/// [`ConfigError`] with line, column and what to write instead; it quotes no value.
pub fn parse(text: &str, place: Place<'_>) -> Result<Config, ConfigError> {
    let at = error::Places {
        path: place.path,
        text,
    };
    if let Some(config) = in_pieces(place, &at) {
        return Ok(config);
    }
    let raw: RawConfig = toml::from_str(text).map_err(|error| at.of_toml(&error))?;
    resolve(raw, None, place, &at)
}

/// A long config. None where anything of it has to be told: then it is read as a whole.
fn in_pieces(place: Place<'_>, at: &error::Places<'_>) -> Option<Config> {
    let pieces = pieces::read(at.text, place)?;
    let raw: RawConfig = toml::from_str(&pieces.rest).ok()?;
    if raw.sites.is_some() {
        return None;
    }
    let listed = (pieces.entries, pieces.master_keys);
    resolve(raw, Some(listed), place, at).ok()
}

/// What stands in a config, made valid. `listed` are its sites, and their master keys, where they were read by
/// themselves.
fn resolve(
    mut raw: RawConfig,
    listed: Option<(Vec<SiteEntry>, Vec<SecretSource>)>,
    place: Place<'_>,
    at: &error::Places<'_>,
) -> Result<Config, ConfigError> {
    let mut master_keys = vec![match &raw.master_key {
        Some(secret) => secrets::resolve(secret, place, at)?,
        None => SecretSource::Env(vec![DEFAULT_VARIABLE.to_owned()]),
    }];
    let entries = match listed {
        Some((entries, keys)) => sites::behind(entries, keys, &mut master_keys),
        None => sites::resolve(&raw.sites.take().unwrap_or_default(), &mut master_keys, place, at)?,
    };
    let groups = sites::resolve_groups(&raw.groups, &mut master_keys, place, at)?;
    let sources = sources::resolve(&raw.sources, &mut master_keys, place, at)?;
    let sites = sites::complete(&entries, &groups);
    let known = sources.is_empty().then_some(&*sites);
    let canary = raw.rollout.canary_place(at).filter(|_| known.is_none());
    Ok(Config {
        path: place.path.to_owned(),
        inventory: inventory::resolve(&raw.inventory, at)?,
        listed: Listed::of_config(&sites),
        rollout: rollout::resolve(&raw.rollout, known, at)?,
        canary,
        entries: if sources.is_empty() { Vec::new() } else { entries },
        sources,
        sites: sites.into(),
        groups,
        master_keys,
        push: push::resolve(&raw.push, at)?,
        verify: resolve_verify(&raw.verify, at)?,
        stripe: stripe::resolve(&raw.stripe, at)?,
        watch: watch::resolve_watch(&raw.watch, at)?,
        notify: watch::resolve_notify(&raw.notify, place, at)?,
        ca_file: raw.tls.ca_file.map(|file| file::resolve(&file, place)),
        ui: UiSettings {
            fps: raw
                .ui
                .fps
                .as_ref()
                .map(|fps| at.number("fps", fps, 1..=60))
                .transpose()?,
            ascii: raw.ui.ascii,
            mouse: raw.ui.mouse.unwrap_or(false),
            tab: resolve_tab(&raw.ui),
            theme: raw.ui.theme.as_ref().map(|theme| at.placed(theme)),
        },
        keys: placed::resolve(&raw.keys, at),
        cluster: cluster::resolve(&raw.cluster, raw.store.has_url(), at)?,
        store: store::resolve(&raw.store, place, at)?,
        log: LogSettings {
            file: raw.log.file.map(|path| file::resolve(&path, place)),
            level: raw.log.level.unwrap_or_default(),
        },
    })
}

fn resolve_tab(raw: &RawUi) -> TabSettings {
    let default = TabSettings::default();
    TabSettings {
        title: raw.title.unwrap_or(default.title),
        progress: raw.progress.unwrap_or(default.progress),
        bell: raw.bell.unwrap_or(default.bell),
    }
}

/// Waits are bounded, so that a slip of the pen does not make a run that never ends.
const HOUR: Duration = Duration::from_hours(1);

fn resolve_verify(raw: &RawVerify, at: &error::Places<'_>) -> Result<VerifySettings, ConfigError> {
    let settle = match &raw.settle {
        Some(settle) => at.duration("settle", settle, Duration::ZERO..=HOUR)?,
        None => Policy::default().settle,
    };
    Ok(VerifySettings {
        on_start: raw.on_start.unwrap_or(true),
        settle,
    })
}
