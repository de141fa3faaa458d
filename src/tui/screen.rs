use std::time::Duration;

use super::dialogs::Dialog;
use super::model::{Model, Start};
use crate::engine::Level;
use crate::rules::moment::Moment;

/// The screen: what is behind the dialogs, and the dialog that is open.
#[derive(Debug)]
pub struct Screen {
    /// What is behind.
    pub model: Model,
    /// What stands before it and takes the keys.
    pub(super) dialog: Option<Dialog>,
    /// A config was read, and is taken as soon as nothing stands before the table and nothing is being typed: what is
    /// typed would fall into another screen, as commands.
    pub(super) loaded: bool,
    /// When a key was pressed last.
    pub(super) pressed_at: Option<Moment>,
    /// What is pressed is dropped until then: it was meant for what was there before a question came up by itself.
    pub(super) deaf_until: Option<Moment>,
}

/// Who pressed a key so shortly before is typing, and does not mean a question that comes up by itself.
const TYPING: Duration = Duration::from_millis(700);

impl Screen {
    /// At the beginning, without a dialog.
    pub fn new(start: Start, now: Moment) -> Self {
        let mut model = Model::new(start, now);
        model.tell_of_the_end();
        if !model.setup.list_change.is_none() {
            let change = model.setup.list_change.to_string();
            model.say(Level::Warning, change);
        }
        Self {
            model,
            dialog: None,
            loaded: false,
            pressed_at: None,
            deaf_until: None,
        }
    }

    /// A question that nobody asked for comes up, unless something else takes the keys; whether it did.
    pub(super) fn come_up(&mut self, dialog: impl FnOnce(&Model) -> Dialog) -> bool {
        if self.dialog.is_some() || self.takes_text() || self.model.is_too_small() {
            return false;
        }
        let now = self.model.now;
        let types = self.pressed_at.is_some_and(|at| now.since(at) < TYPING);
        self.deaf_until = types.then(|| now + TYPING);
        self.dialog = Some(dialog(&self.model));
        true
    }

    /// Whether a key press is dropped, since it was meant for something else; then silence is asked for once more.
    pub(super) fn is_deaf(&mut self) -> bool {
        let now = self.model.now;
        self.pressed_at = Some(now);
        let deaf = self.dialog.is_some() && self.deaf_until.is_some_and(|until| now < until);
        self.deaf_until = deaf.then(|| now + TYPING);
        deaf
    }

    /// The dialog that is open.
    pub fn dialog(&self) -> Option<&Dialog> {
        self.dialog.as_ref()
    }

    /// Whether what is typed is text, so that each letter is one.
    pub(super) fn takes_text(&self) -> bool {
        self.model.field.is_editing()
            || self.model.filter.is_editing()
            || self.dialog.as_ref().is_some_and(Dialog::takes_text)
    }
}
