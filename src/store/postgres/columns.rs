use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{Error, Row};

use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::state::SiteState;
use crate::site::SiteUrl;
use crate::store::RunId;
pub(super) use crate::store::moments::{Kept, at, limit, now, ns, number, wall};
use crate::text::CleanText;

/// What a question to the database comes to.
pub(super) type Result<T> = std::result::Result<T, Error>;

/// A value as JSON text.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Encode(error.into()))
}

fn unread(column: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::ColumnDecode {
        index: column.to_owned(),
        source: error.into(),
    }
}

/// The value whose JSON text is in a column.
pub(super) fn value<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<T> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(|error| unread(column, error))
}

/// As [`value`], of a column that may be empty.
pub(super) fn maybe<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<Option<T>> {
    match row.try_get::<Option<&str>, _>(column)? {
        Some(_) => value(row, column).map(Some),
        None => Ok(None),
    }
}

/// The state that is kept of a site. One that a newer version wrote in other words is no reason to do nothing: the
/// site is looked at anew.
pub(super) fn state(row: &PgRow, column: &str) -> Option<SiteState> {
    maybe(row, column)
        .inspect_err(
            |error| tracing::warn!(%error, "what is known of a site cannot be read: it is looked at anew"),
        )
        .ok()
        .flatten()
}

/// The key in a column.
pub(super) fn key(row: &PgRow, column: &str) -> Result<PublishableKey> {
    let text: &str = row.try_get(column)?;
    PublishableKey::parse(text).map_err(|error| unread(column, error))
}

/// The address in a column.
pub(super) fn url(row: &PgRow, column: &str) -> Result<SiteUrl> {
    let text: &str = row.try_get(column)?;
    SiteUrl::parse(text).map_err(|error| unread(column, error))
}

/// The text in a column, cleaned again: the table may have been written by anybody.
pub(super) fn text(row: &PgRow, column: &str) -> Result<CleanText> {
    row.try_get(column).map(CleanText::note)
}

/// What is in the columns `<name>_ns`, `<name>_wall`, `<name>_boot`.
pub(super) fn moment(row: &PgRow, name: &str) -> Result<Option<Kept>> {
    let column = |part: &str| format!("{name}_{part}");
    let Some(ns) = row.try_get::<Option<i64>, _>(&*column("ns"))? else {
        return Ok(None);
    };
    let moment = Moment::from((ns.cast_unsigned(), row.try_get::<i64, _>(&*column("wall"))?));
    let boot = row.try_get(&*column("boot"))?;
    Ok(Some(Kept { moment, boot }))
}

/// The run in a column.
pub(super) fn run(row: &PgRow, column: &str) -> Result<RunId> {
    row.try_get(column)
        .map(|number: i64| RunId(number.cast_unsigned()))
}

/// The run in a column, if there is one.
pub(super) fn maybe_run(row: &PgRow, column: &str) -> Result<Option<RunId>> {
    let number: Option<i64> = row.try_get(column)?;
    Ok(number.map(|number| RunId(number.cast_unsigned())))
}

/// Small numbers are kept in columns for large ones.
pub(super) fn small<T: TryFrom<i64> + Default>(row: &PgRow, column: &str) -> Result<T> {
    row.try_get(column)
        .map(|number: i64| T::try_from(number).unwrap_or_default())
}

/// As [`small`], of a column that may be empty.
pub(super) fn maybe_small<T: TryFrom<i64>>(row: &PgRow, column: &str) -> Result<Option<T>> {
    let number: Option<i64> = row.try_get(column)?;
    Ok(number.and_then(|number| T::try_from(number).ok()))
}

/// The wall clock's time in a column.
pub(super) fn time(row: &PgRow, column: &str) -> Result<Timestamp> {
    row.try_get(column).map(at)
}

/// Runs as an array.
pub(super) fn numbers<'a>(runs: impl IntoIterator<Item = &'a RunId>) -> Vec<i64> {
    runs.into_iter().map(|run| number(*run)).collect()
}

/// Addresses as an array.
pub(super) fn urls<'a>(sites: impl IntoIterator<Item = &'a SiteUrl>) -> Vec<String> {
    sites.into_iter().map(ToString::to_string).collect()
}
