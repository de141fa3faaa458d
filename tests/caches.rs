//! A site of several processes, each with a cache of its own (contract.md), against the rules: whatever
//! happens, none is called verified, and no key expirable, while one of its processes may answer another key.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::expiry::Expiry;
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::state::{Allow, Call, Next, RetryPlan, SiteState};
use stripe_propagate::rules::status::Verify;
use stripe_propagate::text::CleanText;

/// How long a process answers what it has read, in seconds (contract.md).
const CACHE: u64 = 300;
const PROCESSES: usize = 3;

fn key(number: u8) -> PublishableKey {
    PublishableKey::parse(&format!("pk_live_51ExampleExampleExample{number}")).unwrap()
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
        http: None,
        took: Duration::ZERO,
        retry_after: None,
        detail: CleanText::default(),
        alarm: None,
    }
}

/// What its database holds, and what each process has read of it, and when.
struct Shop {
    stored: PublishableKey,
    caches: [Option<(u64, PublishableKey)>; PROCESSES],
}

impl Shop {
    fn answers(&self, process: usize, now: u64) -> &PublishableKey {
        match &self.caches[process] {
            Some((read, key)) if now - read < CACHE => key,
            _ => &self.stored,
        }
    }

    /// A look, or a shopper.
    fn look(&mut self, process: usize, now: u64) -> PublishableKey {
        let answered = self.answers(process, now).clone();
        if self.caches[process]
            .as_ref()
            .is_none_or(|(read, _)| now - read >= CACHE)
        {
            self.caches[process] = Some((now, answered.clone()));
        }
        answered
    }

    /// A PUT clears the cache of its own process only.
    fn put(&mut self, process: usize, key: PublishableKey) {
        self.stored = key;
        self.caches[process] = None;
    }

    fn all_answer(&self, key: &PublishableKey, now: u64) -> bool {
        (0..PROCESSES).all(|process| self.answers(process, now) == key)
    }
}

#[derive(Debug, Clone, Copy)]
enum Happens {
    /// The request that is due is sent; its answer comes after so many seconds from this process.
    Answer {
        process: usize,
        luck: u8,
        takes: u64,
    },
    /// A shopper comes to this process.
    Shopper(usize),
    Wait(u64),
    Push(u8),
    Retry,
    Look,
    Cancel,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        12 => (0..PROCESSES, 0u8..10, 0u64..40).prop_map(|(process, luck, takes)| {
            Happens::Answer { process, luck, takes: if luck % 2 == 0 { 0 } else { takes } }
        }),
        6 => (0..PROCESSES).prop_map(Happens::Shopper),
        4 => (0u64..200).prop_map(Happens::Wait),
        2 => (1u8..4).prop_map(Happens::Push),
        1 => Just(Happens::Retry),
        1 => Just(Happens::Look),
        1 => Just(Happens::Cancel),
    ]
}

struct Life {
    shop: Shop,
    state: SiteState,
    policy: Policy,
    next: Next,
    now: u64,
    run: Option<PublishableKey>,
}

impl Life {
    fn follow(&mut self, next: Next) {
        if next != Next::Rest {
            self.next = next;
        }
    }

    fn happen(&mut self, event: Happens) {
        let now = at(self.now);
        match event {
            Happens::Wait(seconds) => self.now += seconds,
            Happens::Shopper(process) => drop(self.shop.look(process, self.now)),
            // The engine refuses a run while another one sends.
            Happens::Push(_) if self.state.push.is_open() => {}
            Happens::Push(number) => {
                self.run = Some(key(number));
                self.next = self.state.order_push(key(number), Allow::default(), false, now);
            }
            Happens::Retry => {
                let again = self
                    .run
                    .clone()
                    .filter(|_| self.state.retry_plan() == RetryPlan::Push);
                if let Some(again) = again {
                    self.next = self.state.order_push(again, Allow::default(), true, now);
                }
            }
            Happens::Look => {
                let next = self.state.order_look(None, 2, now);
                self.follow(next);
            }
            Happens::Cancel if self.state.push.is_open() => {
                self.next = self.state.cancel(&self.policy, now);
            }
            Happens::Cancel => {}
            Happens::Answer { process, luck, takes } => self.answer(process, luck, takes),
        }
    }

    fn answer(&mut self, process: usize, luck: u8, takes: u64) {
        let call = match self.next {
            Next::Rest => return,
            Next::Now(call) => call,
            Next::At(due, call) => {
                self.now = self.now.max(due.since_start.as_secs());
                call
            }
        };
        self.next = Next::Rest;
        self.state.calling(call, &self.policy, at(self.now));
        // A process answers when it is asked; the line may take its time.
        let asked = self.now;
        self.now += takes;
        self.next = if call == Call::Put {
            let verdict = self.put(process, luck);
            self.state
                .put_answered(&answer(verdict), &self.policy, at(self.now), 0.5)
        } else {
            let verdict = match luck {
                0 => LookVerdict::Problem(Problem::Timeout),
                _ => LookVerdict::Serves(self.shop.look(process, asked)),
            };
            let answer = answer(verdict);
            if call == Call::LookBefore {
                self.state.looked_before(&answer, &self.policy, at(self.now), 0.5)
            } else {
                self.state.looked(&answer, &self.policy, at(self.now), 0.5)
            }
        };
        let verified = self.state.verify == Verify::Verified;
        let expected = self.state.expected.clone().filter(|_| verified);
        assert!(
            expected.is_none_or(|expected| self.shop.all_answer(&expected, self.now)),
            "called verified: {:?}",
            self.state
        );
    }

    fn put(&mut self, process: usize, luck: u8) -> PutVerdict {
        let sent = self.state.expected.clone().unwrap();
        if matches!(luck, 0..=4 | 6 | 8) {
            self.shop.put(process, sent);
        }
        match luck {
            0..=4 => PutVerdict::Stored,
            5 | 6 => PutVerdict::Problem(Problem::ServerError),
            7 | 8 => PutVerdict::Problem(Problem::Timeout),
            _ => PutVerdict::Problem(Problem::RefusedKey),
        }
    }

    fn says_nothing_false(&self) {
        let Some(run) = &self.run else { return };
        let expiry = Expiry::of([&self.state], run, at(self.now));
        assert!(
            !expiry.is_safe() || self.shop.all_answer(run, self.now),
            "called expirable: {:?}",
            self.state
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_promised_that_a_cache_can_break(story in proptest::collection::vec(happens(), 1..80)) {
        let mut life = Life {
            shop: Shop { stored: key(0), caches: [const { None }; PROCESSES] },
            state: SiteState::default(),
            policy: Policy::default(),
            next: Next::Rest,
            now: 1000,
            run: None,
        };
        for event in story {
            life.happen(event);
            life.says_nothing_false();
        }
    }
}
