use std::collections::{HashSet, VecDeque};
use std::pin::Pin;

use crate::site::SiteId;
use crate::store::{Newest, Recorded, StoreError};

/// What was read of some sites.
pub(super) struct Read {
    /// Higher than that of each that was asked for before.
    pub(super) number: u32,
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

/// A record on its way to the store.
type OnItsWay = Pin<Box<dyn Future<Output = Result<Recorded, StoreError>> + Send>>;

/// What is on its way to the store, and what the store holds for this engine.
#[derive(Default)]
pub(super) struct Records {
    /// Records that are not durable yet, in the order in which they were handed over. Only the first is waited for:
    /// the store writes them by itself, many at once, and who waited for each would be woken for each.
    on_their_way: VecDeque<(SiteId, u32, OnItsWay)>,
    /// How many were handed over, and how many of them are answered.
    pub(super) handed: u64,
    pub(super) answered: u64,
    /// Whether no other run may send: something of ours is still to be sent.
    pub(super) holds_store: bool,
    /// How often what is on record was asked for.
    pub(super) asked: u32,
    /// Whether the store took no record lately.
    pub(super) failing: bool,
}

impl Records {
    /// A record of `site` was handed over, whose state had been replaced so often until then.
    pub(super) fn follow(
        &mut self,
        site: SiteId,
        adopted: u32,
        recorded: impl Future<Output = Result<Recorded, StoreError>> + Send + 'static,
    ) {
        self.handed += 1;
        self.on_their_way.push_back((site, adopted, Box::pin(recorded)));
    }

    /// Of which sites something is on its way, by their places.
    pub(super) fn sites(&self) -> HashSet<usize> {
        self.on_their_way.iter().map(|(site, ..)| site.index()).collect()
    }

    /// What came of the first record that is on its way; none where none is. Nothing is lost where nobody waits for
    /// the end of this.
    pub(super) async fn next(&mut self) -> Option<Answered> {
        let (site, adopted, recorded) = self.on_their_way.front_mut()?;
        let done = Answered {
            site: *site,
            adopted: *adopted,
            result: recorded.await,
        };
        self.answered += 1;
        self.on_their_way.pop_front();
        Some(done)
    }
}
