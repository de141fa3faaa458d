//! What Stripe says of a key changes VERIFY where a site rests, and nothing else, ever.

use proptest::prelude::*;

use super::laws::{look_verdict, put_verdict};
use super::*;

const EXPIRED: Option<Standing> = Some(Standing::Expired);

/// A site that was looked at, with nothing expected of it.
fn seen(tail: &str) -> Subject {
    let mut subject = Subject::new();
    subject.next = subject.state.order_look(None, 1, subject.now);
    subject.look(serves(tail)).is(Push::Idle, Verify::Seen).rests()
}

#[test]
fn a_site_that_rests_with_a_dead_key_is_called_out_until_it_is_not_dead() {
    let mut state = seen("Old").state;
    let before = state.clone();
    assert!(!state.take_standing(Some(Standing::Known)));
    assert!(!state.take_standing(None));
    assert!(state.take_standing(Some(Standing::Unknown)));
    assert!(state.take_standing(EXPIRED));
    assert!(!state.take_standing(EXPIRED));
    // That it says nothing now is no word on the key.
    assert!(!state.take_standing(None));
    assert_eq!(
        (state.verify, state.dead.clone(), state.verify_besides()),
        (
            Verify::DeadKey,
            Some((key("Old"), Standing::Expired)),
            Verify::Seen
        )
    );
    assert_eq!(through_json(&state), state);
    assert!(state.take_standing(Some(Standing::Known)));
    assert_eq!(state, before);
}

/// It is looked at once more.
fn again(mut subject: Subject, verdict: LookVerdict) -> Subject {
    subject.next = subject.state.order_look(None, 1, subject.now);
    subject.look(verdict)
}

#[test]
fn another_key_takes_it_back_and_the_same_one_does_not() {
    let mut subject = seen("Old");
    subject.state.take_standing(EXPIRED);
    let mut subject = again(subject, LookVerdict::Problem(Problem::Timeout));
    subject.state.take_standing(None);
    assert!(matches!(subject.state.verify, Verify::Failed(_)));
    // Stripe is out of reach, and the key is the same.
    let mut subject = again(subject, serves("Old"));
    assert!(subject.state.take_standing(None));
    let mut subject = again(subject.is(Push::Idle, Verify::DeadKey), serves("New"));
    subject.state.take_standing(None);
    assert_eq!(
        (subject.state.verify, subject.state.dead.clone()),
        (Verify::Seen, None)
    );
    let mut subject = again(subject, LookVerdict::NoKey);
    assert!(!subject.state.take_standing(EXPIRED));
}

#[test]
fn settling_and_serving_go_on_and_what_ends_is_called_dead() {
    let subject = Subject::new().push("New").look_before(serves("Old"));
    let mut subject = subject.put(PutVerdict::Stored).look(serves("Old"));
    assert!(!subject.state.take_standing(EXPIRED));
    let mut subject = subject.is(Push::Stored, Verify::Settling).look(serves("New"));
    assert!(!subject.state.take_standing(EXPIRED));
    let mut subject = subject.is(Push::Stored, Verify::Serving).look(serves("New"));
    assert!(subject.state.take_standing(EXPIRED));
    let subject = subject.is(Push::Stored, Verify::DeadKey).rests();
    assert_eq!(subject.state.verify_besides(), Verify::Verified);
    assert!(!subject.state.is_owed());
    assert_eq!(subject.state.retry_plan(), RetryPlan::Nothing);
}

#[test]
fn a_mismatch_that_is_dead_too_is_retried_all_the_same() {
    let subject = Subject::new().push("New").look_before(serves("Old"));
    let mut subject = subject.put(PutVerdict::Stored).look(serves("Third"));
    let plan = subject.state.retry_plan();
    assert!(subject.state.take_standing(EXPIRED));
    let subject = subject.is(Push::Stored, Verify::DeadKey);
    assert_eq!(subject.state.verify_besides(), Verify::Mismatch);
    assert_eq!((plan, subject.state.retry_plan()), (plan, RetryPlan::Push));
    assert!(subject.state.is_owed());
}

/// Something that happens to a site, and what Stripe says then.
type Step = (u8, u8, Option<Standing>);

fn step() -> impl Strategy<Value = Step> {
    let standing = prop_oneof![
        2 => Just(Some(Standing::Expired)),
        1 => Just(Some(Standing::Unknown)),
        1 => Just(Some(Standing::Known)),
        1 => Just(None),
    ];
    (0u8..10, 0u8..12, standing)
}

fn happens(mut subject: Subject, (what, number, _): Step) -> Subject {
    match what {
        0 if !subject.state.is_calling() => subject.push(["A", "B", "C"][usize::from(number % 3)]),
        1 => {
            let next = subject.state.order_look(None, 2, subject.now);
            if next != Next::Rest {
                subject.next = next;
            }
            subject
        }
        2 => subject.after(u64::from(number) * 40),
        3 => {
            let waits = subject.state.push.is_open();
            let next = subject.state.cancel(&subject.policy.clone(), subject.now);
            if waits {
                subject.next = next;
            }
            subject
        }
        _ => match subject.next {
            Next::Rest => subject,
            Next::Now(Call::Put) | Next::At(_, Call::Put) => subject.put(put_verdict(number)),
            Next::Now(Call::LookBefore) | Next::At(_, Call::LookBefore) => {
                subject.look_before(look_verdict(number))
            }
            Next::Now(Call::Look) | Next::At(_, Call::Look) => subject.look(look_verdict(number)),
        },
    }
}

proptest! {
    /// The twin that Stripe says nothing of goes through the same: all that is ever different is the word.
    #[test]
    fn what_stripe_says_disturbs_nothing(story in proptest::collection::vec(step(), 1..60)) {
        let (mut subject, mut twin) = (Subject::new(), Subject::new());
        for event in story {
            subject = happens(subject, event);
            twin = happens(twin, event);
            subject.state.take_standing(event.2);
            prop_assert_eq!(subject.next, twin.next);
            prop_assert_eq!(subject.state.verify_besides(), twin.state.verify);
            prop_assert_eq!(subject.state.retry_plan(), twin.state.retry_plan());
            prop_assert_eq!(subject.state.is_owed(), twin.state.is_owed());
            if subject.state.verify == Verify::DeadKey {
                prop_assert!(event.2.is_none_or(Standing::is_dead));
                prop_assert!(!matches!(twin.state.verify, Verify::Settling | Verify::Serving));
            }
            let mut without = subject.state.clone();
            without.take_standing(Some(Standing::Known));
            // A retry that is cancelled goes back to what was: that has its own word.
            without.before_retry = None;
            let mut twin_state = twin.state.clone();
            twin_state.before_retry = None;
            prop_assert_eq!(without, twin_state);
        }
    }
}
