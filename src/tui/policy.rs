use super::model::{Model, READ_ONLY};
use super::screen::Screen;
use crate::engine::Level;

impl Screen {
    /// A screen of somebody who may not push, where `why` says so: it only watches, and tells what is missing.
    #[must_use]
    pub fn held_by_policy(mut self, why: Option<String>) -> Self {
        if let Some(why) = why {
            self.model.options.read_only = true;
            self.model
                .say(Level::Warning, format!("this screen is read-only: {why}"));
            self.model.denied = Some(why);
        }
        self
    }
}

impl Model {
    /// Why a screen that only watches does nothing else.
    pub(super) fn read_only_why(&self) -> String {
        match &self.denied {
            Some(why) => format!("this screen is read-only: {why}"),
            None => READ_ONLY.to_owned(),
        }
    }
}
