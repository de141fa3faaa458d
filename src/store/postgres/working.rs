use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::PostgresStore;
use super::columns::{Result as Asked, numbers, text};
use super::handing::PgWorkers;
use super::hands::{ChunkTurn, recalled};
use super::writer::Turn;
use crate::store::workers::{BusyWorker, ChunkId, Take};
use crate::store::{RunId, StoreError};
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

impl PostgresStore {
    /// From now on others see this process as a worker, until it ends.
    ///
    /// # Errors
    /// When the store is not reached.
    pub async fn takes_work(&self) -> Result<(), StoreError> {
        self.turn(|reply| Turn::Chunk(ChunkTurn::TakesWork(reply))).await
    }

    /// From now on workers make the calls of the runs that this process begins or takes up.
    pub fn has_workers(&mut self) {
        self.workers = self.jobs.as_ref().map(|jobs| {
            Arc::new(PgWorkers::new(
                jobs.downgrade(),
                self.runtime.clone(),
                self.pool.clone(),
                Arc::clone(&self.shared),
            ))
        });
    }

    /// Takes a chunk of a run, as a worker: its sites are this process's until it gives them back.
    ///
    /// # Errors
    /// When the store is not reached.
    pub async fn take_chunk(&self, id: ChunkId) -> Result<Take, StoreError> {
        self.turn(|reply| Turn::Chunk(ChunkTurn::Take(id, reply))).await
    }

    /// Gives it back: all that this process has handed over of its sites is on record then, and its job has ended. False
    /// where another process has it by now: then the job is for that one to end.
    ///
    /// # Errors
    /// When the store is not reached.
    pub async fn give_back(&self, id: ChunkId) -> Result<bool, StoreError> {
        self.turn(|reply| Turn::Chunk(ChunkTurn::GiveBack(id, reply)))
            .await
    }

    /// Which of these chunks may send no PUT any more: their run is held, or nobody coordinates it.
    ///
    /// # Errors
    /// When the store is not reached.
    pub async fn recalled(&self, chunks: Vec<ChunkId>) -> Result<Vec<ChunkId>, StoreError> {
        self.read(move |conn, shared| {
            Box::pin(async move { Ok(recalled(conn, shared.place.process, &chunks).await?) })
        })
        .await
    }
}
