//! What Stripe says of the key in the field and of a plan's keys, which comes when it comes.

use crossterm::event::{KeyCode, KeyEvent};
use stripe_propagate::engine::Command;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::plan::Danger;
use stripe_propagate::rules::standing::{Asked, NotAsked, Standing};
use stripe_propagate::tui::{Effect, Input, Message};

use super::stories::{Story, amid_a_run};
use super::trial::{Display, NAMES, Trial, at, key, new_key};

/// A screen that asks Stripe, with a live key in the field.
fn asking(display: impl Into<Display>) -> Trial {
    asks(Trial::new(&NAMES, display, |start| start.key = Some(new_key())))
}

fn asks(trial: Trial) -> Trial {
    let Trial { screen, size, now } = trial;
    let screen = screen.asking_stripe(true);
    Trial { screen, size, now }
}

fn says(key: &PublishableKey, asked: Asked) -> Message {
    Message::Asked(key.clone(), asked)
}

fn no_way_out() -> Asked {
    Err(NotAsked::because("refuses the connection"))
}

fn press(code: KeyCode) -> Message {
    Message::Input(vec![Input::Key(KeyEvent::from(code))])
}

/// Stripe does not know what stands in the field.
pub(super) fn unknown(display: Display) -> Trial {
    let mut screen = asking(display);
    screen.tell(says(&new_key(), Ok(Standing::Unknown)));
    screen
}

/// A plan is open, and its phrase half typed, when Stripe says that the key has expired.
pub(super) fn dead_plan(display: Display) -> Trial {
    let mut screen = asking(display);
    screen.state(0, Story::serving(&key("live", "9zQe")).0);
    screen.types("P").types("live 9");
    screen.tell(says(&new_key(), Ok(Standing::Expired)));
    screen
}

fn key_line(screen: &mut Trial) -> String {
    screen.picture().lines().nth(2).unwrap().to_owned()
}

#[test]
fn the_verdict_stands_beside_the_field() {
    let mut lines = Vec::new();
    for asked in [
        Ok(Standing::Known),
        Ok(Standing::Unknown),
        Ok(Standing::Expired),
        no_way_out(),
    ] {
        for size in [(120, 40), (80, 24), (60, 15)] {
            let mut screen = asking(size);
            screen.tell(says(&new_key(), asked.clone()));
            lines.push(key_line(&mut screen));
        }
    }
    insta::assert_snapshot!("stripe_beside_the_field", lines.join("\n"));
}

#[test]
fn a_key_is_asked_about_once_it_is_entered_and_gets_no_verdict_of_another() {
    let mut screen = asks(Trial::new(&NAMES, (120, 40), |_| {}));
    screen.types("e");
    let (one, two) = (key("live", "9zQe"), new_key());
    // Each beginning of it would be a key too.
    for letter in one.as_str().chars() {
        assert_eq!(screen.tell_effects(&press(KeyCode::Char(letter))), []);
    }
    assert_eq!(
        screen.tell_effects(&press(KeyCode::Enter)),
        [Effect::AskStripe(one.clone())]
    );
    assert_eq!(screen.tell_effects(&Message::Wake), [], "it is being asked");
    // What is pasted is whole at once.
    screen.types("e");
    let paste = Message::Input(vec![Input::Paste(two.as_str().to_owned())]);
    assert_eq!(screen.tell_effects(&paste), [Effect::AskStripe(two.clone())]);
    screen.tell(says(&one, Ok(Standing::Expired)));
    assert!(
        !key_line(&mut screen).contains("expired"),
        "{}",
        key_line(&mut screen)
    );
    screen.tell(says(&two, Ok(Standing::Known)));
    assert!(key_line(&mut screen).contains("✓ Stripe knows it"));
    // What is typed behind it is another key, on its way.
    screen.types("x");
    assert!(
        !key_line(&mut screen).contains("Stripe"),
        "{}",
        key_line(&mut screen)
    );
    screen.press(KeyCode::Esc);
    // Within the hour it is remembered, and then it is asked anew.
    screen.types("e");
    assert_eq!(screen.tell_effects(&paste), []);
    screen.now += 3600;
    assert_eq!(screen.tell_effects(&Message::Wake), [Effect::AskStripe(two)]);
}

#[test]
fn a_screen_that_watches_or_is_attached_asks_too_and_one_that_may_not_does_not() {
    let watching = Trial::new(&NAMES, (120, 40), |start| {
        start.key = Some(new_key());
        start.options.read_only = true;
    });
    let attached = amid_a_run(Display::from((120, 40)));
    for trial in [asks(watching), asks(attached)] {
        let mut trial = trial;
        let asked = trial.tell_effects(&Message::Wake);
        assert!(matches!(&asked[..], [Effect::AskStripe(_)]), "{asked:?}");
    }
    let mut silent = Trial::new(&NAMES, (120, 40), |start| start.key = Some(new_key()));
    assert_eq!(silent.tell_effects(&Message::Wake), []);
}

#[test]
fn what_was_typed_before_the_verdict_confirms_nothing() {
    let mut screen = dead_plan(Display::from((120, 40)));
    // The operator goes on with what was asked for before, and with the rest of it.
    for typed in ["", "live 9"] {
        screen.types(typed);
        assert_eq!(screen.tell_effects(&press(KeyCode::Enter)), []);
    }
    assert!(
        screen.picture().contains("type live 9 dead to push"),
        "{}",
        screen.picture()
    );
    screen.control('w').control('w').types("live 9 dead");
    let pushed = screen.tell_effects(&press(KeyCode::Enter));
    let [Effect::Engine(Command::Push(plan))] = &pushed[..] else {
        panic!("{pushed:?}")
    };
    assert!(matches!(
        plan.dangers[..],
        [Danger::DeadKey {
            standing: Standing::Expired,
            ..
        }]
    ));
}

#[test]
fn a_test_key_of_few_sites_takes_no_letter_any_more() {
    let key = key("test", "New1");
    let mut screen = asks(Trial::new(&NAMES[..3], (120, 40), |start| {
        start.key = Some(key.clone());
    }));
    screen.types("P");
    assert!(screen.picture().contains("press y to push"));
    screen.tell(says(&key, Ok(Standing::Unknown)));
    assert_eq!(screen.tell_effects(&press(KeyCode::Char('y'))), []);
    assert!(
        screen.picture().contains("type 3 dead to push"),
        "{}",
        screen.picture()
    );
    // Stripe may change its word.
    screen.tell(says(&key, Ok(Standing::Known)));
    assert!(screen.picture().contains("press y to push"));
}

#[test]
fn stripe_out_of_reach_is_a_remark_and_no_danger() {
    let mut screen = asking((120, 40));
    screen.types("P").types("live");
    screen.tell(says(&new_key(), no_way_out()));
    let text = screen.picture();
    assert!(
        text.contains("Stripe could not be asked: refuses the connection"),
        "{text}"
    );
    assert!(
        text.contains("type live 9 to push") && text.contains("> live_"),
        "{text}"
    );
    // It is asked again after a minute.
    screen.now += 59;
    assert_eq!(screen.tell_effects(&Message::Wake), []);
    screen.now += 1;
    assert_eq!(
        screen.tell_effects(&Message::Wake),
        [Effect::AskStripe(new_key())]
    );
}

#[test]
fn a_site_that_serves_a_dead_key_is_called_out() {
    let mut screen = asking((120, 40));
    let mut state = Story::serving(&key("live", "9zQe")).0;
    state.at = Some(at(3));
    assert!(state.take_standing(Some(Standing::Expired)));
    screen.state(2, state);
    let text = screen.picture();
    let first = text.lines().find(|line| line.contains("port-ouest")).unwrap();
    assert!(first.contains("† dead_key"), "{first}");
    assert!(text.contains("serves an expired key"), "{text}");
}
