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
    /// A publishable key.
    #[error("this is a publishable key of Stripe's, not the sites' master key")]
    PublishableKey,
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
        if crate::key::PublishableKey::parse(key).is_ok() {
            return Err(MasterKeyRefusal::PublishableKey);
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

    /// `text` with each occurrence of the key replaced, also where it is written with the escapes of JSON, a
    /// URL or HTML; `None` if it does not occur.
    pub fn redact(&self, text: &str) -> Option<String> {
        let key = self.0.expose_secret();
        let mut spellings = spellings(key);
        // Cleaned text has one blank where there were several.
        let mut single_spaced = key.split_whitespace().collect::<Vec<_>>().join(" ");
        if single_spaced != key {
            spellings.extend(self::spellings(&single_spaced));
        }
        single_spaced.zeroize();
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

/// The ways to write `key` in an answer.
fn spellings(key: &str) -> Vec<String> {
    let percent = percent_encoded(key);
    let html = key
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    let json = serde_json::to_string(key).unwrap_or_default();
    let json = json.trim_matches('"');
    let mut spellings = vec![
        key.to_owned(),
        lower_percent(&percent),
        percent,
        html.replace('\'', "&#39;"),
        html.replace('\'', "&#x27;"),
        html,
        json.replace('/', "\\/"),
        json.to_owned(),
    ];
    // The longest first: a part of one may be another.
    spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    spellings.retain(|spelling| !spelling.is_empty());
    spellings
}

/// `%2F` as `%2f`.
fn lower_percent(text: &str) -> String {
    let mut escape = 0;
    let lower = |character: char| {
        escape = if character == '%' {
            2
        } else {
            i32::max(escape - 1, -1)
        };
        if escape >= 0 && character != '%' {
            character.to_ascii_lowercase()
        } else {
            character
        }
    };
    text.chars().map(lower).collect()
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
        assert_eq!(refuse("pk_live_51Abc"), MasterKeyRefusal::PublishableKey);
    }

    #[test]
    fn it_is_redacted_in_each_spelling() {
        let key = key("a\"b/c");
        let text = key.redact("plain a\"b/c json a\\\"b/c url a%22b%2Fc").unwrap();
        assert_eq!(text, "plain [master key] json [master key] url [master key]");
        assert_eq!(key.redact("nothing here"), None);
        let text = key
            .redact("php a\\\"b\\/c url a%22b%2fc html a&quot;b/c")
            .unwrap();
        assert_eq!(text, "php [master key] url [master key] html [master key]");
        let spaced = MasterKey::parse("two  blanks".to_owned()).unwrap();
        assert_eq!(spaced.redact("a two blanks b").unwrap(), "a [master key] b");
    }
}
