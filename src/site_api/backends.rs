use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::site::Site;

/// How many calls each backend has at once, whoever makes them: a run and a preflight of one process have schedules of
/// their own, and know nothing of each other's calls.
#[derive(Debug)]
pub(super) struct Backends {
    at_once: usize,
    known: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
}

impl Backends {
    /// Each takes so many calls at once, one at least.
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            at_once: at_once.clamp(1, Semaphore::MAX_PERMITS),
            known: Mutex::default(),
        }
    }

    /// Waits until the backend of `site` takes one more call. Dropping what this gives ends the call. None only if
    /// there is nothing to wait for: no semaphore of these is ever closed.
    pub(super) async fn turn(&self, site: &Site) -> Option<OwnedSemaphorePermit> {
        let of_backend = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Arc::new(Semaphore::new(self.at_once));
            let semaphore = known.entry(Arc::clone(&site.backend)).or_insert_with(fresh);
            Arc::clone(semaphore)
        };
        of_backend.acquire_owned().await.ok()
    }
}
