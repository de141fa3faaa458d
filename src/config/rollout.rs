use serde::Deserialize;
use toml::{Spanned, Value};

use super::error::{ConfigError, Places};
use super::placed::Placed;
use crate::rules::rollout::{Canary, Pause, Settings, Share, StopAfter};
use crate::site::Site;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRollout {
    canary: Option<Spanned<Value>>,
    waves: Option<Spanned<Vec<Spanned<Value>>>>,
    pause: Option<Pause>,
    stop_after: Option<Spanned<Value>>,
}

impl RawRollout {
    /// Where the canary stands.
    pub(super) fn canary_place(&self, at: &Places<'_>) -> Option<Placed> {
        let canary = self.canary.as_ref()?;
        Some(Placed {
            text: String::new(),
            place: at.line_and_column(canary.span().start),
        })
    }
}

/// What is wrong with a canary that is none of the sites.
pub(super) const NO_SUCH_SITE: &str =
    "canary names a site that is not in this config: write it as its `name`";

/// Whether there is a site of each of these names.
pub(super) fn are_sites(names: &[String], sites: &[Site]) -> bool {
    names
        .iter()
        .all(|name| sites.iter().any(|site| site.name.as_str() == name))
}

/// `[rollout]`; `sites` are those that a canary can name, if they are known.
pub(super) fn resolve(
    raw: &RawRollout,
    sites: Option<&[Site]>,
    at: &Places<'_>,
) -> Result<Settings, ConfigError> {
    Ok(Settings {
        canary: match &raw.canary {
            Some(canary) => resolve_canary(canary, sites, at)?,
            None => Canary::default(),
        },
        waves: match &raw.waves {
            Some(waves) => resolve_waves(waves, at)?,
            None => Vec::new(),
        },
        pause: raw.pause.unwrap_or_default(),
        stop_after: match &raw.stop_after {
            Some(stop_after) => resolve_stop_after(stop_after, at)?,
            None => StopAfter::default(),
        },
    })
}

fn share(value: &Value, least: i64) -> Option<Share> {
    match value {
        Value::Integer(sites) if *sites >= least => usize::try_from(*sites).ok().map(Share::Sites),
        Value::String(text) => Share::percent(text),
        _ => None,
    }
}

fn resolve_canary(
    raw: &Spanned<Value>,
    sites: Option<&[Site]>,
    at: &Places<'_>,
) -> Result<Canary, ConfigError> {
    let refuse = |text: &str| at.error(Some(raw.span()), text);
    let Value::Array(names) = raw.get_ref() else {
        return share(raw.get_ref(), 0).map(Canary::Share).ok_or_else(|| {
            refuse("canary must be a number of sites, 0 for none, a percentage such as \"5%\", or a list of names")
        });
    };
    let names: Option<Vec<String>> = names
        .iter()
        .map(|name| name.as_str().map(str::to_owned))
        .collect();
    let names = names.ok_or_else(|| refuse("canary must be a list of the names of sites"))?;
    if sites.is_none_or(|sites| are_sites(&names, sites)) {
        Ok(Canary::Named(names))
    } else {
        Err(refuse(NO_SUCH_SITE))
    }
}

fn resolve_waves(raw: &Spanned<Vec<Spanned<Value>>>, at: &Places<'_>) -> Result<Vec<Share>, ConfigError> {
    let mut percents = Vec::new();
    for wave in raw.get_ref() {
        let Some(Share::Percent(percent)) = share(wave.get_ref(), i64::MAX) else {
            return Err(at.error(
                Some(wave.span()),
                "a wave is a percentage of all sites, such as \"10%\"",
            ));
        };
        percents.push(percent);
    }
    let ascends = percents.is_sorted_by(|one, next| one < next);
    if percents.is_empty() || (ascends && percents.last() == Some(&100)) {
        Ok(percents.into_iter().map(Share::Percent).collect())
    } else {
        Err(at.error(
            Some(raw.span()),
            "each wave must be more than the one before, and the last one \"100%\", as in [\"10%\", \"50%\", \"100%\"]",
        ))
    }
}

fn resolve_stop_after(raw: &Spanned<Value>, at: &Places<'_>) -> Result<StopAfter, ConfigError> {
    match raw.get_ref() {
        Value::String(never) if never == "never" => Ok(StopAfter::Never),
        value => share(value, 1).map(StopAfter::Share).ok_or_else(|| {
            at.error(
                Some(raw.span()),
                "stop_after must be a percentage such as \"5%\", a number of sites, or \"never\"",
            )
        }),
    }
}
