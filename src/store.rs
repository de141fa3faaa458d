//! What outlives a run, in the terms of the domain: runs, intents, outcomes, what is known of each site. One
//! implementation a database; `tests/store.rs` holds the contract that each of them must keep.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use self::left::Basis;
use self::workers::Workers;
use crate::key::PublishableKey;
use crate::rules::acknowledgement::{Acknowledged, Acknowledgement};
use crate::rules::moment::Moment;
use crate::rules::outcome::Cause;
use crate::rules::retry::Policy;
use crate::rules::run::Kind;
use crate::rules::standing::Standing;
use crate::rules::state::{Allow, Served, SiteState};
use crate::rules::status::{Push, SkipReason, Verify};
use crate::rules::watch::{Change, Told};
use crate::site::SiteUrl;
use crate::text::CleanText;

pub use self::kept::Kept;
pub use crate::rules::run::RunId;

/// What a process that is gone leaves in the rows of its runs.
mod left;
/// Moments as they are kept, and numbers.
mod moments;
/// What a store has of one site.
mod kept;
/// What is old enough to be dropped.
mod old;
/// What waits to be written, and what of it is due.
mod pending;
/// What the rows of a site in its runs say of it.
mod rows;
/// What writing and reading share.
mod shared;
/// In a database of PostgreSQL: one store for many machines.
pub mod postgres;
/// In a file: what a run leaves behind for the next process.
pub mod sqlite;
/// The tables that both have.
mod tables;
/// In either, as the config says.
pub mod any;
/// From a file into a database.
pub mod copy;
/// In memory: for tests, and for the time until the program ends.
pub mod memory;
/// Other processes that make the calls of a run.
pub mod workers;

/// Who began a run: what the system says, and what the environment claims.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Operator {
    /// The name of the process's user.
    pub user: CleanText,
    /// The number of the process's real user; none in records of before it was kept.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Who had logged in, as the kernel keeps it, also behind `sudo`; none for what no login has started.
    #[serde(default)]
    pub login: Option<CleanText>,
    /// `$SUDO_USER`: a claim.
    pub sudo_user: Option<CleanText>,
    /// The machine.
    pub host: CleanText,
    /// The address in `$SSH_CONNECTION`: a claim.
    pub ssh_client: Option<CleanText>,
    /// The process.
    pub pid: u32,
}

impl Operator {
    /// What the system says of who it was: `ada (uid 1000, logged in as bob)`.
    pub fn in_words(&self) -> String {
        let uid = self.uid.map(|uid| format!("uid {uid}"));
        let login = self.login.as_ref().filter(|login| **login != self.user);
        let login = login.map(|login| format!("logged in as {login}"));
        let known: Vec<String> = uid.into_iter().chain(login).collect();
        if known.is_empty() {
            return self.user.to_string();
        }
        format!("{} ({})", self.user, known.join(", "))
    }
}

/// What is known when a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// What it is for.
    pub kind: Kind,
    /// The run that it repeats or takes back.
    pub parent: Option<RunId>,
    /// The key that goes out.
    pub key: PublishableKey,
    /// What was confirmed for its sites.
    pub allow: Allow,
    /// When.
    pub at: Moment,
    /// Its sites, those that are left out too.
    pub sites: Vec<PlannedSite>,
}

/// A site of a run, as it was when the run began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSite {
    /// Which.
    pub site: SiteUrl,
    /// Its name.
    pub name: CleanText,
    /// Its group.
    pub group: Option<CleanText>,
    /// Why it gets no PUT, if it gets none.
    pub left_out: Option<SkipReason>,
    /// The key that it gets.
    pub key: PublishableKey,
    /// What the plan showed that it serves.
    pub serves: Served,
}

/// A PUT that is about to be sent. On disk before it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// In which run.
    pub run: RunId,
    /// To which site.
    pub site: SiteUrl,
    /// Which of the site's PUTs in this run, from 1.
    pub number: u32,
    /// What is sent.
    pub key: PublishableKey,
    /// When.
    pub at: Moment,
}

/// Which request an attempt made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// The PUT of the key.
    Put,
    /// The GET that shows it.
    Get,
}

impl Request {
    /// Its method.
    pub fn word(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Get => "GET",
        }
    }
}

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// In which run; none for a look outside of one.
    pub run: Option<RunId>,
    /// PUT or GET.
    pub request: Request,
    /// Which of the site's PUTs (or GETs) in this run, from 1.
    pub number: u32,
    /// When the answer came, or the wait for it ended.
    pub at: Moment,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// The HTTP status, if one came.
    pub http: Option<u16>,
    /// Why it failed, if it did.
    pub cause: Option<Cause>,
    /// What the site served, if the request was a look that showed it.
    pub served: Served,
    /// What happened, in words; cleaned and without secrets.
    pub note: CleanText,
}

/// Something that has happened to a site.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Which site.
    pub site: SiteUrl,
    /// When.
    pub at: Moment,
    /// The request behind it, if it was one.
    pub outcome: Option<Outcome>,
    /// All that is known of the site now. In the row of its run ([`SiteState::run`]) too, until that has ended.
    pub state: SiteState,
    /// The sentence that goes with it.
    pub note: CleanText,
}

/// What is on record of a site. Who takes that for what it knows itself says so ([`Store::adopt`]).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Newest {
    /// What is known of it.
    pub state: SiteState,
    /// The PUTs that this tells of.
    basis: Basis,
}

/// What came of recording something.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// It is what is known of the site from now on.
    Known,
    /// The request is on record, but another process has sent the site a PUT, or may have, that this one did not know
    /// of: this is known of the site (what this process has sent or planned itself is in it like what the dead have
    /// left), not what was handed over. So it goes until this process has adopted this, or something newer.
    TakenOver(Box<Newest>),
}

/// Who sends on a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Which run, once that has a number.
    pub run: Option<RunId>,
    /// Who.
    pub by: Operator,
    /// Since when.
    pub since: Timestamp,
    /// Whether that is on another machine, or another user's process: no screen of who asks can attach to it.
    #[serde(default)]
    pub is_elsewhere: bool,
    /// Set where it was not heard of last, and may have died: in so many seconds it holds nothing any more, unless it is
    /// back by then.
    #[serde(default)]
    pub free_in: Option<u64>,
}

impl Holder {
    /// The user, and the machine where that is another process than a screen of who asks can attach to: `ada on ops-2`.
    pub fn who(&self) -> String {
        let Operator { user, host, .. } = &self.by;
        if self.is_elsewhere {
            format!("{user} on {host}")
        } else {
            user.to_string()
        }
    }
}

/// Why something could not be recorded or read. A PUT that cannot be recorded is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreError {
    /// Another run is sending: one at a time does, of those with a site in common where the store is a database.
    #[error("{}", busy(.0))]
    Busy(Box<Holder>),
    /// The database is not what was written. It was left as it is: only the operator's word moves it aside.
    #[error("{0}")]
    Damaged(String),
    /// The database failed; what, and what to do.
    #[error("{0}")]
    Failed(String),
}

fn busy(holder: &Holder) -> String {
    let run = holder
        .run
        .map_or("a run".to_owned(), |run| format!("run {}", run.0));
    let Operator { user, host, pid, .. } = &holder.by;
    let since = holder.since;
    if let Some(seconds) = holder.free_in {
        return format!(
            "{run} of {user} on {host} (PID {pid} there) has died, or does not reach the store: a PUT of it may be out, \
             and it may be back. Unless it is, others may send to its sites in {seconds} s: try again then"
        );
    }
    if holder.is_elsewhere {
        return format!(
            "{run} of {user} on {host} is sending to some of these sites (PID {pid} there, since {since:.0}): wait until \
             it has sent all, or have it stopped there"
        );
    }
    format!("{run} of {user} is sending (PID {pid}, since {since:.0}): opening the screen attaches to it")
}

/// A run on record.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its number.
    pub id: RunId,
    /// What it is for.
    pub kind: Kind,
    /// The run that it repeats or takes back.
    pub parent: Option<RunId>,
    /// Its key.
    pub key: PublishableKey,
    /// Who began it.
    pub by: Operator,
    /// When.
    pub began: Moment,
    /// When nothing was left to send.
    pub sent: Option<Moment>,
    /// When nothing was left to wait for, or it was closed.
    pub ended: Option<Moment>,
    /// Whether it was closed with something left to send.
    pub closed: bool,
    /// Whether a process works on it now.
    pub live: bool,
    /// How long it took, by a clock that nobody sets; none where that is not known (it goes on, or the machine
    /// was started anew in between).
    pub took: Option<Duration>,
    /// By how much the wall clock was set meanwhile, where it was set by a second or more.
    pub clock_set: Option<SignedDuration>,
    /// How many of its sites have each word ([`crate::rules::tally::word`]).
    pub counts: BTreeMap<String, usize>,
}

impl RunRecord {
    /// Its sites, those that were left out too.
    pub fn sites(&self) -> usize {
        self.counts.values().sum()
    }
}

/// A run that a process works on.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveRun {
    /// The run.
    pub run: RunRecord,
    /// Which process, and since when: not the one that began it where another has taken it up.
    pub holder: Holder,
}

/// A site of a run on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSite {
    /// The site as it was when the run began.
    pub planned: PlannedSite,
    /// What happened to the PUT.
    pub push: Push,
    /// What the GETs said.
    pub verify: Verify,
    /// The last HTTP status.
    pub http: Option<u16>,
    /// PUTs sent.
    pub puts: u32,
    /// What it served just before its PUT: what a rollback puts back.
    pub before: Served,
    /// Whether that is a key that a run on record stored there: then it is no fallback (contract.md).
    pub before_pushed: bool,
    /// What it served when it was last looked at in the run.
    pub now: Served,
    /// The last word on it.
    pub note: CleanText,
    /// When something last happened to it in the run.
    pub at: Option<Timestamp>,
}

/// A run on record that had a site in its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRun {
    /// Its number.
    pub run: RunId,
    /// What it was for.
    pub kind: Kind,
    /// When it began.
    pub began: Timestamp,
    /// The site in it.
    pub site: RunSite,
}

/// An attempt on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAttempt {
    /// In which run.
    pub run: Option<RunId>,
    /// To which site.
    pub site: SiteUrl,
    /// PUT or GET.
    pub request: Request,
    /// Which of the site's in the run, from 1.
    pub number: u32,
    /// When it was sent (a PUT), or answered (a GET).
    pub at: Timestamp,
    /// Whether it was answered, or the wait for an answer ended.
    pub ended: bool,
    /// How long it took, in milliseconds.
    pub ms: Option<u64>,
    /// The HTTP status, if one came.
    pub http: Option<u16>,
    /// Why it failed, if it did.
    pub cause: Option<Cause>,
    /// What happened, in words.
    pub note: CleanText,
}

/// A key that a site was seen to serve, from its first to its last look in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What: never [`Served::Unknown`].
    pub served: Served,
    /// The first look that showed it.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// The run that had sent it there before, if one had.
    pub pushed_by: Option<RunId>,
}

/// Where runs are recorded. What one process writes, the others read.
pub trait Store: Send + Sync + 'static {
    /// Begins a run and gives it its number. From now on no other run sends on this store; where it is a database, none
    /// that has a site in common with this one.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another one sends, of those that it keeps out.
    fn begin_run(&self, run: NewRun) -> impl Future<Output = Result<RunId, StoreError>> + Send;

    /// Takes up a run that was begun: it sends again, and no other.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another one sends, or another process works on this one.
    fn resume_run(&self, run: RunId, at: Moment) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Nothing of the run is left to send: another one may. Proofs may be due.
    fn run_sent(&self, run: RunId, at: Moment) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Nothing of the run is left for this process to do or to wait for. What a later run took over ends as superseded
    /// in it.
    ///
    /// Returns whether it has ended: it has not while another process works on it, or while something of it is left to
    /// send, to find out, or to wait for, that this process does not know of (its config has not all the sites). Then
    /// nothing changes but that this process does not work on it any more, unless it still sends: another may take it
    /// up.
    fn end_run(&self, run: RunId, at: Moment) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends a run with something left to send: it expects nothing of the sites that it did not reach.
    fn close_run(&self, run: RunId, at: Moment) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records that a PUT is about to be sent. It is durable when the future is done, and so is everything that
    /// was recorded of the site before.
    ///
    /// [`Recorded::TakenOver`] where another process has sent the site a PUT that this one does not know of: nothing is
    /// recorded, and the PUT must not be sent.
    ///
    /// # Errors
    /// Also where the run does not hold the right to send.
    fn record_intent(&self, intent: Intent) -> impl Future<Output = Result<Recorded, StoreError>> + Send;

    /// Records what has happened to a site. It has its place among the records of the site when this returns, and is
    /// durable when the future is done. It becomes so whether or not anybody waits for that.
    fn record(&self, record: Record) -> impl Future<Output = Result<Recorded, StoreError>> + Send + 'static;

    /// What is known of each of these sites: what was recorded last, what a process that is gone left open
    /// (`unknown`), and what it did not reach (`not_started`). What another process works on is as it was recorded;
    /// what this one works on is like what the dead have left. Reading alone is not knowing.
    fn last_known(
        &self,
        sites: &[SiteUrl],
        policy: &Policy,
        now: Moment,
    ) -> impl Future<Output = Result<Vec<Newest>, StoreError>> + Send;

    /// From now on this process knows these: what it hands over of these sites is worth so much.
    fn adopt<'a>(&self, newest: impl IntoIterator<Item = (&'a SiteUrl, &'a Newest)>);

    /// The newest runs, newest first, `count` at most.
    fn runs(&self, count: usize) -> impl Future<Output = Result<Vec<RunRecord>, StoreError>> + Send;

    /// Runs that have not ended, and that no process works on: newest first.
    fn unfinished_runs(&self) -> impl Future<Output = Result<Vec<RunRecord>, StoreError>> + Send;

    /// Runs that a process works on, this one too: newest first.
    fn live_runs(&self) -> impl Future<Output = Result<Vec<LiveRun>, StoreError>> + Send;

    /// The sites of a run, in the order of its plan. None of an unknown run.
    fn run_sites(&self, run: RunId) -> impl Future<Output = Result<Vec<RunSite>, StoreError>> + Send;

    /// The runs that had a site in their plan, newest first, `count` at most: as they are when all is written that this
    /// process has handed over so far.
    fn site_runs(
        &self,
        site: &SiteUrl,
        count: usize,
    ) -> impl Future<Output = Result<Vec<SiteRun>, StoreError>> + Send;

    /// The attempts, the newest `count`; those of one run, or on one site, or of all. On each site in order; those of
    /// several sites at about the same time may stand in any.
    fn attempts(
        &self,
        run: Option<RunId>,
        site: Option<&SiteUrl>,
        count: usize,
    ) -> impl Future<Output = Result<Vec<StoredAttempt>, StoreError>> + Send;

    /// The keys that a site was seen to serve, in order, the newest `count`.
    fn timeline(
        &self,
        site: &SiteUrl,
        count: usize,
    ) -> impl Future<Output = Result<Vec<Seen>, StoreError>> + Send;

    /// Whether any site was ever seen to serve this key.
    fn was_served(&self, key: &PublishableKey) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// What Stripe said of a key last, and when, where that was remembered.
    fn standing(
        &self,
        key: &PublishableKey,
    ) -> impl Future<Output = Result<Option<(Standing, Timestamp)>, StoreError>> + Send;

    /// Remembers what Stripe said of a key, in the place of what it said before. What was said more than 30 days before
    /// that is dropped, of all keys.
    fn remember_standing(
        &self,
        key: &PublishableKey,
        standing: Standing,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The sites that the list `of` this name had at its last run, where one is on record.
    fn list(&self, of: &str) -> impl Future<Output = Result<Option<Vec<SiteUrl>>, StoreError>> + Send;

    /// The list `of` this name has these sites, as a run on it begins.
    fn keep_list(&self, of: &str, sites: Vec<SiteUrl>)
    -> impl Future<Output = Result<(), StoreError>> + Send;

    /// From now on the operator knows these sites to be bad, or (without an acknowledgement) not any more.
    fn acknowledge(
        &self,
        sites: &[SiteUrl],
        acknowledgement: Option<Acknowledgement>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The sites that the operator knows to be bad, and those of which that is over and was not taken back.
    fn acknowledged(&self) -> impl Future<Output = Result<Acknowledged, StoreError>> + Send;

    /// What watches have told, and is not over.
    fn told(&self) -> impl Future<Output = Result<Told, StoreError>> + Send;

    /// Of these changes those that nobody has told yet: who asks tells them, and nobody else will, also after its
    /// death.
    fn tell(
        &self,
        changes: Vec<Change>,
        at: Timestamp,
    ) -> impl Future<Output = Result<Vec<Change>, StoreError>> + Send;

    /// Whether another process may have written since this was asked last (by this process). That one died is
    /// nothing written.
    fn has_changed(&self) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Drops runs that ended before `before`, with their attempts and what was seen until then; never the last
    /// known state of a site. Attempts outside of runs are dropped after 30 days already. Once a day it does so: more
    /// often is in vain. Returns how many runs.
    fn prune(&self, before: Timestamp) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Why what was handed over waits, where it does: the store is not reached, and is tried again. Meanwhile no PUT
    /// has its intent on record, and so none is sent. None of a store that does not wait: what it cannot write it
    /// refuses.
    fn trouble(&self) -> Option<watch::Receiver<Option<StoreError>>> {
        None
    }

    /// The operator ends something: what waits for a store that is not reached waits no longer. PUTs are refused, and
    /// of all else the answer is that it is not on record; it is still written should the store be back in time. So it
    /// goes until a run is begun or taken up.
    fn give_up(&self) {}

    /// Who makes the calls of the runs that this process begins or takes up; none where it makes them itself.
    fn workers(&self) -> Option<Arc<dyn Workers>> {
        None
    }

    /// Changes when another process has written, soon after that. None where nothing tells:
    /// [`Store::has_changed`] has to be asked.
    fn others(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}
