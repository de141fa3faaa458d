use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgConnection, PgPool, Row};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{oneshot, watch};

use super::columns::Result as Asked;
use super::fault::{STORE, fault};
use super::patience::Patience;
use super::writer::{Job, Session, Writer};
use super::{ASK_LIMIT, GOODBYE, Place, READERS, Shared, crew, notice, schema, session};
use crate::database::address::Address;
use crate::secret::Secret;
use crate::store::moments::boot_id;
use crate::store::{Operator, StoreError};
use crate::text::CleanText;

/// What the thread of a store hands out when it has begun.
pub(super) struct Begun {
    pub(super) shared: Arc<Shared>,
    pub(super) runtime: Handle,
    pub(super) pool: PgPool,
    pub(super) others: watch::Receiver<u64>,
}

/// How the database of a URL is connected to, and its fingerprint.
pub(super) fn address(url: &Secret) -> Result<(PgConnectOptions, String), StoreError> {
    let refuse = |why: String| StoreError::Failed(format!("{STORE} (store.url): {why}"));
    let server = match Address::parse(url).map_err(|refusal| refuse(refusal.to_string()))? {
        Address::Postgres(server) => server,
        Address::MySql(_) | Address::Sqlite(_) => {
            return Err(refuse("its url must begin with postgres://".to_owned()));
        }
    };
    let options = crate::database::postgres::options(&server).map_err(refuse)?;
    Ok((options, server.fingerprint()))
}

/// What can be told of a store without working on it: nothing is made, locked or upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The size of its tables in bytes.
    pub bytes: u64,
    /// The version of its tables.
    pub version: u32,
}

/// The version of tables that this program works with: older ones are upgraded when the store is opened for work.
pub fn newest_version() -> usize {
    schema::MIGRATIONS.len()
}

/// Looks at the store that `url` names; none if there is none in the database.
///
/// # Errors
/// As of [`PostgresStore::open`].
pub async fn about(url: &Secret) -> Result<Option<About>, StoreError> {
    let (options, _) = address(url)?;
    let asking = async {
        let mut conn = session::connect(&options).await?;
        let about = schema::about(&mut conn).await?;
        let _ended = tokio::time::timeout(GOODBYE, sqlx::Connection::close(conn)).await;
        Ok(about)
    };
    let about = asking.await.map_err(|error: sqlx::Error| fault(&error))?;
    Ok(about.map(|(version, bytes)| About {
        bytes: u64::try_from(bytes).unwrap_or_default(),
        version: u32::try_from(version).unwrap_or(u32::MAX),
    }))
}

/// The machines of the workers that are there, one for each; none where there is no store yet.
///
/// # Errors
/// When the server is not reached, or its store is not of this version: why.
pub async fn living(url: &Secret) -> Result<Vec<CleanText>, StoreError> {
    let (options, _) = address(url)?;
    let asking = async {
        let mut conn = session::connect(&options).await?;
        let living = match schema::about(&mut conn).await? {
            Some(_) => crew::living(&mut conn).await?,
            None => Vec::new(),
        };
        let _ended = tokio::time::timeout(GOODBYE, sqlx::Connection::close(conn)).await;
        Ok(living)
    };
    asking.await.map_err(|error: sqlx::Error| fault(&error))
}

/// The thread of a store.
pub(super) fn serve(
    options: PgConnectOptions,
    by: Operator,
    jobs: UnboundedReceiver<Job>,
    patience: Patience,
    tell: oneshot::Sender<Result<Begun, StoreError>>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failed = StoreError::Failed(format!("the store cannot start: {error}"));
            let _gone = tell.send(Err(failed));
            return;
        }
    };
    runtime.block_on(async {
        let (session, shared) = match begin(options, by).await {
            Ok(begun) => begun,
            Err(error) => {
                let _gone = tell.send(Err(error));
                return;
            }
        };
        let shared = Arc::new(shared);
        let pool = pool(&shared.place.options);
        let mut writer = Writer::new(session, Arc::clone(&shared), patience);
        writer.end_idle().await;
        let (changed, others) = watch::channel(0);
        tokio::spawn(notice::notice(Arc::clone(&shared), pool.clone(), changed));
        let begun = Begun {
            others,
            shared,
            runtime: Handle::current(),
            pool: pool.clone(),
        };
        if tell.send(Ok(begun)).is_ok() {
            writer.run(jobs).await;
        }
        let _in_time = tokio::time::timeout(GOODBYE, pool.close()).await;
    });
    runtime.shutdown_timeout(GOODBYE);
}

/// The connection that writes, with the tables ready.
async fn begin(options: PgConnectOptions, by: Operator) -> Result<(Session, Shared), StoreError> {
    let mut conn = session::connect(&options).await.map_err(|error| fault(&error))?;
    schema::prepare(&mut conn).await?;
    let place = register(&mut conn, options, by)
        .await
        .map_err(|error| fault(&error))?;
    let boot = this_boot(&mut conn).await.map_err(|error| fault(&error))?;
    let shared = Shared::new(place, boot);
    let _ended = tokio::time::timeout(GOODBYE, sqlx::Connection::close(conn)).await;
    let session = Session::open(&shared).await.map_err(|error| fault(&error))?;
    Ok((session, shared))
}

/// Makes this process known, and forgets those that have written nothing for a day, and hold nothing: they are gone, or
/// begin to count anew.
async fn register(conn: &mut PgConnection, options: PgConnectOptions, by: Operator) -> Asked<Place> {
    conn.execute(
        "DELETE FROM processes WHERE id IN (SELECT p.id FROM processes p WHERE p.at < now() - interval '1 day' \
         AND p.until < now() AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.works_process = p.id AND r.ended_wall IS NULL) \
         FOR UPDATE SKIP LOCKED)",
    )
    .await?;
    let class = conn.fetch_one("SELECT 'runs'::regclass::oid::bigint").await?;
    let process = sqlx::query("INSERT INTO processes (host) VALUES ($1) RETURNING id")
        .bind(by.host.as_str())
        .fetch_one(&mut *conn)
        .await?;
    Ok(Place {
        options,
        class: class.try_get(0)?,
        process: process.try_get(0)?,
        by,
    })
}

/// The number under which the store knows this start of this machine.
async fn this_boot(conn: &mut PgConnection) -> Asked<i64> {
    let boot = boot_id();
    sqlx::query("INSERT INTO boots (boot) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(&boot)
        .execute(&mut *conn)
        .await?;
    sqlx::query_scalar("SELECT id FROM boots WHERE boot = $1")
        .bind(&boot)
        .fetch_one(conn)
        .await
}

fn pool(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(READERS)
        .min_connections(0)
        .acquire_timeout(ASK_LIMIT)
        .idle_timeout(Duration::from_mins(1))
        .after_connect(|conn, _| Box::pin(session::set_up(conn)))
        .connect_lazy_with(options.clone())
}
