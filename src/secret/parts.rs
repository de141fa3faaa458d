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
        for (alphabet, least) in [(&HEXADECIMAL, 2 * self.part), (&BASE64, self.part)] {
            for run in alphabet.runs(text.as_bytes(), least) {
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
    fn encoded(&self, run: &[u8], alphabet: &Alphabet, offset: usize, places: &mut Vec<Range<usize>>) {
        let bits = alphabet.bits;
        let mut said = Vec::with_capacity(run.len());
        for shift in 0..alphabet.group {
            alphabet.decode(run.get(shift..).unwrap_or_default(), &mut said);
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

/// A way to write bytes.
struct Alphabet {
    /// What each character says; [`Alphabet::NOTHING`] where it is none of these.
    values: [u8; 256],
    /// In how many bits.
    bits: usize,
    /// So many characters write a whole number of bytes.
    group: usize,
}

static HEXADECIMAL: Alphabet = Alphabet::of(&[b"0123456789abcdef", b"0123456789ABCDEF"], 4, 2);

/// Also the one for URLs.
static BASE64: Alphabet = Alphabet::of(
    &[
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    ],
    6,
    4,
);

impl Alphabet {
    const NOTHING: u8 = u8::MAX;

    /// Each of `spellings` has all characters, by what they say.
    const fn of(spellings: &[&[u8]], bits: usize, group: usize) -> Self {
        let mut values = [Self::NOTHING; 256];
        let mut spelling = 0;
        while spelling < spellings.len() {
            let mut value = 0;
            while value < spellings[spelling].len() {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "an alphabet has at most 64 characters"
                )]
                {
                    values[spellings[spelling][value] as usize] = value as u8;
                }
                value += 1;
            }
            spelling += 1;
        }
        Self { values, bits, group }
    }

    fn value(&self, byte: u8) -> Option<u8> {
        Some(self.values[usize::from(byte)]).filter(|value| *value != Self::NOTHING)
    }

    /// Where `least` of its characters or more stand in a row.
    fn runs(&self, text: &[u8], least: usize) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let mut start = 0;
        for at in 0..=text.len() {
            if text.get(at).is_some_and(|byte| self.value(*byte).is_some()) {
                continue;
            }
            if at - start >= least.max(1) {
                runs.push(start..at);
            }
            start = at + 1;
        }
        runs
    }

    /// Makes of `said` the whole bytes that a run says.
    fn decode(&self, run: &[u8], said: &mut Vec<u8>) {
        said.clear();
        let (mut held, mut count) = (0_u32, 0);
        for value in run.iter().filter_map(|byte| self.value(*byte)) {
            held = held << self.bits | u32::from(value);
            count += self.bits;
            if count >= 8 {
                count -= 8;
                said.extend(u8::try_from(held >> count & 0xff));
            }
        }
    }
}
