//! The life of a site, of which PUSH and VERIFY are the visible part:
//!
//! ```text
//! PUSH    idle ─order─▶ queued ─slot─▶ (look) ─▶ sending ─success──────────────▶ stored
//!                          │             │          │ ▲                              ▲
//!                          │             │          │ └─backoff─ retrying            │ a match
//!                          │             └─held─▶ skipped  ├─sent, no answer──▶ unknown ─┐
//!                          └─cancel─▶ cancelled     └─for good──────────────▶ failed ◀┘ previous key
//!
//! VERIFY  a look shows        before the settle time is over    after it
//!         the expected key    serving   (proof at its end)      verified
//!         the previous, none  settling  (looks at 3, 10, 30 s)  mismatch, no_key
//!         a third key         mismatch                          mismatch
//!         a secret            exposed_secret                    exposed_secret
//!         nothing to judge    settling  (the note says why)     failed, after `attempts`
//!         a key that is dead  as above                          dead_key, once it rests
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::outcome::{Answer, Leak, LookVerdict, Problem, Verdict};
use super::retry::{LOOK_IS_FRESH, Policy};
use super::run::RunId;
use super::standing::Standing;
use super::status::{Push, SkipReason, Verify};
use crate::key::PublishableKey;
use crate::text::CleanText;

/// One copy for all who know the same.
mod shared;
pub use shared::SiteState;
/// The answers around a PUT.
mod push;
/// What is asked of a state.
mod asked;
pub use asked::RetryPlan;
/// What a process that is gone has left behind.
mod left;
pub use left::LeftRow;
/// The answers of looks.
mod looks;
/// What Stripe says of the key that the site serves.
mod dead;
#[cfg(test)]
mod tests;

/// What a site was last seen to serve.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Served {
    /// Never seen.
    #[default]
    Unknown,
    /// This key.
    Key(PublishableKey),
    /// No key.
    NoKey,
    /// A secret, dropped unread.
    Secret,
}

impl Served {
    /// The key, if it is one.
    pub fn key(&self) -> Option<&PublishableKey> {
        match self {
            Self::Key(key) => Some(key),
            _ => None,
        }
    }

    /// In words, a key as `mask` writes it.
    pub fn words(&self, mask: impl FnOnce(&PublishableKey) -> String) -> String {
        match self {
            Self::Unknown => "not seen".to_owned(),
            Self::Key(key) => mask(key),
            Self::NoKey => "no key".to_owned(),
            Self::Secret => "A SECRET (not kept)".to_owned(),
        }
    }
}

/// A request to make for a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The look before a PUT, on the connection that the PUT will take.
    LookBefore,
    /// The PUT.
    Put,
    /// A look after which the connection is closed.
    Look,
}

/// What a site needs after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until an order.
    Rest,
    /// This request at once, in the slot that it has.
    Now(Call),
    /// This request at that time, without slot or connection until then.
    At(Moment, Call),
}

/// What the operator says to questions that a push of one site can raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allow {
    /// Replace a key of the other mode.
    pub mode_change: bool,
    /// Send the PUT to something that does not answer like a template site.
    pub unrecognised: bool,
    /// Replace a key that someone else has put there since the plan.
    #[serde(default)]
    pub changed: bool,
}

impl Allow {
    /// What either allows.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            mode_change: self.mode_change || other.mode_change,
            unrecognised: self.unrecognised || other.unrecognised,
            changed: self.changed || other.changed,
        }
    }
}

/// A PUT that was stored, or may have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LastPut {
    key: PublishableKey,
    /// When its answer came.
    at: Moment,
    /// When no cache has anything from before it.
    settled_at: Moment,
}

/// The time in which a site's processes may still answer different keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    begin: Moment,
    until: Moment,
}

/// The part of an operation that a site is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    #[default]
    Rest,
    /// A PUT is ordered, or waits for its retry.
    PushWaits,
    LookingBefore,
    Putting,
    /// Looks are ordered or wait for their time.
    LookWaits,
    Looking,
}

/// What is known of one site. Public fields are for showing; only the methods change it.
///
/// Written as JSON it is what the store and other processes get to know: fields may be added, none renamed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, set and cleared on its own"
)]
pub struct Facts {
    /// What happened to the PUT.
    pub push: Push,
    /// What the GETs say.
    pub verify: Verify,
    /// What the site was last seen to serve.
    pub now: Served,
    /// The last HTTP status.
    pub http: Option<u16>,
    /// PUTs sent in this run.
    pub puts: u32,
    /// How long the last answer took.
    pub took: Option<Duration>,
    /// When something last happened.
    pub at: Option<Moment>,
    /// What was wrong with the last answer, if anything.
    #[serde(skip_serializing_if = "is_default")]
    pub problem: Option<Problem>,
    /// The site's own words to it.
    #[serde(skip_serializing_if = "is_default")]
    pub detail: CleanText,
    /// When it is acted upon next.
    #[serde(skip_serializing_if = "is_default")]
    pub next_at: Option<Moment>,
    /// When the settle time is over, or the limit of the request that is out.
    #[serde(skip_serializing_if = "is_default")]
    pub until: Option<Moment>,
    /// An answer held a secret.
    #[serde(skip_serializing_if = "is_default")]
    pub alarm: bool,
    /// Which one, where that was kept.
    #[serde(skip_serializing_if = "is_default")]
    pub leak: Option<Leak>,
    /// The key that the site should serve.
    pub expected: Option<PublishableKey>,
    /// What it served before the run's PUT: what a rollback would put back.
    pub before: Served,
    /// When it was last looked at, with an answer.
    pub looked_at: Option<Moment>,
    /// Whether it belongs to the run that goes on, or went last.
    pub in_run: bool,
    /// The run that last had it in its plan.
    pub run: Option<RunId>,
    /// Its wave in that run, from 0.
    #[serde(skip_serializing_if = "is_default")]
    pub wave: Option<usize>,
    /// Since when this key is expected.
    pub expected_since: Option<Moment>,
    /// What Stripe said last of the key that the site serves, if that is dead.
    #[serde(skip_serializing_if = "is_default")]
    pub dead: Option<(PublishableKey, Standing)>,
    /// What VERIFY is without what Stripe says, while it is `dead_key`.
    #[serde(skip_serializing_if = "is_default")]
    besides: Option<Verify>,
    #[serde(skip_serializing_if = "is_default")]
    phase: Phase,
    #[serde(skip_serializing_if = "is_default")]
    window: Option<Window>,
    /// Keys that were pushed or seen there, with the last time that they were current.
    recent: Vec<(PublishableKey, Moment)>,
    /// Keys that caches may still answer in the settle time that runs.
    previous: Vec<PublishableKey>,
    /// The key that was proven here, for telling drift.
    proven: Option<PublishableKey>,
    /// Whether it ever was: what answers there is a template site.
    recognised: bool,
    /// Whether the last look showed something that is not this API.
    #[serde(skip_serializing_if = "is_default")]
    strange: bool,
    /// Whether the last look brought no answer to judge by.
    #[serde(skip_serializing_if = "is_default")]
    unanswered: bool,
    /// What was expected before this run, if the site is held back.
    #[serde(skip_serializing_if = "is_default")]
    expected_before: Option<PublishableKey>,
    #[serde(skip_serializing_if = "is_default")]
    allow: Allow,
    /// PUTs of this operation.
    tries: u32,
    /// GETs of this last look, and how many it may have.
    looks: u32,
    looks_allowed: u32,
    looked_in_run: bool,
    /// The last PUT that was stored, or may have been.
    last_put: Option<LastPut>,
    /// What a retry that was cancelled before its first request goes back to.
    #[serde(skip)]
    before_retry: Option<Box<Facts>>,
    /// Nothing was seen of what it served before the PUT: any other key may still come from a cache.
    #[serde(skip_serializing_if = "is_default")]
    blind: bool,
    /// When the last look was sent: its answer shows nothing later for certain.
    asked_at: Option<Moment>,
    /// When the last look was sent that showed what the site serves.
    shown_at: Option<Moment>,
    /// A PUT of this operation may have been stored unseen, since then.
    #[serde(skip_serializing_if = "is_default")]
    doubt: Option<Moment>,
    /// The operator stopped it: what is out ends, and nothing follows.
    #[serde(skip_serializing_if = "is_default")]
    stopping: bool,
    /// A look was ordered while a request was out.
    #[serde(skip_serializing_if = "is_default")]
    look_wanted: bool,
    /// What its run puts here, held back or not.
    planned: Option<PublishableKey>,
    /// What the plan showed that it serves.
    #[serde(skip_serializing_if = "is_default")]
    shown: Served,
    /// Whether the PUT may have been stored by a process that is gone: a look that shows its key makes it needless.
    #[serde(skip_serializing_if = "is_default")]
    unless_served: bool,
}

/// Each record writes all of a state: what is mostly as it was at first is left out then.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Facts {
    /// Lets go of room that it has for more: what is read and then rests keeps none.
    pub fn tighten(&mut self) {
        self.recent.shrink_to_fit();
        self.previous.shrink_to_fit();
    }

    /// The plan of the push that is ordered next showed that the site serves this.
    pub fn plan_showed(&mut self, serves: Served) {
        self.shown = serves;
    }

    /// Orders a PUT of `key`. What a site waits for from an earlier run ends here (`superseded` there).
    pub fn order_push(&mut self, key: PublishableKey, allow: Allow, again: bool, now: Moment) -> Next {
        self.before_retry = again.then(|| Box::new(self.clone()));
        self.planned = Some(key.clone());
        self.expected_before = self.expect(Some(key), now);
        self.in_run = true;
        self.push = Push::Queued;
        if !again {
            self.puts = 0;
            self.looked_in_run = false;
            self.blind = !self.is_look_fresh(now);
            self.before = if self.is_look_fresh(now) {
                self.snapshot(now)
            } else {
                Served::Unknown
            };
        }
        // A retry repeats what was confirmed.
        self.allow = if again { self.allow.or(allow) } else { allow };
        self.tries = 0;
        self.doubt = None;
        self.unless_served = false;
        self.stopping = false;
        self.look_wanted = false;
        self.forget_alarm();
        self.verify = Verify::Unchecked;
        self.forget_answer(now);
        self.phase = Phase::PushWaits;
        Next::At(now, self.first_call(now))
    }

    /// Whether the settle time of a PUT runs.
    fn settles(&self, now: Moment) -> bool {
        self.window.is_some_and(|window| now < window.until)
    }

    /// What a rollback would put back: what the last look showed, or, while caches may still show older keys,
    /// the key that was stored last.
    fn snapshot(&self, now: Moment) -> Served {
        match &self.last_put {
            Some(put) if self.settles(now) => Served::Key(put.key.clone()),
            _ => self.now.clone(),
        }
    }

    /// Expects another key from now on; returns what was expected before.
    fn expect(&mut self, key: Option<PublishableKey>, now: Moment) -> Option<PublishableKey> {
        let old = std::mem::replace(&mut self.expected, key);
        if old != self.expected {
            self.expected_since = Some(now);
        }
        // Caches may still answer what was put there a moment ago, whatever is expected now.
        self.window = self.window.filter(|window| now < window.until);
        if let Some(old) = old
            .clone()
            .filter(|old| self.window.is_some() && Some(old) != self.expected.as_ref())
        {
            if !self.previous.contains(&old) {
                self.previous.push(old.clone());
            }
            self.remember(old, now);
        }
        old
    }

    /// Whether it serves a key of the other mode than the one that is expected, as far as is known.
    fn serves_other_mode(&self) -> bool {
        let expected = self.expected.as_ref();
        expected.is_some_and(|expected| self.serves_other_mode_than(expected))
    }

    fn first_call(&self, now: Moment) -> Call {
        // A look that ended after the plan was made may have shown why not to send: one more decides. What goes all the
        // same is looked at once, however long its PUT has to wait then.
        let is_strange = self.strange && !self.allow.unrecognised && !self.was_verified();
        let odd = is_strange || self.unless_served || (self.serves_other_mode() && !self.allow.mode_change);
        if !odd && (self.is_look_fresh(now) || self.looked_in_run) {
            Call::Put
        } else {
            Call::LookBefore
        }
    }

    fn is_look_fresh(&self, now: Moment) -> bool {
        !self.strange
            && self
                .looked_at
                .is_some_and(|looked| now.since(looked) < LOOK_IS_FRESH)
    }

    /// Leaves the site out of the run. The expected key stays what it was.
    ///
    /// A site that an earlier run still works on keeps what that run says of it.
    pub fn skip(&mut self, reason: SkipReason, now: Moment) {
        if self.is_busy() {
            return;
        }
        self.push = Push::Skipped(reason);
        self.puts = 0;
        // What an earlier run came to is no reason.
        self.forget_answer(now);
    }

    /// Orders a look, with `attempts` GETs at most; `expected` replaces what the site should serve.
    /// A request that is out is waited for.
    pub fn order_look(&mut self, expected: Option<PublishableKey>, attempts: u32, now: Moment) -> Next {
        self.looks_allowed = attempts.max(1);
        self.stopping &= self.is_calling();
        match self.phase {
            Phase::Rest | Phase::LookWaits => {
                if expected.is_some() {
                    self.expect(expected, now);
                }
                self.forget_alarm();
                self.looks = 0;
                self.phase = Phase::LookWaits;
                if !self.settles(now) {
                    self.verify = Verify::Queued;
                }
                self.next_at = None;
                Next::At(now, Call::Look)
            }
            // The push's own look follows its PUT.
            Phase::PushWaits | Phase::LookingBefore | Phase::Putting => Next::Rest,
            Phase::Looking => {
                self.look_wanted = true;
                Next::Rest
            }
        }
    }

    /// A slot is there and `call` goes out.
    pub fn calling(&mut self, call: Call, policy: &Policy, now: Moment) {
        self.at = Some(now);
        self.next_at = None;
        self.before_retry = None;
        match call {
            Call::LookBefore => {
                self.phase = Phase::LookingBefore;
                self.asked_at = Some(now);
                self.push = Push::Sending;
                self.until = Some(now + policy.look_before_limit());
            }
            Call::Put => {
                self.phase = Phase::Putting;
                self.push = Push::Sending;
                self.tries += 1;
                self.puts += 1;
                self.until = Some(now + policy.timeout);
            }
            Call::Look => {
                self.phase = Phase::Looking;
                self.asked_at = Some(now);
                self.looks += 1;
                if !matches!(self.verify, Verify::Serving | Verify::Settling) {
                    self.verify = Verify::Checking;
                    self.until = Some(now + policy.timeout);
                }
            }
        }
    }

    /// The operator stops the run: what waits for its PUT ends, what is out ends by its answer. Settling
    /// goes on.
    ///
    /// Returns what the site needs now: a PUT that may have been stored unseen is looked for.
    pub fn cancel(&mut self, policy: &Policy, now: Moment) -> Next {
        match self.phase {
            Phase::PushWaits if self.doubt.is_some() => {
                let cause = self.problem.unwrap_or(Problem::Timeout).cause();
                self.push = Push::Unknown(cause);
                self.at = Some(now);
                let Next::Now(call) = self.open_window(policy, now) else {
                    return Next::Rest;
                };
                Next::At(now, call)
            }
            Phase::PushWaits => {
                if let Some(before) = self.before_retry.take() {
                    *self = *before;
                    // What settled goes on to do so.
                    return match self.phase {
                        Phase::LookWaits => Next::At(self.next_at.unwrap_or(now), Call::Look),
                        _ => Next::Rest,
                    };
                }
                self.at = Some(now);
                self.end_push(Push::Cancelled)
            }
            Phase::LookingBefore | Phase::Putting => {
                self.stopping = true;
                Next::Rest
            }
            Phase::Rest | Phase::LookWaits | Phase::Looking => Next::Rest,
        }
    }

    /// A push was ordered while a look is out: it begins when the look has ended.
    pub fn await_push(&mut self, now: Moment) {
        self.in_run = true;
        self.push = Push::Queued;
        self.at = Some(now);
    }

    /// A PUT could not be recorded and so was not sent: it waits for its turn again.
    pub fn put_unsent(&mut self, now: Moment) -> Next {
        self.tries = self.tries.saturating_sub(1);
        self.puts = self.puts.saturating_sub(1);
        self.push = Push::Queued;
        self.phase = Phase::PushWaits;
        self.until = None;
        self.at = Some(now);
        Next::At(now, Call::Put)
    }

    /// The process ends: nothing that waits will come.
    pub fn abandon(&mut self) {
        if matches!(self.verify, Verify::Queued | Verify::Checking) {
            self.verify = Verify::Unchecked;
        }
        self.phase = Phase::Rest;
        self.next_at = None;
        self.until = None;
    }

    fn see(&mut self, verdict: &LookVerdict, now: Moment) {
        self.now = match verdict {
            LookVerdict::Serves(key) => {
                self.remember(key.clone(), now);
                Served::Key(key.clone())
            }
            LookVerdict::NoKey => Served::NoKey,
            LookVerdict::ExposedSecret => Served::Secret,
            LookVerdict::Problem(problem) => {
                self.strange = problem.row().not_this_api;
                self.unanswered = true;
                return;
            }
        };
        self.strange = false;
        self.unanswered = false;
        self.shown_at = self.asked_at;
        self.looked_at = Some(now);
    }

    fn remember(&mut self, key: PublishableKey, now: Moment) {
        self.recent.retain(|(known, _)| *known != key);
        // A site that answers another key at each look must not fill the memory.
        if self.recent.len() >= RECENT_LIMIT {
            self.recent.remove(0);
        }
        self.recent.push((key, now));
    }

    fn take_answer<V: Verdict>(&mut self, answer: &Answer<V>, now: Moment) {
        self.http = answer.http;
        self.took = Some(answer.took);
        self.at = Some(now);
        self.problem = answer.verdict.problem();
        self.detail = answer.detail.clone();
        self.alarm |= answer.alarm.is_some();
        let before = self.leak.or(answer.alarm);
        self.leak = before
            .zip(answer.alarm)
            .map(|(one, two)| one.and(two))
            .or(self.leak);
    }

    fn forget_alarm(&mut self) {
        self.alarm = false;
        self.leak = None;
    }

    fn forget_answer(&mut self, now: Moment) {
        self.http = None;
        self.took = None;
        self.problem = None;
        self.detail = CleanText::default();
        self.next_at = None;
        self.until = None;
        self.at = Some(now);
    }
}

/// How many keys of a site's recent past are kept in mind.
const RECENT_LIMIT: usize = 8;
