//! Where a key stands in a text, whole or in part, whatever it is written with.

use std::ops::Range;

use zeroize::Zeroizing;

use super::escapes::{Reader, beginnings, has_escapes};

/// So many characters of a key in a row, of a short one two thirds, are a part of it: fewer may be chance, or a word that
/// its maker has put into it.
const PART: usize = 12;
/// Bytes that are compared first.
const GRAM: usize = 4;
/// A part of [`PART`] bytes holds a whole gram that begins at a multiple of this.
const STEP: usize = PART - GRAM + 1;

/// A key to look for.
pub(super) struct Pattern {
    /// With one blank where it has several.
    key: Zeroizing<Vec<u8>>,
    /// So many of its characters in a row are looked for.
    part: usize,
    /// Each [`GRAM`] bytes in a row, in lower case.
    grams: Zeroizing<Vec<u32>>,
}

impl Pattern {
    /// Finds all that might help somebody to guess the key.
    pub(super) fn of(key: &str) -> Self {
        Self::with(key, |length| PART.min((2 * length).div_ceil(3)))
    }

    /// Finds what tells the key: the whole of it, or [`PART`] characters. Two thirds of a short one may be a word that
    /// anybody says (`product` of `production`).
    pub(super) fn that_tells(key: &str) -> Self {
        Self::with(key, |length| PART.min(length))
    }

    fn with(key: &str, part: fn(usize) -> usize) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(key.len()));
        for byte in key.bytes() {
            if byte != b' ' || bytes.last() != Some(&b' ') {
                bytes.push(byte);
            }
        }
        let mut grams: Zeroizing<Vec<u32>> = Zeroizing::new(bytes.windows(GRAM).map(gram).collect());
        grams.sort_unstable();
        Self {
            part: part(bytes.len()),
            key: bytes,
            grams,
        }
    }

    /// Where it is in `text`, in order: as it stands, in upper or lower case, with the escapes of JSON, a URL or HTML, in
    /// hexadecimal digits, in base64.
    pub(super) fn places(&self, text: &str) -> Vec<Range<usize>> {
        let mut places = self.written(text);
        for (alphabet, least) in [(hexadecimal as Alphabet, 2 * self.part), (base64, self.part)] {
            for run in runs(text.as_bytes(), alphabet, least) {
                self.encoded(&text.as_bytes()[run.clone()], alphabet, run.start, &mut places);
            }
        }
        places.sort_unstable_by_key(|place| (place.start, place.end));
        let mut apart: Vec<Range<usize>> = Vec::with_capacity(places.len());
        for place in places {
            match apart.last_mut() {
                Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
                _ => apart.push(place),
            }
        }
        apart
    }

    fn written(&self, text: &str) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        if !has_escapes(text) && !self.may_be_in(text.as_bytes()) {
            return places;
        }
        let mut reader = Reader::default();
        let mut at = 0;
        while let Some(first) = text[at..].chars().next() {
            let length = self.longest(&mut reader, &text[at..]);
            if length > 0 {
                places.push(at..at + length);
            }
            at += length.max(first.len_utf8());
        }
        places
    }

    /// How many bytes at the beginning of `text` write the longest part that stands there, or 0.
    fn longest(&self, reader: &mut Reader, text: &str) -> usize {
        let starts = 0..=self.key.len() - self.part;
        // What a text may begin with is the same for all of them, and few begin so: a body may be long, and a key, too.
        let begins = beginnings(text);
        let starts = starts.filter(|start| begins.contains(&Some(self.key[*start].to_ascii_lowercase())));
        let parts = starts.filter_map(|start| {
            let (characters, length) = reader.read(&self.key[start..], text);
            (characters >= self.part).then_some(length)
        });
        parts.max().unwrap_or_default()
    }

    /// What `run` says in this alphabet, whichever of its characters begins a group of them.
    fn encoded(&self, run: &[u8], alphabet: Alphabet, offset: usize, places: &mut Vec<Range<usize>>) {
        let bits = alphabet(b'A').map_or(0, |(_, bits)| bits);
        let shifts = if bits == 4 { 2 } else { 4 };
        for shift in 0..shifts {
            let said = decoded(run.get(shift..).unwrap_or_default(), alphabet);
            if !self.may_be_in(&said) {
                continue;
            }
            // As characters: bytes that are no ASCII stand in no key.
            let text: String = said
                .iter()
                .map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\0' })
                .collect();
            let mut reader = Reader::default();
            let mut at = 0;
            while at < text.len() {
                let length = self.longest(&mut reader, &text[at..]);
                if length > 0 {
                    let start = offset + shift + at * 8 / bits;
                    let end = offset + shift + ((at + length) * 8).div_ceil(bits);
                    places.push(start..end.min(offset + run.len()));
                }
                at += length.max(1);
            }
        }
    }

    /// Whether a part may stand in it as it is, in either case. Quick: most texts hold none.
    fn may_be_in(&self, text: &[u8]) -> bool {
        // Where the key has a blank, several of the text may stand.
        if self.part < PART || self.key.contains(&b' ') {
            return true;
        }
        let grams = (0..text.len())
            .step_by(STEP)
            .filter_map(|at| text.get(at..at + GRAM));
        let mut grams = grams.map(gram);
        grams.any(|gram| self.grams.binary_search(&gram).is_ok())
    }
}

fn gram(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |gram, byte| gram << 8 | u32::from(byte.to_ascii_lowercase()))
}

/// What a character says, and in how many bits.
type Alphabet = fn(u8) -> Option<(u32, usize)>;

fn hexadecimal(byte: u8) -> Option<(u32, usize)> {
    char::from(byte).to_digit(16).map(|digit| (digit, 4))
}

/// Also the one for URLs.
fn base64(byte: u8) -> Option<(u32, usize)> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some((value.into(), 6))
}

/// Where `least` characters of an alphabet or more stand in a row.
fn runs(text: &[u8], alphabet: Alphabet, least: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for at in 0..=text.len() {
        if text.get(at).is_some_and(|byte| alphabet(*byte).is_some()) {
            continue;
        }
        if at - start >= least.max(1) {
            runs.push(start..at);
        }
        start = at + 1;
    }
    runs
}

/// The whole bytes that a run says.
fn decoded(run: &[u8], alphabet: Alphabet) -> Vec<u8> {
    let (mut said, mut held, mut count) = (Vec::with_capacity(run.len()), 0_u32, 0);
    for (value, bits) in run.iter().filter_map(|byte| alphabet(*byte)) {
        held = held << bits | value;
        count += bits;
        if count >= 8 {
            count -= 8;
            said.extend(u8::try_from(held >> count & 0xff));
        }
    }
    said
}
