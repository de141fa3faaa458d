//! Runs whose calls are made by other processes: what their coordinator hands over, and what it hears of that.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Newest, Outcome, RunId, StoreError};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::run::Kind;
use crate::rules::state::SiteState;
use crate::site::SiteUrl;
use crate::text::CleanText;

/// A part of a run, for one worker at a time: sites of one backend in one wave that have a call to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId {
    /// Of which run.
    pub run: RunId,
    /// Which of its chunks, from 1.
    pub number: u64,
}

/// What is in a chunk that is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChunk {
    /// Which.
    pub id: ChunkId,
    /// The wave of its sites, from 0.
    pub wave: usize,
    /// Whose calls at once are limited: no two chunks of one backend are worked on at once.
    pub backend: Arc<str>,
    /// Whether PUTs are to come: else nothing but looks.
    pub puts: bool,
    /// Its sites.
    pub sites: Vec<SiteUrl>,
}

/// A chunk that a worker has taken: nobody else works on its sites until it gives them back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenChunk {
    /// Whether PUTs are to come: else nothing but looks.
    pub puts: bool,
    /// What its run is for.
    pub kind: Kind,
    /// The key of its run.
    pub key: PublishableKey,
    /// When its run began.
    pub began: Moment,
    /// The wave of its sites, from 0.
    pub wave: usize,
    /// Its sites, with the names that they had when the run began.
    pub sites: Vec<(SiteUrl, CleanText)>,
}

/// What came of asking for a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// It is this worker's.
    Taken(Box<TakenChunk>),
    /// Another worker has it, or had it and may have a PUT out yet: for so many seconds at least.
    Held(u64),
    /// Nothing of it is left to do: it was done, taken back, or its run is over.
    Over,
}

/// What a worker did.
#[derive(Debug, Clone, PartialEq)]
pub enum Did {
    /// It is about to send the site its PUT.
    Intends,
    /// This came of a request. Its run is the chunk's.
    Asked(Box<Outcome>),
}

/// What is heard of a site that a worker has.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// In which run.
    pub run: RunId,
    /// Which.
    pub site: SiteUrl,
    /// What happened.
    pub did: Did,
    /// The machine of the worker.
    pub by: CleanText,
    /// All that is known of it now, as the worker recorded it; none where it has recorded nothing in this run.
    pub state: Option<SiteState>,
}

/// A worker that has chunks of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusyWorker {
    /// Its number in the store.
    pub process: u64,
    /// Its machine.
    pub host: CleanText,
    /// How many sites of these runs it has.
    pub sites: usize,
    /// How long ago it was heard of last.
    pub silent: Duration,
    /// For so long a PUT of it may be out, if it is not heard of again: until then its sites are nobody else's.
    pub lease: Duration,
}

/// What was heard of workers since that was asked last.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Heard {
    /// What they did, in order for each site.
    pub news: Vec<News>,
    /// Chunks that were given back, and what is on record of their sites by now. What of them is to be sent yet is like
    /// what the dead have left. They are told of until the next question names them.
    pub back: Vec<(ChunkId, Vec<(SiteUrl, Newest)>)>,
    /// Who has chunks of these runs now.
    pub workers: Vec<BusyWorker>,
    /// The runs that this process works on yet: others it had may have been taken up elsewhere.
    pub own: Vec<RunId>,
}

/// An answer that is to come.
pub type ToCome<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The workers of a store: they make the calls of the runs that this process works on.
pub trait Workers: Send + Sync {
    /// The number of the last chunk of this run, 0 where it has none.
    fn last_chunk(&self, run: RunId) -> ToCome<'_, u64>;

    /// Hands chunks over: from now on their sites are the workers', until they are given back. To do so twice is to do
    /// it once.
    fn hand_over<'a>(&'a self, chunks: &'a [NewChunk]) -> ToCome<'a, ()>;

    /// Whether PUTs of the run may go. Behind a no none has its intent on record; what was not sent is given back.
    fn let_send(&self, run: RunId, may: bool) -> ToCome<'_, ()>;

    /// What was heard of the workers of all runs of this process. `known` are the chunks that nobody needs to be told of
    /// again.
    fn heard<'a>(&'a self, known: &'a [ChunkId], policy: &'a Policy, now: Moment) -> ToCome<'a, Heard>;

    /// Puts into the queue what it has lost of chunks that are not done. Returns which of `chunks` are not on record at all:
    /// a server that came back with an earlier state has lost them.
    fn mend<'a>(&'a self, chunks: &'a [ChunkId]) -> ToCome<'a, Vec<ChunkId>>;

    /// The machines of workers that were heard of lately, one for each worker.
    fn living(&self) -> ToCome<'_, Vec<CleanText>>;

    /// What is on record of these sites, whoever works on them: as [`Store::last_known`](super::Store::last_known) tells.
    fn known<'a>(&'a self, sites: &'a [SiteUrl], policy: &'a Policy, now: Moment) -> ToCome<'a, Vec<Newest>>;
}
