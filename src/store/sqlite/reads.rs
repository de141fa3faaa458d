use rusqlite::types::Type;
use rusqlite::{Connection, Error, Result, Row, params};

use super::columns::{at, json, key, limit, maybe, maybe_run, number, run, time, value};
use super::lock::Lives;
use crate::key::PublishableKey;
use crate::rules::state::Served;
use crate::site::SiteUrl;
use crate::store::{PlannedSite, RunId, RunSite, Seen, SiteRun, StoredAttempt};
use crate::text::CleanText;

/// The address in a column.
pub(super) fn url(row: &Row<'_>, column: &str) -> Result<SiteUrl> {
    let text = row.get_ref(column)?.as_str()?;
    SiteUrl::parse(text).map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}

/// The text in a column, cleaned again: the file may have been written by anybody.
fn text(row: &Row<'_>, column: &str) -> Result<CleanText> {
    row.get_ref(column)?
        .as_str()
        .map(CleanText::note)
        .map_err(Into::into)
}

/// What [`run_site`] reads.
const RUN_SITE: &str = "rs.*, s.url, \
    EXISTS (SELECT 1 FROM attempts a JOIN run_sites e ON e.run = a.run AND e.site = a.site \
    WHERE a.site = rs.site AND a.run < rs.run AND e.push = '\"stored\"' AND a.key = iif(rs.before LIKE '{%', rs.before ->> '$.key', NULL)) AS before_pushed";

/// The sites of a run, in the order of its plan.
pub(super) fn run_sites(conn: &Connection, id: RunId, live: bool) -> Result<Vec<RunSite>> {
    let mut query = conn.prepare_cached(&format!(
        "SELECT {RUN_SITE} FROM run_sites rs JOIN sites s ON s.id = rs.site WHERE rs.run = ?1 ORDER BY rs.position",
    ))?;
    query
        .query_map([number(id)], |row| run_site(row, live))?
        .collect()
}

/// The newest runs that had a site in their plan, newest first.
pub(super) fn site_runs(
    conn: &Connection,
    lives: &Lives,
    site: &SiteUrl,
    count: usize,
) -> Result<Vec<SiteRun>> {
    // From the newest run on, each asked for its row of the site by its key, until there are enough: `CROSS JOIN`
    // holds this order.
    let mut query = conn.prepare_cached(&format!(
        "SELECT {RUN_SITE}, r.kind, r.began_wall FROM runs r CROSS JOIN sites s \
         CROSS JOIN run_sites rs ON rs.run = r.id AND rs.site = s.id WHERE s.url = ?1 ORDER BY r.id DESC LIMIT ?2",
    ))?;
    let of_row = |row: &Row<'_>| {
        let id = run(row, "run")?;
        Ok(SiteRun {
            run: id,
            kind: value(row, "kind")?,
            began: time(row, "began_wall")?,
            site: run_site(row, lives.is_live(id))?,
        })
    };
    let rows = query.query_map(params![site.to_string(), limit(count)], of_row)?;
    rows.collect()
}

/// What nobody works on any more is shown as what it has become.
fn run_site(row: &Row<'_>, live: bool) -> Result<RunSite> {
    let left = if live { None } else { maybe(row, "left")? };
    let group: Option<String> = row.get("part_of")?;
    Ok(RunSite {
        planned: PlannedSite {
            site: url(row, "url")?,
            name: text(row, "name")?,
            group: group.map(|group| CleanText::note(&group)),
            left_out: maybe(row, "left_out")?,
            key: key(row, "key")?,
            serves: value(row, "serves")?,
        },
        push: left.map_or_else(|| value(row, "push"), Ok)?,
        verify: value(row, "verify")?,
        http: row.get("http")?,
        puts: row.get("puts")?,
        before: value(row, "before")?,
        before_pushed: row.get("before_pushed")?,
        now: value(row, "now")?,
        note: text(row, "note")?,
        at: row.get::<_, Option<i64>>("at_wall")?.map(at),
    })
}

/// The newest attempts, in order: of a run, on a site, or all.
pub(super) fn attempts(
    conn: &Connection,
    of: Option<RunId>,
    site: Option<&SiteUrl>,
    count: usize,
) -> Result<Vec<StoredAttempt>> {
    let of_site = if site.is_some() {
        "s.url = ?1"
    } else {
        "?1 IS NULL"
    };
    let of_run = if of.is_some() { "a.run = ?3" } else { "?3 IS NULL" };
    let mut query = conn.prepare_cached(&format!(
        "SELECT a.*, s.url FROM attempts a JOIN sites s ON s.id = a.site WHERE {of_site} AND {of_run} \
         ORDER BY a.id DESC LIMIT ?2"
    ))?;
    let of_row = |row: &Row<'_>| {
        Ok(StoredAttempt {
            run: maybe_run(row, "run")?,
            site: url(row, "url")?,
            request: value(row, "request")?,
            number: row.get("number")?,
            at: time(row, "at")?,
            ended: row.get("ended")?,
            ms: row.get::<_, Option<i64>>("ms")?.map(i64::cast_unsigned),
            http: row.get("http")?,
            cause: maybe(row, "cause")?,
            note: text(row, "note")?,
        })
    };
    let rows = query.query_map(
        params![site.map(SiteUrl::to_string), limit(count), of.map(number)],
        of_row,
    )?;
    in_order(rows.collect::<Result<Vec<_>>>())
}

/// The keys that a site was seen to serve, the newest ones, in order.
pub(super) fn timeline(conn: &Connection, site: &SiteUrl, count: usize) -> Result<Vec<Seen>> {
    let mut query = conn.prepare_cached(
        "SELECT seen.* FROM seen JOIN sites s ON s.id = seen.site WHERE s.url = ?1 ORDER BY seen.id DESC LIMIT ?2",
    )?;
    let of_row = |row: &Row<'_>| {
        Ok(Seen {
            served: value(row, "served")?,
            first: time(row, "first")?,
            last: time(row, "last")?,
            pushed_by: maybe_run(row, "pushed_by")?,
        })
    };
    in_order(
        query
            .query_map(params![site.to_string(), limit(count)], of_row)?
            .collect(),
    )
}

/// Whether any site was ever seen to serve this key. A row a site and key: all of them are read through in milliseconds,
/// which an index that each look keeps up to date would not save.
pub(super) fn was_served(conn: &Connection, key: &PublishableKey) -> Result<bool> {
    let served = json(&Served::Key(key.clone()))?;
    let mut query = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM seen WHERE served = ?1)")?;
    query.query_row([served], |row| row.get(0))
}

fn in_order<T>(newest_first: Result<Vec<T>>) -> Result<Vec<T>> {
    newest_first.map(|mut rows| {
        rows.reverse();
        rows
    })
}
