//! The screen: a model, messages that change it, and a picture of it. `update` and `draw` are pure; `run`
//! does the I/O.

/// What is odd with the list of sites.
mod sources;
/// Where the sites come from, what is ordered about that, and what is told of it.
pub mod setup;
/// Colours by role, not by widget.
pub mod theme;
/// Keys, and which action has which of them.
pub mod keys;
/// The known keys that the field offers.
pub mod offers;
/// The key field.
pub mod field;
/// What is counted while a run goes on: pace, latencies, the newest failure.
mod live;
/// Which sites are shown, by words and by `field:value`.
pub mod filter;
/// The order of the table, its cursor and its marks.
pub mod list;
/// All state of the screen behind the dialogs.
pub mod model;
/// What Stripe says of the keys in the field and in a plan.
mod stripe;
/// What happened while no screen looked, in a sentence.
mod meanwhile;
/// COLUMNS: head, width and cell of each.
pub mod columns;
/// Each dialog whole: its state, its keys, its drawing.
pub mod dialogs;
/// The model and the dialog before it.
pub mod screen;
/// What the operator orders: pushes and retries, through a plan or at once.
mod orders;
/// What became of the sites when their config was read again, in words.
mod reread;
/// The config and its sites: read again, added to, begun.
mod first;
/// Moving, finding and marking.
mod find;
/// The screen of somebody who may not push.
mod policy;
/// A watch, as the screen is told of it.
mod watch;
/// ACTIONS: keys, help and effect of each.
pub mod actions;
/// What a message makes of the model.
pub mod update;
/// The picture of the model: a file a region.
pub mod view;
/// What the terminal shows of a run outside the screen: title, progress, bell.
mod tab;
/// Text for the terminal's clipboard.
mod clipboard;
/// A frame in memory, and the bytes that bring the terminal to it.
pub mod frame;
/// The terminal: taken, written to by a thread of its own, given back.
mod terminal;
/// What is typed, read by a thread of its own.
mod input;
/// The loop: waits for input, engine, signals and the frame timer; carries out effects.
pub mod run;

use std::path::PathBuf;

use crossterm::event::{KeyCode, KeyEvent};

pub use self::model::OthersRun;
use self::setup::{SetupNews, SetupOrder};
pub use self::watch::WatchNews;
use crate::engine::preflight::News;
use crate::engine::{Command, Event};
use crate::key::PublishableKey;
use crate::rules::crew::Crew;
use crate::rules::plan::PutBack;
use crate::rules::standing::Asked;
use crate::site::{SiteId, SiteUrl};
use crate::store::{Holder, RunId, RunRecord, RunSite, Seen, SiteRun, StoredAttempt};

/// Something that the screen is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// What the terminal gave in one read. The events of one read belong together: what follows a line end
    /// in it was pasted, not typed.
    Input(Vec<Input>),
    /// The terminal's size changed.
    Resize {
        /// Its width.
        columns: u16,
        /// Its height.
        rows: u16,
    },
    /// The engine tells, or a run of another process that the screen is attached to.
    Engine(Event),
    /// Whose run is shown and steered from now on; none for this process's own.
    Attached(Option<Holder>),
    /// A run that a process before has left, and that nobody works on.
    Left(Box<RunRecord>),
    /// The runs of other processes that this screen is not attached to, as far as one works on them.
    Others(Vec<OthersRun>),
    /// The workers that are there, where they make the calls of runs.
    Crew(Crew),
    /// What was read from the store.
    Read(Reading),
    /// The time that [`model::Model::wake_at`] asked for has come.
    Wake,
    /// Stripe was asked of a key.
    Asked(PublishableKey, Asked),
    /// What came of an order about the config.
    Setup(SetupNews),
    /// What a preflight tells.
    Preflight(PreflightNews),
    /// What the watch does.
    Watch(WatchNews),
    /// The demo's sites were mended: how many.
    Healed(usize),
    /// The screen is back from being suspended.
    Resumed,
    /// Somebody wants the config and its sites to be read again.
    Reload,
}

/// One thing that the operator typed or pasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A key press.
    Key(KeyEvent),
    /// A bracketed paste.
    Paste(String),
    /// The mouse's wheel, in lines; down is positive.
    Scroll(isize),
    /// A click in this row of the screen.
    Click(u16),
    /// What follows belongs to a paste of which the first part came before, in a read of its own.
    PasteGoesOn,
}

/// Whether what came in one read was pasted (without brackets) rather than typed: many different letters.
/// A key that is held down on a slow line comes in bunches too, but it is one key.
fn looks_pasted(batch: &[Input]) -> bool {
    const TYPED_AT_ONCE: usize = 6;

    if batch.first() == Some(&Input::PasteGoesOn) {
        return true;
    }
    let mut letters: Vec<char> = batch.iter().filter_map(Input::letter).collect();
    if letters.len() <= TYPED_AT_ONCE {
        return batch.iter().any(|input| matches!(input, Input::Paste(_)));
    }
    letters.sort_unstable();
    letters.dedup();
    letters.len() > 2
}

impl Input {
    fn letter(&self) -> Option<char> {
        match self {
            Self::Key(KeyEvent {
                code: KeyCode::Char(letter),
                ..
            }) => Some(*letter),
            _ => None,
        }
    }
}

/// Something that the screen wants from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The runs on record.
    Runs,
    /// The sites of a run.
    Run(RunId),
    /// The attempts on a site in a run.
    Attempts(RunId, SiteUrl),
    /// What these sites of a run had before it; none means all.
    PutBack(RunId, Option<Vec<SiteId>>),
    /// What is on record of a site.
    Past(SiteId),
    /// Whether any site was ever seen to serve this key.
    WasServed(PublishableKey),
    /// A run as a document in a file.
    Export {
        /// Which run.
        run: RunId,
        /// Which file; its end says which format.
        path: PathBuf,
        /// Whether a file that is there already is replaced.
        replace: bool,
    },
}

/// What is on record of a site, for its detail.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Past {
    /// The keys that it was seen to serve, in order.
    pub seen: Vec<Seen>,
    /// The attempts on it, in order.
    pub attempts: Vec<StoredAttempt>,
    /// The runs that had it in their plan, newest first.
    pub runs: Vec<SiteRun>,
}

/// What was read from the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// The runs on record, newest first.
    Runs(Vec<RunRecord>),
    /// The sites of a run.
    Run(RunId, Vec<RunSite>),
    /// The attempts on a site in the run that was asked for.
    Attempts(SiteUrl, Vec<StoredAttempt>),
    /// What sites had before a run.
    PutBack(RunId, Vec<PutBack>),
    /// What is on record of a site.
    Past(SiteId, Box<Past>),
    /// Whether any site was ever seen to serve this key.
    WasServed(PublishableKey, bool),
    /// The file was written.
    Exported(PathBuf),
    /// The file is there already.
    Exists(PathBuf),
    /// It could not be read or written: why, for the operator.
    Failed(String),
}

/// An order about preflights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreflightOrder {
    /// Begins one, in the place of the one that goes on.
    Begin {
        /// What tells it apart from those before.
        number: u64,
        /// Which sites are tried.
        sites: Vec<SiteId>,
        /// Whether their master keys are tried, too.
        auth: bool,
    },
    /// Begins nothing more of the one that goes on.
    Stop,
}

/// What is told of the preflight of this number.
#[derive(Debug, Clone, PartialEq)]
pub struct PreflightNews {
    /// Which one.
    pub number: u64,
    /// What is told.
    pub told: PreflightTold,
}

/// What is told of a preflight.
#[derive(Debug, Clone, PartialEq)]
pub enum PreflightTold {
    /// It begins: the master keys that it needs were read.
    Begun,
    /// It does not begin, since a master key cannot be read: why, for the operator.
    Refused(String),
    /// What it found.
    Found(News),
    /// All sites are over.
    Ended,
}

/// Something that the screen wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// An order, for the engine of this process or for the run that the screen is attached to. Master keys that it
    /// needs are read first; if one cannot be, [`Event::Refused`] tells so.
    Engine(Command),
    /// Reads something from the store; [`Message::Read`] brings it.
    Read(Wanted),
    /// Asks Stripe of a key; [`Message::Asked`] tells what it says.
    AskStripe(PublishableKey),
    /// Does something about the config; [`Message::Setup`] tells what came of it.
    Setup(SetupOrder),
    /// Tries what a push would meet; [`Message::Preflight`] tells of it.
    Preflight(PreflightOrder),
    /// Puts text into the clipboard of the operator's terminal (OSC 52).
    Copy(String),
    /// Draws everything afresh.
    Redraw,
    /// Stops the process until the shell continues it.
    Suspend,
    /// Begins a watch, or ends it; [`Message::Watch`] tells what it does.
    Watch(bool),
    /// Mends the demo's sick sites.
    Heal,
    /// Leaves the screen.
    Quit(Leave),
}

impl Effect {
    /// Whether it is an order that the engine answers.
    fn is_answered(&self) -> bool {
        matches!(self, Self::Engine(command) if command.is_answered())
    }
}

/// What becomes of a run when the screen is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Nothing runs.
    Idle,
    /// It goes on without a screen.
    RunGoesOn,
    /// It stays paused, and another screen can attach to it.
    RunWaits,
    /// No new sites; what is out ends.
    Cancel,
    /// It comes back at once, on the config that was read again.
    Reload,
    /// The demo's comes in its place.
    Demo,
}
