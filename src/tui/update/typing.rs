use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::press_in_dialog;
use crate::engine::Level;
use crate::store::RunRecord;
use crate::tui::dialogs::Dialog;
use crate::tui::field::{Edited, secret};
use crate::tui::model::Model;
use crate::tui::offers::Offers;
use crate::tui::screen::Screen;
use crate::tui::{Effect, Wanted};

pub(super) fn press_in_field(model: &mut Model, event: KeyEvent) -> Vec<Effect> {
    let now = model.now;
    let is_interrupt = event.code == KeyCode::Char('c') && event.modifiers.contains(KeyModifiers::CONTROL);
    let event = if is_interrupt {
        KeyEvent::from(KeyCode::Esc)
    } else {
        event
    };
    match model.field.press(event, now) {
        Edited::Editing | Edited::Cut => {}
        Edited::Left => left_field(model),
        Edited::SecretRefused => refused_secret(model),
        Edited::WantsOffers => return offer_keys(model),
    }
    Vec::new()
}

/// Offers the keys that sites serve at once, and those of the runs on record when they are read.
fn offer_keys(model: &mut Model) -> Vec<Effect> {
    let served = model.tally.serves().into_iter();
    let served = served.map(|(key, sites)| (key.clone(), sites)).collect();
    model.field.offer(Offers::new(served));
    vec![Effect::Read(Wanted::Runs)]
}

/// The runs that the field's offers waited for are here, or could not be read; whether they did wait.
pub(super) fn take_offered_runs(model: &mut Model, runs: &[RunRecord]) -> bool {
    let waited = model.field.take_runs(runs);
    if model
        .field
        .offers()
        .is_some_and(|offers| offers.list().is_empty())
    {
        model.field.stop_offering();
        model.say(
            Level::Info,
            "no key is known yet: no run is on record, and no site was seen to serve one",
        );
    }
    waited
}

/// The filter takes every key but those that move the cursor.
pub(super) fn press_in_filter(model: &mut Model, event: KeyEvent) {
    let now = model.now;
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    let leaves = event.code == KeyCode::Esc || (control && event.code == KeyCode::Char('c'));
    if leaves || (control && event.code == KeyCode::Char('u')) {
        model.field.stop_swallowing();
        model.filter.edit(!leaves);
        return model.show_only("");
    }
    if model.field.is_swallowing(now) {
        return model.field.swallow(now);
    }
    let page = model.table_height().max(2);
    let cursor = model.list.cursor();
    match event.code {
        KeyCode::Enter => model.filter.edit(false),
        KeyCode::Down => model.move_cursor(cursor + 1),
        KeyCode::Up => model.move_cursor(cursor.saturating_sub(1)),
        KeyCode::PageDown => model.move_cursor(cursor + page),
        KeyCode::PageUp => model.move_cursor(cursor.saturating_sub(page)),
        _ => {
            let before = model.filter.text().to_owned();
            model.filter.press(event);
            filtered(model, &before);
        }
    }
}

/// The filter's text was changed: a secret is not even shown.
fn filtered(model: &mut Model, before: &str) {
    if let Some(refusal) = secret(model.filter.text()) {
        let now = model.now;
        model.field.swallow(now);
        model.show_only("");
        model.say(Level::Error, format!("refused and wiped: {refusal}"));
    } else if model.filter.text() != before {
        model.apply_filter();
    }
}

fn left_field(model: &mut Model) {
    let text = match model.field.verdict() {
        None => return,
        Some(Ok(_)) if model.sites.is_empty() => {
            "the key is good; there are no sites to push it to".to_owned()
        }
        Some(Ok(_)) if model.options.read_only => format!(
            "{} shows what a push of it would do; this screen is read-only, and sends nothing",
            model.key_of("dry run")
        ),
        Some(Ok(_)) => format!(
            "{} reviews and pushes {}",
            model.key_of("push all"),
            model.visible_in_words()
        ),
        Some(Err(refusal)) => return model.say(Level::Warning, refusal.to_string()),
    };
    model.say(Level::Info, text);
}

fn refused_secret(model: &mut Model) {
    if let Some(Err(refusal)) = model.field.verdict() {
        model.say(Level::Error, format!("refused and wiped: {refusal}"));
    }
}

pub(super) fn stray_paste(screen: &mut Screen) {
    let text = if screen.dialog.is_some() {
        "pasted text was ignored: nothing is to be pasted here".to_owned()
    } else {
        let edit = screen.model.key_of("edit key");
        format!("pasted text was ignored: press {edit} first, then paste the key")
    };
    screen.model.say(Level::Info, text);
}

pub(super) fn paste(screen: &mut Screen, text: &str) {
    let now = screen.model.now;
    if screen.model.field.is_editing() {
        match screen.model.field.paste(text, now) {
            Edited::SecretRefused => refused_secret(&mut screen.model),
            Edited::Cut => screen.model.say(
                Level::Warning,
                "only the first line was taken: more stood behind a line end. Is the key whole?",
            ),
            Edited::Editing | Edited::Left | Edited::WantsOffers => {}
        }
    } else if screen.model.filter.is_editing() && screen.dialog.is_none() {
        let before = screen.model.filter.text().to_owned();
        screen.model.filter.paste(text);
        filtered(&mut screen.model, &before);
    } else if let Some(refusal) = secret(text) {
        screen.model.field.swallow(now);
        screen
            .model
            .say(Level::Error, format!("pasted and dropped: {refusal}"));
    } else if screen.dialog.as_ref().is_some_and(Dialog::takes_text) {
        for character in text.chars().take_while(|character| !character.is_control()) {
            press_in_dialog(screen, KeyEvent::from(KeyCode::Char(character)));
        }
    } else {
        stray_paste(screen);
    }
}
