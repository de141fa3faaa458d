//! Sites that are known to be bad, and the watch.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use stripe_propagate::engine::{Command, Event};
use stripe_propagate::rules::acknowledgement::Acknowledgement;
use stripe_propagate::site::SiteId;
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::{Effect, Input, Message, WatchNews};

use super::stories::amid_a_run;
use super::trial::{Display, Trial, at};

/// The second site is asked about.
pub(super) fn asked(display: Display) -> Trial {
    let mut screen = amid_a_run(display);
    screen.picture();
    screen.types("jx").press(KeyCode::Enter);
    screen
}

/// The second site is acknowledged: it goes down.
pub(super) fn acknowledged(display: Display) -> Trial {
    let mut screen = amid_a_run(display);
    screen.picture();
    let site = screen.screen.model.visible().get(1).copied().unwrap_or(SiteId(0));
    let acknowledgement = Acknowledgement {
        reason: CleanText::note("moves to another host"),
        until: Some(at(26 * 3600).wall),
        by: CleanText::note("ada@desk"),
        at: at(10).wall,
    };
    screen.tell(Message::Engine(Event::Acknowledged {
        sites: vec![site],
        acknowledgement: Some(acknowledgement),
    }));
    screen
}

/// What is acknowledged is to be changed.
pub(super) fn changed(display: Display) -> Trial {
    let mut screen = acknowledged(display);
    screen.types("/is:ackn").press(KeyCode::Enter);
    screen.picture();
    screen.types("x").press(KeyCode::Enter);
    screen
}

fn ordered(screen: &mut Trial, event: KeyEvent) -> Vec<Effect> {
    screen.tell_effects(&Message::Input(vec![Input::Key(event)]))
}

/// A watch that has found something.
pub(super) fn watch(display: Display) -> Trial {
    let mut screen = amid_a_run(display);
    screen.tell(Message::Watch(WatchNews::Next(at(3600))));
    let text =
        "atelier-nord drifted: served the expected key, and does not any more: changed by someone else?";
    screen.tell(Message::Watch(WatchNews::Notice {
        text: text.to_owned(),
        over: false,
    }));
    screen
}

#[test]
fn a_watch_is_turned_on_and_off() {
    let mut screen = amid_a_run(Display::from((120, 40)));
    let press = KeyEvent::from(KeyCode::Char('w'));
    assert_eq!(ordered(&mut screen, press), [Effect::Watch(true)]);
    screen.tell(Message::Watch(WatchNews::Next(at(3600))));
    assert!(screen.picture().contains("watch: next look 15:00:00"));
    assert_eq!(ordered(&mut screen, press), [Effect::Watch(false)]);
    screen.tell(Message::Watch(WatchNews::Off));
    assert!(!screen.picture().contains("watch: next look"));
}

#[test]
fn what_is_typed_is_ordered_and_taken_back() {
    let mut screen = amid_a_run(Display::from((120, 40)));
    screen.picture();
    let site = screen.screen.model.selected().unwrap();
    screen.types("xknown to the hoster").press(KeyCode::Enter);
    screen.control('u').types("2 days");
    let effects = ordered(&mut screen, KeyEvent::from(KeyCode::Enter));
    let [
        Effect::Engine(Command::Acknowledge {
            sites,
            acknowledgement,
        }),
    ] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    let known = acknowledgement.clone().unwrap();
    assert_eq!(sites, &[site]);
    assert_eq!(known.reason.as_str(), "known to the hoster");
    assert!(known.until.is_some() && known.by.as_str() == "ops@bastion");
    let mut screen = changed(Display::from((120, 40)));
    let effects = ordered(
        &mut screen,
        KeyEvent::new(KeyCode::Char('x'), KeyModifiers::CONTROL),
    );
    assert!(
        matches!(
            &effects[..],
            [Effect::Engine(Command::Acknowledge {
                acknowledgement: None,
                ..
            })]
        ),
        "{effects:?}"
    );
}

#[test]
fn a_secret_is_no_reason() {
    let mut screen = amid_a_run(Display::from((120, 40)));
    screen.types("xsk_live_51Abc");
    let picture = screen.picture();
    assert!(
        !picture.contains("51Abc") && picture.contains("typed as a reason and dropped"),
        "{picture}"
    );
}

#[test]
fn a_site_whose_acknowledgement_ended_needs_attention_again() {
    let mut screen = amid_a_run(Display::from((120, 40)));
    screen.picture();
    // The first one shows a secret, which is never acknowledged away.
    let bad = screen.screen.model.visible()[1];
    let until = |screen: &mut Trial, seconds: u64| {
        let acknowledgement = Acknowledgement {
            reason: CleanText::note("moves to another host"),
            until: Some(at(seconds).wall),
            by: CleanText::note("ada@desk"),
            at: at(10).wall,
        };
        screen.tell(Message::Engine(Event::Acknowledged {
            sites: vec![bad],
            acknowledgement: Some(acknowledgement),
        }));
        screen.picture();
        screen.screen.model.visible()[1]
    };
    // As it is read at the start: this one is over.
    let now = screen.now;
    assert_eq!(until(&mut screen, now - 1), bad);
    assert_ne!(until(&mut screen, now + 60), bad);
    assert_eq!(screen.screen.model.wake_at(), Some(at(now + 60)));
    screen.now = now + 60;
    screen.tell(Message::Wake).picture();
    assert_eq!(screen.screen.model.visible()[1], bad);
    assert_eq!(screen.screen.model.wake_at(), None);
}
