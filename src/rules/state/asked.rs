use std::time::Duration;

use super::{Allow, Call, Facts, LastPut, Phase, Served};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::outcome::{Cause, Problem};
use crate::rules::status::{Push, SkipReason, Verify};

/// So long a look tells how well a site is.
const LOOK_TELLS: Duration = Duration::from_hours(1);
/// That a PUT was accepted says for so long that the site's master key was the right one.
const TAKEN_LATELY: Duration = Duration::from_hours(24);

/// What a retry of a site means now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPlan {
    /// Its PUT goes again.
    Push,
    /// Only its look goes again.
    Look,
    /// It failed in an earlier run: a retry is a run of its own, with that run's key.
    OtherRun,
    /// It was held back: the operator must say that it may go.
    Ask(SkipReason),
    /// Its settle time runs.
    Settles,
    /// Something is under way.
    Busy,
    /// Nothing failed.
    Nothing,
}

impl RetryPlan {
    /// Whether a retry does something without a question.
    pub fn is_failed(self) -> bool {
        matches!(self, Self::Push | Self::Look | Self::OtherRun)
    }

    /// Whether a retry asks first.
    pub fn asks(self) -> bool {
        matches!(self, Self::Ask(_))
    }
}

impl Allow {
    /// Whether a site may go that was held back for `reason`.
    pub fn lets_go(self, reason: SkipReason) -> bool {
        match reason {
            SkipReason::OtherMode => self.mode_change,
            SkipReason::NotThisApi => self.unrecognised,
            SkipReason::ChangedMeanwhile => self.changed,
            SkipReason::WrongMode
            | SkipReason::Disabled
            | SkipReason::Equal
            | SkipReason::Unchanged
            | SkipReason::NotReversible => false,
        }
    }
}

impl Facts {
    /// Whether an operation goes on (a settling site's looks count, as they come by themselves).
    pub fn is_busy(&self) -> bool {
        self.phase != Phase::Rest
    }

    /// Whether it waits for a look that is to come at once, not for its time in a settle time.
    pub fn awaits_first_look(&self) -> bool {
        self.phase == Phase::LookWaits && self.verify == Verify::Queued
    }

    /// Whether it waits for a look.
    pub fn awaits_look(&self) -> bool {
        self.phase == Phase::LookWaits
    }

    /// Whether a settle time of its run goes on, or what its PUT came to is still to be seen.
    pub fn is_settling(&self) -> bool {
        self.window.is_some()
    }

    /// Whether its PUT is to come or out, also where the run was halted before its turn and may go on.
    pub fn is_to_send(&self) -> bool {
        self.push.is_open() || self.is_held()
    }

    /// Why it failed, or was not asked, if it did.
    pub fn cause(&self) -> Option<Cause> {
        let not_asked = self.is_not_asked().then(|| Problem::RefusedElsewhere.cause());
        self.push.cause().or(not_asked).or(self.verify.cause())
    }

    /// Whether it was not asked, since others refuse its master key.
    pub fn is_not_asked(&self) -> bool {
        let is_word = matches!(self.push, Push::NotStarted | Push::Unknown(_));
        is_word && self.problem == Some(Problem::RefusedElsewhere)
    }

    /// Whether a PUT was accepted there within a day: its master key was right then.
    pub fn has_taken_lately(&self, now: Moment) -> bool {
        let lately = |put: &LastPut| now.since(put.at) <= TAKEN_LATELY;
        self.push == Push::Stored && self.last_put.as_ref().is_some_and(lately)
    }

    /// Whether it waits for its PUT, or for the next one.
    pub fn awaits_put(&self) -> bool {
        self.is_to_send() && self.phase == Phase::PushWaits
    }

    /// Whether it waits for its first PUT.
    pub fn awaits_first_put(&self) -> bool {
        self.push == Push::Queued && self.phase == Phase::PushWaits
    }

    /// Whether the run was halted before its turn, and may go on.
    pub fn is_held(&self) -> bool {
        self.push == Push::NotStarted && self.phase == Phase::PushWaits
    }

    /// Whether it answered when it was asked last: it is awake, whatever it said.
    pub fn is_awake(&self, now: Moment) -> bool {
        self.http.is_some() || self.is_look_fresh(now)
    }

    /// Whether what it asks for next is a request that has failed before.
    pub fn is_trying_again(&self, call: Call) -> bool {
        match call {
            Call::Put => self.tries > 0,
            Call::Look => self.looks > 0 && self.verify == Verify::Queued,
            Call::LookBefore => false,
        }
    }

    /// Whether it was looked at, and what it serves was not to be seen.
    pub fn cannot_be_seen(&self) -> bool {
        let was_asked = self.unanswered || self.looked_at.is_some();
        was_asked && (!self.is_seen() || self.strange || self.alarm || self.now == Served::Secret)
    }

    /// Whether its PUT is out.
    pub fn is_put_out(&self) -> bool {
        self.phase == Phase::Putting
    }

    /// How well it is as far as the last look tells, the best first: whether what it serves was seen, whether that is
    /// a key, whether it was ever proven, whether that is fresh, and how quickly it answered.
    pub fn health(&self, now: Moment) -> impl Ord + use<> {
        let seen = match self.now {
            _ if self.cannot_be_seen() => 3,
            Served::Key(_) => 0,
            Served::NoKey => 1,
            Served::Unknown | Served::Secret => 2,
        };
        let old = self.looked_at.is_none_or(|at| now.since(at) > LOOK_TELLS);
        // One that has failed lately may do so again.
        let failed = matches!(self.push, Push::Failed(_) | Push::Unknown(_));
        let odd = matches!(
            self.verify,
            Verify::Mismatch | Verify::Drifted | Verify::Failed(_)
        );
        (
            seen,
            failed || odd,
            !self.recognised,
            old,
            self.took.unwrap_or(Duration::MAX),
        )
    }

    /// Whether a request is out.
    pub fn is_calling(&self) -> bool {
        matches!(self.phase, Phase::LookingBefore | Phase::Putting | Phase::Looking)
    }

    /// Whether it was ever proven to serve a key of ours.
    pub fn was_verified(&self) -> bool {
        self.recognised
    }

    /// The end of the settle time that runs or has run, for a site whose PUT was accepted.
    pub fn settle_end(&self) -> Option<Moment> {
        self.window.map(|window| window.until)
    }

    /// Keys that caches may still answer in the settle time that runs.
    pub fn cached_keys(&self) -> impl Iterator<Item = &PublishableKey> {
        let stored = self.last_put.iter().map(|put| &put.key);
        let known = self.previous.iter().chain(stored);
        known.filter(|_| self.window.is_some())
    }

    /// What is asked of it now, where `call` was ordered: a run may wait for hours between two waves or in a pause, and
    /// what was known of the site then is too old to send a PUT by.
    pub fn call_now(&self, call: Call, now: Moment) -> Call {
        match call {
            Call::Put if self.tries == 0 => self.first_call(now),
            call => call,
        }
    }

    /// Whether it serves another key than expected, and none that it may have had before.
    pub fn shows_unknown_key(&self) -> bool {
        let is_judged = matches!(self.verify, Verify::Mismatch | Verify::Drifted);
        let may_be_old = |key| self.blind || self.previous.contains(key) || self.before.key() == Some(key);
        is_judged && self.now.key().is_some_and(|key| !may_be_old(key))
    }

    /// Whether a PUT of what is expected was stored, or may have been.
    pub fn was_put(&self) -> bool {
        let put = self.last_put.as_ref().map(|put| &put.key);
        put.is_some() && put == self.expected.as_ref()
    }

    /// Keys that it serves as far as is known: the one that the last look showed, and, while caches may have hidden that
    /// from the look, the one that was put there last.
    pub fn may_serve(&self) -> impl Iterator<Item = &PublishableKey> {
        let put = self.last_put.as_ref();
        let hidden = put.filter(|put| self.shown_at < Some(put.settled_at));
        self.now.key().into_iter().chain(hidden.map(|put| &put.key))
    }

    /// Whether it serves a key of the other mode than `key`, as far as is known.
    pub fn serves_other_mode_than(&self, key: &PublishableKey) -> bool {
        self.may_serve().any(|serves| serves.mode() != key.mode())
    }

    /// Whether its last look showed `key`, and nothing says that it may serve another one.
    pub fn serves_already(&self, key: &PublishableKey) -> bool {
        self.is_seen() && self.now.key() == Some(key) && self.may_serve().all(|serves| serves == key)
    }

    /// Whether it serves `key` though no PUT of it from here is known: somebody else's may be so young that caches
    /// hide another key.
    pub fn serves_unpushed(&self, key: &PublishableKey) -> bool {
        let pushed = self.last_put.as_ref().is_some_and(|put| put.key == *key);
        self.now.key() == Some(key) && !pushed
    }

    /// Whether an answer held a secret: an alarm that nobody acknowledges away.
    pub fn exposes(&self) -> bool {
        self.alarm || self.verify == Verify::ExposedSecret
    }

    /// Whether the last look showed what it serves.
    pub fn is_seen(&self) -> bool {
        self.now != Served::Unknown && !self.unanswered
    }

    /// Whether the last look brought no answer to judge by.
    pub fn is_unanswered(&self) -> bool {
        self.unanswered
    }

    /// Whether the last look showed something that is not this API: if the one before a PUT shows it again, the PUT is
    /// held back, unless the site was ever proven.
    pub fn is_strange(&self) -> bool {
        self.strange
    }

    /// Whether a PUT is to come or out, or no look was sent since caches have lost what they had before the last
    /// one: a process may answer something else than the last look showed.
    pub fn is_unproven(&self) -> bool {
        let stored = self.last_put.as_ref().map(|put| put.settled_at);
        let settled_at = stored.max(self.settle_end());
        self.push.is_open() || (settled_at.is_some() && self.shown_at < settled_at)
    }

    /// Whether it was seen to serve what is expected, and serves another key now.
    pub fn was_replaced(&self) -> bool {
        let seen = |expected| self.recent.iter().any(|(key, _)| key == expected);
        self.verify_besides() == Verify::Mismatch && self.expected.as_ref().is_some_and(seen)
    }

    /// What its run puts here, held back or not.
    pub fn planned_key(&self) -> Option<&PublishableKey> {
        self.planned.as_ref().or(self.expected.as_ref())
    }

    /// The key that its run put here and that it was proven to serve, if it is known to serve it still.
    pub fn verified_key(&self) -> Option<&PublishableKey> {
        let is_verified = self.verify_besides() == Verify::Verified;
        self.expected.as_ref().filter(|_| is_verified)
    }

    /// What a retry would do.
    pub fn retry_plan(&self) -> RetryPlan {
        if self.verify == Verify::Superseded {
            return RetryPlan::Nothing;
        }
        if let Push::Skipped(reason) = self.push {
            let mended = reason == SkipReason::NotThisApi && !self.strange && !self.is_busy();
            return if mended && self.in_run {
                // A look since then showed a template site: what was confirmed for it goes.
                RetryPlan::Push
            } else if reason.is_held_back() {
                RetryPlan::Ask(reason)
            } else {
                RetryPlan::Nothing
            };
        }
        match self.phase {
            Phase::Rest => {}
            Phase::LookWaits if matches!(self.verify, Verify::Settling | Verify::Serving) => {
                return RetryPlan::Settles;
            }
            _ => return RetryPlan::Busy,
        }
        let put_again = matches!(
            self.push,
            Push::Failed(_) | Push::Unknown(_) | Push::Cancelled | Push::NotStarted
        ) || (self.expected.is_some()
            && matches!(self.verify_besides(), Verify::Mismatch | Verify::NoKey));
        if put_again && !self.in_run {
            RetryPlan::OtherRun
        } else if put_again {
            RetryPlan::Push
        } else if matches!(self.verify, Verify::Failed(_)) {
            RetryPlan::Look
        } else {
            RetryPlan::Nothing
        }
    }
}
