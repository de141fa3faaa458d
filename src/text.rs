//! Text from outside made safe, its width on a terminal, and counts and lists in words.

use std::fmt;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Text from outside (a site's answer, a name in a list) that can be written to a terminal, a log or a file.
///
/// It holds no control, escape, bidirectional, zero-width or other invisible character, no run of white
/// space longer than one blank, and at most the number of characters it was made with.
#[derive(Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct CleanText(Box<str>);

impl<'de> serde::Deserialize<'de> for CleanText {
    /// Cleaned again: what is read may have been written by anybody.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = String::deserialize(deserializer)?;
        Ok(Self::new(&raw, 2 * NOTE_LIMIT))
    }
}

/// How long a note may be, in characters. Long enough for a sentence of a site's error.
pub const NOTE_LIMIT: usize = 300;

impl CleanText {
    /// Cleans `raw` and cuts it to `limit` characters (`…` stands for what was cut).
    pub fn new(raw: &str, limit: usize) -> Self {
        // Bounds the work on a body of any size: no more than this can survive the cut.
        let mut kept = String::new();
        let mut count = 0;
        let mut blank_owed = false;
        for character in raw.chars() {
            if character.is_whitespace() {
                blank_owed = !kept.is_empty();
                continue;
            }
            if is_hidden(character) {
                continue;
            }
            let needed = 1 + usize::from(blank_owed);
            if count + needed > limit {
                cut_with_ellipsis(&mut kept, count, limit);
                break;
            }
            if blank_owed {
                kept.push(' ');
                blank_owed = false;
            }
            kept.push(character);
            count += needed;
        }
        Self(kept.into_boxed_str())
    }

    /// Cleans `raw` to the length of a note ([`NOTE_LIMIT`]).
    pub fn note(raw: &str) -> Self {
        Self::new(raw, NOTE_LIMIT)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn cut_with_ellipsis(kept: &mut String, count: usize, limit: usize) {
    if limit == 0 {
        return;
    }
    if count >= limit {
        kept.pop();
    }
    kept.push('…');
}

/// Characters that a reader cannot see or that steer the terminal: controls, bidirectional marks,
/// zero-width characters, private use, variation and language tags, and the byte-order mark.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{E000}'..='\u{F8FF}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{10FFFF}')
}

impl fmt::Display for CleanText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for CleanText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl AsRef<str> for CleanText {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for CleanText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The columns that `text` takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` cut to at most `columns` columns, whole grapheme clusters only, with `…` where it was cut.
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for cluster in text.graphemes(true) {
        let wide = width(cluster);
        if used + wide + 1 > columns {
            break;
        }
        kept.push_str(cluster);
        used += wide;
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// `text`, or as much of it as fits, in exactly `columns` columns.
pub fn pad(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let blanks = columns.saturating_sub(width(&text));
    text + &" ".repeat(blanks)
}

/// A number with its noun: `1 site`, `3 sites`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub usize, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, noun) = *self;
        let ending = if number == 1 { "" } else { "s" };
        write!(formatter, "{number} {noun}{ending}")
    }
}

/// Names in a sentence: `a`, `a or b`, `a, b or c`.
pub fn list<T: AsRef<str>>(names: &[T], joint: &str) -> String {
    match names {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [head @ .., last] => {
            let head: Vec<&str> = head.iter().map(AsRef::as_ref).collect();
            format!("{} {joint} {}", head.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_and_hidden_characters_are_dropped() {
        let hostile = "a\u{1b}[2Jb\u{202e}c\u{200b}d\0e\r\nf\t g\u{feff}";
        assert_eq!(CleanText::note(hostile).as_str(), "a[2Jbcde f g");
    }

    #[test]
    fn a_cut_shows() {
        assert_eq!(CleanText::new("abcdef", 4).as_str(), "abc…");
        assert_eq!(CleanText::new("abcd", 4).as_str(), "abcd");
        assert_eq!(CleanText::new("abc d", 4).as_str(), "abc…");
        assert_eq!(CleanText::new("abc", 0).as_str(), "");
    }

    #[test]
    fn wide_text_is_cut_by_columns() {
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(fit("abc", 1), "…");
    }

    #[test]
    fn counts_and_lists_read_as_sentences() {
        assert_eq!(Count(1, "site").to_string(), "1 site");
        assert_eq!(Count(0, "site").to_string(), "0 sites");
        assert_eq!(list(&["a"], "or"), "a");
        assert_eq!(list(&["a", "b", "c"], "or"), "a, b or c");
    }

    proptest! {
        #[test]
        fn nothing_hidden_and_nothing_long_survives(raw in any::<String>(), limit in 0usize..80) {
            let clean = CleanText::new(&raw, limit);
            prop_assert!(clean.as_str().chars().count() <= limit);
            prop_assert!(!clean.as_str().chars().any(is_hidden));
        }

        #[test]
        fn fitted_text_fits(raw in any::<String>(), columns in 0usize..40) {
            let clean = CleanText::note(&raw);
            prop_assert!(width(&fit(clean.as_str(), columns)) <= columns);
        }
    }
}
