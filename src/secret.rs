//! The master key, which is never printed, and the places that secrets come from.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroize;

/// A text under the escapes that answers write it with.
mod escapes;
/// Where a key stands in a text.
mod parts;
/// The address of a proxy.
mod proxy;
/// Stripe's secrets in a text.
mod stripe;
/// The address of a webhook.
mod webhook;
/// Reading a secret from where the config says.
mod source;

use parts::Pattern;
pub use proxy::{ProxyRefusal, ProxyUrl};
pub use source::{SecretError, SecretRefusal, SecretSource, Surroundings};
pub(crate) use source::{open_plain, run_bounded, run_bounded_to};
pub(crate) use stripe::without_stripe_secrets;
pub use webhook::{WebhookRefusal, WebhookUrl};

/// A secret of another kind: the address of a database, with its password, or the value of a header. It cannot be
/// printed, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

/// Why a text is no such secret. Holds no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmptySecret {
    /// Nothing but white space.
    #[error("it is empty")]
    Empty,
}

impl Secret {
    /// White space around it is taken off, and `raw` is wiped.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn parse(mut raw: String) -> Result<Self, EmptySecret> {
        let secret = SecretString::from(raw.trim());
        raw.zeroize();
        if secret.expose_secret().is_empty() {
            return Err(EmptySecret::Empty);
        }
        Ok(Self(secret))
    }

    /// The secret itself, for the library that needs it. It must not be kept or told.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// The longest master key, in bytes.
const MAX_LENGTH: usize = 4096;

/// The key that lets its holder change a site's settings. It cannot be printed, and its memory is wiped
/// when it is dropped.
#[derive(Clone)]
pub struct MasterKey {
    key: SecretString,
    /// What it looks like in a text: each answer is searched for it.
    pattern: Arc<Pattern>,
}

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
        Ok(Self {
            key: SecretString::from(key),
            pattern: Arc::new(Pattern::of(key)),
        })
    }

    /// The value of the header `X-API-Key`, marked sensitive.
    pub fn header_value(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(self.key.expose_secret())
            .unwrap_or_else(|_| unreachable!("`check` takes visible ASCII only"));
        value.set_sensitive(true);
        value
    }

    /// `text` with the key replaced wherever it stands, whole or as a part of at least twelve characters in a row (of a
    /// short key two thirds): as it is, in upper or lower case, with the escapes of JSON, a URL or HTML, in hexadecimal
    /// digits, in base64. `None` if it does not occur.
    pub fn redact(&self, text: &str) -> Option<String> {
        without(text, self.pattern.places(text), "[master key]")
    }

    /// Whether `text` tells the key: the whole of it, or at least twelve characters in a row, in any of the spellings that
    /// [`MasterKey::redact`] knows. That masks more of a short key than this takes for a leak.
    pub(crate) fn is_told_in(&self, text: &str) -> bool {
        !Pattern::that_tells(self.key.expose_secret())
            .places(text)
            .is_empty()
    }
}

/// `text` with `mark` in the place of `secret`, as [`MasterKey::redact`] has it.
fn redact(secret: &str, text: &str, mark: &str) -> Option<String> {
    if secret.is_empty() {
        return None;
    }
    without(text, Pattern::of(secret).places(text), mark)
}

/// `text` with `mark` in the place of what stands at `places`; nothing if there are none.
fn without(text: &str, mut places: Vec<Range<usize>>, mark: &str) -> Option<String> {
    if places.is_empty() {
        return None;
    }
    places.sort_unstable_by_key(|place| (place.start, place.end));
    let mut clean = String::with_capacity(text.len());
    let mut end = 0;
    for place in places {
        if place.start >= end {
            clean.push_str(&text[end..place.start]);
            clean.push_str(mark);
        }
        end = end.max(place.end);
    }
    clean.push_str(&text[end..]);
    Some(clean)
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
        // As Python's `quote`, JavaScript's `encodeURIComponent`, markupsafe, PHP and `repr` write them.
        for (plain, written) in [
            ("q83vEj/R+Q==", "q83vEj/R%2BQ%3D%3D"),
            ("it's!&\"x", "it's!%26%22x"),
            ("it's!&\"x", "it&#39;s!&amp;&#34;x"),
            ("it's!&\"x", "it&#039;s!&amp;&quot;x"),
            ("it's!&\"x", "it\\'s!&\"x"),
            ("a<b>c", "a\\u003cb\\u003Ec"),
        ] {
            let text = self::key(plain).redact(&format!("<{written}>")).unwrap();
            assert_eq!(text, "<[master key]>", "{written}");
        }
        let spaced = MasterKey::parse("two  blanks".to_owned()).unwrap();
        assert_eq!(spaced.redact("a two blanks b").unwrap(), "a [master key] b");
    }

    /// Nobody waits for the end of this test where the search looks at the rest of a text at each of its places.
    #[test]
    fn a_text_of_nothing_but_beginnings_is_searched_in_one_go() {
        let words = key("correct horse battery staple");
        for text in ["+".repeat(64 * 1024), "%20".repeat(20 * 1024)] {
            assert_eq!(words.redact(&text), None);
        }
        for text in ["ask_".repeat(100_000), "%ask_".repeat(20_000)] {
            assert_eq!(without_stripe_secrets(&text), text);
        }
    }

    #[test]
    fn it_is_redacted_encoded_in_parts_and_in_either_case() {
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

        const RAW: &str = "Zq7/rT0v+Xw93-LmNb2Pf8c";
        let key = key(RAW);
        let hex: Vec<String> = RAW.bytes().map(|byte| format!("{byte:02x}")).collect();
        let hex = hex.concat();
        for written in [
            RAW.to_uppercase(),
            RAW.to_lowercase(),
            RAW[..12].to_owned(),
            RAW[9..].to_owned(),
            hex.to_uppercase(),
            format!("0{hex}"),
            STANDARD.encode(RAW),
            URL_SAFE_NO_PAD.encode(RAW),
            STANDARD.encode(format!("ops:{RAW}")),
            STANDARD.encode(format!("x:{RAW}\n")),
            STANDARD.encode(format!("{{\"{RAW}\"}}")),
        ] {
            let text = key.redact(&format!("got <{written}>!")).unwrap();
            let inside = text
                .strip_prefix("got <")
                .and_then(|text| text.strip_suffix(">!"));
            let left = inside.unwrap().replace("[master key]", "");
            // What stands beside it in the same base64 stays.
            assert!(
                text.contains("[master key]") && left.len() <= 10,
                "{written} became {text}"
            );
        }
        for other in [
            "Zq7/rT0v+Xw",
            "Zq7-rT0v-Xw-93-LmNb",
            "an ordinary sentence, with a code: 7f3a9c0012ab77de00",
        ] {
            assert_eq!(key.redact(other), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_part_of_it_stays(
            raw in "[!-~]{18,60}",
            before in "[ -~]{0,80}",
            after in "[ -~]{0,80}",
            at in 0_usize..48,
        ) {
            let key = key(&raw);
            let part = &raw[at.min(raw.len() - 12)..][..12];
            let redacted = key.redact(&format!("{before}{part}{after}"));
            proptest::prop_assert!(!redacted.unwrap().contains(part));
        }

        #[test]
        fn any_text_can_be_read(raw in "[ -~]{1,40}", text in ".{0,200}") {
            proptest::prop_assume!(MasterKey::parse(raw.clone()).is_ok());
            let _redacted = key(&raw).redact(&text);
            let _without = without_stripe_secrets(&text);
        }
    }
}
