use std::collections::BTreeMap;

use sqlx::{Connection, Error, PgConnection};
use tokio::time::Instant;

use super::fault::fault;
use super::session::{Entry, Failure, Fence, MARGIN, connect, enter, renew, since_boot, try_work};
use super::writer::{BACKOFF, PATIENCE, Session, Work, Writer};
use super::{Shared, runs};
use crate::rules::moment::Moment;
use crate::store::left::no_right;
use crate::store::pending::{Change, Waiting};
use crate::store::shared::lock;
use crate::store::{RunId, StoreError};

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

/// What is left of the right to work on a run.
pub(super) fn still(work: Work, fence: Option<&Fence>) -> Option<Work> {
    let fence = fence.filter(|fence| fence.epoch == work.epoch)?;
    Some(Work {
        sends: work.sends && fence.sends,
        ..work
    })
}

impl Writer {
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
        let (process, lease) = (self.shared.place.process, self.lease());
        let works = self.takes_work || !self.works.is_empty();
        let asking = async {
            if works {
                renew(&mut session.conn, process, lease).await?;
            } else {
                session.conn.ping().await?;
            }
            Ok(())
        };
        let there = self.patience.within(PATIENCE, asking).await;
        self.keeps(session, there);
    }

    /// Keeps the connection, if it is of use yet.
    pub(super) fn keeps(&mut self, session: Session, done: Result<(), Failure>) {
        match done {
            Err(Failure::Sql(error)) => self.is_cut_off(session, &error),
            Ok(()) | Err(Failure::Refused(_)) => self.session = Some(session),
        }
    }

    /// Something stands in the way of what is to be written, on a connection that is well.
    pub(super) fn rest(&mut self, error: &Error) {
        let error = fault(error);
        tracing::warn!(%error, "the store lets nothing be written just now");
        self.patience.trouble.send_replace(Some(error));
        self.tries_at = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
    }

    /// Whether it is not time yet to try again.
    pub(super) fn rests(&self) -> bool {
        self.patience.trouble.borrow().is_some() && Instant::now() < self.tries_at
    }

    /// Nothing stands in the way any more.
    pub(super) fn is_well(&mut self) {
        if self.patience.trouble.borrow().is_some() {
            self.backoff = BACKOFF.0;
            self.patience.trouble.send_replace(None);
        }
    }

    /// The connection is of no use any more.
    pub(super) fn is_cut_off(&mut self, session: Session, error: &Error) {
        let error = fault(error);
        tracing::warn!(%error, "the connection to the store is lost");
        let Session { conn, pid, began } = session;
        self.left_behind = Some((pid, began));
        self.patience.trouble.send_replace(Some(error));
        self.backoff = BACKOFF.0;
        self.tries_at = Instant::now() + self.backoff;
        // The server's process may hang on it: nothing is waited for.
        drop(conn);
    }

    /// Tries to connect, where there is no connection and it is time for that.
    pub(super) async fn is_connected(&mut self) -> bool {
        if self.session.is_some() {
            return true;
        }
        if Instant::now() < self.tries_at {
            return false;
        }
        let patience = self.patience.clone();
        let error = match patience.within(PATIENCE, self.reconnect()).await {
            Ok((session, written)) => {
                tracing::info!("the store is connected again");
                self.session = Some(session);
                self.written = written;
                self.turn_in_doubt = None;
                self.backoff = BACKOFF.0;
                self.patience.trouble.send_replace(None);
                self.settle_doubt(written).await;
                return self.session.is_some();
            }
            Err(failure) => StoreError::from(failure),
        };
        self.patience.trouble.send_replace(Some(error));
        self.tries_at = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
        false
    }

    /// A new connection, with the rights that the last one had as far as nobody else has them now. Before anything is
    /// written on it. With it the last batch that was committed.
    async fn reconnect(&mut self) -> Result<(Session, i64), Failure> {
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
        let doubted = self.turn_in_doubt.as_ref().map(|doubt| doubt.outcome.run);
        let own: Vec<RunId> = self.own().into_iter().chain(doubted).collect();
        let heeds = self.hands.heeds();
        let asked = since_boot();
        let entry = Entry {
            process: self.shared.place.process,
            batch: None,
            tells: false,
            lease: self.lease(),
            runs: &own,
            heeds: &heeds,
        };
        let (mut change, fences) = enter(&mut session.conn, &entry).await?;
        let written: i64 = sqlx::query_scalar("SELECT batch FROM processes WHERE id = $1")
            .bind(self.shared.place.process)
            .fetch_one(&mut *change)
            .await?;
        let rights = self.rights(&mut change, &fences, written).await?;
        self.hands.look(&mut change, self.shared.place.process).await?;
        let mut kept = BTreeMap::new();
        for (run, work) in &rights {
            let Some(work) = still(*work, fences.get(run)) else {
                continue;
            };
            if !try_work(&mut change, self.shared.place.class, *run).await? {
                // Nobody else has taken it up: it is our own connection, which the server does not let go of yet.
                return Err(Failure::Sql(Error::PoolTimedOut));
            }
            kept.insert(*run, work);
        }
        change.commit().await?;
        if since_boot().saturating_sub(asked) > MARGIN {
            return Err(Failure::Sql(Error::PoolTimedOut));
        }
        for run in self.works.keys().filter(|run| !kept.contains_key(run)) {
            tracing::warn!(run = run.0, "another process has taken the run up meanwhile");
        }
        self.works = kept;
        self.shared.works_on(self.own());
        self.left_behind = None;
        Ok((session, written))
    }

    /// The rights that this process has had, with what was in doubt of them. What nobody waits for any more is undone.
    async fn rights(
        &self,
        change: &mut PgConnection,
        fences: &BTreeMap<RunId, Fence>,
        written: i64,
    ) -> Result<BTreeMap<RunId, Work>, Failure> {
        let mut rights = self.works.clone();
        let Some(doubt) = self.turn_in_doubt.as_ref().filter(|doubt| doubt.batch == written) else {
            return Ok(rights);
        };
        let run = doubt.outcome.run;
        let Some(work) = doubt.outcome.work else {
            // It is closed.
            rights.remove(&run);
            return Ok(rights);
        };
        match doubt.undone.filter(|_| still(work, fences.get(&run)).is_some()) {
            None => {
                rights.insert(run, work);
            }
            Some(at) => {
                rights.remove(&run);
                self.undo(change, run, work, at).await?;
            }
        }
        Ok(rights)
    }

    /// A run that was begun in vain is closed; one that was taken up in vain is left as it was.
    async fn undo(
        &self,
        change: &mut PgConnection,
        run: RunId,
        work: Work,
        at: Moment,
    ) -> Result<(), Failure> {
        runs::hold(change, run).await?;
        if work.epoch == 1 {
            let policy = lock(&self.shared.policy).clone();
            runs::close(change, self.shared.boot, &policy, run, at).await?;
        }
        runs::leave(change, run, self.shared.place.process).await?;
        Ok(())
    }

    /// Answers the batch of which nobody knew whether it was committed, if it was: it is what waits first. A PUT is sent
    /// only where its run is this process's yet: another that has taken it up has seen the intent, and looks.
    async fn settle_doubt(&mut self, written: i64) {
        let Some(mut doubt) = self.in_doubt.take().filter(|doubt| doubt.batch == written) else {
            return;
        };
        let count = doubt.done.len().min(self.unwritten.len());
        let all: Vec<Waiting> = self.unwritten.drain(..count).collect();
        self.raised.extend(doubt.raises);
        for ((change, _), done) in all.iter().zip(&mut doubt.done) {
            if let Change::Intent(intent, _) = change
                && !self.works.get(&intent.run).is_some_and(|work| work.sends)
                && !self.hands.may_send(intent.run, &intent.site)
            {
                *done = Err(no_right(intent.run));
            }
        }
        self.follow(&all, &doubt.done).await;
        Self::answer_all(all, doubt.done);
    }
}
