use super::Model;
use crate::key::PublishableKey;
use crate::rules::plan::begins_otherwise;
use crate::tui::{Effect, Wanted};

impl Model {
    /// Asks the store whether a site ever served the field's key, where that begins otherwise than those that sites
    /// serve now: once for each such key.
    pub(in crate::tui) fn ask_of_strange_key(&mut self) -> Option<Effect> {
        let key = self.field.key()?;
        let is_known = self.strange_key.as_ref().is_some_and(|(known, _)| *known == key);
        if is_known || !self.begins_otherwise(&key) {
            return None;
        }
        self.strange_key = Some((key.clone(), None));
        Some(Effect::Read(Wanted::WasServed(key)))
    }

    /// What the store said.
    pub(in crate::tui) fn take_was_served(&mut self, key: &PublishableKey, was_served: bool) {
        if let Some((_, answer)) = self.strange_key.as_mut().filter(|(known, _)| known == key) {
            *answer = Some(was_served);
        }
    }

    /// Whether no site serves or ever served the key, and it begins otherwise than those that are served.
    pub(in crate::tui) fn may_be_of_other_account(&self, key: &PublishableKey) -> bool {
        let never = self
            .strange_key
            .as_ref()
            .is_some_and(|(known, was)| known == key && *was == Some(false));
        never && self.begins_otherwise(key)
    }

    fn begins_otherwise(&self, key: &PublishableKey) -> bool {
        begins_otherwise(key, self.tally.served())
    }
}
