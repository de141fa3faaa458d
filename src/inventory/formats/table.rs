use std::collections::BTreeMap;

use csv::{ByteRecord, ReaderBuilder, StringRecord, Trim};
use secrecy::SecretString;

use super::{Rows, put};
use crate::inventory::row::Place;
use crate::site::Field;
use crate::text::Count;

/// CSV whose first row names the fields.
pub(super) fn read(bytes: &[u8], most: usize) -> Result<Rows, String> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .comment(Some(b'#'))
        .from_reader(bytes);
    let mut lines = Lines {
        bytes,
        at: 0,
        line: 1,
    };
    let mut rows = Rows::default();
    let mut record = ByteRecord::new();
    let mut columns: Option<Vec<Option<Field>>> = None;
    while reader
        .read_byte_record(&mut record)
        .map_err(|_| "cannot be read as CSV")?
    {
        let begin = record.position().map_or(0, csv::Position::byte);
        let line = lines.of_row(usize::try_from(begin).unwrap_or(usize::MAX));
        let cells = StringRecord::from_byte_record_lossy(record.clone());
        let Some(columns) = &columns else {
            columns = Some(head(&cells, &mut rows)?);
            continue;
        };
        if cells.iter().all(str::is_empty) {
            continue;
        }
        if cells.len() != columns.len() {
            let text = format!(
                "has {}, and the head has {}",
                Count(cells.len(), "column"),
                columns.len()
            );
            if rows.count() >= most {
                return Err(super::too_many(most));
            }
            rows.bad.add(line, text);
            // Which column is which is not known.
            let addresses = cells.iter().filter(|cell| cell.contains("://"));
            let addresses = addresses.map(|cell| (line, SecretString::from(cell)));
            rows.bad_addresses.extend(addresses);
            continue;
        }
        let mut fields = BTreeMap::new();
        for (field, cell) in columns.iter().zip(&cells) {
            if let Some(field) = field {
                put(&mut fields, *field, cell);
            }
        }
        rows.push(line, fields, None, most)?;
    }
    Ok(rows)
}

/// Counts lines. The reader says where it began to look for a row, which may be before empty lines and comments.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the row for which the reader began to look here.
    fn of_row(&mut self, begin: usize) -> Place {
        self.go_on(begin.saturating_sub(self.at));
        while let Some(skipped) = match self.rest() {
            [b'\r' | b'\n', ..] => Some(1),
            [b'#', comment @ ..] => Some(comment.iter().take_while(|byte| **byte != b'\n').count() + 1),
            _ => None,
        } {
            self.go_on(skipped);
        }
        Place::Line(self.line)
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn go_on(&mut self, count: usize) {
        let passed = self.rest().iter().take(count);
        self.line += passed.filter(|byte| **byte == b'\n').map(|_| 1).sum::<u64>();
        self.at += count;
    }
}

/// Which field each column has.
fn head(cells: &StringRecord, rows: &mut Rows) -> Result<Vec<Option<Field>>, String> {
    let columns: Vec<Option<Field>> = cells.iter().map(Field::of_name).collect();
    if !columns.contains(&Some(Field::Url)) {
        let hint = if cells.len() == 1 && cells.iter().any(|cell| cell.contains(';')) {
            ", with commas between them and not semicolons"
        } else {
            ""
        };
        return Err(format!(
            "its first row must name the columns, one of them url{hint}: url,name,group,mode,backend,master_key,enabled"
        ));
    }
    for (at, field) in columns.iter().enumerate() {
        if let Some(field) = field
            && columns[..at].contains(&Some(*field))
        {
            return Err(format!("its first row names {} twice", field.name()));
        }
    }
    let unknown = cells.iter().zip(&columns).filter(|(_, field)| field.is_none());
    for (name, _) in unknown.filter(|(name, _)| !name.is_empty()) {
        rows.note_unknown(name);
    }
    Ok(columns)
}
