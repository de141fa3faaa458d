use std::collections::BTreeMap;

use super::{Rows, put};
use crate::inventory::row::Place;
use crate::site::Field;

/// An address a line. What begins with `#`, also behind an address, is a comment.
pub(super) fn read(bytes: &[u8], most: usize) -> Result<Rows, String> {
    let mut rows = Rows::default();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let line = String::from_utf8_lossy(line);
        let address = without_comment(&line);
        if address.is_empty() {
            continue;
        }
        let mut fields = BTreeMap::new();
        put(&mut fields, Field::Url, address);
        rows.push(Place::Line(number), fields, None, most)?;
    }
    Ok(rows)
}

/// A `#` within an address belongs to it.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        if character == '#' && before.is_whitespace() {
            return line[..at].trim();
        }
        before = character;
    }
    line.trim()
}
