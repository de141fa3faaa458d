//! What is told of a run while it goes on, and of one that went on while nobody looked.

use std::time::Duration;

use crossterm::event::KeyCode;
use stripe_propagate::engine::{Attempt, Event, Level, Message as Told, RunInfo};
use stripe_propagate::rules::outcome::{Cause, LookVerdict, PutVerdict};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::SiteState;
use stripe_propagate::site::SiteId;
use stripe_propagate::store::{Request, RunId};
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::Message;
use stripe_propagate::tui::model::Start;

use super::stories::{Story, amid_a_run, back_after_a_drop, holder, run, with_latencies};
use super::trial::{Display, Trial, at, key, new_key};

fn ended(start: &mut Start) {
    start.run = Some(RunInfo {
        ended: Some(at(420)),
        ..run(RunPhase::Settled)
    });
}

/// The messages of a screen that is back after a drop.
pub(super) fn meanwhile(display: impl Into<Display>) -> Trial {
    let mut screen = back_after_a_drop(display, ended);
    screen.types("m");
    screen
}

#[test]
fn the_newest_failure_stays_until_its_site_is_well_or_a_run_begins() {
    let mut screen = with_latencies((120, 40));
    let failure = |screen: &mut Trial| {
        let picture = screen.picture();
        let line = picture.lines().find(|line| line.starts_with(" newest failure "));
        line.map(str::to_owned)
    };
    let newest = " newest failure 14:00:37 galerie-sud PUT 1: is broken just now (503)";
    assert_eq!(failure(&mut screen).as_deref(), Some(newest));
    // Whatever is said meanwhile.
    screen.types("e").press(KeyCode::Esc).types("r");
    let old = key("live", "9zQe");
    let stored = |showing| {
        Story::serving(&old)
            .answered(PutVerdict::Stored, 200, "")
            .shows(14, LookVerdict::Serves(showing))
    };
    screen.state(0, stored(new_key()).0);
    assert_eq!(
        failure(&mut screen).as_deref(),
        Some(newest),
        "another site is well"
    );
    screen.state(2, stored(key("live", "0ddK")).0);
    let other = " newest failure 14:00:14 port-ouest mismatch: ";
    assert!(failure(&mut screen).unwrap().starts_with(other));
    screen.state(2, stored(new_key()).0);
    assert_eq!(failure(&mut screen).as_deref(), Some(newest), "it is not mended");
    screen.state(1, stored(new_key()).0);
    assert_eq!(failure(&mut screen), None);
    let mut screen = with_latencies((120, 40));
    let next = RunInfo {
        id: RunId(13),
        ..run(RunPhase::Sending)
    };
    screen.tell(Message::Engine(Event::Run(next)));
    let picture = screen.picture();
    assert!(
        !picture.contains("newest failure") && !picture.contains("p50"),
        "{picture}"
    );
}

#[test]
fn the_gauge_stays_behind_the_run_with_its_state() {
    let mut screen = with_latencies((80, 24));
    for phase in [
        RunPhase::Paused,
        RunPhase::Halted,
        RunPhase::Settling,
        RunPhase::Settled,
    ] {
        screen.tell(Message::Engine(Event::Run(run(phase))));
        let picture = screen.picture();
        let gauge = picture.lines().nth(22).unwrap();
        assert!(gauge.contains(&format!("done 3/9  {}", phase.word())), "{gauge}");
    }
}

#[test]
fn on_eighty_columns_no_count_that_needs_attention_is_cut_off() {
    let old = key("live", "9zQe");
    let mut screen = amid_a_run((80, 24));
    let mut cancelled = Story::serving(&old).queued();
    cancelled.0.cancel(&Policy::default(), at(14));
    screen.state(4, cancelled.0);
    let none = Story(SiteState::default()).looks(0, LookVerdict::NoKey, 404);
    screen.state(3, none.0);
    let picture = screen.picture();
    let gauge = picture.lines().nth(22).unwrap();
    for count in [
        "! secret 1",
        "✗ fail 1",
        "≠ mismatch 1",
        "↻ 1",
        "∅ no_key 1",
        "■ cancel 1",
    ] {
        assert!(gauge.contains(count), "{count} in {gauge}");
    }
}

#[test]
fn after_a_return_what_happened_meanwhile_comes_first() {
    assert!(meanwhile((80, 24)).picture().contains("while away"));
    // Who was there at the end is told nothing.
    let seen = back_after_a_drop((80, 24), |start| {
        ended(start);
        start.away_since = None;
    });
    let later = back_after_a_drop((80, 24), |start| {
        ended(start);
        start.away_since = Some(at(500));
    });
    for mut screen in [seen, later] {
        assert!(!screen.types("m").picture().contains("while away"));
    }
}

#[test]
fn a_run_that_went_on_tells_what_happened_meanwhile_and_its_old_messages_are_no_news() {
    let mut screen = back_after_a_drop((120, 40), |_| {});
    let message = |seconds, text: &str| {
        Message::Engine(Event::Message(Told {
            at: at(seconds),
            level: Level::Warning,
            text: text.to_owned(),
        }))
    };
    let attempt = Attempt {
        run: Some(RunId(12)),
        site: SiteId(0),
        request: Request::Put,
        number: 1,
        at: at(13),
        took: Duration::from_millis(55),
        http: Some(401),
        cause: Some(Cause::RefusedKey),
        note: CleanText::note("refuses the master key"),
    };
    screen.tell(Message::Attached(Some(holder())));
    screen.tell(Message::Engine(Event::Run(run(RunPhase::Settling))));
    screen.tell(message(300, "the second of its messages"));
    screen.tell(message(200, "the first of its messages"));
    screen.tell(Message::Engine(Event::Attempt(attempt.clone())));
    // Something that happens all the time leaves the sentence there, for as long as nobody presses a key.
    screen.now = 700;
    screen.tell(Message::Engine(Event::Attempt(Attempt {
        at: at(700),
        ..attempt
    })));
    let line = Trial::picture;
    let expected =
        "since 14:00:11, while away: run 12 has sent all, proofs are due; 1 failed, 1 mismatch, 7 verified";
    assert!(line(&mut screen).contains(expected), "{}", line(&mut screen));
    insta::assert_snapshot!("meanwhile_attached", screen.types("m").picture());
    screen.now = 710;
    screen.press(KeyCode::Esc).tell(message(710, "what is new"));
    assert!(line(&mut screen).contains("what is new"));
}
