use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::cast::{Keys, Role};
use super::faults::{Arrives, Fault, Handshake, Plays};
use super::template::{Answering, Asked, Body, Cache, Reply, State, Traits};
use super::wire::Spoken;

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
    hold: Mutex<Hold>,
}

/// What is held back on its way to a site.
#[derive(Debug, Default)]
struct Hold {
    /// Whether the next PUT is.
    next: bool,
    /// What is held back arrives when this is cancelled.
    gate: CancellationToken,
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
            _ if role.expired => Some(keys.expired.clone()),
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
                hurry: AtomicU32::new(1),
                at_once,
            },
            state: Mutex::new(State {
                stored,
                caches: vec![Cache::default(); processes],
                turn: 0,
                first_asked: None,
                dice,
            }),
            hold: Mutex::default(),
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
        matches!(self.plays(), Some(Plays::Refuses))
    }

    fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    /// How its fault is played; `None` where it is mended.
    fn plays(&self) -> Option<Plays> {
        (!self.is_healed()).then(|| self.fault.row().plays)
    }

    /// What is odd about its handshakes.
    pub(super) fn handshake(&self) -> Option<Handshake> {
        match self.plays() {
            Some(Plays::Shakes(handshake)) => Some(handshake),
            _ => None,
        }
    }

    /// Whether it speaks on a connection byte by byte.
    pub(super) fn speaks(&self) -> bool {
        matches!(self.plays(), Some(Plays::Speaks(_)))
    }

    /// How long it takes for what takes it so long at its usual pace.
    pub(super) fn time(&self, usually: Duration) -> Duration {
        self.site.time(usually)
    }

    /// Mends what is mendable; returns whether there was something to mend.
    pub(super) fn heal(&self) -> bool {
        self.fault.row().sick && !self.healed.swap(true, Ordering::Relaxed)
    }

    pub(super) fn stored(&self) -> Option<String> {
        self.lock().stored.clone()
    }

    pub(super) fn serves_now(&self) -> Vec<Option<String>> {
        let look = Asked {
            method: "GET".to_owned(),
            path: "/api/stripe-pk".to_owned(),
            master_key: None,
            body: String::new(),
        };
        // Nobody's look: it leaves no trace.
        let state = self.lock().clone();
        let processes = 0..state.caches.len();
        let served = |process| match self.answer_from(&mut state.clone(), process, &look) {
            Reply {
                status: 200,
                body: Body::Text(text),
                ..
            } => key_in(&text),
            _ => None,
        };
        processes
            .map(|process| served(process).filter(|_| !self.is_dead()))
            .collect()
    }

    /// From now on it is so many times faster than usual, and its caches keep what they read so much shorter.
    pub(super) fn hurry(&self, times: u32) {
        self.site.hurry.store(times, Ordering::Relaxed);
    }

    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hold_next_put(&self) {
        self.hold().next = true;
    }

    /// What is held back arrives.
    pub(super) fn let_go(&self) {
        std::mem::take(&mut *self.hold()).gate.cancel();
    }

    /// What this request waits for before it arrives, if it is held back.
    pub(super) fn gate(&self, asked: &Asked) -> Option<CancellationToken> {
        let mut hold = self.hold();
        (asked.is_put() && std::mem::take(&mut hold.next)).then(|| hold.gate.clone())
    }

    /// How long this request is on its way, if that is longer than the network takes.
    pub(super) fn on_its_way(&self, asked: &Asked) -> Option<Duration> {
        if self.is_healed() {
            return None;
        }
        let way = match self.fault.row().arrives {
            Arrives::AtOnce => None,
            Arrives::PutsLate(late) => asked.stores().then(|| self.time(late)),
            Arrives::WhenAwake(asleep) => {
                let now = Instant::now();
                let first = *self.lock().first_asked.get_or_insert(now);
                (first + self.time(asleep)).checked_duration_since(now)
            }
        };
        way.filter(|way| !way.is_zero())
    }

    /// Answers a request on a connection of `process`.
    pub(super) fn answer(&self, process: usize, asked: &Asked) -> Reply {
        self.answer_from(&mut self.lock(), process, asked)
    }

    /// What it says to a request on a connection of `process`, byte by byte.
    pub(super) fn speak(&self, process: usize, asked: &Asked) -> Spoken {
        let mut answering = Answering {
            site: &self.site,
            process,
            state: &mut self.lock(),
        };
        match self.plays() {
            Some(Plays::Speaks(speaks)) => speaks(&mut answering, asked),
            _ => Spoken::whole(&answering.template_site(asked)),
        }
    }

    fn answer_from(&self, state: &mut State, process: usize, asked: &Asked) -> Reply {
        let mut answering = Answering {
            site: &self.site,
            process,
            state,
        };
        let reply = match self.plays() {
            Some(Plays::Answers(answers)) => answers(&mut answering, asked),
            _ => answering.template_site(asked),
        };
        Reply {
            after: self.site.time(reply.after),
            ..reply
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

/// The publishable key that an answer shows.
fn key_in(text: &str) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_str(text).ok()?;
    let key = answer.get("publishable_key")?.as_str()?;
    key.starts_with("pk_").then(|| key.to_owned())
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
