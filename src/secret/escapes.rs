/// `text` as it is read where its escapes are: those of JSON, a URL or HTML. Nothing where it has none.
pub(super) fn view(text: &str) -> Option<View> {
    if !has_escapes(text) {
        return None;
    }
    let mut view = View::default();
    let mut at = 0;
    while let Some((read, length)) = readings(&text[at..]).last() {
        let before = view.text.len();
        view.text.push(read);
        view.starts.resize(view.text.len(), at);
        debug_assert!(view.text.len() > before && length > 0);
        at += length;
    }
    view.starts.push(at);
    Some(view)
}

/// A text whose escapes were read.
#[derive(Default)]
pub(super) struct View {
    pub(super) text: String,
    /// Where in the text that was read each of its bytes, and its end, is written.
    pub(super) starts: Vec<usize>,
}

/// Whether anything in it can be an escape.
pub(super) fn has_escapes(text: &str) -> bool {
    text.bytes()
        .any(|byte| matches!(byte, b'%' | b'+' | b'\\' | b'&'))
}

/// What a text may begin with, in lower case, as far as it is ASCII.
pub(super) fn beginnings(text: &str) -> [Option<u8>; 2] {
    let mut readings = readings(text);
    [(); 2].map(|()| {
        let (first, _) = readings.next()?;
        u8::try_from(first.to_ascii_lowercase()).ok()
    })
}

/// Reads how much of a text is written at a place, whatever escapes it is written with. Keeps its memory for the next.
#[derive(Default)]
pub(super) struct Reader {
    /// Where the characters so far may end: more than one place where an escape is also a text of its own.
    ends: Vec<usize>,
    next: Vec<usize>,
}

impl Reader {
    /// How many bytes of `key` stand at the beginning of `text`, and how many bytes write them. Each of its characters may
    /// stand for itself, in either case, or be escaped; where it has a blank there may be several.
    pub(super) fn read(&mut self, key: &[u8], text: &str) -> (usize, usize) {
        self.ends.clear();
        self.ends.push(0);
        for (place, byte) in key.iter().enumerate() {
            self.next.clear();
            for &end in &self.ends {
                let is_it = |(found, _): &(char, usize)| is_same(*byte, *found);
                let found = readings(&text[end..]).filter(is_it);
                self.next.extend(found.map(|(_, length)| end + length));
            }
            if *byte == b' ' {
                more_blanks(text, &mut self.next);
            }
            if self.next.len() > 1 {
                self.next.sort_unstable();
                self.next.dedup();
            }
            if self.next.is_empty() {
                return (place, self.ends.last().copied().unwrap_or_default());
            }
            std::mem::swap(&mut self.ends, &mut self.next);
        }
        (key.len(), self.ends.last().copied().unwrap_or_default())
    }
}

fn is_same(byte: u8, found: char) -> bool {
    char::from(byte).eq_ignore_ascii_case(&found)
}

/// So many blanks in a row stand for one of the key: a text may have nothing but blanks, and each of them may begin a part.
const MOST_BLANKS: usize = 16;

/// Adds the ends behind further blanks.
fn more_blanks(text: &str, ends: &mut Vec<usize>) {
    let mut index = 0;
    while let Some(&end) = ends.get(index).filter(|_| index < MOST_BLANKS) {
        let blanks = readings(&text[end..]).filter(|(found, _)| *found == ' ');
        ends.extend(blanks.map(|(_, length)| end + length));
        index += 1;
    }
}

/// What the beginning of `text` may mean: the character, and how many bytes write it. What an escape means comes last.
fn readings(text: &str) -> impl Iterator<Item = (char, usize)> {
    let literal = text.chars().next().map(|first| (first, first.len_utf8()));
    let escaped = match text.as_bytes().first() {
        Some(b'%') => number(text, 1, 2).map(|character| (character, 3)),
        Some(b'+') => Some((' ', 1)),
        Some(b'\\') => backslash(text),
        Some(b'&') => entity(text),
        _ => None,
    };
    [literal, escaped].into_iter().flatten()
}

/// The character of `digits` hexadecimal digits from `start` on.
fn number(text: &str, start: usize, digits: usize) -> Option<char> {
    let digits = text.get(start..start + digits)?;
    char::from_u32(u32::from_str_radix(digits, 16).ok()?)
}

fn backslash(text: &str) -> Option<(char, usize)> {
    let second = text[1..].chars().next()?;
    let hexadecimal = match second {
        'u' => number(text, 2, 4).map(|character| (character, 6)),
        'x' => number(text, 2, 2).map(|character| (character, 4)),
        _ => None,
    };
    Some(hexadecimal.unwrap_or((second, 1 + second.len_utf8())))
}

fn entity(text: &str) -> Option<(char, usize)> {
    /// The longest that is known, with some zeros before its number.
    const LONGEST: usize = 12;

    let end = text.bytes().take(LONGEST).position(|byte| byte == b';')?;
    let name = &text[1..end];
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    };
    Some((character, end + 1))
}
