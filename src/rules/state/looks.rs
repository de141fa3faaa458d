use std::time::Duration;

use super::{Call, Facts, Next, Phase, Window};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::outcome::{Answer, LookVerdict, Problem};
use crate::rules::retry::{Policy, Retry};
use crate::rules::status::{Push, Verify};

impl Facts {
    /// A look was answered.
    pub fn looked(&mut self, answer: &Answer<LookVerdict>, policy: &Policy, now: Moment, dice: f64) -> Next {
        self.take_answer(answer, now);
        self.see(&answer.verdict, now);
        let again = std::mem::take(&mut self.look_wanted);
        let next = match &answer.verdict {
            LookVerdict::Problem(problem) => {
                self.look_failed(*problem, answer.retry_after, policy, now, dice)
            }
            verdict => self.judge_verdict(verdict, policy, now),
        };
        if again && next == Next::Rest {
            return self.order_look(None, self.looks_allowed, now);
        }
        next
    }

    /// What the site showed means.
    pub(super) fn judge_verdict(&mut self, verdict: &LookVerdict, policy: &Policy, now: Moment) -> Next {
        match verdict {
            LookVerdict::ExposedSecret => self.end_looks(Verify::ExposedSecret),
            LookVerdict::NoKey => self.judge(None, policy, now),
            LookVerdict::Serves(key) => self.judge(Some(key), policy, now),
            LookVerdict::Problem(problem) => self.look_in_vain(*problem, now),
        }
    }

    /// The settle time that runs, as far as a look can tell that was sent when the last one was: what it
    /// showed may be older than its answer.
    fn open_window_of_look(&self, now: Moment) -> Option<Window> {
        let asked = self.asked_at.unwrap_or(now);
        self.window.filter(|window| asked < window.until)
    }

    /// A look brought nothing to judge by and is not repeated: what settles goes on, anything else ends.
    pub(super) fn look_in_vain(&mut self, problem: Problem, now: Moment) -> Next {
        match self.open_window_of_look(now) {
            Some(window) => self.settle_on(window, now),
            None => self.end_looks(Verify::Failed(problem.cause())),
        }
    }

    /// What a look that showed `serves` (or no key) means.
    fn judge(&mut self, serves: Option<&PublishableKey>, policy: &Policy, now: Moment) -> Next {
        let Some(expected) = self.expected.clone() else {
            return self.end_looks(if serves.is_some() {
                Verify::Seen
            } else {
                Verify::NoKey
            });
        };
        if serves == Some(&expected) {
            return self.matched(expected, policy, now);
        }
        // A PUT that failed for good changes nothing: what is served is what it is.
        let failed = matches!(self.push, Push::Failed(_) | Push::NotStarted);
        let may_be_cached = serves.is_none_or(|key| self.blind || self.previous.contains(key));
        let other = match serves {
            Some(_) => Verify::Mismatch,
            None => Verify::NoKey,
        };
        match (self.open_window_of_look(now), self.window) {
            (Some(window), _) if may_be_cached && !failed => self.settle_on(window, now),
            (_, Some(_)) if may_be_cached => {
                if let Push::Unknown(cause) = self.push {
                    self.push = Push::Failed(cause);
                }
                self.end_looks(other)
            }
            _ if self.proven.as_ref() == Some(&expected) => self.end_looks(Verify::Drifted),
            _ => self.end_looks(other),
        }
    }

    fn matched(&mut self, expected: PublishableKey, policy: &Policy, now: Moment) -> Next {
        let asked = self.asked_at.unwrap_or(now);
        let recent = self.last_put.as_ref().filter(|put| asked < put.settled_at);
        let unseen = match self.push {
            Push::Unknown(_) => true,
            // A gateway's error, say, or one that arrived late: the site has stored the key all the same.
            Push::Failed(_) | Push::Cancelled => {
                self.last_put.as_ref().is_some_and(|put| put.key == expected)
            }
            _ => false,
        };
        let in_window = self.open_window_of_look(now).is_some();
        if unseen || (recent.is_some() && !in_window) {
            // Nobody saw when it was stored, or another key may have been stored since and this one come from a
            // cache: the settle time runs from the first look that shows it.
            self.window = Some(Window {
                begin: now,
                until: now + policy.settle,
            });
        }
        if unseen {
            self.push = Push::Stored;
            self.doubt = None;
        }
        let Some(window) = self.open_window_of_look(now) else {
            self.proven = Some(expected);
            self.recognised = true;
            self.window = None;
            return self.end_looks(Verify::Verified);
        };
        self.verify = Verify::Serving;
        self.phase = Phase::LookWaits;
        self.looks = 0;
        self.until = Some(window.until);
        self.next_at = Some(window.until);
        Next::At(window.until, Call::Look)
    }

    fn settle_on(&mut self, window: Window, now: Moment) -> Next {
        let at = Policy::next_settling_look(window.begin, window.until, now);
        self.verify = Verify::Settling;
        self.phase = Phase::LookWaits;
        self.looks = 0;
        self.until = Some(window.until);
        self.next_at = Some(at);
        Next::At(at, Call::Look)
    }

    fn look_failed(
        &mut self,
        problem: Problem,
        retry_after: Option<Duration>,
        policy: &Policy,
        now: Moment,
        dice: f64,
    ) -> Next {
        if let Some(window) = self.open_window_of_look(now) {
            if self.verify == Verify::Serving {
                self.next_at = Some(window.until);
                self.phase = Phase::LookWaits;
                return Next::At(window.until, Call::Look);
            }
            let next = self.settle_on(window, now);
            let asked = now + retry_after.unwrap_or_default();
            let Next::At(at, call) = next else { return next };
            let at = at.max(asked).min(window.until);
            self.next_at = Some(at);
            return Next::At(at, call);
        }
        let limited = Policy {
            attempts: self.looks_allowed,
            ..policy.clone()
        };
        if problem.row().retried
            && !self.stopping
            && let Retry::After(wait) = limited.retry(self.looks, retry_after, dice)
        {
            let at = now + wait;
            self.verify = Verify::Queued;
            self.phase = Phase::LookWaits;
            self.next_at = Some(at);
            return Next::At(at, Call::Look);
        }
        self.end_looks(Verify::Failed(problem.cause()))
    }

    fn end_looks(&mut self, verify: Verify) -> Next {
        self.verify = verify;
        self.phase = Phase::Rest;
        self.next_at = None;
        self.until = None;
        Next::Rest
    }
}
