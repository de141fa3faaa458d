use std::collections::HashSet;

use sqlx::{PgConnection, Row as _};

use super::batch::{Batch, Entry, NewAttempt, Row};
use super::columns::{Result, json, ns, number, wall};
use crate::store::Request;

/// Writes what a batch has made of its sites, each kind of it in one statement.
pub(super) async fn write(conn: &mut PgConnection, boot: i64, batch: &Batch<'_>) -> Result<()> {
    prolong(conn, batch).await?;
    // Before the attempts of the batch: what one of them sent may have been seen before it.
    see(conn, batch).await?;
    attempts(conn, batch).await?;
    sites(conn, boot, &batch.entries).await?;
    rows(conn, boot, &batch.entries).await
}

async fn prolong(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<()> {
    if batch.prolonged.is_empty() {
        return Ok(());
    }
    let (ids, until): (Vec<i64>, Vec<i64>) = batch.prolonged.iter().unzip();
    sqlx::query(
        "UPDATE seen SET last = greatest(seen.last, new.until) \
         FROM unnest($1::bigint[], $2::bigint[]) new (id, until) WHERE seen.id = new.id",
    )
    .bind(ids)
    .bind(until)
    .execute(conn)
    .await?;
    Ok(())
}

async fn see(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<()> {
    if batch.seen.is_empty() {
        return Ok(());
    }
    let all = || batch.seen.iter();
    sqlx::query(
        "INSERT INTO seen (site, served, first, last, pushed_by) SELECT new.site, new.served, new.first, new.last, \
         coalesce(new.pushed_by, (SELECT a.run FROM attempts a WHERE a.site = new.site AND a.key = new.key \
         ORDER BY a.id DESC LIMIT 1)) FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], \
         $6::text[]) WITH ORDINALITY new (site, served, first, last, pushed_by, key, place) ORDER BY new.place",
    )
    .bind(all().map(|seen| seen.site).collect::<Vec<_>>())
    .bind(all().map(|seen| seen.served.as_str()).collect::<Vec<_>>())
    .bind(all().map(|seen| seen.first).collect::<Vec<_>>())
    .bind(all().map(|seen| seen.last).collect::<Vec<_>>())
    .bind(all().map(|seen| seen.pushed_by).collect::<Vec<_>>())
    .bind(all().map(|seen| seen.key).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// What came of PUTs whose intents are on record is told there; all else is new.
async fn attempts(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<()> {
    let may_be_known = batch.attempts.iter().filter(|attempt| attempt.may_be_known);
    let told = tell(conn, &may_be_known.collect::<Vec<_>>()).await?;
    let is_told = |attempt: &NewAttempt<'_>| {
        attempt.may_be_known && told.contains(&(attempt.run, attempt.site, i64::from(attempt.number)))
    };
    let new: Vec<_> = batch.attempts.iter().filter(|new| !is_told(new)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(&new)?;
    // A run that was pruned has no attempts any more: one of it is of none.
    sqlx::query(
        "INSERT INTO attempts (run, site, request, number, key, at, ended, ms, http, cause, note) \
         SELECT r.id, new.site, new.request, new.number, new.key, new.at, new.ended, new.ms, new.http, new.cause, \
         new.note FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], \
         $7::boolean[], $8::bigint[], $9::bigint[], $10::text[], $11::text[]) \
         WITH ORDINALITY new (run, site, request, number, key, at, ended, ms, http, cause, note, place) \
         LEFT JOIN runs r ON r.id = new.run ORDER BY new.place",
    )
    .bind(columns.run)
    .bind(columns.site)
    .bind(columns.request)
    .bind(columns.number)
    .bind(new.iter().map(|new| new.key).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.at).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.outcome.is_some()).collect::<Vec<_>>())
    .bind(columns.ms)
    .bind(columns.http)
    .bind(columns.cause)
    .bind(columns.note)
    .execute(conn)
    .await?;
    Ok(())
}

/// Attempts, column by column.
#[derive(Default)]
struct Columns<'a> {
    run: Vec<Option<i64>>,
    site: Vec<i64>,
    request: Vec<String>,
    number: Vec<i64>,
    ms: Vec<Option<i64>>,
    http: Vec<Option<i64>>,
    cause: Vec<Option<String>>,
    note: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(attempts: &[&NewAttempt<'a>]) -> Result<Self> {
        let mut columns = Self::default();
        for attempt in attempts {
            let outcome = attempt.outcome;
            columns.run.push(attempt.run);
            columns.site.push(attempt.site);
            columns.request.push(json(&attempt.request)?);
            columns.number.push(i64::from(attempt.number));
            let ms = outcome.map(|outcome| i64::try_from(outcome.ms).unwrap_or(i64::MAX));
            columns.ms.push(ms);
            columns
                .http
                .push(outcome.and_then(|outcome| outcome.http).map(i64::from));
            let cause = outcome.and_then(|outcome| outcome.cause.as_ref());
            columns.cause.push(cause.map(json).transpose()?);
            columns
                .note
                .push(outcome.map_or("", |outcome| outcome.note.as_str()));
        }
        Ok(columns)
    }
}

/// Which of these PUTs were on record as not ended: run, site and number.
async fn tell(
    conn: &mut PgConnection,
    ended: &[&NewAttempt<'_>],
) -> Result<HashSet<(Option<i64>, i64, i64)>> {
    if ended.is_empty() {
        return Ok(HashSet::new());
    }
    let columns = Columns::of(ended)?;
    let told = sqlx::query(
        "UPDATE attempts a SET ended = true, ms = new.ms, http = new.http, cause = new.cause, note = new.note \
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[]) \
         new (run, site, number, ms, http, cause, note) WHERE a.run = new.run AND a.site = new.site \
         AND a.number = new.number AND a.request = $8 AND NOT a.ended RETURNING a.run, a.site, a.number",
    )
    .bind(columns.run)
    .bind(columns.site)
    .bind(columns.number)
    .bind(columns.ms)
    .bind(columns.http)
    .bind(columns.cause)
    .bind(columns.note)
    .bind(json(&Request::Put)?)
    .fetch_all(conn)
    .await?;
    let of_row =
        |row: &sqlx::postgres::PgRow| Ok((row.try_get("run")?, row.try_get("site")?, row.try_get("number")?));
    told.iter().map(of_row).collect()
}

async fn sites(conn: &mut PgConnection, boot: i64, entries: &[Entry<'_>]) -> Result<()> {
    let known: Vec<_> = entries
        .iter()
        .filter_map(|entry| Some((entry, entry.state?)))
        .collect();
    if !known.is_empty() {
        let states: Vec<String> = known
            .iter()
            .map(|(_, state)| json(state))
            .collect::<Result<_>>()?;
        sqlx::query(
            "UPDATE sites s SET version = new.version, run = new.run, state = new.state, boot = $5 \
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) new (id, version, run, state) \
             WHERE s.id = new.id",
        )
        .bind(known.iter().map(|(entry, _)| entry.id).collect::<Vec<_>>())
        .bind(known.iter().map(|(entry, _)| entry.version).collect::<Vec<_>>())
        .bind(
            known
                .iter()
                .map(|(_, state)| state.run.map(number))
                .collect::<Vec<_>>(),
        )
        .bind(states)
        .bind(boot)
        .execute(&mut *conn)
        .await?;
    }
    let raised = entries
        .iter()
        .filter(|entry| entry.is_raised && entry.state.is_none());
    let (ids, versions): (Vec<i64>, Vec<i64>) = raised.map(|entry| (entry.id, entry.version)).unzip();
    if !ids.is_empty() {
        sqlx::query(
            "UPDATE sites s SET version = new.version FROM unnest($1::bigint[], $2::bigint[]) new (id, version) \
             WHERE s.id = new.id",
        )
        .bind(ids)
        .bind(versions)
        .execute(conn)
        .await?;
    }
    Ok(())
}

async fn rows(conn: &mut PgConnection, boot: i64, entries: &[Entry<'_>]) -> Result<()> {
    let changed: Vec<(i64, &Row<'_>)> = entries
        .iter()
        .flat_map(|entry| entry.rows.iter().map(move |row| (entry.id, row)))
        .filter(|(_, row)| row.is_changed)
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let rows = || changed.iter().map(|(_, row)| row);
    let served = |of: fn(&crate::store::Record) -> &crate::rules::state::Served| {
        rows()
            .map(|row| row.seen.map(|record| json(of(record))).transpose())
            .collect::<Result<Vec<_>>>()
    };
    let (before, now) = (
        served(|record| &record.state.before)?,
        served(|record| &record.state.now)?,
    );
    sqlx::query(
        "UPDATE run_sites rs SET push = new.push, verify = new.verify, puts = new.puts, open = new.open, \
         \"left\" = new.\"left\", open_put = new.open_put, at_ns = coalesce(new.at_ns, rs.at_ns), \
         at_wall = coalesce(new.at_wall, rs.at_wall), \
         at_boot = CASE WHEN new.at_ns IS NULL THEN rs.at_boot ELSE $15 END, \
         http = CASE WHEN new.note IS NULL THEN rs.http ELSE new.http END, before = coalesce(new.before, rs.before), \
         now = coalesce(new.now, rs.now), note = coalesce(new.note, rs.note) \
         FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::boolean[], $7::text[], \
         $8::boolean[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[]) \
         new (run, site, push, verify, puts, open, \"left\", open_put, at_ns, at_wall, http, before, now, note) WHERE rs.run = new.run AND rs.site = new.site",
    )
    .bind(rows().map(|row| number(row.now.run)).collect::<Vec<_>>())
    .bind(changed.iter().map(|(site, _)| *site).collect::<Vec<_>>())
    .bind(rows().map(|row| row.now.push.as_str()).collect::<Vec<_>>())
    .bind(rows().map(|row| row.now.verify.as_str()).collect::<Vec<_>>())
    .bind(rows().map(|row| i64::from(row.now.puts)).collect::<Vec<_>>())
    .bind(rows().map(|row| row.now.is_open).collect::<Vec<_>>())
    .bind(rows().map(|row| row.now.left.as_deref()).collect::<Vec<_>>())
    .bind(rows().map(|row| row.now.doubt).collect::<Vec<_>>())
    .bind(rows().map(|row| row.at.map(ns)).collect::<Vec<_>>())
    .bind(rows().map(|row| row.at.map(wall)).collect::<Vec<_>>())
    .bind(
        rows()
            .map(|row| row.seen.and_then(|record| record.state.http).map(i64::from))
            .collect::<Vec<_>>(),
    )
    .bind(before)
    .bind(now)
    .bind(
        rows()
            .map(|row| row.seen.map(|record| record.note.as_str()))
            .collect::<Vec<_>>(),
    )
    .bind(boot)
    .execute(conn)
    .await?;
    Ok(())
}
