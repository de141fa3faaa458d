//! What a process that is gone has left behind.

use super::*;
use crate::rules::run::RunId;

const RUN: RunId = RunId(7);

/// What the run planned.
fn row(key: PublishableKey) -> LeftRow {
    LeftRow {
        run: RUN,
        key,
        allow: Allow::default(),
        serves: Served::Unknown,
        began: at(0),
    }
}

impl Subject {
    /// The process that worked on it dies, and another one reads what was recorded last. `open` tells whether a PUT
    /// was about to be sent.
    pub(super) fn dies(mut self, open: bool) -> Self {
        let expected = self.state.expected.clone();
        let json = serde_json::to_string(&self.state).unwrap();
        self.state = serde_json::from_str(&json).unwrap();
        self.state.orphaned(&self.policy, self.now);
        if let (true, Some(key)) = (open, expected) {
            let number = self.state.puts + 1;
            self.state.put_left_open(row(key), number, &self.policy, self.now);
        }
        self.next = self.state.wait_left(self.now);
        self
    }

    /// The run is taken up again.
    pub(super) fn resumes(mut self) -> Self {
        self.next = self.state.order_rest(self.now);
        self
    }
}

fn pushed() -> Subject {
    let mut subject = Subject::new();
    subject.state.run = Some(RUN);
    subject.push("New").look_before(serves("Old"))
}

#[test]
fn a_put_without_an_outcome_is_unknown_until_a_look_decides() {
    let left = pushed()
        .dies(true)
        .is(Push::Unknown(Problem::ConnectionLost.cause()), Verify::Queued);
    let arrived = left
        .look(serves("New"))
        .is(Push::Stored, Verify::Serving)
        .look(serves("New"))
        .is(Push::Stored, Verify::Verified);
    assert_eq!(arrived.now, at(1330));

    let lost = pushed().dies(true).look(serves("Old"));
    let lost = lost.is(Push::Unknown(Problem::ConnectionLost.cause()), Verify::Settling);
    lost.after(330)
        .look(serves("Old"))
        .is(Push::Failed(Problem::ConnectionLost.cause()), Verify::Mismatch);
}

#[test]
fn a_resumed_run_looks_at_the_unknown_and_sends_only_what_is_not_there() {
    let arrived = pushed().dies(true).resumes().look_before(serves("New"));
    let arrived = arrived.is(Push::Stored, Verify::Serving);
    assert_eq!(arrived.state.puts, 1, "no second PUT");
    arrived.look(serves("New")).is(Push::Stored, Verify::Verified);

    let lost = pushed().dies(true).resumes().look_before(serves("Old"));
    lost.put(PutVerdict::Stored)
        .look(serves("New"))
        .is(Push::Stored, Verify::Serving);
}

#[test]
fn what_was_not_reached_is_owed_and_goes_when_the_run_goes_on() {
    let mut subject = Subject::new();
    let allow = Allow {
        mode_change: true,
        ..Allow::default()
    };
    subject.state.not_reached(
        LeftRow {
            allow,
            ..row(key("New"))
        },
        subject.now,
    );
    let subject = subject.is(Push::NotStarted, Verify::Unchecked);
    assert!(subject.state.is_owed() && subject.state.is_left_over());
    let subject = subject
        .resumes()
        .look_before(serves("Old"))
        .put(PutVerdict::Stored);
    assert!(subject.state.in_run);
    assert_eq!(subject.state.puts, 1);
}

#[test]
fn a_closed_run_expects_nothing_of_what_it_did_not_reach() {
    let mut subject = Subject::new().push("Old").look_before(serves("Older"));
    subject.next = subject.state.put_answered(
        &answer(PutVerdict::Problem(Problem::RefusedKey)),
        &subject.policy,
        subject.now,
        0.5,
    );
    subject.state.not_reached(row(key("New")), subject.now);
    assert_eq!(subject.state.expected, Some(key("New")));
    subject.state.run_closed(subject.now);
    assert_eq!(
        (subject.state.push, &subject.state.expected),
        (Push::Idle, &Some(key("Old")))
    );
}

#[test]
fn what_settled_gets_its_look_from_the_next_process() {
    let serving = pushed().put(PutVerdict::Stored).look(serves("New")).dies(false);
    let serving = serving.is(Push::Stored, Verify::Serving);
    assert_eq!(serving.next, Next::At(at(1330), Call::Look));
    serving.look(serves("New")).is(Push::Stored, Verify::Verified);
    let waits = pushed().dies(false).is(Push::NotStarted, Verify::Unchecked);
    assert_eq!(waits.next, Next::Rest);
}

#[test]
fn behind_a_restart_of_the_machine_the_wall_clock_tells_the_age_and_never_makes_it_negative() {
    let restarted = |wall: u64| {
        let mut subject = pushed().put(PutVerdict::Stored).look(serves("New"));
        // The machine counts anew: from one second.
        subject.now = Moment {
            since_start: Duration::from_secs(100_000),
            wall: at(wall).wall,
        };
        subject.state.after_restart(&subject.policy, subject.now);
        subject.state.settle_end().unwrap().since(subject.now)
    };
    assert_eq!(restarted(1100), Duration::from_secs(230), "100 s have passed");
    assert_eq!(restarted(5000), Duration::ZERO, "it is over");
    assert_eq!(
        restarted(10),
        Duration::from_secs(330),
        "the clock was set back: all of it"
    );
}

#[test]
fn a_key_that_somebody_else_has_put_there_since_the_plan_holds_the_put_back() {
    let planned = |allow| {
        let mut subject = Subject::new();
        subject.state.plan_showed(Served::Key(key("Old")));
        subject.next = subject.state.order_push(key("New"), allow, false, subject.now);
        subject
    };
    let held = planned(Allow::default()).look_before(serves("Theirs"));
    held.is(Push::Skipped(SkipReason::ChangedMeanwhile), Verify::Seen)
        .rests();
    planned(Allow::default())
        .look_before(serves("Old"))
        .put(PutVerdict::Stored);
    planned(Allow::default())
        .look_before(serves("New"))
        .put(PutVerdict::Stored);
    let allow = Allow {
        changed: true,
        ..Allow::default()
    };
    planned(allow)
        .look_before(serves("Theirs"))
        .put(PutVerdict::Stored);
}

#[test]
fn a_key_that_was_there_a_moment_ago_may_come_from_a_cache_and_holds_nothing_back() {
    let mut subject = pushed().put(PutVerdict::Stored).look(serves("New")).after(310);
    subject.state.plan_showed(Served::Key(key("New")));
    subject.next = subject
        .state
        .order_push(key("Newest"), Allow::default(), false, subject.now);
    let subject = subject.look_before(serves("Old"));
    subject.put(PutVerdict::Stored);
}

#[test]
fn a_state_survives_being_written_down() {
    let subject = pushed().put(PutVerdict::Stored).look(serves("Old"));
    let json = serde_json::to_string(&subject.state).unwrap();
    let read: SiteState = serde_json::from_str(&json).unwrap();
    let mut expected = subject.state;
    expected.before_retry = None;
    assert_eq!(read, expected);
    // Of an older version, and of a newer one.
    let other: SiteState = serde_json::from_str(r#"{"puts":3,"something_new":true}"#).unwrap();
    assert_eq!(other.puts, 3);
}

#[test]
fn a_run_that_is_taken_up_holds_back_what_somebody_else_changed_since_its_plan() {
    let left = || {
        let mut subject = Subject::new();
        let row = LeftRow {
            serves: Served::Key(key("Old")),
            ..row(key("New"))
        };
        subject.state.expected = Some(key("Old"));
        subject.state.not_reached(row, subject.now);
        subject.resumes()
    };
    let held = left().look_before(serves("Theirs"));
    let held = held.is(Push::Skipped(SkipReason::ChangedMeanwhile), Verify::Mismatch);
    assert_eq!(held.state.expected, Some(key("Old")), "as before the run");
    left().look_before(serves("Old")).put(PutVerdict::Stored);
}

/// Another process has had the run's PUT out, and died.
fn unknown_elsewhere() -> SiteState {
    pushed().dies(true).state
}

#[test]
fn what_was_stopped_is_only_looked_for_where_another_process_may_have_sent_it() {
    for stopping in [false, true] {
        let mut here = pushed();
        if stopping {
            here = here.goes(Call::Put);
        }
        let _next = here.state.cancel(&here.policy, here.now);
        if !stopping {
            here.state.end_push(Push::Cancelled);
        }
        let next = here.state.taken_over(&unknown_elsewhere(), true, here.now);
        assert_eq!(next, Some(Next::At(here.now, Call::Look)));
        here.next = next.unwrap();
        let here = here.look(serves("Old"));
        assert!(here.state.in_run && matches!(here.state.push, Push::Unknown(_)));
        here.after(330)
            .look(serves("Old"))
            .is(Push::Failed(Problem::ConnectionLost.cause()), Verify::Mismatch);
    }
}

#[test]
fn where_others_may_send_nothing_is_ordered_anew() {
    let mut here = pushed();
    let mut newest = here.state.clone();
    newest.orphaned(&here.policy, here.now);
    assert_eq!(newest.push, Push::NotStarted);
    let mut sends = here.state.clone();
    let next = sends.taken_over(&newest, true, here.now);
    assert!(matches!(next, Some(Next::At(_, Call::Put))) && sends.push == Push::Queued);
    let next = here.state.taken_over(&newest, false, here.now);
    assert_eq!((next, here.state.push), (Some(Next::Rest), Push::Cancelled));
}

#[test]
fn what_was_held_back_here_is_looked_at_again_before_anything_is_sent() {
    let here = pushed();
    let mut newest = here.state.clone();
    newest.orphaned(&here.policy, here.now);
    for reason in [SkipReason::ChangedMeanwhile, SkipReason::NotThisApi] {
        let mut held_back = here.state.clone();
        held_back.push = Push::Skipped(reason);
        let next = held_back.taken_over(&newest, true, here.now);
        assert_eq!(next, Some(Next::At(here.now, Call::LookBefore)));
    }
    let mut looked_later = here.state.clone();
    looked_later.looked_at = Some(here.now + Duration::from_secs(1));
    let next = looked_later.taken_over(&newest, true, here.now);
    assert_eq!(next, Some(Next::At(here.now, Call::LookBefore)));
}
