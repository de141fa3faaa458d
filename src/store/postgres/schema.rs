use sqlx::{Connection, Executor, PgConnection, Row};

use super::columns::Result;
use super::fault::{STORE, fault};
use crate::store::StoreError;

/// What makes tables of each version those of the next. Never change one that was released: add another.
pub(super) const MIGRATIONS: &[&str] = &[FIRST, WORKERS, WHO_WORKS];

/// "stprstor": who changes the tables holds this advisory lock, who writes shares it.
pub(super) const TABLES: i64 = 0x7374_7072_7374_6f72;
/// "stprhold": who takes sites for a run holds this advisory lock.
pub(super) const HOLDS: i64 = 0x7374_7072_686f_6c64;
/// "stprprun": who drops what is old holds this advisory lock.
pub(super) const PRUNES: i64 = 0x7374_7072_7072_756e;

/// As `store/sqlite/schema.rs` has them: words, keys and states are JSON text as serde writes it, a moment is three
/// columns. What is of this one alone:
///
/// `processes`: who writes. `written` rises with each transaction of a process, `batch` is the last one of its writer:
/// after a connection was lost, it tells whether that was committed. By `until`, by the server's clock, no PUT of it is
/// out any more, unless it was heard of again.
///
/// `runs.epoch` rises each time a process takes the run up, or another takes its sites from it: what a process writes
/// of a run is worth something while the epoch is its own. `runs.sends`: it has the right to send to its sites, as long
/// as a process works on it: `works_process`, none where that has left it.
///
/// No foreign keys: each would be asked for at each row of a run, and only this program writes here.
const FIRST: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO meta (name, value) VALUES ('version', 0), ('last_run', 0);
CREATE TABLE boots (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    boot TEXT NOT NULL UNIQUE
);
CREATE TABLE processes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    written BIGINT NOT NULL DEFAULT 0,
    batch BIGINT NOT NULL DEFAULT 0,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    until TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
CREATE TABLE runs (
    id BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,
    parent BIGINT,
    key TEXT NOT NULL,
    allow TEXT NOT NULL,
    began_by TEXT NOT NULL,
    began_ns BIGINT NOT NULL, began_wall BIGINT NOT NULL, began_boot BIGINT NOT NULL,
    sent_ns BIGINT, sent_wall BIGINT, sent_boot BIGINT,
    ended_ns BIGINT, ended_wall BIGINT, ended_boot BIGINT,
    closed BOOLEAN NOT NULL DEFAULT false,
    counts TEXT,
    epoch BIGINT NOT NULL DEFAULT 0,
    sends BOOLEAN NOT NULL DEFAULT false,
    works_by TEXT NOT NULL,
    works_since BIGINT NOT NULL,
    works_process BIGINT
);
CREATE INDEX runs_open ON runs (id) WHERE ended_wall IS NULL;
CREATE INDEX runs_sending ON runs (id) WHERE sends;
CREATE TABLE sites (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url TEXT NOT NULL UNIQUE,
    version BIGINT NOT NULL DEFAULT 0,
    run BIGINT,
    state TEXT,
    boot BIGINT
) WITH (fillfactor = 70);
CREATE TABLE run_sites (
    run BIGINT NOT NULL,
    site BIGINT NOT NULL,
    position BIGINT NOT NULL,
    name TEXT NOT NULL,
    part_of TEXT,
    left_out TEXT,
    key TEXT NOT NULL,
    serves TEXT NOT NULL,
    push TEXT NOT NULL,
    verify TEXT NOT NULL,
    http BIGINT,
    puts BIGINT NOT NULL DEFAULT 0,
    before TEXT NOT NULL,
    now TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    at_ns BIGINT, at_wall BIGINT, at_boot BIGINT,
    open BOOLEAN NOT NULL,
    \"left\" TEXT,
    open_put BOOLEAN NOT NULL DEFAULT false,
    PRIMARY KEY (run, site)
) WITH (fillfactor = 70);
CREATE INDEX run_sites_open ON run_sites (site) WHERE open;
CREATE INDEX run_sites_left ON run_sites (run) WHERE open;
CREATE INDEX run_sites_of_site ON run_sites (site, run);
CREATE TABLE attempts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run BIGINT,
    site BIGINT NOT NULL,
    request TEXT NOT NULL,
    number BIGINT NOT NULL,
    key TEXT,
    at BIGINT NOT NULL,
    ended BOOLEAN NOT NULL,
    ms BIGINT,
    http BIGINT,
    cause TEXT,
    note TEXT NOT NULL DEFAULT ''
) WITH (fillfactor = 80);
CREATE INDEX attempts_of_site ON attempts (site, id);
CREATE INDEX attempts_of_run ON attempts (run, site);
CREATE INDEX attempts_of_no_run ON attempts (at) WHERE run IS NULL;
CREATE TABLE seen (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site BIGINT NOT NULL,
    served TEXT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    pushed_by BIGINT
);
CREATE INDEX seen_at_site ON seen (site, id);
CREATE INDEX seen_until ON seen (last);
CREATE TABLE standings (
    key TEXT PRIMARY KEY,
    standing TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE TABLE acknowledgements (
    url TEXT PRIMARY KEY,
    acknowledgement TEXT NOT NULL
);
CREATE TABLE notices (
    about TEXT NOT NULL,
    finding TEXT NOT NULL,
    told BIGINT NOT NULL,
    PRIMARY KEY (about, finding)
);
CREATE TABLE lists (
    name TEXT PRIMARY KEY,
    sites TEXT NOT NULL
);
";

/// Runs whose calls workers make.
///
/// `runs.held`: no PUT of it may go; its coordinator says so. `chunks`: what a worker has at a time, or waits for one.
/// `epoch` rises with each taking, `run_epoch` is that of the run when it was handed over, and `done` says that no worker
/// has anything of it any more; `told`, that its coordinator knows that. `chunk_news`: what workers have done, until
/// their coordinator has heard of it; without an outcome it is a PUT that is about to be sent.
const WORKERS: &str = "
ALTER TABLE runs ADD COLUMN held BOOLEAN NOT NULL DEFAULT false;
CREATE TABLE chunks (
    run BIGINT NOT NULL,
    chunk BIGINT NOT NULL,
    wave BIGINT NOT NULL,
    puts BOOLEAN NOT NULL,
    run_epoch BIGINT NOT NULL,
    epoch BIGINT NOT NULL DEFAULT 0,
    works_process BIGINT,
    done BOOLEAN NOT NULL DEFAULT false,
    told BOOLEAN NOT NULL DEFAULT false,
    sites BIGINT[] NOT NULL,
    PRIMARY KEY (run, chunk)
);
CREATE INDEX chunks_open ON chunks (run) WHERE NOT done;
CREATE INDEX chunks_untold ON chunks (run) WHERE NOT told;
CREATE TABLE chunk_news (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run BIGINT NOT NULL,
    site BIGINT NOT NULL,
    outcome TEXT
);
CREATE INDEX chunk_news_of_run ON chunk_news (run);
";

/// Which worker has what of which backend.
///
/// `processes.host`: the machine, for who reads; `takes_work`: whether it is a worker. `chunks.backend`: no two processes
/// work on chunks of one backend at once. `chunk_news.process`: who has done it.
const WHO_WORKS: &str = "
ALTER TABLE processes ADD COLUMN host TEXT NOT NULL DEFAULT '', ADD COLUMN takes_work BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE chunks ADD COLUMN backend TEXT;
ALTER TABLE chunk_news ADD COLUMN process BIGINT;
CREATE INDEX chunks_of_process ON chunks (works_process) WHERE NOT done;
CREATE INDEX chunks_of_backend ON chunks (backend) WHERE NOT done;
";

/// The version of tables that this program works with.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Makes the tables, or upgrades them, where that is to be done; refuses those of a newer version.
///
/// # Errors
/// What is in the way, and what to do.
pub(super) async fn prepare(conn: &mut PgConnection) -> std::result::Result<(), StoreError> {
    let found = version(conn).await.map_err(|error| fault(&error))?;
    let found = match found {
        Some(found) if found >= newest() => Some(found),
        _ => upgrade(conn).await.map_err(|error| fault(&error))?,
    };
    must_be_ours(found.unwrap_or_default())
}

/// Refuses tables of another version than this program's.
pub(super) fn must_be_ours(version: i64) -> std::result::Result<(), StoreError> {
    if version == newest() {
        return Ok(());
    }
    Err(StoreError::Failed(format!(
        "{STORE} was upgraded by a newer version of stripe-propagate (its format is {version}, and this one knows {}): \
         use that version on every machine",
        newest()
    )))
}

/// The version of the tables; none where there are none.
async fn version(conn: &mut PgConnection) -> Result<Option<i64>> {
    let is_there = conn.fetch_one("SELECT to_regclass('stripe_propagate.meta') IS NOT NULL");
    if !is_there.await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let found = conn.fetch_optional("SELECT value FROM meta WHERE name = 'version'");
    found.await?.map(|row| row.try_get(0)).transpose()
}

/// The version of the tables, and their size in bytes; none where there are none.
pub(super) async fn about(conn: &mut PgConnection) -> Result<Option<(i64, i64)>> {
    let Some(version) = version(conn).await? else {
        return Ok(None);
    };
    let size = conn.fetch_one(
        "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class \
         WHERE relkind = 'r' AND relnamespace = to_regnamespace('stripe_propagate')",
    );
    Ok(Some((version, size.await?.try_get(0)?)))
}

/// In one transaction, while nobody else writes. Returns the version that there is behind it.
async fn upgrade(conn: &mut PgConnection) -> Result<Option<i64>> {
    let mut change = conn.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(TABLES)
        .execute(&mut *change)
        .await?;
    // Without this right it may have been made for us.
    let has_schema = change.fetch_one("SELECT to_regnamespace('stripe_propagate') IS NOT NULL");
    if !has_schema.await?.try_get::<bool, _>(0)? {
        change.execute("CREATE SCHEMA stripe_propagate").await?;
    }
    // Another process may have done it in the meantime.
    let old = version(&mut change).await?.unwrap_or_default();
    if old >= newest() {
        return Ok(Some(old));
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(old).unwrap_or_default()) {
        sqlx::raw_sql(*step).execute(&mut *change).await?;
    }
    sqlx::query("UPDATE meta SET value = $1 WHERE name = 'version'")
        .bind(newest())
        .execute(&mut *change)
        .await?;
    change.commit().await?;
    if old > 0 {
        tracing::info!(
            old,
            "the store in PostgreSQL was of an older format, and was upgraded"
        );
    }
    Ok(Some(newest()))
}
