use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::text::Line;

use super::scroll::{closes, scrolled};
use super::{Pressed, draw_box, last_scroll};
use crate::rules::note::note;
use crate::rules::tally::word;
use crate::site::SiteId;
use crate::tui::model::Model;

/// The sites that are not known to serve what is expected of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owed {
    scroll: usize,
}

impl Owed {
    pub(super) fn press(&mut self, model: &Model, press: KeyEvent) -> Pressed {
        let last = last_scroll(model, lines(model));
        if let Some(to) = scrolled(self.scroll, press, model.table_height(), last) {
            self.scroll = to;
        } else if closes(press) {
            return Pressed::Closes(Vec::new());
        }
        Pressed::Stays
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let lines = lines(model);
        let last = last_scroll(model, lines.clone());
        let more = last.saturating_sub(self.scroll);
        let mut title = "owed a key  (j k scroll, Esc closes)".to_owned();
        if more > 0 {
            title = format!("{title}  {more} more below");
        }
        draw_box(model, frame, &title, lines, self.scroll.min(last));
    }
}

/// Which sites are owed which key since when, whatever run left them so.
fn lines(model: &Model) -> Vec<Line<'static>> {
    let owed = model.owed();
    if owed.is_empty() {
        return vec![Line::raw(
            "none: each site serves what was last pushed to it, as far as was seen",
        )];
    }
    let line = |id: &SiteId| {
        let state = model.state(*id);
        let key = state
            .expected
            .as_ref()
            .map(|key| model.mask(key))
            .unwrap_or_default();
        let since = state
            .expected_since
            .map(|since| model.clock(since))
            .unwrap_or_default();
        let run = state
            .run
            .map_or_else(String::new, |run| format!(" (run {})", run.0));
        let word = word(state);
        let note = note(state, &|at| model.clock(at));
        let note = if note.is_empty() {
            note
        } else {
            format!(": {note}")
        };
        let name = model.pad(model.site(*id).name.as_str(), 20);
        Line::raw(model.text(&format!("{name} {key} since {since}{run}  {word}{note}")))
    };
    owed.iter().map(line).collect()
}
