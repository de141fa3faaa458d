use super::Effect;
use super::keys::Press;
use super::model::Model;
use super::screen::Screen;

/// The table.
mod table;
/// What is looked up in the table: help, palette, and what goes first in the footer.
mod listed;
/// The keys that the config gives to actions.
mod bindings;
/// When an action is there.
mod when;

pub use bindings::{bound, unchanged};
pub use table::ACTIONS;
pub use when::When;

/// Something that the operator can do: all that it is.
pub struct Action {
    /// Its name.
    pub name: &'static str,
    /// Its keys, where the config gives it no others.
    pub keys: &'static [Press],
    /// What it does, for the help.
    pub help: &'static str,
    /// When it is there: its keys do it, and the help tells it.
    pub when: When,
    /// What the footer says of it; nothing where it cannot be done or everybody knows it.
    pub footer: fn(&Model) -> Option<String>,
    /// Does it.
    pub run: fn(&mut Screen) -> Vec<Effect>,
}

/// The action of this name.
pub(super) fn named_action(name: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.name == name)
}

/// The actions that are there on this screen.
pub(super) fn known(model: &Model) -> impl Iterator<Item = &'static Action> + use<'_> {
    ACTIONS.iter().filter(|action| action.when.is_now(model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_has_keys_and_a_name_of_its_own_and_tells_what_it_does() {
        for action in ACTIONS {
            assert!(!action.help.is_empty() && !action.name.is_empty() && !action.keys.is_empty());
            assert_eq!(
                ACTIONS.iter().filter(|other| other.name == action.name).count(),
                1
            );
        }
    }
}
