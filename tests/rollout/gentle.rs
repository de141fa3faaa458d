use std::time::Duration;

use stripe_propagate::engine::{Rates, Settings};
use stripe_propagate::rules::outcome::Problem;
use stripe_propagate::rules::retry::Policy;

use super::world::{Asked, Play, Reply, sites, well};
use super::{SOON, all_at_once};

const ONE_BACKEND: Option<&str> = Some("server-1");

fn sixteen() -> Settings {
    Settings {
        per_backend: 16,
        ..Settings::default()
    }
}

#[tokio::test(start_paused = true)]
async fn sites_of_a_weak_backend_are_all_verified() {
    for problem in [Problem::Unavailable, Problem::ServerError] {
        let weak = move |asked: Asked| {
            if asked.at_once > 4 {
                (Reply::Bad(problem), SOON)
            } else {
                well(asked)
            }
        };
        let mut play = Play::begins(sites(200, ONE_BACKEND), weak, sixteen(), &all_at_once());
        play.runs_to_its_end().await;
        assert_eq!(play.count("stored", "verified"), 200, "{problem:?}");
        let shown = &play.backends["server-1"];
        assert!(
            shown.iter().any(|shown| shown.at_once == 1),
            "it got fewer calls at once"
        );
        assert!(shown.iter().all(|shown| shown.at_once <= 16));
        // What is told last is of now.
        let asked = play.world.record.lock().unwrap().asked.len();
        assert_eq!(shown.last().map(|shown| shown.calls), Some(asked));
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_holds_the_whole_backend() {
    let asks_once = |asked: Asked| match (asked.is_put, asked.site, asked.number) {
        (true, 0, 1) => (Reply::Wait(Problem::RateLimited, 60), SOON),
        _ => well(asked),
    };
    let mut play = Play::begins(
        sites(20, ONE_BACKEND),
        asks_once,
        Settings::default(),
        &all_at_once(),
    );
    play.runs_to_its_end().await;
    assert_eq!(play.count("stored", "verified"), 20);
    let record = play.world.record.lock().unwrap();
    let asked_at = record.puts().find(|put| put.site == 0).unwrap().at;
    let held = record
        .asked
        .iter()
        .filter(|asked| asked.at > asked_at + 0.2 && asked.at < asked_at + 60.0);
    assert_eq!(held.count(), 0, "nobody was asked for a minute");
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_of_several_sites_open_the_breaker() {
    let down_for_a_while = |asked: Asked| {
        if asked.at < 100.0 {
            (Reply::Bad(Problem::Connect), SOON)
        } else {
            well(asked)
        }
    };
    let mut play = Play::begins(
        sites(100, ONE_BACKEND),
        down_for_a_while,
        Settings::default(),
        &all_at_once(),
    );
    play.runs_to_its_end().await;
    let record = play.world.record.lock().unwrap();
    let while_down = record.asked.iter().filter(|asked| asked.at < 100.0).count();
    assert!(while_down <= 10, "{while_down} calls to a backend that is down");
    let open = play.backends["server-1"]
        .iter()
        .filter_map(|shown| shown.open_until);
    assert!(open.count() >= 2, "opened, and again for longer");
    assert_eq!(play.count("stored", "verified"), 100);
}

#[tokio::test(start_paused = true)]
async fn one_site_that_fails_opens_no_breaker() {
    let one = |asked: Asked| match asked.site {
        0 => (Reply::Bad(Problem::Connect), SOON),
        _ => well(asked),
    };
    let settings = Settings {
        policy: Policy {
            attempts: 20,
            ..Policy::default()
        },
        ..Settings::default()
    };
    let mut play = Play::begins(sites(2, ONE_BACKEND), one, settings, &all_at_once());
    play.runs_to_its_end().await;
    assert!(
        play.backends
            .values()
            .flatten()
            .all(|shown| shown.open_until.is_none())
    );
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_never_answers_well_has_an_end_too() {
    let broken = |asked: Asked| {
        if asked.is_put {
            (Reply::Bad(Problem::ServerError), SOON)
        } else {
            well(asked)
        }
    };
    let mut play = Play::begins(
        sites(100, ONE_BACKEND),
        broken,
        Settings::default(),
        &all_at_once(),
    );
    play.runs_to_its_end().await;
    let given_up = play.states.iter().filter(|state| state.push.cause().is_some());
    assert_eq!(given_up.count(), 100);
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_a_backend_holds_on_the_whole() {
    let settings = Settings {
        rate: Rates {
            overall: None,
            per_backend: Some(1.0),
        },
        ..Settings::default()
    };
    let mut play = Play::begins(sites(10, ONE_BACKEND), well, settings, &all_at_once());
    play.runs_to_its_end().await;
    let record = play.world.record.lock().unwrap();
    let first = record.asked.iter().filter(|asked| asked.at < 20.0).count();
    assert!(first <= 22, "{first} calls in 20 s");
    assert_eq!(record.sites_with_a_put(), 10);
}

#[tokio::test(start_paused = true)]
async fn retries_are_at_most_a_fifth_of_a_shared_backends_calls() {
    let flaky = |asked: Asked| match (asked.is_put, asked.site % 2, asked.number) {
        (true, 0, 1 | 2) => (Reply::Bad(Problem::TryAgain), SOON),
        _ => (Reply::Well, Duration::from_millis(200)),
    };
    let mut play = Play::begins(
        sites(300, ONE_BACKEND),
        flaky,
        Settings::default(),
        &all_at_once(),
    );
    play.runs_to_its_end().await;
    assert_eq!(
        play.count("stored", "verified"),
        300,
        "an end is reached all the same"
    );
    let record = play.world.record.lock().unwrap();
    let last_first = record
        .puts()
        .filter(|put| put.number == 1)
        .map(|put| put.at)
        .fold(0.0, f64::max);
    let busy = record.asked.iter().filter(|asked| asked.at <= last_first);
    let (calls, retries) = busy.fold((0, 0), |(calls, retries), asked| {
        (calls + 1, retries + usize::from(asked.is_put && asked.number > 1))
    });
    assert!(
        calls > 200 && retries * 5 <= calls + 10 + 50,
        "{retries} of {calls}"
    );
}

#[tokio::test(start_paused = true)]
async fn retries_beyond_the_budget_go_though_nothing_else_is_left_to_call() {
    let flaky = |asked: Asked| match (asked.is_put, asked.site % 2, asked.number) {
        (true, 0, 1 | 2) => (Reply::Bad(Problem::TryAgain), SOON),
        _ => (Reply::Well, Duration::from_millis(200)),
    };
    // No look comes later, which would make them ready.
    let settings = Settings {
        policy: Policy {
            settle: Duration::ZERO,
            ..Policy::default()
        },
        ..Settings::default()
    };
    let mut play = Play::begins(sites(60, ONE_BACKEND), flaky, settings, &all_at_once());
    play.runs_to_its_end().await;
    assert_eq!(play.count("stored", "verified"), 60);
}
