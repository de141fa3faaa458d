use std::fmt;
use std::future::Future;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use self::asking::LOOK_LIMIT;
use self::fault::STORE;
use self::opening::{address, serve};
use self::patience::Patience;
use self::writer::{Job, Turn};
use super::old::Pruned;
use super::pending::{Answer, Change, Done};
use super::shared::lock;
use super::workers::Workers;
use super::{
    Holder, Intent, LiveRun, NewRun, Newest, Operator, Record, Recorded, RunId, RunRecord, RunSite, Seen,
    SiteRun, Store, StoreError, StoredAttempt,
};
use crate::key::PublishableKey;
use crate::rules::acknowledgement::{Acknowledged, Acknowledgement};
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::standing::Standing;
use crate::rules::watch::{self as watching, Told};
use crate::secret::Secret;
use crate::site::SiteUrl;

/// What changes make of their sites.
mod batch;
/// Questions, each on a connection of its own, and changes there.
mod asking;
/// What stands beside runs and sites.
mod beside;
/// Values in columns.
mod columns;
/// PostgreSQL's errors in words, with the way out.
mod fault;
/// What the store has of each site.
mod known;
/// What is read before changes are decided.
mod load;
/// Chunks of runs that this process has as a worker.
mod hands;
/// Chunks of runs that workers take and give back.
mod chunks;
/// Chunks of runs that are handed over to workers, and what is heard of them.
mod handing;
/// What workers tell who coordinates their run.
mod news;
/// What is written to the server goes out at once.
mod no_delay;
/// What others have written is noticed.
mod notice;
/// Runs that begin, and which sites they take.
mod plans;
/// What is dropped when it is old.
mod prune;
/// Attempts, rows of a run, what was seen.
mod reads;
/// Runs: their end, their counts, who works on them.
mod runs;
/// The tables, and how those of an older version become those of this.
mod schema;
/// Connections, what a transaction begins with, who works on what.
mod session;
/// Runs that are begun, taken up, closed: who may.
mod turns;
/// What was decided is written.
mod write;
/// The connection that writes: lost, and taken anew.
mod connection;
/// How long the server is waited for.
mod patience;
/// What is due goes into one transaction.
mod commit;
/// What waits to be written, in its order.
mod queue;
/// How a store is opened, and looked at.
mod opening;
/// An empty one is filled with what another has.
mod target;
/// The one that writes: what it knows and holds.
mod writer;
/// What a worker asks of the store, and who has workers.
mod working;
/// Which workers are there, and what they have.
mod crew;
/// Jobs of chunks, in the tables of the queue.
mod queued;
/// The queue of a worker's jobs.
#[cfg(feature = "cluster")]
mod jobs;

#[cfg(feature = "cluster")]
pub use jobs::{NotDone, Queue, Work};
pub use opening::{About, about, living, newest_version};
pub(super) use target::Target;

/// Connections besides the one that writes: questions that are asked at once, and one that hears of others.
const READERS: u32 = 3;
/// How long a question waits for a connection.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// How long the end of a connection may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long the end of the store may take: what has not been written by then stays unwritten.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Between two transactions that drop what is old.
const TURN_OF_OTHERS: Duration = Duration::from_millis(50);

/// Where the store is, and what it calls this process.
pub(super) struct Place {
    options: PgConnectOptions,
    /// The first number of the locks of who works on a run: the table of runs, by its number in the database.
    class: i64,
    process: i64,
    /// Who works here.
    by: Operator,
}

impl Place {
    /// The holder of something, as it is seen from here.
    fn sees(&self, holder: Holder) -> Holder {
        let (theirs, ours) = (&holder.by, &self.by);
        Holder {
            is_elsewhere: (&theirs.host, theirs.uid) != (&ours.host, ours.uid),
            ..holder
        }
    }
}

impl fmt::Debug for Place {
    /// Without its options: they have the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

/// What writing and reading share.
type Shared = super::shared::Shared<Place>;

/// A store in a database of PostgreSQL, shared by processes on any number of machines.
///
/// A thread of its own speaks to the server. While the server is away, what has happened is kept in memory and in
/// order, a PUT waits for its intent to be written, and [`Store::trouble`] tells why.
#[derive(Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    jobs: Option<UnboundedSender<Job>>,
    runtime: Handle,
    pool: PgPool,
    trouble: watch::Receiver<Option<StoreError>>,
    /// How often the operator has ended the wait for the server.
    ends_wait: watch::Sender<u64>,
    fingerprint: String,
    /// Changes when others have written.
    others: watch::Receiver<u64>,
    /// Who makes the calls of the runs of this process, where it does not make them itself.
    workers: Option<Arc<handing::PgWorkers>>,
    /// How much others had written when that was last asked.
    written: Mutex<Option<i64>>,
    /// Comes to an end with the thread.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl PostgresStore {
    /// Opens the store that `url` names, or begins an empty one there; an older one is upgraded. `by` is who works.
    ///
    /// # Errors
    /// When it is not reached, refuses the user, or is of a newer version: what, and what to do. Of the URL nothing is
    /// quoted.
    pub async fn open(url: &Secret, by: Operator) -> Result<Self, StoreError> {
        let (options, fingerprint) = address(url)?;
        let (jobs, asked) = unbounded_channel();
        let (tell, begun) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let (trouble, told) = watch::channel(None);
        let (ends_wait, given_up) = watch::channel(0);
        let patience = Patience {
            trouble,
            given_up,
            heard: 0,
            gives_up: false,
        };
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                serve(options, by, asked, patience, tell);
                let _nobody_waits = end.send(());
            })
            .map_err(|error| StoreError::Failed(format!("the store cannot start a thread: {error}")))?;
        let begun = begun.await.unwrap_or_else(|_| Err(gone()))?;
        Ok(Self {
            shared: begun.shared,
            jobs: Some(jobs),
            runtime: begun.runtime,
            pool: begun.pool,
            trouble: told,
            ends_wait,
            fingerprint,
            others: begun.others,
            workers: None,
            written: Mutex::default(),
            ended: Mutex::new(ended),
        })
    }

    /// Short, and the same for each URL of one database: for names of files.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Waits until all that was handed over so far is written, at most so long: for an end without [`Drop`].
    ///
    /// # Errors
    /// When something is not written: why not.
    pub fn flush(&self, limit: Duration) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        self.ask(Job::Turn(Turn::Flush(reply)));
        let (tell, told) = mpsc::channel();
        self.runtime.spawn(async move {
            let _nobody_waits = tell.send(done.await.unwrap_or_else(|_| Err(gone())));
        });
        match told.recv_timeout(limit) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(StoreError::Failed(format!(
                "{STORE} did not write everything within {} s",
                limit.as_secs()
            ))),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }

    /// An answer that never comes tells that the writer is gone.
    fn ask(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _gone = jobs.send(job);
        }
    }

    fn change(&self, change: Change) -> impl Future<Output = Answer> + Send + 'static + use<> {
        let (reply, done) = oneshot::channel();
        self.ask(Job::Change(change, reply));
        async move { done.await.unwrap_or_else(|_| Err(gone())) }
    }

    /// As [`Self::change`], of what tells of a site.
    fn tell_of_site(
        &self,
        change: Change,
    ) -> impl Future<Output = Result<Recorded, StoreError>> + Send + 'static + use<> {
        let done = self.change(change);
        async move {
            Ok(match done.await? {
                Done::Recorded(recorded) => recorded,
                Done::Sent | Done::Ended(_) => Recorded::Known,
            })
        }
    }

    async fn turn<T>(
        &self,
        turn: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Turn,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        self.ask(Job::Turn(turn(reply)));
        done.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.jobs = None;
        // A server that is away holds up no end.
        let _ended = lock(&self.ended).recv_timeout(END_LIMIT);
    }
}

fn gone() -> StoreError {
    StoreError::Failed("the store has ended: please report this".to_owned())
}

impl Store for PostgresStore {
    async fn begin_run(&self, run: NewRun) -> Result<RunId, StoreError> {
        self.turn(|reply| Turn::Begin(Box::new(run), reply)).await
    }

    async fn resume_run(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        self.turn(|reply| Turn::Resume(run, at, reply)).await
    }

    async fn run_sent(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        self.change(Change::Sent(run, at)).await.map(drop)
    }

    async fn end_run(&self, run: RunId, at: Moment) -> Result<bool, StoreError> {
        let done = self.change(Change::Ended(run, at)).await?;
        Ok(matches!(done, Done::Ended(true)))
    }

    async fn close_run(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        self.turn(|reply| Turn::Close(run, at, reply)).await
    }

    async fn record_intent(&self, intent: Intent) -> Result<Recorded, StoreError> {
        let basis = self.shared.basis(&intent.site);
        self.tell_of_site(Change::Intent(intent, basis)).await
    }

    fn record(&self, record: Record) -> impl Future<Output = Result<Recorded, StoreError>> + Send + 'static {
        let basis = self.shared.basis(&record.site);
        self.tell_of_site(Change::Record(Box::new(record), basis))
    }

    async fn last_known(
        &self,
        sites: &[SiteUrl],
        policy: &Policy,
        now: Moment,
    ) -> Result<Vec<Newest>, StoreError> {
        lock(&self.shared.policy).clone_from(policy);
        let (asked, policy) = (sites.to_vec(), policy.clone());
        let since = self.shared.since(now);
        self.with_lives(self.shared.own(), move |conn, shared, lives| {
            Box::pin(async move {
                let found = known::known(conn, lives, shared.boot, since, &asked).await?;
                let mut newest = vec![Newest::default(); asked.len()];
                for known in found {
                    if let Some(place) = newest.get_mut(known.index) {
                        *place = known.kept.newest(known.version, &policy, now);
                    }
                }
                Ok(newest)
            })
        })
        .await
    }

    fn adopt<'a>(&self, newest: impl IntoIterator<Item = (&'a SiteUrl, &'a Newest)>) {
        let newest = newest.into_iter();
        self.shared
            .learn(newest.map(|(site, newest)| (site, newest.basis)));
    }

    async fn runs(&self, count: usize) -> Result<Vec<RunRecord>, StoreError> {
        self.with_lives(Vec::new(), move |conn, shared, lives| {
            Box::pin(async move { Ok(runs::newest(conn, lives, shared.boot, count).await?) })
        })
        .await
    }

    async fn unfinished_runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        let (reply, done) = oneshot::channel();
        self.ask(Job::Turn(Turn::EndIdle(reply)));
        // Where it could not be done, a later one does it.
        let _done = timeout(LOOK_LIMIT, done).await;
        let found = self.with_lives(Vec::new(), |conn, shared, lives| {
            Box::pin(async move { Ok(runs::not_ended(conn, lives, shared.boot, false).await?) })
        });
        Ok(found.await?.into_iter().map(|(run, _)| run).collect())
    }

    async fn live_runs(&self) -> Result<Vec<LiveRun>, StoreError> {
        let found = self.with_lives(Vec::new(), |conn, shared, lives| {
            Box::pin(async move { Ok(runs::not_ended(conn, lives, shared.boot, true).await?) })
        });
        let of_run = |(run, holder)| LiveRun {
            run,
            holder: self.shared.place.sees(holder),
        };
        Ok(found.await?.into_iter().map(of_run).collect())
    }

    async fn run_sites(&self, run: RunId) -> Result<Vec<RunSite>, StoreError> {
        self.read(move |conn, shared| {
            Box::pin(async move {
                let live = session::live(conn, shared.place.class).await?.contains(&run);
                Ok(reads::run_sites(conn, run, live).await?)
            })
        })
        .await
    }

    async fn site_runs(&self, site: &SiteUrl, count: usize) -> Result<Vec<SiteRun>, StoreError> {
        // What cannot be written just now is told by who handed it over.
        let _not_written = self.turn(Turn::Flush).await;
        let site = site.clone();
        self.with_lives(Vec::new(), move |conn, _, lives| {
            Box::pin(async move { Ok(reads::site_runs(conn, lives, &site, count).await?) })
        })
        .await
    }

    async fn attempts(
        &self,
        run: Option<RunId>,
        site: Option<&SiteUrl>,
        count: usize,
    ) -> Result<Vec<StoredAttempt>, StoreError> {
        let site = site.cloned();
        self.read(move |conn, _| {
            Box::pin(async move { Ok(reads::attempts(conn, run, site.as_ref(), count).await?) })
        })
        .await
    }

    async fn timeline(&self, site: &SiteUrl, count: usize) -> Result<Vec<Seen>, StoreError> {
        let site = site.clone();
        self.read(move |conn, _| Box::pin(async move { Ok(reads::timeline(conn, &site, count).await?) }))
            .await
    }

    async fn was_served(&self, key: &PublishableKey) -> Result<bool, StoreError> {
        let key = key.clone();
        self.read(move |conn, _| Box::pin(async move { Ok(reads::was_served(conn, &key).await?) }))
            .await
    }

    async fn standing(&self, key: &PublishableKey) -> Result<Option<(Standing, Timestamp)>, StoreError> {
        let key = key.clone();
        self.read(move |conn, _| Box::pin(async move { Ok(beside::standing(conn, &key).await?) }))
            .await
    }

    async fn remember_standing(
        &self,
        key: &PublishableKey,
        standing: Standing,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let key = key.clone();
        self.write(move |conn| {
            let key = key.clone();
            Box::pin(async move { beside::remember(conn, &key, standing, at).await })
        })
        .await
    }

    async fn list(&self, of: &str) -> Result<Option<Vec<SiteUrl>>, StoreError> {
        let name = of.to_owned();
        self.read(move |conn, _| Box::pin(async move { Ok(beside::list(conn, &name).await?) }))
            .await
    }

    async fn keep_list(&self, of: &str, sites: Vec<SiteUrl>) -> Result<(), StoreError> {
        let name = of.to_owned();
        let kept = Arc::new((name, sites));
        self.write(move |conn| {
            let kept = Arc::clone(&kept);
            Box::pin(async move { beside::keep_list(conn, &kept.0, &kept.1).await })
        })
        .await
    }

    async fn acknowledge(
        &self,
        sites: &[SiteUrl],
        acknowledgement: Option<Acknowledgement>,
    ) -> Result<(), StoreError> {
        let kept = Arc::new((sites.to_vec(), acknowledgement));
        self.write(move |conn| {
            let kept = Arc::clone(&kept);
            Box::pin(async move { beside::acknowledge(conn, &kept.0, kept.1.as_ref()).await })
        })
        .await
    }

    async fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        let all = self.read(|conn, _| Box::pin(async move { Ok(beside::acknowledged(conn).await?) }));
        Ok(Acknowledged::new(all.await?))
    }

    async fn told(&self) -> Result<Told, StoreError> {
        self.read(|conn, _| Box::pin(async move { Ok(beside::told(conn).await?) }))
            .await
    }

    async fn tell(
        &self,
        changes: Vec<watching::Change>,
        at: Timestamp,
    ) -> Result<Vec<watching::Change>, StoreError> {
        let changes = Arc::new(changes);
        self.write(move |conn| {
            let changes = Arc::clone(&changes);
            Box::pin(async move { beside::tell(conn, &changes, at).await })
        })
        .await
    }

    async fn has_changed(&self) -> Result<bool, StoreError> {
        if self.trouble.borrow().is_some() {
            // That is told elsewhere; what others have written meanwhile is found behind it.
            return Ok(false);
        }
        let written = self.read_within(LOOK_LIMIT, |conn, shared| {
            Box::pin(async move { Ok(notice::written(conn, shared.place.process).await?) })
        });
        let written = written.await?;
        Ok(lock(&self.written).replace(written) != Some(written))
    }

    fn trouble(&self) -> Option<watch::Receiver<Option<StoreError>>> {
        Some(self.trouble.clone())
    }

    fn give_up(&self) {
        // The order has its place among the others; that it comes ends what is waited for now.
        self.ends_wait.send_modify(|count| *count += 1);
        self.ask(Job::GiveUp);
    }

    fn workers(&self) -> Option<Arc<dyn Workers>> {
        // A build without them has none of what speaks to them either.
        if cfg!(not(feature = "cluster")) {
            return None;
        }
        let workers = self.workers.clone()?;
        Some(workers)
    }

    fn others(&self) -> Option<watch::Receiver<u64>> {
        Some(self.others.clone())
    }

    async fn prune(&self, before: Timestamp) -> Result<usize, StoreError> {
        let at = Timestamp::now();
        let pruned = Pruned { at, before };
        let mut runs = 0;
        loop {
            let last = self.read(|conn, _| Box::pin(async move { Ok(prune::pruned(conn).await?) }));
            if !pruned.is_due(last.await?) {
                return Ok(runs);
            }
            let slice = self.write(move |conn| Box::pin(async move { prune::prune(conn, pruned).await }));
            let slice = slice.await?;
            runs += slice.runs;
            if slice.last {
                return Ok(runs);
            }
            tokio::time::sleep(TURN_OF_OTHERS).await;
        }
    }
}
