use sqlx::{Error, PgConnection};
use tokio::time::timeout;

use super::columns::{Result as Asked, run};
use super::fault::{Way, way};
use super::queue::TRIES;
use super::session::{Entry, Failure, enter, free_in, live, try_work};
use super::writer::{PATIENCE, Session, Turn, Work, Writer};
use super::{Place, plans, runs};
use crate::rules::moment::Moment;
use crate::store::shared::lock;
use crate::store::{Holder, NewRun, RunId, StoreError};

type Told<T> = Result<T, Failure>;

impl Writer {
    pub(super) async fn take_turn(&mut self, turn: Turn) {
        match turn {
            Turn::Begin(new, reply) => {
                self.gives_up = false;
                let begun = self.begin(&new).await;
                let _nobody_waits = reply.send(begun);
            }
            Turn::Resume(run, at, reply) => {
                self.gives_up = false;
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
        self.session
            .take()
            .ok_or_else(|| super::fault::fault(&Error::PoolTimedOut))
    }

    /// Takes the connection back, if it is of use yet.
    pub(super) fn done<T>(&mut self, session: Session, done: Told<T>) -> Result<T, StoreError> {
        match done {
            Err(Failure::Sql(error)) if way(&error) == Way::Later => {
                self.is_cut_off(session, &error);
                Err(super::fault::fault(&error))
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
        }
    }

    /// Why not: who is at work.
    fn busy(&self, holder: Holder) -> Failure {
        let (theirs, ours) = (&holder.by, &self.by);
        let is_elsewhere = (&theirs.host, theirs.uid) != (&ours.host, ours.uid);
        let holder = Holder {
            is_elsewhere,
            ..holder
        };
        Failure::Refused(StoreError::Busy(Box::new(holder)))
    }

    async fn begin(&mut self, new: &NewRun) -> Result<RunId, StoreError> {
        let mut session = self.ready().await?;
        let beginning = timeout(PATIENCE * 4, self.try_begin(&mut session.conn, new)).await;
        let begun = beginning.unwrap_or(Err(Failure::Sql(Error::PoolTimedOut)));
        let id = self.done(session, begun)?;
        let (epoch, sends) = (1, true);
        self.works.insert(id, Work { epoch, sends });
        self.shared.works_on(self.own());
        Ok(id)
    }

    /// Again, where another transaction stood in the way of this one.
    async fn try_begin(&self, conn: &mut PgConnection, new: &NewRun) -> Told<RunId> {
        let mut tries = 1;
        loop {
            match self.begin_once(conn, new).await {
                Err(Failure::Sql(error)) if tries < TRIES && way(&error) == Way::Again => tries += 1,
                begun => return begun,
            }
        }
    }

    async fn begin_once(&self, conn: &mut PgConnection, new: &NewRun) -> Told<RunId> {
        let Place { class, process, .. } = self.shared.place;
        let (mut change, _) = enter(conn, &self.entry()).await?;
        plans::alone(&mut change).await?;
        let id = plans::begin(&mut change, (&self.by, process), self.shared.boot, new).await?;
        plans::plan(&mut change, id, &new.sites).await?;
        if let Some(holder) = plans::take_sites(&mut change, class, process, id).await? {
            change.rollback().await?;
            return Err(self.busy(holder));
        }
        // Before others can see the run: none must think that nobody works on it.
        if !try_work(&mut change, class, id).await? {
            return Err(Failure::Sql(Error::PoolTimedOut));
        }
        change.commit().await?;
        Ok(id)
    }

    async fn resume(&mut self, run: RunId, at: Moment) -> Result<(), StoreError> {
        if self.works.get(&run).is_some_and(|work| work.sends) {
            return Ok(());
        }
        let mut session = self.ready().await?;
        let resuming = timeout(PATIENCE, self.try_resume(&mut session.conn, run, at)).await;
        let resumed = resuming.unwrap_or(Err(Failure::Sql(Error::PoolTimedOut)));
        let Some(epoch) = self.taken(session, run, resumed).await? else {
            return Ok(());
        };
        self.works.insert(run, Work { epoch, sends: true });
        self.shared.works_on(self.own());
        Ok(())
    }

    /// What was taken of a run where that came to something; where it did not, others may work on it again.
    async fn taken<T>(
        &mut self,
        session: Session,
        run: RunId,
        taken: Told<T>,
    ) -> Result<Option<T>, StoreError> {
        let taken = self.done(session, taken);
        if taken.is_err() && !self.works.contains_key(&run) {
            self.unlock(run).await;
        }
        taken.map(Some)
    }

    async fn try_resume(&self, conn: &mut PgConnection, run: RunId, at: Moment) -> Told<i64> {
        let Place { class, process, .. } = self.shared.place;
        must_exist(conn, run).await?;
        let (mut change, _) = enter(conn, &self.entry()).await?;
        plans::alone(&mut change).await?;
        self.take_work(&mut change, run).await?;
        let epoch = runs::take_up(&mut change, run, (&self.by, process), at).await?;
        runs::reopen(&mut change, run).await?;
        if !self.works.contains_key(&run) {
            runs::forget_chunks(&mut change, run).await?;
        }
        if let Some(holder) = plans::take_sites(&mut change, class, process, run).await? {
            change.rollback().await?;
            return Err(self.busy(holder));
        }
        change.commit().await?;
        Ok(epoch)
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

    async fn close(&mut self, run: RunId, at: Moment) -> Result<(), StoreError> {
        let mut session = self.ready().await?;
        let closing = timeout(PATIENCE, self.try_close(&mut session.conn, run, at)).await;
        let closed = closing.unwrap_or(Err(Failure::Sql(Error::PoolTimedOut)));
        let Some(raised) = self.taken(session, run, closed).await? else {
            return Ok(());
        };
        self.has_raised(&raised);
        self.works.remove(&run);
        self.shared.works_on(self.own());
        self.unlock(run).await;
        Ok(())
    }

    async fn try_close(&self, conn: &mut PgConnection, run: RunId, at: Moment) -> Told<Vec<(i64, i64)>> {
        must_exist(conn, run).await?;
        let policy = lock(&self.shared.policy).clone();
        let (mut change, _) = enter(conn, &self.entry()).await?;
        self.take_work(&mut change, run).await?;
        runs::hold(&mut change, run).await?;
        runs::take_up(&mut change, run, (&self.by, self.shared.place.process), at).await?;
        let raised = runs::close(&mut change, self.shared.boot, &policy, run, at).await?;
        change.commit().await?;
        Ok(raised)
    }

    /// Ends the runs whose process died with nothing left to do. Where that cannot be written now, a later start
    /// does it.
    pub(super) async fn end_idle(&mut self) {
        let Ok(mut session) = self.ready().await else {
            return;
        };
        let ending = timeout(PATIENCE, self.try_end_idle(&mut session.conn)).await;
        let ended = ending.unwrap_or(Err(Failure::Sql(Error::PoolTimedOut)));
        if let Err(error) = self.done(session, ended) {
            tracing::warn!(%error, "a run that is over could not be ended");
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
