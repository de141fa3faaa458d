use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode, InterruptHandle, OpenFlags, Row};
use tokio::sync::oneshot;

use super::collect::{Collector, ValueRefusal};
use super::columns::Columns;
use super::words;
use crate::config::distrusted;
use crate::inventory::row::Answer;
use crate::text::CleanText;

/// Ends the reading when nobody waits for it any more, as at the time limit.
struct Stop {
    flag: Arc<AtomicBool>,
    handle: Option<InterruptHandle>,
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Relaxed);
        if let Some(handle) = &self.handle {
            handle.interrupt();
        }
    }
}

/// One query, of a file that is opened for reading alone, on a thread where it may wait.
pub(super) async fn read(
    path: &Path,
    query: &str,
    timeout: Duration,
    collector: Collector,
) -> Result<Answer, String> {
    let flag = Arc::new(AtomicBool::new(false));
    let mut stop = Stop {
        flag: Arc::clone(&flag),
        handle: None,
    };
    let (sender, receiver) = oneshot::channel();
    let (path, query) = (path.to_owned(), query.to_owned());
    let reading = tokio::task::spawn_blocking(move || {
        let connection = open(&path, timeout)?;
        // Nobody waits: then the flag is set as well.
        let _ = sender.send(connection.get_interrupt_handle());
        answer(&connection, &query, timeout, collector, &flag)
    });
    stop.handle = receiver.await.ok();
    reading
        .await
        .unwrap_or_else(|_| Err("reading the file broke off".to_owned()))
}

fn open(path: &Path, timeout: Duration) -> Result<Connection, String> {
    // SQLite reads the log beside the file that a link leads to.
    let path = &std::fs::canonicalize(path).map_err(|error| not_there(&error))?;
    let before = trusted(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| refusal(&error, timeout))?;
    if trusted(path)? != before {
        return Err("the file was replaced while it was opened: try again".to_owned());
    }
    let prepared = connection
        .busy_timeout(timeout)
        .and_then(|()| connection.pragma_update(None, "query_only", true));
    prepared.map_err(|error| refusal(&error, timeout))?;
    Ok(connection)
}

fn not_there(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "the file does not exist: look at the url".to_owned(),
        kind => format!("the file cannot be opened ({kind})"),
    }
}

/// Which file it is (its device and number), if only its owner can change what SQLite reads of it: whoever can says
/// where the master key goes. It is looked at by its path, not opened: to close it would take away SQLite's locks of it
/// (sqlite.org/howtocorrupt.html, 2.2).
fn trusted(path: &Path) -> Result<(u64, u64), String> {
    let about = std::fs::metadata(path).map_err(|error| not_there(&error))?;
    // Opening a pipe would wait for its other end for ever.
    if !about.is_file() {
        return Err("what the url names is no file".to_owned());
    }
    let distrust = |about: &Metadata, what: &str| match distrusted(about) {
        Some(complaint) => Err(format!("{what}: {complaint} FILE")),
        None => Ok(()),
    };
    distrust(&about, "the file that the url names")?;
    // Whoever can write there can put another file, or another log, in its place.
    if let Some(Ok(folder)) = path.parent().map(std::fs::metadata) {
        distrust(&folder, "the folder of the file that the url names")?;
    }
    // What a writer has not brought into the file yet is read as a part of it.
    for end in ["-wal", "-shm", "-journal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(end);
        if let Ok(about) = std::fs::metadata(beside) {
            distrust(
                &about,
                &format!("the file with {end} beside the one that the url names"),
            )?;
        }
    }
    Ok((about.dev(), about.ino()))
}

fn answer(
    connection: &Connection,
    query: &str,
    timeout: Duration,
    mut collector: Collector,
    stop: &AtomicBool,
) -> Result<Answer, String> {
    let mut statement = connection.prepare(query).map_err(|error| match error {
        // Its text quotes the query, which is no secret, and no value.
        Error::SqliteFailure(code, Some(text)) if code.code == ErrorCode::Unknown => {
            format!("{}: look at the query", CleanText::note(&text))
        }
        Error::SqlInputError { msg, offset, .. } if offset >= 0 => {
            format!(
                "{} (at byte {} of the query): look at the query",
                CleanText::note(&msg),
                offset + 1
            )
        }
        Error::SqlInputError { msg, .. } => format!("{}: look at the query", CleanText::note(&msg)),
        error => refusal(&error, timeout),
    })?;
    if !statement.readonly() {
        return Err(words::WRITES.to_owned());
    }
    if statement.parameter_count() > 0 {
        return Err(words::PARAMETERS.to_owned());
    }
    let columns = Columns::parse(statement.column_names().into_iter())?;
    let mut rows = statement.query([]).map_err(|error| refusal(&error, timeout))?;
    while let Some(row) = rows.next().map_err(|error| refusal(&error, timeout))? {
        // An interrupt that came between two steps is lost.
        if stop.load(Ordering::Relaxed) {
            return Err(words::too_long(timeout));
        }
        collector.add(&columns, |number| value(row, number))?;
    }
    Ok(collector.finish(columns))
}

/// A value as text: here each value has a type, not each column.
fn value(row: &Row<'_>, number: usize) -> Result<Option<String>, ValueRefusal> {
    let raw = row
        .get_ref(number)
        .map_err(|_| ValueRefusal::Value("is missing"))?;
    match raw {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number.to_string())),
        ValueRef::Real(number) => Ok(Some(number.to_string())),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes)
            .map(|text| Some(text.to_owned()))
            .map_err(|_| ValueRefusal::Value("is not in UTF-8")),
        ValueRef::Blob(_) => Err(ValueRefusal::Value("is of the type BLOB: cast it to text")),
    }
}

/// What went wrong, in words. SQLite's own text may quote a value.
fn refusal(error: &Error, timeout: Duration) -> String {
    let code = match error {
        Error::MultipleStatement => return words::TWO_STATEMENTS.to_owned(),
        Error::SqliteFailure(failure, _) => failure,
        Error::SqlInputError { error, .. } => error,
        _ => return "the answer could not be read: try the query by hand".to_owned(),
    };
    match code.code {
        ErrorCode::OperationInterrupted => words::too_long(timeout),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            format!("the file stays locked by another program for {timeout:?}: try again later")
        }
        ErrorCode::ReadOnly => words::WRITES.to_owned(),
        ErrorCode::NotADatabase => "the file is no database of SQLite: look at the url".to_owned(),
        ErrorCode::DatabaseCorrupt => "the file is damaged: look at it with PRAGMA integrity_check".to_owned(),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            "the file cannot be opened: may it be read, and, where it is in WAL mode, may its folder be written?".to_owned()
        }
        _ => words::untold(&code.extended_code.to_string()),
    }
}
