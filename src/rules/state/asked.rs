use super::{Phase, RetryPlan, Served, SiteState};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::status::{Push, SkipReason, Verify};

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

impl SiteState {
    /// Whether an operation goes on (a settling site's looks count, as they come by themselves).
    pub fn is_busy(&self) -> bool {
        self.phase != Phase::Rest
    }

    /// Whether a settle time of its run goes on, or what its PUT came to is still to be seen.
    pub fn is_settling(&self) -> bool {
        self.window.is_some()
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
        self.verify == Verify::Mismatch && self.expected.as_ref().is_some_and(seen)
    }

    /// What its run puts here, held back or not.
    pub fn planned_key(&self) -> Option<&PublishableKey> {
        self.planned.as_ref().or(self.expected.as_ref())
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
            && matches!(self.verify, Verify::Mismatch | Verify::NoKey));
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
