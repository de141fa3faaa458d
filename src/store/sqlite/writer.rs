use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, Error, Result, TransactionBehavior};
use tokio::sync::oneshot;

use super::changes::{Changes, Raised};
use super::fault::{fault, passes};
use super::lock::{Held, clear_away, works_on};
use super::shared::{Shared, lock};
use crate::rules::moment::Moment;
use crate::store::left::{Basis, no_right};
use crate::store::{Intent, Operator, Record, Recorded, RunId, StoreError};

/// So many changes go into one transaction at most.
const BATCH: usize = 4096;
/// How long the first change of a batch waits for others: they share its transaction, the pages that it writes and
/// the wait for the disk. A PUT is sent that much later, which is little beside its way to the site and back.
const GATHER: Duration = Duration::from_millis(4);
/// How soon what could not be written is tried again while nothing else happens.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Something to be written, together with what waits beside it. What tells of a site is worth what the process knew
/// when it handed that over, however late it is written.
#[derive(Debug)]
pub(super) enum Change {
    Intent(Intent, Basis),
    Record(Box<Record>, Basis),
    Sent(RunId, Moment),
    Ended(RunId, Moment),
}

/// What came of a change.
#[derive(Debug)]
pub(super) enum Done {
    Recorded(Recorded),
    Sent,
    /// Whether the run has ended.
    Ended(bool),
}

/// What came of a change, once it is durable; or why it was refused.
pub(super) type Answer = std::result::Result<Done, StoreError>;

/// Who waits for it.
pub(super) type Reply = oneshot::Sender<Answer>;

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
        while let Some(first) = self.wait(jobs) {
            if matches!(first, Job::Change(..)) {
                thread::sleep(GATHER);
            }
            let mut batch = Vec::new();
            let mut alone = None;
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Change(change, reply) => batch.push((change, Some(reply))),
                    Job::Alone(job) => {
                        alone = Some(job);
                        break;
                    }
                }
                // What is taken from the queue must be done.
                next = (batch.len() < BATCH).then(|| jobs.try_recv().ok()).flatten();
            }
            self.write(batch);
            if let Some(job) = alone {
                job(&mut self);
            }
        }
        self.write(Vec::new());
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
    pub(super) fn write(&mut self, batch: Vec<(Change, Option<Reply>)>) {
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
            Err(_) => all.into_iter().for_each(|change| self.write_one(change)),
        }
    }

    fn write_one(&mut self, change: (Change, Option<Reply>)) {
        let one = vec![change];
        match self.commit(&one) {
            Ok(done) => self.written(one, done),
            Err(error) if passes(&error) => self.not_written(one, &error),
            Err(error) => {
                let error = fault(&self.shared.place.file, &error);
                tracing::error!(%error, "something cannot be recorded");
                self.lost = Some(error.clone());
                for (_, reply) in one {
                    answer(reply, Err(error.clone()));
                }
            }
        }
    }

    /// All of it in one transaction, or nothing.
    fn commit(&mut self, all: &[(Change, Option<Reply>)]) -> Result<Vec<Answer>> {
        let own = self.own();
        let transaction = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let policy = lock(&self.shared.policy).clone();
        let mut changes = Changes {
            conn: &transaction,
            place: &self.shared.place,
            boot: self.shared.boot,
            policy: &policy,
            own: &own,
            sends: self.sends.as_ref().map(|(run, _)| *run),
            raised: &self.raised,
            raises: HashMap::new(),
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
        let raises = changes.raises;
        transaction.commit()?;
        self.raised.extend(raises);
        Ok(done)
    }

    fn written(&mut self, all: Vec<(Change, Option<Reply>)>, done: Vec<Answer>) {
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
    pub(super) fn not_written(&mut self, all: Vec<(Change, Option<Reply>)>, error: &Error) {
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

/// Nobody may be left who waits for it.
fn answer(reply: Option<Reply>, result: Answer) {
    if let Some(reply) = reply {
        let _nobody_waits = reply.send(result);
    }
}
