use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::columns::Result as Asked;
use super::fault::{Way, way};
use super::queue::TRIES;
use super::session::{self, Entry, Failure, Lives, enter};
use super::{PostgresStore, Shared, gone};
use crate::store::shared::lock;
use crate::store::{RunId, StoreError};

/// How long the answer to a question may take, as long as the server lets a statement go on.
pub(super) const READ_LIMIT: Duration = Duration::from_mins(1);
/// How long the server may take to say whether others have written.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// A question to the database, on a connection that it has for itself.
pub(super) type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// A change in the database.
type Writing<'a, T> = Pin<Box<dyn Future<Output = Asked<T>> + Send + 'a>>;

async fn write_once<T>(
    conn: &mut PgConnection,
    shared: &Shared,
    change: &(impl for<'a> Fn(&'a mut PgConnection) -> Writing<'a, T> + Sync),
) -> Result<T, Failure> {
    let entry = Entry {
        process: shared.place.process,
        batch: None,
        tells: true,
        lease: session::lease(&lock(&shared.policy)),
        runs: &[],
        heeds: &[],
    };
    let (mut transaction, _) = enter(conn, &entry).await?;
    let done = change(&mut transaction).await?;
    transaction.commit().await?;
    Ok(done)
}

/// Asks, on a connection of `pool`, what takes so long at most where the server is well.
pub(super) async fn ask<T: Send + 'static>(
    (runtime, pool, shared): (&Handle, &PgPool, &Arc<Shared>),
    limit: Duration,
    question: impl for<'a> FnOnce(&'a mut PgConnection, &'a Shared) -> Asking<'a, T> + Send + 'static,
) -> Result<T, StoreError> {
    let (pool, shared) = (pool.clone(), Arc::clone(shared));
    let asked = runtime.spawn(async move {
        // This has a limit of its own.
        let mut conn = pool.acquire().await?;
        let answer = timeout(limit, question(&mut conn, &shared)).await;
        if answer.is_err() {
            // The pool would wait for it.
            drop(conn.detach());
        }
        answer.unwrap_or(Err(Failure::Sql(sqlx::Error::PoolTimedOut)))
    });
    match asked.await {
        Ok(answer) => answer.map_err(StoreError::from),
        Err(_) => Err(gone()),
    }
}

impl PostgresStore {
    /// Asks on a connection of its own.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl for<'a> FnOnce(&'a mut PgConnection, &'a Shared) -> Asking<'a, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.read_within(READ_LIMIT, question).await
    }

    /// As [`Self::read`], of what takes so long at most where the server is well.
    pub(super) async fn read_within<T: Send + 'static>(
        &self,
        limit: Duration,
        question: impl for<'a> FnOnce(&'a mut PgConnection, &'a Shared) -> Asking<'a, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        ask((&self.runtime, &self.pool, &self.shared), limit, question).await
    }

    /// As [`Self::read`], of what is known of runs: which of them a process works on (`without` some), and then what
    /// the question finds, as of one moment after that.
    pub(super) async fn with_lives<T: Send + 'static>(
        &self,
        without: Vec<RunId>,
        question: impl for<'a> FnOnce(&'a mut PgConnection, &'a Shared, &'a Lives) -> Asking<'a, T>
        + Send
        + 'static,
    ) -> Result<T, StoreError> {
        self.read(move |conn, shared| {
            Box::pin(async move {
                let lives = Lives::read(conn, shared.place.class).await?.without(&without);
                let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                let mut moment = sqlx::Connection::begin_with(conn, snapshot).await?;
                let answer = question(&mut moment, shared, &lives).await?;
                moment.commit().await?;
                Ok(answer)
            })
        })
        .await
    }

    /// Changes what stands beside runs and sites; again, where another transaction stood in the way.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl for<'a> Fn(&'a mut PgConnection) -> Writing<'a, T> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        self.read(move |conn, shared| {
            Box::pin(async move {
                let mut tries = 1;
                loop {
                    match write_once(conn, shared, &change).await {
                        Err(Failure::Sql(error)) if tries < TRIES && way(&error) == Way::Again => tries += 1,
                        done => return done,
                    }
                }
            })
        })
        .await
    }
}
