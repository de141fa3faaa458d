use std::borrow::Cow;

use crate::secret::{MasterKey, without_stripe_secrets};
use crate::text::{CleanText, NOTE_LIMIT};

/// Text of an answer without secrets, and which kinds were in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Washed {
    /// The text: cleaned, then cleared of secrets, then cut to the length of a note.
    pub text: CleanText,
    /// A secret key of Stripe's stood in it.
    pub stripe_secret: bool,
    /// The master key stood in it: an alarm.
    pub master_key: bool,
    /// Something was taken out: one of these two, or a part of a short master key that tells nobody the key.
    pub masked: bool,
}

/// Cleans `raw`, clears it of secrets, then cuts it: in that order, so that neither an invisible character
/// inside a secret nor a cut through one hides it.
pub fn wash(raw: &str, master_key: Option<&MasterKey>) -> Washed {
    let clean = CleanText::new(raw, raw.len());
    let redacted = master_key.and_then(|key| key.redact(clean.as_str()));
    let is_told = |key: &MasterKey| key.is_told_in(clean.as_str());
    let master_key = redacted.is_some() && master_key.is_some_and(is_told);
    let text = redacted.as_deref().unwrap_or(clean.as_str());
    let text = without_stripe_secrets(text);
    let stripe_secret = matches!(text, Cow::Owned(_));
    Washed {
        stripe_secret,
        text: CleanText::new(&text, NOTE_LIMIT),
        master_key,
        masked: redacted.is_some() || stripe_secret,
    }
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

    #[test]
    fn a_word_that_is_a_part_of_a_short_master_key_is_no_alarm() {
        let washed = |key: &str, said: &str| {
            let key = MasterKey::parse(key.to_owned()).unwrap();
            let washed = wash(said, Some(&key));
            (washed.text.to_string(), washed.master_key)
        };
        for (key, said, shown, tells) in [
            (
                "production",
                "the product is sold out",
                "the [master key] is sold out",
                false,
            ),
            ("production", "key: PRODUCTION", "key: [master key]", true),
            ("production", "cHJvZHVjdGlvbg==", "[master key]==", true),
            (
                "production-key-7",
                "not in production",
                "not in production",
                false,
            ),
            ("production-key-7", "production-k", "[master key]", true),
            ("production-key-7", "production-", "[master key]", false),
            // The whole of it stands behind a beginning of it.
            ("abcabcabcd", "abcabcabcabcd", "[master key]abcd", true),
        ] {
            assert_eq!(washed(key, said), (shown.to_owned(), tells), "{key}: {said}");
        }
    }

    #[test]
    fn secrets_that_are_written_with_escapes_are_removed() {
        for text in [
            "\\u0073k_live_abc",
            "sk\\u005flive_abc",
            "s%6B_test_abc",
            "&#115;k_live_abc",
            "whsec&lowbar;", // No entity that is known: it stays, and is none.
        ] {
            let washed = wash(&format!("{{\"a\": \"{text}"), None);
            let is_secret = !text.contains("lowbar");
            assert_eq!(washed.stripe_secret, is_secret, "{text}");
            assert!(
                !is_secret || washed.text.as_str().ends_with("\"[secret removed]"),
                "{}",
                washed.text
            );
        }
    }

    #[test]
    fn what_is_left_of_the_master_key_where_a_body_was_cut_is_removed() {
        let key = MasterKey::parse("Zq7rT0vXw93LmNb2Pf8c".to_owned()).unwrap();
        for shown in 12..=20 {
            let cut = format!(
                "<title>{}{}",
                " ".repeat(65_000),
                &"Zq7rT0vXw93LmNb2Pf8c"[..shown]
            );
            let washed = wash(&cut, Some(&key));
            assert_eq!(washed.text.as_str(), "<title> [master key]");
            assert!(washed.master_key);
        }
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
