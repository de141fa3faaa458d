use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::mirror::{Mirror, Next};
use crate::rules::state::SiteState;
use crate::site::Site;

/// What a hub and its clients share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) sites: Arc<[Site]>,
    mirror: Mutex<Mirror>,
}

impl Shared {
    pub(super) fn new(sites: Arc<[Site]>, mut known: Vec<SiteState>) -> Self {
        known.resize(sites.len(), SiteState::default());
        let mirror = Mutex::new(Mirror::new(known));
        Self { sites, mirror }
    }

    /// Held for a moment at a time, and never over a wait. A panic elsewhere does not make the mirror wrong.
    pub(super) fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place in the mirror, which it leaves in any case.
pub(super) struct Listener {
    shared: Arc<Shared>,
    number: u64,
    pub(super) wake: Arc<Notify>,
}

impl Listener {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (number, wake) = shared.mirror().listen();
        Self { shared, number, wake }
    }

    pub(super) fn next(&self, count: usize) -> Next {
        self.shared.mirror().next(self.number, count)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.mirror().forget(self.number);
    }
}
