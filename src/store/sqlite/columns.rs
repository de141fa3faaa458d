use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::key::PublishableKey;
use crate::rules::moment::{Moment, ORIGIN};
use crate::rules::state::SiteState;
use crate::store::RunId;
use crate::store::left::times;

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

/// A moment as it is kept, with the machine's start that it counts from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) moment: Moment,
    pub(super) boot: i64,
}

impl Kept {
    /// From the columns `<name>_ns`, `<name>_wall`, `<name>_boot`.
    pub(super) fn read(row: &Row<'_>, name: &str) -> Result<Option<Self>> {
        let column = |part: &str| format!("{name}_{part}");
        let Some(ns) = row.get::<_, Option<i64>>(&*column("ns"))? else {
            return Ok(None);
        };
        let moment = Moment::from((ns.cast_unsigned(), row.get(&*column("wall"))?));
        let boot = row.get(&*column("boot"))?;
        Ok(Some(Self { moment, boot }))
    }

    /// What it is in this start of the machine.
    pub(super) fn here(self, boot: i64) -> Moment {
        self.by(boot, now())
    }

    /// What it is in this start of the machine, of which `since` is a moment.
    pub(super) fn by(self, boot: i64, since: Moment) -> Moment {
        if self.boot == boot {
            self.moment
        } else {
            self.moment.after_restart(since)
        }
    }

    /// The time to `later` by the clock that nobody sets, and by how much the wall clock was set meanwhile.
    pub(super) fn until(self, later: Self) -> Option<(Duration, Option<SignedDuration>)> {
        if self.boot != later.boot {
            return None;
        }
        Some(times(self.moment, later.moment))
    }
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

/// A run's number as it is kept.
pub(super) fn number(run: RunId) -> i64 {
    run.0.cast_signed()
}

/// Nanoseconds of the clock that nobody sets.
pub(super) fn ns(moment: Moment) -> i64 {
    <(u64, i64)>::from(moment).0.cast_signed()
}

/// Milliseconds of the wall clock.
pub(super) fn wall(moment: Moment) -> i64 {
    moment.wall.as_millisecond()
}

/// The wall clock's time in a column.
pub(super) fn time(row: &Row<'_>, column: &str) -> Result<Timestamp> {
    row.get(column).map(at)
}

pub(super) fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}

/// How many rows are asked for.
pub(super) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Now, by the machine's clocks, as the moments of all its processes are.
pub(super) fn now() -> Moment {
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Moment {
        since_start: ORIGIN + Duration::try_from(monotonic).unwrap_or_default(),
        wall: Timestamp::now(),
    }
}

/// The number under which the store knows this start of the machine.
pub(super) fn this_boot(conn: &Connection) -> Result<i64> {
    // Where the system does not tell, each start of the machine looks the same.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot = boot.trim();
    let known = conn
        .query_row("SELECT id FROM boots WHERE boot = ?1", [boot], |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    conn.execute(
        "INSERT INTO boots (boot) VALUES (?1) ON CONFLICT DO NOTHING",
        [boot],
    )?;
    conn.query_row("SELECT id FROM boots WHERE boot = ?1", [boot], |row| row.get(0))
}
