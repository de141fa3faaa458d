use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext, WorkerOptions, WorkerUtils};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::fault::STORE;
use super::opening::address;
use super::queued::{CHUNK, QUEUE};
use super::session::set_up;
use super::{ASK_LIMIT, PostgresStore, gone};
use crate::secret::Secret;
use crate::store::workers::ChunkId;
use crate::store::{RunId, StoreError};
use crate::text::CleanText;

/// Connections for the queue: each asks briefly.
const CONNECTIONS: u32 = 4;
/// How often each free hand asks for a job; one that has ended a job asks at once. No notice wakes them: that would wake
/// every hand of every worker at each job.
const POLL: Duration = Duration::from_millis(500);
/// A worker tells so often that it lives; so often the others look; after so long its jobs are another's. Whether a PUT
/// of it may be out the store knows by itself.
const HEARTBEAT: Duration = Duration::from_secs(3);
const SWEEP: Duration = Duration::from_secs(5);
const THRESHOLD: Duration = Duration::from_secs(15);
/// A job ends by itself, within the limits of its requests: it is never broken off.
const GRACE: Duration = Duration::from_hours(24);
/// Before the queue is asked anew behind a failure.
const BETWEEN: Duration = Duration::from_secs(1);
/// Two processes may make the tables at once, and then one of them fails.
const TRIES: usize = 5;

impl PostgresStore {
    /// The store, with the tables of the queue where its runs have workers.
    ///
    /// # Errors
    /// When the tables cannot be made: why not.
    pub async fn with_workers(mut self, has_workers: bool) -> Result<Self, StoreError> {
        if has_workers {
            migrate(self.pool.clone(), &self.runtime).await?;
            self.has_workers();
        }
        Ok(self)
    }
}

/// Makes the tables of the queue, or upgrades them.
async fn migrate(pool: PgPool, runtime: &Handle) -> Result<(), StoreError> {
    let making = runtime.spawn(async move {
        let queue = WorkerUtils::new(pool, QUEUE);
        let mut tries = 1;
        loop {
            match queue.migrate().await {
                Ok(()) => return Ok(()),
                Err(_) if tries < TRIES => sleep(BETWEEN / 4).await,
                Err(error) => return Err(failed("its queue of jobs cannot be made", &error)),
            }
            tries += 1;
        }
    });
    making.await.unwrap_or_else(|_| Err(gone()))
}

fn failed(what: &str, error: &dyn fmt::Display) -> StoreError {
    StoreError::Failed(format!(
        "{STORE}: {what} ({})",
        CleanText::note(&error.to_string())
    ))
}

/// Why a job goes back into the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotDone {
    /// In words.
    pub why: String,
    /// For so long nobody takes it again.
    pub rests: Duration,
}

impl From<String> for NotDone {
    fn from(why: String) -> Self {
        let rests = Duration::ZERO;
        Self { why, rests }
    }
}

/// What is done with a chunk whose job was taken. An error gives the job to whoever takes it next.
pub type Work =
    Arc<dyn Fn(ChunkId) -> Pin<Box<dyn Future<Output = Result<(), NotDone>> + Send>> + Send + Sync>;

/// The payload of a job.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    run: u64,
    wave: usize,
    chunk: u64,
}

#[derive(Clone)]
struct Desk(Work);

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl TaskHandler for Job {
    const IDENTIFIER: &'static str = CHUNK;

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let Some(Desk(work)) = context.get_ext::<Desk>() else {
            return Err("nobody works here".to_owned());
        };
        let id = ChunkId {
            run: RunId(self.run),
            number: self.chunk,
        };
        let worked = work(id).await;
        if let Err(not_done) = &worked {
            // Not behind a pause that grows: nothing is wrong with the job.
            let job = *context.job().id();
            give_back(context.pg_pool(), context.worker_id(), job, not_done.rests).await;
        }
        worked.map_err(|not_done| not_done.why)
    }
}

/// Puts a job that this worker has back into the queue; where it cannot, the queue does it later by itself.
async fn give_back(pool: &PgPool, worker: &str, job: i64, rests: Duration) {
    let given = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {QUEUE}._private_return_jobs($1, ARRAY[$2::bigint], $3, NULL, true)"
    )))
    .bind(worker)
    .bind(job)
    .bind(i64::try_from(rests.as_millis()).unwrap_or(i64::MAX))
    .execute(pool)
    .await;
    if let Err(error) = given {
        tracing::info!(%error, job, "a job was not put back into the queue");
    }
}

/// The queue of a store, for a worker.
pub struct Queue {
    options: PgConnectOptions,
    at_once: usize,
}

impl Queue {
    /// That of the store which `url` names, to take so many jobs at once.
    ///
    /// # Errors
    /// When that is no such URL.
    pub fn new(url: &Secret, at_once: usize) -> Result<Self, StoreError> {
        let (options, _) = address(url)?;
        Ok(Self { options, at_once })
    }

    /// Takes jobs until `stop`, and then waits for those that were begun. Where the server is away, it is asked again and
    /// again.
    pub async fn serve(self, work: Work, stop: CancellationToken) {
        let mut hands = JoinSet::new();
        while !stop.is_cancelled() {
            match self.open(&work, &stop).await {
                Ok(worker) => {
                    let (ends, ended) = (worker.shutdown_signal().clone(), CancellationToken::new());
                    let tells = ended.clone().drop_guard();
                    hands.spawn(async move {
                        let _tells = tells;
                        worker.run().await
                    });
                    // One that has lost its server waits for the jobs that it has, and takes no other: that is the next
                    // one's.
                    tokio::select! {
                        () = ends => {}
                        () = ended.cancelled() => {}
                    }
                }
                Err(error) => tracing::warn!(%error, "the queue of jobs is not reached"),
            }
            tokio::select! {
                () = sleep(BETWEEN) => {}
                () = stop.cancelled() => {}
            }
            while let Some(ended) = hands.try_join_next() {
                tell_of(&ended);
            }
        }
        while let Some(ended) = hands.join_next().await {
            tell_of(&ended);
        }
    }

    async fn open(
        &self,
        work: &Work,
        stop: &CancellationToken,
    ) -> Result<graphile_worker::Worker, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ASK_LIMIT)
            // As those of the store: what a server forgets of the end of a job that it was told of keeps that job from
            // everybody, since its worker lives.
            .after_connect(|conn, _| Box::pin(set_up(conn)))
            .connect_lazy_with(self.options.clone());
        let worker = WorkerOptions::default()
            .pg_pool(pool)
            .schema(QUEUE)
            .concurrency(self.at_once)
            .poll_interval(POLL)
            .use_notification_delivery(false)
            .heartbeat_interval(HEARTBEAT)
            .sweep_interval(SWEEP)
            .sweep_threshold(THRESHOLD)
            .recovery_delay(Duration::ZERO)
            .listen_os_shutdown_signals(false)
            .shutdown_grace_period(GRACE)
            .shutdown_signal(stop.clone().cancelled_owned())
            .define_job::<Job>()
            .add_extension(Desk(Arc::clone(work)));
        let opened = worker.init().await;
        opened.map_err(|error| failed("its queue cannot be opened", &error))
    }
}

/// Why a worker of the queue has ended, if that is not because it was to.
fn tell_of<E: fmt::Display>(ended: &Result<Result<(), E>, JoinError>) {
    let error: &dyn fmt::Display = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(error) => error,
    };
    let error = CleanText::note(&error.to_string());
    tracing::warn!(%error, "the queue of jobs failed");
}

impl fmt::Debug for Queue {
    /// Without its options: they have the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}
