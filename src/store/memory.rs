use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{
    Intent, NewRun, Record, Recorded, RunId, RunRecord, RunSite, Seen, Store, StoreError, StoredAttempt,
};
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::state::SiteState;
use crate::site::SiteUrl;

/// A store that ends with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    runs: Mutex<u64>,
    intents: Mutex<Vec<Intent>>,
}

impl MemoryStore {
    /// The PUTs that were about to be sent, in order.
    pub fn intents(&self) -> Vec<Intent> {
        lock(&self.intents).clone()
    }
}

/// A panic elsewhere does not make the records wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for MemoryStore {
    async fn begin_run(&self, _run: NewRun) -> Result<RunId, StoreError> {
        let mut runs = lock(&self.runs);
        *runs += 1;
        Ok(RunId(*runs))
    }

    async fn resume_run(&self, _run: RunId, _at: Moment) -> Result<(), StoreError> {
        Ok(())
    }

    async fn run_sent(&self, _run: RunId, _at: Moment) -> Result<(), StoreError> {
        Ok(())
    }

    async fn end_run(&self, _run: RunId, _at: Moment) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close_run(&self, _run: RunId, _at: Moment) -> Result<(), StoreError> {
        Ok(())
    }

    async fn record_intent(&self, intent: Intent) -> Result<(), StoreError> {
        lock(&self.intents).push(intent);
        Ok(())
    }

    fn record(&self, _record: Record) -> impl Future<Output = Result<Recorded, StoreError>> + Send + 'static {
        std::future::ready(Ok(Recorded::Known))
    }

    async fn last_known(
        &self,
        sites: &[SiteUrl],
        _policy: &Policy,
        _now: Moment,
    ) -> Result<Vec<SiteState>, StoreError> {
        Ok(vec![SiteState::default(); sites.len()])
    }

    async fn runs(&self, _count: usize) -> Result<Vec<RunRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn unfinished_runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn run_sites(&self, _run: RunId) -> Result<Vec<RunSite>, StoreError> {
        Ok(Vec::new())
    }

    async fn attempts(
        &self,
        _run: Option<RunId>,
        _site: Option<&SiteUrl>,
        _count: usize,
    ) -> Result<Vec<StoredAttempt>, StoreError> {
        Ok(Vec::new())
    }

    async fn timeline(&self, _site: &SiteUrl, _count: usize) -> Result<Vec<Seen>, StoreError> {
        Ok(Vec::new())
    }

    async fn prune(&self, _before: Timestamp) -> Result<usize, StoreError> {
        Ok(0)
    }
}
