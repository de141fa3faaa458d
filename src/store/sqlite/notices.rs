use jiff::Timestamp;
use rusqlite::{Connection, Result, Row, params};

use super::columns::{json, value};
use crate::rules::watch::{About, Change, Finding, Told};

/// What was told and is not over. What a newer version wrote in other words is not known here.
pub(super) fn told(conn: &Connection) -> Result<Told> {
    let mut query = conn.prepare_cached("SELECT about, finding FROM notices")?;
    let mut rows = query.query([])?;
    let mut told = Vec::new();
    while let Some(row) = rows.next()? {
        told.extend(of_row(row).ok());
    }
    Ok(Told::new(told))
}

/// Those of `changes` that nobody has told before.
pub(super) fn tell(conn: &Connection, changes: &[Change], at: Timestamp) -> Result<Vec<Change>> {
    let mut begin =
        conn.prepare_cached("INSERT OR IGNORE INTO notices (about, finding, told) VALUES (?1, ?2, ?3)")?;
    let mut end = conn.prepare_cached("DELETE FROM notices WHERE about = ?1 AND finding = ?2")?;
    let mut new = Vec::new();
    for change in changes {
        let (about, finding) = (json(&change.about)?, json(&change.finding)?);
        let written = if change.over {
            end.execute([about, finding])?
        } else {
            begin.execute(params![about, finding, at.as_millisecond()])?
        };
        if written > 0 {
            new.push(change.clone());
        }
    }
    Ok(new)
}

fn of_row(row: &Row<'_>) -> Result<(About, Finding)> {
    Ok((value(row, "about")?, value(row, "finding")?))
}
