use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::columns::{Result, json, ns, number, numbers, run, wall};
use super::runs::holder_of;
use super::schema::HOLDS;
use super::session::{free_in, live, locked};
use crate::rules::state::Served;
use crate::rules::status::{Push, Verify};
use crate::store::{Holder, NewRun, Operator, PlannedSite, RunId};

/// So many sites go into one statement.
const SLICE: usize = 5000;
/// From so many sites on the database counts anew what is in its tables.
const MANY: usize = 1000;

/// Nobody else takes sites for a run until the end of the transaction.
pub(super) async fn alone(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(HOLDS)
        .execute(conn)
        .await
        .map(drop)
}

/// Puts a run on record, without its sites: it sends.
pub(super) async fn begin(
    conn: &mut PgConnection,
    (by, process): (&Operator, i64),
    boot: i64,
    new: &NewRun,
) -> Result<RunId> {
    // Not a sequence: what comes to nothing takes no number.
    let id: i64 =
        sqlx::query_scalar("UPDATE meta SET value = value + 1 WHERE name = 'last_run' RETURNING value")
            .fetch_one(&mut *conn)
            .await?;
    sqlx::query(
        "INSERT INTO runs (id, kind, parent, key, allow, began_by, began_ns, began_wall, began_boot, epoch, sends, \
         works_by, works_since, works_process) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, true, $6, $8, $10)",
    )
    .bind(id)
    .bind(json(&new.kind)?)
    .bind(new.parent.map(number))
    .bind(new.key.as_str())
    .bind(json(&new.allow)?)
    .bind(json(by)?)
    .bind(ns(new.at))
    .bind(wall(new.at))
    .bind(boot)
    .bind(process)
    .execute(conn)
    .await?;
    Ok(RunId(id.cast_unsigned()))
}

/// Puts its sites on record, in the order of the plan.
pub(super) async fn plan(conn: &mut PgConnection, id: RunId, sites: &[PlannedSite]) -> Result<()> {
    // In one order everywhere: otherwise two that have new sites in common wait for each other.
    let mut new: Vec<String> = sites.iter().map(|planned| planned.site.to_string()).collect();
    new.sort_unstable();
    for urls in new.chunks(SLICE) {
        sqlx::query("INSERT INTO sites (url) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING")
            .bind(urls)
            .execute(&mut *conn)
            .await?;
    }
    for (index, slice) in sites.chunks(SLICE).enumerate() {
        let urls: Vec<String> = slice.iter().map(|planned| planned.site.to_string()).collect();
        rows(conn, id, index * SLICE, urls, slice).await?;
    }
    if sites.len() >= MANY {
        // What was planned on small tables would read through large ones.
        sqlx::raw_sql("ANALYZE sites; ANALYZE run_sites")
            .execute(conn)
            .await?;
    }
    Ok(())
}

async fn rows(
    conn: &mut PgConnection,
    id: RunId,
    first: usize,
    urls: Vec<String>,
    sites: &[PlannedSite],
) -> Result<()> {
    let texts =
        |of: &dyn Fn(&PlannedSite) -> Result<String>| sites.iter().map(of).collect::<Result<Vec<_>>>();
    let left_out: Vec<Option<String>> = sites
        .iter()
        .map(|planned| planned.left_out.as_ref().map(json).transpose())
        .collect::<Result<_>>()?;
    let push = |planned: &PlannedSite| json(&planned.left_out.map_or(Push::Queued, Push::Skipped));
    sqlx::query(
        "INSERT INTO run_sites (run, site, position, name, part_of, left_out, key, serves, push, verify, before, now, \
         open, \"left\") SELECT $1, s.id, $2 + new.place - 1, new.name, new.part_of, new.left_out, new.key, new.serves, \
         new.push, $3, $4, $4, new.left_out IS NULL, CASE WHEN new.left_out IS NULL THEN $5 END \
         FROM unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[]) \
         WITH ORDINALITY new (url, name, part_of, left_out, key, serves, push, place) \
         JOIN sites s ON s.url = new.url",
    )
    .bind(number(id))
    .bind(i64::try_from(first).unwrap_or(i64::MAX))
    .bind(json(&Verify::Unchecked)?)
    .bind(json(&Served::Unknown)?)
    .bind(json(&Push::NotStarted)?)
    .bind(urls)
    .bind(sites.iter().map(|site| site.name.as_str()).collect::<Vec<_>>())
    .bind(
        sites
            .iter()
            .map(|site| site.group.as_ref().map(crate::text::CleanText::as_str))
            .collect::<Vec<_>>(),
    )
    .bind(left_out)
    .bind(sites.iter().map(|site| site.key.as_str()).collect::<Vec<_>>())
    .bind(texts(&|planned| json(&planned.serves))?)
    .bind(texts(&push)?)
    .execute(conn)
    .await
    .map(drop)
}

/// Takes the sites of the run from runs whose process is gone: should that only have lost its connection, its right is
/// lost too. Where a process sends to one of them, it stays its: who.
pub(super) async fn take_sites(
    conn: &mut PgConnection,
    class: i64,
    process: i64,
    id: RunId,
) -> Result<Option<Holder>> {
    let rows = sqlx::query(
        "SELECT o.id, o.works_by, o.works_since FROM runs o WHERE o.sends AND o.id <> $1 AND EXISTS (\
         SELECT 1 FROM run_sites theirs JOIN run_sites mine ON mine.site = theirs.site AND mine.run = $1 \
         AND (mine.left_out IS NULL OR mine.puts > 0) \
         WHERE theirs.run = o.id AND (theirs.left_out IS NULL OR theirs.puts > 0)) ORDER BY o.id",
    )
    .bind(number(id))
    .fetch_all(&mut *conn)
    .await?;
    let mut dead = Vec::new();
    for row in &rows {
        dead.push(run(row, "id")?);
    }
    if let Some(holder) = first_live(conn, class, process, &rows).await? {
        return Ok(Some(holder));
    }
    if dead.is_empty() {
        return Ok(None);
    }
    sqlx::query("SELECT id FROM runs WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE")
        .bind(numbers(&dead))
        .execute(&mut *conn)
        .await?;
    // One may have come back until then; from now on none can.
    if let Some(holder) = first_live(conn, class, process, &rows).await? {
        return Ok(Some(holder));
    }
    sqlx::query("UPDATE runs SET sends = false, epoch = epoch + 1, works_process = NULL WHERE id = ANY($1)")
        .bind(numbers(&dead))
        .execute(conn)
        .await?;
    Ok(None)
}

/// Who works on the first of the runs of these rows that a process works on, or may.
async fn first_live(
    conn: &mut PgConnection,
    class: i64,
    process: i64,
    rows: &[PgRow],
) -> Result<Option<Holder>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let live = live(conn, class).await?;
    for row in rows {
        let theirs = run(row, "id")?;
        if !live.contains(&theirs) {
            continue;
        }
        let has_lock = locked(conn, class).await?.contains(&theirs);
        let free_in = if has_lock {
            None
        } else {
            free_in(conn, process, theirs).await?
        };
        return Ok(Some(Holder {
            free_in,
            ..holder_of(row)?
        }));
    }
    Ok(None)
}
