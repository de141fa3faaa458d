use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Places};
use super::{HOUR, PushSettings};
use crate::rules::retry::Policy;
use crate::secret::ProxyUrl;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPush {
    concurrency: Option<Spanned<i64>>,
    per_backend: Option<Spanned<i64>>,
    rate_per_second: Option<Spanned<f64>>,
    backend_rate_per_second: Option<Spanned<f64>>,
    connect_timeout: Option<Spanned<SignedDuration>>,
    timeout: Option<Spanned<SignedDuration>>,
    attempts: Option<Spanned<i64>>,
    backoff: Option<Spanned<SignedDuration>>,
    backoff_max: Option<Spanned<SignedDuration>>,
    retry_after_max: Option<Spanned<SignedDuration>>,
    proxy: Option<Spanned<String>>,
}

pub(super) fn resolve(raw: &RawPush, at: &Places<'_>) -> Result<PushSettings, ConfigError> {
    let default = Policy::default();
    let number = |name, value: &Option<Spanned<i64>>, range, default: u32| {
        value
            .as_ref()
            .map_or(Ok(default), |value| at.number(name, value, range))
    };
    let wait = |name, value: &Option<Spanned<SignedDuration>>, least, default| {
        value
            .as_ref()
            .map_or(Ok(default), |value| at.duration(name, value, least..=HOUR))
    };
    let milli = Duration::from_millis(1);
    let settings = PushSettings {
        concurrency: number("concurrency", &raw.concurrency, 1..=4096, 64)? as usize,
        per_backend: number("per_backend", &raw.per_backend, 1..=64, 2)? as usize,
        rate_per_second: rate("rate_per_second", raw.rate_per_second.as_ref(), at)?,
        backend_rate_per_second: rate(
            "backend_rate_per_second",
            raw.backend_rate_per_second.as_ref(),
            at,
        )?,
        connect_timeout: wait(
            "connect_timeout",
            &raw.connect_timeout,
            milli,
            Duration::from_secs(5),
        )?,
        timeout: wait("timeout", &raw.timeout, milli, default.timeout)?,
        attempts: number("attempts", &raw.attempts, 1..=20, default.attempts)?,
        backoff: wait("backoff", &raw.backoff, Duration::ZERO, default.backoff)?,
        backoff_max: wait(
            "backoff_max",
            &raw.backoff_max,
            Duration::ZERO,
            default.backoff_max,
        )?,
        retry_after_max: wait(
            "retry_after_max",
            &raw.retry_after_max,
            Duration::ZERO,
            default.retry_after_max,
        )?,
        proxy: raw
            .proxy
            .as_ref()
            .map(|proxy| resolve_proxy(proxy, at))
            .transpose()?,
    };
    if settings.timeout <= settings.connect_timeout {
        // Or a PUT whose connection was never made would count as one that may have been stored.
        let span = raw
            .timeout
            .as_ref()
            .map(Spanned::span)
            .or(raw.connect_timeout.as_ref().map(Spanned::span));
        return Err(at.error(
            span,
            "timeout must be longer than connect_timeout, which is a part of it",
        ));
    }
    Ok(settings)
}

/// From one call in a quarter of an hour on.
fn rate(name: &str, raw: Option<&Spanned<f64>>, at: &Places<'_>) -> Result<Option<f64>, ConfigError> {
    let Some(rate) = raw else { return Ok(None) };
    if (0.001..=100_000.0).contains(rate.get_ref()) {
        Ok(Some(*rate.get_ref()))
    } else {
        let text = format!("{name} must be a number from 0.001 to 100000, such as 20 or 0.5");
        Err(at.error(Some(rate.span()), text))
    }
}

fn resolve_proxy(raw: &Spanned<String>, at: &Places<'_>) -> Result<ProxyUrl, ConfigError> {
    ProxyUrl::parse(raw.get_ref()).map_err(|refusal| at.error(Some(raw.span()), refusal.to_string()))
}
