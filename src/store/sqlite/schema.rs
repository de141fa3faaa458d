use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, Result, Transaction, TransactionBehavior};

use super::fault::{damaged, fault};
use super::place::{Place, create, failed, look_at};
use crate::store::StoreError;

/// What makes a file of each version one of the next. Never change one that was released: add another.
pub(super) const MIGRATIONS: &[&str] = &[FIRST, STANDINGS, KNOWN_TO_BE_BAD, LISTS];

/// "stpr": whose database it is.
const APPLICATION: i32 = 0x7374_7072;
/// How long another process may write.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// A file up to this size is checked through at each start.
const CHEAP_TO_CHECK: u64 = 16 * 1024 * 1024;
/// Statements that are kept prepared.
const STATEMENTS: usize = 64;

/// Words, keys and states are JSON text as serde writes it. A moment is three columns: `_ns` by the clock that
/// nobody sets, `_wall` in milliseconds, `_boot` the machine's start that `_ns` counts from.
///
/// `run_sites.open`: something of it is still to come. `run_sites.left`: what PUSH becomes if the process that
/// works on it dies now. `run_sites.open_put`: a PUT was about to be sent, and nothing says what came of it.
const FIRST: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE boots (
    id INTEGER PRIMARY KEY,
    boot TEXT NOT NULL UNIQUE
);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    parent INTEGER,
    key TEXT NOT NULL,
    allow TEXT NOT NULL,
    began_by TEXT NOT NULL,
    began_ns INTEGER NOT NULL, began_wall INTEGER NOT NULL, began_boot INTEGER NOT NULL REFERENCES boots (id),
    sent_ns INTEGER, sent_wall INTEGER, sent_boot INTEGER REFERENCES boots (id),
    ended_ns INTEGER, ended_wall INTEGER, ended_boot INTEGER REFERENCES boots (id),
    closed INTEGER NOT NULL DEFAULT 0,
    counts TEXT
);
CREATE INDEX runs_open ON runs (id) WHERE ended_wall IS NULL;
CREATE TABLE sites (
    id INTEGER PRIMARY KEY,
    url TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL DEFAULT 0,
    run INTEGER,
    state TEXT,
    boot INTEGER REFERENCES boots (id)
);
CREATE TABLE run_sites (
    run INTEGER NOT NULL REFERENCES runs (id),
    site INTEGER NOT NULL REFERENCES sites (id),
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    part_of TEXT,
    left_out TEXT,
    key TEXT NOT NULL,
    serves TEXT NOT NULL,
    push TEXT NOT NULL,
    verify TEXT NOT NULL,
    http INTEGER,
    puts INTEGER NOT NULL DEFAULT 0,
    before TEXT NOT NULL,
    now TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    at_ns INTEGER, at_wall INTEGER, at_boot INTEGER REFERENCES boots (id),
    open INTEGER NOT NULL,
    left TEXT,
    open_put INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, site)
) WITHOUT ROWID;
CREATE INDEX run_sites_open ON run_sites (site) WHERE open = 1;
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    run INTEGER REFERENCES runs (id),
    site INTEGER NOT NULL REFERENCES sites (id),
    request TEXT NOT NULL,
    number INTEGER NOT NULL,
    key TEXT,
    at INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    ms INTEGER,
    http INTEGER,
    cause TEXT,
    note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX attempts_of_site ON attempts (site);
CREATE INDEX attempts_of_run ON attempts (run, site);
CREATE INDEX attempts_of_no_run ON attempts (at) WHERE run IS NULL;
CREATE TABLE seen (
    id INTEGER PRIMARY KEY,
    site INTEGER NOT NULL REFERENCES sites (id),
    served TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    pushed_by INTEGER
);
CREATE INDEX seen_at_site ON seen (site);
CREATE INDEX seen_until ON seen (last);
";

/// What Stripe said of keys. `at` is the wall clock in milliseconds.
const STANDINGS: &str = "
CREATE TABLE standings (
    key TEXT PRIMARY KEY,
    standing TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
";

/// What the operator says of sites, and which notices of the watch are told and not over. A site's state is what
/// sites say: these stand beside it.
const KNOWN_TO_BE_BAD: &str = "
CREATE TABLE acknowledgements (
    url TEXT PRIMARY KEY,
    acknowledgement TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE notices (
    about TEXT NOT NULL,
    finding TEXT NOT NULL,
    told INTEGER NOT NULL,
    PRIMARY KEY (about, finding)
) WITHOUT ROWID;
";

/// The sites that each list (by the path of its config) had at its last run: a JSON list of addresses.
const LISTS: &str = "
CREATE TABLE lists (
    name TEXT PRIMARY KEY,
    sites TEXT NOT NULL
) WITHOUT ROWID;
";

/// Opens the store for writing: checked, and upgraded where it is older.
pub(super) fn open(place: &Place) -> std::result::Result<Connection, StoreError> {
    let mut conn = connect(place)?;
    check(place, &conn)?;
    let sql = |error: Error| fault(&place.file, &error);
    // What is refused is left as it is, and its log too.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(sql)?;
    upgrade(place, &mut conn)?;
    write_ahead(place, &conn)?;
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;")
        .map_err(sql)?;
    Ok(conn)
}

/// A connection for reading.
pub(super) fn reader(place: &Place) -> std::result::Result<Connection, StoreError> {
    let conn = connect(place)?;
    conn.execute_batch("PRAGMA query_only = ON")
        .map_err(|error| fault(&place.file, &error))?;
    Ok(conn)
}

fn connect(place: &Place) -> std::result::Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let open = || {
        let conn = Connection::open_with_flags(&place.file, flags)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        conn.busy_timeout(BUSY_LIMIT)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        conn.execute_batch("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;")?;
        Ok(conn)
    };
    open().map_err(|error: Error| fault(&place.file, &error))
}

/// Refuses what is no store, or one that this version does not know.
pub(super) fn check(place: &Place, conn: &Connection) -> std::result::Result<(), StoreError> {
    let path = &place.file;
    let sql = |error: Error| fault(path, &error);
    // As of one moment: another process may be making it just now.
    let conn = conn.unchecked_transaction().map_err(sql)?;
    let version = version(&conn).map_err(sql)?;
    let application: i32 = pragma(&conn, "application_id").map_err(sql)?;
    if application != APPLICATION && !is_empty(&conn).map_err(sql)? {
        return Err(StoreError::Failed(format!(
            "{} is the database of another program: choose another place for the store",
            path.display()
        )));
    }
    if version > MIGRATIONS.len() {
        return Err(StoreError::Failed(format!(
            "the store {} was written by a newer version of stripe-propagate (its format is {version}, and this one \
             knows {}): use that version",
            path.display(),
            MIGRATIONS.len()
        )));
    }
    let size = look_at(path)?.map_or(0, |known| known.len());
    if size <= CHEAP_TO_CHECK {
        let found: String = pragma(&conn, "quick_check(1)").map_err(sql)?;
        if found != "ok" {
            return Err(damaged(path, &found));
        }
    }
    Ok(())
}

pub(super) fn pragma<T: rusqlite::types::FromSql>(conn: &Connection, name: &str) -> Result<T> {
    conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

pub(super) fn version(conn: &Connection) -> Result<usize> {
    pragma::<u32>(conn, "user_version").map(|version| version as usize)
}

fn is_empty(conn: &Connection) -> Result<bool> {
    conn.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Brings an older file up to now; a copy of it is made before.
fn upgrade(place: &Place, conn: &mut Connection) -> std::result::Result<(), StoreError> {
    let sql = |error: Error| fault(&place.file, &error);
    if version(conn).map_err(sql)? == MIGRATIONS.len() {
        return Ok(());
    }
    let change = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sql)?;
    // Another process may have done it in the meantime.
    let old = version(&change).map_err(sql)?;
    if old < MIGRATIONS.len() && !is_empty(&change).map_err(sql)? {
        let copy = copy(place, old)?;
        tracing::info!(copy = %copy.display(), "the store is of an older format: it is copied, then upgraded");
    }
    migrate(&change, old).map_err(sql)?;
    change.commit().map_err(sql)
}

fn migrate(change: &Transaction<'_>, old: usize) -> Result<()> {
    for step in &MIGRATIONS[old.min(MIGRATIONS.len())..] {
        change.execute_batch(step)?;
    }
    change.pragma_update(None, "application_id", APPLICATION)?;
    change.pragma_update(
        None,
        "user_version",
        u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX),
    )
}

/// Copies the file as it is, to a name that is free.
fn copy(place: &Place, version: usize) -> std::result::Result<PathBuf, StoreError> {
    let endings = std::iter::once(String::new()).chain((2..).map(|number| format!(".{number}")));
    let mut paths = endings.map(|ending| place.beside(&format!(".v{version}.bak{ending}")));
    let (path, file) = loop {
        let Some(path) = paths.next() else {
            return Err(StoreError::Failed(
                "no name is free for a copy of the store".to_owned(),
            ));
        };
        match create(&path) {
            Ok(file) => break (path, file),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("create", &path, &error)),
        }
    };
    let sync = || file.sync_all().map_err(|error| failed("write", &path, &error));
    let copied = vacuum_into(place, &path).and_then(|()| sync());
    if copied.is_err() {
        // Half a copy is none.
        let _removed = std::fs::remove_file(&path);
    }
    copied.map(|()| path)
}

/// On a connection of its own, since the one that upgrades is in the middle of it.
fn vacuum_into(place: &Place, path: &Path) -> std::result::Result<(), StoreError> {
    let name = path.to_str().ok_or_else(|| {
        StoreError::Failed(format!(
            "{} is no text: give the store another name",
            path.display()
        ))
    })?;
    let copied = connect(place)?
        .execute("VACUUM INTO ?1", [name])
        .map_err(|error| fault(path, &error));
    copied.map(drop)
}

/// Readers and the writer must not hold each other up.
fn write_ahead(place: &Place, conn: &Connection) -> std::result::Result<(), StoreError> {
    let begin = Instant::now();
    loop {
        match pragma::<String>(conn, "journal_mode = WAL") {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(StoreError::Failed(format!(
                    "the store {} cannot be shared between processes there (journal mode {mode}, not wal): network \
                     file systems cannot do that; choose a place on a local disk",
                    place.file.display()
                )));
            }
            // To change the mode SQLite does not wait for others by itself.
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begin.elapsed() < BUSY_LIMIT =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(fault(&place.file, &error)),
        }
    }
}
