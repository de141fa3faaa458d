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

    /// Whether it says how many are as they should be, as far as can be told.
    fn is_well(&self) -> bool {
        matches!(self.look.role, Role::Good | Role::Hopeful)
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

/// Makes them fit into `room` columns. Of each kind those go first that need the least attention: the calm ones lose
/// their word, then their place, and after them what needs attention its word; it keeps its place in any case, and
/// how many are well as long as that is so.
pub(super) fn shrink(counters: &mut [Counter], room: usize, model: &Model) {
    let mut order: Vec<usize> = (0..counters.len()).collect();
    // What is proven needs none, and is what one waits for.
    order.sort_by_key(|place| {
        (
            counters[*place].look.role == Role::Good,
            counters[*place].look.rank,
        )
    });
    let of = |kind: fn(&Counter) -> bool, form: Form| -> Vec<(usize, Form)> {
        let places = order.iter().filter(|place| kind(&counters[**place]));
        places.map(|place| (*place, form)).collect()
    };
    let others = |counter: &Counter| !counter.needs_attention() && !counter.is_well();
    let steps = [
        of(others, Form::Short),
        of(Counter::is_well, Form::Short),
        of(others, Form::Gone),
        of(Counter::needs_attention, Form::Short),
        of(Counter::is_well, Form::Gone),
    ];
    for (place, form) in steps.concat() {
        if self::room(counters, model) <= room {
            break;
        }
        counters[place].form = form;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::rules::moment::Moment;
    use crate::tui::model::{Options, Start};
    use crate::tui::theme::Theme;

    fn model() -> Model {
        let start = Start {
            sites: Arc::new([]),
            states: Vec::new(),
            operator: String::new(),
            config: String::new(),
            searched: Vec::new(),
            setup: crate::tui::setup::Setup::default(),
            run: None,
            away_since: None,
            key: None,
            options: Options {
                ascii: false,
                theme: Theme::DEFAULT,
                keys: crate::tui::keys::Bindings::new(Vec::new()),
                clipboard: crate::tui::model::Clipboard::Takes,
                demo: false,
                read_only: false,
                zone: TimeZone::UTC,
            },
            size: (80, 24),
        };
        let now = Moment {
            since_start: std::time::Duration::ZERO,
            wall: Timestamp::UNIX_EPOCH,
        };
        Model::new(start, now)
    }

    proptest! {
        #[test]
        fn what_needs_attention_is_never_left_out_and_nothing_is_cut_in_its_middle(
            counts in prop::collection::vec(0_usize..2000, 23),
            room in 0_usize..200,
        ) {
            let model = model();
            let mut counters: Vec<Counter> = looks()
                .zip(counts)
                .filter(|(_, count)| *count > 0)
                .map(|(look, count)| Counter { look, count, form: Form::Long })
                .collect();
            shrink(&mut counters, room, &model);
            let urgent = |counter: &&Counter| counter.needs_attention();
            prop_assert!(counters.iter().filter(urgent).all(|counter| counter.form != Form::Gone));
            let all_is_short = counters
                .iter()
                .all(|counter| counter.form == if counter.needs_attention() { Form::Short } else { Form::Gone });
            prop_assert!(super::room(&counters, &model) <= room || all_is_short);
        }
    }

    #[test]
    fn the_states_are_twenty_three() {
        assert_eq!(looks().count(), 23);
    }
}
