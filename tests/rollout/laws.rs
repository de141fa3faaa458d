use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use stripe_propagate::engine::{Attempts, Command, Settings};
use stripe_propagate::rules::outcome::Problem;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::rollout::{self, Canary, Pause, Share, StopAfter};
use stripe_propagate::rules::run::Halt;
use stripe_propagate::rules::state::Allow;
use stripe_propagate::rules::status::Verify;
use stripe_propagate::site::SiteId;

use super::world::{Asked, Play, Reply, key, sites};

/// What a site may say, in any order; most of it good.
const SAYS: [Reply; 12] = [
    Reply::Well,
    Reply::Well,
    Reply::Well,
    Reply::Well,
    Reply::Bad(Problem::Unavailable),
    Reply::Bad(Problem::ServerError),
    Reply::Bad(Problem::Timeout),
    Reply::Bad(Problem::Connect),
    Reply::Bad(Problem::RefusedKey),
    Reply::Bad(Problem::NoEndpoint),
    Reply::Bad(Problem::NotThisApi),
    Reply::Wait(Problem::RateLimited, 20),
];

/// An order that somebody gives in mid-run.
#[derive(Debug, Clone, Copy)]
enum Order {
    Pause,
    GoOn,
    Cancel,
    RetryAll,
    LookAtAll,
    PushAgain,
}

impl Order {
    fn of(self, play: &Play, rollout: &rollout::Settings) -> Command {
        let all = || (0..play.sites.len()).map(SiteId::at).collect();
        match self {
            Self::Pause => Command::Pause,
            Self::GoOn => Command::GoOn,
            Self::Cancel => Command::Cancel,
            Self::RetryAll => Command::Retry {
                sites: all(),
                allow: Allow::default(),
            },
            Self::LookAtAll => Command::Look {
                sites: all(),
                expected: None,
                attempts: Attempts::Policy,
                background: false,
            },
            Self::PushAgain => Command::Push(play.plan(rollout)),
        }
    }
}

fn orders() -> impl Strategy<Value = Vec<(u64, Order)>> {
    let order = prop_oneof![
        2 => Just(Order::Pause),
        4 => Just(Order::GoOn),
        1 => Just(Order::Cancel),
        2 => Just(Order::RetryAll),
        2 => Just(Order::LookAtAll),
        1 => Just(Order::PushAgain),
    ];
    proptest::collection::vec((0u64..120, order), 0..8)
}

fn rollouts() -> impl Strategy<Value = rollout::Settings> {
    let stop_after = prop_oneof![
        Just(StopAfter::Never),
        Just(StopAfter::default()),
        Just(StopAfter::Share(Share::Sites(2))),
    ];
    (0usize..3, any::<bool>(), any::<bool>(), stop_after).prop_map(|(canary, waves, asks, stop_after)| {
        rollout::Settings {
            canary: Canary::Share(Share::Sites(canary)),
            waves: if waves {
                vec![Share::Percent(30), Share::Percent(100)]
            } else {
                Vec::new()
            },
            pause: if asks { Pause::Ask } else { Pause::None },
            stop_after,
        }
    })
}

/// The reply and its time are fixed by the numbers, the site and the number of the request alone.
fn says(numbers: &[u8], asked: Asked) -> (Reply, Duration) {
    let place = asked.site * 7 + asked.number * 3 + usize::from(asked.is_put);
    let die = usize::from(numbers[place % numbers.len()]);
    let takes = if die.is_multiple_of(11) {
        40_000
    } else {
        20 + die as u64 * 13
    };
    (SAYS[die % SAYS.len()], Duration::from_millis(takes))
}

async fn plays(
    dice: Vec<u8>,
    backend: Option<&'static str>,
    rollout: rollout::Settings,
    orders: Vec<(u64, Order)>,
) -> Result<(), TestCaseError> {
    let policy = Policy::default();
    let retries = orders
        .iter()
        .filter(|(_, order)| matches!(order, Order::RetryAll | Order::PushAgain));
    // Each order of a push begins an operation of its own.
    let operations = u32::try_from(retries.count() + 1).unwrap();
    let behaviour = move |asked| says(&dice, asked);
    let mut play = Play::begins(sites(12, backend), behaviour, Settings::default(), &rollout);
    for (seconds, order) in orders {
        play.for_seconds(seconds).await;
        play.order(order.of(&play, &rollout));
    }
    // Somebody lets it go on until nothing holds it any more.
    for _ in 0..40 {
        play.for_seconds(600).await;
        play.order(Command::GoOn);
    }
    play.runs_to_its_end().await;
    // So does each word that sites are asked which were not, since others refuse their master key.
    let refusals = play
        .halts
        .iter()
        .filter(|halt| matches!(halt, Halt::RefusedKey { .. }));
    let operations = operations + u32::try_from(refusals.count()).unwrap();
    let record = play.world.record.lock().unwrap();
    let mut puts: BTreeMap<usize, u32> = BTreeMap::new();
    for put in record.puts() {
        *puts.entry(put.site).or_default() += 1;
    }
    for (site, count) in puts {
        prop_assert!(
            count <= operations * policy.attempts,
            "site {site} saw {count} PUTs"
        );
    }
    prop_assert_eq!(play.store.intents().len(), record.puts().count());
    for (index, state) in play.states.iter().enumerate() {
        prop_assert!(!state.is_busy() && !state.is_to_send(), "{state:?}");
        if state.verify == Verify::Verified {
            let last = |is_put: bool| {
                let of_site = record.asked.iter().filter(|asked| asked.site == index);
                of_site
                    .filter(|asked| asked.is_put == is_put)
                    .map(|asked| asked.at)
                    .fold(0.0, f64::max)
            };
            prop_assert_eq!(state.now.key(), Some(&key("New")));
            prop_assert!(
                last(false) >= last(true) + policy.settle.as_secs_f64(),
                "{state:?}"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever sites answer and whatever is ordered in mid-run: once somebody lets it go on, an end is reached, no site
    /// gets more PUTs than its operations may make, each has its intent, and what is verified is proven.
    #[test]
    fn any_run_comes_to_an_end_that_is_true(
        dice in proptest::collection::vec(any::<u8>(), 1..40),
        is_shared in any::<bool>(),
        rollout in rollouts(),
        orders in orders(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let backend = is_shared.then_some("server-1");
        runtime.block_on(plays(dice, backend, rollout, orders))?;
    }
}
