//! The master key, which is never printed, and the places that secrets come from.

use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroize;

/// Reading a secret from where the config says.
mod source;

pub(crate) use source::open_plain;
pub use source::{SecretError, SecretSource, Surroundings};

/// The longest master key, in bytes.
const MAX_LENGTH: usize = 4096;

/// The key that lets its holder change a site's settings. It cannot be printed, and its memory is wiped
/// when it is dropped.
#[derive(Clone)]
pub struct MasterKey(SecretString);

/// Why a text is no master key. Holds no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyRefusal {
    /// Nothing but white space.
    #[error("the master key is empty")]
    Empty,
    /// Characters that an HTTP header cannot carry.
    #[error(
        "the master key has a character that no HTTP header can carry: it must be one line of visible ASCII"
    )]
    IllegalCharacter,
    /// Longer than any master key is.
    #[error("the master key is longer than {MAX_LENGTH} bytes: is it the right file?")]
    TooLong,
    /// One of Stripe's own secrets.
    #[error("this is a secret key of Stripe's, not the sites' master key")]
    StripeSecret,
}

impl MasterKey {
    /// Parses a master key; white space around it is taken off, and `raw` is wiped.
    ///
    /// # Errors
    /// [`MasterKeyRefusal`], with words for the operator.
    pub fn parse(mut raw: String) -> Result<Self, MasterKeyRefusal> {
        let parsed = Self::check(raw.trim());
        raw.zeroize();
        parsed
    }

    fn check(key: &str) -> Result<Self, MasterKeyRefusal> {
        if key.is_empty() {
            return Err(MasterKeyRefusal::Empty);
        }
        if key.len() > MAX_LENGTH {
            return Err(MasterKeyRefusal::TooLong);
        }
        if crate::key::secret_prefix(key).is_some() {
            return Err(MasterKeyRefusal::StripeSecret);
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(MasterKeyRefusal::IllegalCharacter);
        }
        Ok(Self(SecretString::from(key)))
    }

    /// The value of the header `X-API-Key`, marked sensitive.
    pub fn header_value(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(self.0.expose_secret())
            .unwrap_or_else(|_| unreachable!("`check` takes visible ASCII only"));
        value.set_sensitive(true);
        value
    }

    /// `text` with each occurrence of the key replaced, also where it is written with JSON's or a URL's
    /// escapes; `None` if it does not occur.
    pub fn redact(&self, text: &str) -> Option<String> {
        let key = self.0.expose_secret();
        let mut spellings = vec![key.to_owned(), percent_encoded(key)];
        if let Ok(json) = serde_json::to_string(key) {
            spellings.push(json.trim_matches('"').to_owned());
        }
        let mut clean = text.to_owned();
        for spelling in &mut spellings {
            if clean.contains(spelling.as_str()) {
                clean = clean.replace(spelling.as_str(), "[master key]");
            }
            spelling.zeroize();
        }
        (clean != text).then_some(clean)
    }
}

fn percent_encoded(key: &str) -> String {
    key.bytes().fold(String::new(), |text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text + char::from(byte).encode_utf8(&mut [0; 4])
        } else {
            text + &format!("%{byte:02X}")
        }
    })
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MasterKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(raw: &str) -> MasterKey {
        MasterKey::parse(raw.to_owned()).unwrap()
    }

    #[test]
    fn it_is_trimmed_and_never_printed() {
        let key = key("  s3cret-\"key \n");
        assert_eq!(key.header_value(), "s3cret-\"key");
        assert!(key.header_value().is_sensitive());
        assert_eq!(format!("{key:?}"), "MasterKey(…)");
    }

    #[test]
    fn what_no_header_can_carry_is_refused() {
        let refuse = |raw: &str| MasterKey::parse(raw.to_owned()).unwrap_err();
        assert_eq!(refuse(" \n"), MasterKeyRefusal::Empty);
        assert_eq!(refuse("a\nb"), MasterKeyRefusal::IllegalCharacter);
        assert_eq!(refuse("clé"), MasterKeyRefusal::IllegalCharacter);
        assert_eq!(refuse(&"a".repeat(5000)), MasterKeyRefusal::TooLong);
        assert_eq!(refuse("sk_live_abc"), MasterKeyRefusal::StripeSecret);
    }

    #[test]
    fn it_is_redacted_in_each_spelling() {
        let key = key("a\"b/c");
        let text = key.redact("plain a\"b/c json a\\\"b/c url a%22b%2Fc").unwrap();
        assert_eq!(text, "plain [master key] json [master key] url [master key]");
        assert_eq!(key.redact("nothing here"), None);
    }
}
