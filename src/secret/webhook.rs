use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroize;

use crate::site::is_loopback;

/// The longest address, in bytes.
const MAX_LENGTH: usize = 4096;

/// Where notices are posted: https, or http to a loopback address. Who knows it can post there, so it cannot be printed.
#[derive(Clone)]
pub struct WebhookUrl(SecretString);

/// Why a text is no address of a webhook. Holds no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefusal {
    /// Not an absolute URL.
    #[error("the webhook is no web address: write https://…")]
    Unreadable,
    /// http to somewhere else than this machine, or another scheme.
    #[error("the webhook must begin with https:// (http is taken for loopback addresses only)")]
    Insecure,
    /// Longer than any address is.
    #[error("the webhook is longer than {MAX_LENGTH} bytes: is it the right file?")]
    TooLong,
}

impl WebhookUrl {
    /// Parses an address; white space around it is taken off, and `raw` is wiped.
    ///
    /// # Errors
    /// [`WebhookRefusal`], with words for the operator.
    pub fn parse(mut raw: String) -> Result<Self, WebhookRefusal> {
        let checked = check(raw.trim());
        raw.zeroize();
        checked.map(|url| Self(SecretString::from(String::from(url))))
    }

    /// The address, for a request: an error of that must be shown without it.
    pub fn url(&self) -> &str {
        self.0.expose_secret()
    }
}

fn check(raw: &str) -> Result<Url, WebhookRefusal> {
    if raw.len() > MAX_LENGTH {
        return Err(WebhookRefusal::TooLong);
    }
    let url = Url::parse(raw).map_err(|_| WebhookRefusal::Unreadable)?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(WebhookRefusal::Insecure),
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebhookUrl(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<WebhookUrl, WebhookRefusal> {
        WebhookUrl::parse(raw.to_owned())
    }

    #[test]
    fn it_is_encrypted_or_stays_on_this_machine_and_is_never_printed() {
        for good in [
            " https://hooks.example.com/T0/s3cret?x=1\n",
            "http://127.0.0.1:8080/s3cret",
            "http://[::1]/s3cret",
            "http://localhost/s3cret",
        ] {
            let url = parse(good).unwrap();
            assert!(url.url().contains("s3cret"));
            assert_eq!(format!("{url:?}"), "WebhookUrl(…)");
        }
        let refused = |raw: &str| parse(raw).unwrap_err();
        for bad in [
            "http://hooks.example.com/s3cret",
            "ftp://hooks.example.com",
            "file:///etc/passwd",
        ] {
            assert_eq!(refused(bad), WebhookRefusal::Insecure, "{bad}");
        }
        for bad in ["", "hooks.example.com/s3cret"] {
            assert_eq!(refused(bad), WebhookRefusal::Unreadable, "{bad}");
        }
        assert_eq!(refused(&"x".repeat(5000)), WebhookRefusal::TooLong);
    }
}
