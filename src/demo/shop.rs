use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cast::{Keys, Role};
use super::faults::Fault;
use crate::key::PublishableKey;

/// How long the processes of a caching site keep what they read.
const CACHE: Duration = Duration::from_secs(5);
/// How many processes such a site has.
const PROCESSES: usize = 4;

/// A request to a site.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) master_key: Option<String>,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn is_put(&self) -> bool {
        self.method == "PUT"
    }
}

/// The body of an answer.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Empty,
    Text(String),
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
    /// How long it is held back.
    pub(super) after: Duration,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Self {
            status,
            headers,
            body: Body::Text(body.to_string()),
            after: Duration::ZERO,
        }
    }

    pub(super) fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// What a process of a site has read, and when.
#[derive(Debug, Clone, Default)]
struct Cache {
    read: Option<(Instant, Option<String>)>,
}

#[derive(Debug)]
struct State {
    /// The site's database.
    stored: Option<String>,
    /// A cache a process.
    caches: Vec<Cache>,
    /// PUTs with the right master key, for faults that pass.
    turn: usize,
    dice: fastrand::Rng,
}

/// One template site: its database, its processes, its fault.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) index: usize,
    pub(super) backend: Option<String>,
    pub(super) fault: Fault,
    healed: AtomicBool,
    master_key: String,
    third_key: String,
    redirect_target: String,
    /// Calls that its backend works on now.
    at_once: Arc<AtomicUsize>,
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
        let processes = if role.fault == Fault::CachingProcesses {
            PROCESSES
        } else {
            1
        };
        Self {
            index,
            backend: role.backend.clone(),
            fault: role.fault,
            healed: AtomicBool::new(false),
            master_key: keys.master.clone(),
            third_key: keys.third.clone(),
            redirect_target,
            at_once,
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
            .map(|process| state.served_by(process, now, self.cache()))
            .collect()
    }

    fn cache(&self) -> Duration {
        if self.fault == Fault::CachingProcesses {
            CACHE
        } else {
            Duration::ZERO
        }
    }

    /// Answers a request on a connection of `process`.
    pub(super) fn answer(&self, process: usize, asked: &Asked) -> Reply {
        let mut state = self.lock();
        let mut answering = Answering {
            shop: self,
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
            at_once: Arc::clone(&self.at_once),
            now: self.at_once.fetch_add(1, Ordering::Relaxed) + 1,
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

impl State {
    fn served_by(&self, process: usize, now: Instant, cache: Duration) -> Option<String> {
        match &self.caches[process].read {
            Some((read, value)) if now.duration_since(*read) < cache => value.clone(),
            _ => self.stored.clone(),
        }
    }
}

/// A site while it answers.
pub(super) struct Answering<'a> {
    shop: &'a Shop,
    process: usize,
    state: &'a mut State,
}

impl Answering<'_> {
    /// What a healthy template site answers (contract.md).
    pub(super) fn template_site(&mut self, asked: &Asked) -> Reply {
        match asked.method.as_str() {
            "PUT" if asked.path == "/api/export/settings/stripe_publishable_key" => self.put(asked),
            "GET" if asked.path == "/api/stripe-pk" => self.look(),
            _ => Reply::json(404, &json!({ "error": "Not Found" })),
        }
    }

    fn put(&mut self, asked: &Asked) -> Reply {
        if let Some(refusal) = self.refusal(asked) {
            return refusal;
        }
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let Some(value) = body.get("value").and_then(Value::as_str) else {
            return Reply::json(400, &json!({ "error": "Missing value" }));
        };
        if PublishableKey::parse(value).is_err() {
            return Reply::json(
                400,
                &json!({ "success": false, "error": "invalid_publishable_format" }),
            );
        }
        self.fill_caches_of_busy_processes();
        self.state.stored = Some(value.to_owned());
        // A PUT clears the cache of the process that took it, and no other.
        self.state.caches[self.process] = Cache::default();
        Reply::json(
            200,
            &json!({ "success": true, "message": "stripe_publishable_key updated" }),
        )
    }

    /// Shoppers look at a shop all the time, so each process has read the key within the last 5 seconds.
    fn fill_caches_of_busy_processes(&mut self) {
        let now = Instant::now();
        let cache = self.shop.cache();
        for process in 0..self.state.caches.len() {
            let value = self.state.served_by(process, now, cache);
            let stale = self.state.caches[process]
                .read
                .as_ref()
                .is_none_or(|(read, _)| now.duration_since(*read) >= cache);
            if stale && !cache.is_zero() {
                let ago = cache.mul_f64(self.state.dice.f64());
                self.state.caches[process].read = Some((now.checked_sub(ago).unwrap_or(now), value));
            }
        }
    }

    fn look(&mut self) -> Reply {
        let now = Instant::now();
        let value = self.state.served_by(self.process, now, self.shop.cache());
        let cache = &mut self.state.caches[self.process];
        if cache
            .read
            .as_ref()
            .is_none_or(|(read, _)| now.duration_since(*read) >= self.shop.cache())
        {
            cache.read = Some((now, value.clone()));
        }
        match value {
            Some(key) => Reply::json(200, &json!({ "success": true, "publishable_key": key })),
            None => Reply::json(404, &json!({ "success": false, "message": "no_publishable_key" })),
        }
    }

    /// Authentication comes first.
    pub(super) fn refusal(&self, asked: &Asked) -> Option<Reply> {
        match &asked.master_key {
            None => Some(Reply::json(401, &json!({ "error": "API key manquante" }))),
            Some(key) if *key != self.shop.master_key => {
                Some(Reply::json(403, &json!({ "error": "Clé API invalide" })))
            }
            Some(_) => None,
        }
    }

    /// Which PUT this is, from 1.
    pub(super) fn turn(&mut self) -> usize {
        self.state.turn += 1;
        self.state.turn
    }

    pub(super) fn third_key(&self) -> &str {
        &self.shop.third_key
    }

    pub(super) fn redirect_target(&self) -> &str {
        &self.shop.redirect_target
    }

    pub(super) fn calls_at_once(&self) -> usize {
        self.shop.at_once.load(Ordering::Relaxed)
    }
}
