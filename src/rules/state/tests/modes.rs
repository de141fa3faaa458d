//! A site that serves a live key gets no test key, nor the reverse, without the operator's word.

use super::*;
use crate::rules::run::RunId;
use crate::rules::state::RetryPlan;

fn live(tail: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_live_51ExampleExampleExample{tail}")).unwrap()
}

const WITH_THE_WORD: Allow = Allow {
    mode_change: true,
    unrecognised: false,
    changed: false,
};

const HELD_BACK: Push = Push::Skipped(SkipReason::OtherMode);

/// Served a live key when it was looked at, and then for so long nobody looked.
fn served_live(seconds: u64) -> Subject {
    let mut subject = Subject::new();
    subject.next = subject.state.order_look(None, 1, subject.now);
    subject
        .look(LookVerdict::Serves(live("Old")))
        .is(Push::Idle, Verify::Seen)
        .after(seconds)
}

impl Subject {
    fn push_with(mut self, key: PublishableKey, allow: Allow) -> Self {
        self.next = self.state.order_push(key, allow, false, self.now);
        self
    }
}

#[test]
fn what_was_seen_last_counts_where_the_look_before_the_put_shows_nothing() {
    for problem in [
        Problem::Timeout,
        Problem::RateLimited,
        Problem::Unavailable,
        Problem::ServerError,
        Problem::NoEndpoint,
    ] {
        // Fresh or old, and whatever the plan knew of it.
        for seconds in [1, 100_000] {
            let held = served_live(seconds)
                .push("New")
                .look_before(LookVerdict::Problem(problem));
            assert_eq!(held.state.push, HELD_BACK, "{problem:?} {seconds}");
            assert_eq!(held.state.puts, 0);
            assert_eq!(
                held.state.retry_plan(),
                RetryPlan::Ask(SkipReason::OtherMode),
                "{problem:?}"
            );
        }
    }
    let allowed = served_live(100_000)
        .push_with(key("New"), WITH_THE_WORD)
        .look_before(LookVerdict::Problem(Problem::Timeout))
        .goes(Call::Put);
    assert_eq!(allowed.state.puts, 1);
    // Of a site that was never seen nobody knows more.
    Subject::new()
        .push("New")
        .look_before(LookVerdict::Problem(Problem::Timeout))
        .goes(Call::Put);
}

#[test]
fn what_was_stored_a_moment_ago_counts_where_a_cache_still_shows_the_key_before() {
    let stored = || {
        let mut subject = Subject::new();
        subject.next = subject.state.order_look(None, 1, subject.now);
        subject
            .look(serves("Old"))
            .after(1)
            .push_with(live("New"), WITH_THE_WORD)
            .put(PutVerdict::Stored)
            .look(serves("Old"))
            .is(Push::Stored, Verify::Settling)
    };
    assert!(stored().state.serves_other_mode_than(&key("Next")));
    let held = stored().after(1).push("Next").look_before(serves("Old"));
    assert_eq!((held.state.push, held.state.puts), (HELD_BACK, 0));
    // Back to live is no change of the mode of what is stored, but one of what is shown.
    let back = stored()
        .after(1)
        .push_with(live("Next"), Allow::default())
        .look_before(serves("Old"));
    assert_eq!(back.state.push, HELD_BACK);
    // After the settle time one look tells all: the PUT went elsewhere.
    let settled = stored().after(400);
    let mut settled = settled.look(serves("Old")).is(Push::Stored, Verify::Mismatch);
    assert!(!settled.state.serves_other_mode_than(&key("Next")));
    settled.next = Next::Rest;
    settled.after(1).push("Next").goes(Call::Put);
}

#[test]
fn a_run_that_is_taken_up_and_a_retry_hold_it_back_too() {
    let mut left = served_live(1);
    left.state.run = Some(RunId(7));
    let held = left
        .push("New")
        .dies(false)
        .resumes()
        .look_before(LookVerdict::Problem(Problem::Timeout));
    assert_eq!((held.state.push, held.state.puts), (HELD_BACK, 0));

    // Somebody else puts a live key there between a failure and its retry.
    let mut failed = Subject::new();
    failed.next = failed.state.order_look(None, 1, failed.now);
    let mut failed = failed
        .look(serves("Old"))
        .after(1)
        .push("New")
        .put(PutVerdict::Problem(Problem::RefusedKey));
    failed.next = failed.state.order_look(None, 1, failed.now);
    let mut failed = failed.look(LookVerdict::Serves(live("Theirs"))).after(1);
    failed.next = failed
        .state
        .order_push(key("New"), Allow::default(), true, failed.now);
    let held = failed.look_before(LookVerdict::Serves(live("Theirs")));
    assert_eq!((held.state.push, held.state.puts), (HELD_BACK, 1));
}

#[test]
fn what_waited_longer_than_a_look_tells_is_looked_at_before_its_first_put() {
    let mut subject = Subject::new();
    subject.next = subject.state.order_look(None, 1, subject.now);
    let subject = subject.look(serves("Old")).after(1).push("New");
    assert_eq!(subject.next, Next::At(subject.now, Call::Put));
    let state = &subject.state;
    let after = |seconds| state.call_now(Call::Put, subject.now + Duration::from_secs(seconds));
    assert_eq!(after(60), Call::Put);
    assert_eq!(after(600), Call::LookBefore);
}

#[test]
fn what_is_allowed_to_be_strange_is_looked_at_once_however_long_its_put_waits() {
    let strange = || LookVerdict::Problem(Problem::NotThisApi);
    let mut subject = Subject::new();
    let allow = Allow {
        unrecognised: true,
        ..Allow::default()
    };
    subject.next = subject.state.order_push(key("New"), allow, false, subject.now);
    let mut subject = subject.look_before(strange());
    assert_eq!(subject.next, Next::Now(Call::Put));
    // The rate leaves no room for it now.
    subject.state.await_push(subject.now);
    let later = subject.now + Duration::from_secs(9);
    assert_eq!(subject.state.call_now(Call::Put, later), Call::Put);
    // Where that is not allowed, what another look has shown meanwhile is asked once more, and holds it back.
    let mut seen = Subject::new().push("New").look_before(serves("Old"));
    seen.state.strange = true;
    seen.state.await_push(seen.now);
    assert_eq!(seen.state.call_now(Call::Put, seen.now), Call::LookBefore);
}
