//! The key field, and the keys of the keyboard that a config changes.

use crossterm::event::KeyCode;
use stripe_propagate::config::{self, Place};
use stripe_propagate::tui::actions::bound;
use stripe_propagate::tui::{Effect, Input, Message, Reading, Wanted};

use super::stories::{Story, many, record};
use super::trial::{Display, NAMES, Trial, key, new_key};

/// The field offers what forty sites serve, and what two runs put out.
pub(super) fn offered(display: impl Into<Display>) -> Trial {
    let mut screen = many(display);
    screen.types("e").press(KeyCode::Up);
    let runs = [
        record(12, key("live", "9zQe"), 86_400),
        record(9, key("live", "Old1"), 40 * 86_400),
        record(3, key("live", "9zQe"), 90 * 86_400),
    ];
    screen.tell(Message::Read(Reading::Runs(runs.into())));
    screen
}

#[test]
fn known_keys_are_offered_on_the_smallest_screen() {
    insta::assert_snapshot!("offered_keys_60x15", offered((60, 15)).picture());
}

#[test]
fn an_offered_key_is_taken_as_if_it_were_typed_and_esc_leaves_what_was_there() {
    let size = (120, 40);
    let line = |screen: &mut Trial| screen.picture().lines().nth(2).unwrap().to_owned();
    let before = line(many(size).types("e"));
    let mut screen = offered(size);
    screen.press(KeyCode::Down).press(KeyCode::Esc);
    assert_eq!(line(&mut screen), before);
    assert!(!screen.picture().contains("known keys: "), "closed");

    let mut screen = offered(size);
    let taken =
        |screen: &mut Trial| screen.tell_effects(&Message::Input(vec![Input::Key(KeyCode::Enter.into())]));
    assert_eq!(taken(&mut screen), []);
    assert!(line(&mut screen).contains("•••9zQe  ✓ live publishable key, 105 characters"));
    assert!(screen.picture().contains("Enter done"), "it is still edited");
    screen.types("sk_live_");
    assert!(
        line(&mut screen).contains("a SECRET key"),
        "{}",
        line(&mut screen)
    );

    let mut screen = offered(size);
    let text = screen.types("x").picture();
    assert!(
        !text.contains("known keys: Enter") && text.contains("Enter done"),
        "{text}"
    );
}

#[test]
fn known_keys_are_there_before_history_is_read_and_none_is_said() {
    let mut screen = many((120, 40));
    screen.types("e");
    let up = Message::Input(vec![Input::Key(KeyCode::Up.into())]);
    assert_eq!(screen.tell_effects(&up), [Effect::Read(Wanted::Runs)]);
    let text = screen.picture();
    assert!(
        text.contains("served by 28 sites") && text.contains("history is being read"),
        "{text}"
    );
    screen.tell(Message::Read(Reading::Failed("the store is locked".to_owned())));
    let text = screen.picture();
    assert!(
        text.contains("served by 28 sites") && text.contains("the store is locked"),
        "{text}"
    );

    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    screen
        .types("e")
        .press(KeyCode::Up)
        .tell(Message::Read(Reading::Runs(Vec::new())));
    let text = screen.picture();
    assert!(
        text.contains("no key is known yet") && text.contains("Enter done"),
        "{text}"
    );
}

#[test]
fn the_key_field_masks_shows_and_refuses() {
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    let mut lines = Vec::new();
    let mut note = |screen: &mut Trial| lines.push(screen.picture().lines().nth(2).unwrap().to_owned());
    note(&mut screen);
    note(screen.types("e"));
    note(screen.types("pk_live_"));
    note(screen.types("51é"));
    note(screen.control('u').types(new_key().as_str()));
    note(screen.control('r'));
    // Leaving and editing anew: what is typed or pasted replaces what stands there.
    note(screen.press(KeyCode::Enter).types("e"));
    note(screen.tell(Message::Input(vec![Input::Paste(format!(
        "{}\rq",
        key("test", "New1").as_str()
    ))])));
    note(screen.types("sk_live_x"));
    note(screen.press(KeyCode::Esc).types("e").types("pk_test_abc"));
    note(screen.control('u').types("sk_live_51ThisMustNeverShow"));
    insta::assert_snapshot!("key_field", lines.join("\n"));
}

#[test]
fn a_config_changes_keys_in_dispatch_footer_palette_and_sentences() {
    let place = Place {
        path: "c.toml".as_ref(),
        home: None,
        owner_only: false,
    };
    let text = "[keys]\n\"push all\" = \"F9\"\nmessages = \"P\"\nhelp = []\n";
    let keys = bound(&config::parse(text, place).unwrap()).unwrap();
    let mut screen = Trial::new(&NAMES, (120, 40), |start| {
        start.options.keys = keys;
        start.key = Some(new_key());
    });
    let picture = screen.picture();
    assert!(
        picture.contains("F9 reviews and pushes 9") && picture.contains(" F9 push 9 "),
        "{picture}"
    );
    assert!(!picture.contains(" ? help"), "{picture}");
    assert!(screen.press(KeyCode::F(9)).picture().contains("type live 9"));
    assert!(
        screen
            .press(KeyCode::Esc)
            .types("P")
            .picture()
            .contains("messages, newest first")
    );
    assert!(
        screen
            .press(KeyCode::Esc)
            .types(":push all")
            .picture()
            .contains("push all           F9")
    );
}

#[test]
fn a_sentence_names_the_key_that_is_bound() {
    let place = Place {
        path: "c.toml".as_ref(),
        home: None,
        owner_only: false,
    };
    let text = "[keys]\n\"push all\" = \"F9\"\n\"edit key\" = \"E\"\n\"turn the order\" = \"T\"\n";
    let keys = bound(&config::parse(text, place).unwrap()).unwrap();
    let with = |key| {
        Trial::new(&NAMES, (120, 40), |start| {
            start.options.keys = keys.clone();
            start.key = key;
        })
    };
    let mut bare = with(None);
    for (press, told) in [
        (KeyCode::F(9), "there is no key to push: press E and"),
        (KeyCode::Char('d'), "there is no key for a dry run: press E and"),
        (KeyCode::Char('s'), "(Enter chooses, T turns the order)"),
    ] {
        let picture = bare.press(press).picture();
        assert!(picture.contains(told), "{picture}");
    }
    let picture = with(Some(new_key())).types("d").picture();
    assert!(picture.contains("dry run: what F9 would do"), "{picture}");
}

#[test]
fn esc_leaves_the_key_as_it_was_and_a_cut_paste_is_told() {
    let mut screen = Trial::new(&NAMES, (120, 40), |start| start.key = Some(new_key()));
    let picture = screen.types("exyz").press(KeyCode::Esc).picture();
    assert!(picture.contains("AbCd  ✓ live publishable key"), "{picture}");
    let whole = key("live", "New1");
    let (first, rest) = whole.as_str().split_at(60);
    screen.types("e");
    let picture = screen
        .tell(Message::Input(vec![Input::Paste(format!("{first}\n{rest}"))]))
        .picture();
    assert!(picture.contains("only the first line was taken"), "{picture}");
    // What sites serve is longer: the plan asks for a word.
    screen
        .press(KeyCode::Enter)
        .state(0, Story::serving(&key("live", "9zQe")).0);
    let picture = screen.types("P").picture();
    assert!(
        picture.contains("! the key has 60 characters, and those that are served now 105"),
        "{picture}"
    );
    assert!(picture.contains("type live 9 length to push"), "{picture}");
}
