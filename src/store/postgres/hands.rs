use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::{PgConnection, Row};
use tokio::sync::oneshot;

use super::columns::{Result as Asked, run};
use crate::site::SiteUrl;
use crate::store::workers::{ChunkId, NewChunk, Take};
use crate::store::{RunId, StoreError};

/// For so long after it was heard of last the coordinator of a run counts as there: it looks whether a wave goes wrong.
/// No PUT of its run has its intent on record behind that.
const COORDINATOR: &str = "interval '15 s'";

/// Something about a chunk of a run.
pub(super) enum ChunkTurn {
    /// This process is a worker.
    TakesWork(oneshot::Sender<Result<(), StoreError>>),
    /// A worker wants it.
    Take(ChunkId, oneshot::Sender<Result<Take, StoreError>>),
    /// Its worker has done with it.
    GiveBack(ChunkId, oneshot::Sender<Result<bool, StoreError>>),
    /// A coordinator has these for the workers.
    HandOver(Vec<NewChunk>, oneshot::Sender<Result<(), StoreError>>),
    /// Whether PUTs of a run may go.
    LetSend(RunId, bool, oneshot::Sender<Result<(), StoreError>>),
}

/// A chunk that this process has taken.
#[derive(Debug)]
pub(super) struct Hand {
    /// It rises with each taking: what this process writes is worth something while this is the newest.
    pub(super) epoch: i64,
    /// Whether PUTs may go, as far as was seen last.
    pub(super) may_send: bool,
    pub(super) sites: HashSet<SiteUrl>,
}

/// The chunks that this process has taken as a worker.
#[derive(Debug, Default)]
pub(super) struct Hands(pub(super) BTreeMap<ChunkId, Hand>);

impl Hands {
    /// The runs that they are of.
    pub(super) fn runs(&self) -> BTreeSet<RunId> {
        self.0.keys().map(|id| id.run).collect()
    }

    /// The runs whose halts count here, in order.
    pub(super) fn heeds(&self) -> Vec<RunId> {
        self.runs().into_iter().collect()
    }

    /// Whether a PUT may go to this site.
    pub(super) fn may_send(&self, run: RunId, site: &SiteUrl) -> bool {
        let of_run = |number| ChunkId { run, number };
        let mut hands = self.0.range(of_run(0)..=of_run(u64::MAX));
        hands.any(|(_, hand)| hand.may_send && hand.sites.contains(site))
    }

    /// Sees which of them are this process's yet, and which may send. Until the end of the transaction that stays so: it
    /// holds the rows of the runs already.
    pub(super) async fn look(&mut self, conn: &mut PgConnection, process: i64) -> Asked<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let held = sqlx::query(
            "SELECT run, chunk, epoch FROM chunks WHERE works_process = $1 AND NOT done ORDER BY run, chunk FOR SHARE",
        )
        .bind(process)
        .fetch_all(&mut *conn)
        .await?;
        let mut epochs = BTreeMap::new();
        for row in &held {
            epochs.insert(chunk_id(row)?, row.try_get::<i64, _>("epoch")?);
        }
        let sending = sending(conn, process).await?;
        self.0.retain(|id, hand| epochs.get(id) == Some(&hand.epoch));
        for (id, hand) in &mut self.0 {
            hand.may_send = sending.contains(id);
        }
        Ok(())
    }
}

pub(super) fn chunk_id(row: &sqlx::postgres::PgRow) -> Asked<ChunkId> {
    Ok(ChunkId {
        run: run(row, "run")?,
        number: row.try_get::<i64, _>("chunk")?.cast_unsigned(),
    })
}

/// The chunks that this process has and whose PUTs may go.
async fn sending(conn: &mut PgConnection, process: i64) -> Asked<HashSet<ChunkId>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT c.run, c.chunk FROM chunks c JOIN runs r ON r.id = c.run JOIN processes p ON p.id = r.works_process \
         WHERE c.works_process = $1 AND NOT c.done AND r.epoch = c.run_epoch AND r.sends AND NOT r.held \
         AND r.ended_wall IS NULL AND p.at > clock_timestamp() - {COORDINATOR}"
    )))
    .bind(process)
    .fetch_all(conn)
    .await?;
    rows.iter().map(chunk_id).collect()
}

/// Which of these chunks may not send any more: their run is halted, nobody coordinates it, or another process has them.
pub(super) async fn recalled(
    conn: &mut PgConnection,
    process: i64,
    chunks: &[ChunkId],
) -> Asked<Vec<ChunkId>> {
    let sending = sending(conn, process).await?;
    let recalled = chunks.iter().filter(|id| !sending.contains(id));
    Ok(recalled.copied().collect())
}
