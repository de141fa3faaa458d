use std::cmp::Reverse;

use super::list::{SortBy, SortKey};
use super::model::Model;
use super::theme::Part;
use crate::rules::note::note;
use crate::rules::state::{Served, SiteState};
use crate::rules::status::Look;
use crate::rules::tally::Tally;
use crate::site::{Site, SiteId};
use crate::text::width;

/// How wide a column is, in terminal columns.
#[derive(Debug, Clone, Copy)]
pub enum Width {
    /// Always so wide.
    Fixed(usize),
    /// At least the first, and all that is left; what is beyond the second it can spare.
    Rest(usize, usize),
    /// At least that, and what the longest of the words needs that a site has in it now.
    Words(usize, Words),
    /// At least the first; more, up to the second or the longest name, of what the rest can spare.
    Names(usize, usize),
}

/// The words that sites have in a column, with how many have each.
pub type Words = fn(&Tally) -> Vec<(&'static str, usize)>;

impl Width {
    fn least(self, model: &Model, screen: u16) -> usize {
        match self {
            Self::Fixed(width) | Self::Names(width, _) | Self::Rest(width, _) => width,
            // There is no room for any more.
            Self::Words(least, _) if screen < MIDDLE => least,
            Self::Words(least, words) => {
                let words = words(&model.tally).into_iter();
                let shown = words.filter(|(word, count)| *count > 0 && !is_nothing(word));
                // A glyph and a blank stand before the word.
                shown.map(|(word, _)| width(word) + 2).fold(least, usize::max)
            }
        }
    }
}

/// One column of the table: all that it is.
pub struct Column {
    /// Its head.
    pub head: &'static str,
    /// How wide.
    pub width: Width,
    /// Whether it is shown on a screen that is so many columns wide.
    pub shown: fn(&Model, u16) -> bool,
    /// Whether what has no room in it is cut in the middle.
    pub keeps_end: bool,
    /// Whether it stands at the right.
    pub right: bool,
    /// What sites are sorted by that are sorted by this column.
    pub sort: SortBy,
    /// What stands in it, and how that looks.
    pub cell: fn(&Model, SiteId) -> (String, Part),
}

/// From this width on (columns) the table has all its columns but NOTE, with two blanks between them.
pub const WIDE: u16 = 100;

/// From this width on (columns) there is room for NOTE, too, whatever the others hold.
const WITH_NOTE: u16 = 114;
/// Below this width (columns) there is room for the least of each column alone, and none for AT.
const MIDDLE: u16 = 76;

fn always(_: &Model, _: u16) -> bool {
    true
}

fn wide(_: &Model, width: u16) -> bool {
    width >= WIDE
}

/// The columns, from left to right.
pub static COLUMNS: [Column; 11] = [
    Column {
        head: "SITE",
        width: Width::Names(13, 30),
        shown: always,
        keeps_end: true,
        right: false,
        sort: |site, _| SortKey::text(site.name.as_str()),
        cell: |model, id| (name(model, id), Part::Text),
    },
    Column {
        head: "GROUP",
        width: Width::Fixed(6),
        shown: |model, width| width >= WIDE && model.has_groups,
        keeps_end: false,
        right: false,
        sort: |site, _| SortKey::text(&group(site)),
        cell: |model, id| (group(model.site(id)), Part::Label),
    },
    Column {
        head: "WAVE",
        width: Width::Fixed(6),
        shown: |model, width| width >= WIDE && model.run().is_some_and(|run| run.rollout.waves > 1),
        keeps_end: false,
        right: false,
        sort: |_, state| SortKey::number(state.wave.and_then(|wave| u64::try_from(wave).ok())),
        cell: |model, id| (wave(model, model.state(id)), Part::Label),
    },
    Column {
        head: "NOW",
        width: Width::Fixed(13),
        shown: always,
        keeps_end: false,
        right: false,
        sort: |_, state| SortKey::text(&served(state)),
        cell: |model, id| now(model, model.state(id)),
    },
    Column {
        head: "PUSH",
        width: Width::Words(10, |tally| tally.push_words().collect()),
        shown: always,
        keeps_end: false,
        right: false,
        sort: |_, state| SortKey::Rank(Reverse(state.push.look().rank)),
        cell: |model, id| status(model, model.state(id).push.look()),
    },
    Column {
        head: "VERIFY",
        width: Width::Words(10, |tally| tally.verify_words().collect()),
        shown: always,
        keeps_end: false,
        right: false,
        sort: |_, state| SortKey::Rank(Reverse(state.verify.look().rank)),
        cell: |model, id| status(model, model.state(id).verify.look()),
    },
    Column {
        head: "HTTP",
        width: Width::Fixed(4),
        shown: always,
        keeps_end: false,
        right: true,
        sort: |_, state| SortKey::number(state.http.map(u64::from)),
        cell: |model, id| (number(model, model.state(id).http), Part::Text),
    },
    Column {
        head: "TRY",
        width: Width::Fixed(3),
        shown: wide,
        keeps_end: false,
        right: true,
        sort: |_, state| SortKey::Number(false, u64::MAX - u64::from(state.puts)),
        cell: |model, id| (tries(model.state(id)), Part::Text),
    },
    Column {
        head: "MS",
        width: Width::Fixed(5),
        shown: wide,
        keeps_end: false,
        right: true,
        sort: |_, state| slowest_first(state),
        cell: |model, id| {
            let took = model.state(id).took.map(|took| took.as_millis());
            (number(model, took), Part::Text)
        },
    },
    Column {
        head: "AT",
        width: Width::Fixed(8),
        shown: |_, width| width >= MIDDLE,
        keeps_end: false,
        right: false,
        sort: |_, state| newest_first(state),
        cell: |model, id| (at(model, model.state(id)), Part::Label),
    },
    Column {
        head: "NOTE",
        width: Width::Rest(8, 18),
        shown: |_, width| width >= WITH_NOTE,
        keeps_end: false,
        right: false,
        sort: |_, state| SortKey::text(&note(state, &|at| at.wall.to_string())),
        cell: told,
    },
];

/// What NOTE tells of a site.
pub fn told(model: &Model, id: SiteId) -> (String, Part) {
    let state = model.state(id);
    // What shows a secret is told whoever holds it.
    let is_alarm = state.alarm || state.verify == crate::rules::status::Verify::ExposedSecret;
    if let Some(held) = model.held_in_words(id).filter(|_| !is_alarm) {
        return (held, Part::Status(crate::rules::status::Role::Busy));
    }
    let note = model.note(id);
    if note.is_empty() && model.is_of_session(id) {
        return ("this session only".to_owned(), Part::Label);
    }
    (note, Part::Text)
}

/// A site that stands in no config has a mark, by the key that has added it.
fn name(model: &Model, id: SiteId) -> String {
    let name = &model.site(id).name;
    if model.is_of_session(id) {
        return format!("+ {name}");
    }
    name.to_string()
}

/// The site's wave in the run that goes on, or went last.
pub(super) fn wave(model: &Model, state: &SiteState) -> String {
    let of_run = model.run().filter(|run| state.in_run && run.rollout.waves > 1);
    let name = of_run.and_then(|run| Some(run.rollout.wave_name(state.wave?)));
    name.unwrap_or_default()
}

fn served(state: &SiteState) -> String {
    state.now.words(|key| key.as_str().to_owned())
}

fn slowest_first(state: &SiteState) -> SortKey {
    let took = state.took.and_then(|took| u64::try_from(took.as_millis()).ok());
    SortKey::number(took.map(|took| u64::MAX - took))
}

fn newest_first(state: &SiteState) -> SortKey {
    let at = state
        .at
        .and_then(|at| u64::try_from(at.wall.as_millisecond()).ok());
    SortKey::number(at.map(|at| u64::MAX - at))
}

fn group(site: &Site) -> String {
    site.group.as_ref().map_or_else(String::new, ToString::to_string)
}

fn now(model: &Model, state: &SiteState) -> (String, Part) {
    match &state.now {
        Served::Unknown => (model.glyph("–", "-").to_owned(), Part::Label),
        Served::Key(key) => (model.narrow_mask(key), Part::Text),
        Served::NoKey => ("no key".to_owned(), Part::Label),
        Served::Secret => (
            "A SECRET".to_owned(),
            Part::Status(crate::rules::status::Role::Alarm),
        ),
    }
}

/// Whether a word says that nothing was done: a stroke stands for it.
fn is_nothing(word: &str) -> bool {
    word == "idle" || word == "unchecked"
}

fn status(model: &Model, look: Look) -> (String, Part) {
    if is_nothing(look.word) {
        return (model.glyph("–", "-").to_owned(), Part::Label);
    }
    (
        format!("{} {}", model.glyph(look.glyph, look.ascii), look.word),
        Part::Status(look.role),
    )
}

fn number(model: &Model, value: Option<impl ToString>) -> String {
    value.map_or_else(|| model.glyph("–", "-").to_owned(), |value| value.to_string())
}

fn tries(state: &SiteState) -> String {
    if state.puts == 0 {
        String::new()
    } else {
        state.puts.to_string()
    }
}

fn at(model: &Model, state: &SiteState) -> String {
    state.at.map_or_else(String::new, |at| model.short_clock(at))
}

/// The columns that a screen of `width` columns shows, each with its width; `indent` columns stand before
/// them and `gap` between two of them.
pub fn layout(model: &Model, width: u16, indent: usize, gap: usize) -> Vec<(&'static Column, usize)> {
    let shown: Vec<&Column> = COLUMNS
        .iter()
        .filter(|column| (column.shown)(model, width))
        .collect();
    let least: Vec<usize> = shown
        .iter()
        .map(|column| column.width.least(model, width))
        .collect();
    let taken = indent + least.iter().sum::<usize>() + gap * shown.len().saturating_sub(1);
    let mut left = usize::from(width).saturating_sub(taken);
    let kept = shown.iter().find_map(|column| match column.width {
        Width::Rest(least, enough) => Some(enough - least),
        _ => None,
    });
    let mut spare = left.saturating_sub(kept.unwrap_or_default());
    let mut sized = Vec::new();
    for (column, least) in shown.into_iter().zip(least) {
        let more = match column.width {
            Width::Fixed(_) | Width::Words(..) => 0,
            Width::Names(_, most) => {
                // Some have a mark before them.
                let mark = if model.setup.added.is_empty() { 0 } else { 2 };
                let wanted = (model.name_columns + mark).min(most);
                let more = wanted.saturating_sub(least).min(spare);
                spare -= more;
                more
            }
            Width::Rest(..) => left,
        };
        left -= more;
        sized.push((column, least + more));
    }
    sized
}
