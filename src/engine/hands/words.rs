use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{BETWEEN, FAILURES, Told};
use crate::store::workers::Workers;
use crate::store::{RunId, StoreError};

/// What was said last of a run, until the workers can know it.
#[derive(Debug)]
struct Word {
    may: bool,
    number: u32,
    /// How often that was in vain, though the store was reached.
    failures: usize,
}

/// What was said of runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    /// Those that may not send.
    pub(super) all: BTreeSet<RunId>,
    /// Those of which the workers do not know the newest word yet, by its number.
    pub(super) unheard: BTreeMap<RunId, u32>,
}

impl Held {
    pub(super) fn is_said(&mut self, run: RunId, may: bool, number: u32) {
        if may {
            self.all.remove(&run);
        } else {
            self.all.insert(run);
        }
        self.unheard.insert(run, number);
    }

    fn is_heard(&mut self, run: RunId, number: u32) {
        if self.unheard.get(&run) == Some(&number) {
            self.unheard.remove(&run);
        }
    }
}

/// Says whether runs may send, beside all else: what is handed over meanwhile holds up no halt.
pub(super) struct Words {
    pub(super) workers: Arc<dyn Workers>,
    pub(super) trouble: Option<watch::Receiver<Option<StoreError>>>,
    pub(super) tell: UnboundedSender<Told>,
    pub(super) held: Arc<watch::Sender<Held>>,
}

/// Until the engine ends: each word again and again until it is on record, or a newer one of the run replaces it.
pub(super) async fn say(words: Words, mut lets: UnboundedReceiver<(RunId, bool, u32)>) {
    let mut said: BTreeMap<RunId, Word> = BTreeMap::new();
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            told = lets.recv() => {
                let Some((run, may, number)) = told else { return };
                let failures = said.get(&run).map_or(0, |before| before.failures);
                said.insert(run, Word { may, number, failures });
                next = Instant::now();
            }
            () = sleep_until(next), if !said.is_empty() => {
                words.try_all(&mut said).await;
                next = Instant::now() + BETWEEN;
            }
        }
    }
}

impl Words {
    async fn try_all(&self, said: &mut BTreeMap<RunId, Word>) {
        let mut left = BTreeMap::new();
        for (run, mut word) in std::mem::take(said) {
            let Err(error) = self.workers.let_send(run, word.may).await else {
                self.held.send_modify(|held| held.is_heard(run, word.number));
                if word.failures >= FAILURES {
                    self.tell(Told::HeardAtLast(run, word.may));
                }
                continue;
            };
            let trouble = self.trouble.as_ref();
            // Of a store that is not reached another line tells.
            let is_away = trouble.is_some_and(|trouble| trouble.borrow().is_some());
            if !is_away {
                word.failures += 1;
                if word.failures == FAILURES {
                    self.tell(Told::Unheard(error));
                }
            }
            left.insert(run, word);
        }
        *said = left;
    }

    fn tell(&self, told: Told) {
        // The engine has ended.
        let _gone = self.tell.send(told);
    }
}
