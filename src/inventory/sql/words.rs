use std::time::Duration;

use sqlx::Error;

pub(super) use crate::database::words::{BUSY, LOGIN, NO_DATABASE, connecting};
use crate::text::CleanText;

/// A query that writes.
pub(super) const WRITES: &str = "the query writes, and a source may only read: make it a SELECT";
/// More than one statement.
pub(super) const TWO_STATEMENTS: &str =
    "the query is more than one statement: leave one, and nothing behind its semicolon";
/// A query that waits for values.
pub(super) const PARAMETERS: &str =
    "the query has parameters, and nothing fills them: write the values into it";
/// The time limit.
pub(super) fn too_long(limit: Duration) -> String {
    format!("no complete answer within {limit:?}: raise timeout, or make the query quicker")
}

/// An error whose text may quote a value.
pub(super) fn untold(code: &str) -> String {
    format!(
        "the database refused the query with the error {}; its text may quote a value and is not shown: try the query by hand",
        CleanText::new(code, 20)
    )
}

/// The server has ended the connection, after `seen` rows.
pub(super) fn cut_off(seen: usize) -> String {
    format!("the connection broke off in mid-answer, after {seen} rows: nothing of it counts; try again")
}

/// Why an answer did not end, where the server has sent no error of its own.
pub(super) fn answering(error: &Error, seen: usize) -> String {
    match error {
        Error::Io(_) => cut_off(seen),
        Error::Protocol(_) => "the answer could not be understood: try the query by hand".to_owned(),
        _ => "the answer could not be read: try the query by hand".to_owned(),
    }
}
