use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result, TransactionBehavior, params};

use super::columns::{json, time, value};
use crate::key::PublishableKey;
use crate::rules::standing::Standing;
use crate::store::old::forgotten_before;

/// What Stripe said of a key last, and when.
pub(super) fn standing(conn: &Connection, key: &PublishableKey) -> Result<Option<(Standing, Timestamp)>> {
    let mut query = conn.prepare_cached("SELECT standing, at FROM standings WHERE key = ?1")?;
    let of_row = |row: &rusqlite::Row<'_>| Ok((value(row, "standing")?, time(row, "at")?));
    query.query_row([key.as_str()], of_row).optional()
}

/// Remembers it, and drops what is too old to be asked for.
pub(super) fn remember(
    conn: &mut Connection,
    key: &PublishableKey,
    standing: Standing,
    at: Timestamp,
) -> Result<()> {
    let change = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    change.execute(
        "INSERT INTO standings (key, standing, at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (key) DO UPDATE SET standing = excluded.standing, at = excluded.at",
        params![key.as_str(), json(&standing)?, at.as_millisecond()],
    )?;
    change.execute(
        "DELETE FROM standings WHERE at < ?1",
        [forgotten_before(at).as_millisecond()],
    )?;
    change.commit()
}
