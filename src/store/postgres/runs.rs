use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::columns::{
    self, Kept, Result, json, key, limit, maybe, maybe_run, moment, now, ns, number, numbers, run, state,
    value, wall,
};
use super::session::Lives;
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::state::SiteState;
use crate::rules::status::Verify;
use crate::rules::tally::word;
use crate::store::{Holder, Operator, RunId, RunRecord};

/// Whether there is such a run.
pub(super) async fn exists(conn: &mut PgConnection, id: RunId) -> Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM runs WHERE id = $1)")
        .bind(number(id))
        .fetch_one(conn)
        .await
}

/// A process takes it up, to work on it from `since`: from now on what others write of it is worth nothing. Returns
/// its epoch.
pub(super) async fn take_up(
    conn: &mut PgConnection,
    id: RunId,
    (by, process): (&Operator, i64),
    since: Moment,
) -> Result<i64> {
    sqlx::query_scalar(
        "UPDATE runs SET epoch = epoch + 1, works_by = $2, works_since = $3, works_process = $4 WHERE id = $1 RETURNING epoch",
    )
    .bind(number(id))
    .bind(json(by)?)
    .bind(wall(since))
    .bind(process)
    .fetch_one(conn)
    .await
}

/// Who works on it, or did last.
pub(super) async fn holder(conn: &mut PgConnection, id: RunId) -> Result<Option<Holder>> {
    let row = sqlx::query("SELECT id, works_by, works_since FROM runs WHERE id = $1")
        .bind(number(id))
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(holder_of).transpose()
}

/// Who works on the run of this row, or did last.
pub(super) fn holder_of(row: &PgRow) -> Result<Holder> {
    Ok(Holder {
        run: Some(run(row, "id")?),
        by: value(row, "works_by")?,
        since: columns::time(row, "works_since")?,
        is_elsewhere: false,
        free_in: None,
    })
}

/// The run sends again.
pub(super) async fn reopen(conn: &mut PgConnection, id: RunId) -> Result<()> {
    sqlx::query(
        "UPDATE runs SET sent_ns = NULL, sent_wall = NULL, sent_boot = NULL, ended_ns = NULL, ended_wall = NULL, \
         ended_boot = NULL, closed = false, counts = NULL, sends = true, held = false WHERE id = $1",
    )
    .bind(number(id))
    .execute(conn)
    .await
    .map(drop)
}

/// The process does not send in it, nor works on it.
pub(super) async fn leave(conn: &mut PgConnection, id: RunId, process: i64) -> Result<()> {
    sqlx::query("UPDATE runs SET sends = false, works_process = NULL WHERE id = $1 AND works_process = $2")
        .bind(number(id))
        .bind(process)
        .execute(conn)
        .await
        .map(drop)
}

/// No worker has anything of the run any more, and what they told of it is known otherwise. Its chunks are counted on.
pub(super) async fn forget_chunks(conn: &mut PgConnection, id: RunId) -> Result<()> {
    for statement in [
        "UPDATE chunks SET done = true, told = true WHERE run = $1 AND NOT told",
        "DELETE FROM chunk_news WHERE run = $1",
    ] {
        sqlx::query(statement)
            .bind(number(id))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Nothing is left to send.
pub(super) async fn sent(conn: &mut PgConnection, boot: i64, id: RunId, at: Moment) -> Result<()> {
    sqlx::query("UPDATE runs SET sent_ns = $2, sent_wall = $3, sent_boot = $4, sends = false WHERE id = $1")
        .bind(number(id))
        .bind(ns(at))
        .bind(wall(at))
        .bind(boot)
        .execute(conn)
        .await
        .map(drop)
}

/// Holds the sites of which something is open in the run, and then the run: nobody changes them until the end of the
/// transaction.
pub(super) async fn hold(conn: &mut PgConnection, id: RunId) -> Result<()> {
    for statement in [
        "SELECT s.id FROM sites s JOIN run_sites rs ON rs.site = s.id WHERE rs.run = $1 AND rs.open \
         ORDER BY s.id FOR NO KEY UPDATE OF s",
        "SELECT id FROM runs WHERE id = $1 FOR NO KEY UPDATE",
    ] {
        sqlx::query(statement)
            .bind(number(id))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Ends it where nothing is left to do: what is open in its rows was taken over. Returns whether it has ended.
pub(super) async fn end(
    conn: &mut PgConnection,
    boot: i64,
    own: &[RunId],
    id: RunId,
    at: Moment,
) -> Result<bool> {
    if !is_over(conn, own, id).await? {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE run_sites SET push = coalesce(\"left\", push), \"left\" = NULL, verify = $2, open = false, \
         open_put = false WHERE run = $1 AND open",
    )
    .bind(number(id))
    .bind(json(&Verify::Superseded)?)
    .execute(&mut *conn)
    .await?;
    over(conn, boot, id, at, false).await?;
    Ok(true)
}

/// Whether nothing is left in a run to send, to find out or to wait for. What a later run has taken over is not: what
/// is known of the site is that run's, or one of `own`, which this process works on, has the site in its plan.
pub(super) async fn is_over(conn: &mut PgConnection, own: &[RunId], id: RunId) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT 1 FROM run_sites rs JOIN sites s ON s.id = rs.site \
         LEFT JOIN runs l ON l.id = s.run WHERE rs.run = $1 AND rs.open AND (rs.open_put OR NOT (\
         (coalesce(s.run, 0) > rs.run AND (rs.\"left\" IS NULL OR NOT coalesce(l.closed, false))) OR \
         (rs.\"left\" IS NULL AND EXISTS (SELECT 1 FROM run_sites o WHERE o.site = rs.site AND o.open \
         AND o.run > rs.run AND o.run = ANY($2))))))",
    )
    .bind(number(id))
    .bind(numbers(own))
    .fetch_one(conn)
    .await
}

/// Ends it with something left to send. Sites that it had begun with, and sent nothing, expect what they did before.
/// Returns those whose version was raised by that, with what it was.
pub(super) async fn close(
    conn: &mut PgConnection,
    boot: i64,
    policy: &Policy,
    id: RunId,
    at: Moment,
) -> Result<Vec<(i64, i64)>> {
    let raised = raise_left(conn, id).await?;
    give_back(conn, boot, policy, id, at).await?;
    sqlx::query(
        "UPDATE run_sites SET push = coalesce(\"left\", push), \"left\" = NULL, open = false, open_put = false \
         WHERE run = $1 AND open",
    )
    .bind(number(id))
    .execute(&mut *conn)
    .await?;
    over(conn, boot, id, at, true).await?;
    Ok(raised)
}

/// Who read before that a site was left over, and hands something over of it later, must learn of the end: what that
/// expects is not expected any more.
async fn raise_left(conn: &mut PgConnection, id: RunId) -> Result<Vec<(i64, i64)>> {
    let rows = sqlx::query(
        "UPDATE sites SET version = version + 1 WHERE coalesce(run, 0) <= $1 AND id IN (SELECT site FROM run_sites \
         WHERE run = $1 AND open AND puts = 0 AND \"left\" IS NOT NULL) RETURNING id, version - 1 AS before",
    )
    .bind(number(id))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("id")?, row.try_get("before")?)))
        .collect()
}

/// Sites that were looked at before their PUT, which never was, expect what they did before.
async fn give_back(conn: &mut PgConnection, boot: i64, policy: &Policy, id: RunId, at: Moment) -> Result<()> {
    let rows = sqlx::query(
        "SELECT s.id, s.state, s.boot FROM run_sites rs JOIN sites s ON s.id = rs.site AND s.run = rs.run \
         WHERE rs.run = $1 AND rs.open AND rs.puts = 0",
    )
    .bind(number(id))
    .fetch_all(&mut *conn)
    .await?;
    let (mut ids, mut states) = (Vec::new(), Vec::new());
    for row in &rows {
        let Some(state) = state(row, "state") else {
            continue;
        };
        let kept = crate::store::Kept {
            before_restart: (row.try_get::<Option<i64>, _>("boot")? != Some(boot)).then_some(at),
            state: Some(state),
            ..crate::store::Kept::default()
        };
        let mut state = kept.restore(policy, at);
        state.run_closed(at);
        ids.push(row.try_get::<i64, _>("id")?);
        states.push(json(&state)?);
    }
    sqlx::query(
        "UPDATE sites s SET state = new.state, boot = $3 FROM unnest($1::bigint[], $2::text[]) new (id, state) \
         WHERE s.id = new.id",
    )
    .bind(ids)
    .bind(states)
    .bind(boot)
    .execute(conn)
    .await
    .map(drop)
}

/// From now on nothing changes in it, and so its sites are counted for good.
async fn over(conn: &mut PgConnection, boot: i64, id: RunId, at: Moment, closed: bool) -> Result<()> {
    let counts = json(&count(conn, id, true).await?)?;
    for statement in [
        // The last one stays: a run that is retried counts on.
        "DELETE FROM chunks WHERE run = $1 AND chunk < (SELECT max(chunk) FROM chunks WHERE run = $1)",
        "UPDATE chunks SET done = true, told = true WHERE run = $1",
        "DELETE FROM chunk_news WHERE run = $1",
    ] {
        sqlx::query(statement)
            .bind(number(id))
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query(
        "UPDATE runs SET ended_ns = $2, ended_wall = $3, ended_boot = $4, closed = $5, counts = $6, sends = false, \
         sent_ns = CASE WHEN $5 THEN sent_ns ELSE coalesce(sent_ns, $2) END, \
         sent_wall = CASE WHEN $5 THEN sent_wall ELSE coalesce(sent_wall, $3) END, \
         sent_boot = CASE WHEN $5 THEN sent_boot ELSE coalesce(sent_boot, $4) END \
         WHERE id = $1 AND ended_wall IS NULL",
    )
    .bind(number(id))
    .bind(ns(at))
    .bind(wall(at))
    .bind(boot)
    .bind(closed)
    .bind(counts)
    .execute(conn)
    .await
    .map(drop)
}

/// How many of its sites have each word. What nobody works on any more is counted as what it has become.
async fn count(conn: &mut PgConnection, id: RunId, live: bool) -> Result<BTreeMap<String, usize>> {
    let rows = sqlx::query(
        "SELECT CASE WHEN $2 THEN push ELSE coalesce(\"left\", push) END AS push, verify, count(*) AS sites \
         FROM run_sites WHERE run = $1 GROUP BY 1, 2",
    )
    .bind(number(id))
    .bind(live)
    .fetch_all(conn)
    .await?;
    let mut counts = BTreeMap::new();
    for row in &rows {
        let mut state = SiteState::default();
        (state.push, state.verify) = (value(row, "push")?, value(row, "verify")?);
        let sites: i64 = row.try_get("sites")?;
        *counts.entry(word(&state).to_owned()).or_default() += usize::try_from(sites).unwrap_or_default();
    }
    Ok(counts)
}

/// The newest runs, newest first.
pub(super) async fn newest(
    conn: &mut PgConnection,
    lives: &Lives,
    boot: i64,
    count: usize,
) -> Result<Vec<RunRecord>> {
    let rows = sqlx::query("SELECT * FROM runs ORDER BY id DESC LIMIT $1")
        .bind(limit(count))
        .fetch_all(&mut *conn)
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        found.push(run_record(conn, lives, boot, row).await?);
    }
    Ok(found)
}

/// Runs that have not ended, and that somebody works on (or nobody), newest first; with who does, or did last.
pub(super) async fn not_ended(
    conn: &mut PgConnection,
    lives: &Lives,
    boot: i64,
    live: bool,
) -> Result<Vec<(RunRecord, Holder)>> {
    let rows = sqlx::query("SELECT * FROM runs WHERE ended_wall IS NULL ORDER BY id DESC")
        .fetch_all(&mut *conn)
        .await?;
    let mut found = Vec::new();
    for row in &rows {
        let id = run(row, "id")?;
        if lives.is_live(id) == live {
            let holder = Holder {
                free_in: lives.free_in(id),
                ..holder_of(row)?
            };
            found.push((run_record(conn, lives, boot, row).await?, holder));
        }
    }
    Ok(found)
}

async fn run_record(conn: &mut PgConnection, lives: &Lives, boot: i64, row: &PgRow) -> Result<RunRecord> {
    let id = run(row, "id")?;
    let began = moment(row, "began")?.unwrap_or(Kept { moment: now(), boot });
    let [sent, ended] = [moment(row, "sent")?, moment(row, "ended")?];
    let live = ended.is_none() && lives.is_live(id);
    let times = ended.and_then(|ended| began.until(ended));
    let counts = match maybe(row, "counts")? {
        Some(counts) => counts,
        None => count(conn, id, live).await?,
    };
    Ok(RunRecord {
        id,
        kind: value(row, "kind")?,
        parent: maybe_run(row, "parent")?,
        key: key(row, "key")?,
        by: value(row, "began_by")?,
        began: began.here(boot),
        sent: sent.map(|sent| sent.here(boot)),
        ended: ended.map(|ended| ended.here(boot)),
        closed: row.try_get("closed")?,
        live,
        took: times.map(|(took, _)| took),
        clock_set: times.and_then(|(_, set)| set),
        counts,
    })
}

/// When something last happened in a run: then it ended if its process died with nothing left to do.
pub(super) async fn last(conn: &mut PgConnection, id: RunId) -> Result<Option<Kept>> {
    for statement in [
        "SELECT at_ns, at_wall, at_boot FROM run_sites WHERE run = $1 AND at_wall IS NOT NULL \
         ORDER BY at_wall DESC LIMIT 1",
        "SELECT began_ns AS at_ns, began_wall AS at_wall, began_boot AS at_boot FROM runs WHERE id = $1",
    ] {
        let row = sqlx::query(statement)
            .bind(number(id))
            .fetch_optional(&mut *conn)
            .await?;
        if let Some(row) = row {
            return moment(&row, "at");
        }
    }
    Ok(None)
}
