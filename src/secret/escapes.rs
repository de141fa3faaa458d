/// What another character can be written with begins with one of these.
pub(super) const ESCAPES: [char; 4] = ['%', '+', '\\', '&'];

/// How many bytes at the beginning of `text` write `key`, or `None`. Each of its characters may stand for
/// itself or be escaped, and several blanks may have become one.
pub(super) fn length_of(key: &str, text: &str) -> Option<usize> {
    // Where the characters so far may end: more than one place where an escape is also a text of its own.
    let mut ends = vec![0];
    let mut wanted = key.chars().peekable();
    while let Some(character) = wanted.next() {
        if character == ' ' && wanted.peek() == Some(&' ') {
            continue;
        }
        let mut next = Vec::new();
        for end in ends {
            for (found, length) in readings(&text[end..]) {
                if found == character {
                    next.push(end + length);
                }
            }
        }
        if character == ' ' {
            more_blanks(text, &mut next);
        }
        next.sort_unstable();
        next.dedup();
        if next.is_empty() {
            return None;
        }
        ends = next;
    }
    ends.pop()
}

/// Adds the ends behind further blanks.
fn more_blanks(text: &str, ends: &mut Vec<usize>) {
    let mut index = 0;
    while let Some(&end) = ends.get(index) {
        let blanks = readings(&text[end..]).filter(|(found, _)| *found == ' ');
        let further: Vec<usize> = blanks.map(|(_, length)| end + length).collect();
        ends.extend(further);
        index += 1;
    }
}

/// What the beginning of `text` may mean: the character, and how many bytes write it.
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
