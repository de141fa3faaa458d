use std::borrow::Cow;
use std::ops::Range;

use super::escapes;
use crate::key::SECRET_PREFIXES;

/// What stands in the place of a secret.
const REMOVED: &str = "[secret removed]";
/// A secret's prefix counts if so many characters of a key follow it, or `live_` or `test_`: `task_1` and
/// `risk_level` are no secrets.
const MIN_TAIL: usize = 8;

/// `text` without Stripe's secrets, also where they are written with the escapes of JSON, a URL or HTML.
pub(crate) fn without_stripe_secrets(text: &str) -> Cow<'_, str> {
    let mut places = secrets(text);
    if let Some(view) = escapes::view(text) {
        let hidden = secrets(&view.text).into_iter();
        places.extend(hidden.map(|place| view.starts[place.start]..view.starts[place.end]));
    }
    super::without(text, places, REMOVED).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some((start, end)) = next_secret(&text[from..], text[..from].chars().next_back()) {
        places.push(from + start..from + end);
        from += end;
    }
    places
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
            if is_secret(prefix, tail, previous) {
                // Counted for what is taken out alone: a text may be made of prefixes.
                return Some((start, start + prefix.len() + key_bytes(tail).count()));
            }
        }
    }
    None
}

/// Whether a secret's prefix that stands behind `previous` and before `tail` begins one. Looks at the beginning of these
/// alone.
fn is_secret(prefix: &str, tail: &str, previous: Option<char>) -> bool {
    let at_word = previous.is_none_or(|previous| !previous.is_alphanumeric());
    let environment = ["live_", "test_"]
        .iter()
        .any(|mode| strip_prefix_ignoring_case(tail, mode).is_some());
    let is_long = || key_bytes(tail).take(MIN_TAIL).count() == MIN_TAIL;
    environment || ((at_word || prefix == "whsec_") && is_long())
}

fn key_bytes(tail: &str) -> impl Iterator<Item = u8> {
    tail.bytes().take_while(|&byte| is_key_byte(byte))
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
