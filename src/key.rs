//! Stripe's publishable key: what one is, what is refused and in which words, and how it is shown.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::text::is_hidden;

/// The longest key that is accepted, in characters. Stripe's own are at most about 110 today.
pub const MAX_LENGTH: usize = 255;
/// Keys shorter than this (characters) are taken with a warning: Stripe's own are longer.
pub const SHORT_LENGTH: usize = 32;
/// Keys longer than this (characters) are taken with a warning too.
pub const LONG_LENGTH: usize = 128;
/// Prefixes of Stripe's secrets (<https://docs.stripe.com/keys>). None of them may ever reach a site.
pub const SECRET_PREFIXES: [&str; 4] = ["sk_", "rk_", "whsec_", "ek_"];
/// Characters of the longest of them.
const LONGEST_SECRET_PREFIX: usize = 6;

/// Stripe's two environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyMode {
    /// Takes real payments.
    Live,
    /// Takes none.
    Test,
}

impl KeyMode {
    /// The word for it: `live` or `test`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    /// What keys of this mode begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Live => "pk_live_",
            Self::Test => "pk_test_",
        }
    }
}

/// A well-formed publishable key: `^pk_(test|live)_[A-Za-z0-9_-]+$`, at most [`MAX_LENGTH`] characters.
///
/// It cannot hold a secret key. `Debug` and `Display` show the mask; [`PublishableKey::as_str`] the whole.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishableKey(Arc<str>);

impl serde::Serialize for PublishableKey {
    /// The whole key: for the store and for other processes of the operator.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for PublishableKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ReadKey)
    }
}

/// So many keys that were read last are kept at hand.
const AT_HAND: usize = 8;

thread_local! {
    /// The keys that were read last. What is known of a site names the same few keys again and again, and so do the
    /// sites of a fleet: they share them, and each is checked once.
    static READ_LAST: RefCell<VecDeque<PublishableKey>> = const { RefCell::new(VecDeque::new()) };
}

/// Reads a key.
struct ReadKey;

impl serde::de::Visitor<'_> for ReadKey {
    type Value = PublishableKey;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a publishable key")
    }

    fn visit_str<E: serde::de::Error>(self, raw: &str) -> Result<PublishableKey, E> {
        READ_LAST.with_borrow_mut(|last| {
            if let Some(known) = last.iter().find(|known| *known.0 == *raw) {
                return Ok(known.clone());
            }
            let key = PublishableKey::parse(raw).map_err(E::custom)?;
            last.truncate(AT_HAND - 1);
            last.push_front(key.clone());
            Ok(key)
        })
    }
}

/// Why a text is no publishable key. Holds no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Nothing but white space.
    #[error("no key: paste a publishable key, pk_live_… or pk_test_…")]
    Empty,
    /// One of [`SECRET_PREFIXES`].
    #[error(
        "a SECRET key ({prefix}…): it must never leave Stripe's dashboard or a server; take the publishable key, pk_…"
    )]
    Secret {
        /// Which prefix gave it away.
        prefix: &'static str,
    },
    /// Begins with neither `pk_live_` nor `pk_test_`.
    #[error("no publishable key: it must begin with pk_live_ or pk_test_")]
    Prefix,
    /// A key, with something before it.
    #[error("something stands before pk_…: take it off (quotes, or a name and =)")]
    BeforePrefix,
    /// The prefix alone.
    #[error("nothing behind the prefix {prefix}: the key was cut off")]
    NothingBehindPrefix {
        /// The prefix.
        prefix: &'static str,
    },
    /// Another key begins inside: two were joined.
    #[error("another key begins at position {position}: two keys were pasted as one")]
    TwoKeys {
        /// Counted from 1, in characters, after white space around the key was taken off.
        position: usize,
    },
    /// A character that keys cannot have.
    #[error(
        "an illegal character at position {position}: only letters, digits, _ and - may follow the prefix"
    )]
    IllegalCharacter {
        /// Counted from 1, in characters, after white space around the key was taken off.
        position: usize,
    },
    /// A character that cannot be seen.
    #[error("an invisible character at position {position}: copy the key again, from Stripe's dashboard")]
    InvisibleCharacter {
        /// Counted from 1, in characters, after white space around the key was taken off.
        position: usize,
    },
    /// Longer than [`MAX_LENGTH`].
    #[error("{length} characters, and a key has at most {MAX_LENGTH}: more than the key was pasted")]
    TooLong {
        /// Characters.
        length: usize,
    },
}

impl KeyRefusal {
    /// Whether the text was a secret, which must be wiped at once.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Secret { .. })
    }
}

/// The secret's prefix with which `raw` begins (white space and quotes before it and hidden characters do not count),
/// or `None`. Works on the first characters of a secret as they are typed.
pub fn secret_prefix(raw: &str) -> Option<&'static str> {
    // No further than needed: who asks at each mark of a long text would read all of it each time.
    let seen = raw.chars().filter(|character| is_seen(*character));
    let start = seen.skip_while(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '`'));
    let start: String = start.take(LONGEST_SECRET_PREFIX).collect();
    SECRET_PREFIXES.into_iter().find(|prefix| {
        start
            .get(..prefix.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
    })
}

fn is_seen(character: char) -> bool {
    character.is_whitespace() || !is_hidden(character)
}

/// `text` as it is seen: a secret with an invisible character inside is one all the same.
pub(crate) fn without_hidden(text: &str) -> Cow<'_, str> {
    // What is typed into a field is looked at with each letter, and is ASCII as a rule.
    let is_plain = |byte: u8| matches!(byte, b' '..0x7f | b'\t' | b'\n' | b'\r');
    if (text.is_ascii() && text.bytes().all(is_plain)) || text.chars().all(is_seen) {
        Cow::Borrowed(text)
    } else {
        text.chars().filter(|character| is_seen(*character)).collect()
    }
}

impl PublishableKey {
    /// Parses a key as it was typed or pasted; white space and line ends around it are taken off.
    ///
    /// # Errors
    /// [`KeyRefusal`], with words for the operator.
    pub fn parse(raw: &str) -> Result<Self, KeyRefusal> {
        if let Some(prefix) = secret_prefix(raw) {
            return Err(KeyRefusal::Secret { prefix });
        }
        let key = raw.trim();
        if key.is_empty() {
            return Err(KeyRefusal::Empty);
        }
        let prefix = PREFIXES
            .into_iter()
            .find(|prefix| key.starts_with(prefix))
            .ok_or_else(|| without_prefix(key))?;
        let rest = &key[prefix.len()..];
        if let Some(refusal) = key_inside(rest, prefix.len()) {
            return Err(refusal);
        }
        if rest.is_empty() {
            return Err(KeyRefusal::NothingBehindPrefix { prefix });
        }
        let length = key.chars().count();
        if length > MAX_LENGTH {
            return Err(KeyRefusal::TooLong { length });
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if let Some((index, character)) = rest.chars().enumerate().find(|&(_, c)| !legal(c)) {
            let position = prefix.len() + index + 1;
            return Err(if is_hidden(character) {
                KeyRefusal::InvisibleCharacter { position }
            } else {
                KeyRefusal::IllegalCharacter { position }
            });
        }
        Ok(Self(key.into()))
    }

    /// The environment that the key is for.
    pub fn mode(&self) -> KeyMode {
        if self.0.starts_with(KeyMode::Live.prefix()) {
            KeyMode::Live
        } else {
            KeyMode::Test
        }
    }

    /// The whole key. It is public (every visitor of a shop gets it), yet shown masked, since a screen is
    /// read over shoulders and a mask is what Stripe's dashboard shows.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What all keys of a Stripe account have in common, live and test ones: the first 16 characters behind the prefix,
    /// where they begin with `51` (the account's own id follows). None for a key of the older kind, of which nothing
    /// tells. Seen in keys since about 2019; Stripe documents no such thing.
    pub fn account_part(&self) -> Option<&str> {
        const LENGTH: usize = 16;

        let rest = &self.0[self.mode().prefix().len()..];
        // Characters of a key are single bytes.
        rest.get(..LENGTH).filter(|part| part.starts_with("51"))
    }

    /// Its length in characters.
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// What is odd about its length, if anything: a reason to warn.
    pub fn odd_length(&self) -> Option<String> {
        let length = self.length();
        if length < SHORT_LENGTH {
            return Some(format!("only {length} characters: is it whole?"));
        }
        (length > LONG_LENGTH).then(|| format!("{length} characters: is something behind it?"))
    }

    /// The prefix and the last four: `pk_live_…AbCd`. Of a key with at most eight characters behind the
    /// prefix fewer are shown, so that a mask is never the key.
    pub fn mask(&self) -> String {
        let prefix = self.mode().prefix();
        let rest = &self.0[prefix.len()..];
        let shown = (rest.len() / 2).min(4);
        format!("{prefix}…{}", &rest[rest.len() - shown..])
    }

    /// Six hexadecimal digits of the key's SHA-256, to tell two keys with one mask apart.
    pub fn fingerprint(&self) -> String {
        let digest: [u8; 32] = Sha256::digest(self.0.as_bytes()).into();
        let [first, second, third, ..] = digest;
        format!("{first:02x}{second:02x}{third:02x}")
    }

    /// The mask, with the fingerprint behind it if one of `others` is another key with the same mask.
    pub fn mask_among<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> String {
        let mask = self.mask();
        let clash = others
            .into_iter()
            .any(|other| other != self && other.mask() == mask);
        if clash {
            format!("{mask}#{}", self.fingerprint())
        } else {
            mask
        }
    }
}

/// What publishable keys begin with.
pub const PREFIXES: [&str; 2] = [KeyMode::Live.prefix(), KeyMode::Test.prefix()];

/// What begins a key inside another one. Stripe's keys have no `_` behind their prefix, so that no key of
/// theirs is refused for it.
const KEYS_INSIDE: [(&str, Option<&str>); 9] = [
    ("pk_live_", None),
    ("pk_test_", None),
    ("sk_live_", Some("sk_")),
    ("sk_test_", Some("sk_")),
    ("rk_live_", Some("rk_")),
    ("rk_test_", Some("rk_")),
    ("ek_live_", Some("ek_")),
    ("ek_test_", Some("ek_")),
    ("whsec_", Some("whsec_")),
];

/// The refusal of a key in whose `rest`, which follows `before` characters, another key begins: a secret
/// before all else.
fn key_inside(rest: &str, before: usize) -> Option<KeyRefusal> {
    if let Some(prefix) = secret_inside(rest) {
        return Some(KeyRefusal::Secret { prefix });
    }
    let lower = rest.to_ascii_lowercase();
    let (begin, _) = KEYS_INSIDE.iter().find(|(begin, _)| lower.contains(begin))?;
    let position = before + lower.split(begin).next()?.chars().count() + 1;
    Some(KeyRefusal::TwoKeys { position })
}

/// Where a secret begins anywhere in `text`, which prefix gives it away, or `None`. Only prefixes with their
/// environment count: letters of another word may spell the rest.
pub fn secret_inside(text: &str) -> Option<&'static str> {
    let lower = without_hidden(text).to_ascii_lowercase();
    let mut secrets = KEYS_INSIDE.iter().filter(|(begin, _)| lower.contains(begin));
    secrets.find_map(|(_, secret)| *secret)
}

/// The refusal of a text that begins with no prefix of a publishable key.
fn without_prefix(text: &str) -> KeyRefusal {
    if let Some(prefix) = secret_inside(text) {
        return KeyRefusal::Secret { prefix };
    }
    if let Some(invisible) = first_invisible(text) {
        return invisible;
    }
    if PREFIXES.iter().any(|prefix| text.contains(prefix)) {
        KeyRefusal::BeforePrefix
    } else {
        KeyRefusal::Prefix
    }
}

fn first_invisible(key: &str) -> Option<KeyRefusal> {
    let (index, _) = key.chars().enumerate().find(|&(_, c)| is_hidden(c))?;
    Some(KeyRefusal::InvisibleCharacter { position: index + 1 })
}

impl fmt::Display for PublishableKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.mask())
    }
}

impl fmt::Debug for PublishableKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublishableKey({})", self.mask())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIVE: &str = "pk_live_51ExampleExampleExampleExampleAbCd";

    #[test]
    fn a_good_key_is_taken_with_white_space_around_it() {
        let key = PublishableKey::parse(&format!(" \t{LIVE}\r\n")).unwrap();
        assert_eq!(key.as_str(), LIVE);
        assert_eq!(key.mode(), KeyMode::Live);
        assert_eq!(key.mask(), "pk_live_…AbCd");
        assert_eq!(key.odd_length(), None);
        assert_eq!(format!("{key:?}"), "PublishableKey(pk_live_…AbCd)");
    }

    #[test]
    fn each_refusal_has_its_own_words() {
        let refuse = |raw: &str| PublishableKey::parse(raw).unwrap_err();
        assert_eq!(refuse("  "), KeyRefusal::Empty);
        for secret in [
            "sk_live_x",
            "rk_test_x",
            "whsec_x",
            "ek_x",
            " SK_live_x",
            "\"sk_live_x",
            "key:sk_live_x",
            "esk_live_x",
            "\u{200b}sk_",
        ] {
            assert!(refuse(secret).is_secret(), "{secret}");
        }
        assert_eq!(refuse("live_x"), KeyRefusal::Prefix);
        assert_eq!(refuse("'pk_live_51Abc'"), KeyRefusal::BeforePrefix);
        assert_eq!(refuse("KEY=pk_test_51Abc"), KeyRefusal::BeforePrefix);
        assert!(refuse("pk_live_51Aek_live_5Secret").is_secret());
        assert_eq!(refuse("pk_prod_x"), KeyRefusal::Prefix);
        assert_eq!(
            refuse("pk_live_"),
            KeyRefusal::NothingBehindPrefix { prefix: "pk_live_" }
        );
        assert_eq!(
            refuse("pk_live_a b"),
            KeyRefusal::IllegalCharacter { position: 10 }
        );
        assert_eq!(
            refuse("pk_live_a\u{200b}b"),
            KeyRefusal::InvisibleCharacter { position: 10 }
        );
        assert_eq!(
            refuse("\u{feff}pk_live_ab"),
            KeyRefusal::InvisibleCharacter { position: 1 }
        );
        assert_eq!(
            refuse(&format!("pk_live_{}", "a".repeat(248))),
            KeyRefusal::TooLong { length: 256 }
        );
    }

    #[test]
    fn a_key_inside_a_key_is_refused_and_a_secret_before_all() {
        let joined = |behind: &str| PublishableKey::parse(&format!("{LIVE}{behind}")).unwrap_err();
        let position = LIVE.len() + 1;
        assert_eq!(joined("pk_test_51Example"), KeyRefusal::TwoKeys { position });
        assert_eq!(joined(LIVE), KeyRefusal::TwoKeys { position });
        for secret in ["sk_live_51x", "RK_test_x", "pk_live_xsk_test_y", "whsec_x"] {
            assert!(joined(secret).is_secret(), "{secret}");
        }
    }

    #[test]
    fn an_odd_length_is_a_warning() {
        let of = |length: usize| PublishableKey::parse(&format!("pk_live_{}", "a".repeat(length - 8)));
        assert!(of(31).unwrap().odd_length().is_some());
        assert!(of(107).unwrap().odd_length().is_none());
        assert!(of(200).unwrap().odd_length().is_some());
    }

    #[test]
    fn two_keys_with_one_mask_show_a_fingerprint() {
        let one = PublishableKey::parse("pk_live_aaaaaaaaaaaaaaaaAbCd").unwrap();
        let two = PublishableKey::parse("pk_live_bbbbbbbbbbbbbbbbAbCd").unwrap();
        assert_ne!(one.mask_among([&two]), two.mask_among([&one]));
        assert_eq!(one.mask_among([&one]), one.mask());
    }

    #[test]
    fn the_mask_of_a_tiny_key_does_not_show_it_whole() {
        assert_eq!(PublishableKey::parse("pk_test_abc").unwrap().mask(), "pk_test_…c");
    }

    proptest! {
        #[test]
        fn only_the_documented_form_is_a_key(raw in ".{0,40}") {
            if let Ok(key) = PublishableKey::parse(&raw) {
                let rest = key.as_str().strip_prefix(key.mode().prefix()).unwrap();
                prop_assert!(!rest.is_empty());
                prop_assert!(rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
            }
        }

        #[test]
        fn no_refusal_quotes_what_was_typed(rest in "[a-z]{12,20}") {
            let refusal = PublishableKey::parse(&format!("sk_live_{rest}")).unwrap_err();
            prop_assert!(!refusal.to_string().contains(&rest));
        }
    }
}
