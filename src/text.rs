//! Text from outside made safe, its width on a terminal, and counts and lists in words.

use std::borrow::Cow;
use std::fmt;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

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
        if raw.len() <= limit && is_clean(raw) {
            return Self(raw.into());
        }
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

/// Whether all of it may stay as it is. Quick, and so it is of ASCII alone: most of what comes is.
fn is_clean(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && !ends.contains(&Some(&b' '))
        && !bytes.windows(2).any(|two| two == b"  ")
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

/// The columns that `text` takes on a terminal, if it is [`drawable`]: those of its characters.
///
/// Not what `unicode-width` says of a whole text: there the ligature of an Arabic lam and alef is one column, and so
/// is a halfwidth kana with its sound mark, where terminals and ratatui draw two.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(character: char) -> usize {
    match character {
        '\u{FF9E}'..='\u{FF9F}' => 1,
        other => other.width().unwrap_or(0),
    }
}

/// Bytes of a grapheme cluster that are drawn. tmux keeps 21 in a cell, and a base with fifty accents would cost as
/// much of the line as a row of the table.
const CLUSTER: usize = 21;

/// `text` with what every terminal draws in the same columns.
///
/// A terminal that knows a cluster (a skin tone, a family of emoji) draws it in the columns of one; another draws its
/// characters one by one; and nobody can tell which one stands at the other end of the line. So where the two widths
/// differ, the first character stands for the cluster. Hidden characters go, joiners and variation selectors among
/// them: without them both kinds draw the parts. So do marks with nothing before them to stand on, and signs that
/// would swallow the blank behind them.
pub fn drawable(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let seen: String = text
        .chars()
        .filter(|character| !is_hidden(*character) && !joins_what_follows(*character))
        .collect();
    let mut drawn = String::with_capacity(seen.len());
    for cluster in seen.graphemes(true) {
        let one_by_one = width(cluster);
        let sound_marks = cluster
            .chars()
            .filter(|mark| ('\u{FF9E}'..='\u{FF9F}').contains(mark));
        let at_once = cluster.width() + sound_marks.count();
        if one_by_one == at_once && one_by_one > 0 {
            let mut bytes = 0;
            drawn.extend(cluster.chars().take_while(|character| {
                bytes += character.len_utf8();
                bytes <= CLUSTER
            }));
        } else {
            drawn.extend(cluster.chars().next().filter(|first| char_width(*first) > 0));
        }
    }
    Cow::Owned(drawn)
}

/// Signs that make one cluster with whatever follows them.
fn joins_what_follows(character: char) -> bool {
    matches!(character,
        '\u{0600}'..='\u{0605}' | '\u{06DD}' | '\u{070F}' | '\u{0890}'..='\u{0891}' | '\u{08E2}' | '\u{0D4E}'
        | '\u{110BD}' | '\u{110CD}' | '\u{111C2}'..='\u{111C3}' | '\u{113D1}' | '\u{1193F}' | '\u{11941}'
        | '\u{11A3A}' | '\u{11A84}'..='\u{11A89}' | '\u{11D46}' | '\u{11F02}')
}

/// `text` as it is [`drawable`], cut to at most `columns` columns, whole grapheme clusters only, with `…` where it
/// was cut.
pub fn fit(text: &str, columns: usize) -> String {
    let text = drawable(text);
    if width(&text) <= columns {
        return text.into_owned();
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

/// As [`fit`], with the mark in the middle: of names that begin alike the ends tell which is which.
pub fn fit_middle(text: &str, columns: usize) -> String {
    let text = drawable(text);
    if width(&text) <= columns {
        return text.into_owned();
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    let clusters: Vec<&str> = text.graphemes(true).collect();
    let as_many = |clusters: &mut dyn Iterator<Item = &&str>, room: usize| {
        let mut used = 0;
        let fitting = clusters.take_while(|cluster| {
            used += width(cluster);
            used <= room
        });
        fitting.count()
    };
    let tail = as_many(&mut clusters.iter().rev(), room / 2);
    let tail = clusters[clusters.len() - tail..].concat();
    let head = as_many(&mut clusters.iter(), room - width(&tail));
    clusters[..head].concat() + "…" + &tail
}

/// `text`, or as much of it as fits, in exactly `columns` columns.
pub fn pad(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let blanks = columns.saturating_sub(width(&text));
    text + &" ".repeat(blanks)
}

/// `text` as it is [`drawable`], in lines of at most `columns` columns (at least two): broken at blanks, and in a word
/// only where that has no room on a line of its own.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    let mut line = String::new();
    let text = drawable(text);
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let blank = usize::from(!line.is_empty());
        if width(&line) + blank + width(word) <= columns {
            line.push_str(&" ".repeat(blank));
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for cluster in word.graphemes(true) {
            // One of several letters may be wider than a narrow line.
            let cluster = if width(cluster) > columns { "…" } else { cluster };
            if width(&line) + width(cluster) > columns {
                lines.push(std::mem::take(&mut line));
            }
            line.push_str(cluster);
        }
    }
    lines.push(line);
    lines
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

/// The first of these names, and how many more there are.
pub fn some_names(names: &[&str]) -> String {
    const NAMES: usize = 10;

    let first = names[..names.len().min(NAMES)].join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => first,
        more => format!("{first} and {more} more"),
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
    fn of_a_name_beginning_and_end_are_kept() {
        assert_eq!(fit_middle("maison-de-verre-12", 18), "maison-de-verre-12");
        assert_eq!(fit_middle("maison-de-verre-12", 14), "maison-…rre-12");
        assert_eq!(fit_middle("maison-de-verre-12", 13), "maison…rre-12");
        assert_eq!(fit_middle("日本語の店", 8), "日本…店");
        assert_eq!(fit_middle("abc", 2), "a…");
        assert_eq!(fit_middle("abc", 1), "…");
        assert_eq!(fit_middle("abc", 0), "");
    }

    /// The columns that ratatui draws `text` in.
    fn drawn(text: &str) -> usize {
        let area = ratatui::layout::Rect::new(0, 0, 9000, 1);
        let mut buffer = ratatui::buffer::Buffer::empty(area);
        let (end, _) = buffer.set_stringn(0, 0, text, 9000, ratatui::style::Style::default());
        end.into()
    }

    /// What breaks columns: wide, combining, joined, hidden, from right to left; and anything.
    fn odd_text() -> impl Strategy<Value = String> {
        let odd = prop::sample::select(vec![
            "日本",
            "e\u{301}",
            "\u{301}",
            "👩\u{200d}👩\u{200d}👧",
            "👍🏽",
            "🇫🇷",
            "🇫",
            "✈\u{fe0f}",
            "1\u{fe0f}\u{20e3}",
            "سلام",
            "لا",
            "\u{202e}abc",
            "ｶﾞ",
            "क्ष",
            "한\u{1112}\u{1161}",
            "\u{1b}[2J",
            "\0",
            "\u{9b}31m",
            "\u{200b}",
            "\u{600}",
            "\u{e01ef}",
            "x\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{30b}\u{30c}",
            "⸻",
            "กำ",
            " ",
            "abc",
            "\u{115f}",
            "ᬓ᭄ᬓ",
        ]);
        let piece = prop_oneof![4 => odd.prop_map(str::to_owned), 1 => any::<String>()];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn what_terminals_disagree_about_is_drawn_in_its_parts() {
        assert_eq!(drawable("👩\u{200d}👩\u{200d}👧 shop"), "👩👩👧 shop");
        assert_eq!(drawable("👍🏽✈\u{fe0f}"), "👍✈");
        assert_eq!(drawable("e\u{301}te\u{301} 🇫🇷 日本"), "e\u{301}te\u{301} 🇫🇷 日本");
        assert_eq!(drawable("\u{301}a\u{202e}b\u{1b}c"), "abc");
        assert_eq!((width("سلام"), width("ｶﾞ"), width("e\u{301}")), (4, 2, 1));
    }

    #[test]
    fn text_is_wrapped_at_blanks_and_long_words_anywhere() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a 日本語日本語 b", 5), ["a", "日本", "語日", "本語", "b"]);
        assert_eq!(wrap("", 5), [""]);
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
        fn fitted_text_is_drawn_in_its_columns(raw in odd_text(), columns in 0usize..40) {
            let (fitted, padded) = (fit(&raw, columns), pad(&raw, columns));
            prop_assert!(drawn(&fitted) <= columns);
            prop_assert_eq!(drawn(&padded), columns);
            prop_assert!(!fitted.chars().any(is_hidden));
        }

        #[test]
        fn what_is_drawable_stays_so_beside_other_text(raw in odd_text()) {
            let text = drawable(&raw);
            prop_assert_eq!(drawn(&text), width(&text));
            prop_assert_eq!(drawn(&format!("a {text} b")), width(&text) + 4);
            prop_assert_eq!(drawable(&text), &*text);
        }

        #[test]
        fn wrapped_text_fits_and_is_whole(raw in odd_text(), columns in 2usize..60) {
            let lines = wrap(&raw, columns);
            for line in &lines {
                prop_assert!(drawn(line) <= columns, "{line:?}");
            }
            let letters = |text: &str| text.split(' ').collect::<String>();
            prop_assume!(columns >= CLUSTER);
            prop_assert_eq!(letters(&lines.concat()), letters(&drawable(&raw)));
        }
    }
}
