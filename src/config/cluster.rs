use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Places};

/// How the program is had that knows workers.
pub const HOW_TO_GET: &str = "this build of stripe-propagate has no workers: build it with `cargo build --release --locked --features cluster`";

/// `[cluster]`: who makes the calls of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterSettings {
    /// Whether workers do (`stripe-propagate worker`), and not the process that begins it.
    pub enabled: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCluster {
    enabled: Option<Spanned<bool>>,
}

pub(super) fn resolve(
    raw: &RawCluster,
    has_database: bool,
    at: &Places<'_>,
) -> Result<ClusterSettings, ConfigError> {
    let enabled = raw.enabled.as_ref().filter(|enabled| *enabled.get_ref());
    let Some(enabled) = enabled else {
        return Ok(ClusterSettings::default());
    };
    if cfg!(not(feature = "cluster")) {
        return Err(at.error(Some(enabled.span()), HOW_TO_GET));
    }
    if !has_database {
        return Err(at.error(
            Some(enabled.span()),
            "workers find their work in a database: say where that is by url in [store] (docs/workers.md)",
        ));
    }
    Ok(ClusterSettings { enabled: true })
}
