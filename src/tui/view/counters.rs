use crate::rules::status::{Look, Role, looks};
use crate::text::width;
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// How many sites are in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counter {
    look: Look,
    count: usize,
    form: Form,
}

/// How much room a counter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `✗ failed 3`
    Long,
    /// `✗ 3`
    Short,
    /// Left out.
    Gone,
}

/// Blanks before each.
const GAP: usize = 2;

/// A counter for each word of the sites' states. Together they are all sites. What needs attention goes first.
pub(super) fn counters(model: &Model) -> Vec<Counter> {
    let all: Vec<Look> = looks().collect();
    let words = model.tally.words();
    let mut counters: Vec<Counter> = words
        .filter_map(|(word, count)| {
            // Of two looks with the same word the one that needs more attention stands for both.
            let look = all
                .iter()
                .filter(|look| look.word == word)
                .max_by_key(|look| look.rank)?;
            Some(Counter {
                look: *look,
                count,
                form: Form::Long,
            })
        })
        .collect();
    counters.sort_by_key(|counter| std::cmp::Reverse((counter.needs_attention(), counter.look.rank)));
    counters
}

impl Counter {
    fn needs_attention(&self) -> bool {
        matches!(self.look.role, Role::Warning | Role::Bad | Role::Alarm)
    }

    pub(super) fn text(&self, model: &Model) -> String {
        let glyph = model.glyph(self.look.glyph, self.look.ascii);
        match self.form {
            Form::Long => format!("{:GAP$}{glyph} {} {}", "", self.look.word, self.count),
            Form::Short => format!("{:GAP$}{glyph} {}", "", self.count),
            Form::Gone => String::new(),
        }
    }

    pub(super) fn part(&self) -> Part {
        match self.look.role {
            Role::Quiet => Part::Text,
            role => Part::Status(role),
        }
    }

    /// The order in which they lose words, then their place: the proven ones last of all that are calm.
    fn loses_word(&self) -> (bool, bool, u8) {
        (
            self.needs_attention(),
            self.look.role == Role::Good,
            self.look.rank,
        )
    }
}

/// The columns that those take which need attention, in words; with the calm ones, without words, or without them.
pub(super) fn least_room(counters: &[Counter], with_calm: bool, model: &Model) -> usize {
    let columns = |counter: &Counter| match counter.needs_attention() {
        true => width(&counter.text(model)),
        false if with_calm => {
            let form = Form::Short;
            width(&Counter { form, ..*counter }.text(model))
        }
        false => 0,
    };
    counters.iter().map(columns).sum()
}

/// The columns that they take as they are.
pub(super) fn room(counters: &[Counter], model: &Model) -> usize {
    counters.iter().map(|counter| width(&counter.text(model))).sum()
}

/// Whether some were left out for lack of room.
pub(super) fn are_cut(counters: &[Counter]) -> bool {
    counters.iter().any(|counter| counter.form == Form::Gone)
}

/// Makes them fit into `room` columns: calm ones lose their word, then their place; what needs attention loses its
/// word at most.
pub(super) fn shrink(counters: &mut [Counter], room: usize, model: &Model) {
    let mut order: Vec<usize> = (0..counters.len()).collect();
    order.sort_by_key(|place| counters[*place].loses_word());
    let calm = order
        .iter()
        .take_while(|place| !counters[**place].needs_attention());
    let steps = calm.clone().map(|place| (*place, Form::Short));
    let steps = steps.chain(calm.map(|place| (*place, Form::Gone)));
    let urgent = order
        .iter()
        .skip_while(|place| !counters[**place].needs_attention());
    let steps: Vec<(usize, Form)> = steps.chain(urgent.map(|place| (*place, Form::Short))).collect();
    for (place, form) in steps {
        if self::room(counters, model) <= room {
            break;
        }
        counters[place].form = form;
    }
}
