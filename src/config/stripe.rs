use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::error::{ConfigError, Places};
use crate::site::is_loopback;

/// `[stripe]`: whether and where it is asked of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeSettings {
    /// Whether it is asked at all.
    pub check: bool,
    /// Where.
    pub api: StripeApi,
}

/// Where Stripe is asked: https, or http to a loopback address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeApi(Url);

impl StripeApi {
    /// Stripe's own.
    pub fn stripes_own() -> Self {
        Self::parse("https://api.stripe.com").unwrap_or_else(|| unreachable!("this is a good address"))
    }

    /// An address without a path; none where it is anything else.
    pub fn parse(raw: &str) -> Option<Self> {
        let url = Url::parse(raw).ok()?;
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let has_user = !url.username().is_empty() || url.password().is_some();
        (is_safe && is_bare && url.has_host() && !has_user).then_some(Self(url))
    }

    /// What is asked for there: a customer that no account has. It does not matter, since no publishable key may
    /// read one.
    pub fn question(&self) -> Url {
        let mut url = self.0.clone();
        url.set_path("/v1/customers/cus_A");
        url
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStripe {
    check: Option<bool>,
    api: Option<Spanned<String>>,
}

pub(super) fn resolve(raw: &RawStripe, at: &Places<'_>) -> Result<StripeSettings, ConfigError> {
    let api = match &raw.api {
        None => StripeApi::stripes_own(),
        Some(api) => StripeApi::parse(api.get_ref()).ok_or_else(|| {
            at.error(
                Some(api.span()),
                "api must be an address without a path: https, or http to a loopback address, such as \
                 \"https://api.stripe.com\"",
            )
        })?,
    };
    Ok(StripeSettings {
        check: raw.check.unwrap_or(true),
        api,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripe_is_asked_over_tls_or_on_loopback_and_nowhere_else() {
        for good in [
            "https://api.stripe.com",
            "https://api.stripe.com/",
            "https://127.0.0.1:8443",
            "http://127.0.0.1:1",
            "http://localhost:12111",
            "http://[::1]:9",
        ] {
            assert!(StripeApi::parse(good).is_some(), "{good}");
        }
        for bad in [
            "http://api.stripe.com",
            "https://user:word@api.stripe.com",
            "https://api.stripe.com/v1",
            "https://api.stripe.com/?a",
            "ftp://127.0.0.1",
            "api.stripe.com",
            "",
        ] {
            assert!(StripeApi::parse(bad).is_none(), "{bad}");
        }
        let question = StripeApi::stripes_own().question();
        assert_eq!(question.as_str(), "https://api.stripe.com/v1/customers/cus_A");
    }
}
