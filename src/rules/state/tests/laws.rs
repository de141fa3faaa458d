//! What holds for any sequence of answers, orders and crashes.

use proptest::prelude::*;

use super::*;

/// Something that can happen to a site.
#[derive(Debug, Clone)]
enum Happens {
    Order(u8),
    Verify,
    Answer(u8),
    Wait(u64),
    Cancel,
    /// The process dies, while a PUT is out if one is due (and may arrive); the next one takes the run up, or not.
    Crash {
        sent: bool,
        resumed: bool,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        1 => (0u8..3).prop_map(Happens::Order),
        1 => Just(Happens::Verify),
        12 => (0u8..12).prop_map(Happens::Answer),
        3 => (0u64..400).prop_map(Happens::Wait),
        1 => Just(Happens::Cancel),
        2 => any::<(bool, bool)>().prop_map(|(sent, resumed)| Happens::Crash { sent, resumed }),
    ]
}

pub(super) fn look_verdict(number: u8) -> LookVerdict {
    match number {
        0..=3 => serves("A"),
        4 | 5 => serves("B"),
        6 => serves("C"),
        7 => LookVerdict::NoKey,
        8 => LookVerdict::ExposedSecret,
        9 => LookVerdict::Problem(Problem::Timeout),
        10 => LookVerdict::Problem(Problem::NotThisApi),
        _ => LookVerdict::Problem(Problem::Unavailable),
    }
}

pub(super) fn put_verdict(number: u8) -> PutVerdict {
    match number {
        0..=5 => PutVerdict::Stored,
        6 | 7 => TIMEOUT,
        8 => PutVerdict::Problem(Problem::RefusedKey),
        9 => PutVerdict::Problem(Problem::Dns),
        _ => BROKEN,
    }
}

proptest! {
    /// From any sequence of answers and orders: `verified` comes only from a matching look after the settle
    /// time of the last PUT that may have arrived, and no operation makes more PUTs than it may.
    #[test]
    fn verified_is_always_proven(story in proptest::collection::vec(happens(), 1..60)) {
        let mut subject = Subject::new();
        let mut sent: Option<Moment> = None;
        let mut in_operation = 0;
        for event in story {
            let mut matched = false;
            let before = subject.state.verify;
            match event {
                Happens::Wait(seconds) => subject = subject.after(seconds),
                Happens::Order(number) if !subject.state.is_calling() => {
                    in_operation = 0;
                    subject = subject.push(["A", "B", "C"][usize::from(number)]);
                }
                Happens::Verify if !subject.state.is_calling() => {
                    let next = subject.state.order_look(None, 2, subject.now);
                    if next != Next::Rest { subject.next = next; }
                }
                Happens::Cancel => {
                    let waits = subject.state.push.is_open();
                    let next = subject.state.cancel(&subject.policy.clone(), subject.now);
                    if waits { subject.next = next; }
                }
                Happens::Answer(number) => match subject.next {
                    Next::Rest => {}
                    Next::Now(Call::Put) | Next::At(_, Call::Put) => {
                        in_operation += 1;
                        prop_assert!(in_operation <= subject.policy.attempts);
                        let verdict = put_verdict(number);
                        subject = subject.put(verdict);
                        if matches!(verdict, PutVerdict::Stored | TIMEOUT | BROKEN) { sent = Some(subject.now); }
                    }
                    Next::Now(Call::LookBefore) | Next::At(_, Call::LookBefore) => {
                        subject = subject.look_before(look_verdict(number));
                    }
                    Next::Now(Call::Look) | Next::At(_, Call::Look) => {
                        let verdict = look_verdict(number);
                        matched = matches!(&verdict, LookVerdict::Serves(shown) if Some(shown) == subject.state.expected.as_ref());
                        subject = subject.look(verdict);
                    }
                },
                Happens::Crash { sent: out, resumed } => {
                    let due = matches!(subject.next, Next::Now(Call::Put) | Next::At(_, Call::Put));
                    subject = subject.dies(out && due);
                    if out && due { sent = Some(subject.now); }
                    if resumed { subject = subject.resumes(); }
                    in_operation = 0;
                }
                Happens::Order(_) | Happens::Verify => {}
            }
            if subject.state.verify == Verify::Verified && before != Verify::Verified {
                prop_assert!(matched);
                prop_assert!(sent.is_none_or(|put| subject.now.since(put) >= subject.policy.settle));
            }
        }
    }

    /// Whatever a site answers, a push comes to an end.
    #[test]
    fn an_end_is_always_reached(answers in proptest::collection::vec(0u8..12, 64)) {
        let mut subject = Subject::new().push("A");
        for number in answers {
            subject = match subject.next {
                Next::Rest => break,
                Next::Now(Call::Put) | Next::At(_, Call::Put) => subject.put(put_verdict(number)),
                Next::Now(Call::LookBefore) | Next::At(_, Call::LookBefore) => subject.look_before(look_verdict(number)),
                Next::Now(Call::Look) | Next::At(_, Call::Look) => subject.look(look_verdict(number)),
            };
            prop_assert_eq!(&through_json(&subject.state), &subject.state);
        }
        prop_assert_eq!(subject.next, Next::Rest);
        prop_assert!(!subject.state.is_busy());
    }
}
