use sqlx::{Column, Either, Statement};

use super::words;
use crate::site::Field;
use crate::text::{CleanText, list};

/// The longest name of a column that is told, in characters.
const COLUMN_NAME_LIMIT: usize = 64;
/// How many columns an error names.
const NAMED_COLUMNS: usize = 12;

/// What the columns of an answer are.
#[derive(Debug)]
pub(super) struct Columns {
    /// The number of a column, from 0, and the field that it is called like.
    pub(super) fields: Vec<(usize, Field)>,
    /// The names of the others.
    pub(super) unknown: Vec<String>,
}

impl Columns {
    /// Those of a prepared statement.
    ///
    /// # Errors
    /// When it waits for values, or its columns describe no site, in words.
    pub(super) fn of_statement<S: Statement>(statement: &S) -> Result<Self, String> {
        let waits = statement.parameters().is_some_and(|values| match values {
            Either::Left(kinds) => !kinds.is_empty(),
            Either::Right(count) => count > 0,
        });
        if waits {
            return Err(words::PARAMETERS.to_owned());
        }
        Self::parse(statement.columns().iter().map(Column::name))
    }

    /// From the names of the columns, in their order.
    ///
    /// # Errors
    /// When they describe no site, in words.
    pub(super) fn parse<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut fields: Vec<(usize, Field)> = Vec::new();
        let mut unknown = Vec::new();
        let mut all = Vec::new();
        for (number, name) in names.enumerate() {
            let clean = CleanText::new(name, COLUMN_NAME_LIMIT).as_str().to_owned();
            all.push(clean.clone());
            let Some(field) = Field::of_name(name) else {
                unknown.push(clean);
                continue;
            };
            if fields.iter().any(|(_, known)| *known == field) {
                return Err(format!(
                    "the query has two columns named {}: leave one out",
                    field.name()
                ));
            }
            fields.push((number, field));
        }
        if all.is_empty() {
            return Err(
                "the query answers no columns: it must be a SELECT with a column named url".to_owned(),
            );
        }
        if !fields.iter().any(|(_, field)| *field == Field::Url) {
            let more = all.len().saturating_sub(NAMED_COLUMNS);
            all.truncate(NAMED_COLUMNS);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            return Err(format!(
                "the query has no column named url, only {}{more}: name the column of the addresses with AS url",
                list(&all, "and")
            ));
        }
        Ok(Self { fields, unknown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_told_apart_by_their_names() {
        let columns = Columns::parse(["id", "URL", "Master_Key", "crea\u{1b}ted"].into_iter()).unwrap();
        assert_eq!(columns.fields, [(1, Field::Url), (2, Field::MasterKey)]);
        assert_eq!(columns.unknown, ["id", "created"]);
    }

    #[test]
    fn without_a_column_named_url_those_that_are_there_are_named() {
        let refuse = |names: &[&str]| Columns::parse(names.iter().copied()).unwrap_err();
        assert!(refuse(&["id", "address"]).contains("only id and address"));
        assert!(refuse(&["url", "Url"]).contains("two columns named url"));
        assert!(refuse(&[]).contains("no columns"));
        assert!(refuse(&["x"; 15]).contains("and 3 more"));
    }
}
