use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Places};
use super::{Place, secrets};
use crate::secret::SecretSource;

/// `[watch]`: how often all sites are looked at, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchSettings {
    /// From the beginning of one look at all sites to the next.
    pub interval: Duration,
    /// Whether owed sites that come back get their key.
    pub push_owed: bool,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_hours(1),
            push_owed: false,
        }
    }
}

/// `[notify]`: who is told what a watch finds.
#[derive(Clone, Default)]
pub struct NotifySettings {
    /// The program that is run, and its arguments.
    pub command: Option<Vec<String>>,
    /// Where a notice is posted as JSON. Its address is a secret.
    pub webhook: Option<SecretSource>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWatch {
    interval: Option<Spanned<SignedDuration>>,
    push_owed: Option<bool>,
}

impl fmt::Debug for NotifySettings {
    /// Without the command's arguments: a token may stand there.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.command.as_ref().and_then(|argv| argv.first());
        let mut debug = formatter.debug_struct("NotifySettings");
        debug
            .field("program", &program)
            .field("webhook", &self.webhook)
            .finish()
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawNotify {
    command: Option<Spanned<Vec<String>>>,
    webhook: Option<Spanned<secrets::RawSecret>>,
}

/// Sites are asked no more often; a look takes longer where many are.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(7 * 24);

pub(super) fn resolve_watch(raw: &RawWatch, at: &Places<'_>) -> Result<WatchSettings, ConfigError> {
    let default = WatchSettings::default();
    let interval = match &raw.interval {
        None => default.interval,
        Some(interval) => Duration::try_from(*interval.get_ref())
            .ok()
            .filter(|known| (SHORTEST..=LONGEST).contains(known))
            .ok_or_else(|| {
                at.error(
                    Some(interval.span()),
                    "interval must be a time from \"1s\" to \"168h\"",
                )
            })?,
    };
    Ok(WatchSettings {
        interval,
        push_owed: raw.push_owed.unwrap_or(default.push_owed),
    })
}

pub(super) fn resolve_notify(
    raw: &RawNotify,
    place: Place<'_>,
    at: &Places<'_>,
) -> Result<NotifySettings, ConfigError> {
    if let Some(command) = &raw.command
        && command.get_ref().first().is_none_or(String::is_empty)
    {
        return Err(at.error(
            Some(command.span()),
            "command must be a list: the program and its arguments, [\"logger\", \"-t\", \"shops\"]",
        ));
    }
    let webhook = raw.webhook.as_ref();
    Ok(NotifySettings {
        command: raw.command.as_ref().map(|command| command.get_ref().clone()),
        webhook: webhook
            .map(|secret| secrets::resolve(secret, place, at))
            .transpose()?,
    })
}
