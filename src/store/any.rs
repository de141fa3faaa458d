use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use jiff::Timestamp;
use tokio::sync::watch;

use super::postgres::PostgresStore;
use super::sqlite::SqliteStore;
use super::workers::Workers;
use super::{
    Intent, LiveRun, NewRun, Newest, Record, Recorded, RunId, RunRecord, RunSite, Seen, SiteRun, Store,
    StoreError, StoredAttempt,
};
use crate::key::PublishableKey;
use crate::rules::acknowledgement::{Acknowledged, Acknowledgement};
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::standing::Standing;
use crate::rules::watch::{Change, Told};
use crate::site::SiteUrl;

/// A store as the config names it: in a file, or in a database of PostgreSQL.
#[derive(Debug)]
pub enum AnyStore {
    /// In a file.
    Sqlite(SqliteStore),
    /// In a database.
    Postgres(PostgresStore),
}

/// What the store of either kind says.
macro_rules! of_either {
    ($either:expr, $store:ident => $said:expr) => {
        match $either {
            AnyStore::Sqlite($store) => $said,
            AnyStore::Postgres($store) => $said,
        }
    };
}

impl AnyStore {
    /// Waits until all that was handed over so far is written, at most so long: for an end without [`Drop`].
    ///
    /// # Errors
    /// When something is not written: why not.
    pub fn flush(&self, limit: Duration) -> Result<(), StoreError> {
        of_either!(self, store => store.flush(limit))
    }
}

impl Store for AnyStore {
    async fn begin_run(&self, run: NewRun) -> Result<RunId, StoreError> {
        of_either!(self, store => store.begin_run(run).await)
    }

    async fn resume_run(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        of_either!(self, store => store.resume_run(run, at).await)
    }

    async fn run_sent(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        of_either!(self, store => store.run_sent(run, at).await)
    }

    async fn end_run(&self, run: RunId, at: Moment) -> Result<bool, StoreError> {
        of_either!(self, store => store.end_run(run, at).await)
    }

    async fn close_run(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        of_either!(self, store => store.close_run(run, at).await)
    }

    async fn record_intent(&self, intent: Intent) -> Result<Recorded, StoreError> {
        of_either!(self, store => store.record_intent(intent).await)
    }

    fn record(&self, record: Record) -> impl Future<Output = Result<Recorded, StoreError>> + Send + 'static {
        match self {
            Self::Sqlite(store) => Either::Left(store.record(record)),
            Self::Postgres(store) => Either::Right(store.record(record)),
        }
    }

    async fn last_known(
        &self,
        sites: &[SiteUrl],
        policy: &Policy,
        now: Moment,
    ) -> Result<Vec<Newest>, StoreError> {
        of_either!(self, store => store.last_known(sites, policy, now).await)
    }

    fn adopt<'a>(&self, newest: impl IntoIterator<Item = (&'a SiteUrl, &'a Newest)>) {
        of_either!(self, store => store.adopt(newest));
    }

    async fn runs(&self, count: usize) -> Result<Vec<RunRecord>, StoreError> {
        of_either!(self, store => store.runs(count).await)
    }

    async fn unfinished_runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        of_either!(self, store => store.unfinished_runs().await)
    }

    async fn live_runs(&self) -> Result<Vec<LiveRun>, StoreError> {
        of_either!(self, store => store.live_runs().await)
    }

    async fn run_sites(&self, run: RunId) -> Result<Vec<RunSite>, StoreError> {
        of_either!(self, store => store.run_sites(run).await)
    }

    async fn site_runs(&self, site: &SiteUrl, count: usize) -> Result<Vec<SiteRun>, StoreError> {
        of_either!(self, store => store.site_runs(site, count).await)
    }

    async fn attempts(
        &self,
        run: Option<RunId>,
        site: Option<&SiteUrl>,
        count: usize,
    ) -> Result<Vec<StoredAttempt>, StoreError> {
        of_either!(self, store => store.attempts(run, site, count).await)
    }

    async fn timeline(&self, site: &SiteUrl, count: usize) -> Result<Vec<Seen>, StoreError> {
        of_either!(self, store => store.timeline(site, count).await)
    }

    async fn was_served(&self, key: &PublishableKey) -> Result<bool, StoreError> {
        of_either!(self, store => store.was_served(key).await)
    }

    async fn standing(&self, key: &PublishableKey) -> Result<Option<(Standing, Timestamp)>, StoreError> {
        of_either!(self, store => store.standing(key).await)
    }

    async fn remember_standing(
        &self,
        key: &PublishableKey,
        standing: Standing,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        of_either!(self, store => store.remember_standing(key, standing, at).await)
    }

    async fn list(&self, of: &str) -> Result<Option<Vec<SiteUrl>>, StoreError> {
        of_either!(self, store => store.list(of).await)
    }

    async fn keep_list(&self, of: &str, sites: Vec<SiteUrl>) -> Result<(), StoreError> {
        of_either!(self, store => store.keep_list(of, sites).await)
    }

    async fn acknowledge(
        &self,
        sites: &[SiteUrl],
        acknowledgement: Option<Acknowledgement>,
    ) -> Result<(), StoreError> {
        of_either!(self, store => store.acknowledge(sites, acknowledgement).await)
    }

    async fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        of_either!(self, store => store.acknowledged().await)
    }

    async fn told(&self) -> Result<Told, StoreError> {
        of_either!(self, store => store.told().await)
    }

    async fn tell(&self, changes: Vec<Change>, at: Timestamp) -> Result<Vec<Change>, StoreError> {
        of_either!(self, store => store.tell(changes, at).await)
    }

    async fn has_changed(&self) -> Result<bool, StoreError> {
        of_either!(self, store => store.has_changed().await)
    }

    async fn prune(&self, before: Timestamp) -> Result<usize, StoreError> {
        of_either!(self, store => store.prune(before).await)
    }

    fn trouble(&self) -> Option<watch::Receiver<Option<StoreError>>> {
        of_either!(self, store => store.trouble())
    }

    fn give_up(&self) {
        of_either!(self, store => store.give_up());
    }

    fn workers(&self) -> Option<Arc<dyn Workers>> {
        of_either!(self, store => store.workers())
    }

    fn others(&self) -> Option<watch::Receiver<u64>> {
        of_either!(self, store => store.others())
    }
}
