use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::rules::outcome::{Answer, PutVerdict};

mod dead;
mod laws;
mod left;
mod modes;

fn key(tail: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_test_51ExampleExampleExample{tail}")).unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment {
        since_start: Duration::ZERO,
        wall: Timestamp::UNIX_EPOCH,
    } + Duration::from_secs(seconds)
}

fn answer<V>(verdict: V) -> Answer<V> {
    Answer {
        verdict,
        http: Some(200),
        took: Duration::from_millis(80),
        retry_after: None,
        detail: CleanText::default(),
        alarm: None,
    }
}

/// What the store and other processes get to know of it.
fn through_json(state: &SiteState) -> SiteState {
    serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
}

/// A site under test, with the time as it goes.
struct Subject {
    state: SiteState,
    policy: Policy,
    now: Moment,
    next: Next,
}

impl Subject {
    fn new() -> Self {
        Self {
            state: SiteState::default(),
            policy: Policy::default(),
            now: at(1000),
            next: Next::Rest,
        }
    }

    fn push(mut self, tail: &str) -> Self {
        self.next = self
            .state
            .order_push(key(tail), Allow::default(), false, self.now);
        self
    }

    fn after(mut self, seconds: u64) -> Self {
        self.now = self.now + Duration::from_secs(seconds);
        self
    }

    /// Lets the call go that is due, at its time.
    fn goes(mut self, expected: Call) -> Self {
        let call = match self.next {
            Next::Now(call) => call,
            Next::At(at, call) => {
                self.now = self.now.max(at);
                call
            }
            Next::Rest => panic!("nothing is due: {:?}", self.state),
        };
        assert_eq!(call, expected);
        self.state.calling(call, &self.policy, self.now);
        self
    }

    fn put(mut self, verdict: PutVerdict) -> Self {
        self = self.goes(Call::Put);
        self.next = self
            .state
            .put_answered(&answer(verdict), &self.policy, self.now, 0.5);
        self
    }

    fn look_before(mut self, verdict: LookVerdict) -> Self {
        self = self.goes(Call::LookBefore);
        self.next = self
            .state
            .looked_before(&answer(verdict), &self.policy, self.now, 0.5);
        self
    }

    fn look(mut self, verdict: LookVerdict) -> Self {
        self = self.goes(Call::Look);
        self.next = self.state.looked(&answer(verdict), &self.policy, self.now, 0.5);
        self
    }

    #[track_caller]
    fn is(self, push: Push, verify: Verify) -> Self {
        assert_eq!(
            (self.state.push, self.state.verify),
            (push, verify),
            "{:?}",
            self.state
        );
        self
    }

    #[track_caller]
    fn rests(self) -> Self {
        assert_eq!(self.next, Next::Rest);
        assert!(!self.state.is_busy());
        self
    }
}

fn serves(tail: &str) -> LookVerdict {
    LookVerdict::Serves(key(tail))
}

const TIMEOUT: PutVerdict = PutVerdict::Problem(Problem::Timeout);
const BROKEN: PutVerdict = PutVerdict::Problem(Problem::ServerError);

#[test]
fn a_healthy_site_is_serving_and_then_verified() {
    let subject = Subject::new()
        .push("New")
        .look_before(serves("Old"))
        .put(PutVerdict::Stored)
        .look(serves("New"));
    let subject = subject.is(Push::Stored, Verify::Serving);
    assert_eq!(subject.next, Next::At(at(1330), Call::Look));
    let subject = subject
        .look(serves("New"))
        .is(Push::Stored, Verify::Verified)
        .rests();
    assert_eq!(subject.state.before, Served::Key(key("Old")));
    assert_eq!(subject.state.puts, 1);
}

#[test]
fn an_old_key_in_a_cache_is_settling_and_turns_serving_back() {
    let subject = Subject::new()
        .push("New")
        .look_before(serves("Old"))
        .put(PutVerdict::Stored)
        .look(serves("Old"));
    let subject = subject
        .is(Push::Stored, Verify::Settling)
        .look(serves("New"))
        .is(Push::Stored, Verify::Serving);
    let mut subject = subject.after(20);
    subject.next = subject.state.order_look(None, 1, subject.now);
    let subject = subject.look(serves("Old")).is(Push::Stored, Verify::Settling);
    assert_eq!(subject.next, Next::At(at(1030), Call::Look));
}

#[test]
fn at_the_end_of_the_settle_time_the_old_key_is_a_mismatch_and_none_is_none() {
    let stored = || {
        Subject::new()
            .push("New")
            .look_before(serves("Old"))
            .put(PutVerdict::Stored)
    };
    stored()
        .after(330)
        .look(serves("Old"))
        .is(Push::Stored, Verify::Mismatch)
        .rests();
    stored()
        .after(330)
        .look(LookVerdict::NoKey)
        .is(Push::Stored, Verify::NoKey)
        .rests();
}

#[test]
fn a_third_key_and_a_secret_are_told_at_once() {
    let stored = || {
        Subject::new()
            .push("New")
            .look_before(serves("Old"))
            .put(PutVerdict::Stored)
    };
    stored()
        .look(serves("Third"))
        .is(Push::Stored, Verify::Mismatch)
        .rests();
    stored()
        .look(LookVerdict::ExposedSecret)
        .is(Push::Stored, Verify::ExposedSecret)
        .rests();
}

#[test]
fn a_key_of_two_runs_ago_may_still_be_cached() {
    let first = Subject::new()
        .push("A")
        .look_before(serves("O"))
        .put(PutVerdict::Stored)
        .look(serves("A"));
    let second = first
        .after(60)
        .push("B")
        .put(PutVerdict::Stored)
        .look(serves("O"));
    second.is(Push::Stored, Verify::Settling);
}

#[test]
fn without_settle_time_the_look_after_the_put_is_proof() {
    let mut subject = Subject::new();
    subject.policy.settle = Duration::ZERO;
    let subject = subject
        .push("New")
        .look_before(serves("Old"))
        .put(PutVerdict::Stored)
        .look(serves("New"));
    subject.is(Push::Stored, Verify::Verified).rests();
}

#[test]
fn an_answer_that_was_never_seen_is_decided_by_looks() {
    let lost = || {
        let subject = Subject::new().push("New").look_before(serves("Old"));
        let subject = subject
            .put(TIMEOUT)
            .put(TIMEOUT)
            .put(TIMEOUT)
            .is(Push::Retrying, Verify::Unchecked);
        subject
            .put(TIMEOUT)
            .look(serves("Old"))
            .is(Push::Unknown(Problem::Timeout.cause()), Verify::Settling)
    };
    let seen = lost().look(serves("New")).is(Push::Stored, Verify::Serving);
    assert_eq!(
        seen.next,
        Next::At(seen.now + seen.policy.settle, Call::Look),
        "from the first look that shows it"
    );
    seen.look(serves("New"))
        .is(Push::Stored, Verify::Verified)
        .rests();
    let failed = Push::Failed(Problem::Timeout.cause());
    lost()
        .after(400)
        .look(serves("Old"))
        .is(failed, Verify::Mismatch)
        .rests();
}

#[test]
fn a_refusal_after_a_lost_answer_leaves_it_unknown() {
    let subject = Subject::new().push("New").look_before(serves("Old")).put(TIMEOUT);
    let refused = PutVerdict::Problem(Problem::RefusedKey);
    subject
        .put(refused)
        .is(Push::Unknown(Problem::RefusedKey.cause()), Verify::Queued);
}

#[test]
fn attempts_are_counted_and_limited() {
    let subject = Subject::new().push("New").look_before(serves("Old"));
    let subject = subject.put(BROKEN).put(BROKEN).put(BROKEN).put(BROKEN);
    let subject = subject
        .is(Push::Failed(Problem::ServerError.cause()), Verify::Unchecked)
        .rests();
    assert_eq!(subject.state.puts, 4);
    assert_eq!(subject.state.retry_plan(), RetryPlan::Push);
}

#[test]
fn what_does_not_answer_like_a_template_site_gets_no_put() {
    for problem in [Problem::NotThisApi, Problem::Redirect] {
        let subject = Subject::new()
            .push("New")
            .look_before(LookVerdict::Problem(problem));
        let subject = subject
            .is(
                Push::Skipped(SkipReason::NotThisApi),
                Verify::Failed(problem.cause()),
            )
            .rests();
        assert_eq!(
            subject.state.expected, None,
            "what is held back is expected to change nothing"
        );
        assert_eq!(subject.state.puts, 0);
    }
    let live = PublishableKey::parse("pk_live_51ExampleExampleExample").unwrap();
    let subject = Subject::new().push("New").look_before(LookVerdict::Serves(live));
    subject
        .is(Push::Skipped(SkipReason::OtherMode), Verify::Seen)
        .rests();
}

#[test]
fn a_site_without_the_get_is_pushed_and_its_proof_fails_at_the_end() {
    let no_endpoint = LookVerdict::Problem(Problem::NoEndpoint);
    let subject = Subject::new()
        .push("New")
        .look_before(no_endpoint.clone())
        .put(PutVerdict::Stored);
    let subject = subject
        .look(no_endpoint.clone())
        .is(Push::Stored, Verify::Settling);
    let failed = Verify::Failed(Problem::NoEndpoint.cause());
    let subject = subject
        .after(400)
        .look(no_endpoint)
        .is(Push::Stored, failed)
        .rests();
    assert_eq!(subject.state.retry_plan(), RetryPlan::Look);
}

#[test]
fn a_look_that_fails_while_serving_changes_no_word() {
    let subject = Subject::new()
        .push("New")
        .look_before(serves("Old"))
        .put(PutVerdict::Stored)
        .look(serves("New"));
    let mut subject = subject.after(20);
    subject.next = subject.state.order_look(None, 1, subject.now);
    let subject = subject
        .look(LookVerdict::Problem(Problem::Timeout))
        .is(Push::Stored, Verify::Serving);
    assert_eq!(subject.next, Next::At(at(1330), Call::Look));
}

#[test]
fn drift_is_told_from_a_mismatch() {
    let subject = Subject::new()
        .push("New")
        .look_before(serves("Old"))
        .put(PutVerdict::Stored)
        .after(330);
    let mut subject = subject.look(serves("New")).is(Push::Stored, Verify::Verified);
    subject.next = subject.state.order_look(None, 1, subject.now);
    subject
        .look(serves("Old"))
        .is(Push::Stored, Verify::Drifted)
        .rests();
}

#[test]
fn cancelling_ends_what_waits_and_keeps_what_is_stored() {
    let mut waits = Subject::new().push("New");
    waits.next = waits.state.cancel(&waits.policy, waits.now);
    waits.is(Push::Cancelled, Verify::Unchecked).rests();

    let mut serving = Subject::new()
        .push("New")
        .look_before(serves("Old"))
        .put(PutVerdict::Stored)
        .look(serves("New"));
    assert_eq!(serving.state.cancel(&serving.policy, serving.now), Next::Rest);
    serving.look(serves("New")).is(Push::Stored, Verify::Verified);

    let mut doubtful = Subject::new().push("New").look_before(serves("Old")).put(TIMEOUT);
    doubtful.next = doubtful.state.cancel(&doubtful.policy, doubtful.now);
    doubtful.look(serves("New")).is(Push::Stored, Verify::Serving);
}

#[test]
fn a_retry_that_is_cancelled_before_its_request_changes_nothing() {
    let mut refused = Subject::new()
        .push("New")
        .look_before(serves("Old"))
        .put(PutVerdict::Problem(Problem::RefusedKey));
    let before = refused.state.clone();
    refused.next = refused
        .state
        .order_push(key("New"), Allow::default(), true, at(2000));
    refused.next = refused.state.cancel(&refused.policy, at(2001));
    assert_eq!(refused.state, before);
    refused.rests();
}

#[test]
fn a_refused_put_is_never_called_stored() {
    for problem in [
        Problem::RefusedKey,
        Problem::NoEndpoint,
        Problem::SaysNotStored,
        Problem::NoMasterKey,
    ] {
        let mut refused = Subject::new()
            .push("New")
            .look_before(serves("New"))
            .put(PutVerdict::Problem(problem))
            .is(Push::Failed(problem.cause()), Verify::Unchecked);
        refused.next = refused.state.order_look(None, 2, refused.now);
        refused
            .look(serves("New"))
            .is(Push::Failed(problem.cause()), Verify::Verified);
    }
}

#[test]
fn a_look_that_was_sent_before_the_settle_time_was_over_is_no_proof() {
    let mut early = Subject::new()
        .push("New")
        .look_before(serves("Old"))
        .put(PutVerdict::Stored)
        .look(serves("New"))
        .after(329);
    early.next = early.state.order_look(None, 2, early.now);
    early = early.goes(Call::Look).after(2);
    early.next = early
        .state
        .looked(&answer(serves("New")), &early.policy, early.now, 0.5);
    let late = early.is(Push::Stored, Verify::Serving).look(serves("New"));
    late.is(Push::Stored, Verify::Verified);
}

#[test]
fn a_retry_looks_again_at_what_has_become_another_site() {
    let mut parked = Subject::new()
        .push("New")
        .look_before(serves("Old"))
        .put(PutVerdict::Problem(Problem::RefusedRequest));
    parked.next = parked.state.order_look(None, 1, parked.now);
    let mut parked = parked.look(LookVerdict::Problem(Problem::NotThisApi));
    parked.next = parked
        .state
        .order_push(key("New"), Allow::default(), true, parked.now);
    parked.look_before(LookVerdict::Problem(Problem::NotThisApi)).is(
        Push::Skipped(SkipReason::NotThisApi),
        Verify::Failed(Problem::NotThisApi.cause()),
    );
}

#[test]
fn what_is_held_back_goes_on_to_settle() {
    let settling = Subject::new()
        .push("New")
        .look_before(serves("Old"))
        .put(PutVerdict::Stored)
        .look(serves("Old"))
        .is(Push::Stored, Verify::Settling);
    let mut settling = settling;
    let live = PublishableKey::parse("pk_live_51ExampleExampleExample").unwrap();
    settling.next = settling
        .state
        .order_push(live, Allow::default(), false, settling.now);
    settling
        .look_before(serves("Old"))
        .is(Push::Skipped(SkipReason::OtherMode), Verify::Settling)
        .after(100)
        .look(serves("New"))
        .after(400)
        .look(serves("New"))
        .is(Push::Skipped(SkipReason::OtherMode), Verify::Verified);
}

#[test]
fn a_put_of_another_key_whose_answer_was_lost_puts_a_match_in_doubt() {
    let lost = Subject::new().push("New").look_before(serves("Old")).put(TIMEOUT);
    let mut back = lost.push("Old");
    back.next = back.state.cancel(&back.policy, back.now);
    back.next = back.state.order_look(None, 2, back.now);
    // The site may have stored the new key and show the old one from a cache.
    let back = back
        .look(serves("Old"))
        .is(Push::Cancelled, Verify::Serving)
        .look(serves("Old"))
        .is(Push::Cancelled, Verify::Verified);
    assert_eq!(back.now, at(1330));
}
