use rusqlite::{Connection, Result, params};

use super::columns::{json, value};
use super::reads::url;
use crate::rules::acknowledgement::Acknowledgement;
use crate::site::SiteUrl;

/// These sites are acknowledged from now on, or (without) not any more.
pub(super) fn set(
    conn: &Connection,
    sites: &[SiteUrl],
    acknowledgement: Option<&Acknowledgement>,
) -> Result<()> {
    let mut set = conn
        .prepare_cached("INSERT OR REPLACE INTO acknowledgements (url, acknowledgement) VALUES (?1, ?2)")?;
    let mut take_back = conn.prepare_cached("DELETE FROM acknowledgements WHERE url = ?1")?;
    let known = acknowledgement.map(json).transpose()?;
    for site in sites {
        match &known {
            Some(known) => set.execute(params![site.to_string(), known])?,
            None => take_back.execute([site.to_string()])?,
        };
    }
    Ok(())
}

/// All of them, also those that are over. One that a newer version wrote in other words is left out.
pub(super) fn all(conn: &Connection) -> Result<Vec<(SiteUrl, Acknowledgement)>> {
    let mut query = conn.prepare_cached("SELECT url, acknowledgement FROM acknowledgements ORDER BY url")?;
    let rows = query.query_map([], |row| {
        let known = value(row, "acknowledgement").inspect_err(
            |error| tracing::warn!(%error, "an acknowledgement cannot be read: it does not count"),
        );
        url(row, "url").map(|site| known.ok().map(|known| (site, known)))
    })?;
    rows.filter_map(Result::transpose).collect()
}
