use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::columns::{Result, at};
use super::schema::PRUNES;
use crate::store::old::Pruned;

/// So many rows are dropped in one transaction: who is about to send must not wait for long.
const SLICE: u64 = 2000;

/// What was dropped in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    /// How many runs.
    pub(super) runs: usize,
    /// Whether nothing old is left.
    pub(super) last: bool,
}

/// When something old was last dropped.
pub(super) async fn pruned(conn: &mut PgConnection) -> Result<Option<Pruned>> {
    let rows = sqlx::query("SELECT name, value FROM meta WHERE name IN ('pruned_at', 'pruned_before')")
        .fetch_all(conn)
        .await?;
    let value = |name: &str| {
        let named =
            |row: &&sqlx::postgres::PgRow| row.try_get::<&str, _>("name").is_ok_and(|found| found == name);
        rows.iter()
            .find(named)
            .map(|row| row.try_get("value"))
            .transpose()
    };
    let [pruned_at, before] = [value("pruned_at")?, value("pruned_before")?];
    Ok(pruned_at.zip(before).map(|(pruned_at, before)| Pruned {
        at: at(pruned_at),
        before: at(before),
    }))
}

/// Chunks go with their runs.
async fn drop_chunks(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("DELETE FROM chunks c WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = c.run)")
        .execute(conn)
        .await
        .map(drop)
}

/// Drops some of what is old; with the last of it, remembers that. Where another process does so, nothing is left to do.
pub(super) async fn prune(conn: &mut PgConnection, pruned: Pruned) -> Result<Slice> {
    let alone = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(PRUNES);
    if !alone.fetch_one(&mut *conn).await? {
        return Ok(Slice { runs: 0, last: true });
    }
    let before = pruned.before.as_millisecond();
    let old = "(SELECT id FROM runs WHERE ended_wall < $1)";
    let slices = [
        (
            format!("attempts WHERE id IN (SELECT id FROM attempts WHERE run IN {old} LIMIT {SLICE})"),
            before,
        ),
        (
            format!(
                "attempts WHERE id IN (SELECT id FROM attempts WHERE run IS NULL AND at < $1 LIMIT {SLICE})"
            ),
            pruned.looks_before().as_millisecond(),
        ),
        (
            format!("seen WHERE id IN (SELECT id FROM seen WHERE last < $1 LIMIT {SLICE})"),
            before,
        ),
        (
            format!(
                "run_sites WHERE (run, site) IN (SELECT run, site FROM run_sites WHERE run IN {old} LIMIT {SLICE})"
            ),
            before,
        ),
    ];
    for (what, before) in slices {
        let dropped = sqlx::query(AssertSqlSafe(format!("DELETE FROM {what}")))
            .bind(before)
            .execute(&mut *conn)
            .await?;
        if dropped.rows_affected() >= SLICE {
            return Ok(Slice { runs: 0, last: false });
        }
    }
    // One that something was recorded of in between goes another time.
    let runs = sqlx::query(
        "DELETE FROM runs WHERE ended_wall < $1 AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.run = runs.id) \
         AND NOT EXISTS (SELECT 1 FROM run_sites s WHERE s.run = runs.id)",
    )
    .bind(before)
    .execute(&mut *conn)
    .await?;
    drop_chunks(conn).await?;
    sqlx::query(
        "INSERT INTO meta (name, value) VALUES ('pruned_at', $1), ('pruned_before', $2) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(pruned.at.as_millisecond())
    .bind(before)
    .execute(conn)
    .await?;
    Ok(Slice {
        runs: usize::try_from(runs.rows_affected()).unwrap_or(usize::MAX),
        last: true,
    })
}
