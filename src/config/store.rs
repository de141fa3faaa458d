use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Places};
use super::{Place, file, secrets};
use crate::secret::SecretSource;

/// How long runs are kept.
const RETENTION: Duration = Duration::from_hours(400 * 24);

/// `[store]`: what outlives a run.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The file; none is the XDG state directory's.
    pub path: Option<PathBuf>,
    /// In the place of a file: the URL of a database of PostgreSQL.
    pub url: Option<SecretSource>,
    /// Runs that ended longer ago than this are dropped.
    pub retention: Duration,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStore {
    path: Option<Spanned<PathBuf>>,
    url: Option<Spanned<secrets::RawSecret>>,
    retention: Option<Spanned<String>>,
}

impl RawStore {
    /// Whether it is a database.
    pub(super) fn has_url(&self) -> bool {
        self.url.is_some()
    }
}

pub(super) fn resolve(
    raw: &RawStore,
    place: Place<'_>,
    at: &Places<'_>,
) -> Result<StoreSettings, ConfigError> {
    if let (Some(_), Some(url)) = (&raw.path, &raw.url) {
        return Err(at.error(
            Some(url.span()),
            "path and url both say where the store is: leave path out for a database, url for a file",
        ));
    }
    let looks_like_url = |path: &&Spanned<PathBuf>| path.get_ref().to_string_lossy().contains("://");
    if let Some(path) = raw.path.as_ref().filter(looks_like_url) {
        // As a path it would become folders, one of them named with the password.
        return Err(at.error(
            Some(path.span()),
            "path is a file, and this looks like a URL: a database is named by url, as a secret: url = { file = … }",
        ));
    }
    let url = raw.url.as_ref();
    let path = raw.path.as_ref().map(Spanned::get_ref);
    Ok(StoreSettings {
        path: path.map(|path| file::resolve(path, place)),
        url: url.map(|url| secrets::resolve(url, place, at)).transpose()?,
        retention: match &raw.retention {
            Some(retention) => at.days("retention", retention)?,
            None => RETENTION,
        },
    })
}
