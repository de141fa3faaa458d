use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::place::Place;
use crate::rules::retry::Policy;

/// What writing and reading share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) place: Place,
    /// This start of the machine.
    pub(super) boot: i64,
    /// The version of each site that this process knows.
    pub(super) versions: Mutex<HashMap<i64, i64>>,
    /// The policy that was asked with last.
    pub(super) policy: Mutex<Policy>,
}

impl Shared {
    pub(super) fn new(place: Place, boot: i64) -> Self {
        Self {
            place,
            boot,
            versions: Mutex::default(),
            policy: Mutex::default(),
        }
    }

    /// The process knows of these versions. What it knew of later ones stays known.
    pub(super) fn learn(&self, versions: impl IntoIterator<Item = (i64, i64)>) {
        let mut known = lock(&self.versions);
        for (site, version) in versions {
            let known = known.entry(site).or_default();
            *known = version.max(*known);
        }
    }
}

/// A panic elsewhere does not make what is in it wrong.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
