use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use stripe_propagate::key::{MAX_LENGTH, PublishableKey};
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::tui::field::KeyField;

use super::given::Given;

/// Something that is done in the field.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Types(String),
    Pastes(String),
    Presses(KeyCode),
    /// With Control.
    Controls(char),
    Edits,
    /// So many tenths of a second go by.
    Waits(u8),
}

/// The bytes are a row of deeds; and, as a text, what is parsed as a key.
pub(crate) fn check(bytes: &[u8]) {
    parse(&String::from_utf8_lossy(bytes));
    let mut given = Given::new(bytes);
    let mut deeds = Vec::new();
    while !given.is_over() {
        deeds.push(deed(&mut given));
    }
    play(&deeds);
}

/// The keys that do something in the field besides letters.
pub(crate) const KEYS: [KeyCode; 8] = [
    KeyCode::Backspace,
    KeyCode::Delete,
    KeyCode::Left,
    KeyCode::Right,
    KeyCode::Home,
    KeyCode::End,
    KeyCode::Enter,
    KeyCode::Esc,
];

fn deed(given: &mut Given<'_>) -> Deed {
    match given.byte() % 6 {
        0 => Deed::Types(given.text()),
        1 => Deed::Pastes(given.text()),
        2 => Deed::Presses(KEYS[usize::from(given.byte()) % KEYS.len()]),
        3 => Deed::Controls(char::from(b'a' + given.byte() % 26)),
        4 => Deed::Edits,
        _ => Deed::Waits(given.byte()),
    }
}

/// What a text comes to as a key, by the words of the contract and not by the parser's own.
pub(crate) fn parse(raw: &str) {
    let trimmed = raw.trim();
    let rest = trimmed
        .strip_prefix("pk_live_")
        .or(trimmed.strip_prefix("pk_test_"));
    let legal = |rest: &str| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    match PublishableKey::parse(raw) {
        Ok(key) => {
            assert_eq!(key.as_str(), trimmed);
            assert!(
                rest.is_some_and(legal) && trimmed.len() <= MAX_LENGTH,
                "{trimmed}"
            );
            assert!(!holds_secret(trimmed), "{trimmed}");
            assert_ne!(key.mask(), trimmed);
            assert_eq!(PublishableKey::parse(key.as_str()), Ok(key));
        }
        Err(refusal) => {
            let fits = rest.is_some_and(legal) && trimmed.len() <= MAX_LENGTH;
            let two = rest.is_some_and(|rest| {
                rest.to_ascii_lowercase().contains("_live_") || rest.to_ascii_lowercase().contains("_test_")
            });
            assert!(
                !fits || two || holds_secret(trimmed) || trimmed.to_ascii_lowercase().contains("whsec_"),
                "refused: {refusal}"
            );
        }
    }
}

/// Whether a secret of Stripe's with its environment stands in it.
fn holds_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    [
        "sk_live_", "sk_test_", "rk_live_", "rk_test_", "ek_live_", "ek_test_", "whsec_",
    ]
    .iter()
    .any(|secret| lower.contains(secret))
}

/// Does it all in a field, which keeps its laws at each step.
pub(crate) fn play(deeds: &[Deed]) {
    let mut field = KeyField::new(None);
    let mut tenths = 0;
    field.edit();
    for deed in deeds {
        match deed {
            Deed::Types(text) => {
                for letter in text.chars() {
                    field.press(KeyEvent::from(KeyCode::Char(letter)), at(tenths));
                    is_sound(&field);
                }
            }
            Deed::Pastes(text) => {
                field.paste(text, at(tenths));
            }
            Deed::Presses(code) => {
                field.press(KeyEvent::from(*code), at(tenths));
            }
            Deed::Controls(letter) => {
                field.press(
                    KeyEvent::new(KeyCode::Char(*letter), KeyModifiers::CONTROL),
                    at(tenths),
                );
            }
            Deed::Edits => field.edit(),
            Deed::Waits(more) => {
                tenths += u64::from(*more);
                field.wake(at(tenths));
            }
        }
        is_sound(&field);
    }
}

fn at(tenths: u64) -> Moment {
    let since_start = Duration::from_millis(100 * tenths);
    Moment {
        since_start,
        wall: Timestamp::UNIX_EPOCH + since_start,
    }
}

/// What may be seen of the field: dots, and the last four of a good key; of a secret nothing at all.
fn is_sound(field: &KeyField) {
    const DOT: &str = "•";

    let shown = field.shown(DOT, 400);
    assert!(!holds_secret(&shown), "a secret is shown: {shown}");
    if field.is_shown() && (shown.starts_with("pk_") || "pk_".starts_with(&*shown)) {
        return;
    }
    let clear: String = shown
        .chars()
        .filter(|character| !DOT.contains(*character))
        .collect();
    match field.key() {
        Some(key) => {
            assert!(clear.len() <= 4 && key.as_str().ends_with(&clear), "{clear}");
            assert!(
                clear.len() < key.length() - "pk_live_".len(),
                "all of it: {clear}"
            );
        }
        None => assert_eq!(clear, "", "shown of what is no key"),
    }
}
