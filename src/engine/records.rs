use tokio::task::JoinSet;

use crate::site::SiteId;
use crate::store::{Newest, Recorded, StoreError};

/// What was read of some sites.
pub(super) struct Read {
    /// Which, and how often something had happened to each until then.
    pub(super) asked: Vec<(usize, u32)>,
    pub(super) known: Result<Vec<Newest>, StoreError>,
}

/// What the store said to a record.
pub(super) struct Answered {
    pub(super) site: SiteId,
    /// How often its state had been replaced by what was on record when it was handed over.
    pub(super) adopted: u32,
    pub(super) result: Result<Recorded, StoreError>,
}

/// What is on its way to the store, and what the store holds for this engine.
#[derive(Default)]
pub(super) struct Records {
    /// Records that are not durable yet.
    pub(super) on_their_way: JoinSet<Answered>,
    /// Whether no other run may send: something of ours is still to be sent.
    pub(super) holds_store: bool,
    /// Whether the store took no record lately.
    pub(super) failing: bool,
}

impl Records {
    /// What came of the next record; none where none is on its way.
    pub(super) async fn next(&mut self) -> Option<Answered> {
        while let Some(done) = self.on_their_way.join_next().await {
            // A store that panics has recorded nothing, and nothing comes of it.
            if let Ok(done) = done {
                return Some(done);
            }
        }
        None
    }
}
