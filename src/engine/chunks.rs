use std::collections::{HashMap, HashSet, VecDeque};

use super::Chunk;
use crate::site::SiteId;
use crate::store::workers::ChunkId;

/// A site's part in a chunk that this process has taken as a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) chunk: ChunkId,
    /// Whether it is to be looked at, whenever that was planned.
    pub(super) look_is_due: bool,
}

/// What an engine has taken as a worker.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// The sites of each that are not done with.
    pub(super) open: HashMap<ChunkId, HashSet<SiteId>>,
    /// Those that begin when no call is out any more that was made of their sites for another one.
    pub(super) waiting: Vec<Chunk>,
    /// Those of which nothing more is sent.
    pub(super) given_back: HashSet<ChunkId>,
    /// Those that are done with, once so many records are answered.
    pub(super) ending: VecDeque<(ChunkId, u64)>,
    /// Whether anything was ever taken.
    pub(super) is_worker: bool,
    /// Sites to which something has happened.
    pub(super) touched: Vec<SiteId>,
}
