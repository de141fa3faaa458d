use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::columns::{
    Result, at, json, key, limit, maybe, maybe_run, maybe_small, number, run, small, text, time, url, value,
};
use super::session::Lives;
use crate::key::PublishableKey;
use crate::rules::state::Served;
use crate::site::SiteUrl;
use crate::store::{PlannedSite, RunId, RunSite, Seen, SiteRun, StoredAttempt};
use crate::text::CleanText;

/// What [`run_site`] reads.
const RUN_SITE: &str = "rs.*, s.url, \
    EXISTS (SELECT 1 FROM attempts a JOIN run_sites e ON e.run = a.run AND e.site = a.site \
    WHERE a.site = rs.site AND a.run < rs.run AND e.push = '\"stored\"' \
    AND a.key = CASE WHEN rs.before LIKE '{%' THEN rs.before::json ->> 'key' END) AS before_pushed";

/// The sites of a run, in the order of its plan.
pub(super) async fn run_sites(conn: &mut PgConnection, id: RunId, live: bool) -> Result<Vec<RunSite>> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT {RUN_SITE} FROM run_sites rs JOIN sites s ON s.id = rs.site WHERE rs.run = $1 ORDER BY rs.position",
    )))
    .bind(number(id))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| run_site(row, live)).collect()
}

/// The newest runs that had a site in their plan, newest first.
pub(super) async fn site_runs(
    conn: &mut PgConnection,
    lives: &Lives,
    site: &SiteUrl,
    count: usize,
) -> Result<Vec<SiteRun>> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT {RUN_SITE}, r.kind, r.began_wall FROM sites s JOIN run_sites rs ON rs.site = s.id \
         JOIN runs r ON r.id = rs.run WHERE s.url = $1 ORDER BY rs.run DESC LIMIT $2",
    )))
    .bind(site.to_string())
    .bind(limit(count))
    .fetch_all(conn)
    .await?;
    let of_row = |row: &PgRow| {
        let id = run(row, "run")?;
        Ok(SiteRun {
            run: id,
            kind: value(row, "kind")?,
            began: time(row, "began_wall")?,
            site: run_site(row, lives.is_live(id))?,
        })
    };
    rows.iter().map(of_row).collect()
}

/// What nobody works on any more is shown as what it has become.
fn run_site(row: &PgRow, live: bool) -> Result<RunSite> {
    let left = if live { None } else { maybe(row, "left")? };
    let group: Option<String> = row.try_get("part_of")?;
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
        http: maybe_small(row, "http")?,
        puts: small(row, "puts")?,
        before: value(row, "before")?,
        before_pushed: row.try_get("before_pushed")?,
        now: value(row, "now")?,
        note: text(row, "note")?,
        at: row.try_get::<Option<i64>, _>("at_wall")?.map(at),
    })
}

/// The newest attempts, in order: of a run, on a site, or all.
pub(super) async fn attempts(
    conn: &mut PgConnection,
    of: Option<RunId>,
    site: Option<&SiteUrl>,
    count: usize,
) -> Result<Vec<StoredAttempt>> {
    let of_site = if site.is_some() {
        "s.url = $1"
    } else {
        "$1::text IS NULL"
    };
    let of_run = if of.is_some() {
        "a.run = $3"
    } else {
        "$3::bigint IS NULL"
    };
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT a.*, s.url FROM attempts a JOIN sites s ON s.id = a.site WHERE {of_site} AND {of_run} \
         ORDER BY a.id DESC LIMIT $2"
    )))
    .bind(site.map(SiteUrl::to_string))
    .bind(limit(count))
    .bind(of.map(number))
    .fetch_all(conn)
    .await?;
    let of_row = |row: &PgRow| {
        Ok(StoredAttempt {
            run: maybe_run(row, "run")?,
            site: url(row, "url")?,
            request: value(row, "request")?,
            number: small(row, "number")?,
            at: time(row, "at")?,
            ended: row.try_get("ended")?,
            ms: row.try_get::<Option<i64>, _>("ms")?.map(i64::cast_unsigned),
            http: maybe_small(row, "http")?,
            cause: maybe(row, "cause")?,
            note: text(row, "note")?,
        })
    };
    rows.iter().rev().map(of_row).collect()
}

/// The keys that a site was seen to serve, the newest ones, in order.
pub(super) async fn timeline(conn: &mut PgConnection, site: &SiteUrl, count: usize) -> Result<Vec<Seen>> {
    let rows = sqlx::query(
        "SELECT seen.* FROM seen JOIN sites s ON s.id = seen.site WHERE s.url = $1 ORDER BY seen.id DESC LIMIT $2",
    )
    .bind(site.to_string())
    .bind(limit(count))
    .fetch_all(conn)
    .await?;
    let of_row = |row: &PgRow| {
        Ok(Seen {
            served: value(row, "served")?,
            first: time(row, "first")?,
            last: time(row, "last")?,
            pushed_by: maybe_run(row, "pushed_by")?,
        })
    };
    rows.iter().rev().map(of_row).collect()
}

/// Whether any site was ever seen to serve this key.
pub(super) async fn was_served(conn: &mut PgConnection, key: &PublishableKey) -> Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM seen WHERE served = $1)")
        .bind(json(&Served::Key(key.clone()))?)
        .fetch_one(conn)
        .await
}
