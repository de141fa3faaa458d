use crate::key::SECRET_PREFIXES;
use crate::secret::MasterKey;
use crate::text::{CleanText, NOTE_LIMIT};

/// What stands in the place of a secret.
const REMOVED: &str = "[secret removed]";
/// A secret's prefix counts if so many characters of a key follow it, or `live_` or `test_`: `task_1` and
/// `risk_level` are no secrets.
const MIN_TAIL: usize = 8;

/// Text of an answer without secrets, and which kinds were in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Washed {
    /// The text: cleaned, then cleared of secrets, then cut to the length of a note.
    pub text: CleanText,
    /// A secret key of Stripe's stood in it.
    pub stripe_secret: bool,
    /// The master key stood in it.
    pub master_key: bool,
}

/// Cleans `raw`, clears it of secrets, then cuts it: in that order, so that neither an invisible character
/// inside a secret nor a cut through one hides it.
pub fn wash(raw: &str, master_key: Option<&MasterKey>) -> Washed {
    let clean = CleanText::new(raw, raw.len());
    let redacted = master_key.and_then(|key| key.redact(clean.as_str()));
    let master_key = redacted.is_some();
    let text = redacted.unwrap_or_else(|| clean.as_str().to_owned());
    let (text, stripe_secret) = without_stripe_secrets(&text);
    Washed {
        text: CleanText::new(&text, NOTE_LIMIT),
        stripe_secret,
        master_key,
    }
}

fn without_stripe_secrets(text: &str) -> (String, bool) {
    let mut kept = String::with_capacity(text.len());
    let mut found = false;
    let mut rest = text;
    while let Some((start, end)) = next_secret(rest, kept.chars().next_back()) {
        found = true;
        kept.push_str(&rest[..start]);
        kept.push_str(REMOVED);
        rest = &rest[end..];
    }
    kept.push_str(rest);
    (kept, found)
}

/// Where the next secret in `text` begins and ends, in bytes; `before` stands before the text.
///
/// `sk_live_` and its like count wherever they stand, also right behind a letter (`\\nsk_live_…` in JSON that
/// was not decoded, `%3Dsk_live_…`); a prefix without its environment counts only where a word begins.
fn next_secret(text: &str, before: Option<char>) -> Option<(usize, usize)> {
    // Each prefix ends with its only underscore, and most texts have few of those.
    for (underscore, _) in text.match_indices('_') {
        for prefix in SECRET_PREFIXES {
            let start = (underscore + 1).checked_sub(prefix.len());
            let Some((start, candidate)) = start.and_then(|start| Some((start, text.get(start..)?))) else {
                continue;
            };
            let Some(tail) = strip_prefix_ignoring_case(candidate, prefix) else {
                continue;
            };
            let previous = text[..start].chars().next_back().or(before);
            let at_word = previous.is_none_or(|previous| !previous.is_alphanumeric());
            let length = tail.bytes().take_while(|&byte| is_key_byte(byte)).count();
            let environment = ["live_", "test_"]
                .iter()
                .any(|mode| strip_prefix_ignoring_case(tail, mode).is_some());
            let plain = length >= MIN_TAIL && (at_word || prefix == "whsec_");
            if environment || plain {
                return Some((start, start + prefix.len() + length));
            }
        }
    }
    None
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let beginning = text.get(..prefix.len())?;
    beginning
        .eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn washed(raw: &str) -> String {
        wash(raw, None).text.to_string()
    }

    #[test]
    fn secrets_are_removed_wherever_they_stand() {
        assert_eq!(washed("key=sk_live_abcDEF123!"), "key=[secret removed]!");
        assert_eq!(
            washed("\"rk_test_1\",whsec_0123456789"),
            "\"[secret removed]\",[secret removed]"
        );
        assert_eq!(washed("s\u{200b}k_live_abc"), "[secret removed]", "cleaned first");
        assert_eq!(washed("SK_LIVE_ABC"), "[secret removed]");
        assert_eq!(washed("a\\nsk_live_abc"), "a\\n[secret removed]");
        assert_eq!(washed("q%3Dsk_test_abc"), "q%3D[secret removed]");
        assert_eq!(washed("xwhsec_0123456789"), "x[secret removed]");
        assert!(wash("sk_live_x", None).stripe_secret);
    }

    #[test]
    fn ordinary_words_stay() {
        for text in [
            "task_12345678",
            "risk_level",
            "desk_abcdefgh",
            "sk_ip",
            "pk_live_abcdefgh",
        ] {
            let washed = wash(text, None);
            assert_eq!((washed.text.as_str(), washed.stripe_secret), (text, false));
        }
    }

    #[test]
    fn an_echoed_master_key_is_an_alarm() {
        let key = MasterKey::parse("m4ster-key".to_owned()).unwrap();
        let washed = wash("{\"X-API-Key\": \"m4ster-key\"}", Some(&key));
        assert_eq!(washed.text.as_str(), "{\"X-API-Key\": \"[master key]\"}");
        assert!(washed.master_key && !washed.stripe_secret);
    }

    proptest! {
        #[test]
        fn no_secret_survives(before in "[ -~]{0,320}", tail in "[A-Za-z0-9]{12,40}", after in ".{0,40}") {
            let raw = format!("{before} sk_live_{tail} {after}");
            let washed = wash(&raw, None);
            prop_assert!(washed.stripe_secret);
            prop_assert!(!washed.text.as_str().contains(&tail));
        }
    }
}
