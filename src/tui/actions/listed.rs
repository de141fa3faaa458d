use super::{Action, known};
use crate::rules::status::{Look, push_looks, verify_looks};
use crate::tui::Effect;
use crate::tui::dialogs::{Dialog, Entry, Help, HelpLine, Palette};
use crate::tui::filter::FIELDS;
use crate::tui::model::Model;
use crate::tui::screen::Screen;

/// What goes on the marked sites, where there are any: the most wanted first.
const ON_MARKED: [&str; 4] = ["push", "retry", "verify", "unmark all"];

impl Action {
    /// Its place in the footer among those that go on the marked sites; behind them, if it does not.
    pub(in crate::tui) fn place_with_marks(&self) -> usize {
        let place = ON_MARKED.iter().position(|name| *name == self.name);
        place.unwrap_or(ON_MARKED.len())
    }
}

/// The groups of the help, each with its actions. What is in none of them comes last.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "push",
        &[
            "push all",
            "push",
            "retry all failed",
            "retry",
            "roll back",
            "pause",
        ],
    ),
    (
        "look",
        &[
            "verify all",
            "verify",
            "preflight",
            "watch",
            "acknowledge",
            "detail",
            "owed",
            "history",
            "messages",
        ],
    ),
    (
        "find, mark and sort",
        &[
            "filter",
            "clear filter",
            "next failed",
            "keys served",
            "mark",
            "mark all",
            "mark failed",
            "unmark all",
            "sort",
            "turn the order",
        ],
    ),
    ("the key", &["edit key", "show key"]),
    (
        "move",
        &[
            "down",
            "up",
            "half page down",
            "half page up",
            "page down",
            "page up",
            "first",
            "last",
        ],
    ),
];
/// The name of what is in no group.
const OTHERS: &str = "the screen";

/// What keys do where text is typed, where something is read, and where something is asked.
const ELSEWHERE: &[(&str, &[(&str, &str)])] = &[
    (
        "in a field",
        &[
            ("Enter", "done"),
            ("Esc", "leaves it as it was; ^C too"),
            ("^U", "wipes what stands there"),
            (
                "^R",
                "in the key field: shows the key for 10 seconds, or hides it",
            ),
        ],
    ),
    (
        "in a dialog",
        &[
            (
                "j k ↓ ↑",
                "a line down or up; ^D ^U half a page, PgDn PgUp a page, g G first and last",
            ),
            ("Esc", "closes it and does nothing else; ^C too"),
        ],
    ),
];

/// What an action needs, and the model has not: why it cannot be done now.
type Lacks = fn(&Model) -> Option<&'static str>;

/// By actions; what is not in here can always be done, but for what a screen that only watches refuses.
const NEEDS: &[(&[&str], Lacks)] = &[
    (&["dry run"], |model| {
        no_sites(model).or_else(|| model.field.key().is_none().then_some("there is no key to push"))
    }),
    (&["push all", "push"], |model| {
        no_sites(model).or_else(|| {
            let lacks = if model.field.key().is_none() {
                "there is no key to push"
            } else {
                "a run is still sending"
            };
            (model.field.key().is_none() || model.is_sending()).then_some(lacks)
        })
    }),
    (&["retry all failed", "retry"], |model| {
        let nothing = model.failed + model.held_back == 0;
        nothing.then_some("nothing failed")
    }),
    (&["pause"], |model| {
        (!model.is_sending()).then_some("no run is sending")
    }),
    (&["write a config"], |model| {
        model.options.read_only.then_some("this screen is read-only")
    }),
    (
        &[
            "roll back",
            "verify all",
            "verify",
            "preflight",
            "watch",
            "acknowledge",
            "detail",
            "filter",
            "mark",
            "mark all",
            "keys served",
        ],
        no_sites,
    ),
];

fn no_sites(model: &Model) -> Option<&'static str> {
    model.sites.is_empty().then_some("there are no sites")
}

/// Opens the palette.
pub(super) fn palette(screen: &mut Screen) -> Vec<Effect> {
    let model = &screen.model;
    let lacks = |action: &Action| {
        let needs = NEEDS.iter().find(|(names, _)| names.contains(&action.name));
        let refused = action.when.refusal(model).map(|_| "this screen is read-only");
        refused.or_else(|| needs.and_then(|(_, lacks)| lacks(model)))
    };
    let entries = known(model).filter(|action| action.name != "palette");
    let entries = entries.map(|action| Entry {
        name: action.name,
        keys: model.options.keys.words(action.name),
        help: action.help,
        lacks: lacks(action),
    });
    let palette = Palette::new(entries.collect());
    screen.dialog = Some(Dialog::Palette(Box::new(palette)));
    Vec::new()
}

/// Opens the help.
pub(super) fn help(screen: &mut Screen) -> Vec<Effect> {
    let model = &screen.model;
    let line = |name: &'static str, help| HelpLine {
        keys: model.options.keys.words(name),
        name,
        help,
    };
    let mut groups: Vec<(&str, Vec<HelpLine>)> = GROUPS
        .iter()
        .map(|(title, names)| {
            let named = |name: &&str| known(model).find(|action| action.name == *name);
            let actions = names.iter().filter_map(named);
            (
                *title,
                actions.map(|action| line(action.name, action.help)).collect(),
            )
        })
        .collect();
    let in_group = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let others = known(model).filter(|action| !in_group(action.name));
    groups.push((
        OTHERS,
        others.map(|action| line(action.name, action.help)).collect(),
    ));
    let fields = FIELDS.iter().map(|field| HelpLine {
        keys: format!("{}:", field.name),
        name: "",
        help: field.help,
    });
    let not = HelpLine {
        keys: "!".to_owned(),
        name: "",
        help: "in front of a word or a field: not; \"two words\" are one; plain words match name, URL, group and note",
    };
    groups.push(("in the filter", fields.chain([not]).collect()));
    groups.extend(ELSEWHERE.iter().map(|(title, keys)| {
        let lines = keys.iter().map(|(keys, help)| HelpLine {
            keys: (*keys).to_owned(),
            name: "",
            help,
        });
        (*title, lines.collect())
    }));
    groups.push(("signs in PUSH", legend(model, push_looks())));
    groups.push(("signs in VERIFY", legend(model, verify_looks())));
    screen.dialog = Some(Dialog::Help(Help::new(groups)));
    Vec::new()
}

/// Each sign with its word and what it means.
fn legend(model: &Model, looks: impl Iterator<Item = Look>) -> Vec<HelpLine> {
    let line = |look: Look| HelpLine {
        keys: model.glyph(look.glyph, look.ascii).to_owned(),
        name: look.word,
        help: look.means,
    };
    looks.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::actions::named_action;

    #[test]
    fn what_is_grouped_or_needs_something_is_an_action() {
        let needs = NEEDS.iter().flat_map(|(names, _)| names.iter());
        let groups = GROUPS.iter().flat_map(|(_, names)| names.iter());
        for name in needs.chain(groups).chain(&ON_MARKED) {
            assert!(named_action(name).is_some(), "{name}");
        }
    }
}
