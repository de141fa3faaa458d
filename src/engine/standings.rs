use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex as Turn, Semaphore};
use tokio::time::Instant;

use super::Clock;
use crate::key::PublishableKey;
use crate::rules::standing::{Asked, NotAsked, Purpose};
use crate::store::Store;
use crate::stripe::AskStripe;

/// Questions that are out to Stripe at once, in all.
const AT_ONCE: usize = 4;
/// Keys that are held in mind at most: a site that answers another one at each look must not fill the memory. What
/// was said of the others is in the store.
const KEYS: usize = 1000;

/// What Stripe says of keys: each is asked once, whoever wants to know, and remembered, also by other processes.
pub struct Standings<Db> {
    /// None where Stripe is not to be asked.
    stripe: Option<Arc<dyn AskStripe>>,
    store: Arc<Db>,
    clock: Clock,
    at_once: Semaphore,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By key what was said last. Who holds the turn of a key asks, and the others wait for what comes of it.
    keys: HashMap<PublishableKey, Arc<Turn<Option<Said>>>>,
    /// When Stripe could last not be asked, and why.
    in_vain: Option<(Instant, NotAsked)>,
    /// What was said before is not heard.
    not_before: Option<Timestamp>,
    /// Whether what is said now is not recorded.
    only_reads: bool,
    /// Keys that go out whatever Stripe says of them: the operator has said so.
    allowed: HashSet<PublishableKey>,
}

#[derive(Clone)]
struct Said {
    asked: Asked,
    at: Timestamp,
}

impl<Db> std::fmt::Debug for Standings<Db> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Standings").finish_non_exhaustive()
    }
}

impl<Db: Store> Standings<Db> {
    /// Asks `stripe`, if it is to be asked, and remembers what it says in `store`.
    pub fn new(stripe: Option<Arc<dyn AskStripe>>, store: Arc<Db>, clock: Clock) -> Self {
        Self {
            stripe,
            store,
            clock,
            at_once: Semaphore::new(AT_ONCE),
            known: Mutex::default(),
        }
    }

    /// Whether Stripe is asked at all.
    pub fn is_asked(&self) -> bool {
        self.stripe.is_some()
    }

    /// Whether an answer is waited for.
    pub fn is_asking(&self) -> bool {
        let known = self.lock();
        known.keys.values().any(|turn| Arc::strong_count(turn) > 1)
    }

    /// What was said until now counts no more: each key is asked anew.
    pub fn ask_afresh(&self) {
        self.lock().not_before = Some(self.clock.now().wall);
    }

    /// From now on nothing that is said is recorded: of a command that leaves nothing behind.
    pub fn only_read(&self) {
        self.lock().only_reads = true;
    }

    /// This key goes out, whatever Stripe says of it: the operator has said so.
    pub fn allow(&self, key: PublishableKey) {
        self.lock().allowed.insert(key);
    }

    /// Whether the operator has said so.
    pub fn is_allowed(&self, key: &PublishableKey) -> bool {
        self.lock().allowed.contains(key)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What Stripe says of a key; none where it is not to be asked. Takes the time of one question at most, and of those
    /// before it in the queue.
    pub async fn of(&self, key: &PublishableKey, purpose: Purpose) -> Option<Asked> {
        let stripe = self.stripe.as_ref()?;
        let queued = Instant::now();
        let turn = self.turn(key);
        let mut said = turn.lock().await;
        let here = said.clone().filter(|said| self.holds(said, purpose));
        if here.as_ref().is_none_or(|said| said.asked.is_err()) {
            // Another process may have asked since; and what does not hold for a push may hold for the fleet.
            let kept = self.on_record(key).await;
            if let Some(kept) = kept.filter(|kept| self.holds(kept, purpose)) {
                // That it could not be asked just now stays known for who needs a younger answer.
                *said = here.or(Some(kept.clone()));
                return Some(kept.asked);
            }
        }
        if let Some(here) = here {
            return Some(here.asked);
        }
        let asked = self.ask(stripe.as_ref(), key, queued).await;
        let at = self.clock.now().wall;
        *said = Some(Said {
            asked: asked.clone(),
            at,
        });
        let is_kept = !self.lock().only_reads;
        if let Ok(standing) = asked
            && is_kept
            && let Err(error) = self.store.remember_standing(key, standing, at).await
        {
            // The next process asks again.
            tracing::warn!(%error, "what Stripe said of a key could not be recorded");
        }
        Some(asked)
    }

    /// The place in mind of a key.
    fn turn(&self, key: &PublishableKey) -> Arc<Turn<Option<Said>>> {
        let mut known = self.lock();
        if known.keys.len() >= KEYS && !known.keys.contains_key(key) {
            // Those that somebody waits for stay.
            known.keys.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(known.keys.entry(key.clone()).or_default())
    }

    async fn on_record(&self, key: &PublishableKey) -> Option<Said> {
        let read = self.store.standing(key).await;
        let read =
            read.inspect_err(|error| tracing::warn!(%error, "what Stripe said of a key cannot be read"));
        read.ok().flatten().map(|(standing, at)| Said {
            asked: Ok(standing),
            at,
        })
    }

    /// Whether it is still to be heard. What seems to come from the future was said before the clock was set.
    fn holds(&self, said: &Said, purpose: Purpose) -> bool {
        let age = self.clock.now().wall.duration_since(said.at);
        let limit = SignedDuration::try_from(purpose.holds_for(&said.asked)).unwrap_or(SignedDuration::MAX);
        let is_heard = self.lock().not_before.is_none_or(|from| from < said.at);
        is_heard && age >= SignedDuration::ZERO && age < limit
    }

    async fn ask(&self, stripe: &dyn AskStripe, key: &PublishableKey, queued: Instant) -> Asked {
        let _turn = self.at_once.acquire().await;
        let in_vain = self.lock().in_vain.clone();
        if let Some((at, why)) = in_vain
            && at > queued
        {
            // Others have waited for it in vain meanwhile: a long queue must not wait so for each of its keys.
            return Err(why);
        }
        let asked = stripe.ask(key).await;
        if let Err(why) = &asked {
            self.lock().in_vain = Some((Instant::now(), why.clone()));
        }
        asked
    }
}
