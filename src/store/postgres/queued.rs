use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::columns::{Result as Asked, number, numbers};
use crate::store::RunId;
use crate::store::workers::ChunkId;

/// Where the queue's tables are: in a schema of their own. Those that begin with `_private` are as the version of
/// `graphile_worker` in Cargo.toml makes them: no function of it ends a job together with a change of ours.
pub(super) const QUEUE: &str = "stripe_propagate_jobs";
/// What the jobs of chunks are called there.
pub(super) const CHUNK: &str = "chunk";
/// The key of a chunk's job: nothing is enqueued twice.
const KEY: &str = "c.run || '/' || c.wave || '/' || c.chunk";
/// The name of a chunk's queue, which may be 128 characters long: the backend, so that its limit holds over all machines.
const NAME: &str =
    "CASE WHEN length(c.backend) > 100 THEN left(c.backend, 60) || md5(c.backend) ELSE c.backend END";
/// So long after its job was taken somebody has its chunk, or tries again and again to take it.
const LOST: &str = "interval '15 s'";
/// In a statement that takes rows of jobs away, as `ended`: the queues that those held are free.
const FREE: &str = "UPDATE stripe_propagate_jobs._private_job_queues q SET locked_by = NULL, locked_at = NULL \
                    FROM ended WHERE q.id = ended.job_queue_id AND q.locked_by = ended.locked_by";

/// "stprjobs": who puts jobs into the queue shares this advisory lock, who drops its queues holds it.
const QUEUES: i64 = 0x7374_7072_6a6f_6273;

/// Until the end of the transaction no queue is dropped: a job could be put into it.
pub(super) async fn keep_queues(conn: &mut PgConnection) -> Asked<()> {
    sqlx::query("SELECT pg_advisory_xact_lock_shared($1)")
        .bind(QUEUES)
        .execute(conn)
        .await
        .map(drop)
}

/// Drops the queues that have no job, unless jobs are put into the queue just now: each question for a job looks at all
/// queues that nobody has. The server does it by itself: of a process that hangs in the middle of it nobody waits for
/// the lock. Not in a transaction, for that reason.
pub(super) async fn drop_empty(conn: &mut PgConnection) -> Asked<()> {
    // The second statement sees the jobs that were put in before that lock was free.
    sqlx::raw_sql(AssertSqlSafe(format!(
        "DO $$ BEGIN IF pg_try_advisory_xact_lock({QUEUES}) THEN \
         DELETE FROM {QUEUE}._private_job_queues q WHERE q.locked_by IS NULL \
         AND NOT EXISTS (SELECT 1 FROM {QUEUE}._private_jobs j WHERE j.job_queue_id = q.id); END IF; END $$"
    )))
    .execute(conn)
    .await
    .map(drop)
}

/// The jobs of chunks, whose rows are there: numbers only. Behind [`keep_queues`].
pub(super) async fn enqueue(conn: &mut PgConnection, (runs, chunks): (Vec<i64>, Vec<i64>)) -> Asked<()> {
    sqlx::query(AssertSqlSafe(add(
        "(c.run, c.chunk) IN (SELECT * FROM unnest($2::bigint[], $3::bigint[]))",
    )))
    .bind(CHUNK)
    .bind(runs)
    .bind(chunks)
    .execute(conn)
    .await
    .map(drop)
}

/// All who put jobs into the queue do so in the order of its queues: no two of them wait for each other.
fn add(which: &str) -> String {
    format!(
        "SELECT c.run, c.chunk, {QUEUE}.add_job($1, json_build_object('run', c.run, 'wave', c.wave, 'chunk', c.chunk), \
         queue_name => {NAME}, job_key => {KEY}, max_attempts => 1000)::text FROM chunks c WHERE {which} \
         ORDER BY c.backend, c.run, c.chunk"
    )
}

/// Ends the job of a chunk in the transaction that says that the chunk is done, whoever has it. What the queue does
/// when a worker has ended by itself asks nobody whose job it is by then, and would leave the queue locked.
pub(super) async fn end(conn: &mut PgConnection, id: ChunkId) -> Asked<()> {
    sqlx::query(AssertSqlSafe(format!(
        "WITH ended AS (DELETE FROM {QUEUE}._private_jobs j USING chunks c \
         WHERE c.run = $1 AND c.chunk = $2 AND j.key = {KEY} RETURNING j.job_queue_id, j.locked_by) {FREE}"
    )))
    .bind(number(id.run))
    .bind(id.number.cast_signed())
    .execute(conn)
    .await
    .map(drop)
}

/// As [`end`], of all chunks of these runs that are done and not told of.
pub(super) async fn end_all(conn: &mut PgConnection, runs: &[RunId]) -> Asked<()> {
    sqlx::query(AssertSqlSafe(format!(
        "WITH ended AS (DELETE FROM {QUEUE}._private_jobs j USING chunks c \
         WHERE c.run = ANY($1) AND c.done AND NOT c.told AND j.key = {KEY} \
         RETURNING j.job_queue_id, j.locked_by) {FREE}"
    )))
    .bind(numbers(runs))
    .execute(conn)
    .await
    .map(drop)
}

/// What must never be: an open chunk of these runs without a job, which nobody would take; a job that its worker of the
/// queue does not know of; and a queue that is locked for a job that is not there, of which nobody would take any. All of it
/// is mended, and told in the log.
pub(super) async fn mend(conn: &mut PgConnection, runs: &[RunId]) -> Asked<()> {
    keep_queues(conn).await?;
    let lost = format!(
        "c.run = ANY($2) AND NOT c.done \
         AND NOT EXISTS (SELECT 1 FROM {QUEUE}._private_jobs j WHERE j.key = {KEY})"
    );
    let again = sqlx::query(AssertSqlSafe(add(&lost)))
        .bind(CHUNK)
        .bind(numbers(runs))
        .fetch_all(&mut *conn)
        .await?;
    for row in &again {
        let (run, chunk): (i64, i64) = (row.try_get("run")?, row.try_get("chunk")?);
        tracing::warn!(
            run,
            chunk,
            "the queue had lost the job of a chunk: it is in it again"
        );
    }
    put_back(conn, runs).await?;
    end_lost(conn).await?;
    // By `locked_at` a queue that somebody has taken since it was looked at is left alone.
    let free = sqlx::query(AssertSqlSafe(format!(
        "UPDATE {QUEUE}._private_job_queues q SET locked_by = NULL, locked_at = NULL \
         WHERE q.locked_by IS NOT NULL AND q.locked_at < now() - interval '10 s' AND NOT EXISTS \
         (SELECT 1 FROM {QUEUE}._private_jobs j WHERE j.job_queue_id = q.id AND j.locked_by = q.locked_by) \
         RETURNING q.id"
    )))
    .fetch_all(conn)
    .await?;
    let id = |row: &PgRow| row.try_get::<i32, _>("id");
    for queue in free.iter().map(id) {
        tracing::warn!(
            queue = queue?,
            "a queue was locked for a job that is gone: it is free again"
        );
    }
    Ok(())
}

/// Ends jobs that were taken long ago and whose chunk is done, or forgotten with its run: the answer to who took them was
/// lost, and so nobody ends them, and their backend waits.
async fn end_lost(conn: &mut PgConnection) -> Asked<()> {
    sqlx::query(AssertSqlSafe(format!(
        "WITH ended AS (DELETE FROM {QUEUE}._private_jobs j WHERE j.locked_at < now() - {LOST} \
         AND NOT EXISTS (SELECT 1 FROM chunks c WHERE NOT c.done AND j.key = {KEY}) \
         RETURNING j.job_queue_id, j.locked_by) {FREE}"
    )))
    .execute(conn)
    .await
    .map(drop)
}

/// Puts jobs of these runs back into the queue that were taken long ago, while no process that may have a PUT out has their
/// chunk or another one of its backend: the answer to who took them was lost. It lives, and so the queue waits for it.
async fn put_back(conn: &mut PgConnection, runs: &[RunId]) -> Asked<()> {
    let back = sqlx::query(AssertSqlSafe(format!(
        "SELECT c.run, c.chunk, {QUEUE}._private_return_jobs(j.locked_by, ARRAY[j.id])::text \
         FROM chunks c JOIN {QUEUE}._private_jobs j ON j.key = {KEY} \
         WHERE c.run = ANY($1) AND NOT c.done AND j.locked_at < now() - {LOST} AND NOT EXISTS \
         (SELECT 1 FROM chunks o JOIN processes p ON p.id = o.works_process AND p.until > clock_timestamp() \
         WHERE NOT o.done AND (o.backend = c.backend OR (o.run, o.chunk) = (c.run, c.chunk)))"
    )))
    .bind(numbers(runs))
    .fetch_all(conn)
    .await?;
    for row in &back {
        let (run, chunk): (i64, i64) = (row.try_get("run")?, row.try_get("chunk")?);
        tracing::warn!(
            run,
            chunk,
            "nobody began with a job that was taken: it is in the queue again"
        );
    }
    Ok(())
}
