use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Error, PgConnection, Postgres, Row, Transaction};

use super::columns::{Result, maybe_small, number, numbers};
use super::fault::fault;
use super::no_delay::send_at_once;
use super::schema::{TABLES, must_be_ours};
use crate::rules::retry::Policy;
use crate::store::{RunId, StoreError};

/// How long a connection may take, with its login.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What each connection begins with. The names of the tables are found in our schema alone. A machine that is gone is
/// missed within half a minute, and so are its locks. A transaction of a process that hangs holds nobody up for long.
/// What was committed is on disk, whatever the server's default.
const SETUP: &str = "
SET search_path = stripe_propagate, pg_temp;
SET default_transaction_isolation = 'read committed';
SET jit = off;
SET lock_timeout = '20s';
SET statement_timeout = '60s';
SET idle_in_transaction_session_timeout = '60s';
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
";

/// The channel on which a process tells the others that it has written.
pub(super) const CHANNEL: &str = "stripe_propagate";

/// A new connection, ready for our tables.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection> {
    let connecting = async {
        let mut conn = PgConnection::connect_with(options).await?;
        set_up(&mut conn).await?;
        Ok(conn)
    };
    tokio::time::timeout(CONNECT_LIMIT, connecting)
        .await
        .unwrap_or(Err(Error::PoolTimedOut))
}

/// What a connection begins with.
pub(super) async fn set_up(conn: &mut PgConnection) -> Result<()> {
    send_at_once();
    sqlx::raw_sql(SETUP).execute(conn).await.map(drop)
}

/// Why a transaction came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database failed.
    Sql(Error),
    /// It has answered, and refuses.
    Refused(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(error) => fault(&error),
            Failure::Refused(error) => error,
        }
    }
}

/// A run as its row says, while nobody changes who works on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) epoch: i64,
    pub(super) sends: bool,
}

/// What a transaction that writes begins with.
pub(super) struct Entry<'a> {
    /// Which process writes.
    pub(super) process: i64,
    /// The number of its writer's batch, if it is one.
    pub(super) batch: Option<i64>,
    /// Whether the others are told at once.
    pub(super) tells: bool,
    /// For so many seconds from now on a PUT of the process may be out ([`lease`]).
    pub(super) lease: f64,
    /// Whose fences are asked for: they stay as they are until the end of the transaction.
    pub(super) runs: &'a [RunId],
    /// Those of them that other processes coordinate, in order: none of them is halted until the end of the transaction.
    pub(super) heeds: &'a [RunId],
}

/// Begins a transaction that writes: the others will see that something was written, and the tables are of this
/// program's version until its end.
///
/// # Errors
/// Also when they are not.
pub(super) async fn enter<'a>(
    conn: &'a mut PgConnection,
    entry: &Entry<'_>,
) -> std::result::Result<(Transaction<'a, Postgres>, BTreeMap<RunId, Fence>), Failure> {
    let mut change = conn.begin().await?;
    let enter = "INSERT INTO processes (id, written, batch, until) OVERRIDING SYSTEM VALUE \
                 VALUES ($1, 1, coalesce($2, 0), clock_timestamp() + make_interval(secs => $4)) \
                 ON CONFLICT (id) DO UPDATE SET written = processes.written + 1, \
                 batch = coalesce($2, processes.batch), at = now(), until = greatest(processes.until, excluded.until) \
                 RETURNING pg_advisory_xact_lock_shared($3) IS NULL, \
                 (SELECT count(pg_advisory_xact_lock_shared($5 + run)) FROM unnest($6::bigint[]) run)";
    sqlx::query(enter)
        .bind(entry.process)
        .bind(entry.batch)
        .bind(TABLES)
        .bind(entry.lease)
        .bind(HALTS)
        .bind(numbers(entry.heeds))
        .execute(&mut *change)
        .await?;
    // In a statement of its own, which sees what was upgraded while that lock was waited for.
    let found = sqlx::query(
        "SELECT meta.value AS version, r.id, r.epoch, r.sends, \
         CASE WHEN $2 THEN pg_notify($3, $4)::text END AS told FROM meta LEFT JOIN LATERAL \
         (SELECT id, epoch, sends FROM runs WHERE id = ANY($1) ORDER BY id FOR SHARE) r ON true \
         WHERE meta.name = 'version'",
    )
    .bind(numbers(entry.runs))
    .bind(entry.tells)
    .bind(CHANNEL)
    .bind(entry.process.to_string())
    .fetch_all(&mut *change)
    .await?;
    if found.is_empty() {
        // Tables without a version are nobody's.
        return Err(Failure::Sql(Error::RowNotFound));
    }
    let mut fences = BTreeMap::new();
    for row in &found {
        must_be_ours(row.try_get("version")?).map_err(Failure::Refused)?;
        if let Some(id) = maybe_small::<i64>(row, "id")? {
            let fence = Fence {
                epoch: row.try_get("epoch")?,
                sends: row.try_get("sends")?,
            };
            fences.insert(RunId(id.cast_unsigned()), fence);
        }
    }
    Ok((change, fences))
}

/// Whether the tables are of this program's version.
///
/// # Errors
/// When they are not: what to do.
pub(super) async fn are_ours(conn: &mut PgConnection) -> std::result::Result<(), Failure> {
    let found: i64 = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'version'")
        .fetch_one(conn)
        .await?;
    must_be_ours(found).map_err(Failure::Refused)
}

/// "stpr" before the number of a run: who writes intents of its PUTs for its coordinator shares this advisory lock, and
/// who halts it holds it. A row's lock would not do: those who share it overtake who waits for it.
const HALTS: i64 = 0x7374_7072_0000_0000;

/// Behind this no PUT of the run has its intent written in a transaction that began before.
pub(super) async fn halts(conn: &mut PgConnection, run: RunId) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(HALTS + number(run))
        .execute(conn)
        .await
        .map(drop)
}

/// For how long the machine runs, also while it is suspended: the server counts that, too.
pub(super) fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// How long the intent of a PUT may take to be committed, from the moment at which the right to send was seen, until it
/// is seen anew.
pub(super) const MARGIN: Duration = Duration::from_secs(10);

/// How many seconds the right to work on runs outlives the connection at most: as long as a PUT may be out whose intent
/// was the last thing committed.
///
/// With the connection goes the lock of a run, though its process may live and its PUTs be out: the server was started
/// anew, or an operator or a network has cut it off. To the server all of that looks as a death does, so it makes no
/// difference: who takes a run's sites waits for the lease, unless its process has said that it ends.
pub(super) fn lease(policy: &Policy) -> f64 {
    (policy.timeout + MARGIN).as_secs_f64()
}

/// The process is there yet.
pub(super) async fn renew(conn: &mut PgConnection, process: i64, lease: f64) -> Result<()> {
    sqlx::query(
        "UPDATE processes SET at = now(), \
         until = greatest(until, clock_timestamp() + make_interval(secs => $2)) WHERE id = $1",
    )
    .bind(process)
    .bind(lease)
    .execute(conn)
    .await
    .map(drop)
}

/// It ends, and so nothing of it is out.
pub(super) async fn ends(conn: &mut PgConnection, process: i64) -> Result<()> {
    sqlx::query("UPDATE processes SET until = now() WHERE id = $1")
        .bind(process)
        .execute(conn)
        .await
        .map(drop)
}

/// In how many seconds the run is free, where another process than `own` has its lease yet.
pub(super) async fn free_in(conn: &mut PgConnection, own: i64, run: RunId) -> Result<Option<u64>> {
    // A worker may have a PUT out as well as who coordinates the run.
    let seconds: Option<Option<i64>> = sqlx::query_scalar(
        "SELECT ceil(extract(epoch FROM max(p.until) - clock_timestamp()))::bigint FROM runs r \
         JOIN processes p ON p.id = r.works_process OR p.id = ANY (SELECT c.works_process FROM chunks c \
         WHERE c.run = r.id AND NOT c.done) \
         WHERE r.id = $1 AND p.id <> $2 AND r.ended_wall IS NULL AND p.until > clock_timestamp()",
    )
    .bind(number(run))
    .bind(own)
    .fetch_optional(conn)
    .await?;
    Ok(seconds.flatten().map(|seconds| seconds.max(1).cast_unsigned()))
}

/// The runs that a process works on now, or may: each holds the advisory lock of its own, or its lease is not over.
pub(super) async fn live(conn: &mut PgConnection, class: i64) -> Result<HashSet<RunId>> {
    let mut live = locked(conn, class).await?;
    live.extend(leased(conn).await?.into_keys());
    Ok(live)
}

/// In how many seconds the runs are free whose process has its lease.
async fn leased(conn: &mut PgConnection) -> Result<BTreeMap<RunId, u64>> {
    let rows = sqlx::query(
        "SELECT r.id AS run, ceil(extract(epoch FROM max(p.until) - clock_timestamp()))::bigint AS seconds \
         FROM runs r JOIN processes p ON p.id = r.works_process OR p.id = ANY (SELECT c.works_process FROM chunks c \
         WHERE c.run = r.id AND NOT c.done) \
         WHERE r.ended_wall IS NULL AND p.until > clock_timestamp() GROUP BY r.id",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let seconds: i64 = row.try_get("seconds")?;
            Ok((super::columns::run(row, "run")?, seconds.max(1).cast_unsigned()))
        })
        .collect()
}

/// The runs whose process has its connection.
pub(super) async fn locked(conn: &mut PgConnection, class: i64) -> Result<HashSet<RunId>> {
    let rows = sqlx::query(
        "SELECT objid::bigint AS run FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 \
         AND classid = $1::bigint::oid \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(class)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| super::columns::run(row, "run")).collect()
}

/// Which of the open runs a process works on, as it was before their rows were read: what ended in between is seen to
/// have ended.
#[derive(Debug, Default)]
pub(super) struct Lives {
    live: BTreeMap<RunId, bool>,
    /// Of those whose process has no connection: in how many seconds they are free.
    free_in: BTreeMap<RunId, u64>,
}

impl Lives {
    pub(super) async fn read(conn: &mut PgConnection, class: i64) -> Result<Self> {
        // The locks behind the rows: what begins in between is not asked about, and taken for live.
        let rows = sqlx::query("SELECT id FROM runs WHERE ended_wall IS NULL")
            .fetch_all(&mut *conn)
            .await?;
        let open: Vec<RunId> = rows
            .iter()
            .map(|row| super::columns::run(row, "id"))
            .collect::<Result<_>>()?;
        let locked = locked(conn, class).await?;
        let mut free_in = leased(conn).await?;
        free_in.retain(|run, _| !locked.contains(run));
        let is_live = |run: &RunId| locked.contains(run) || free_in.contains_key(run);
        let live = open.into_iter().map(|run| (run, is_live(&run))).collect();
        Ok(Self { live, free_in })
    }

    /// As if nobody worked on `runs`.
    pub(super) fn without<'a>(mut self, runs: impl IntoIterator<Item = &'a RunId>) -> Self {
        self.live.extend(runs.into_iter().map(|run| (*run, false)));
        self
    }

    /// One that was not asked for has begun since.
    pub(super) fn is_live(&self, run: RunId) -> bool {
        self.live.get(&run).copied().unwrap_or(true)
    }

    /// In how many seconds it is free, where its process was not heard of last.
    pub(super) fn free_in(&self, run: RunId) -> Option<u64> {
        self.free_in.get(&run).copied()
    }
}

/// A key of the advisory lock of who works on a run: the two numbers that `PostgreSQL` takes. Runs are counted one by
/// one, and are never so many that the upper half counts.
pub(super) fn work_lock(class: i64, run: RunId) -> (i32, i32) {
    let bits = |number: i64| u32::try_from(number).unwrap_or(u32::MAX).cast_signed();
    (bits(class), bits(number(run)))
}

/// Takes the right to work on a run, for as long as this connection lasts; false where another has it.
pub(super) async fn try_work(conn: &mut PgConnection, class: i64, run: RunId) -> Result<bool> {
    let (class, run) = work_lock(class, run);
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
        .bind(class)
        .bind(run)
        .fetch_one(conn)
        .await
}

/// Gives it up: `process` does nothing of the run any more.
pub(super) async fn leave_work(conn: &mut PgConnection, class: i64, process: i64, run: RunId) -> Result<()> {
    sqlx::query("UPDATE runs SET works_process = NULL WHERE id = $1 AND works_process = $2")
        .bind(number(run))
        .bind(process)
        .execute(&mut *conn)
        .await?;
    let locks = work_lock(class, run);
    // To give up what is not held would be a warning.
    sqlx::query(
        "SELECT pg_advisory_unlock($1, $2) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() \
         AND objsubid = 2 AND classid = $3::bigint::oid AND objid = $4::bigint::oid",
    )
        .bind(locks.0)
        .bind(locks.1)
        .bind(class)
        .bind(number(run))
        .execute(conn)
        .await
        .map(drop)
}
