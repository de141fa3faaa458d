//! What somebody does behind a halt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stripe_propagate::engine::{Attempts, Command, LeftRun, Settings};
use stripe_propagate::rules::acknowledgement::Acknowledgement;
use stripe_propagate::rules::outcome::Problem;
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::rollout::{self, StopAfter};
use stripe_propagate::rules::run::{Halt, Kind, RunId, RunPhase};
use stripe_propagate::rules::state::Allow;
use stripe_propagate::site::SiteId;
use stripe_propagate::text::CleanText;

use super::world::{Asked, Play, Reply, key, sites, well};
use super::{SOON, all_at_once, begins};

/// The first two PUTs of each site are not stored.
fn stores_the_third(asked: Asked) -> (Reply, Duration) {
    if asked.is_put && asked.number < 3 {
        (Reply::Bad(Problem::SaysNotStored), SOON)
    } else {
        well(asked)
    }
}

fn retry(play: &Play, only: impl Fn(usize) -> bool) -> Command {
    Command::Retry {
        sites: (0..play.sites.len())
            .filter(|index| only(*index))
            .map(SiteId::at)
            .collect(),
        allow: Allow::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_is_tried_again_lets_nobody_go_before_it_serves() {
    let mut play = begins(20, stores_the_third, &rollout::Settings::default());
    play.until(RunPhase::Halted).await;
    let canary = play.world.record.lock().unwrap().puts().next().unwrap().site;
    for _ in 0..2 {
        assert_eq!(
            (play.halts.last(), play.sites_with_a_put()),
            (Some(&Halt::Canary), 1)
        );
        play.order(retry(&play, |index| index == canary));
        play.until(RunPhase::Sending).await;
        play.for_seconds(20).await;
    }
    // The third one is stored: the rest follows by itself, and each of it fails.
    assert_eq!(play.halts[..2], [Halt::Canary, Halt::Canary]);
    assert!(play.halts[2..].iter().all(|halt| *halt != Halt::Canary));
    assert!(play.sites_with_a_put() > 1);
}

#[tokio::test(start_paused = true)]
async fn a_look_at_what_failed_halts_nothing_a_second_time() {
    let every_fifth = |asked: Asked| {
        if asked.is_put && asked.site.is_multiple_of(5) {
            (Reply::Bad(Problem::NoEndpoint), SOON)
        } else {
            well(asked)
        }
    };
    let rollout = rollout::Settings {
        stop_after: StopAfter::default(),
        ..all_at_once()
    };
    let mut play = begins(100, every_fifth, &rollout);
    play.until(RunPhase::Halted).await;
    assert_eq!(play.halts.len(), 1);
    play.order(Command::GoOn);
    play.order(Command::Pause);
    play.order(Command::Look {
        sites: (0..100).map(SiteId::at).collect(),
        expected: None,
        attempts: Attempts::One,
        background: false,
    });
    play.for_seconds(5).await;
    play.order(Command::GoOn);
    play.for_seconds(1).await;
    let again = play.halts.len() - 1;
    // Ten more sites fail, each five of which would halt it again: those before do not.
    assert!(again <= 3, "halted {again} times for the same sites");
}

/// They are asked first, and four others do not answer well: the rest took it in the run before.
#[tokio::test(start_paused = true)]
async fn two_sites_with_another_master_key_hold_up_no_retry_of_the_others() {
    let some = |asked: Asked| match (asked.is_put, asked.site) {
        (true, 38 | 39) => (Reply::Bad(Problem::RefusedKey), SOON),
        (true, 34..38) if asked.number <= 3 => (Reply::Bad(Problem::NoEndpoint), SOON),
        _ => well(asked),
    };
    let rollout = all_at_once();
    let mut play = Play::begins(sites(40, None), some, Settings::default(), &rollout);
    play.until(RunPhase::Settled).await;
    let failed: Vec<SiteId> = (34..40).rev().map(SiteId::at).collect();
    // In another process, as another run: until they answer well.
    for _ in 0..3 {
        play = play.dies().await;
        let state = |id: SiteId| &play.states[id.index()];
        let left: Vec<_> = failed.iter().map(|site| (*site, key("New"))).collect();
        let again = Plan::retry(Some(RunId(1)), &left, &play.sites, state, Allow::default());
        play.order(Command::Push(again.unwrap()));
        play.until(RunPhase::Settled).await;
        assert_eq!(play.halts, []);
    }
    assert_eq!(play.count("stored", "verified"), 38);
}

#[tokio::test(start_paused = true)]
async fn what_is_unknown_stays_so_where_it_is_not_asked() {
    let refused = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&refused);
    let some = move |asked: Asked| match (asked.is_put, told.load(Ordering::SeqCst)) {
        (_, false) => (Reply::Bad(Problem::Timeout), Duration::from_secs(35)),
        (true, true) => (Reply::Bad(Problem::RefusedKey), SOON),
        _ => well(asked),
    };
    let rollout = all_at_once();
    let mut play = begins(10, some, &rollout);
    play.until(RunPhase::Settled).await;
    let unknown = |play: &Play| {
        let words = play.states.iter().map(|state| state.push.look().word);
        words.filter(|word| *word == "unknown").count()
    };
    assert_eq!(unknown(&play), 10);
    refused.store(true, Ordering::SeqCst);
    play = play.dies().await;
    play.order(Command::Push(play.plan(&rollout)));
    play.until(RunPhase::Halted).await;
    assert_eq!(unknown(&play), 8, "all but the two that were asked");
    play.order(Command::Cancel);
    play.until(RunPhase::Settled).await;
    assert_eq!(unknown(&play), 8, "nobody has found out meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_site_that_is_known_to_be_bad_halts_nothing() {
    let bad = |asked: Asked| {
        if asked.is_put && asked.site < 10 {
            (Reply::Bad(Problem::NoEndpoint), SOON)
        } else {
            well(asked)
        }
    };
    let rollout = rollout::Settings {
        stop_after: StopAfter::default(),
        ..all_at_once()
    };
    let mut play = begins(20, bad, &all_at_once());
    play.until(RunPhase::Settling).await;
    let known = Acknowledgement {
        reason: CleanText::note("being moved"),
        until: None,
        by: CleanText::note("ops"),
        at: play.world.clock.now().wall,
    };
    play.order(Command::Acknowledge {
        sites: (0..10).map(SiteId::at).collect(),
        acknowledgement: Some(known),
    });
    play.order(Command::Push(play.plan(&rollout)));
    play.runs_to_its_end().await;
    assert_eq!(play.halts, []);
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_up_has_its_canary_and_a_retry_has_none() {
    let fails = |asked: Asked| {
        if asked.is_put && asked.number == 1 {
            (Reply::Bad(Problem::SaysNotStored), SOON)
        } else {
            well(asked)
        }
    };
    for (kind, sent) in [(Kind::Push, 2), (Kind::Retry, 20)] {
        let mut play = begins(20, fails, &rollout::Settings::default());
        play.until(RunPhase::Halted).await;
        play.order(Command::Leave);
        play.runs_to_its_end().await;
        let mut next = play.dies().await;
        let run = LeftRun {
            id: RunId(1),
            kind,
            key: key("New"),
            began: next.world.clock.now(),
            sites: Vec::new(),
        };
        next.order(Command::Resume(run));
        next.for_seconds(60).await;
        assert_eq!(next.sites_with_a_put(), sent, "{kind:?}");
    }
}
