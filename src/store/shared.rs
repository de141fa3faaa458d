use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::site::SiteUrl;
use crate::store::RunId;
use crate::store::left::Basis;

/// What writing to a store and reading from it share.
#[derive(Debug)]
pub(super) struct Shared<Place> {
    /// Where the store is.
    pub(super) place: Place,
    /// This start of the machine.
    pub(super) boot: i64,
    /// What this process was told of each site's PUTs. Its own PUTs the writer knows.
    bases: Mutex<HashMap<SiteUrl, Basis>>,
    /// The policy that was asked with last.
    pub(super) policy: Mutex<Policy>,
    /// The runs that this process works on, for who reads.
    own: Mutex<Vec<RunId>>,
    /// The first reading.
    since: OnceLock<Moment>,
}

impl<Place> Shared<Place> {
    pub(super) fn new(place: Place, boot: i64) -> Self {
        Self {
            place,
            boot,
            bases: Mutex::default(),
            policy: Mutex::default(),
            own: Mutex::default(),
            since: OnceLock::new(),
        }
    }

    /// The moment by which the age of what is from before the machine's start is told: the first at which somebody
    /// asked. By another one at each time all of that would seem to have changed.
    pub(super) fn since(&self, now: Moment) -> Moment {
        *self.since.get_or_init(|| now)
    }

    /// The runs that this process works on.
    pub(super) fn own(&self) -> Vec<RunId> {
        lock(&self.own).clone()
    }

    /// The process works on these, and no others.
    pub(super) fn works_on(&self, own: Vec<RunId>) {
        *lock(&self.own) = own;
    }

    /// The process was told so. Where answers overtake each other the newest counts.
    pub(super) fn learn<'a>(&self, told: impl IntoIterator<Item = (&'a SiteUrl, Basis)>) {
        let mut bases = lock(&self.bases);
        for (site, basis) in told {
            match bases.get_mut(site) {
                Some(known) if known.version <= basis.version => *known = basis,
                Some(_) => {}
                // As what nobody was told.
                None if basis == Basis::default() => {}
                None => {
                    bases.insert(site.clone(), basis);
                }
            }
        }
    }

    /// What is handed over now is handed over by one who knows this.
    pub(super) fn basis(&self, site: &SiteUrl) -> Basis {
        lock(&self.bases).get(site).copied().unwrap_or_default()
    }
}

/// A panic elsewhere does not make what is in it wrong.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
