//! The screen behind the dialogs.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::Modifier;
use stripe_propagate::tui::theme::{THEMES, Theme};
use stripe_propagate::tui::update::update;
use stripe_propagate::tui::{Effect, Input, Leave, Message};

use super::stories::amid_a_run;
use super::trial::{Display, NAMES, Trial, at};

#[test]
fn each_theme_and_none() {
    for theme in THEMES {
        let mut screen = amid_a_run(Display {
            theme: *theme,
            ..(80, 24).into()
        });
        insta::assert_snapshot!(format!("theme_{}", theme.name), screen.styled());
    }
}

#[test]
fn a_small_terminal_says_so_and_the_run_goes_on() {
    let mut screen = amid_a_run((59, 24));
    assert_eq!(screen.picture().trim_end(), "needs 60 x 15; the run goes on");
}

#[test]
fn a_click_puts_the_cursor_on_the_site_that_is_there() {
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    screen.tell(Message::Input(vec![Input::Click(7)]));
    let row = screen.picture().lines().nth(7).unwrap().to_owned();
    assert!(row.starts_with(" ▌ port-ouest"), "{row}");
    screen.tell(Message::Input(vec![Input::Click(30), Input::Scroll(3)]));
    assert!(screen.picture().lines().nth(10).unwrap().starts_with(" ▌ "));
}

#[test]
fn without_colours_the_cursor_row_is_still_seen() {
    let mut screen = Trial::new(&NAMES, (120, 40), |start| start.options.theme = Theme::MONOCHROME);
    let terminal = screen.terminal();
    let buffer = terminal.backend().buffer();
    let reversed = |row: u16| buffer[(5, row)].modifier.contains(Modifier::REVERSED);
    assert!(reversed(5) && !reversed(6));
}

#[test]
fn a_screen_that_is_too_small_orders_nothing() {
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    let small = Message::Resize {
        columns: 40,
        rows: 10,
    };
    screen.tell(small.clone());
    for letter in ['V', 'e', 'm', 'P'] {
        let press = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char(letter)))]);
        assert_eq!(update(&mut screen.screen, press, at(0)), Vec::new());
    }
    screen.tell(Message::Resize {
        columns: 120,
        rows: 40,
    });
    let calm = screen.picture();
    assert!(
        !calm.contains("Enter done") && !calm.contains("Esc closes"),
        "{calm}"
    );
    screen.tell(small);
    let quit = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char('q')))]);
    assert_eq!(
        update(&mut screen.screen, quit, at(0)),
        [Effect::Quit(Leave::Idle)]
    );
}
