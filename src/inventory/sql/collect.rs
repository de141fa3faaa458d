use std::collections::BTreeMap;

use secrecy::SecretString;

use super::columns::Columns;
use crate::inventory::row::{Answer, Place, Row};
use crate::site::Field;

/// The longest value, in bytes; no field of a site needs as much.
const VALUE_LIMIT: usize = 4096;

/// Why a value cannot be read.
#[derive(Debug)]
pub(super) enum ValueRefusal {
    /// Its column is of a type that is none of texts, numbers and booleans: so is each other row.
    Type(String),
    /// It alone is wrong.
    Value(&'static str),
}

/// Takes the rows of an answer, within the limits of a source.
pub(super) struct Collector {
    max_rows: usize,
    seen: usize,
    rows: Answer,
}

impl Collector {
    /// For at most `max_rows` rows.
    pub(super) fn new(max_rows: usize) -> Self {
        Self {
            max_rows,
            seen: 0,
            rows: Answer::default(),
        }
    }

    /// How many rows came so far.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// Takes one more row. `read` gives the value of a column by its number, as text; NULL is none.
    ///
    /// # Errors
    /// When there are too many, or a column is of a type that cannot be read, in words.
    pub(super) fn add(
        &mut self,
        columns: &Columns,
        mut read: impl FnMut(usize) -> Result<Option<String>, ValueRefusal>,
    ) -> Result<(), String> {
        if self.seen == self.max_rows {
            return Err(format!(
                "more than {} rows: raise max_rows, or let the query answer fewer",
                self.max_rows
            ));
        }
        self.seen += 1;
        let place = Place::Row(u64::try_from(self.seen).unwrap_or(u64::MAX));
        let mut fields = BTreeMap::new();
        let mut wrong = None;
        for (number, field) in &columns.fields {
            match read(*number) {
                Ok(None) => {}
                Ok(Some(text)) if text.len() > VALUE_LIMIT => {
                    wrong = wrong.or(Some((*field, "is longer than 4096 bytes")));
                }
                Ok(Some(text)) => {
                    // Made first, so that it is wiped also where it is not kept.
                    let blank = text.trim().is_empty();
                    let text = SecretString::from(text);
                    if !blank {
                        fields.insert(*field, text);
                    }
                }
                Err(ValueRefusal::Value(reason)) => wrong = wrong.or(Some((*field, reason))),
                Err(ValueRefusal::Type(name)) => {
                    let field = field.name();
                    return Err(format!(
                        "the column {field} is of the type {name}, which cannot be read: cast it to text"
                    ));
                }
            }
        }
        match wrong {
            None => self.rows.rows.push(Row { place, fields }),
            Some((field, reason)) => {
                self.rows.bad.push((place, format!("{} {reason}", field.name())));
                let url = fields.remove(&Field::Url);
                self.rows.bad_addresses.extend(url.map(|url| (place, url)));
            }
        }
        Ok(())
    }

    /// All that came.
    pub(super) fn finish(mut self, columns: Columns) -> Answer {
        self.rows.unknown = columns.unknown;
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_bad_value_costs_its_row_alone_and_a_bad_type_all() {
        let columns = Columns::parse(["url", "name"].into_iter()).unwrap();
        let mut collector = Collector::new(4);
        for name in [
            Ok(Some("é".to_owned())),
            Ok(Some("x".repeat(4097))),
            Ok(Some(" ".to_owned())),
            Ok(None),
        ] {
            let mut name = Some(name);
            let read = |number| match number {
                0 => Ok(Some("https://one.example.com".to_owned())),
                _ => name.take().unwrap(),
            };
            collector.add(&columns, read).unwrap();
        }
        let error = collector.add(&columns, |_| Ok(None)).unwrap_err();
        assert!(error.starts_with("more than 4 rows"), "{error}");
        let rows = collector.finish(columns);
        assert_eq!(
            rows.bad,
            [(Place::Row(2), "name is longer than 4096 bytes".to_owned())]
        );
        let (place, address) = &rows.bad_addresses[0];
        assert_eq!(
            (*place, address.expose_secret()),
            (Place::Row(2), "https://one.example.com")
        );
        let names: Vec<_> = rows.rows.iter().map(|row| row.fields.get(&Field::Name)).collect();
        assert_eq!(names[0].unwrap().expose_secret(), "é");
        assert!(names[1].is_none() && names[2].is_none());
        let columns = Columns::parse(["url"].into_iter()).unwrap();
        let read = |_| Err(ValueRefusal::Type("POINT".to_owned()));
        let error = Collector::new(1).add(&columns, read).unwrap_err();
        assert!(
            error.contains("url is of the type POINT") && error.contains("cast it to text"),
            "{error}"
        );
    }
}
