use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, Error, PgConnection};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Shared;
use super::batch::{Batch, Decided, Who};
use super::fault::{Way, fault, way};
use super::session::{Entry, Failure, Fence, Lives, connect, enter, leave_work, live};
use super::{known, load, runs, write};
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::site::SiteUrl;
use crate::store::left::{Raised, no_right};
use crate::store::pending::{Answer, Change, Done, Pending, Reply, Waiting};
use crate::store::shared::lock;
use crate::store::{NewRun, Operator, Recorded, RunId, StoreError};

/// As in `store/sqlite/writer.rs`: how long the first change waits for others.
const GATHER: Duration = Duration::from_millis(4);
/// How often a process that works on a run looks whether its connection is there: the right to work on it ends with it.
const PULSE: Duration = Duration::from_secs(2);
/// How long a transaction may take before its connection counts as lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long is waited before a connection is tried anew, at first and at last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// The others are told of changes so often at most: to tell them holds up who tells beside it.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// So often a transaction is tried that another one stood in the way of.
const TRIES: u32 = 5;

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
}

/// The connection on which is written. With it go the locks of the runs that this process works on.
pub(super) struct Session {
    pub(super) conn: PgConnection,
    /// The server's process for it, and since when: should the connection be lost, that one has to go.
    pid: i32,
    began: String,
}

impl Session {
    pub(super) async fn open(shared: &Shared) -> Result<Self, Error> {
        let mut conn = connect(&shared.place.options).await?;
        // The tables are asked by their keys only, and are small when the plans are made.
        sqlx::raw_sql("SET enable_seqscan = off")
            .execute(&mut conn)
            .await?;
        let own = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let (pid, began) = sqlx::query_as(own).fetch_one(&mut conn).await?;
        Ok(Self { conn, pid, began })
    }
}

/// What this process may do with a run that it works on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// The epoch of the run that is this process's.
    pub(super) epoch: i64,
    pub(super) sends: bool,
}

/// A batch that was committed, or was not: the connection was lost in between.
struct Doubt {
    batch: i64,
    done: Vec<Answer>,
    raises: HashMap<i64, Raised>,
}

/// The one that writes.
pub(super) struct Writer {
    pub(super) session: Option<Session>,
    pub(super) shared: Arc<Shared>,
    pub(super) by: Operator,
    /// The runs that this process works on.
    pub(super) works: BTreeMap<RunId, Work>,
    /// The versions of sites that this process has made.
    raised: HashMap<i64, Raised>,
    batch: i64,
    in_doubt: Option<Doubt>,
    /// The server's process of the connection that was lost.
    left_behind: Option<(i32, String)>,
    /// What could not be written yet, in order.
    unwritten: VecDeque<Waiting>,
    /// Why not.
    trouble: watch::Sender<Option<StoreError>>,
    /// Why something was lost that can never be written.
    lost: Option<StoreError>,
    backoff: Duration,
    /// When a connection is tried anew, where there is none.
    tries_at: Instant,
    /// Whether nothing waits for a server that is away.
    pub(super) gives_up: bool,
    told: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        session: Session,
        shared: Arc<Shared>,
        by: Operator,
        trouble: watch::Sender<Option<StoreError>>,
    ) -> Self {
        Self {
            session: Some(session),
            shared,
            by,
            works: BTreeMap::new(),
            raised: HashMap::new(),
            batch: 0,
            in_doubt: None,
            left_behind: None,
            unwritten: VecDeque::new(),
            trouble,
            lost: None,
            backoff: BACKOFF.0,
            tries_at: Instant::now(),
            gives_up: false,
            told: None,
        }
    }

    /// Until nobody asks any more.
    pub(super) async fn run(mut self, mut jobs: UnboundedReceiver<Job>) {
        let mut pending = Pending::default();
        loop {
            let first = if pending.is_empty() {
                match self.wait(&mut jobs).await {
                    Some(job) => Some(job),
                    None => break,
                }
            } else {
                None
            };
            if !matches!(first, Some(Job::Turn(_) | Job::GiveUp)) {
                sleep(GATHER).await;
            }
            let now = std::time::Instant::now();
            match gather(&mut pending, first, &mut jobs, now) {
                Gathered::Changes => {
                    let due = pending.take_due(now);
                    self.write(due).await;
                }
                Gathered::Turn(turn) => {
                    self.write(pending.take()).await;
                    self.take_turn(turn).await;
                }
                Gathered::GivenUp => {
                    self.gives_up = true;
                    self.write(pending.take()).await;
                }
                Gathered::End => break,
            }
        }
        self.write(pending.take()).await;
        self.end().await;
    }

    /// The next job; meanwhile the connection is watched, or tried anew. None where nobody asks any more.
    async fn wait(&mut self, jobs: &mut UnboundedReceiver<Job>) -> Option<Job> {
        loop {
            let until = match &self.session {
                None => self.tries_at,
                Some(_) if self.works.is_empty() => return jobs.recv().await,
                Some(_) => Instant::now() + PULSE,
            };
            tokio::select! {
                job = jobs.recv() => return job,
                () = sleep_until(until) => {}
            }
            if self.session.is_some() {
                self.pulse().await;
            } else {
                self.write(Vec::new()).await;
            }
        }
    }

    /// An operator's order does not wait for the next try.
    pub(super) async fn connect_now(&mut self) {
        if self.session.is_none() {
            self.tries_at = Instant::now();
            self.write(Vec::new()).await;
        }
    }

    pub(super) async fn pulse(&mut self) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        match timeout(PATIENCE, session.conn.ping()).await {
            Ok(Ok(())) => self.session = Some(session),
            Ok(Err(error)) => self.is_cut_off(session, &error),
            Err(_) => self.is_cut_off(session, &Error::PoolTimedOut),
        }
    }

    /// The connection is of no use any more.
    pub(super) fn is_cut_off(&mut self, session: Session, error: &Error) {
        let error = fault(error);
        tracing::warn!(%error, "the connection to the store is lost");
        let Session { conn, pid, began } = session;
        self.left_behind = Some((pid, began));
        self.trouble.send_replace(Some(error));
        self.backoff = BACKOFF.0;
        self.tries_at = Instant::now() + self.backoff;
        // The server's process may hang on it: nothing is waited for.
        drop(conn);
    }

    /// Tries to connect, where there is no connection and it is time for that.
    async fn is_connected(&mut self) -> bool {
        if self.session.is_some() {
            return true;
        }
        if Instant::now() < self.tries_at {
            return false;
        }
        let tried = timeout(PATIENCE, self.reconnect()).await;
        let error = match tried.unwrap_or(Err(Failure::Sql(Error::PoolTimedOut))) {
            Ok(session) => {
                tracing::info!("the store is connected again");
                self.session = Some(session);
                self.backoff = BACKOFF.0;
                self.trouble.send_replace(None);
                return true;
            }
            Err(failure) => StoreError::from(failure),
        };
        self.trouble.send_replace(Some(error));
        self.tries_at = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
        false
    }

    /// A new connection, with the rights that the last one had as far as nobody else has them now. Before anything is
    /// written on it.
    async fn reconnect(&mut self) -> Result<Session, Failure> {
        let mut session = Session::open(&self.shared).await?;
        if let Some((pid, began)) = &self.left_behind {
            // Its network may be gone while the server has not noticed that: it holds our locks.
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE pid = $1 AND backend_start::text = $2 AND usename = current_user",
            )
            .bind(pid)
            .bind(began)
            .execute(&mut session.conn)
            .await?;
        }
        let own = self.own();
        let entry = Entry {
            process: self.shared.place.process,
            batch: None,
            tells: false,
            runs: &own,
        };
        let (mut change, fences) = enter(&mut session.conn, &entry).await?;
        let written: i64 = sqlx::query_scalar("SELECT batch FROM processes WHERE id = $1")
            .bind(self.shared.place.process)
            .fetch_one(&mut *change)
            .await?;
        let mut kept = BTreeMap::new();
        for (run, work) in &self.works {
            let Some(work) = still(*work, fences.get(run)) else {
                continue;
            };
            if !super::session::try_work(&mut change, self.shared.place.class, *run).await? {
                // Nobody else has taken it up: it is our own connection, which the server does not let go of yet.
                return Err(Failure::Sql(Error::PoolTimedOut));
            }
            kept.insert(*run, work);
        }
        change.commit().await?;
        for run in own.iter().filter(|run| !kept.contains_key(run)) {
            tracing::warn!(run = run.0, "another process has taken the run up meanwhile");
        }
        self.works = kept;
        self.shared.works_on(self.own());
        self.left_behind = None;
        self.settle_doubt(written);
        Ok(session)
    }

    /// Whether the batch of which nobody knew was committed.
    fn settle_doubt(&mut self, written: i64) {
        let Some(doubt) = self.in_doubt.take() else {
            return;
        };
        if doubt.batch == written {
            let count = doubt.done.len().min(self.unwritten.len());
            let all = self.unwritten.drain(..count).collect();
            self.raised.extend(doubt.raises);
            self.answer_all(all, doubt.done);
        }
    }

    /// Writes what is left from before, and the batch. What cannot be written now is kept, with who waits for it.
    pub(super) async fn write(&mut self, batch: Vec<Waiting>) {
        self.unwritten.extend(batch);
        while !self.unwritten.is_empty() || self.session.is_none() {
            if !self.is_connected().await {
                return self.let_go_of_waiting();
            }
            let Some(segment) = self.next_segment() else {
                return;
            };
            self.write_segment(segment).await;
        }
    }

    /// Who waits is told that it is in vain, where that was ordered. What has happened is kept all the same; a PUT that
    /// was only intended is not sent. What may have been committed is decided first.
    fn let_go_of_waiting(&mut self) {
        let Some(why) = self.trouble.borrow().clone().filter(|_| self.gives_up) else {
            return;
        };
        for (_, reply) in &mut self.unwritten {
            answer(reply.take(), Err(why.clone()));
        }
    }

    /// What goes into one transaction. A PUT that nobody waits for any more is not sent: it is none.
    fn next_segment(&mut self) -> Option<Vec<Waiting>> {
        let is_given_up = |(change, reply): &Waiting| {
            matches!(change, Change::Intent(..)) && reply.as_ref().is_none_or(oneshot::Sender::is_closed)
        };
        self.unwritten.retain(|waiting| !is_given_up(waiting));
        let of_run = |(change, _): &Waiting| matches!(change, Change::Sent(..) | Change::Ended(..));
        let count = match self.unwritten.iter().position(of_run) {
            Some(0) => 1,
            Some(place) => place,
            None => self.unwritten.len(),
        };
        let segment: Vec<Waiting> = self.unwritten.drain(..count).collect();
        (!segment.is_empty()).then_some(segment)
    }

    async fn write_segment(&mut self, segment: Vec<Waiting>) {
        match self.try_segment(&segment).await {
            Ok(done) => self.answer_all(segment, done),
            Err(Failure::Refused(error)) => self.is_lost(segment, &error),
            Err(Failure::Sql(error)) if way(&error) != Way::Never => self.put_back(segment),
            Err(Failure::Sql(error)) if segment.len() == 1 => self.is_lost(segment, &fault(&error)),
            // One of them cannot be written, ever: the others must not suffer for it.
            Err(Failure::Sql(_)) => {
                let mut rest = VecDeque::from(segment);
                while let Some(one) = rest.pop_front() {
                    if self.session.is_none() {
                        rest.push_front(one);
                        return self.put_back(rest.into());
                    }
                    let one = vec![one];
                    match self.try_segment(&one).await {
                        Ok(done) => self.answer_all(one, done),
                        Err(Failure::Sql(error)) if way(&error) != Way::Never => self.put_back(one),
                        Err(failure) => self.is_lost(one, &StoreError::from(failure)),
                    }
                }
            }
        }
    }

    /// In the order in which it was handed over.
    fn put_back(&mut self, segment: Vec<Waiting>) {
        for waiting in segment.into_iter().rev() {
            self.unwritten.push_front(waiting);
        }
    }

    /// It can never be written, and so nothing waits for that.
    fn is_lost(&mut self, all: Vec<Waiting>, error: &StoreError) {
        tracing::error!(%error, "something cannot be recorded");
        self.lost = Some(error.clone());
        for (_, reply) in all {
            answer(reply, Err(error.clone()));
        }
    }

    fn answer_all(&mut self, all: Vec<Waiting>, done: Vec<Answer>) {
        for ((_, reply), done) in all.into_iter().zip(done) {
            answer(reply, done);
        }
    }

    /// All of it in one transaction, or nothing. Where the connection is lost in between, it is gone behind this.
    async fn try_segment(&mut self, segment: &[Waiting]) -> Result<Vec<Answer>, Failure> {
        let mut tries = 0;
        loop {
            let Some(mut session) = self.session.take() else {
                return Err(Failure::Sql(Error::PoolTimedOut));
            };
            self.batch += 1;
            let mut committing = None;
            let trying = self.commit(&mut session.conn, segment, &mut committing);
            let done = timeout(PATIENCE, trying)
                .await
                .unwrap_or(Err(Failure::Sql(Error::PoolTimedOut)));
            let error = match done {
                Ok(()) => {
                    self.session = Some(session);
                    let doubt = committing.take();
                    let Some(doubt) = doubt else {
                        return Ok(Vec::new());
                    };
                    self.raised.extend(doubt.raises);
                    self.follow(segment, &doubt.done).await;
                    return Ok(doubt.done);
                }
                Err(Failure::Sql(error)) => error,
                Err(refused) => {
                    self.session = Some(session);
                    return Err(refused);
                }
            };
            tries += 1;
            match way(&error) {
                Way::Again if tries < TRIES => self.session = Some(session),
                Way::Never => {
                    self.session = Some(session);
                    return Err(Failure::Sql(error));
                }
                Way::Again | Way::Later => {
                    self.in_doubt = committing;
                    self.is_cut_off(session, &error);
                    return Err(Failure::Sql(error));
                }
            }
        }
    }

    async fn commit(
        &mut self,
        conn: &mut PgConnection,
        segment: &[Waiting],
        committing: &mut Option<Doubt>,
    ) -> Result<(), Failure> {
        let own = self.own();
        let shared = Arc::clone(&self.shared);
        let entry = Entry {
            process: shared.place.process,
            batch: Some(self.batch),
            tells: self.is_to_tell(),
            runs: &own,
        };
        let (mut change, fences) = enter(conn, &entry).await?;
        self.keep_what_is_ours(&fences);
        let policy = lock(&shared.policy).clone();
        let (done, raises) = match segment.first() {
            Some((Change::Sent(run, at), _)) => {
                (vec![self.sent(&mut change, *run, *at).await?], HashMap::new())
            }
            Some((Change::Ended(run, at), _)) => {
                (vec![self.ended(&mut change, *run, *at).await?], HashMap::new())
            }
            _ => self.decide(&mut change, segment, &policy).await?,
        };
        *committing = Some(Doubt {
            batch: self.batch,
            done,
            raises,
        });
        change.commit().await?;
        Ok(())
    }

    /// What several changes come to, and the versions of sites that they raise.
    async fn decide(
        &self,
        change: &mut PgConnection,
        segment: &[Waiting],
        policy: &Policy,
    ) -> Result<(Vec<Answer>, HashMap<i64, Raised>), Failure> {
        let (own, class) = (self.own(), self.shared.place.class);
        let read = load::read(change, class, &own, segment.iter().map(|(change, _)| change)).await?;
        let sends: HashSet<RunId> = self
            .works
            .iter()
            .filter(|(_, work)| work.sends)
            .map(|(run, _)| *run)
            .collect();
        let who = Who {
            policy,
            own: &own,
            sends: &sends,
            live: &read.live,
            held: &read.held,
            raised: &self.raised,
        };
        let mut batch = Batch::new(who, read.sites);
        let mut done = Vec::with_capacity(segment.len());
        let mut taken_over = Vec::new();
        for (place, (change, _)) in segment.iter().enumerate() {
            let (decided, site, at, run) = match change {
                Change::Intent(intent, basis) => {
                    let decided = batch.intend(intent, *basis)?;
                    (decided, &intent.site, intent.at, intent.run)
                }
                Change::Record(record, basis) => {
                    let decided = batch.record(record, *basis)?;
                    (decided, &record.site, record.at, RunId(0))
                }
                Change::Sent(..) | Change::Ended(..) => continue,
            };
            if decided == Decided::TakenOver {
                taken_over.push((place, site, at));
            }
            done.push(match decided {
                Decided::Known | Decided::TakenOver => Ok(Done::Recorded(Recorded::Known)),
                Decided::NoRight => Err(no_right(run)),
            });
        }
        write::write(change, self.shared.boot, &batch).await?;
        let raises = std::mem::take(&mut batch.raises);
        self.tell_what_is_known(change, policy, &taken_over, &mut done)
            .await?;
        Ok((done, raises))
    }

    /// What is known of sites in place of what this process thinks. What it works on itself is like what the dead have
    /// left: it begins anew with what they did.
    async fn tell_what_is_known(
        &self,
        change: &mut PgConnection,
        policy: &Policy,
        taken_over: &[(usize, &SiteUrl, Moment)],
        done: &mut [Answer],
    ) -> Result<(), Failure> {
        let Some((.., at)) = taken_over.first() else {
            return Ok(());
        };
        let (boot, since) = (self.shared.boot, self.shared.since(*at));
        let lives = Lives::read(change, self.shared.place.class).await?;
        let lives = lives.without(&self.own());
        let sites = taken_over.iter().map(|(_, site, _)| *site);
        for known in known::known(change, &lives, boot, since, sites).await? {
            if let Some((place, _, at)) = taken_over.get(known.index) {
                let newest = known.kept.newest(known.version, policy, *at);
                done[*place] = Ok(Done::Recorded(Recorded::TakenOver(Box::new(newest))));
            }
        }
        Ok(())
    }

    async fn sent(&self, change: &mut PgConnection, run: RunId, at: Moment) -> Result<Answer, Failure> {
        if !self.works.contains_key(&run) {
            return Ok(Err(no_right(run)));
        }
        runs::sent(change, self.shared.boot, run, at).await?;
        Ok(Ok(Done::Sent))
    }

    async fn ended(&self, change: &mut PgConnection, run: RunId, at: Moment) -> Result<Answer, Failure> {
        let own = self.own();
        runs::hold(change, run).await?;
        let is_anothers = !own.contains(&run) && live(change, self.shared.place.class).await?.contains(&run);
        let ended = !is_anothers && runs::end(change, self.shared.boot, &own, run, at).await?;
        Ok(Ok(Done::Ended(ended)))
    }

    /// What follows from the end of what is written.
    async fn follow(&mut self, segment: &[Waiting], done: &[Answer]) {
        match (segment.first(), done.first()) {
            (Some((Change::Sent(run, _), _)), Some(Ok(_))) => {
                if let Some(work) = self.works.get_mut(run) {
                    work.sends = false;
                }
            }
            (Some((Change::Ended(run, _), _)), Some(Ok(Done::Ended(ended)))) => {
                let sends = self.works.get(run).is_some_and(|work| work.sends);
                if *ended || !sends {
                    self.leave(*run).await;
                }
            }
            _ => {}
        }
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
            match leave_work(&mut session.conn, self.shared.place.class, run).await {
                Ok(()) => self.session = Some(session),
                Err(error) => self.is_cut_off(session, &error),
            }
        }
    }

    /// The runs of which another process has taken nothing.
    fn keep_what_is_ours(&mut self, fences: &BTreeMap<RunId, Fence>) {
        let before = self.works.len();
        self.works = std::mem::take(&mut self.works)
            .into_iter()
            .filter_map(|(run, work)| Some((run, still(work, fences.get(&run))?)))
            .collect();
        if self.works.len() != before {
            self.shared.works_on(self.own());
        }
    }

    /// Whether it is time to tell the others.
    fn is_to_tell(&mut self) -> bool {
        let now = Instant::now();
        let tells = self
            .told
            .is_none_or(|told| now.duration_since(told) >= TELL_EVERY);
        if tells {
            self.told = Some(now);
        }
        tells
    }

    /// Why something that has happened is not written yet, or never will be.
    pub(super) fn unwritten(&self) -> Result<(), StoreError> {
        let away = || self.trouble.borrow().clone();
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

    /// The runs that this process works on.
    pub(super) fn own(&self) -> Vec<RunId> {
        self.works.keys().copied().collect()
    }

    async fn end(mut self) {
        if !self.unwritten.is_empty() {
            tracing::error!(
                unwritten = self.unwritten.len(),
                "what happened could not be recorded"
            );
        }
        if let Some(mut session) = self.session.take() {
            // Who looks next must not find a process that is gone.
            let let_go = async {
                sqlx::raw_sql("SELECT pg_advisory_unlock_all()")
                    .execute(&mut session.conn)
                    .await?;
                session.conn.close().await
            };
            if let Ok(Err(error)) = timeout(super::GOODBYE, let_go).await {
                tracing::info!(%error, "the store was left without a word");
            }
        }
    }
}

/// What is left of the right to work on a run.
fn still(work: Work, fence: Option<&Fence>) -> Option<Work> {
    let fence = fence.filter(|fence| fence.epoch == work.epoch)?;
    Some(Work {
        sends: work.sends && fence.sends,
        ..work
    })
}

/// What the queue held.
enum Gathered {
    /// Nothing but changes.
    Changes,
    /// At its end something that is done alone, when all before it is written.
    Turn(Turn),
    /// At its end the order that nothing waits.
    GivenUp,
    /// Nobody asks any more.
    End,
}

/// Moves what is in the queue, behind `first`, to what is pending, until something else than a change comes.
fn gather(
    pending: &mut Pending,
    first: Option<Job>,
    jobs: &mut UnboundedReceiver<Job>,
    now: std::time::Instant,
) -> Gathered {
    let mut next = first.map_or_else(|| jobs.try_recv(), Ok);
    loop {
        match next {
            Ok(Job::Change(change, reply)) => pending.push(change, reply, now),
            Ok(Job::Turn(turn)) => return Gathered::Turn(turn),
            Ok(Job::GiveUp) => return Gathered::GivenUp,
            Err(TryRecvError::Empty) => return Gathered::Changes,
            Err(TryRecvError::Disconnected) => return Gathered::End,
        }
        if pending.is_full() {
            return Gathered::Changes;
        }
        next = jobs.try_recv();
    }
}

/// Nobody may be left who waits for it.
fn answer(reply: Option<Reply>, result: Answer) {
    if let Some(reply) = reply {
        let _nobody_waits = reply.send(result);
    }
}
