use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::fault::fault;
use super::schema::MIGRATIONS;
use crate::store::StoreError;

/// What can be told of a store without opening it for work: nothing is made, locked or upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// Its size in bytes, without what waits in its log.
    pub bytes: u64,
    /// The version of its tables.
    pub version: u32,
}

/// The version of tables that this program works with: an older store is upgraded when it is opened for work.
pub fn newest_version() -> usize {
    MIGRATIONS.len()
}

/// Looks at the store at `path`; none if there is none.
///
/// # Errors
/// When it cannot be read, or is no database.
pub fn about(path: &Path) -> Result<Option<About>, StoreError> {
    let Ok(known) = path.metadata() else {
        return Ok(None);
    };
    let read = || {
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        conn.query_row("PRAGMA user_version", [], |row| row.get(0))
    };
    let version = read().map_err(|error| fault(path, &error))?;
    Ok(Some(About {
        bytes: known.len(),
        version,
    }))
}
