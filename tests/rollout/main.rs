//! How careful a run is with the fleet: canary, waves, halts, master keys on trial, weak backends. In virtual time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stripe_propagate::engine::{Command, Rates, Settings};
use stripe_propagate::rules::outcome::{Cause, Problem};
use stripe_propagate::rules::rollout::{self, Canary, Pause, Share, StopAfter};
use stripe_propagate::rules::run::{Halt, RunPhase};
use stripe_propagate::rules::state::Allow;
use stripe_propagate::site::{MasterKeyId, SiteId};
use stripe_propagate::store::Store;

mod gentle;
mod laws;
mod mended;
/// One worker, with chunks of two runs.
mod worker;
mod world;
use world::{Asked, Play, Reply, sites, well};

const SOON: Duration = Duration::from_millis(50);

fn all_at_once() -> rollout::Settings {
    rollout::Settings {
        canary: Canary::Share(Share::Sites(0)),
        stop_after: StopAfter::Never,
        ..rollout::Settings::default()
    }
}

fn begins(
    count: usize,
    behaviour: impl Fn(Asked) -> (Reply, Duration) + Send + Sync + 'static,
    rollout: &rollout::Settings,
) -> Play {
    Play::begins(sites(count, None), behaviour, Settings::default(), rollout)
}

#[tokio::test(start_paused = true)]
async fn nobody_else_is_sent_a_key_that_the_canary_does_not_serve() {
    let fails = |asked: Asked| {
        if asked.is_put {
            (Reply::Bad(Problem::SaysNotStored), SOON)
        } else {
            well(asked)
        }
    };
    let mut play = begins(50, fails, &rollout::Settings::default());
    play.until(RunPhase::Halted).await;
    assert_eq!(play.halts, [Halt::Canary]);
    assert_eq!(play.sites_with_a_put(), 1);
    assert_eq!(play.count("not_started", "unchecked"), 49);
    // Halted is not ended: somebody may say that it goes on.
    assert_eq!(play.run.as_ref().unwrap().halt, Some(Halt::Canary));
    play.order(Command::GoOn);
    play.runs_to_its_end().await;
    assert_eq!(play.sites_with_a_put(), 50);
}

#[tokio::test(start_paused = true)]
async fn the_rest_waits_until_the_canary_serves_the_key_and_not_for_its_proof() {
    let mut play = begins(50, well, &rollout::Settings::default());
    play.runs_to_its_end().await;
    assert_eq!(play.count("stored", "verified"), 50);
    let record = play.world.record.lock().unwrap();
    let canary = record.puts().next().unwrap().site;
    let seen = record
        .asked
        .iter()
        .filter(|asked| asked.site == canary && !asked.is_put)
        .nth(1)
        .unwrap()
        .at;
    let second = record.puts().nth(1).unwrap().at;
    assert!(
        seen < second && second < 5.0,
        "seen at {seen}, the next PUT at {second}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_halts_within_the_requests_that_are_out_when_too_many_fail() {
    let every_fifth = |asked: Asked| match (asked.is_put, asked.site % 5) {
        (true, 0) => (Reply::Bad(Problem::NoEndpoint), SOON),
        _ => well(asked),
    };
    let rollout = rollout::Settings {
        stop_after: StopAfter::default(),
        ..all_at_once()
    };
    let settings = Settings {
        concurrency: 8,
        ..Settings::default()
    };
    let mut play = Play::begins(sites(400, None), every_fifth, settings, &rollout);
    play.until(RunPhase::Halted).await;
    assert_eq!(play.halts, [Halt::StopAfter { failed: 20, of: 400 }]);
    let failed = play.count("failed", "unchecked");
    let begun = play.sites_with_a_put();
    assert!(
        (20..28).contains(&failed) && begun <= 100 + 8,
        "{failed} failed of {begun}"
    );
    // Somebody says that it goes on: the same failures do not halt it again, as many more do.
    play.order(Command::GoOn);
    play.until(RunPhase::Sending).await;
    play.until(RunPhase::Halted).await;
    assert_eq!(play.halts.len(), 2);
    play.order(Command::Cancel);
    play.runs_to_its_end().await;
    assert!(play.count("cancelled", "unchecked") > 150);
}

#[tokio::test(start_paused = true)]
async fn sites_that_did_not_answer_before_halt_nothing() {
    let dead = |asked: Asked| {
        if asked.site < 30 {
            (Reply::Bad(Problem::Connect), SOON)
        } else {
            well(asked)
        }
    };
    let rollout = rollout::Settings {
        stop_after: StopAfter::default(),
        ..all_at_once()
    };
    let world = sites(60, None);
    let mut play = Play::begins(Arc::clone(&world), dead, Settings::default(), &all_at_once());
    play.until(RunPhase::Settling).await;
    // They are known not to answer by now.
    play.order(Command::Push(play.plan(&rollout)));
    play.runs_to_its_end().await;
    assert_eq!(play.halts, []);
    assert_eq!(
        play.count("failed", "failed") + play.count("failed", "unchecked"),
        30
    );
}

#[tokio::test(start_paused = true)]
async fn each_wave_waits_for_the_last_and_asks_where_it_is_told_to() {
    let rollout = rollout::Settings {
        canary: Canary::Share(Share::Sites(2)),
        waves: vec![Share::Percent(50), Share::Percent(100)],
        pause: Pause::Ask,
        ..rollout::Settings::default()
    };
    let mut play = begins(20, well, &rollout);
    for (wave, sent) in [(1, 2), (2, 10)] {
        play.until(RunPhase::Paused).await;
        assert_eq!(play.halts.last(), Some(&Halt::NextWave { wave, of: 3 }));
        assert_eq!(play.sites_with_a_put(), sent);
        assert_eq!(play.count("queued", "unchecked"), 20 - sent);
        play.order(Command::GoOn);
        play.until(RunPhase::Sending).await;
    }
    play.runs_to_its_end().await;
    assert_eq!(play.count("stored", "verified"), 20);
    let waves: Vec<usize> = play.states.iter().map(|state| state.wave.unwrap()).collect();
    assert_eq!(
        [0, 1, 2].map(|wave| waves.iter().filter(|&&of| of == wave).count()),
        [2, 8, 10]
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_master_key_is_found_on_two_sites() {
    let refuses = |asked: Asked| {
        if asked.is_put {
            (Reply::Bad(Problem::RefusedKey), SOON)
        } else {
            well(asked)
        }
    };
    let mut play = begins(100, refuses, &all_at_once());
    play.until(RunPhase::Halted).await;
    assert_eq!(
        play.run.as_ref().unwrap().halt,
        Some(Halt::RefusedKey {
            sites: 98,
            others_took: false,
        })
    );
    assert_eq!(play.sites_with_a_put(), 2);
    assert_eq!(
        play.halts,
        [Halt::RefusedKey {
            sites: 98,
            others_took: false,
        }]
    );
    assert_eq!(play.count("not_started", "unchecked"), 98);
    let causes = play
        .states
        .iter()
        .filter(|state| state.cause() == Some(Cause::RefusedKey));
    assert_eq!(causes.count(), 100);
    // What was not asked is left over when the process ends: the run can be taken up with the right key.
    assert_eq!(play.store.reopen().unfinished_runs().await.unwrap().len(), 1);
    let sites = (0..100).map(SiteId::at).collect();
    play.order(Command::Retry {
        sites,
        allow: Allow::default(),
    });
    play.until(RunPhase::Sending).await;
    play.until(RunPhase::Halted).await;
    assert!(play.sites_with_a_put() <= 4, "the key is on trial again");
    play.order(Command::GoOn);
    play.until(RunPhase::Sending).await;
    play.until(RunPhase::Halted).await;
    assert!(play.sites_with_a_put() <= 6, "and again");
    play.order(Command::Cancel);
    play.until(RunPhase::Settled).await;
    assert_eq!(play.run.as_ref().unwrap().halt, None);
    assert!(play.count("cancelled", "unchecked") >= 94);
}

#[tokio::test(start_paused = true)]
async fn a_master_key_that_is_refused_halts_what_uses_it_until_somebody_decides() {
    let mended = Arc::new(AtomicBool::new(false));
    let mends = Arc::clone(&mended);
    let refuses = move |asked: Asked| match (asked.is_put, asked.site) {
        (true, 0..20) if !mends.load(Ordering::SeqCst) => (Reply::Bad(Problem::RefusedKey), SOON),
        _ => well(asked),
    };
    let mut of_two_keys = sites(40, None).to_vec();
    for site in &mut of_two_keys[20..] {
        site.master_key = MasterKeyId(1);
    }
    let mut play = Play::begins(of_two_keys.into(), refuses, Settings::default(), &all_at_once());
    play.until(RunPhase::Halted).await;
    play.for_seconds(600).await;
    // Those with another key have their proof, and the halt still stands.
    assert_eq!(play.count("stored", "verified"), 20);
    let run = play.run.clone().unwrap();
    assert_eq!(
        (run.phase, run.halt),
        (
            RunPhase::Halted,
            Some(Halt::RefusedKey {
                sites: 18,
                others_took: false,
            })
        )
    );
    mended.store(true, Ordering::SeqCst);
    play.order(Command::GoOn);
    play.until(RunPhase::Sending).await;
    play.until(RunPhase::Settled).await;
    assert_eq!(play.count("stored", "verified"), 38);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_accepted_halts_nobody_however_many_refuse_it() {
    let some = |asked: Asked| match (asked.is_put, asked.site % 2) {
        (true, 1) => (Reply::Bad(Problem::RefusedKey), SOON),
        _ => well(asked),
    };
    let mut play = begins(40, some, &all_at_once());
    play.runs_to_its_end().await;
    assert_eq!(play.halts, []);
    assert_eq!(
        (play.count("stored", "verified"), play.sites_with_a_put()),
        (20, 40)
    );
}

#[tokio::test(start_paused = true)]
async fn a_site_that_hangs_does_not_hold_up_the_trial_of_the_key() {
    let hangs = |asked: Asked| match (asked.is_put, asked.site) {
        (true, 0 | 1) => (Reply::Bad(Problem::Timeout), Duration::from_secs(35)),
        _ => well(asked),
    };
    let mut play = begins(40, hangs, &all_at_once());
    play.runs_to_its_end().await;
    let record = play.world.record.lock().unwrap();
    let late = record.puts().filter(|put| put.site > 1 && put.at > 4.0).count();
    assert_eq!(late, 0, "passed over after 2 s");
    let third = record.puts().nth(2).unwrap().at;
    assert!((2.0..3.0).contains(&third), "the third PUT at {third}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_for_all_calls() {
    let settings = Settings {
        rate: Rates {
            overall: Some(10.0),
            per_backend: None,
        },
        ..Settings::default()
    };
    let mut play = Play::begins(sites(20, None), well, settings, &all_at_once());
    play.runs_to_its_end().await;
    let record = play.world.record.lock().unwrap();
    let first = record.asked.iter().filter(|asked| asked.at < 5.0).count();
    assert!(first <= 51, "{first} calls in 5 s");
    assert_eq!(record.sites_with_a_put(), 20);
}
