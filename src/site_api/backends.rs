use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::site::Site;

/// How many calls each backend has at once, whoever makes them: a run and a preflight of one process have schedules of
/// their own, and know nothing of each other's calls.
#[derive(Debug)]
pub(super) struct Backends {
    at_once: usize,
    known: Mutex<Known>,
}

/// A large fleet has a backend a site: those that nobody calls are forgotten, each time that twice as many are known as
/// were left the last time.
#[derive(Debug, Default)]
struct Known {
    calls: HashMap<Arc<str>, Arc<Semaphore>>,
    tidy_at: usize,
}

/// So many backends are known at least before any is forgotten.
const FEW: usize = 1024;

impl Known {
    fn of(&mut self, backend: &Arc<str>, at_once: usize) -> Arc<Semaphore> {
        if self.calls.len() >= self.tidy_at.max(FEW) {
            // Each call holds its semaphore, and so does who waits for a turn.
            self.calls.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            self.tidy_at = 2 * self.calls.len();
        }
        let fresh = || Arc::new(Semaphore::new(at_once));
        Arc::clone(self.calls.entry(Arc::clone(backend)).or_insert_with(fresh))
    }
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
        let of_backend = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .of(&site.backend, self.at_once);
        of_backend.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_that_nobody_calls_are_forgotten_and_no_other() {
        let mut known = Known::default();
        let name = |number: usize| -> Arc<str> { format!("backend-{number}").into() };
        let busy = known.of(&name(0), 2);
        let permit = Arc::clone(&busy).try_acquire_owned();
        drop(busy);
        for number in 1..=2 * FEW {
            drop(known.of(&name(number), 2));
            assert!(known.calls.len() <= FEW);
        }
        assert_eq!(known.of(&name(0), 2).available_permits(), 1);
        drop(permit);
        assert_eq!(known.of(&name(0), 2).available_permits(), 2);
    }
}
