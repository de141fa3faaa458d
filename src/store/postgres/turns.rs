use std::time::Duration;

use sqlx::{Error, PgConnection};
use tokio::time::Instant;

use super::columns::{Result as Asked, run};
use super::fault::{Way, fault, way};
use super::queue::TRIES;
use super::session::{Entry, Failure, enter, free_in, live, try_work};
use super::writer::{Outcome, PATIENCE, Session, Turn, TurnDoubt, Work, Writer};
use super::{Place, plans, runs};
use crate::rules::moment::Moment;
use crate::store::left::no_right;
use crate::store::shared::lock;
use crate::store::{Holder, NewRun, RunId, StoreError};

type Told<T> = Result<T, Failure>;

/// How long somebody waits to be told what came of a turn whose answer was lost with the connection.
const FIND_OUT: Duration = Duration::from_mins(1);

/// What a turn does with a run, and by when.
enum Deed<'a> {
    Begin(&'a NewRun),
    Resume(RunId, Moment),
    Close(RunId, Moment),
}

impl Deed<'_> {
    /// One that is there already.
    fn run(&self) -> Option<RunId> {
        match self {
            Self::Begin(_) => None,
            Self::Resume(run, _) | Self::Close(run, _) => Some(*run),
        }
    }

    fn at(&self) -> Moment {
        match self {
            Self::Begin(new) => new.at,
            Self::Resume(_, at) | Self::Close(_, at) => *at,
        }
    }

    /// How long it may take. A plan may have a hundred thousand sites.
    fn limit(&self) -> Duration {
        match self {
            Self::Begin(_) => PATIENCE * 4,
            Self::Resume(..) | Self::Close(..) => PATIENCE,
        }
    }
}

impl Outcome {
    /// The run is this process's, by its `epoch`.
    fn sends(run: RunId, epoch: i64) -> Self {
        let work = Some(Work { epoch, sends: true });
        Self {
            run,
            work,
            raised: Vec::new(),
        }
    }
}

impl Writer {
    pub(super) async fn take_turn(&mut self, turn: Turn) {
        match turn {
            Turn::Begin(new, reply) => {
                self.patience.gives_up = false;
                let begun = self.begin(&new).await;
                let _nobody_waits = reply.send(begun);
            }
            Turn::Resume(run, at, reply) => {
                self.patience.gives_up = false;
                let resumed = self.resume(run, at).await;
                let _nobody_waits = reply.send(resumed);
            }
            Turn::Close(run, at, reply) => {
                let closed = self.close(run, at).await;
                let _nobody_waits = reply.send(closed);
            }
            Turn::Chunk(turn) => self.take_chunk_turn(turn).await,
            Turn::EndIdle(reply) => {
                self.end_idle().await;
                let _nobody_waits = reply.send(());
            }
            Turn::Flush(reply) => {
                let flushed = self.flush().await;
                let _nobody_waits = reply.send(flushed);
            }
        }
    }

    /// The connection, where all that happened before is written: written later it would take a right away that was
    /// given since.
    pub(super) async fn ready(&mut self) -> Result<Session, StoreError> {
        self.write(Vec::new()).await;
        // It may have been lost long ago, while nothing was asked of it.
        self.pulse().await;
        self.connect_now().await;
        self.unwritten()?;
        self.session.take().ok_or_else(|| fault(&Error::PoolTimedOut))
    }

    /// Takes the connection back, if it is of use yet.
    pub(super) fn done<T>(&mut self, session: Session, done: Told<T>) -> Result<T, StoreError> {
        match done {
            Err(Failure::Sql(error)) if way(&error) == Way::Later => {
                self.is_cut_off(session, &error);
                Err(fault(&error))
            }
            done => {
                self.session = Some(session);
                done.map_err(StoreError::from)
            }
        }
    }

    pub(super) fn entry(&self) -> Entry<'static> {
        Entry {
            process: self.shared.place.process,
            batch: None,
            tells: true,
            lease: self.lease(),
            runs: &[],
            heeds: &[],
        }
    }

    /// Why not: who is at work.
    fn busy(&self, holder: Holder) -> Failure {
        let holder = self.shared.place.sees(holder);
        Failure::Refused(StoreError::Busy(Box::new(holder)))
    }

    async fn begin(&mut self, new: &NewRun) -> Result<RunId, StoreError> {
        let begun = self.carry_out(&Deed::Begin(new)).await?;
        Ok(begun.run)
    }

    async fn resume(&mut self, run: RunId, at: Moment) -> Result<(), StoreError> {
        if self.works.get(&run).is_some_and(|work| work.sends) {
            return Ok(());
        }
        self.carry_out(&Deed::Resume(run, at)).await.map(drop)
    }

    async fn close(&mut self, run: RunId, at: Moment) -> Result<(), StoreError> {
        let closed = self.carry_out(&Deed::Close(run, at)).await?;
        self.has_raised(&closed.raised);
        self.unlock(run).await;
        Ok(())
    }

    /// Does it in one transaction: again, where another one stood in its way. Where the connection is lost before the
    /// answer to its COMMIT, it is found out on the next one whether it was done.
    async fn carry_out(&mut self, deed: &Deed<'_>) -> Result<Outcome, StoreError> {
        let mut tries = 0;
        loop {
            let mut session = self.ready().await?;
            self.batch += 1;
            tries += 1;
            let mut committing = None;
            let patience = self.patience.clone();
            let trying = self.attempt(&mut session.conn, deed, &mut committing);
            let error = match (patience.within(deed.limit(), trying).await, committing.clone()) {
                (Ok(()), Some(outcome)) => {
                    self.session = Some(session);
                    self.is_well();
                    return Ok(self.is_done(outcome));
                }
                (Ok(()), None) => Error::PoolTimedOut,
                (Err(Failure::Sql(error)), _) => error,
                (Err(Failure::Refused(refused)), _) => {
                    self.session = Some(session);
                    self.let_go(deed, committing.as_ref()).await;
                    return Err(refused);
                }
            };
            let goes_again = tries < TRIES && way(&error) == Way::Again;
            match (way(&error), committing) {
                (Way::Later, Some(outcome)) => {
                    self.is_cut_off(session, &error);
                    if let Some(outcome) = self.find_out(outcome, deed.at()).await? {
                        return Ok(self.is_done(outcome));
                    }
                }
                (Way::Later, None) => {
                    self.is_cut_off(session, &error);
                    return Err(fault(&error));
                }
                (_, committing) => {
                    self.session = Some(session);
                    self.let_go(deed, committing.as_ref()).await;
                    if !goes_again {
                        return Err(fault(&error));
                    }
                }
            }
        }
    }

    /// It is on record, and known here from now on.
    fn is_done(&mut self, outcome: Outcome) -> Outcome {
        match outcome.work {
            Some(work) => self.works.insert(outcome.run, work),
            None => self.works.remove(&outcome.run),
        };
        self.shared.works_on(self.own());
        outcome
    }

    /// It came to nothing: others may work on the run, unless this process does.
    async fn let_go(&mut self, deed: &Deed<'_>, committing: Option<&Outcome>) {
        let run = deed.run().or(committing.map(|outcome| outcome.run));
        if let Some(run) = run.filter(|run| !self.works.contains_key(run)) {
            self.unlock(run).await;
        }
    }

    /// What was lost with the connection that its COMMIT went out on, once there is a new one: none where it was not
    /// done. Where that takes too long, or the operator ends the wait, it is undone as soon as there is one.
    async fn find_out(&mut self, outcome: Outcome, at: Moment) -> Result<Option<Outcome>, StoreError> {
        let (batch, run, work) = (self.batch, outcome.run, outcome.work);
        self.turn_in_doubt = Some(TurnDoubt {
            batch,
            outcome: outcome.clone(),
            undone: None,
        });
        let until = Instant::now() + FIND_OUT;
        while !self.is_connected().await {
            let given_up = self.patience.waits_until(self.tries_at).await;
            if given_up || Instant::now() > until {
                if let Some(doubt) = &mut self.turn_in_doubt {
                    doubt.undone = Some(at);
                }
                return Err(self
                    .unwritten()
                    .err()
                    .unwrap_or_else(|| fault(&Error::PoolTimedOut)));
            }
        }
        if self.written != batch {
            return Ok(None);
        }
        let is_ours = self.works.get(&run).map(|work| work.epoch) == work.map(|work| work.epoch);
        if is_ours {
            Ok(Some(outcome))
        } else {
            Err(no_right(run))
        }
    }

    async fn attempt(
        &self,
        conn: &mut PgConnection,
        deed: &Deed<'_>,
        committing: &mut Option<Outcome>,
    ) -> Told<()> {
        if let Some(run) = deed.run() {
            must_exist(conn, run).await?;
        }
        let entry = Entry {
            batch: Some(self.batch),
            ..self.entry()
        };
        let (mut change, _) = enter(conn, &entry).await?;
        let tried = match deed {
            Deed::Begin(new) => self.try_begin(&mut change, new).await,
            Deed::Resume(run, at) => self.try_resume(&mut change, *run, *at).await,
            Deed::Close(run, at) => self.try_close(&mut change, *run, *at).await,
        };
        match tried {
            Ok(outcome) => *committing = Some(outcome),
            Err(failure) => {
                // Others wait for what it holds. Why it came to nothing says more than why that is not ended.
                let _ended = change.rollback().await;
                return Err(failure);
            }
        }
        change.commit().await?;
        Ok(())
    }

    async fn try_begin(&self, change: &mut PgConnection, new: &NewRun) -> Told<Outcome> {
        let Place { class, process, .. } = self.shared.place;
        plans::alone(change).await?;
        let run = plans::begin(change, (&self.shared.place.by, process), self.shared.boot, new).await?;
        plans::plan(change, run, &new.sites).await?;
        if let Some(holder) = plans::take_sites(change, class, process, run).await? {
            return Err(self.busy(holder));
        }
        // Before others can see the run: none must think that nobody works on it.
        if !try_work(change, class, run).await? {
            return Err(Failure::Sql(Error::PoolTimedOut));
        }
        Ok(Outcome::sends(run, 1))
    }

    async fn try_resume(&self, change: &mut PgConnection, run: RunId, at: Moment) -> Told<Outcome> {
        let Place { class, process, .. } = self.shared.place;
        plans::alone(change).await?;
        self.take_work(change, run).await?;
        let epoch = runs::take_up(change, run, (&self.shared.place.by, process), at).await?;
        runs::reopen(change, run).await?;
        if !self.works.contains_key(&run) {
            runs::forget_chunks(change, run).await?;
        }
        if let Some(holder) = plans::take_sites(change, class, process, run).await? {
            return Err(self.busy(holder));
        }
        Ok(Outcome::sends(run, epoch))
    }

    async fn try_close(&self, change: &mut PgConnection, run: RunId, at: Moment) -> Told<Outcome> {
        let policy = lock(&self.shared.policy).clone();
        self.take_work(change, run).await?;
        runs::hold(change, run).await?;
        runs::take_up(
            change,
            run,
            (&self.shared.place.by, self.shared.place.process),
            at,
        )
        .await?;
        let raised = runs::close(change, self.shared.boot, &policy, run, at).await?;
        Ok(Outcome {
            run,
            work: None,
            raised,
        })
    }

    /// The right to work on the run, if this process has not got it.
    async fn take_work(&self, change: &mut PgConnection, run: RunId) -> Told<()> {
        if self.works.contains_key(&run) {
            return Ok(());
        }
        let Place { class, process, .. } = self.shared.place;
        let mut free = None;
        if try_work(change, class, run).await? {
            free = free_in(change, process, run).await?;
            if free.is_none() {
                return Ok(());
            }
        }
        let holder = runs::holder(change, run).await?.ok_or(Error::RowNotFound)?;
        Err(self.busy(Holder {
            free_in: free,
            ..holder
        }))
    }

    /// Ends the runs whose process died with nothing left to do. Where that cannot be written now, a later start
    /// does it.
    pub(super) async fn end_idle(&mut self) {
        let Ok(mut session) = self.ready().await else {
            return;
        };
        let patience = self.patience.clone();
        let ended = patience
            .within(PATIENCE, self.try_end_idle(&mut session.conn))
            .await;
        match ended {
            Err(Failure::Sql(error)) if way(&error) == Way::Later => self.is_cut_off(session, &error),
            ended => {
                self.session = Some(session);
                if let Err(error) = ended.map_err(StoreError::from) {
                    tracing::warn!(%error, "a run that is over could not be ended");
                }
            }
        }
    }

    async fn try_end_idle(&self, conn: &mut PgConnection) -> Told<()> {
        let own = self.own();
        let Place { class, process, .. } = self.shared.place;
        let open = open_runs(conn).await?;
        let live = live(conn, class).await?;
        for id in open {
            if own.contains(&id) || live.contains(&id) || !runs::is_over(conn, &own, id).await? {
                continue;
            }
            // Somebody may take it up in the meantime, and then it is not over.
            if try_work(conn, class, id).await? {
                let ended = self.end_dead(conn, &own, id).await;
                super::session::leave_work(conn, class, process, id).await?;
                ended?;
            }
        }
        Ok(())
    }

    async fn end_dead(&self, conn: &mut PgConnection, own: &[RunId], id: RunId) -> Told<()> {
        let (mut change, _) = enter(conn, &self.entry()).await?;
        runs::hold(&mut change, id).await?;
        if let Some(last) = runs::last(&mut change, id).await? {
            runs::end(&mut change, last.boot, own, id, last.moment).await?;
        }
        change.commit().await?;
        Ok(())
    }
}

async fn must_exist(conn: &mut PgConnection, run: RunId) -> Told<()> {
    if runs::exists(conn, run).await? {
        return Ok(());
    }
    let absent = format!("there is no run {} on record", run.0);
    Err(Failure::Refused(StoreError::Failed(absent)))
}

async fn open_runs(conn: &mut PgConnection) -> Asked<Vec<RunId>> {
    let rows = sqlx::query("SELECT id FROM runs WHERE ended_wall IS NULL")
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| run(row, "id")).collect()
}
