use crate::rules::status::{Look, Role, looks};
use crate::text::width;
use crate::tui::columns::WIDE;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// `✗ failed 3`
    Long,
    /// `✗ fail 3`
    Brief,
    /// `✗ 3`
    Short,
    /// Left out.
    Gone,
}

/// Words of which less tells as much.
const BRIEF: [(&str, &str); 10] = [
    ("sending", "send"),
    ("retrying", "retry"),
    ("skipped", "skip"),
    ("failed", "fail"),
    ("cancelled", "cancel"),
    ("checking", "check"),
    ("serving", "serve"),
    ("settling", "settle"),
    ("drifted", "drift"),
    ("exposed_secret", "secret"),
];

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
    sort(&mut counters);
    counters
}

fn sort(counters: &mut [Counter]) {
    counters.sort_by_key(|counter| std::cmp::Reverse((counter.needs_attention(), counter.look.rank)));
}

impl Counter {
    fn needs_attention(&self) -> bool {
        matches!(self.look.role, Role::Warning | Role::Bad | Role::Alarm)
    }

    pub(super) fn text(&self, model: &Model) -> String {
        let glyph = model.glyph(self.look.glyph, self.look.ascii);
        match self.form {
            Form::Brief => format!("{:GAP$}{glyph} {} {}", "", self.brief(), self.count),
            Form::Long => format!("{:GAP$}{glyph} {} {}", "", self.look.word, self.count),
            Form::Short => format!("{:GAP$}{glyph} {}", "", self.count),
            Form::Gone => String::new(),
        }
    }

    fn brief(&self) -> &'static str {
        let known = BRIEF.iter().find(|(word, _)| *word == self.look.word);
        known.map_or(self.look.word, |(_, brief)| brief)
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

/// The columns that those take which need attention, in brief; in words, with the calm ones in brief on a wide screen, else without theirs.
pub(super) fn least_room(counters: &[Counter], with_calm: bool, model: &Model) -> usize {
    let is_wide = model.size.0 >= WIDE;
    let calm = if is_wide { Form::Brief } else { Form::Short };
    let columns = |counter: &Counter| {
        let form = match counter.needs_attention() {
            true if with_calm => Form::Long,
            true => Form::Brief,
            false if with_calm => calm,
            false => Form::Gone,
        };
        width(&Counter { form, ..*counter }.text(model))
    };
    counters.iter().map(columns).sum()
}

/// The columns that they take as they are.
pub(super) fn room(counters: &[Counter], model: &Model) -> usize {
    counters.iter().map(|counter| width(&counter.text(model))).sum()
}

/// How many were left out for lack of room, in at most so many columns: `+2 more`, `+2`, or nothing where all are there.
pub(super) fn left_out(counters: &[Counter], room: usize) -> String {
    let count = counters
        .iter()
        .filter(|counter| counter.form == Form::Gone)
        .count();
    if count == 0 {
        return String::new();
    }
    let short = format!("{:GAP$}+{count}", "");
    let long = format!("{short} more");
    if width(&long) <= room { long } else { short }
}

/// Makes them fit into `room` columns, together with how many are left out.
pub(super) fn shrink(counters: &mut [Counter], room: usize, model: &Model) {
    squeeze(counters, room, model);
    // What is left out is said, even if a word is to go for it.
    while self::room(counters, model) + width(&left_out(counters, 0)) > room {
        let before = counters.to_vec();
        squeeze(
            counters,
            room.saturating_sub(width(&left_out(counters, 0))),
            model,
        );
        if before == counters {
            break;
        }
    }
}

/// Of each kind those go first that need the least attention: words become brief, then the calm ones lose theirs, then
/// their place, and after them what needs attention its word; it keeps its place in any case, and how many are well as
/// long as that is so.
fn squeeze(counters: &mut [Counter], room: usize, model: &Model) {
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
        of(others, Form::Brief),
        of(Counter::is_well, Form::Brief),
        of(Counter::needs_attention, Form::Brief),
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
        counters[place].form = form.max(counters[place].form);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::rules::moment::Moment;
    use crate::tui::model::{Options, Start};
    use crate::tui::theme::Theme;

    pub(in crate::tui::view) fn model() -> Model {
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
                rollout: crate::rules::rollout::Settings::default(),
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

    /// Seven sites in each of these states.
    pub(in crate::tui::view) fn seven_each(words: &[&str]) -> Vec<Counter> {
        let mut known: Vec<Look> = looks().filter(|look| words.contains(&look.word)).collect();
        known.sort_by_key(|look| std::cmp::Reverse((look.word, look.rank)));
        known.dedup_by_key(|look| look.word);
        let counter = |look| Counter {
            look,
            count: 7,
            form: Form::Long,
        };
        let mut counters: Vec<Counter> = known.into_iter().map(counter).collect();
        sort(&mut counters);
        counters
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
    fn each_brief_word_is_a_shorter_one_of_a_state() {
        for (word, brief) in BRIEF {
            assert!(looks().any(|look| look.word == word), "{word}");
            assert!(brief.len() < word.len(), "{word}");
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let model = model();
        let words = ["sending", "settling", "mismatch", "drifted", "serving"];
        let drawn = |room| {
            let mut counters = seven_each(&words);
            shrink(&mut counters, room, &model);
            let text: String = counters.iter().map(|counter| counter.text(&model)).collect();
            let left = room.saturating_sub(super::room(&counters, &model));
            text + &left_out(&counters, left)
        };
        assert_eq!(
            drawn(96),
            "  ≠ drifted 7  ≠ mismatch 7  ◌ settling 7  … sending 7  ◍ serving 7"
        );
        assert_eq!(
            drawn(66),
            "  ≠ drifted 7  ≠ mismatch 7  ◌ settling 7  … send 7  ◍ serving 7"
        );
        assert_eq!(drawn(50), "  ≠ drift 7  ≠ mismatch 7  ◌ 7  … 7  ◍ serve 7");
        assert_eq!(drawn(30), "  ≠ drift 7  ≠ 7  ◍ 7  +2 more");
    }

    #[test]
    fn the_states_are_twenty_four() {
        assert_eq!(looks().count(), 24);
    }
}
