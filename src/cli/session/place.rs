use std::fs::DirBuilder;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use etcetera::BaseStrategy;
use jiff::{SignedDuration, Timestamp};

use super::Db;
use crate::cli::signals::{Signals, asked};
use crate::cli::{Globals, who};
use crate::config::{Config, StoreSettings};
use crate::engine::Clock;
use crate::rules::moment::Moment;
use crate::rules::state::SiteState;
use crate::secret::{Secret, SecretSource, Surroundings};
use crate::site::SiteUrl;
use crate::store::any::AnyStore;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::{SqliteStore, set_aside};
use crate::store::{Store, StoreError};

/// A store, and the folder in which processes that work on it find each other.
pub(in crate::cli) struct StorePlace {
    pub(in crate::cli) store: Db,
    pub(in crate::cli) folder: PathBuf,
    /// What the system's log calls it: its file, or that it is a database.
    pub(in crate::cli) name: String,
}

/// Where the operator's store is.
#[derive(Debug, Clone)]
pub(in crate::cli) enum StoreAt {
    /// In this file.
    File(PathBuf),
    /// In the database whose URL is a secret.
    Database(SecretSource),
}

/// Where the store is: where the command line says, else where the config does.
pub(in crate::cli) fn where_is(settings: &StoreSettings, globals: &Globals) -> anyhow::Result<StoreAt> {
    if let Some(path) = globals.store.as_ref() {
        return Ok(StoreAt::File(path.clone()));
    }
    match (&settings.url, &settings.path) {
        (Some(url), _) => Ok(StoreAt::Database(url.clone())),
        (None, Some(path)) => Ok(StoreAt::File(path.clone())),
        (None, None) => Ok(StoreAt::File(state_folder()?.join("store.db"))),
    }
}

/// The operator's store.
pub(in crate::cli) async fn open_store(config: &Config, globals: &Globals) -> anyhow::Result<StorePlace> {
    if let Some(path) = &globals.store {
        if config.store.url.is_some() {
            say(&format!(
                "--store: the store is the file {} this time, not the database of store.url",
                path.display()
            ));
        }
        if !path.exists() {
            let path = path.display();
            say(&format!(
                "--store: there was no store yet, and an empty one begins at {path}"
            ));
        }
    }
    match where_is(&config.store, globals)? {
        StoreAt::Database(url) => database(config, &url).await,
        StoreAt::File(path) => match store_at(&path) {
            Err(error) => after_damage(&path, error).await,
            opened => opened,
        },
    }
}

/// As [`open_store`], and nothing is asked or told: the terminal is the screen's.
pub(in crate::cli) async fn open_unasked(config: &Config, globals: &Globals) -> anyhow::Result<StorePlace> {
    match where_is(&config.store, globals)? {
        StoreAt::Database(url) => database(config, &url).await,
        StoreAt::File(path) => store_at(&path),
    }
}

fn say(text: &str) {
    let _closed = writeln!(std::io::stderr(), "{text}");
}

/// The URL of the database that is the store.
pub(in crate::cli) async fn read_url(config: &Config, source: &SecretSource) -> anyhow::Result<Secret> {
    let hidden = config.secret_variables();
    source
        .read_secret(Surroundings::of_process(), &hidden)
        .await
        .context("store.url")
}

/// The store in the database of this URL. What stands beside a store in a file stands in the state folder: there the
/// processes of this machine that work on the same database find each other.
async fn database(config: &Config, source: &SecretSource) -> anyhow::Result<StorePlace> {
    let url = read_url(config, source).await?;
    let store = PostgresStore::open(&url, who::operator()).await?;
    #[cfg(feature = "cluster")]
    let store = store.with_workers(config.cluster.enabled).await?;
    let folder = state_folder()?.join(format!("postgresql-{}", store.fingerprint()));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("creating the folder {}", folder.display()))?;
    Ok(StorePlace {
        store: AnyStore::Postgres(store),
        folder,
        name: "in PostgreSQL".to_owned(),
    })
}

/// What is on record of each site of the config.
pub(in crate::cli) async fn known(config: &Config, globals: &Globals) -> anyhow::Result<Vec<SiteState>> {
    let store = open_store(config, globals).await?.store;
    Ok(known_in(&store, config, Clock::start().now()).await?)
}

/// What this store has on record of each site of the config.
pub(in crate::cli) async fn known_in(
    store: &impl Store,
    config: &Config,
    now: Moment,
) -> Result<Vec<SiteState>, StoreError> {
    let urls: Vec<SiteUrl> = config.sites.iter().map(|site| site.url.clone()).collect();
    let newest = store.last_known(&urls, &config.policy(), now).await?;
    Ok(newest.into_iter().map(|newest| newest.state).collect())
}

/// Rids the store of runs that are older than the config keeps them. A large history takes a while: nothing waits
/// for it, and where the process ends before, the next one goes on.
pub(in crate::cli) async fn prune(store: Arc<Db>, retention: Duration) {
    let kept = SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX);
    let before = Timestamp::now().saturating_sub(kept).unwrap_or(Timestamp::MIN);
    match store.prune(before).await {
        Ok(0) => {}
        Ok(dropped) => tracing::info!(
            dropped,
            "runs that ended longer ago than store.retention were dropped"
        ),
        Err(error) => tracing::warn!(%error, "old runs could not be dropped"),
    }
}

/// A damaged store is moved aside on the operator's word, and an empty one begun.
async fn after_damage(path: &Path, error: anyhow::Error) -> anyhow::Result<StorePlace> {
    let damaged = matches!(error.downcast_ref(), Some(StoreError::Damaged(_)));
    if !damaged || !std::io::stdin().is_terminal() {
        return Err(error);
    }
    let question = format!(
        "{error:#}.\nShall it be moved aside now? What was pushed and seen until today is forgotten then. type move: "
    );
    let mut signals = Signals::listen()?;
    if !asked(&question, "move", &mut signals).await? {
        return Err(error);
    }
    let moved = set_aside(path)?;
    let _closed = writeln!(std::io::stderr(), "moved to {}", moved.display());
    store_at(path)
}

/// The store in this file.
pub(in crate::cli) fn store_at(path: &Path) -> anyhow::Result<StorePlace> {
    let store = SqliteStore::open(path, who::operator())?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    // It is told to others, who have another working directory.
    let file = std::path::absolute(path).unwrap_or_else(|_nowhere| path.to_owned());
    Ok(StorePlace {
        store: AnyStore::Sqlite(store),
        folder,
        name: file.display().to_string(),
    })
}

/// Where the program keeps what outlives it, if nobody says otherwise.
pub(in crate::cli) fn state_folder() -> anyhow::Result<PathBuf> {
    let strategy = etcetera::choose_base_strategy()
        .context("the home directory is not known: set store.path and log.file")?;
    let state = strategy.state_dir().unwrap_or_else(|| strategy.data_dir());
    Ok(state.join("stripe-propagate"))
}
