use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{Error, PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use super::columns::Result;
use super::session::CHANNEL;

/// How often it is asked whether others have written, should none of them have told: what came right behind something
/// that was told is not.
const POLL: Duration = Duration::from_millis(500);
/// How long the server may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// How long nothing is tried behind a failure.
const REST: Duration = Duration::from_secs(1);

/// How much all processes but `own` have written: it rises with each of their transactions.
pub(super) async fn written(conn: &mut PgConnection, own: i64) -> Result<i64> {
    sqlx::query_scalar("SELECT coalesce(sum(written), 0)::bigint FROM processes WHERE id <> $1")
        .bind(own)
        .fetch_one(conn)
        .await
}

/// Counts up each time that others have written, for as long as somebody wants to know.
pub(super) async fn notice(shared: Arc<Shared>, pool: PgPool, changed: watch::Sender<u64>) {
    let mut last = None;
    while !wanted(&changed).await {}
    loop {
        if let Err(error) = listen(&shared, &pool, &changed, &mut last).await {
            tracing::debug!(%error, "what others write is not heard of");
        }
        sleep(REST).await;
    }
}

/// Whether somebody else than the store itself has the other end.
async fn wanted(changed: &watch::Sender<u64>) -> bool {
    sleep(REST / 10).await;
    changed.receiver_count() > 1
}

async fn listen(
    shared: &Shared,
    pool: &PgPool,
    changed: &watch::Sender<u64>,
    last: &mut Option<i64>,
) -> Result<()> {
    let listening = async {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    let mut listener = within(listening).await?;
    let own = shared.place.process.to_string();
    loop {
        let until = Instant::now() + POLL;
        while let Ok(told) = timeout(until - Instant::now(), listener.recv()).await {
            if told?.payload() != own {
                break;
            }
        }
        let mut conn = within(pool.acquire()).await?;
        let now = match within(written(&mut conn, shared.place.process)).await {
            Ok(now) => now,
            Err(error) => {
                // The pool would wait for it.
                drop(conn.detach());
                return Err(error);
            }
        };
        if last.replace(now) != Some(now) {
            changed.send_modify(|count| *count += 1);
        }
    }
}

/// What is asked, if the server answers in time.
async fn within<T>(asking: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(LIMIT, asking).await.unwrap_or(Err(Error::PoolTimedOut))
}
