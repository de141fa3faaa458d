use std::time::Duration;

use crate::rules::moment::Moment;
use crate::rules::outcome::Problem;
use crate::site::SiteId;

/// So many failures in a row of several sites open a backend's breaker.
const FAILURES: u32 = 5;
/// So long it stays open at first; each failure of the call that tries whether it may close doubles that.
const OPEN_FOR: Duration = Duration::from_secs(30);
/// And so long at most.
const OPEN_FOR_AT_MOST: Duration = Duration::from_mins(5);
/// From so many calls on a shared backend's retries have a budget.
const CALLS_WITHOUT_BUDGET: usize = 50;
/// One in so many calls may be a retry then.
const RETRIES_ONE_IN: usize = 5;
/// A retry beyond the budget goes after so long without one, so that an end is always reached.
const TRICKLE: Duration = Duration::from_secs(10);
/// How many good answers for each call at once it takes to allow one more.
const GOOD_ANSWERS: u32 = 2;

/// What an answer says of the backend behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Health {
    /// It can take what it gets.
    Good,
    /// It gets too much: 429, 500, 502 to 504, or no answer in time.
    Overloaded,
    /// It failed in another way that passes.
    Failing,
}

impl Health {
    /// After an answer with this problem, or without one.
    pub(in crate::engine) fn of(problem: Option<Problem>) -> Self {
        match problem {
            Some(Problem::RateLimited | Problem::Unavailable | Problem::ServerError | Problem::Timeout) => {
                Self::Overloaded
            }
            Some(problem) if problem.row().retried => Self::Failing,
            _ => Self::Good,
        }
    }
}

/// Calls at even distances: so many a second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    distance: Duration,
    /// When the next call may go.
    next: Option<Moment>,
}

impl Rate {
    /// None is no limit.
    pub(super) fn per_second(calls: Option<f64>) -> Self {
        let distance = calls
            .filter(|calls| *calls > 0.0)
            .map(|calls| Duration::from_secs_f64(1.0 / calls));
        Self {
            distance: distance.unwrap_or_default(),
            next: None,
        }
    }

    /// When the next call may go, where that is not now.
    pub(super) fn waits_until(&self, now: Moment) -> Option<Moment> {
        self.next.filter(|next| *next > now)
    }

    /// The last call was none.
    pub(super) fn undo(&mut self) {
        self.next = self.next.map(|next| next - self.distance);
    }

    pub(super) fn called(&mut self, now: Moment) {
        if !self.distance.is_zero() {
            let from = self.next.filter(|next| *next > now).unwrap_or(now);
            self.next = Some(from + self.distance);
        }
    }
}

/// How a backend is treated: gently, where it is weak. Pure.
///
/// Calls at once grow by one after each round of good answers and are halved by a failure (AIMD: additive increase,
/// multiplicative decrease), between 1 and `per_backend`. Failures of several sites in a row open its breaker.
#[derive(Debug, Clone)]
pub(super) struct Pacing {
    most: u32,
    /// Whether several sites are behind it.
    shared: bool,
    at_once: u32,
    good_answers: u32,
    failures: u32,
    /// None until something is wrong with it: most of a large fleet never have any, and a moment takes much.
    trouble: Option<Box<Trouble>>,
    rate: Option<Box<Rate>>,
    calls: usize,
    retries: usize,
}

/// What holds a backend.
#[derive(Debug, Clone, Default)]
struct Trouble {
    /// The site of the first failure in a row, and whether another one failed since.
    failed_first: Option<SiteId>,
    several_failed: bool,
    /// Until when its breaker is open, and for how long it was opened last.
    open_until: Option<Moment>,
    open_for: Duration,
    /// Whether one call tries whether the breaker may close.
    half_open: bool,
    /// `Retry-After` of one of its sites.
    held_until: Option<Moment>,
    last_retry: Option<Moment>,
}

/// Why a call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// For the end of another one.
    Turn,
    /// Until then.
    Until(Moment),
    /// Until then, or until more first calls have gone: it is a retry, and these are too many.
    Budget(Moment),
}

impl Pacing {
    pub(super) fn new(per_backend: usize, rate: Option<f64>) -> Self {
        let most = u32::try_from(per_backend).unwrap_or(u32::MAX).max(1);
        Self {
            most,
            shared: false,
            at_once: most,
            good_answers: 0,
            failures: 0,
            trouble: None,
            rate: rate.map(|rate| Box::new(Rate::per_second(Some(rate)))),
            calls: 0,
            retries: 0,
        }
    }

    fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    /// Until when its breaker is open.
    fn open_until(&self) -> Option<Moment> {
        self.trouble.as_ref()?.open_until
    }

    fn held_until(&self) -> Option<Moment> {
        self.trouble.as_ref()?.held_until
    }

    fn is_half_open(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.half_open)
    }

    fn rate_waits_until(&self, now: Moment) -> Option<Moment> {
        self.rate.as_ref()?.waits_until(now)
    }

    /// Several sites are behind it.
    pub(super) fn share(&mut self) {
        self.shared = true;
    }

    /// How many calls it takes at once.
    pub(super) fn at_once(&self) -> usize {
        if self.is_half_open() {
            1
        } else {
            self.at_once as usize
        }
    }

    /// Whether a call may go now, `out` being how many are out.
    pub(super) fn may_call(&self, out: usize, is_retry: bool, now: Moment) -> Result<(), Wait> {
        if let Some(until) = self.waits_until(now) {
            return Err(Wait::Until(until));
        }
        if out >= self.at_once() {
            return Err(Wait::Turn);
        }
        if is_retry && self.is_over_budget() {
            let last = self.trouble.as_ref().and_then(|trouble| trouble.last_retry);
            let next = last.map(|last| last + TRICKLE);
            if let Some(next) = next.filter(|next| *next > now) {
                return Err(Wait::Budget(next));
            }
        }
        Ok(())
    }

    fn waits_until(&self, now: Moment) -> Option<Moment> {
        let until = self
            .open_until()
            .max(self.held_until())
            .max(self.rate_waits_until(now));
        until.filter(|until| *until > now)
    }

    /// Whether it is to be left alone now: its breaker is open, or one of its sites asked to wait.
    pub(super) fn is_held(&self, now: Moment) -> bool {
        self.open_until()
            .max(self.held_until())
            .is_some_and(|until| until > now)
    }

    /// With one more retry, its retries are more than a fifth of its calls.
    fn is_over_budget(&self) -> bool {
        self.shared
            && self.calls >= CALLS_WITHOUT_BUDGET
            && (self.retries + 1) * RETRIES_ONE_IN > self.calls + 1
    }

    /// A call goes out.
    pub(super) fn called(&mut self, is_retry: bool, now: Moment) {
        self.calls += 1;
        if let Some(rate) = &mut self.rate {
            rate.called(now);
        }
        if is_retry {
            self.retries += 1;
            self.trouble().last_retry = Some(now);
        }
        if let Some(trouble) = &mut self.trouble
            && trouble.open_until.take().is_some()
        {
            trouble.half_open = true;
        }
    }

    /// The last call, no retry, was none.
    pub(super) fn undo(&mut self) {
        self.calls = self.calls.saturating_sub(1);
        if let Some(rate) = &mut self.rate {
            rate.undo();
        }
    }

    /// Whether one more call would be more than may go in a second.
    pub(super) fn exceeds_rate(&self, now: Moment) -> bool {
        self.rate_waits_until(now).is_some()
    }

    /// A call of `site` was answered, or was not. `retry_after` holds the backend.
    pub(super) fn answered(
        &mut self,
        site: SiteId,
        health: Health,
        retry_after: Option<Duration>,
        now: Moment,
    ) {
        if let Some(wait) = retry_after {
            let trouble = self.trouble();
            trouble.held_until = trouble.held_until.max(Some(now + wait));
        }
        if health == Health::Good {
            return self.answered_well();
        }
        self.good_answers = 0;
        if health == Health::Overloaded {
            self.at_once = (self.at_once / 2).max(1);
        }
        self.failures += 1;
        let (failures, shared) = (self.failures, self.shared);
        let trouble = self.trouble();
        trouble.several_failed |= *trouble.failed_first.get_or_insert(site) != site;
        let in_a_row = failures >= FAILURES && trouble.several_failed;
        if shared && (trouble.half_open || (in_a_row && trouble.open_until.is_none())) {
            trouble.open_for = (trouble.open_for * 2).clamp(OPEN_FOR, OPEN_FOR_AT_MOST);
            trouble.open_until = Some(now + trouble.open_for);
            trouble.half_open = false;
        }
    }

    fn answered_well(&mut self) {
        self.failures = 0;
        if let Some(trouble) = &mut self.trouble {
            (trouble.failed_first, trouble.several_failed) = (None, false);
            if trouble.half_open {
                (trouble.half_open, trouble.open_for) = (false, Duration::ZERO);
            }
        }
        self.good_answers += 1;
        if self.at_once < self.most && self.good_answers >= self.at_once * GOOD_ANSWERS {
            self.at_once += 1;
            self.good_answers = 0;
        }
    }

    /// What may be told of it.
    pub(super) fn shown(&self, now: Moment) -> Shown {
        Shown {
            at_once: self.at_once(),
            most: self.most as usize,
            open_until: self.open_until().filter(|until| *until > now),
            held_until: self.held_until().filter(|until| *until > now),
            calls: self.calls,
            retries: self.retries,
        }
    }
}

/// What may be told of a backend.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Shown {
    /// How many calls it takes at once now.
    pub at_once: usize,
    /// And at most.
    pub most: usize,
    /// Until when its breaker is open.
    pub open_until: Option<Moment>,
    /// Until when one of its sites asked to wait.
    pub held_until: Option<Moment>,
    /// Calls since the program began.
    pub calls: usize,
    /// Those of them that were retries.
    pub retries: usize,
}
