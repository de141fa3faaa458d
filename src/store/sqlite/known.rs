use rusqlite::{Connection, Error, Params, Result, Row};
use std::collections::HashMap;

use super::columns::{self, json, key, maybe, maybe_run, run, state, value};
use super::lock::Lives;
use crate::rules::moment::Moment;
use crate::rules::state::{Allow, LeftRow};
use crate::site::SiteUrl;
use crate::store::rows::{OpenRow, StateRun, kept};
use crate::store::{Kept, RunId};

/// What the store has of a site.
pub(super) struct Known {
    /// Where in the list that was asked for.
    pub(super) index: usize,
    /// Rises with each PUT: who knows a lower one does not know of the last.
    pub(super) version: i64,
    pub(super) kept: Kept,
}

/// The runs that have not ended.
pub(super) fn open_runs(conn: &Connection) -> Result<Vec<RunId>> {
    let mut query = conn.prepare_cached("SELECT id FROM runs WHERE ended_wall IS NULL")?;
    query.query_map([], |row| run(row, "id"))?.collect()
}

/// What is kept of each of `sites` that the store knows, in two queries.
///
/// By `since`, a moment of this start of the machine, the age of what is from before it is told.
pub(super) fn known(
    conn: &Connection,
    lives: &Lives,
    boot: i64,
    since: Moment,
    sites: &[SiteUrl],
) -> Result<Vec<Known>> {
    let urls = json(&sites)?;
    let open = open_rows(conn, boot, since, OF_THESE, [&urls])?;
    let mut query = conn.prepare_cached(
        "SELECT asked.key AS place, s.url, s.id, s.version, s.state, s.boot, s.run, r.ended_wall IS NULL AS goes_on, \
         r.closed FROM json_each(?1) asked JOIN sites s ON s.url = asked.value LEFT JOIN runs r ON r.id = s.run",
    )?;
    let of_row = |row: &Row<'_>| {
        let site = row.get("id")?;
        let rows = open.get(&site).map_or(&[][..], Vec::as_slice);
        let state = row.get_ref("state")?.as_str_or_null()?.and_then(state);
        let of_state = StateRun {
            run: maybe_run(row, "run")?,
            goes_on: row.get::<_, Option<bool>>("goes_on")?.unwrap_or_default(),
            closed: row.get::<_, Option<bool>>("closed")?.unwrap_or_default(),
        };
        let before_restart = row
            .get::<_, Option<i64>>("boot")?
            .is_some_and(|kept| kept != boot);
        Ok(Known {
            index: usize::try_from(row.get::<_, i64>("place")?).unwrap_or(usize::MAX),
            version: row.get("version")?,
            kept: Kept {
                before_restart: before_restart.then_some(since),
                ..kept(state, &of_state, rows, |run| lives.is_live(run))
            },
        })
    };
    let of_row = |row: &Row<'_>| {
        of_row(row).map_err(|error| unreadable(&row.get::<_, String>("url").unwrap_or_default(), &error))
    };
    query.query_map([urls], of_row)?.collect()
}

/// What is kept of a site cannot be read. It is not left out: nobody would know of a PUT that may be on its way.
pub(super) fn unreadable(what: &str, error: &Error) -> Error {
    Error::ToSqlConversionFailure(format!("what is kept of {what} cannot be read ({error})").into())
}

/// The rows of these sites (a JSON list of addresses) in which something is still to come.
const OF_THESE: &str = "FROM json_each(?1) asked JOIN sites s ON s.url = asked.value \
    JOIN run_sites rs ON rs.site = s.id AND rs.open = 1 \
    JOIN runs r ON r.id = rs.run AND r.ended_wall IS NULL ORDER BY rs.run";
/// Those of all sites.
pub(super) const OF_ALL: &str = "FROM runs r JOIN run_sites rs ON rs.run = r.id AND rs.open = 1 \
    WHERE r.ended_wall IS NULL ORDER BY rs.run";

/// By site, the oldest run first.
pub(super) fn open_rows(
    conn: &Connection,
    boot: i64,
    since: Moment,
    which: &str,
    urls: impl Params,
) -> Result<HashMap<i64, Vec<OpenRow>>> {
    let mut query = conn.prepare_cached(&format!(
        "SELECT rs.site, rs.run, rs.key, rs.serves, r.allow, rs.open_put, rs.puts, \
         rs.open_put = 0 AND rs.left IS NOT NULL AS unreached, r.began_ns, r.began_wall, r.began_boot {which}",
    ))?;
    let mut open: HashMap<i64, Vec<OpenRow>> = HashMap::new();
    let mut rows = query.query(urls)?;
    while let Some(row) = rows.next()? {
        let of_site = open_row(row, boot, since).map_err(|error| {
            let (site, run) = (row.get("site"), row.get("run"));
            names_the_row(conn, site.unwrap_or_default(), run.unwrap_or_default(), &error)
        })?;
        open.entry(row.get("site")?).or_default().push(of_site);
    }
    Ok(open)
}

fn open_row(row: &Row<'_>, boot: i64, since: Moment) -> Result<OpenRow> {
    let allow: Option<Allow> = maybe(row, "allow")?;
    let began = columns::moment(row, "began")?.map(|began| began.by(boot, since));
    Ok(OpenRow {
        row: LeftRow {
            run: run(row, "run")?,
            key: key(row, "key")?,
            allow: allow.unwrap_or_default(),
            serves: value(row, "serves")?,
            began: began.unwrap_or(since),
        },
        doubt: row.get("open_put")?,
        puts: row.get("puts")?,
        unreached: row.get("unreached")?,
    })
}

fn names_the_row(conn: &Connection, site: i64, run: i64, error: &Error) -> Error {
    let url = conn.query_row("SELECT url FROM sites WHERE id = ?1", [site], |row| row.get(0));
    let url: String = url.unwrap_or_else(|_| format!("site {site}"));
    unreadable(&format!("{url} in run {run}"), error)
}
