use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use self::data::{Data, Me};
use super::left::Basis;
use super::old::{Pruned, forgotten_before};
use super::{
    Holder, Intent, LiveRun, NewRun, Newest, Operator, Record, Recorded, RunId, RunRecord, RunSite, Seen,
    SiteRun, Store, StoreError, StoredAttempt,
};
use crate::key::PublishableKey;
use crate::rules::acknowledgement::{Acknowledged, Acknowledgement};
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::standing::Standing;
use crate::rules::watch::{Change, Told};
use crate::site::SiteUrl;

/// What is kept, and how it changes.
mod data;
/// Intents and records.
mod changes;
/// What is asked of it.
mod reads;

/// A store that ends with the process. Nothing in it waits for a disk: what the engine costs by itself.
#[derive(Debug)]
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
    me: Me,
    by: Operator,
    /// What this process knows of each site's PUTs.
    known_puts: Mutex<HashMap<SiteUrl, Basis>>,
    /// The policy that was asked with last.
    policy: Mutex<Policy>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Operator::default())
    }
}

impl MemoryStore {
    /// An empty one. `by` is who works.
    pub fn new(by: Operator) -> Self {
        Self::on(Arc::default(), by)
    }

    fn on(data: Arc<Mutex<Data>>, by: Operator) -> Self {
        let me = lock(&data).enter();
        Self {
            data,
            me,
            by,
            known_puts: Mutex::default(),
            policy: Mutex::default(),
        }
    }

    /// As if another process opened the store while this one goes on.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self::on(Arc::clone(&self.data), self.by.clone())
    }

    /// As if this process had died and another opened the store. What is still done with this one counts as done
    /// by a process that nobody sees.
    #[must_use]
    pub fn reopen(&self) -> Self {
        lock(&self.data).die(self.me);
        self.beside()
    }

    /// The PUTs that were about to be sent, in order.
    pub fn intents(&self) -> Vec<Intent> {
        lock(&self.data).intents.clone()
    }

    /// For a change: the others have something new to read.
    fn write(&self) -> MutexGuard<'_, Data> {
        let mut data = lock(&self.data);
        data.changed_by(self.me);
        data
    }

    fn holder(&self, run: Option<RunId>, since: Timestamp) -> Holder {
        Holder {
            run,
            by: self.by.clone(),
            since,
            is_elsewhere: false,
            free_in: None,
        }
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        lock(&self.data).die(self.me);
    }
}

/// A panic elsewhere does not make the records wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for MemoryStore {
    async fn begin_run(&self, run: NewRun) -> Result<RunId, StoreError> {
        let mut data = lock(&self.data);
        data.must_be_free()?;
        let holder = self.holder(None, run.at.wall);
        data.changed_by(self.me);
        Ok(data.begin(self.me, holder, run))
    }

    async fn resume_run(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        let mut data = lock(&self.data);
        if data.sends_for(self.me, run) {
            return Ok(());
        }
        data.must_exist(run)?;
        data.must_be_free()?;
        data.must_be_mine(self.me, run)?;
        data.changed_by(self.me);
        data.reopen(self.me, self.holder(Some(run), at.wall), run);
        Ok(())
    }

    async fn run_sent(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        self.write().sent(run, at);
        Ok(())
    }

    async fn end_run(&self, run: RunId, at: Moment) -> Result<bool, StoreError> {
        Ok(lock(&self.data).end(self.me, run, at))
    }

    async fn close_run(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        let mut known_puts = lock(&self.known_puts);
        let mut data = lock(&self.data);
        data.must_exist(run)?;
        data.must_be_mine(self.me, run)?;
        data.changed_by(self.me);
        for (site, version) in data.close(run, at, &lock(&self.policy)) {
            // Who closes it knows of that.
            let known = known_puts.entry(site).or_default();
            if known.version == version {
                known.version += 1;
            }
        }
        Ok(())
    }

    async fn record_intent(&self, intent: Intent) -> Result<Recorded, StoreError> {
        let mut known = lock(&self.known_puts);
        let basis = known.entry(intent.site.clone()).or_default();
        lock(&self.data).intend(self.me, basis, &intent, &lock(&self.policy))
    }

    fn record(&self, record: Record) -> impl Future<Output = Result<Recorded, StoreError>> + Send + 'static {
        let mut known = lock(&self.known_puts);
        let basis = known.entry(record.site.clone()).or_default();
        let recorded = self.write().record(self.me, basis, record, &lock(&self.policy));
        std::future::ready(Ok(recorded))
    }

    async fn last_known(
        &self,
        sites: &[SiteUrl],
        policy: &Policy,
        now: Moment,
    ) -> Result<Vec<Newest>, StoreError> {
        lock(&self.policy).clone_from(policy);
        let data = lock(&self.data);
        let newest = |site: &SiteUrl| data.known(site, self.me, policy, now);
        Ok(sites.iter().map(newest).collect())
    }

    fn adopt<'a>(&self, newest: impl IntoIterator<Item = (&'a SiteUrl, &'a Newest)>) {
        let mut known_puts = lock(&self.known_puts);
        for (site, newest) in newest {
            let known = known_puts.entry(site.clone()).or_default();
            if known.version <= newest.basis.version {
                *known = newest.basis;
            }
        }
    }

    async fn runs(&self, count: usize) -> Result<Vec<RunRecord>, StoreError> {
        Ok(lock(&self.data).runs().take(count).collect())
    }

    async fn unfinished_runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        let mut data = lock(&self.data);
        data.end_idle(self.me);
        Ok(data
            .runs()
            .filter(|run| run.ended.is_none() && !run.live)
            .collect())
    }

    async fn live_runs(&self) -> Result<Vec<LiveRun>, StoreError> {
        Ok(lock(&self.data).live_runs())
    }

    async fn run_sites(&self, run: RunId) -> Result<Vec<RunSite>, StoreError> {
        Ok(lock(&self.data).run_sites(run))
    }

    async fn site_runs(&self, site: &SiteUrl, count: usize) -> Result<Vec<SiteRun>, StoreError> {
        Ok(lock(&self.data).site_runs(site, count))
    }

    async fn attempts(
        &self,
        run: Option<RunId>,
        site: Option<&SiteUrl>,
        count: usize,
    ) -> Result<Vec<StoredAttempt>, StoreError> {
        Ok(lock(&self.data).attempts(run, site, count))
    }

    async fn timeline(&self, site: &SiteUrl, count: usize) -> Result<Vec<Seen>, StoreError> {
        Ok(lock(&self.data).timeline(site, count))
    }

    async fn was_served(&self, key: &PublishableKey) -> Result<bool, StoreError> {
        Ok(lock(&self.data).was_served(key))
    }

    async fn standing(&self, key: &PublishableKey) -> Result<Option<(Standing, Timestamp)>, StoreError> {
        Ok(lock(&self.data).standings.get(key).copied())
    }

    async fn remember_standing(
        &self,
        key: &PublishableKey,
        standing: Standing,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut data = lock(&self.data);
        data.standings.insert(key.clone(), (standing, at));
        data.standings
            .retain(|_, (_, said)| *said >= forgotten_before(at));
        Ok(())
    }

    async fn list(&self, of: &str) -> Result<Option<Vec<SiteUrl>>, StoreError> {
        Ok(lock(&self.data).lists.get(of).cloned())
    }

    async fn keep_list(&self, of: &str, sites: Vec<SiteUrl>) -> Result<(), StoreError> {
        self.write().lists.insert(of.to_owned(), sites);
        Ok(())
    }

    async fn acknowledge(
        &self,
        sites: &[SiteUrl],
        acknowledgement: Option<Acknowledgement>,
    ) -> Result<(), StoreError> {
        let mut data = self.write();
        for site in sites {
            data.acknowledged.set(site.clone(), acknowledgement.clone());
        }
        Ok(())
    }

    async fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        Ok(lock(&self.data).acknowledged.clone())
    }

    async fn told(&self) -> Result<Told, StoreError> {
        Ok(lock(&self.data).told.clone())
    }

    async fn tell(&self, changes: Vec<Change>, _: Timestamp) -> Result<Vec<Change>, StoreError> {
        let mut data = self.write();
        let mut changes = changes;
        changes.retain(|change| data.told.take(change));
        Ok(changes)
    }

    async fn has_changed(&self) -> Result<bool, StoreError> {
        Ok(lock(&self.data).news.remove(&self.me))
    }

    async fn prune(&self, before: Timestamp) -> Result<usize, StoreError> {
        let at = Timestamp::now();
        Ok(lock(&self.data).prune(self.me, Pruned { at, before }))
    }
}
