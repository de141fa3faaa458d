/// The longest escape that is known, in bytes: an entity of HTML with some zeros before its number.
const LONGEST_ESCAPE: usize = 12;

/// How many bytes at the beginning of `text` write `key`, or `None`. Each of its characters may stand for
/// itself or be escaped, and several blanks may have become one.
pub(super) fn length_of(key: &str, text: &str) -> Option<usize> {
    // Where the characters so far may end: more than one place where an escape is also a text of its own.
    let mut ends = vec![0];
    for wanted in characters(key) {
        ends = ends_behind(text, &ends, wanted)?;
    }
    ends.pop()
}

/// How many characters of `key` the beginning of `text` writes, where `text` ends within the key; `None` where it goes
/// on otherwise. The last one may be an escape that has no end.
pub(super) fn characters_before_end(key: &str, text: &str) -> Option<usize> {
    let mut ends = vec![0];
    for (count, wanted) in characters(key).enumerate() {
        if ends.iter().any(|end| is_cut_short(&text[*end..])) {
            return Some(count);
        }
        ends = ends_behind(text, &ends, wanted)?;
    }
    None
}

/// Its characters, where several blanks are one.
fn characters(key: &str) -> impl Iterator<Item = char> {
    let mut before = None;
    key.chars()
        .filter(move |character| before.replace(*character) != Some(' ') || *character != ' ')
}

/// Where `wanted` may end that begins at one of `ends`; `None` where it stands at none of them.
fn ends_behind(text: &str, ends: &[usize], wanted: char) -> Option<Vec<usize>> {
    let mut next = Vec::new();
    for end in ends {
        for (_, length) in readings(&text[*end..]).filter(|(found, _)| *found == wanted) {
            next.push(end + length);
        }
    }
    if wanted == ' ' {
        more_blanks(text, &mut next);
    }
    next.sort_unstable();
    next.dedup();
    (!next.is_empty()).then_some(next)
}

/// Whether so little is left that nothing follows, or an escape without an end.
fn is_cut_short(rest: &str) -> bool {
    rest.is_empty() || rest.len() < LONGEST_ESCAPE && rest.starts_with(['%', '\\', '&'])
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
    let end = text.bytes().take(LONGEST_ESCAPE).position(|byte| byte == b';')?;
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
