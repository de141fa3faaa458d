//! Finding, marking and sorting.

use crossterm::event::{KeyCode, KeyEvent};
use stripe_propagate::engine::Command;
use stripe_propagate::site::SiteId;
use stripe_propagate::tui::update::update;
use stripe_propagate::tui::{Effect, Input, Message};

use super::stories::amid_a_run;
use super::trial::{Display, NAMES, Trial, at, new_key};

/// Marks of which the filter hides some, when something is to be done to what is marked.
pub(super) fn hidden_marks(display: Display) -> Trial {
    let mut screen = Trial::new(&NAMES, display, |start| start.key = Some(new_key()));
    screen
        .types("j  ")
        .types("/maison")
        .press(KeyCode::Enter)
        .types(" ");
    screen.types("v");
    screen
}

#[test]
fn a_filter_is_kept_and_cleared() {
    let mut screen = amid_a_run((120, 40));
    screen.types("/galerie").press(KeyCode::Enter);
    let picture = screen.picture();
    assert!(
        picture.contains("galerie-sud") && !picture.contains("port-ouest"),
        "{picture}"
    );
    assert!(picture.contains("1 of 9 sites"), "{picture}");
    assert!(picture.contains("verify 1 of 9"), "{picture}");
    let picture = screen.press(KeyCode::Esc).picture();
    assert!(picture.contains("port-ouest"), "{picture}");
    let picture = screen.types("/xyz").picture();
    assert!(picture.contains("0 of 9"), "{picture}");
    let picture = screen.press(KeyCode::Esc).picture();
    assert!(picture.contains("port-ouest"), "{picture}");
}

#[test]
fn a_secret_in_the_filter_is_never_drawn() {
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    let picture = screen.types("/").types("sk_live_51ThisMustNeverShow").picture();
    assert!(
        !picture.contains("This") && picture.contains("refused and wiped"),
        "{picture}"
    );
    screen.press(KeyCode::Esc).types("/");
    let picture = screen
        .tell(Message::Input(vec![Input::Paste(
            "rk_test_51ThisMust".to_owned(),
        )]))
        .picture();
    assert!(
        !picture.contains("This") && picture.contains("refused and wiped"),
        "{picture}"
    );
}

#[test]
fn actions_go_on_the_marked_sites_and_hidden_marks_are_called_out() {
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    screen.types("  ");
    let press = |letter| Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char(letter)))]);
    let looks_at = |effects: Vec<Effect>| match &effects[..] {
        [Effect::Engine(Command::Look { sites, .. })] => sites.clone(),
        other => panic!("{other:?}"),
    };
    let both = [SiteId(0), SiteId(1)];
    assert_eq!(looks_at(update(&mut screen.screen, press('v'), at(0))), both);
    screen.types("/galerie").press(KeyCode::Enter);
    assert_eq!(update(&mut screen.screen, press('v'), at(0)), []);
    assert_eq!(
        looks_at(update(&mut screen.screen, press('s'), at(0))),
        [SiteId(1)]
    );
    screen.types("v");
    assert_eq!(
        looks_at(update(&mut screen.screen, press('a'), at(0))),
        [SiteId(1), SiteId(0)]
    );
    assert_eq!(
        looks_at(update(&mut screen.screen, press('V'), at(0))),
        [SiteId(1)]
    );
    screen.types("A").types("v");
    let picture = screen.picture();
    assert!(!picture.contains("marked"), "{picture}");
}

#[test]
fn the_keys_that_are_served_are_listed_and_filter() {
    let mut screen = amid_a_run((120, 40));
    screen.press(KeyCode::Tab).press(KeyCode::Enter);
    let picture = screen.picture();
    assert!(picture.contains("4 of 9 sites"), "{picture}");
}

#[test]
fn the_order_is_chosen_turned_and_shown() {
    let mut screen = amid_a_run((120, 40));
    screen.types("sj").press(KeyCode::Enter);
    let names = |screen: &mut Trial| -> Vec<String> {
        let picture = screen.picture();
        let rows = picture.lines().skip(5).take(9);
        rows.map(|row| row.chars().skip(3).take(8).collect()).collect()
    };
    let by_name = names(&mut screen);
    assert_eq!(by_name[0], "atelier-");
    assert!(screen.picture().contains("SITE▼"));
    let mut turned = names(screen.types("S"));
    assert!(screen.picture().contains("SITE▲"));
    turned.reverse();
    assert_eq!(turned, by_name);
}

#[test]
fn the_next_failed_site_is_found() {
    let mut screen = amid_a_run((120, 40));
    screen.types("sj").press(KeyCode::Enter);
    let selected = |screen: &mut Trial| screen.screen.model.selected().unwrap();
    let first = selected(screen.types("n"));
    let second = selected(screen.types("n"));
    assert_ne!(first, second);
    let calm = Trial::new(&NAMES, (120, 40), |_| {}).types("n").picture();
    assert!(calm.contains("no site failed"), "{calm}");
}

#[test]
fn a_filter_that_no_site_can_match_says_so() {
    let mut screen = amid_a_run((120, 40));
    let picture = screen.types("/!verfy:verified").picture();
    assert!(
        picture.contains("no field verfy: there are push verify"),
        "{picture}"
    );
    assert!(picture.contains("0 of 9"), "{picture}");
}
