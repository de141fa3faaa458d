use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::state::SiteState;
use crate::store::RunId;
use crate::store::moments::boot_id;
pub(super) use crate::store::moments::{Kept, at, limit, now, ns, number, wall};

/// A value as JSON text.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

/// The value whose JSON text is in a column.
pub(super) fn value<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}

/// As [`value`], of a column that may be empty.
pub(super) fn maybe<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(_) => value(row, column).map(Some),
        None => Ok(None),
    }
}

/// The state that is kept of a site. One that a newer version wrote in other words is no reason to do nothing: the
/// site is looked at anew.
pub(super) fn state(text: &str) -> Option<SiteState> {
    let read = serde_json::from_str(text).inspect_err(
        |error| tracing::warn!(%error, "what is known of a site cannot be read: it is looked at anew"),
    );
    let mut state: SiteState = read.ok()?;
    state.tighten();
    Some(state)
}

/// The key in a column.
pub(super) fn key(row: &Row<'_>, column: &str) -> Result<PublishableKey> {
    let text = row.get_ref(column)?.as_str()?;
    PublishableKey::parse(text).map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}

/// What is in the columns `<name>_ns`, `<name>_wall`, `<name>_boot`.
pub(super) fn moment(row: &Row<'_>, name: &str) -> Result<Option<Kept>> {
    let column = |part: &str| format!("{name}_{part}");
    let Some(ns) = row.get::<_, Option<i64>>(&*column("ns"))? else {
        return Ok(None);
    };
    let moment = Moment::from((ns.cast_unsigned(), row.get(&*column("wall"))?));
    let boot = row.get(&*column("boot"))?;
    Ok(Some(Kept { moment, boot }))
}

/// The run in a column.
pub(super) fn run(row: &Row<'_>, column: &str) -> Result<RunId> {
    row.get(column).map(run_of)
}

/// The run of this number.
pub(super) fn run_of(number: i64) -> RunId {
    RunId(number.cast_unsigned())
}

/// The run in a column, if there is one.
pub(super) fn maybe_run(row: &Row<'_>, column: &str) -> Result<Option<RunId>> {
    let number: Option<i64> = row.get(column)?;
    Ok(number.map(run_of))
}

/// The wall clock's time in a column.
pub(super) fn time(row: &Row<'_>, column: &str) -> Result<Timestamp> {
    row.get(column).map(at)
}

/// The number under which the store knows this start of the machine.
pub(super) fn this_boot(conn: &Connection) -> Result<i64> {
    let boot = boot_id();
    let known = conn
        .query_row("SELECT id FROM boots WHERE boot = ?1", [&boot], |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    conn.execute(
        "INSERT INTO boots (boot) VALUES (?1) ON CONFLICT DO NOTHING",
        [&boot],
    )?;
    conn.query_row("SELECT id FROM boots WHERE boot = ?1", [&boot], |row| row.get(0))
}
