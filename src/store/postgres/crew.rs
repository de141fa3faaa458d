use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::columns::{Result as Asked, numbers, text};
use crate::store::RunId;
use crate::store::workers::BusyWorker;
use crate::text::CleanText;

/// A worker that was not heard of for so long is not counted on: as the queue has it.
const LOST: &str = "interval '15 s'";

/// The machines of workers that were heard of lately.
pub(super) async fn living(conn: &mut PgConnection) -> Asked<Vec<CleanText>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT host FROM processes WHERE takes_work AND until > clock_timestamp() \
         AND at > clock_timestamp() - {LOST} ORDER BY host, id"
    )))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| text(row, "host")).collect()
}

/// Who has chunks of these runs.
pub(super) async fn busy(conn: &mut PgConnection, runs: &[RunId]) -> Asked<Vec<BusyWorker>> {
    let rows = sqlx::query(
        "SELECT p.id, p.host, sum(cardinality(c.sites))::bigint AS sites, \
         floor(greatest(extract(epoch FROM clock_timestamp() - p.at), 0))::bigint AS silent, \
         ceil(greatest(extract(epoch FROM p.until - clock_timestamp()), 0))::bigint AS lease \
         FROM chunks c JOIN processes p ON p.id = c.works_process WHERE c.run = ANY($1) AND NOT c.done \
         GROUP BY p.id ORDER BY p.id",
    )
    .bind(numbers(runs))
    .fetch_all(conn)
    .await?;
    let seconds = |row: &PgRow, name: &str| -> Asked<Duration> {
        Ok(Duration::from_secs(row.try_get::<i64, _>(name)?.unsigned_abs()))
    };
    let worker = |row: &PgRow| {
        Ok(BusyWorker {
            process: row.try_get::<i64, _>("id")?.cast_unsigned(),
            host: text(row, "host")?,
            sites: usize::try_from(row.try_get::<i64, _>("sites")?).unwrap_or_default(),
            silent: seconds(row, "silent")?,
            lease: seconds(row, "lease")?,
        })
    };
    rows.iter().map(worker).collect()
}
