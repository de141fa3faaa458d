use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;

use super::row::{Answer, Place, Row};
use crate::config::ListFormat;
use crate::site::Field;
use crate::text::{CleanText, Count, list};

/// An address a line.
mod lines;
/// CSV.
mod table;
/// JSON.
pub(super) mod json;
/// TOML.
mod tables;

/// So many remarks are kept of a source; the others are counted.
const REMARKS: usize = 100;

/// What a source has.
#[derive(Default)]
pub(super) struct Rows {
    /// What can be looked into.
    pub(super) found: Vec<Row>,
    /// Rows that say nothing.
    pub(super) bad: Remarks,
    /// The addresses that stand in those: what is said of these sites is not known.
    pub(super) bad_addresses: Vec<(Place, SecretString)>,
    /// Names that no field has.
    pub(super) unknown: BTreeSet<CleanText>,
    /// What else is odd.
    pub(super) odd: Vec<String>,
}

/// What is odd in a source, with its place. As many as anybody reads; the others are counted.
#[derive(Default)]
pub(super) struct Remarks {
    kept: Vec<(Place, String)>,
    count: usize,
}

impl Remarks {
    pub(super) fn add(&mut self, place: Place, text: impl Into<String>) {
        self.count += 1;
        if self.kept.len() < REMARKS {
            self.kept.push((place, text.into()));
        }
    }

    /// With those of `other`.
    pub(super) fn with(mut self, other: Self) -> Self {
        self.kept.extend(other.kept);
        self.kept.sort_by_key(|(place, _)| *place);
        self.kept.truncate(REMARKS);
        self.count += other.count;
        self
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Those that were kept, and how many there are besides.
    pub(super) fn into_kept(self) -> (Vec<(Place, String)>, usize) {
        let more = self.count - self.kept.len();
        (self.kept, more)
    }
}

impl Rows {
    /// Those of a database's answer.
    pub(super) fn of_answer(answer: Answer) -> Self {
        let mut rows = Self {
            found: answer.rows,
            bad_addresses: answer.bad_addresses,
            ..Self::default()
        };
        for (place, why) in answer.bad {
            rows.bad.add(place, why);
        }
        for name in &answer.unknown {
            rows.note_unknown(name);
        }
        rows
    }

    /// Good and bad ones.
    pub(super) fn count(&self) -> usize {
        self.found.len() + self.bad.count()
    }

    /// Notes that a column or an entry has a name that is none of a field's.
    fn note_unknown(&mut self, name: &str) {
        /// More of them are no news.
        const MOST: usize = 6;

        if self.unknown.len() < MOST {
            self.unknown.insert(CleanText::new(name, 40));
        }
    }

    /// Takes a row, of which something may be wrong. Keeps within the source's limit before more memory is taken.
    fn push(
        &mut self,
        place: Place,
        mut fields: BTreeMap<Field, SecretString>,
        wrong: Option<String>,
        most: usize,
    ) -> Result<(), String> {
        if self.count() >= most {
            return Err(too_many(most));
        }
        match wrong {
            None => self.found.push(Row { place, fields }),
            Some(why) => {
                self.bad.add(place, why);
                let url = fields.remove(&Field::Url);
                self.bad_addresses.extend(url.map(|url| (place, url)));
            }
        }
        Ok(())
    }
}

/// Puts a field's text into `fields`, if there is any.
fn put(fields: &mut BTreeMap<Field, SecretString>, field: Field, text: &str) {
    let text = text.trim();
    if !text.is_empty() {
        fields.insert(field, SecretString::from(text));
    }
}

/// Why a source with more rows than it may have is not taken.
pub(super) fn too_many(most: usize) -> String {
    format!(
        "has more than {}: raise max_rows if that is right",
        Count(most, "row")
    )
}

/// The rows of a text in this format.
pub(super) fn read(bytes: &[u8], format: ListFormat, most: usize) -> Result<Rows, String> {
    let bytes = without_mark(bytes);
    match format {
        ListFormat::Lines => lines::read(bytes, most),
        ListFormat::Csv => table::read(bytes, most),
        ListFormat::Json => json::read(bytes, None, &BTreeMap::new(), most),
        ListFormat::Toml => tables::read(bytes, most),
    }
}

/// The rows of what a command printed: JSON if it begins like it, CSV if it begins with the names of its columns.
pub(super) fn printed(
    bytes: &[u8],
    pointer: Option<&str>,
    fields: &BTreeMap<Field, String>,
    most: usize,
) -> Result<Rows, String> {
    let bytes = without_mark(bytes);
    if matches!(bytes.trim_ascii_start().first(), Some(b'[' | b'{')) {
        return json::read(bytes, pointer, fields, most);
    }
    if pointer.is_some() || !fields.is_empty() {
        return Err(
            "it prints no JSON (which begins with [ or {), and pointer and fields are for that".to_owned(),
        );
    }
    let head = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let mut names = head.split(',').map(|name| name.trim().trim_matches('"'));
    let format = if names.any(|name| Field::of_name(name) == Some(Field::Url)) {
        ListFormat::Csv
    } else {
        ListFormat::Lines
    };
    read(bytes, format, most)
}

/// Windows puts a byte order mark before a text.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// In one sentence: which names no field has.
pub(super) fn unknown_in_words(names: &BTreeSet<CleanText>) -> String {
    let known = crate::site::FIELDS.map(|(_, name)| name);
    let names: Vec<&str> = names.iter().map(CleanText::as_str).collect();
    format!(
        "no field of a site is called {}: it is not read (they are {})",
        list(&names, "or"),
        list(&known, "and")
    )
}

#[cfg(test)]
mod tests;
