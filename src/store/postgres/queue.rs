use std::collections::VecDeque;
use std::time::Duration;

use sqlx::{Connection, Error};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::fault::{Way, fault, way};
use super::session::{Failure, MARGIN, ends, since_boot};
use super::writer::{Job, PATIENCE, Turn, Writer};
use crate::store::StoreError;
use crate::store::pending::{Answer, Change, Done, Pending, Reply, Waiting};

/// As in `store/sqlite/writer.rs`: how long the first change waits for others.
const GATHER: Duration = Duration::from_millis(4);
/// How often it is looked whether the connection is there: the right to work on runs ends with it, and who has none wants
/// to know that the store is away.
const PULSE: Duration = Duration::from_secs(2);
/// So many changes go into one transaction at most, also of those that waited for a server that was away: it ends well
/// within [`PATIENCE`], and what is behind it is not lost with it.
const SEGMENT: usize = 4096;
/// So often a transaction is tried that another one stood in the way of.
pub(super) const TRIES: u32 = 5;

impl Writer {
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
                    self.patience.heard += 1;
                    self.patience.gives_up = true;
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
                Some(_) if !self.unwritten.is_empty() => self.tries_at,
                Some(_) => Instant::now() + PULSE,
            };
            tokio::select! {
                job = jobs.recv() => return job,
                () = sleep_until(until) => {}
            }
            if self.session.is_some() && self.unwritten.is_empty() {
                self.pulse().await;
            } else {
                self.write(Vec::new()).await;
            }
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
                return self.is_well();
            };
            self.write_segment(segment).await;
            if self.session.is_some() && self.rests() {
                return self.let_go_of_waiting();
            }
        }
    }

    /// Who waits is told that it is in vain, where that was ordered. What has happened is kept all the same; a PUT that
    /// was only intended is not sent. What may have been committed is decided first.
    fn let_go_of_waiting(&mut self) {
        let gives_up = self.patience.gives_up;
        let Some(why) = self.patience.trouble.borrow().clone().filter(|_| gives_up) else {
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
        let count = count.min(SEGMENT);
        let segment: Vec<Waiting> = self.unwritten.drain(..count).collect();
        (!segment.is_empty()).then_some(segment)
    }

    async fn write_segment(&mut self, segment: Vec<Waiting>) {
        match self.try_segment(&segment).await {
            Ok(done) => Self::answer_all(segment, done),
            Err(Failure::Refused(error)) => self.is_lost(segment, &error),
            Err(Failure::Sql(error)) if way(&error) != Way::Never => self.put_back(segment),
            Err(Failure::Sql(error)) if segment.len() == 1 => self.is_lost(segment, &fault(&error)),
            // One of them cannot be written, ever: the others must not suffer for it.
            Err(Failure::Sql(_)) => {
                let mut rest = VecDeque::from(segment);
                while let Some(one) = rest.pop_front() {
                    let one = vec![one];
                    match self.try_segment(&one).await {
                        Ok(done) => Self::answer_all(one, done),
                        Err(Failure::Sql(error)) if way(&error) != Way::Never => {
                            // Before those behind it, and all at once: what is in doubt stays the first.
                            self.put_back(rest.into());
                            return self.put_back(one);
                        }
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

    pub(super) fn answer_all(all: Vec<Waiting>, done: Vec<Answer>) {
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
            let asked = since_boot();
            let patience = self.patience.clone();
            let trying = self.commit(&mut session.conn, segment, &mut committing);
            let done = patience.within(PATIENCE, trying).await;
            let error = match done {
                // The right to send was seen too long ago for a PUT: it is seen anew.
                Ok(()) if since_boot().saturating_sub(asked) > MARGIN => Error::PoolTimedOut,
                Ok(()) => {
                    self.session = Some(session);
                    let doubt = committing.take();
                    let Some(doubt) = doubt else {
                        return Ok(Vec::new());
                    };
                    self.raised.extend(doubt.raises);
                    self.is_well();
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
                Way::Again | Way::Wait => {
                    self.session = Some(session);
                    self.rest(&error);
                    return Err(Failure::Sql(error));
                }
                Way::Later => {
                    self.in_doubt = committing;
                    self.is_cut_off(session, &error);
                    return Err(Failure::Sql(error));
                }
            }
        }
    }

    /// What follows from the end of what is written.
    pub(super) async fn follow(&mut self, segment: &[Waiting], done: &[Answer]) {
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

    async fn end(mut self) {
        if !self.unwritten.is_empty() {
            tracing::error!(
                unwritten = self.unwritten.len(),
                "what happened could not be recorded"
            );
        }
        if let Some(mut session) = self.session.take() {
            // Who looks next must not find a process that is gone.
            let process = self.shared.place.process;
            let let_go = async {
                ends(&mut session.conn, process).await?;
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
