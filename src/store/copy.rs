//! A store in a file moves into a database: all of it in one transaction, or nothing.

use std::path::Path;

use super::postgres::Target;
use super::sqlite::{Rows, Source};
use super::tables::{Cells, TABLES, Table};
use super::{Operator, StoreError};
use crate::rules::moment::Moment;
use crate::secret::Secret;

/// So many rows go into one statement.
const SLICE: usize = 2000;

/// How much there was, and is, of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Of what.
    pub what: &'static str,
    /// How much is in the file.
    pub from: u64,
    /// How much is in the database, counted there.
    pub to: u64,
}

/// Moves all that the store in the file `from` has into the database that `to` names, which has nothing in it yet. The file
/// stays as it is, and no run sends on it meanwhile.
///
/// # Errors
/// Where a run goes on on the file, the database has something already, or anything fails: then nothing is moved.
pub async fn copy(from: &Path, to: &Secret, by: &Operator, now: Moment) -> Result<Vec<Moved>, StoreError> {
    let mut source = Source::open(from, by, now)?;
    let mut target = Target::begin(to).await?;
    target.know_boots(&source.boots()?).await?;
    let mut moved = Vec::with_capacity(TABLES.len());
    for table in &TABLES {
        let from = source.count(table)?;
        let mut rows = Rows::none();
        loop {
            rows = source.rows(table, &rows, SLICE)?;
            let (count, cells) = (rows.count, std::mem::take(&mut rows.cells));
            if count > 0 {
                target.fill(table, here(table, cells, by)).await?;
            }
            if count < SLICE {
                break;
            }
        }
        let to = target.count(table).await?;
        let what = table.what;
        if from != to {
            return Err(StoreError::Failed(format!(
                "{from} {what} were to be moved, and {to} have arrived: nothing was moved; please report this"
            )));
        }
        moved.push(Moved { what, from, to });
    }
    target.end(&source.meta()?).await?;
    Ok(moved)
}

/// In a database a list is known by its machine too.
fn here(table: &Table, mut cells: Vec<Cells>, by: &Operator) -> Vec<Cells> {
    if table.name == "lists"
        && let Some(Cells::Texts(names)) = cells.first_mut()
    {
        for name in names.iter_mut().flatten() {
            *name = format!("{}:{name}", by.host);
        }
    }
    cells
}
