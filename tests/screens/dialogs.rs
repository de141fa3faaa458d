//! What stands before the table and takes the keys.

use crossterm::event::{KeyCode, KeyEvent};
use stripe_propagate::engine::{Event, Level, Message as Told};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::store::StoreError;
use stripe_propagate::tui::model::Start;
use stripe_propagate::tui::update::update;
use stripe_propagate::tui::{Effect, Input, Message, Reading, Wanted};

use super::stories::{Story, amid_a_run, holder, many};
use super::trial::{Display, NAMES, Trial, at, key, new_key};

/// The plan of a live key over test keys.
pub(super) fn plan(display: Display) -> Trial {
    let mut screen = Trial::new(&NAMES, display, |start| start.key = Some(new_key()));
    screen.state(0, Story::serving(&key("live", "9zQe")).0);
    screen.state(1, Story::serving(&new_key()).0);
    screen.state(2, Story::serving(&key("test", "0000")).0);
    screen.types("P").types("live 9");
    screen
}

/// The messages, of which one tells what keeps the run from going on.
pub(super) fn messages(display: Display) -> Trial {
    let mut screen = amid_a_run(display);
    screen.tell(Message::Engine(Event::Message(Told {
        at: at(14),
        level: Level::Error,
        text: "paused: the store takes no records, so nothing is sent (disk full)".to_owned(),
    })));
    screen.types("m");
    screen
}

/// The plan of many, scrolled.
pub(super) fn plan_of_many(display: Display) -> Trial {
    let mut screen = many(display);
    screen.types("P").types("live 36").press(KeyCode::PageDown);
    screen
}

#[test]
fn a_plan_and_the_palette_on_the_smallest_screen() {
    insta::assert_snapshot!("plan_many_60x15", many((60, 15)).types("P").picture());
    insta::assert_snapshot!("palette_60x15", amid_a_run((60, 15)).types(":").picture());
}

#[test]
fn a_plan_asks_the_store_of_a_key_that_begins_otherwise_and_tells_what_it_says() {
    let mut screen = Trial::new(&NAMES, (120, 40), |start| start.key = Some(new_key()));
    let other = format!("pk_live_51OtherAccounts{}Old1", &new_key().as_str()[23..101]);
    let other = PublishableKey::parse(&other).unwrap();
    screen.state(0, Story::serving(&other).0);
    let opens = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char('P')))]);
    let effects = screen.tell_effects(&opens);
    assert!(
        effects.contains(&Effect::Read(Wanted::WasServed(new_key()))),
        "{effects:?}"
    );
    let hint = "no site serves this key or ever did";
    assert!(!screen.picture().contains(hint));
    screen.tell(Message::Read(Reading::WasServed(new_key(), false)));
    let text = screen.picture();
    assert!(
        text.contains(hint) && text.contains("type live 9 to push"),
        "{text}"
    );
}

#[test]
fn a_dry_run_without_a_key_says_what_to_do() {
    let text = Trial::new(&NAMES, (120, 40), |_| {}).types("d").picture();
    assert!(text.contains("there is no key for a dry run: press e"), "{text}");
}

#[test]
fn the_palette_finds_an_action_and_does_what_its_key_does() {
    let effects = |keys: &str| {
        let mut screen = amid_a_run((120, 40));
        screen.types(keys);
        let enter = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Enter))]);
        update(&mut screen.screen, enter, at(14))
    };
    let retry = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char('R')))]);
    let by_key = update(&mut amid_a_run((120, 40)).screen, retry, at(14));
    assert!(!by_key.is_empty());
    assert_eq!(effects(":retry all"), by_key);
    assert_eq!(effects(":no such thing"), Vec::new());
    // What cannot be done says why, and Esc does nothing.
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    let picture = screen.types(":push all").press(KeyCode::Enter).picture();
    assert!(picture.contains("there is no key to push"), "{picture}");
    let calm = screen.types(":history").press(KeyCode::Esc).picture();
    assert!(!calm.contains("Esc closes"), "{calm}");
}

#[test]
fn what_is_pasted_behind_a_word_of_the_palette_confirms_nothing() {
    let start = |start: &mut Start| start.key = Some(new_key());
    let mut screen = Trial::new(&NAMES, (120, 40), start);
    let paste = Message::Input(vec![Input::Paste("push all\rlive 9\r".to_owned())]);
    assert_eq!(update(&mut screen.types(":").screen, paste, at(0)), Vec::new());
    let mut screen = Trial::new(&NAMES, (120, 40), start);
    let typed = "push all\rlive 9\r".chars().map(|letter| {
        let code = match letter {
            '\r' => KeyCode::Enter,
            letter => KeyCode::Char(letter),
        };
        Input::Key(KeyEvent::from(code))
    });
    let effects = update(
        &mut screen.types(":").screen,
        Message::Input(typed.collect()),
        at(0),
    );
    assert_eq!(effects, Vec::new());
    // It is the plan that the key opens, and nothing stands in it yet.
    let plan = screen.picture();
    assert!(plan.contains("type live 9") && plan.contains("> _"), "{plan}");
}

#[test]
fn a_secret_in_the_palette_closes_it_and_is_never_drawn() {
    for paste in [true, false] {
        let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
        let secret = "sk_live_51ThisMustNeverShow";
        screen.types(":");
        if paste {
            screen.tell(Message::Input(vec![Input::Paste(secret.to_owned())]));
        } else {
            screen.types(secret);
        }
        let picture = screen.picture();
        assert!(picture.contains("dropped: a SECRET key"), "{picture}");
        assert!(
            !picture.contains("ThisMust") && !picture.contains("> sk"),
            "{picture}"
        );
    }
}

#[test]
fn a_secret_in_the_plan_closes_it_and_leaves_the_key() {
    let mut screen = Trial::new(&NAMES, (120, 40), |start| start.key = Some(new_key()));
    screen.types("P").types("9 sk_live_51ThisMustNeverShow");
    let picture = screen.picture();
    assert!(!picture.contains("to push, then Enter"), "{picture}");
    assert!(
        picture.contains("a SECRET key was typed into the plan"),
        "{picture}"
    );
    assert!(picture.contains("✓ live publishable key"), "{picture}");
    assert!(!picture.contains("ThisMust"), "{picture}");
}

#[test]
fn what_was_confirmed_and_not_sent_is_told_until_it_is_read() {
    let mut screen = Trial::new(&NAMES, (120, 40), |start| start.key = Some(new_key()));
    screen.types("P").types("live 9").press(KeyCode::Enter);
    let holder = Box::new(holder());
    screen.tell(Message::Engine(Event::NotBegun(StoreError::Busy(holder))));
    let message = Told {
        at: at(1),
        level: Level::Info,
        text: "something else".to_owned(),
    };
    let picture = screen.tell(Message::Engine(Event::Message(message))).picture();
    assert!(picture.contains("nothing of yours was sent"), "{picture}");
    let picture = screen.press(KeyCode::Esc).picture();
    assert!(!picture.contains("nothing of yours was sent"), "{picture}");
}
