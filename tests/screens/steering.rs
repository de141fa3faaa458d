//! What may be steered from a screen, by which keys, and what becomes of a run that is left.

use crossterm::event::{KeyCode, KeyEvent};
use stripe_propagate::config::{self, Place};
use stripe_propagate::engine::{Command, Event};
use stripe_propagate::rules::run::{Halt, RunPhase};
use stripe_propagate::tui::actions::bound;
use stripe_propagate::tui::keys::Bindings;
use stripe_propagate::tui::model::Clipboard;
use stripe_propagate::tui::setup::{SetupNews, SetupOrder};
use stripe_propagate::tui::update::update;
use stripe_propagate::tui::{Effect, Input, Leave, Message, Reading, Wanted};

use super::stories::{amid_a_run, holder, record, run};
use super::trial::{Display, NAMES, Trial, at, new_key};

const READ_ONLY: &str = "this screen is read-only";

fn keys(text: &str) -> Bindings {
    let place = Place {
        path: "c.toml".as_ref(),
        home: None,
        owner_only: false,
    };
    bound(&config::parse(&format!("[keys]\n{text}"), place).unwrap()).unwrap()
}

fn pressed(screen: &mut Trial, letter: char) -> Vec<Effect> {
    let press = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char(letter)))]);
    update(&mut screen.screen, press, at(14))
}

/// On the run of another process, which it only watches.
pub(super) fn watching(display: impl Into<Display>) -> Trial {
    let display = display.into();
    let amid = amid_a_run(display).screen.model.into_states();
    let mut screen = Trial::new(&NAMES, display, |start| {
        start.options.read_only = true;
        start.states = amid;
    });
    screen.tell(Message::Attached(Some(holder())));
    screen.tell(Message::Engine(Event::Run(run(RunPhase::Sending))));
    screen
}

#[test]
fn a_screen_that_watches_offers_nothing_that_it_refuses() {
    for letter in ['c', 'P', 'p', 'R', 'r', 'u', 'V', 'v'] {
        let mut screen = watching((120, 40));
        let footer = screen.picture().lines().rev().take(2).collect::<String>();
        assert!(!footer.contains(&format!(" {letter} ")), "{letter}: {footer}");
        assert_eq!(pressed(&mut screen, letter), []);
        let said = screen.picture();
        assert!(said.contains(READ_ONLY), "{letter}: {said}");
        assert!(!said.contains("Esc closes"), "{letter}: {said}");
    }
    let palette = watching((120, 40)).types(":retry all").picture();
    assert!(
        palette.contains("(not now: this screen is read-only)"),
        "{palette}"
    );
    // It may still tell what a push would do.
    let mut screen = watching((120, 40));
    screen.types("e").types(new_key().as_str()).press(KeyCode::Enter);
    let said = screen.picture();
    assert!(said.contains("d shows what a push of it would do"), "{said}");
}

#[test]
fn dialogs_of_a_screen_that_watches_offer_nothing_that_it_refuses() {
    let mut screen = watching((120, 40));
    let detail = screen.press(KeyCode::Enter).picture();
    assert!(detail.contains("(n p others, y copy, Esc closes)"), "{detail}");
    screen.types("r");
    assert!(screen.picture().contains(READ_ONLY));
    let mut screen = watching((120, 40));
    screen
        .types("h")
        .tell(Message::Read(Reading::Runs(vec![record(12, new_key(), 60)])));
    let history = screen.picture();
    assert!(
        history.contains("(Enter opens, e exports, Esc closes)"),
        "{history}"
    );
    assert_eq!(pressed(&mut screen, 'u'), []);
    assert!(screen.press(KeyCode::Esc).picture().contains(READ_ONLY));
}

#[test]
fn dialogs_take_and_show_the_keys_that_the_config_gives() {
    let detail = |text: &str| {
        let mut screen = amid_a_run((120, 40));
        screen.screen.model = Trial::new(&NAMES, (120, 40), |start| start.options.keys = keys(text))
            .screen
            .model;
        screen.press(KeyCode::Enter);
        screen
    };
    for (text, title) in [
        ("", "y copy, r retry, v verify, Esc"),
        ("retry = \"z\"", "y copy, z retry, v verify, Esc"),
        (
            "retry = \"ctrl-t\"\ncopy = \"F7\"",
            "F7 copy, ^T retry, v verify, Esc",
        ),
        // Keys of the dialog stay its own: the next one, or the table's, is taken.
        ("retry = [\"J\", \"F8\"]", "y copy, F8 retry, v verify, Esc"),
        ("retry = \"J\"\nverify = []", "y copy, r retry, v verify, Esc"),
        ("retry = \"v\"\nverify = \"r\"", "y copy, v retry, r verify, Esc"),
        // Where another action has that one there is none.
        ("retry = \"v\"\nverify = []", "y copy, v retry, Esc"),
    ] {
        let picture = detail(text).picture();
        assert!(picture.contains(title), "{text}: {picture}");
    }
    let mut swapped = detail("retry = \"v\"\nverify = \"r\"");
    assert!(matches!(pressed(&mut swapped, 'r')[..], [Effect::Engine(_)]));
    assert_eq!(pressed(&mut detail("verify = \"z\""), 'v'), []);
    assert!(matches!(
        pressed(&mut detail("verify = \"z\""), 'z')[..],
        [Effect::Engine(_)]
    ));
}

#[test]
fn history_takes_and_shows_the_keys_that_the_config_gives() {
    let history = |text: &str| {
        let mut screen = Trial::new(&NAMES, (120, 40), |start| start.options.keys = keys(text));
        screen
            .types("h")
            .tell(Message::Read(Reading::Runs(vec![record(12, new_key(), 60)])));
        screen
    };
    let mut screen = history("\"roll back\" = \"U\"\nretry = \"f\"\nfilter = \"z\"\n\"mark failed\" = []");
    assert!(screen.picture().contains("U rolls back"));
    assert_eq!(pressed(&mut screen, 'u'), []);
    assert!(matches!(
        pressed(&mut screen, 'U')[..],
        [Effect::Read(Wanted::PutBack(..))]
    ));
    pressed(&mut screen, 'r');
    screen.press(KeyCode::Esc);
    assert!(screen.picture().contains("then r repeats what failed in it"));
}

/// The dialog that `q` opens amid a run in this phase.
pub(super) fn quits(display: impl Into<Display>, phase: RunPhase, demo: bool) -> Trial {
    let mut screen = Trial::new(&NAMES, display, |start| start.options.demo = demo);
    screen.tell(Message::Engine(Event::Run(run(phase)))).types("q");
    screen
}

#[test]
fn leaving_tells_what_becomes_of_the_run() {
    let left = |phase, demo, key| pressed(&mut quits((80, 24), phase, demo), key);
    let leaves = |leave| vec![Effect::Quit(leave)];
    assert_eq!(left(RunPhase::Paused, false, 'l'), leaves(Leave::RunGoesOn));
    assert_eq!(left(RunPhase::Paused, false, 'p'), leaves(Leave::RunWaits));
    assert_eq!(left(RunPhase::Halted, false, 'p'), leaves(Leave::RunWaits));
    // Where nobody could attach, nothing is left waiting.
    assert_eq!(left(RunPhase::Paused, true, 'p'), []);
    assert_eq!(left(RunPhase::Sending, false, 'p'), []);
}

#[test]
fn a_config_that_is_written_is_offered_the_sites_of_the_session() {
    let written = || Message::Setup(SetupNews::ExampleWritten("/home/ops/config.toml".into()));
    let beginning = |sites: usize| {
        Trial::new(&NAMES[..sites], (120, 40), |start| {
            start.setup.added = start.sites.iter().map(|site| site.url.clone()).collect();
        })
    };
    let mut screen = beginning(2);
    assert!(screen.picture().contains(" i write a config"));
    assert_eq!(
        pressed(&mut screen, 'i'),
        [Effect::Setup(SetupOrder::WriteExample)]
    );
    screen.tell(written());
    assert!(
        screen
            .picture()
            .contains("Write the 2 sites of this session to /home/ops/config.toml?")
    );
    let urls = screen.screen.model.places();
    let wrote = pressed(&mut screen, 'y');
    assert!(
        matches!(&wrote[..], [Effect::Setup(SetupOrder::WriteSites { urls: all, .. })] if all.len() == urls.len()),
        "{wrote:?}"
    );
    // Where there are none nothing is asked.
    let mut bare = beginning(0);
    assert!(!bare.tell(written()).picture().contains("Write the"));
    // Where there is a config, and in the demo, it is no action.
    let mut with_file = Trial::new(&NAMES[..2], (120, 40), |start| {
        start.setup.file = Some("shops.toml".into());
    });
    assert!(!with_file.types(":commented").picture().contains("write a config"));
    let mut demo = Trial::new(&NAMES[..2], (120, 40), |start| start.options.demo = true);
    assert_eq!(pressed(&mut demo, 'i'), []);
}

#[test]
fn in_tmux_it_says_what_tmux_needs() {
    let mut screen = Trial::new(&NAMES, (80, 24), |start| {
        start.options.clipboard = Clipboard::Tmux;
    });
    screen.types("yu");
    let said = screen.picture();
    assert!(said.contains("tmux may need: set -s set-clipboard on"), "{said}");
}

#[test]
fn a_rollback_behind_a_halt_is_planned_when_nothing_is_out_any_more() {
    let mut screen = amid_a_run((120, 40));
    let mut halted = run(RunPhase::Halted);
    halted.halt = Some(Halt::Canary);
    let id = halted.id;
    screen.tell(Message::Engine(Event::Run(halted)));
    assert_eq!(pressed(&mut screen, 'c'), []);
    let said = screen.picture();
    assert!(said.contains("The canary does not serve the key."), "{said}");
    assert!(
        said.contains("the rest follows when the canary serves the key"),
        "{said}"
    );
    assert_eq!(pressed(&mut screen, 'u'), [Effect::Engine(Command::Cancel)]);
    let settling = Message::Engine(Event::Run(run(RunPhase::Settling)));
    let effects = update(&mut screen.screen, settling, at(15));
    assert_eq!(effects, [Effect::Read(Wanted::PutBack(id, None))]);
    let again = Message::Engine(Event::Run(run(RunPhase::Settling)));
    assert_eq!(update(&mut screen.screen, again, at(16)), [], "once");
}

#[test]
fn a_plan_does_not_outlive_the_run_that_begins_beside_it() {
    let fresh = || Trial::new(&NAMES, (120, 40), |start| start.key = Some(new_key()));
    let begins = |screen: &mut Trial| {
        screen.tell(Message::Attached(Some(holder())));
        screen.tell(Message::Engine(Event::Run(run(RunPhase::Sending))));
    };
    let mut screen = fresh();
    screen.types("P").types("live");
    begins(&mut screen);
    let said = screen.picture();
    assert!(said.contains("was begun meanwhile"), "{said}");
    assert!(!said.contains(" to push"), "{said}");
    // What is typed on presses nothing.
    for letter in "e9P".chars() {
        assert_eq!(pressed(&mut screen, letter), []);
    }
    let said = screen.picture();
    assert!(said.contains("was begun meanwhile"), "{said}");
    let mut dry = fresh();
    dry.types("d");
    begins(&mut dry);
    let said = dry.picture();
    assert!(
        !said.contains("was begun meanwhile") && said.contains("dry run: "),
        "{said}"
    );
}

#[test]
fn a_filter_that_no_site_matches_says_so() {
    let said = Trial::new(&NAMES, (80, 24), |_| {}).types("/foo").picture();
    assert!(said.contains("no site matches /foo: Esc clears it"), "{said}");
    let said = Trial::new(&NAMES, (80, 24), |_| {}).types("/maison").picture();
    assert!(!said.contains("no site matches"), "{said}");
}
