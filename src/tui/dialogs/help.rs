use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::text::{Line, Span};

use super::hanging::hanging;
use super::scroll::{closes, scrolled};
use super::{Pressed, draw_box, inner_width, last_scroll};
use crate::text::{pad, width};
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// Columns of the keys, at least and at most: words take more room than arrows.
const KEYS: (usize, usize) = (9, 16);
/// Columns of the names.
const NAMES: usize = 17;

/// All keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Help {
    groups: Vec<(&'static str, Vec<HelpLine>)>,
    scroll: usize,
}

/// A line of the help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelpLine {
    /// What is pressed.
    pub keys: String,
    /// The action's name, as the palette and the config have it; empty where it has none.
    pub name: &'static str,
    /// What that does.
    pub help: &'static str,
}

impl Help {
    /// Lines in groups, each with a title.
    pub fn new(groups: Vec<(&'static str, Vec<HelpLine>)>) -> Self {
        Self { groups, scroll: 0 }
    }

    pub(super) fn press(&mut self, model: &Model, press: KeyEvent) -> Pressed {
        let last = last_scroll(model, self.lines(model));
        if let Some(to) = scrolled(self.scroll, press, model.table_height(), last) {
            self.scroll = to;
        } else if press.code == KeyCode::Char('/') {
            return Pressed::Runs("palette");
        } else if closes(press) {
            return Pressed::Closes(Vec::new());
        }
        Pressed::Stays
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let lines = self.lines(model);
        let last = last_scroll(model, lines.clone());
        let more = last.saturating_sub(self.scroll);
        let title = match more {
            0 => "keys  (/ finds, Esc closes)".to_owned(),
            more => format!("keys  (j k scroll, G signs, / finds, Esc closes)  {more} more below"),
        };
        let scroll = self.scroll.min(last);
        draw_box(model, frame, &title, lines, scroll);
    }

    fn lines(&self, model: &Model) -> Vec<Line<'static>> {
        let theme = model.options.theme;
        let all = self.groups.iter().flat_map(|(_, group)| group);
        let widest = all.map(|line| width(&model.text(&line.keys))).max();
        let columns = widest.unwrap_or_default().clamp(KEYS.0, KEYS.1);
        let mut lines = vec![Line::raw(
            "Lower case is for the marked sites, else the one under the cursor; upper case for all that are shown. Esc is always harmless.",
        )];
        for (title, group) in &self.groups {
            lines.push(Line::raw(""));
            lines.push(Line::styled(model.text(title), theme.style(Part::Header)));
            for line in group {
                let keys = model.pad(&line.keys, columns);
                let name = if line.name.is_empty() {
                    String::new()
                } else {
                    pad(line.name, NAMES)
                };
                let head = vec![
                    Span::styled(keys, theme.style(Part::Key)),
                    Span::raw(format!(" {name}")),
                ];
                let text = model.text(line.help);
                lines.extend(hanging(head, &text, theme.style(Part::Text), inner_width(model)));
            }
        }
        lines
    }
}
