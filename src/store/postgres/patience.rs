use std::future::{Future, pending};
use std::time::Duration;

use sqlx::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::fault::{Way, fault, way};
use super::session::Failure;
use crate::store::StoreError;

/// How long a server may say nothing until that is told.
const QUIET: Duration = Duration::from_secs(3);
/// How long it may take yet once nobody waits for it.
const LAST_TRY: Duration = Duration::from_secs(1);

/// How long the server is waited for, by the one that writes.
#[derive(Clone)]
pub(super) struct Patience {
    /// Why what is to be written waits.
    pub(super) trouble: watch::Sender<Option<StoreError>>,
    /// How often the operator has ended the wait.
    pub(super) given_up: watch::Receiver<u64>,
    /// How many of these orders were carried out.
    pub(super) heard: u64,
    /// Whether nothing waits for a server that is away.
    pub(super) gives_up: bool,
}

impl Patience {
    /// What the server answers, if it does within `limit`, and until the operator ends the wait. That it says nothing is
    /// told after some seconds.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let limit = if self.gives_up { limit.min(LAST_TRY) } else { limit };
        let mut told = false;
        let tell = async {
            sleep(QUIET.max(limit / 12)).await;
            told = self.trouble.send_if_modified(|trouble| {
                let is_new = trouble.is_none();
                trouble.get_or_insert_with(|| fault(&Error::PoolTimedOut));
                is_new
            });
            pending::<()>().await;
        };
        let done = tokio::select! {
            done = asking => done,
            () = sleep(limit) => Err(Failure::Sql(Error::PoolTimedOut)),
            () = self.ends() => Err(Failure::Sql(Error::PoolTimedOut)),
            () = tell => Err(Failure::Sql(Error::PoolTimedOut)),
        };
        let goes_on = |error: &Error| matches!(way(error), Way::Later | Way::Wait);
        let is_answered = !matches!(&done, Err(Failure::Sql(error)) if goes_on(error));
        if told && is_answered {
            self.trouble.send_replace(None);
        }
        done
    }

    /// Until then, or until the operator ends the wait: whether that is so.
    pub(super) async fn waits_until(&self, until: Instant) -> bool {
        tokio::select! {
            () = sleep_until(until) => false,
            () = self.ends() => true,
        }
    }

    /// A short while after the operator has ended the wait.
    async fn ends(&self) {
        let mut given_up = self.given_up.clone();
        if given_up.wait_for(|count| *count > self.heard).await.is_err() {
            // Nobody is left who could.
            pending::<()>().await;
        }
        sleep(LAST_TRY).await;
    }
}
