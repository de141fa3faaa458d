use std::sync::Arc;

use super::PostgresStore;
use super::handing::PgWorkers;
use super::hands::{ChunkTurn, recalled};
use super::writer::Turn;
use crate::store::StoreError;
use crate::store::workers::{ChunkId, Take};

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
