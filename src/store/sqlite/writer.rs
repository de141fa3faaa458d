use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Error, Result, TransactionBehavior};

use super::Shared;
use super::changes::Changes;
use super::fault::{fault, passes};
use super::lock::{Held, clear_away, works_on};
use super::statements::Statements;
use super::touched::Touched;
use crate::store::left::{Raised, no_right};
use crate::store::pending::{Answer, Change, Done, Pending, Reply, Waiting};
use crate::store::shared::lock;
use crate::store::{Operator, RunId, StoreError};

/// How long the first change waits for others: they share its transaction, the pages that it writes and the wait for
/// the disk. A PUT is sent that much later, which is little beside its way to the site and back. So often it is looked
/// which of those that wait longer are due.
const GATHER: Duration = Duration::from_millis(4);
/// How soon what could not be written is tried again while nothing else happens.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// What the writer is asked for.
pub(super) enum Job {
    /// Goes into the next transaction.
    Change(Change, Reply),
    /// Comes after all that was asked for before.
    Alone(Box<dyn FnOnce(&mut Writer) + Send>),
}

/// The one that writes, on a thread of its own.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) shared: Arc<Shared>,
    pub(super) by: Operator,
    /// The right to send, and the run that has it.
    pub(super) sends: Option<(RunId, Held)>,
    /// The runs that this process works on.
    pub(super) works: HashMap<RunId, Held>,
    /// The versions of sites that this process has made.
    raised: HashMap<i64, Raised>,
    /// The version of what others have written when that was last asked.
    pub(super) data_version: Option<i64>,
    /// What has happened and could not be written yet, in order.
    unwritten: Vec<Change>,
    /// Why not.
    trouble: Option<StoreError>,
    /// Why something was lost that can never be written.
    lost: Option<StoreError>,
}

impl Writer {
    pub(super) fn new(conn: Connection, shared: Arc<Shared>, by: Operator) -> Self {
        Self {
            conn,
            shared,
            by,
            sends: None,
            works: HashMap::new(),
            raised: HashMap::new(),
            data_version: None,
            unwritten: Vec::new(),
            trouble: None,
            lost: None,
        }
    }

    /// Until nobody asks any more.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut pending = Pending::default();
        loop {
            let first = if pending.is_empty() { self.wait(jobs) } else { None };
            if pending.is_empty() && first.is_none() {
                break;
            }
            if !matches!(first, Some(Job::Alone(_))) {
                thread::sleep(GATHER);
            }
            let now = Instant::now();
            match gather(&mut pending, first, jobs, now) {
                Gathered::Changes => {
                    let due = pending.take_due(now);
                    if !due.is_empty() {
                        self.write(due);
                    }
                }
                Gathered::Alone(job) => {
                    self.write(pending.take());
                    job(&mut self);
                }
                Gathered::End => break,
            }
        }
        self.write(pending.take());
        if let Some(trouble) = &self.trouble {
            tracing::error!(%trouble, unwritten = self.unwritten.len(), "what happened could not be recorded");
        }
    }

    fn wait(&mut self, jobs: &Receiver<Job>) -> Option<Job> {
        loop {
            if self.unwritten.is_empty() {
                return jobs.recv().ok();
            }
            match jobs.recv_timeout(TRY_AGAIN) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Timeout) => self.write(Vec::new()),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Writes what is left from before, and the batch.
    pub(super) fn write(&mut self, batch: Vec<Waiting>) {
        let left = std::mem::take(&mut self.unwritten);
        let all: Vec<_> = left
            .into_iter()
            .map(|change| (change, None))
            .chain(batch)
            .collect();
        if all.is_empty() {
            return;
        }
        match self.commit(&all) {
            Ok(done) => self.written(all, done),
            Err(error) if passes(&error) => self.not_written(all, &error),
            // One of them cannot be written, ever: the others must not suffer for it.
            Err(_) => self.write_each(all),
        }
    }

    fn write_each(&mut self, all: Vec<Waiting>) {
        let mut rest = all.into_iter();
        while let Some(change) = rest.next() {
            let one = vec![change];
            match self.commit(&one) {
                Ok(done) => self.written(one, done),
                Err(error) if passes(&error) => {
                    // What comes behind it must not overtake it, nor wait as long for the same.
                    return self.not_written(one.into_iter().chain(rest).collect(), &error);
                }
                Err(error) => self.is_lost(one, &error),
            }
        }
    }

    /// It can never be written, and so nothing waits for that.
    fn is_lost(&mut self, all: Vec<Waiting>, error: &Error) {
        let error = fault(&self.shared.place.file, error);
        tracing::error!(%error, "something cannot be recorded");
        self.lost = Some(error.clone());
        if self.unwritten.is_empty() {
            self.trouble = None;
        }
        for (_, reply) in all {
            answer(reply, Err(error.clone()));
        }
    }

    /// All of it in one transaction, or nothing.
    fn commit(&mut self, all: &[Waiting]) -> Result<Vec<Answer>> {
        let own = self.own();
        let transaction = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let policy = lock(&self.shared.policy).clone();
        let mut changes = Changes {
            conn: &transaction,
            shared: &self.shared,
            place: &self.shared.place,
            boot: self.shared.boot,
            policy: &policy,
            own: &own,
            sends: self.sends.as_ref().map(|(run, _)| *run),
            raised: &self.raised,
            raises: HashMap::new(),
            touched: Touched::new(&transaction, self.shared.boot, &policy),
            statements: Statements::on(&transaction),
        };
        let mut done = Vec::with_capacity(all.len());
        for (change, _) in all {
            done.push(match change {
                Change::Intent(intent, basis) => changes
                    .intend(intent, *basis)?
                    .ok_or_else(|| no_right(intent.run))
                    .map(Done::Recorded),
                Change::Record(record, basis) => Ok(Done::Recorded(changes.record(record, *basis)?)),
                Change::Sent(run, at) => {
                    changes.sent(*run, *at)?;
                    Ok(Done::Sent)
                }
                Change::Ended(run, at) => Ok(Done::Ended(changes.end(*run, *at)?)),
            });
        }
        changes.touched.write()?;
        let raises = std::mem::take(&mut changes.raises);
        // Its statements are put back before the end of what they belong to.
        drop(changes);
        transaction.commit()?;
        self.raised.extend(raises);
        Ok(done)
    }

    fn written(&mut self, all: Vec<Waiting>, done: Vec<Answer>) {
        if self.unwritten.is_empty() {
            self.trouble = None;
        }
        for ((change, reply), done) in all.into_iter().zip(done) {
            match (change, &done) {
                (Change::Sent(run, _), _) => self.let_others_send(run),
                (Change::Ended(run, _), Ok(Done::Ended(ended))) if *ended || !self.sends_for(run) => {
                    self.leave(run);
                }
                (Change::Ended(..) | Change::Intent(..) | Change::Record(..), _) => {}
            }
            answer(reply, done);
        }
    }

    /// What has happened is kept, and tried again; a PUT that was only intended is not sent.
    pub(super) fn not_written(&mut self, all: Vec<Waiting>, error: &Error) {
        let error = fault(&self.shared.place.file, error);
        for (change, reply) in all {
            if let Change::Sent(run, _) | Change::Ended(run, _) = change {
                self.let_others_send(run);
            }
            if !matches!(change, Change::Intent(..)) {
                self.unwritten.push(change);
            }
            answer(reply, Err(error.clone()));
        }
        self.trouble = (!self.unwritten.is_empty()).then_some(error);
    }

    /// Tries once more, and says what is still not written.
    pub(super) fn flush(&mut self) -> std::result::Result<(), StoreError> {
        self.write(Vec::new());
        self.unwritten().or(self.lost.clone()).map_or(Ok(()), Err)
    }

    /// Why something that has happened is not written yet.
    pub(super) fn unwritten(&self) -> Option<StoreError> {
        self.trouble.clone()
    }

    /// The versions of these sites, which were such, were raised by this process.
    pub(super) fn has_raised(&mut self, sites: &[(i64, i64)]) {
        for (site, version) in sites {
            let raised = Raised::above(*version, self.raised.get(site));
            self.raised.insert(*site, raised);
        }
    }

    fn sends_for(&self, run: RunId) -> bool {
        self.sends.as_ref().is_some_and(|(sends, _)| *sends == run)
    }

    pub(super) fn let_others_send(&mut self, run: RunId) {
        self.sends.take_if(|(sends, _)| *sends == run);
    }

    /// Nothing of the run is left for this process.
    pub(super) fn leave(&mut self, run: RunId) {
        self.let_others_send(run);
        match self.works.remove(&run) {
            Some(held) => held.delete(),
            None => clear_away(works_on(&self.shared.place, run)),
        }
        self.shared.works_on(self.own());
    }

    /// In words what failed on this store.
    pub(super) fn fault(&self, error: &Error) -> StoreError {
        fault(&self.shared.place.file, error)
    }
}

/// What the queue held.
enum Gathered {
    /// Nothing but changes.
    Changes,
    /// At its end something that is done alone, when all before it is written.
    Alone(Box<dyn FnOnce(&mut Writer) + Send>),
    /// Nobody asks any more.
    End,
}

/// Moves what is in the queue, behind `first`, to what is pending, until something else than a change comes.
fn gather(pending: &mut Pending, first: Option<Job>, jobs: &Receiver<Job>, now: Instant) -> Gathered {
    let mut next = first.map_or_else(|| jobs.try_recv(), Ok);
    loop {
        match next {
            Ok(Job::Change(change, reply)) => pending.push(change, reply, now),
            Ok(Job::Alone(job)) => return Gathered::Alone(job),
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
