use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::oneshot;

use self::fault::fault;
use self::lock::{Lives, holder_in, is_live, works_on};
use self::place::Place;
use self::writer::{Job, Writer};
use super::old::Pruned;
use super::pending::{Answer, Change, Done};
use super::shared::lock;
use super::{
    Intent, LiveRun, NewRun, Newest, Operator, Record, Recorded, RunId, RunRecord, RunSite, Seen, SiteRun,
    Store, StoreError, StoredAttempt,
};
use crate::key::PublishableKey;
use crate::rules::acknowledgement::{Acknowledged, Acknowledgement};
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::standing::Standing;
use crate::rules::watch::{self, Told};
use crate::site::SiteUrl;

/// `SQLite`'s errors in words, with the way out.
mod fault;
/// Values in columns.
mod columns;
/// Where the store is: files that are ours alone.
mod place;
/// A store that is moved elsewhere.
mod source;
/// A damaged store out of the way.
mod aside;
/// What can be told of a store without working on it.
mod about;
/// Who sends, and who works on a run: locks that a dead process does not keep.
mod lock;
/// The tables, and how a file of an older version becomes one of this.
mod schema;
/// What the store has of each site.
mod known;
/// What it has of many sites at once.
mod fleet;
/// Intents and records.
mod changes;
/// The statements of a transaction.
mod statements;
/// What a transaction reads and writes of its sites, once each.
mod touched;
/// What the operator says of sites that are known to be bad.
mod acknowledged;
/// What watches have told.
mod notices;
/// Runs: their beginning, their end, their counts.
mod runs;
/// Attempts, rows of a run, what was seen.
mod reads;
/// What Stripe said of keys.
mod standings;
/// The lists of sites, as they were at their last run.
mod lists;
/// One thread writes: what is due goes into one transaction.
mod writer;
/// Runs that are begun, taken up, closed: who may.
mod turns;

pub use about::{About, about, newest_version};
pub use aside::set_aside;
pub(super) use source::{Rows, Source};

/// A store in a file, shared by the processes of one user on one machine.
///
/// One thread writes, another reads. Dropping it writes what is queued. What could not be written because the disk
/// is full, or another process does not let go of the file, is an error for the one who waits for it; all but
/// intents is kept all the same, and tried again until it is written.
#[derive(Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
    writes: Option<Sender<Job>>,
    reads: Option<Sender<Read>>,
    writer: Option<JoinHandle<()>>,
    reader: Option<JoinHandle<()>>,
}

/// What writing and reading share.
type Shared = super::shared::Shared<Place>;

/// Between two transactions that drop what is old: other processes ask again each 100 ms at most.
const TURN_OF_OTHERS: Duration = Duration::from_millis(50);

type Read = Box<dyn FnOnce(&Connection) + Send>;

impl SqliteStore {
    /// Opens the store at `path`, or begins an empty one; an older one is copied and upgraded. `by` is who works.
    ///
    /// # Errors
    /// When it is not safe there, damaged, of a newer version, or cannot be written: what, and what to do.
    pub fn open(path: &Path, by: Operator) -> Result<Self, StoreError> {
        let place = Place::prepare(path)?;
        let conn = schema::open(&place)?;
        let boot = columns::this_boot(&conn).map_err(|error| fault(&place.file, &error))?;
        let reader = schema::reader(&place)?;
        let shared = Arc::new(Shared::new(place, boot));
        let mut writer = Writer::new(conn, Arc::clone(&shared), by);
        writer.end_idle();
        let (asks, jobs) = mpsc::channel();
        let (reads, questions) = mpsc::channel();
        let writer = begin("store writer", move || writer.run(&jobs))?;
        let reader = begin("store reader", move || answer_all(&reader, &questions))?;
        Ok(Self {
            shared,
            writes: Some(asks),
            reads: Some(reads),
            writer: Some(writer),
            reader: Some(reader),
        })
    }

    /// Waits until all that was handed over so far is written, at most so long: for an end without [`Drop`].
    ///
    /// # Errors
    /// When something is not written: why not.
    pub fn flush(&self, limit: Duration) -> Result<(), StoreError> {
        let (reply, done) = mpsc::channel();
        self.ask(Job::Alone(Box::new(move |writer| {
            let _nobody_waits = reply.send(writer.flush());
        })));
        match done.recv_timeout(limit) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(StoreError::Failed(format!(
                "the store {} did not write everything within {} s",
                self.shared.place.file.display(),
                limit.as_secs()
            ))),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }

    /// An answer that never comes tells that the writer is gone.
    fn ask(&self, job: Job) {
        if let Some(writes) = &self.writes {
            let _gone = writes.send(job);
        }
    }

    fn change(&self, change: Change) -> impl Future<Output = Answer> + Send + 'static + use<> {
        let (reply, done) = oneshot::channel();
        self.ask(Job::Change(change, reply));
        async move { done.await.unwrap_or_else(|_| Err(ended())) }
    }

    /// As [`Self::change`], of what tells of a site.
    fn tell(
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

    async fn alone<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        self.ask(Job::Alone(Box::new(move |writer| {
            let _nobody_waits = reply.send(job(writer));
        })));
        done.await.unwrap_or_else(|_| Err(ended()))
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection, &Shared) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let read: Read = Box::new(move |conn| {
            let answer = question(conn, &shared).map_err(|error| fault(&shared.place.file, &error));
            let _nobody_waits = reply.send(answer);
        });
        if let Some(reads) = &self.reads {
            let _gone = reads.send(read);
        }
        done.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The writer last: who closes the file last puts SQLite's log into it.
        self.reads = None;
        join(self.reader.take());
        self.writes = None;
        join(self.writer.take());
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("a thread of the store panicked");
    }
}

fn begin(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| StoreError::Failed(format!("the store cannot start a thread: {error}")))
}

fn answer_all(conn: &Connection, questions: &Receiver<Read>) {
    for question in questions {
        question(conn);
    }
}

fn ended() -> StoreError {
    StoreError::Failed("the store has ended: please report this".to_owned())
}

/// Which open runs a process works on (`without` some), and then what `question` finds, as of one moment after that.
fn with_lives<T>(
    conn: &Connection,
    shared: &Shared,
    without: &[RunId],
    question: impl FnOnce(&Lives) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let lives = Lives::of(&shared.place, known::open_runs(conn)?).without(without);
    let moment = conn.unchecked_transaction()?;
    let answer = question(&lives)?;
    moment.commit()?;
    Ok(answer)
}

fn last_known(
    conn: &Connection,
    shared: &Shared,
    sites: &[SiteUrl],
    policy: &Policy,
    now: Moment,
) -> rusqlite::Result<Vec<Newest>> {
    let (own, since) = (shared.own(), shared.since(now));
    let newest = |known: known::Known| known.kept.newest(known.version, policy, now);
    with_lives(conn, shared, &own, |lives| {
        if fleet::is_asked_for(conn, sites)? {
            return fleet::newest(conn, lives, shared.boot, since, sites, newest);
        }
        let mut all = vec![Newest::default(); sites.len()];
        for known in known::known(conn, lives, shared.boot, since, sites)? {
            if let Some(place) = all.get_mut(known.index) {
                *place = newest(known);
            }
        }
        Ok(all)
    })
}

impl Store for SqliteStore {
    async fn begin_run(&self, run: NewRun) -> Result<RunId, StoreError> {
        self.alone(move |writer| writer.begin(&run)).await
    }

    async fn resume_run(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        self.alone(move |writer| writer.resume(run, at)).await
    }

    async fn run_sent(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        self.change(Change::Sent(run, at)).await.map(drop)
    }

    async fn end_run(&self, run: RunId, at: Moment) -> Result<bool, StoreError> {
        let done = self.change(Change::Ended(run, at)).await?;
        Ok(matches!(done, Done::Ended(true)))
    }

    async fn close_run(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        self.alone(move |writer| writer.close(run, at)).await
    }

    async fn record_intent(&self, intent: Intent) -> Result<Recorded, StoreError> {
        let basis = self.shared.basis(&intent.site);
        self.tell(Change::Intent(intent, basis)).await
    }

    fn record(&self, record: Record) -> impl Future<Output = Result<Recorded, StoreError>> + Send + 'static {
        let basis = self.shared.basis(&record.site);
        self.tell(Change::Record(Box::new(record), basis))
    }

    async fn last_known(
        &self,
        sites: &[SiteUrl],
        policy: &Policy,
        now: Moment,
    ) -> Result<Vec<Newest>, StoreError> {
        lock(&self.shared.policy).clone_from(policy);
        let (asked, policy) = (sites.to_vec(), policy.clone());
        self.read(move |conn, shared| last_known(conn, shared, &asked, &policy, now))
            .await
    }

    fn adopt<'a>(&self, newest: impl IntoIterator<Item = (&'a SiteUrl, &'a Newest)>) {
        let newest = newest.into_iter();
        self.shared
            .learn(newest.map(|(site, newest)| (site, newest.basis)));
    }

    async fn runs(&self, count: usize) -> Result<Vec<RunRecord>, StoreError> {
        self.read(move |conn, shared| {
            with_lives(conn, shared, &[], |lives| {
                runs::newest(conn, lives, shared.boot, count)
            })
        })
        .await
    }

    async fn unfinished_runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        self.alone(|writer| {
            writer.end_idle();
            Ok(())
        })
        .await?;
        self.read(|conn, shared| {
            with_lives(conn, shared, &[], |lives| {
                runs::unfinished(conn, lives, shared.boot)
            })
        })
        .await
    }

    async fn live_runs(&self) -> Result<Vec<LiveRun>, StoreError> {
        self.read(|conn, shared| {
            let live = with_lives(conn, shared, &[], |lives| runs::live(conn, lives, shared.boot))?;
            let of_run = |run: RunRecord| LiveRun {
                holder: holder_in(&works_on(&shared.place, run.id)),
                run,
            };
            Ok(live.into_iter().map(of_run).collect())
        })
        .await
    }

    async fn run_sites(&self, run: RunId) -> Result<Vec<RunSite>, StoreError> {
        self.read(move |conn, shared| {
            let live = is_live(&shared.place, run);
            reads::run_sites(conn, run, live)
        })
        .await
    }

    async fn site_runs(&self, site: &SiteUrl, count: usize) -> Result<Vec<SiteRun>, StoreError> {
        // What cannot be written just now is told by who handed it over.
        let _not_written = self.alone(Writer::flush).await;
        let site = site.clone();
        self.read(move |conn, shared| {
            with_lives(conn, shared, &[], |lives| {
                reads::site_runs(conn, lives, &site, count)
            })
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
        self.read(move |conn, _| reads::attempts(conn, run, site.as_ref(), count))
            .await
    }

    async fn timeline(&self, site: &SiteUrl, count: usize) -> Result<Vec<Seen>, StoreError> {
        let site = site.clone();
        self.read(move |conn, _| reads::timeline(conn, &site, count))
            .await
    }

    async fn was_served(&self, key: &PublishableKey) -> Result<bool, StoreError> {
        let key = key.clone();
        self.read(move |conn, _| reads::was_served(conn, &key)).await
    }

    async fn standing(&self, key: &PublishableKey) -> Result<Option<(Standing, Timestamp)>, StoreError> {
        let key = key.clone();
        self.read(move |conn, _| standings::standing(conn, &key)).await
    }

    async fn remember_standing(
        &self,
        key: &PublishableKey,
        standing: Standing,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let key = key.clone();
        self.alone(move |writer| {
            let kept = standings::remember(&mut writer.conn, &key, standing, at);
            kept.map_err(|error| writer.fault(&error))
        })
        .await
    }

    async fn list(&self, of: &str) -> Result<Option<Vec<SiteUrl>>, StoreError> {
        let name = of.to_owned();
        self.read(move |conn, _| lists::list(conn, &name)).await
    }

    async fn keep_list(&self, of: &str, sites: Vec<SiteUrl>) -> Result<(), StoreError> {
        let name = of.to_owned();
        self.alone(move |writer| writer.in_one(|writer| lists::keep(&writer.conn, &name, &sites)))
            .await
    }

    async fn acknowledge(
        &self,
        sites: &[SiteUrl],
        acknowledgement: Option<Acknowledgement>,
    ) -> Result<(), StoreError> {
        let sites = sites.to_vec();
        self.alone(move |writer| {
            writer.in_one(|writer| acknowledged::set(&writer.conn, &sites, acknowledgement.as_ref()))
        })
        .await
    }

    async fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        let all = self.read(|conn, _| acknowledged::all(conn)).await?;
        Ok(Acknowledged::new(all))
    }

    async fn told(&self) -> Result<Told, StoreError> {
        self.read(|conn, _| notices::told(conn)).await
    }

    async fn tell(
        &self,
        changes: Vec<watch::Change>,
        at: Timestamp,
    ) -> Result<Vec<watch::Change>, StoreError> {
        self.alone(move |writer| writer.in_one(|writer| notices::tell(&writer.conn, &changes, at)))
            .await
    }

    async fn has_changed(&self) -> Result<bool, StoreError> {
        self.alone(Writer::has_changed).await
    }

    async fn prune(&self, before: Timestamp) -> Result<usize, StoreError> {
        let at = Timestamp::now();
        let pruned = Pruned { at, before };
        let mut runs = 0;
        loop {
            let slice = self.alone(move |writer| writer.prune(pruned)).await?;
            runs += slice.runs;
            if slice.last {
                return Ok(runs);
            }
            tokio::time::sleep(TURN_OF_OTHERS).await;
        }
    }
}
