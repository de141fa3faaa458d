use std::time::Duration;

use super::{Allow, Call, Facts, LastPut, Next, Phase, Served, Window};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::outcome::{Answer, Cause, LookVerdict, Problem, PutVerdict};
use crate::rules::retry::{Policy, Retry};
use crate::rules::status::{Push, SkipReason, Verify};
use crate::text::CleanText;

impl Facts {
    /// The look before the PUT was answered.
    pub fn looked_before(
        &mut self,
        answer: &Answer<LookVerdict>,
        policy: &Policy,
        now: Moment,
        dice: f64,
    ) -> Next {
        self.take_answer(answer, now);
        self.looked_in_run = true;
        let changed = self.is_changed_meanwhile(&answer.verdict, policy, now) && !self.allow.changed;
        self.see(&answer.verdict, now);
        self.before = self.snapshot(now);
        self.blind &= matches!(answer.verdict, LookVerdict::Problem(_));
        let served = self.now.key().is_some() && self.now.key() == self.expected.as_ref();
        if std::mem::take(&mut self.unless_served) && served {
            // What a process that is gone sent has arrived: the match makes it stored.
            self.push = Push::Unknown(Problem::ConnectionLost.cause());
            self.stopping = false;
            return self.judge_verdict(&answer.verdict, policy, now);
        }
        if self.stopping {
            return self.end_push(Push::Cancelled);
        }
        if self.serves_other_mode() && !self.allow.mode_change {
            // Also where this look showed nothing: what was seen before it counts.
            self.hold_back(SkipReason::OtherMode, policy, now);
            return self.judge_verdict(&answer.verdict, policy, now);
        }
        match &answer.verdict {
            LookVerdict::Serves(_) if changed => {
                self.hold_back(SkipReason::ChangedMeanwhile, policy, now);
                self.judge_verdict(&answer.verdict, policy, now)
            }
            LookVerdict::Problem(problem)
                if problem.row().not_this_api && !self.was_verified() && !self.allow.unrecognised =>
            {
                self.hold_back(SkipReason::NotThisApi, policy, now);
                self.look_in_vain(*problem, now)
            }
            LookVerdict::Problem(Problem::RateLimited | Problem::Unavailable) => {
                // Asking counts as no attempt of the PUT: only the wait is taken over.
                match policy.retry(0, answer.retry_after, dice) {
                    Retry::After(wait) => self.wait_for_put(wait, now),
                    Retry::TooLong(asked) => self.end_until(asked, now),
                    Retry::AttemptsUsed => self.end_push(Push::Failed(Problem::RateLimited.cause())),
                }
            }
            _ => {
                self.problem = None;
                self.phase = Phase::PushWaits;
                Next::Now(Call::Put)
            }
        }
    }

    /// Whether the site serves another key than the plan showed, and not one that was pushed or seen there within
    /// the settle time: someone else has put it there.
    fn is_changed_meanwhile(&self, verdict: &LookVerdict, policy: &Policy, now: Moment) -> bool {
        let LookVerdict::Serves(serves) = verdict else {
            return false;
        };
        let lately = |at: Moment| now.since(at) <= policy.settle;
        let seen = self.recent.iter().any(|(key, at)| key == serves && lately(*at));
        let pushed = self
            .last_put
            .as_ref()
            .is_some_and(|put| put.key == *serves && lately(put.at));
        let shown = match &self.shown {
            Served::Key(shown) => shown != serves,
            Served::NoKey => true,
            Served::Unknown | Served::Secret => false,
        };
        shown && self.expected.as_ref() != Some(serves) && !seen && !pushed
    }

    /// Nothing is sent: what was expected before is expected again, and what settled goes on to do so.
    fn hold_back(&mut self, reason: SkipReason, policy: &Policy, now: Moment) {
        self.expected = self.expected_before.take();
        self.push = Push::Skipped(reason);
        self.looks_allowed = if self.settles(now) { policy.attempts } else { 1 };
    }

    /// The PUT was answered, or its answer is lost.
    pub fn put_answered(
        &mut self,
        answer: &Answer<PutVerdict>,
        policy: &Policy,
        now: Moment,
        dice: f64,
    ) -> Next {
        self.take_answer(answer, now);
        let problem = match answer.verdict {
            PutVerdict::Stored => {
                self.push = Push::Stored;
                self.problem = None;
                self.doubt = None;
                self.may_be_stored(policy, now);
                return self.open_window(policy, now);
            }
            PutVerdict::Problem(problem) => problem,
        };
        if problem.may_be_stored() {
            self.may_be_stored(policy, now);
        }
        if problem.row().doubtful {
            self.doubt = Some(now);
        }
        let retry = policy.retry(self.tries, answer.retry_after, dice);
        match retry {
            Retry::After(wait) if problem.row().retried && !self.stopping => self.wait_for_put(wait, now),
            _ if self.doubt.is_some() => {
                self.push = Push::Unknown(problem.cause());
                self.open_window(policy, now)
            }
            Retry::TooLong(asked) if problem.row().retried => self.end_until(asked, now),
            _ => self.end_push(Push::Failed(problem.cause())),
        }
    }

    pub(super) fn may_be_stored(&mut self, policy: &Policy, now: Moment) {
        let Some(key) = self.expected.clone() else { return };
        // The one before may have been stored, and caches may have read it, though no look showed it.
        if let Some(before) = self.last_put.take().filter(|before| before.key != key) {
            self.remember(before.key, before.at);
        }
        self.last_put = Some(LastPut {
            key,
            at: now,
            settled_at: now + policy.settle,
        });
    }

    /// The site asks for a longer wait than a run takes: the note says until when.
    pub(super) fn end_until(&mut self, asked: Duration, now: Moment) -> Next {
        let next = self.end_push(Push::Failed(Problem::RateLimited.cause()));
        self.until = Some(now + asked);
        next
    }

    /// The settle time begins: the keys of until now may still be answered by caches. A look follows.
    pub(super) fn open_window(&mut self, policy: &Policy, now: Moment) -> Next {
        if let Some(serves) = self.now.key().cloned() {
            self.remember(serves, now);
        }
        self.recent
            .retain(|(_, current)| now.since(*current) <= policy.settle);
        for (_, current) in &mut self.recent {
            *current = now;
        }
        self.previous = self.recent.iter().map(|(key, _)| key.clone()).collect();
        self.window = Some(Window {
            begin: now,
            until: now + policy.settle,
        });
        self.proven = None;
        self.stopping = false;
        self.phase = Phase::LookWaits;
        self.verify = Verify::Queued;
        self.looks = 0;
        self.looks_allowed = policy.attempts;
        Next::Now(Call::Look)
    }

    pub(super) fn wait_for_put(&mut self, wait: Duration, now: Moment) -> Next {
        let at = now + wait;
        self.push = Push::Retrying;
        self.phase = Phase::PushWaits;
        self.next_at = Some(at);
        self.until = None;
        Next::At(at, Call::Put)
    }

    /// The run was halted before its turn: it may go on.
    pub fn hold(&mut self, now: Moment) {
        if self.awaits_first_put() {
            self.push = Push::NotStarted;
            self.at = Some(now);
        }
    }

    /// The run that was halted before its turn goes on.
    pub fn go_on(&mut self, now: Moment) {
        if self.is_held() {
            self.push = Push::Queued;
            self.at = Some(now);
        }
    }

    /// Other sites refuse the master key that this one takes, or not: it is not asked in this run. What became of its PUT
    /// before is `unknown` still, if it was.
    ///
    /// Returns what the site needs now, as [`Facts::cancel`] does.
    pub fn refused_elsewhere(&mut self, unknown: Option<Cause>, policy: &Policy, now: Moment) -> Next {
        self.is_left(
            Problem::RefusedElsewhere,
            CleanText::default(),
            unknown,
            policy,
            now,
        )
    }

    /// Nobody who knows the site was to find out what became of its PUT: that is `unknown` still.
    ///
    /// Returns what the site needs now, as [`Facts::cancel`] does.
    pub fn stays_unknown(&mut self, cause: Cause, worker: CleanText, policy: &Policy, now: Moment) -> Next {
        self.is_left(Problem::UnknownToWorker, worker, Some(cause), policy, now)
    }

    fn is_left(
        &mut self,
        why: Problem,
        detail: CleanText,
        unknown: Option<Cause>,
        policy: &Policy,
        now: Moment,
    ) -> Next {
        self.before_retry = None;
        let next = self.cancel(policy, now);
        if self.push == Push::Cancelled {
            self.push = unknown.map_or(Push::NotStarted, Push::Unknown);
            self.problem = Some(why);
            // What its look before was answered has nothing to do with it.
            self.http = None;
            self.detail = detail;
        }
        next
    }

    /// Somebody says that it is not to be asked in this run any more.
    pub fn cancel_not_asked(&mut self, now: Moment) {
        if self.is_not_asked() {
            self.problem = None;
            self.at = Some(now);
            if self.push == Push::NotStarted {
                self.push = Push::Cancelled;
            }
        }
    }

    /// The push that was to begin when the look that is out has ended is cancelled, as if it had waited for its slot.
    pub fn cancel_awaited(&mut self, key: PublishableKey, allow: Allow, now: Moment) {
        let _not_sent = self.order_push(key, allow, false, now);
        self.end_push(Push::Cancelled);
        self.phase = Phase::Looking;
        self.verify = Verify::Checking;
    }

    pub(super) fn end_push(&mut self, push: Push) -> Next {
        self.stopping = false;
        self.push = push;
        self.phase = Phase::Rest;
        self.next_at = None;
        self.until = None;
        Next::Rest
    }
}
