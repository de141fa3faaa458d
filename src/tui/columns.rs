use super::model::Model;
use super::theme::Part;
use crate::rules::note::note;
use crate::rules::state::{Served, SiteState};
use crate::rules::status::Look;
use crate::site::{Site, SiteId};

/// How wide a column is, in terminal columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// Always so wide.
    Fixed(usize),
    /// At least the first, and what is left is shared up to the second.
    Between(usize, usize),
}

/// One column of the table: all that it is.
pub struct Column {
    /// Its head.
    pub head: &'static str,
    /// How wide.
    pub width: Width,
    /// On a screen narrower than this (columns) it is left out.
    pub from: u16,
    /// Whether it stands at the right.
    pub right: bool,
    /// What stands in it, and how that looks.
    pub cell: fn(&Model, SiteId) -> (String, Part),
}

/// The columns, from left to right.
pub static COLUMNS: [Column; 10] = [
    Column {
        head: "SITE",
        width: Width::Between(14, 26),
        from: 0,
        right: false,
        cell: |model, id| (model.site(id).name.to_string(), Part::Text),
    },
    Column {
        head: "GROUP",
        width: Width::Fixed(7),
        from: 100,
        right: false,
        cell: |model, id| (group(model.site(id)), Part::Label),
    },
    Column {
        head: "NOW",
        width: Width::Fixed(15),
        from: 0,
        right: false,
        cell: |model, id| now(model, model.state(id)),
    },
    Column {
        head: "PUSH",
        width: Width::Fixed(11),
        from: 0,
        right: false,
        cell: |model, id| status(model, model.state(id).push.look()),
    },
    Column {
        head: "VERIFY",
        width: Width::Fixed(11),
        from: 0,
        right: false,
        cell: |model, id| status(model, model.state(id).verify.look()),
    },
    Column {
        head: "HTTP",
        width: Width::Fixed(4),
        from: 0,
        right: true,
        cell: |model, id| (number(model.state(id).http), Part::Text),
    },
    Column {
        head: "TRY",
        width: Width::Fixed(3),
        from: 0,
        right: true,
        cell: |model, id| (tries(model.state(id)), Part::Text),
    },
    Column {
        head: "MS",
        width: Width::Fixed(6),
        from: 100,
        right: true,
        cell: |model, id| {
            (
                number(model.state(id).took.map(|took| took.as_millis())),
                Part::Text,
            )
        },
    },
    Column {
        head: "AT",
        width: Width::Fixed(8),
        from: 0,
        right: false,
        cell: |model, id| {
            (
                model.state(id).at.map_or_else(String::new, |at| model.clock(at)),
                Part::Label,
            )
        },
    },
    Column {
        head: "NOTE",
        width: Width::Between(8, 500),
        from: 0,
        right: false,
        cell: |model, id| (note(model.state(id), &|at| model.clock(at)), Part::Text),
    },
];

fn group(site: &Site) -> String {
    site.group.as_ref().map_or_else(String::new, ToString::to_string)
}

fn now(model: &Model, state: &SiteState) -> (String, Part) {
    match &state.now {
        Served::Unknown => (model.glyph("–", "-").to_owned(), Part::Label),
        Served::Key(key) => (model.mask(key), Part::Text),
        Served::NoKey => ("no key".to_owned(), Part::Label),
        Served::Secret => (
            "A SECRET".to_owned(),
            Part::Status(crate::rules::status::Role::Alarm),
        ),
    }
}

fn status(model: &Model, look: Look) -> (String, Part) {
    if look.word == "idle" || look.word == "unchecked" {
        return (model.glyph("–", "-").to_owned(), Part::Label);
    }
    (
        format!("{} {}", model.glyph(look.glyph, look.ascii), look.word),
        Part::Status(look.role),
    )
}

fn number(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn tries(state: &SiteState) -> String {
    if state.puts == 0 {
        String::new()
    } else {
        state.puts.to_string()
    }
}

/// The columns that a screen of `width` columns shows, each with its width. `indent` columns stand before
/// them, and two blanks between them.
pub fn layout(width: u16, indent: usize) -> Vec<(&'static Column, usize)> {
    let shown: Vec<&Column> = COLUMNS.iter().filter(|column| width >= column.from).collect();
    let least = |column: &Column| match column.width {
        Width::Fixed(width) | Width::Between(width, _) => width,
    };
    let taken: usize = indent + shown.iter().map(|column| least(column) + 2).sum::<usize>() - 2;
    let mut left = usize::from(width).saturating_sub(taken);
    let mut sized = Vec::new();
    for column in shown {
        let more = match column.width {
            Width::Fixed(_) => 0,
            // The first of them takes a third at most, so that the note keeps its share.
            Width::Between(least, most) => (most - least).min(if most < 100 { left / 3 } else { left }),
        };
        left -= more;
        sized.push((column, least(column) + more));
    }
    sized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_fill_the_screen_and_no_more() {
        for width in [60, 80, 99, 100, 120, 200, 400] {
            let total: usize = layout(width, 3).iter().map(|(_, width)| width + 2).sum::<usize>() - 2 + 3;
            let least = layout(0, 3).iter().map(|(_, width)| width + 2).sum::<usize>() + 1;
            assert!(total <= usize::from(width).max(least), "{width}: {total}");
        }
    }
}
