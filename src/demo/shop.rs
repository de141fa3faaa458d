use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cast::{Keys, Role};
use super::faults::Fault;
use super::template::{Answering, Asked, Cache, Reply, State, Traits};

/// How long the processes of a caching site keep what they read.
const CACHE: Duration = Duration::from_secs(5);
/// How many processes such a site has.
const PROCESSES: usize = 4;

/// One template site: its database, its processes, its fault.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) index: usize,
    pub(super) backend: Option<String>,
    pub(super) fault: Fault,
    healed: AtomicBool,
    site: Traits,
    state: Mutex<State>,
}

impl Shop {
    pub(super) fn new(
        index: usize,
        role: &Role,
        keys: &Keys,
        redirect_target: String,
        at_once: Arc<AtomicUsize>,
    ) -> Self {
        let mut dice = fastrand::Rng::with_seed(role.seed);
        let stored = match role.fault {
            Fault::NoKeyYet | Fault::StoresNothing => None,
            _ if dice.u8(..10) == 0 => Some(keys.older.clone()),
            _ => Some(keys.old.clone()),
        };
        let (processes, cache) = if role.fault == Fault::CachingProcesses {
            (PROCESSES, CACHE)
        } else {
            (1, Duration::ZERO)
        };
        Self {
            index,
            backend: role.backend.clone(),
            fault: role.fault,
            healed: AtomicBool::new(false),
            site: Traits {
                master_key: keys.master.clone(),
                third_key: keys.third.clone(),
                redirect_target,
                cache,
                at_once,
            },
            state: Mutex::new(State {
                stored,
                caches: vec![Cache::default(); processes],
                turn: 0,
                dice,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process that a new connection gets.
    pub(super) fn process(&self) -> usize {
        let mut state = self.lock();
        let processes = state.caches.len();
        state.dice.usize(..processes)
    }

    /// Whether nothing listens there.
    pub(super) fn is_dead(&self) -> bool {
        self.fault == Fault::Dead && !self.is_healed()
    }

    fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    /// Mends what is mendable; returns whether there was something to mend.
    pub(super) fn heal(&self) -> bool {
        self.fault.row().sick && !self.healed.swap(true, Ordering::Relaxed)
    }

    pub(super) fn stored(&self) -> Option<String> {
        self.lock().stored.clone()
    }

    pub(super) fn serves_now(&self) -> Vec<Option<String>> {
        let state = self.lock();
        let now = Instant::now();
        (0..state.caches.len())
            .map(|process| state.served_by(process, now, self.site.cache))
            .collect()
    }

    /// Answers a request on a connection of `process`.
    pub(super) fn answer(&self, process: usize, asked: &Asked) -> Reply {
        let mut state = self.lock();
        let mut answering = Answering {
            site: &self.site,
            process,
            state: &mut state,
        };
        if self.is_healed() {
            answering.template_site(asked)
        } else {
            (self.fault.row().answers)(&mut answering, asked)
        }
    }

    /// A call begins; it ends when the returned guard is dropped.
    pub(super) fn call(&self) -> Call {
        Call {
            at_once: Arc::clone(&self.site.at_once),
            now: self.site.at_once.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }
}

/// A call that a backend works on.
pub(super) struct Call {
    at_once: Arc<AtomicUsize>,
    /// How many there were at once when it began.
    pub(super) now: usize,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.at_once.fetch_sub(1, Ordering::Relaxed);
    }
}
