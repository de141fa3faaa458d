use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Error, PgConnection};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::hands::{ChunkTurn, Hands};
use super::patience::Patience;
use super::session::{Failure, lease, leave_work};
use super::{Place, Shared};
use crate::rules::moment::Moment;
use crate::store::left::Raised;
use crate::store::pending::{Answer, Change, Reply, Waiting};
use crate::store::shared::lock;
use crate::store::{NewRun, RunId, StoreError};

/// How long is waited before a connection is tried anew, at first and at last.
pub(super) const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How long a transaction may take before its connection counts as lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What a turn that is done alone comes to, if the server answers in time.
pub(super) async fn in_time<T>(turn: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let ended = timeout(PATIENCE, turn).await;
    ended.unwrap_or(Err(Failure::Sql(Error::PoolTimedOut)))
}

/// What the writer is asked for.
pub(super) enum Job {
    /// Goes into the next transaction.
    Change(Change, Reply),
    /// Comes after all that was asked for before.
    Turn(Turn),
    /// Nothing waits any longer for a server that is away.
    GiveUp,
}

/// Something about a run, or about all that was handed over.
pub(super) enum Turn {
    Begin(Box<NewRun>, oneshot::Sender<Result<RunId, StoreError>>),
    Resume(RunId, Moment, oneshot::Sender<Result<(), StoreError>>),
    Close(RunId, Moment, oneshot::Sender<Result<(), StoreError>>),
    EndIdle(oneshot::Sender<()>),
    Flush(oneshot::Sender<Result<(), StoreError>>),
    Chunk(ChunkTurn),
}

/// The connection on which is written. With it go the locks of the runs that this process works on.
pub(super) struct Session {
    pub(super) conn: PgConnection,
    /// The server's process for it, and since when: should the connection be lost, that one has to go.
    pub(super) pid: i32,
    pub(super) began: String,
}

/// What this process may do with a run that it works on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// The epoch of the run that is this process's.
    pub(super) epoch: i64,
    pub(super) sends: bool,
}

/// A batch that was committed, or was not: the connection was lost in between. Its changes are the first of what is not
/// written.
pub(super) struct Doubt {
    pub(super) batch: i64,
    pub(super) done: Vec<Answer>,
    pub(super) raises: HashMap<i64, Raised>,
}

/// What a turn makes of a run.
#[derive(Clone)]
pub(super) struct Outcome {
    pub(super) run: RunId,
    /// The right to work on it, if that was asked for.
    pub(super) work: Option<Work>,
    /// The versions of sites that were raised by it, as they were.
    pub(super) raised: Vec<(i64, i64)>,
}

/// A turn that was committed, or was not, as of a [`Doubt`].
pub(super) struct TurnDoubt {
    pub(super) batch: i64,
    pub(super) outcome: Outcome,
    /// Set where nobody waits for it any more: who asked was told that it came to nothing, and it is undone. Since when.
    pub(super) undone: Option<Moment>,
}

/// The one that writes.
pub(super) struct Writer {
    pub(super) session: Option<Session>,
    pub(super) shared: Arc<Shared>,
    /// The runs that this process works on.
    pub(super) works: BTreeMap<RunId, Work>,
    /// The chunks of other processes' runs that it has taken.
    pub(super) hands: Hands,
    /// Whether it is a worker: the others see that it lives.
    pub(super) takes_work: bool,
    /// The versions of sites that this process has made.
    pub(super) raised: HashMap<i64, Raised>,
    pub(super) batch: i64,
    pub(super) in_doubt: Option<Doubt>,
    pub(super) turn_in_doubt: Option<TurnDoubt>,
    /// The last batch that was committed, as it was found when the connection was made anew.
    pub(super) written: i64,
    /// The server's process of the connection that was lost.
    pub(super) left_behind: Option<(i32, String)>,
    /// What could not be written yet, in order.
    pub(super) unwritten: VecDeque<Waiting>,
    /// How long the server is waited for, and why what is not written is not.
    pub(super) patience: Patience,
    /// Why something was lost that can never be written.
    pub(super) lost: Option<StoreError>,
    pub(super) backoff: Duration,
    /// When a connection is tried anew, where there is none.
    pub(super) tries_at: Instant,
    pub(super) told: Option<Instant>,
}

impl Writer {
    pub(super) fn new(session: Session, shared: Arc<Shared>, patience: Patience) -> Self {
        Self {
            session: Some(session),
            shared,
            works: BTreeMap::new(),
            hands: Hands::default(),
            takes_work: false,
            raised: HashMap::new(),
            batch: 0,
            in_doubt: None,
            turn_in_doubt: None,
            written: 0,
            left_behind: None,
            unwritten: VecDeque::new(),
            patience,
            lost: None,
            backoff: BACKOFF.0,
            tries_at: Instant::now(),
            told: None,
        }
    }

    /// How long others wait for this process ([`lease`]).
    pub(super) fn lease(&self) -> f64 {
        lease(&lock(&self.shared.policy))
    }

    /// Nothing of the run is left for this process.
    pub(super) async fn leave(&mut self, run: RunId) {
        if self.works.remove(&run).is_none() {
            return;
        }
        self.shared.works_on(self.own());
        self.unlock(run).await;
    }

    /// Lets others work on the run.
    pub(super) async fn unlock(&mut self, run: RunId) {
        if let Some(mut session) = self.session.take() {
            let Place { class, process, .. } = self.shared.place;
            let leaving = async { Ok(leave_work(&mut session.conn, class, process, run).await?) };
            let left = self.patience.within(PATIENCE, leaving).await;
            self.keeps(session, left);
        }
    }

    /// Why something that has happened is not written yet, or never will be.
    pub(super) fn unwritten(&self) -> Result<(), StoreError> {
        let away = || self.patience.trouble.borrow().clone();
        match away() {
            Some(trouble) if !self.unwritten.is_empty() || self.session.is_none() => Err(trouble),
            _ => Ok(()),
        }
    }

    /// Tries once more, and says what is still not written.
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        self.write(Vec::new()).await;
        if !self.unwritten.is_empty() {
            self.unwritten()?;
        }
        self.lost.clone().map_or(Ok(()), Err)
    }

    /// The versions of these sites, which were such, were raised by this process.
    pub(super) fn has_raised(&mut self, sites: &[(i64, i64)]) {
        for (site, version) in sites {
            let raised = Raised::above(*version, self.raised.get(site));
            self.raised.insert(*site, raised);
        }
    }

    /// The runs that this process works on, wholly or in chunks.
    pub(super) fn own(&self) -> Vec<RunId> {
        let mut own = self.hands.runs();
        own.extend(self.works.keys());
        own.into_iter().collect()
    }
}
