//! Questions with a few answers.

use crossterm::event::{KeyCode, KeyEvent};
use stripe_propagate::engine::{Event, RunInfo};
use stripe_propagate::rules::outcome::LookVerdict;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::{Allow, Call, LeftRow, Served, SiteState};
use stripe_propagate::store::{Operator, RunId, RunRecord};
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::{Input, Message};

use super::stories::{Story, amid_a_run, answer, record, run};
use super::trial::{Display, NAMES, Trial, at, key, new_key};

/// A run in this phase, and a key that is pressed.
fn in_phase(display: Display, phase: RunPhase, press: &str) -> Trial {
    let mut screen = amid_a_run(display);
    screen.tell(Message::Engine(Event::Run(run(phase)))).types(press);
    screen
}

/// What now, of a run that is paused?
pub(super) fn pause(display: Display) -> Trial {
    in_phase(display, RunPhase::Sending, "c")
}

/// A run is sending.
pub(super) fn quit(display: Display) -> Trial {
    in_phase(display, RunPhase::Sending, "q")
}

/// A run is paused.
pub(super) fn quit_a_paused_run(display: Display) -> Trial {
    in_phase(display, RunPhase::Paused, "q")
}

/// Proofs are due.
pub(super) fn quit_before_the_proofs(display: Display) -> Trial {
    in_phase(display, RunPhase::Settling, "q")
}

/// The field holds another key than the run.
pub(super) fn which_key(display: Display) -> Trial {
    let mut screen = amid_a_run(display);
    let other = RunInfo {
        key: key("live", "0ddK"),
        ..run(RunPhase::Settled)
    };
    screen.tell(Message::Engine(Event::Run(other))).types("R");
    screen
}

/// A site that serves a key of the other mode, which holds it back.
fn held_back() -> SiteState {
    let test_key = key("test", "0000");
    let policy = Policy::default();
    let mut state = Story::serving(&test_key).0;
    state.order_push(new_key(), Allow::default(), false, at(10));
    state.calling(Call::LookBefore, &policy, at(12));
    let shows = answer(LookVerdict::Serves(test_key), 200, "");
    state.looked_before(&shows, &policy, at(12), 0.5);
    state
}

/// What was held back is pushed all the same?
pub(super) fn held_back_sites(display: Display) -> Trial {
    let mut screen = Trial::new(&NAMES, display, |start| start.key = Some(new_key()));
    screen.now = 14;
    screen.tell(Message::Engine(Event::Run(run(RunPhase::Settled))));
    screen.state(5, held_back()).types("R");
    screen
}

/// What was cancelled is sent again?
pub(super) fn cancelled_sites(display: Display) -> Trial {
    let mut screen = Trial::new(&NAMES, display, |start| start.key = Some(new_key()));
    screen.now = 14;
    screen.tell(Message::Engine(Event::Run(run(RunPhase::Settled))));
    for place in [1, 4] {
        let mut story = Story::serving(&key("live", "9zQe")).queued();
        story.0.cancel(&Policy::default(), at(14));
        screen.state(place, story.0);
    }
    screen.types("R");
    screen
}

/// A run that a process before has left.
pub(super) fn unfinished(display: Display) -> Trial {
    let mut screen = Trial::new(&NAMES, display, |_| {});
    screen.now = 26 * 3600;
    left_behind(&mut screen);
    screen
}

pub(super) fn left_behind(screen: &mut Trial) {
    for place in 0..5 {
        let old = key("live", "9zQe");
        let mut state = Story::serving(&old).0;
        let row = LeftRow {
            run: RunId(12),
            key: new_key(),
            allow: Allow::default(),
            began: at(10),
            serves: Served::Key(old),
        };
        if place < 2 {
            state.put_left_open(row, 1, &Policy::default(), at(12));
        } else {
            state.not_reached(row, at(12));
        }
        screen.state(place, state);
    }
    let by = Operator {
        user: CleanText::note("zoë"),
        ..Operator::default()
    };
    screen.tell(Message::Left(Box::new(RunRecord {
        by,
        ..record(12, new_key(), 0)
    })));
}

/// Its key may have been replaced since.
pub(super) fn old_run(display: Display) -> Trial {
    let mut screen = unfinished(display);
    screen.types("g");
    screen
}

#[test]
fn a_question_is_about_what_its_story_says() {
    let shows = |mut screen: Trial, text: &str| {
        let picture = screen.picture();
        assert!(picture.contains(text), "{text}: {picture}");
    };
    let display = || Display::from((120, 40));
    shows(pause(display()), " paused ─");
    shows(quit(display()), "A run is sending.");
    shows(quit_a_paused_run(display()), "The run is paused.");
    shows(quit_before_the_proofs(display()), "Proofs are still due.");
    shows(which_key(display()), " which key ─");
    shows(held_back_sites(display()), "held back: push all the same?");
    shows(cancelled_sites(display()), "cancelled");
    shows(unfinished(display()), " unfinished run ─");
    shows(old_run(display()), " an old run ─");
}

#[test]
fn a_question_that_comes_up_by_itself_takes_no_letter_of_what_is_typed() {
    let amid = |typed: &str| {
        let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
        screen.types(typed);
        left_behind(&mut screen);
        screen
    };
    let press = |letter| {
        let event = KeyEvent::from(KeyCode::Char(letter));
        Message::Input(vec![Input::Key(event)])
    };
    // Into the filter: the question waits for `o`, and the letter is one of the filter.
    let mut screen = amid("/gal");
    assert_eq!(screen.tell_effects(&press('g')), []);
    let picture = screen.picture();
    assert!(
        picture.contains("galg") && !picture.contains("look at the unknown"),
        "{picture}"
    );
    // Between two keys of the table: what is pressed at once is dropped.
    let mut screen = amid("jj");
    assert!(screen.picture().contains("look at the unknown"));
    assert_eq!(screen.tell_effects(&press('g')), []);
    screen.now += 1;
    assert_eq!(screen.tell_effects(&press('g')).len(), 1);
    // Nobody typed: it is answered at once.
    let mut screen = amid("");
    assert_eq!(screen.tell_effects(&press('g')).len(), 1);
}

#[test]
fn one_read_answers_one_question() {
    // The run is old: its key is asked about once more.
    let mut screen = unfinished(Display::from((120, 40)));
    let keys = ['g', 'y'].map(|letter| Input::Key(KeyEvent::from(KeyCode::Char(letter))));
    assert_eq!(screen.tell_effects(&Message::Input(keys.to_vec())), []);
    let picture = screen.picture();
    assert!(picture.contains(" an old run ─"), "{picture}");
}
