use crossterm::event::{KeyCode, KeyEvent};

use crate::tui::keys::Press;
use crate::tui::model::Model;

/// The keys by which a page is scrolled and left: no action has one of them in it.
const OF_A_PAGE: &[Press] = &[
    Press::key('j'),
    Press::key('k'),
    Press::key('g'),
    Press::key('G'),
    Press::key('q'),
    Press::control('c'),
    Press::control('d'),
    Press::control('u'),
    Press::named(KeyCode::Down),
    Press::named(KeyCode::Up),
    Press::named(KeyCode::PageDown),
    Press::named(KeyCode::PageUp),
    Press::named(KeyCode::Home),
    Press::named(KeyCode::End),
    Press::named(KeyCode::Enter),
];

/// What of the table of actions can be done in a dialog, and by which key.
pub(super) struct Offered(Vec<(&'static str, Press)>);

impl Offered {
    /// These actions, each with its key of the table: the first that the operator has given it, if the dialog needs it
    /// not for itself (`own`); else the one that stands here.
    pub(super) fn new(model: &Model, own: &[Press], actions: &[(&'static str, char)]) -> Self {
        let is_own = |press: &Press| own.contains(press) || OF_A_PAGE.contains(press);
        let bound = |action: &str| {
            let keys = model.options.keys.keys(action).iter().copied();
            keys.into_iter().find(|press| !is_own(press))
        };
        let mut offered: Vec<(&str, Press)> = Vec::new();
        let with_key = actions
            .iter()
            .filter_map(|(action, _)| Some((*action, bound(action)?)));
        offered.extend(with_key);
        for (action, default) in actions {
            let press = Press::key(*default);
            let is_free = !offered
                .iter()
                .any(|(known, taken)| known == action || *taken == press);
            if is_free {
                offered.push((action, press));
            }
        }
        Self(offered)
    }

    /// Which of them is meant.
    pub(super) fn meant(&self, event: KeyEvent) -> Option<&'static str> {
        let (action, _) = self.0.iter().find(|(_, press)| press.is(event))?;
        Some(action)
    }

    /// Its key in this dialog; none where it is not offered.
    pub(super) fn key(&self, action: &str) -> Option<String> {
        let (_, press) = self.0.iter().find(|(known, _)| *known == action)?;
        Some(press.to_string())
    }

    /// `r retry, v verify`: what is said of those that are offered.
    pub(super) fn words(&self, said: &[(&str, &str)]) -> String {
        let word = |(action, says): &(&str, &str)| Some(format!("{} {says}, ", self.key(action)?));
        said.iter().filter_map(word).collect()
    }
}
