use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use stripe_propagate::site::{MasterKeyId, Site, SiteMode, SiteUrl};
use stripe_propagate::site_api::SiteApi;
use stripe_propagate::text::CleanText;
use tokio::time::Instant;

/// One backend in so many is sick.
const SICK_ONE_IN: usize = 20;
/// How many calls at once a weak backend takes.
const WEAK_TAKES: usize = 4;
/// How many calls a backend that asks to wait answers before it does so again.
const CALLS_BEFORE_WAIT: usize = 20;
/// How long it asks to be left alone.
const WAIT: Duration = Duration::from_secs(30);
/// One in so many calls fails on a flaky backend.
const FLAKY_FAILS_ONE_IN: usize = 3;
/// One in so many calls fails where all are unreliable.
const FAILS_ONE_IN: usize = 20;
/// The limit of a PUT.
const PUT_LIMIT: Duration = Duration::from_secs(35);
/// How long a refusal takes.
const REFUSAL: Duration = Duration::from_millis(5);

/// What is wrong with the sick backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Illness {
    /// Nothing.
    None,
    /// Answers this above [`WEAK_TAKES`] calls at once.
    Weak(Problem),
    /// Refuses connections for so long, once it has had as many calls as it has sites.
    Down(Duration),
    /// Does not answer for so long, once it has had as many calls as it has sites.
    Hangs(Duration),
    /// Answers 429 for [`WAIT`] after each [`CALLS_BEFORE_WAIT`] calls.
    AsksToWait,
    /// Answers one in [`FLAKY_FAILS_ONE_IN`] calls with 500.
    Flaky,
    /// Each call to any backend may fail.
    Unreliable,
}

/// What one backend has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backend {
    pub(crate) calls: usize,
    /// Calls to a site whose last call failed.
    pub(crate) retries: usize,
    /// PUTs that were not stored.
    pub(crate) vain_puts: usize,
    out: usize,
    pub(crate) most_at_once: usize,
    /// When it fell ill, or last asked to wait.
    ill_since: Option<Instant>,
    calls_since: usize,
}

/// What all have seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) backends: Vec<Backend>,
    stored: Vec<bool>,
    shown: Vec<bool>,
    failed: Vec<bool>,
    /// When the last site showed for the first time what it had stored.
    pub(crate) last_shown: Option<Instant>,
    dice: fastrand::Rng,
}

/// Sites on backends, some of which are sick. Counts without looking back.
#[derive(Debug)]
pub(crate) struct World {
    illness: Illness,
    /// Sites a backend.
    behind: usize,
    old: PublishableKey,
    new: PublishableKey,
    seen: Mutex<Seen>,
}

/// What comes of a call, and when.
struct Reply {
    problem: Option<Problem>,
    retry_after: Option<Duration>,
    takes: Duration,
}

impl Reply {
    fn bad(problem: Problem, takes: Duration) -> Self {
        Self {
            problem: Some(problem),
            retry_after: None,
            takes,
        }
    }
}

impl World {
    pub(crate) fn new(sites: usize, behind: usize, illness: Illness) -> anyhow::Result<Self> {
        Ok(Self {
            illness,
            behind,
            old: key(0)?,
            new: key(1)?,
            seen: Mutex::new(Seen {
                backends: vec![Backend::default(); sites.div_ceil(behind)],
                stored: vec![false; sites],
                shown: vec![false; sites],
                failed: vec![false; sites],
                last_shown: None,
                dice: fastrand::Rng::with_seed(1),
            }),
        })
    }

    pub(crate) fn new_key(&self) -> &PublishableKey {
        &self.new
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the backend of this number is a sick one.
    pub(crate) fn is_sick(&self, backend: usize) -> bool {
        let some_are = !matches!(self.illness, Illness::None | Illness::Unreliable);
        some_are && backend % SICK_ONE_IN == 1
    }

    /// The sites in the order of the config: those of a backend stand together.
    pub(crate) fn sites(&self) -> anyhow::Result<Arc<[Site]>> {
        let count = self.seen().stored.len();
        let site = |index: usize| -> anyhow::Result<Site> {
            Ok(Site {
                name: CleanText::note(&index.to_string()),
                url: SiteUrl::parse(&format!("https://shop-{index:06}.example.com"))?,
                group: None,
                mode: SiteMode::Any,
                backend: format!("backend-{}", index / self.behind).into(),
                master_key: MasterKeyId(0),
                enabled: true,
            })
        };
        (0..count).map(site).collect()
    }

    async fn ask(&self, site: &Site, is_put: bool, limit: Duration) -> (usize, Reply) {
        let index: usize = site.name.as_str().parse().unwrap_or_default();
        let number = index / self.behind;
        let reply = {
            let mut seen = self.seen();
            let again = seen.failed[index];
            let backend = &mut seen.backends[number];
            backend.calls += 1;
            backend.calls_since += 1;
            backend.retries += usize::from(again);
            backend.out += 1;
            backend.most_at_once = backend.most_at_once.max(backend.out);
            self.reply(number, &mut seen, limit)
        };
        tokio::time::sleep(reply.takes).await;
        let mut seen = self.seen();
        seen.backends[number].out -= 1;
        seen.failed[index] = reply.problem.is_some();
        if is_put {
            seen.stored[index] |= reply.problem.is_none();
            seen.backends[number].vain_puts += usize::from(reply.problem.is_some());
        } else if reply.problem.is_none() && seen.stored[index] && !seen.shown[index] {
            seen.shown[index] = true;
            seen.last_shown = Some(Instant::now());
        }
        (index, reply)
    }

    fn reply(&self, number: usize, seen: &mut Seen, limit: Duration) -> Reply {
        let takes = Duration::from_millis(seen.dice.u64(50..250));
        let fails = seen.dice.usize(..FAILS_ONE_IN) == 0;
        let well = Reply {
            problem: None,
            retry_after: None,
            takes,
        };
        let flaky_fails = seen.dice.usize(..FLAKY_FAILS_ONE_IN) == 0;
        let backend = &mut seen.backends[number];
        match self.illness {
            Illness::Unreliable if fails => Reply::bad(Problem::ServerError, takes),
            _ if !self.is_sick(number) => well,
            Illness::Flaky if flaky_fails => Reply::bad(Problem::ServerError, takes),
            Illness::Weak(problem) if backend.out > WEAK_TAKES => Reply::bad(problem, REFUSAL),
            Illness::Down(time) if is_ill(backend, self.behind, time) => {
                Reply::bad(Problem::Connect, REFUSAL)
            }
            Illness::Hangs(time) if is_ill(backend, self.behind, time) => Reply::bad(Problem::Timeout, limit),
            Illness::AsksToWait => {
                let left = left_to_wait(backend);
                left.map_or(well, |left| Reply {
                    retry_after: Some(left),
                    ..Reply::bad(Problem::RateLimited, REFUSAL)
                })
            }
            _ => well,
        }
    }
}

/// Ill for so long from its call of this number on.
fn is_ill(backend: &mut Backend, from_call: usize, time: Duration) -> bool {
    if backend.calls <= from_call {
        return false;
    }
    let since = *backend.ill_since.get_or_insert_with(Instant::now);
    since.elapsed() < time
}

/// How long it still asks to wait, in whole seconds.
fn left_to_wait(backend: &mut Backend) -> Option<Duration> {
    if backend.ill_since.is_some_and(|since| since.elapsed() >= WAIT) {
        (backend.ill_since, backend.calls_since) = (None, 1);
    }
    if backend.calls_since <= CALLS_BEFORE_WAIT {
        return None;
    }
    let since = *backend.ill_since.get_or_insert_with(Instant::now);
    let left = WAIT.saturating_sub(since.elapsed()).as_secs_f64().ceil();
    Some(Duration::from_secs_f64(left))
}

fn answer<V>(verdict: V, reply: &Reply) -> Answer<V> {
    let status = |problem: Problem| problem.row().statuses.first().copied();
    Answer {
        verdict,
        http: reply.problem.map_or(Some(200), status),
        took: reply.takes,
        retry_after: reply.retry_after,
        detail: CleanText::default(),
        alarm: None,
    }
}

impl SiteApi for World {
    async fn look(&self, site: &Site, limit: Duration, _close: bool) -> Answer<LookVerdict> {
        let (index, reply) = self.ask(site, false, limit).await;
        let stored = self.seen().stored[index];
        let served = if stored { &self.new } else { &self.old };
        let verdict = reply
            .problem
            .map_or_else(|| LookVerdict::Serves(served.clone()), LookVerdict::Problem);
        answer(verdict, &reply)
    }

    async fn put(&self, site: &Site, _key: &PublishableKey) -> Answer<PutVerdict> {
        let (_, reply) = self.ask(site, true, PUT_LIMIT).await;
        let verdict = reply.problem.map_or(PutVerdict::Stored, PutVerdict::Problem);
        answer(verdict, &reply)
    }
}

/// A live key of the usual length that differs by `number`.
fn key(number: usize) -> anyhow::Result<PublishableKey> {
    Ok(PublishableKey::parse(&format!("pk_live_51Bench{number:0>92}"))?)
}
