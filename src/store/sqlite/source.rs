use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row, params_from_iter};

use super::fault::{damaged, fault};
use super::lock::{Held, holder_in, is_live, sends, works_on};
use super::place::{Place, look_at};
use super::schema::{MIGRATIONS, check, pragma, reader, version};
use crate::rules::moment::Moment;
use crate::store::tables::{Cells, Table};
use crate::store::{Holder, Operator, RunId, StoreError};

/// A store in a file that is moved elsewhere: it stays as it is, and nobody sends on it meanwhile.
pub(in crate::store) struct Source {
    place: Place,
    conn: Connection,
    /// The right to send, which nobody else has meanwhile.
    _sends: Held,
}

/// Some rows of a table, column by column, and where the next ones begin.
pub(in crate::store) struct Rows {
    pub(in crate::store) cells: Vec<Cells>,
    pub(in crate::store) count: usize,
    last: Option<Vec<Value>>,
}

impl Rows {
    /// As before the first.
    pub(in crate::store) fn none() -> Self {
        Self {
            cells: Vec::new(),
            count: 0,
            last: None,
        }
    }
}

impl Source {
    /// The store at `path`, as it is now.
    ///
    /// # Errors
    /// Where there is none, it is damaged or of another version, or a process works on a run of it.
    pub(in crate::store) fn open(
        path: &Path,
        by: &Operator,
        now: Moment,
    ) -> std::result::Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Failed(format!(
                "there is no store at {}",
                path.display()
            )));
        }
        let place = Place::find(path)?;
        look_at(&place.file)?;
        let conn = reader(&place)?;
        check(&place, &conn)?;
        let sql = |error: Error| fault(&place.file, &error);
        let found = version(&conn).map_err(sql)?;
        if found != MIGRATIONS.len() {
            return Err(StoreError::Failed(format!(
                "the store {} is of an older format ({found}, and this version knows {}): let a command upgrade it first, \
                 `stripe-propagate --store {} history` say",
                place.file.display(),
                MIGRATIONS.len(),
                place.file.display()
            )));
        }
        let intact: String = pragma(&conn, "quick_check(1)").map_err(sql)?;
        if intact != "ok" {
            return Err(damaged(&place.file, &intact));
        }
        let holder = Holder {
            run: None,
            by: by.clone(),
            since: now.wall,
            is_elsewhere: false,
            free_in: None,
        };
        let held = Held::take(sends(&place), &holder)?;
        // From here on it is read as of one moment.
        conn.execute_batch("BEGIN").map_err(sql)?;
        let source = Self {
            place,
            conn,
            _sends: held,
        };
        source.nobody_works()?;
        Ok(source)
    }

    /// What others do with a run that waits for its proofs would be lost.
    fn nobody_works(&self) -> std::result::Result<(), StoreError> {
        let open = || {
            let mut asked = self
                .conn
                .prepare("SELECT id FROM runs WHERE ended_wall IS NULL")?;
            let ids = asked.query_map([], |row| row.get::<_, i64>(0))?;
            ids.collect::<Result<Vec<_>>>()
        };
        let open = open().map_err(|error| fault(&self.place.file, &error))?;
        let mut runs = open.into_iter().map(|id| RunId(id.cast_unsigned()));
        match runs.find(|run| is_live(&self.place, *run)) {
            Some(run) => Err(StoreError::Busy(Box::new(holder_in(&works_on(&self.place, run))))),
            None => Ok(()),
        }
    }

    /// How many rows a table has.
    pub(in crate::store) fn count(&mut self, table: &Table) -> std::result::Result<u64, StoreError> {
        let counted = self
            .conn
            .query_row(&format!("SELECT count(*) FROM {}", table.name), [], |row| {
                row.get::<_, i64>(0)
            });
        counted
            .map(i64::cast_unsigned)
            .map_err(|error| fault(&self.place.file, &error))
    }

    /// At most `limit` rows behind `before`.
    ///
    /// # Errors
    /// Also where a cell has something else in it than was written.
    pub(in crate::store) fn rows(
        &mut self,
        table: &Table,
        before: &Rows,
        limit: usize,
    ) -> std::result::Result<Rows, StoreError> {
        let file = &self.place.file;
        let mut found = Rows {
            cells: table.columns.iter().map(|(_, kind)| Cells::of(*kind)).collect(),
            count: 0,
            last: None,
        };
        let mut read = || {
            let mut asked = self
                .conn
                .prepare_cached(&question(table, before.last.is_some()))?;
            let limit = Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX));
            let bound = before.last.iter().flatten().cloned().chain([limit]);
            let mut rows = asked.query(params_from_iter(bound))?;
            while let Some(row) = rows.next()? {
                if let Err(error) = found.take(table, row) {
                    return Ok(Some(error));
                }
            }
            Ok(None)
        };
        match read().map_err(|error: Error| fault(file, &error))? {
            None => Ok(found),
            Some((column, error)) => Err(StoreError::Failed(format!(
                "the store {}: what stands in {}.{column} cannot be read ({error})",
                file.display(),
                table.name
            ))),
        }
    }

    /// The machine's starts, each with its number.
    pub(in crate::store) fn boots(&mut self) -> std::result::Result<Vec<(i64, String)>, StoreError> {
        let read = || {
            let mut asked = self.conn.prepare("SELECT id, boot FROM boots ORDER BY id")?;
            let rows = asked.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_>>()
        };
        read().map_err(|error| fault(&self.place.file, &error))
    }

    /// The number of the last run, also if that was dropped, and when something old was last dropped.
    pub(in crate::store) fn meta(&mut self) -> std::result::Result<Vec<(String, i64)>, StoreError> {
        let read = || {
            let mut asked = self
                .conn
                .prepare("SELECT name, value FROM meta WHERE name IN ('pruned_at', 'pruned_before')")?;
            let rows = asked.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut found: Vec<(String, i64)> = rows.collect::<Result<_>>()?;
            let last = "SELECT seq FROM sqlite_sequence WHERE name = 'runs'";
            let last = self.conn.query_row(last, [], |row| row.get(0)).optional()?;
            found.push(("last_run".to_owned(), last.unwrap_or_default()));
            Ok(found)
        };
        read().map_err(|error| fault(&self.place.file, &error))
    }
}

/// What rows of a table are asked for with.
fn question(table: &Table, goes_on: bool) -> String {
    let quoted = |name: &str| format!("\"{name}\"");
    let columns: Vec<String> = table.columns.iter().map(|(name, _)| quoted(name)).collect();
    let key: Vec<String> = table.key.iter().map(|name| quoted(name)).collect();
    let key = key.join(", ");
    let behind = if goes_on {
        format!("WHERE ({key}) > ({})", vec!["?"; table.key.len()].join(", "))
    } else {
        String::new()
    };
    format!(
        "SELECT {} FROM {} {behind} ORDER BY {key} LIMIT ?",
        columns.join(", "),
        table.name
    )
}

impl Rows {
    /// One row more; the column that cannot be read, if there is one.
    fn take(&mut self, table: &Table, row: &Row<'_>) -> std::result::Result<(), (&'static str, Error)> {
        let columns = table.columns.iter().zip(&mut self.cells).enumerate();
        for (index, ((name, _), cells)) in columns {
            let taken = match cells {
                Cells::Numbers(all) => row.get(index).map(|value| all.push(value)),
                Cells::Texts(all) => row.get(index).map(|value| all.push(value)),
                Cells::Flags(all) => row.get(index).map(|value| all.push(value)),
            };
            taken.map_err(|error| (*name, error))?;
        }
        let mut last = Vec::with_capacity(table.key.len());
        for name in table.key {
            last.push(row.get(*name).map_err(|error| (*name, error))?);
        }
        self.last = Some(last);
        self.count += 1;
        Ok(())
    }
}
