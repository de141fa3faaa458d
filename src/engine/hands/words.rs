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
    /// How often that was in vain, though the store was reached.
    failures: usize,
}

/// The runs that may not send.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) all: BTreeSet<RunId>,
    /// Of which the workers do not know it yet.
    pub(super) unheard: BTreeSet<RunId>,
}

/// Says whether runs may send, beside all else: what is handed over meanwhile holds up no halt.
pub(super) struct Words {
    pub(super) workers: Arc<dyn Workers>,
    pub(super) trouble: Option<watch::Receiver<Option<StoreError>>>,
    pub(super) tell: UnboundedSender<Told>,
    pub(super) held: watch::Sender<Held>,
}

/// Until the engine ends: each word again and again until it is on record, or a newer one of the run replaces it.
pub(super) async fn say(words: Words, mut lets: UnboundedReceiver<(RunId, bool)>) {
    let mut said: BTreeMap<RunId, Word> = BTreeMap::new();
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            told = lets.recv() => {
                let Some((run, may)) = told else { return };
                let failures = said.get(&run).map_or(0, |before| before.failures);
                said.insert(run, Word { may, failures });
                next = Instant::now();
                words.holds(run, may);
                words.tells_of(&said);
            }
            () = sleep_until(next), if !said.is_empty() => {
                words.try_all(&mut said).await;
                words.tells_of(&said);
                next = Instant::now() + BETWEEN;
            }
        }
    }
}

impl Words {
    fn tells_of(&self, said: &BTreeMap<RunId, Word>) {
        let unheard = said.iter().filter(|(_, word)| !word.may);
        let unheard = unheard.map(|(run, _)| *run).collect();
        self.held.send_modify(|held| held.unheard = unheard);
    }

    fn holds(&self, run: RunId, may: bool) {
        self.held.send_modify(|held| {
            if may {
                held.all.remove(&run);
            } else {
                held.all.insert(run);
            }
        });
    }

    async fn try_all(&self, said: &mut BTreeMap<RunId, Word>) {
        let mut left = BTreeMap::new();
        for (run, mut word) in std::mem::take(said) {
            let Err(error) = self.workers.let_send(run, word.may).await else {
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
