use super::dialogs::Dialog;
use super::model::{Model, Start};
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
}

impl Screen {
    /// At the beginning, without a dialog.
    pub fn new(start: Start, now: Moment) -> Self {
        let mut model = Model::new(start, now);
        model.tell_of_the_end();
        Self {
            model,
            dialog: None,
            loaded: false,
        }
    }

    /// Whether what is typed is text, so that each letter is one.
    pub(super) fn takes_text(&self) -> bool {
        self.model.field.is_editing()
            || self.model.filter.is_editing()
            || self.dialog.as_ref().is_some_and(Dialog::takes_text)
    }
}
