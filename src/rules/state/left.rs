use super::{Allow, Call, Facts, Next, Phase, Served, SiteState};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::outcome::Problem;
use crate::rules::retry::Policy;
use crate::rules::run::RunId;
use crate::rules::status::{Push, SkipReason, Verify};

/// What a run planned for a site that it had left when its process was gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftRow {
    /// Which run.
    pub run: RunId,
    /// The key that the site was to get.
    pub key: PublishableKey,
    /// What was confirmed.
    pub allow: Allow,
    /// What the plan showed that the site serves.
    pub serves: Served,
    /// When the run began: since then the key is expected.
    pub began: Moment,
}

impl Facts {
    /// Translates each moment in it, for a state that was written down before the machine started anew.
    pub fn translate(&mut self, to_now: &dyn Fn(Moment) -> Moment) {
        let single = [
            &mut self.at,
            &mut self.next_at,
            &mut self.until,
            &mut self.looked_at,
            &mut self.expected_since,
            &mut self.asked_at,
            &mut self.shown_at,
            &mut self.doubt,
        ];
        for moment in single.into_iter().flatten() {
            *moment = to_now(*moment);
        }
        for (_, current) in &mut self.recent {
            *current = to_now(*current);
        }
    }

    /// What was only thought or shown of it does not count: it is what it is on record, if that is anything else.
    pub fn go_back_to(&mut self, recorded: Option<SiteState>) {
        let in_run = self.in_run;
        if let Some(recorded) = recorded {
            *self = Facts::clone(&recorded);
            self.in_run = in_run;
        }
    }

    /// [`Facts::translate`] of what still runs: a wait that was begun keeps its length, and what a clock that
    /// was set makes look younger or older never ends it early.
    pub fn after_restart(&mut self, policy: &Policy, now: Moment) {
        self.translate(&|moment| moment.after_restart(now));
        if let Some(window) = &mut self.window {
            window.begin = window.begin.after_restart(now);
            window.until = window.begin + policy.settle;
            self.until = self.until.map(|_| window.until);
        }
        if let Some(put) = &mut self.last_put {
            put.at = put.at.after_restart(now);
            put.settled_at = put.at + policy.settle;
        }
        let settled = self.settle_end();
        self.next_at = self.next_at.and(settled).map(|at| at.max(now));
    }

    /// The process that worked on it is gone. What had its turn keeps its word, what waits for a look goes on to,
    /// and what was to be sent is left over.
    pub fn orphaned(&mut self, policy: &Policy, now: Moment) {
        self.in_run = false;
        self.stopping = false;
        self.look_wanted = false;
        match self.phase {
            Phase::Rest if self.push.is_open() => {
                self.end_push(Push::NotStarted);
            }
            Phase::Rest => {}
            Phase::PushWaits | Phase::LookingBefore | Phase::Putting if self.doubt.is_some() => {
                self.left_in_doubt(policy, now);
            }
            Phase::PushWaits | Phase::LookingBefore | Phase::Putting => {
                self.end_push(Push::NotStarted);
            }
            Phase::LookWaits | Phase::Looking => {
                if self.push.is_open() {
                    self.push = Push::NotStarted;
                }
                self.phase = Phase::LookWaits;
                self.next_at = Some(self.next_at.unwrap_or(now));
            }
        }
    }

    /// A worker has told this of it, which makes its calls: what was ordered here meanwhile stays ordered.
    pub fn told_by_worker(&mut self, told: &SiteState) {
        let (in_run, stopping, wave) = (self.in_run, self.stopping, self.wave);
        *self = Facts::clone(told);
        self.in_run = in_run;
        self.stopping |= stopping;
        self.wave = wave;
    }

    /// The operator stops the run while a worker has the site: nothing of it goes on once that gives it back.
    pub fn stop_when_back(&mut self) {
        self.stopping = true;
    }

    /// Another process works on it: nothing is waited for here.
    pub fn is_elsewhere(&mut self) {
        self.in_run = false;
        self.phase = Phase::Rest;
    }

    /// Another process has sent it a PUT, or may have, that this one did not know of: `newest` is what is on record,
    /// with this process's own run as if it had died.
    ///
    /// Where that is of a later run, its part in the run of this process ends: None. Otherwise all of it is known here
    /// from now on, and what is to be sent in the run of this process is ordered anew, if that still `sends`.
    pub fn taken_over(&mut self, newest: &SiteState, sends: bool, now: Moment) -> Option<Next> {
        let old = std::mem::replace(self, Facts::clone(newest));
        if !old.in_run || old.push == Push::Idle {
            return Some(self.wait_left(now));
        }
        let stopped = !sends || old.stopping || matches!(old.push, Push::Cancelled | Push::NotStarted);
        if self.run > old.run {
            // Nothing of it goes on here.
            self.is_elsewhere();
            self.in_run = true;
            self.run = old.run;
            self.push = old.push;
            if old.push.is_open() {
                self.push = Push::Cancelled;
            }
            self.verify = Verify::Superseded;
            return None;
        }
        if self.run < old.run {
            // It was sent by an older run before this one had the right to: it goes before, and is replaced.
            self.look_once_more_after(&old);
            (self.run, self.shown) = (old.run, old.shown);
            let key = old.planned.or(old.expected)?;
            let next = self.order_push(key, old.allow, false, now);
            if !stopped {
                return Some(next);
            }
            if is_held_back(old.push) {
                // It was not to be sent, and is not expected either.
                self.expected = self.expected_before.take();
            }
            return Some(self.end_push(Push::Cancelled));
        }
        if stopped {
            // What may have been stored is still looked for.
            self.in_run = true;
            if self.push == Push::NotStarted {
                self.look_once_more_after(&old);
                self.push = Push::Cancelled;
            }
            return Some(self.wait_left(now));
        }
        if self.is_left_over() {
            self.look_once_more_after(&old);
        }
        Some(self.order_rest(now))
    }

    /// What the look of this process showed is newer than what the other one saw, or has held the PUT back: only
    /// another look lets one go.
    fn look_once_more_after(&mut self, old: &Self) {
        if is_held_back(old.push) || old.looked_at > self.looked_at {
            (self.looked_at, self.looked_in_run) = (None, false);
        }
    }

    /// A process is gone that had recorded that it sends the site's PUT of that `number` in the run, and not what
    /// came of it: a look decides.
    pub fn put_left_open(&mut self, row: LeftRow, number: u32, policy: &Policy, now: Moment) {
        self.planned(row, now);
        self.puts = number;
        self.at = Some(now);
        self.may_be_stored(policy, now);
        self.left_in_doubt(policy, now);
    }

    fn left_in_doubt(&mut self, policy: &Policy, now: Moment) {
        self.problem = Some(Problem::ConnectionLost);
        self.doubt = Some(now);
        self.push = Push::Unknown(Problem::ConnectionLost.cause());
        self.open_window(policy, now);
        self.next_at = Some(now);
    }

    /// The run had it in its plan and ended before its turn.
    pub fn not_reached(&mut self, row: LeftRow, now: Moment) {
        self.planned(row, now);
        self.puts = 0;
        self.push = Push::NotStarted;
        if !self.settles(now) {
            self.verify = Verify::Unchecked;
            self.phase = Phase::Rest;
        }
    }

    /// What was confirmed for it holds when the run is taken up, and the run's key is what it gets, whatever else is
    /// on record under the run's name.
    fn planned(&mut self, row: LeftRow, now: Moment) {
        self.allow = row.allow;
        self.shown = row.serves;
        if self.run != Some(row.run) || self.planned_key() != Some(&row.key) {
            self.run = Some(row.run);
            self.planned = Some(row.key.clone());
            let since = self.expected_since;
            self.expected_before = self.expect(Some(row.key), now);
            if self.expected_since != since {
                self.expected_since = Some(row.began);
            }
        }
    }

    /// What is left over here is not sent: the config does not allow it any more.
    pub fn left_out(&mut self, reason: SkipReason, now: Moment) {
        if self.puts == 0 {
            self.expected = self.expected_before.take();
        }
        self.at = Some(now);
        self.end_push(Push::Skipped(reason));
    }

    /// Whether a run that is taken up again has something to send here, or must find out.
    pub fn is_left_over(&self) -> bool {
        matches!(self.push, Push::Unknown(_) | Push::NotStarted)
    }

    /// Takes up again what a process that is gone has left over. What may have been stored is looked at first.
    pub fn order_rest(&mut self, now: Moment) -> Next {
        let Some(key) = self.expected.clone().filter(|_| self.is_left_over()) else {
            self.in_run = true;
            return self.wait_left(now);
        };
        let unknown = matches!(self.push, Push::Unknown(_));
        let allow = self.allow;
        let before = self.expected_before.clone();
        let next = self.order_push(key, allow, self.puts > 0, now);
        self.allow = allow;
        self.expected_before = before;
        self.before_retry = None;
        self.unless_served = unknown;
        match next {
            Next::At(at, _) if unknown => Next::At(at, Call::LookBefore),
            next => next,
        }
    }

    /// What a state that was read from the store still waits for.
    pub fn wait_left(&self, now: Moment) -> Next {
        match self.phase {
            Phase::LookWaits => Next::At(self.next_at.unwrap_or(now), Call::Look),
            _ => Next::Rest,
        }
    }

    /// The run that did not reach it is closed: it expects nothing of it any more.
    pub fn run_closed(&mut self, now: Moment) {
        if self.push != Push::NotStarted {
            return;
        }
        self.at = Some(now);
        self.push = Push::Cancelled;
        if self.puts == 0 {
            self.push = Push::Idle;
            self.expected = self.expected_before.take();
        }
    }

    /// Whether it is not known to serve what is expected of it.
    pub fn is_owed(&self) -> bool {
        let served = matches!(self.verify_besides(), Verify::Verified | Verify::Serving);
        self.expected.is_some() && !served && !self.push.is_open()
    }
}

/// Whether only the operator's word lets it go.
fn is_held_back(push: Push) -> bool {
    matches!(push, Push::Skipped(reason) if reason.is_held_back())
}
