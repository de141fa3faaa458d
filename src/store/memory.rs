use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{Intent, NewRun, Outcome, RunId, Store, StoreError};

/// A store that ends with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    runs: Mutex<u64>,
    intents: Mutex<Vec<Intent>>,
}

impl MemoryStore {
    /// The PUTs that were about to be sent, in order.
    pub fn intents(&self) -> Vec<Intent> {
        lock(&self.intents).clone()
    }
}

/// A panic elsewhere does not make the records wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for MemoryStore {
    async fn begin_run(&self, _run: NewRun) -> Result<RunId, StoreError> {
        let mut runs = lock(&self.runs);
        *runs += 1;
        Ok(RunId(*runs))
    }

    async fn record_intent(&self, intent: Intent) -> Result<(), StoreError> {
        lock(&self.intents).push(intent);
        Ok(())
    }

    async fn record_outcome(&self, _outcome: Outcome) -> Result<(), StoreError> {
        Ok(())
    }

    async fn end_run(&self, _run: RunId, _at: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}
