use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::key::PublishableKey;

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

    /// Whether it is a PUT without a value: it asks about the master key, and stores nothing.
    pub(super) fn is_without_value(&self) -> bool {
        self.is_put() && self.body.trim() == "{}"
    }

    /// Whether it is a PUT that would store something.
    pub(super) fn stores(&self) -> bool {
        self.is_put() && !self.is_without_value()
    }
}

/// The body of an answer.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Empty,
    Text(String),
    Bytes(Vec<u8>),
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

/// What makes a site this one, besides its fault.
#[derive(Debug)]
pub(super) struct Traits {
    pub(super) master_key: String,
    /// The key of another tenant.
    pub(super) third_key: String,
    /// Where it points, if it redirects.
    pub(super) redirect_target: String,
    /// How long its processes keep what they read, at its usual pace.
    pub(super) cache: Duration,
    /// How many times faster than usual it is.
    pub(super) hurry: AtomicU32,
    /// Calls that its backend works on now.
    pub(super) at_once: Arc<AtomicUsize>,
}

impl Traits {
    /// How many times faster than usual it is.
    fn hurry(&self) -> u32 {
        self.hurry.load(Ordering::Relaxed).max(1)
    }

    /// How long its processes keep what they read.
    pub(super) fn cache(&self) -> Duration {
        self.cache / self.hurry()
    }

    /// How long it takes for what takes it so long at its usual pace.
    pub(super) fn time(&self, usually: Duration) -> Duration {
        usually / self.hurry()
    }
}

/// What a process of a site has read, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Cache {
    read: Option<(Instant, Option<String>)>,
}

#[derive(Debug, Clone)]
pub(super) struct State {
    /// The site's database.
    pub(super) stored: Option<String>,
    /// A cache a process.
    pub(super) caches: Vec<Cache>,
    /// PUTs with the right master key, for faults that pass.
    pub(super) turn: usize,
    /// When it was asked for the first time.
    pub(super) first_asked: Option<Instant>,
    pub(super) dice: fastrand::Rng,
}

impl State {
    pub(super) fn served_by(&self, process: usize, now: Instant, cache: Duration) -> Option<String> {
        match &self.caches[process].read {
            Some((read, value)) if now.duration_since(*read) < cache => value.clone(),
            _ => self.stored.clone(),
        }
    }
}

/// A site while it answers.
pub(super) struct Answering<'a> {
    pub(super) site: &'a Traits,
    pub(super) process: usize,
    pub(super) state: &'a mut State,
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
        let cache = self.site.cache();
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
        let kept_for = self.site.cache();
        let value = self.state.served_by(self.process, now, kept_for);
        let cache = &mut self.state.caches[self.process];
        if cache
            .read
            .as_ref()
            .is_none_or(|(read, _)| now.duration_since(*read) >= kept_for)
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
            Some(key) if *key != self.site.master_key => {
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
        &self.site.third_key
    }

    pub(super) fn redirect_target(&self) -> &str {
        &self.site.redirect_target
    }

    /// So many seconds of the site's own time, in whole ones of everybody's.
    pub(super) fn seconds(&self, usually: u64) -> u64 {
        usually.div_ceil(self.site.hurry().into())
    }

    pub(super) fn calls_at_once(&self) -> usize {
        self.site.at_once.load(Ordering::Relaxed)
    }
}
