use rusqlite::{Connection, OptionalExtension, Result};

use super::columns::{json, value};
use crate::site::SiteUrl;

/// The sites of the list of this name, at its last run.
pub(super) fn list(conn: &Connection, name: &str) -> Result<Option<Vec<SiteUrl>>> {
    let mut query = conn.prepare_cached("SELECT sites FROM lists WHERE name = ?1")?;
    query.query_row([name], |row| value(row, "sites")).optional()
}

/// The list of this name has these sites.
pub(super) fn keep(conn: &Connection, name: &str, sites: &[SiteUrl]) -> Result<()> {
    conn.execute(
        "INSERT INTO lists (name, sites) VALUES (?1, ?2) \
         ON CONFLICT (name) DO UPDATE SET sites = excluded.sites",
        [name, &json(&sites)?],
    )?;
    Ok(())
}
