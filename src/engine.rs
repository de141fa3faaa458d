//! Runs: commands in, events out. One task owns all state; each request is a task of its own, and there are
//! never more of them than slots.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::key::PublishableKey;
use crate::rules::acknowledgement::Acknowledgement;
use crate::rules::alarm::Alarm;
use crate::rules::moment::{Moment, ORIGIN};
use crate::rules::outcome::Cause;
use crate::rules::plan::Plan;
use crate::rules::retry::Policy;
use crate::rules::rollout::{self, Rollout};
use crate::rules::run::{Halt, Kind, RunPhase};
use crate::rules::state::{Allow, SiteState};
use crate::site::{MasterKeyId, Site, SiteId};
use crate::site_api::SiteApi;
use crate::store::workers::ChunkId;
use crate::store::{Newest, Request, RunId, Store, StoreError};
use crate::text::CleanText;

/// Who may call now: slots, limits of a backend, what waits and until when. Pure.
mod schedule;
pub use schedule::Shown;
/// What was told of how backends are treated. Pure.
mod backends;
/// What a push would meet, tried without one.
pub mod preflight;
/// One request, with its intent before and its outcome after.
mod call;
/// What is on its way to the store.
mod records;
/// A site and what is under way for it.
mod slot;
/// Workers that make the calls of a run: what is known of them, and who speaks to them.
mod hands;
/// What is handed over to workers, and what comes back.
mod handing;
/// What comes back since a worker's own master key is refused.
mod unasked;
/// What a worker has taken.
mod chunks;
/// What a worker does with that.
mod working;
/// Master keys on trial, run by run. Pure.
mod trials;
/// The task that owns the state.
mod run;
/// What each command does.
mod orders;
/// Waves, what halts a run, and whose turn a master key is on trial.
mod careful;
/// What is told at once.
mod alarms;
/// What other processes have left, or have done meanwhile.
mod left;
/// Sites that the operator knows to be bad.
mod acknowledged;
/// What goes on record, and what comes back.
mod recording;
/// Tells that the store is not reached.
mod trouble;
/// What Stripe says of keys: asked once, remembered, shared.
mod standings;
/// What an engine has heard of keys.
mod heard;
/// What Stripe says of the keys that the sites serve, and of the run's.
mod dead;

pub use standings::Standings;

/// Monotonic and wall time, the same in all processes of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: tokio::time::Instant,
    /// The machine's monotonic time at `start`.
    base: Duration,
    wall: fn() -> Timestamp,
}

impl Clock {
    /// The machine's clock.
    pub fn start() -> Self {
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Self {
            start: tokio::time::Instant::now(),
            base: ORIGIN + Duration::try_from(monotonic).unwrap_or_default(),
            wall: Timestamp::now,
        }
    }

    /// A clock that counts from now, with another wall clock.
    pub fn with_wall(wall: fn() -> Timestamp) -> Self {
        Self {
            start: tokio::time::Instant::now(),
            base: Duration::ZERO,
            wall,
        }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        Moment {
            since_start: self.base + self.start.elapsed(),
            wall: (self.wall)(),
        }
    }

    /// The instant to sleep until for `moment`.
    pub fn instant(&self, moment: Moment) -> tokio::time::Instant {
        self.instant_of(moment.since_start)
    }

    /// The instant to sleep until for a time since the start.
    fn instant_of(&self, since_start: Duration) -> tokio::time::Instant {
        self.start + since_start.saturating_sub(self.base)
    }
}

/// How much at once, and how patiently.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Requests out at once, in all.
    pub concurrency: usize,
    /// Requests out at once to one backend.
    pub per_backend: usize,
    /// Calls a second.
    pub rate: Rates,
    /// Retries, limits, settle time.
    pub policy: Policy,
    /// Who goes first in a run that is taken up, and when that halts: a plan brings its own.
    pub rollout: rollout::Settings,
    /// What becomes of what a process before has left waiting for a look.
    pub left: Left,
    /// What the store calls this list of sites; without a name it is not kept.
    pub list: Option<String>,
    /// The machine: what it finds as a worker says so.
    pub host: CleanText,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 64,
            per_backend: 2,
            rate: Rates::default(),
            policy: Policy::default(),
            rollout: rollout::Settings::default(),
            left: Left::default(),
            list: None,
            host: CleanText::default(),
        }
    }
}

/// How many calls may go in a second; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// In all.
    pub overall: Option<f64>,
    /// To each backend.
    pub per_backend: Option<f64>,
}

/// What an engine does with what a process before has left waiting for a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Left {
    /// Looks when it is time.
    #[default]
    Awaited,
    /// As before, but what may have been sent or is still to be sent waits until its run is taken up.
    TakenUp,
    /// Leaves it to others: it does what it was told, and ends.
    Alone,
}

impl Left {
    fn leaves_alone(self, state: &SiteState) -> bool {
        match self {
            Self::Awaited => false,
            Self::TakenUp => state.is_left_over(),
            Self::Alone => true,
        }
    }
}

/// How many GETs an ordered look may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempts {
    /// One: a look in passing.
    One,
    /// As many as the policy's `attempts`.
    Policy,
}

/// An order to the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Begins a run. Refused (a message says so) while another run sends or is paused.
    Push(Plan),
    /// Repeats what failed on these sites, with the key of their own run.
    Retry {
        /// Which sites.
        sites: Vec<SiteId>,
        /// What the operator allows for held-back sites.
        allow: Allow,
    },
    /// Takes up a run that a process before has left: what may have been stored is looked at, then the rest goes.
    Resume(LeftRun),
    /// Ends such a run: what it did not reach is not expected any more.
    Close(RunId),
    /// Looks at these sites.
    Look {
        /// Which sites.
        sites: Vec<SiteId>,
        /// What they should serve; none leaves it as it is.
        expected: Option<PublishableKey>,
        /// How many GETs a site.
        attempts: Attempts,
        /// Whether these looks go behind all others (the looks of the start).
        background: bool,
    },
    /// No new PUTs; what is out ends.
    Pause,
    /// Ends a pause.
    GoOn,
    /// What has not been sent is cancelled; stored sites settle.
    Cancel,
    /// Cancels, lets what is out end, settles nothing more, and ends the engine.
    Stop,
    /// Lets what is out end and ends the engine. What is not sent is left over: the run can be taken up again.
    Leave,
    /// As [`Command::Leave`], but looks that are out are given up: nothing waits for their answers.
    End,
    /// Another process may have worked on the sites: what is on record is read, and [`Event::Refreshed`] tells when
    /// that is done. A site that something goes on for keeps what is known here.
    Refresh {
        /// Whether all sites are told of again, since something else was shown of them.
        tells_all: bool,
    },
    /// The operator knows these sites to be bad, or (without an acknowledgement) does not any more.
    Acknowledge {
        /// Which sites.
        sites: Vec<SiteId>,
        /// Why, and until when.
        acknowledgement: Option<Acknowledgement>,
    },
    /// An order could not be given, for lack of a master key: tells so.
    Refuse(String),
    /// As a worker: does what is to be done with these sites of another process's run, and tells
    /// [`Event::ChunkOver`] then. An engine that was ever given this order has no runs of its own.
    #[serde(skip)]
    TakeChunk(Box<Chunk>),
    /// As a worker: what is not sent of a chunk is given back.
    #[serde(skip)]
    GiveBack(ChunkId),
}

/// A part of a run that another process coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Which.
    pub id: ChunkId,
    /// The wave of its sites.
    pub wave: usize,
    /// Whether PUTs are to come: else nothing but looks, whatever is on record.
    pub puts: bool,
    /// The key of its run.
    pub key: PublishableKey,
    /// Its sites, and what is on record of them: of this run it is like what the dead have left.
    pub sites: Vec<(SiteId, Newest)>,
}

impl Command {
    /// Whether [`Event::Taken`] answers it.
    pub fn is_answered(&self) -> bool {
        matches!(self, Self::Push(_) | Self::Retry { .. } | Self::Resume(_))
    }
}

/// A run that a process before has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRun {
    /// Its number.
    pub id: RunId,
    /// What it is for.
    #[serde(default)]
    pub kind: Kind,
    /// Its key.
    pub key: PublishableKey,
    /// When it began.
    pub began: Moment,
    /// Where something is left to send, or to find out.
    pub sites: Vec<SiteId>,
}

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For information.
    Info,
    /// To be read.
    Warning,
    /// Something failed.
    Error,
}

/// Something for the operator to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// When.
    pub at: Moment,
    /// How much it matters.
    pub level: Level,
    /// The sentence.
    pub text: String,
}

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// In which run, if any.
    pub run: Option<RunId>,
    /// To which site.
    pub site: SiteId,
    /// PUT or GET.
    pub request: Request,
    /// Which of the site's PUTs (or GETs) in this run, from 1.
    pub number: u32,
    /// When the answer came.
    pub at: Moment,
    /// How long it took.
    pub took: Duration,
    /// The HTTP status, if one came.
    pub http: Option<u16>,
    /// Why it failed, if it did.
    pub cause: Option<Cause>,
    /// What happened, in words.
    pub note: CleanText,
}

/// The run as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Its number.
    pub id: RunId,
    /// What it is for.
    #[serde(default)]
    pub kind: Kind,
    /// Its key.
    pub key: PublishableKey,
    /// Where it is.
    pub phase: RunPhase,
    /// When it began.
    pub started: Moment,
    /// When it was settled.
    pub ended: Option<Moment>,
    /// How many sites get a PUT.
    pub puts: usize,
    /// How its waves follow each other.
    #[serde(default)]
    pub rollout: Rollout,
    /// Why it holds by itself, if it does.
    #[serde(default)]
    pub halt: Option<Halt>,
}

/// What the engine tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A site's state changed.
    Site {
        /// Which site.
        site: SiteId,
        /// All that is known of it now.
        state: Box<SiteState>,
    },
    /// A request ended.
    Attempt(Attempt),
    /// The run as a whole changed.
    Run(RunInfo),
    /// Something to read.
    Message(Message),
    /// Something holds the run, or a part of it: why, and the sentence for it.
    Halted(Halt, String),
    /// Sites show something that cannot wait: what, and the sentence for it, which is a message too.
    Alarm(Alarm, String),
    /// What a backend takes has changed.
    Backend {
        /// Which ([`Site::backend`]).
        backend: Arc<str>,
        /// What it takes now.
        shown: Shown,
    },
    /// A push was ordered, and no run began: nothing is sent.
    NotBegun(StoreError),
    /// The operator knows these sites to be bad, or (without an acknowledgement) does not any more.
    Acknowledged {
        /// Which sites.
        sites: Vec<SiteId>,
        /// Why, and until when.
        acknowledgement: Option<Acknowledgement>,
    },
    /// An order was not given: nothing is sent. Why, for the operator.
    Refused(String),
    /// What is on record was read; the events before this one tell what was new.
    Refreshed {
        /// What other processes had written by then was read.
        since: Moment,
    },
    /// A push, a retry or a resumption was taken, or was not; the events before this one tell which.
    Taken,
    /// The store is not reached, and what is handed over waits for it, PUTs too; or it is back.
    Store {
        /// Whether it is back.
        reached: bool,
        /// Either in words.
        note: String,
    },
    /// Nothing of a chunk is left for this worker to do, and all of it is on record.
    #[serde(skip)]
    ChunkOver(ChunkId),
    /// Two sites of this run have refused a master key that this worker has.
    #[serde(skip)]
    KeyRefused(RunId, MasterKeyId),
}

/// Sends commands to an engine. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    /// Ends what waits for a store that is not reached.
    give_up: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// Gives an order; events tell what comes of it. After [`Command::Stop`] orders are dropped.
    pub fn send(&self, command: Command) {
        if matches!(command, Command::Cancel | Command::Stop) {
            // The engine may wait for the store, and would not hear of it.
            (self.give_up)();
        }
        // An engine that has ended takes no orders: its closed event channel has told so.
        let _ended = self.commands.send(command);
    }
}

/// Starts an engine on `sites` with what is known of them; it asks Stripe nothing. It ends after [`Command::Stop`], or when all
/// handles are gone and nothing is open; then the events end.
///
/// Must be called within a tokio runtime.
pub fn start<Api: SiteApi, Db: Store>(
    sites: Arc<[Site]>,
    known: Vec<Newest>,
    api: Arc<Api>,
    store: Arc<Db>,
    settings: Settings,
    clock: Clock,
) -> (Handle, mpsc::UnboundedReceiver<Event>) {
    let standings = Arc::new(Standings::new(None, Arc::clone(&store), clock));
    start_asking(sites, known, api, standings, store, settings, clock)
}

/// As [`start`], with somebody who can be asked what Stripe says of keys.
pub fn start_asking<Api: SiteApi, Db: Store>(
    sites: Arc<[Site]>,
    known: Vec<Newest>,
    api: Arc<Api>,
    standings: Arc<Standings<Db>>,
    store: Arc<Db>,
    settings: Settings,
    clock: Clock,
) -> (Handle, mpsc::UnboundedReceiver<Event>) {
    let (commands, orders) = mpsc::unbounded_channel();
    let (events, told) = mpsc::unbounded_channel();
    if let Some(trouble) = store.trouble() {
        tokio::spawn(trouble::tell(trouble, events.downgrade()));
    }
    let waited_for = Arc::downgrade(&store);
    let give_up = Arc::new(move || {
        if let Some(store) = waited_for.upgrade() {
            store.give_up();
        }
    });
    let mut engine = run::Engine::new(sites, known, api, store, settings, clock, events);
    engine.asks(standings);
    tokio::spawn(engine.run(orders));
    (Handle { commands, give_up }, told)
}

/// Waits until then; for ever where there is no such time.
pub async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
