use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::text::{Line, Span};

use super::{Pressed, draw_box};
use crate::rules::status::Role;
use crate::tui::Effect;
use crate::tui::model::Model;
use crate::tui::setup::{SetupOrder, Wrong};
use crate::tui::theme::Part;

/// A config that was read again and is wrong; what was read before stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongConfig(pub Wrong);

impl WrongConfig {
    pub(super) fn press(model: &Model, press: KeyEvent) -> Pressed {
        if model.options.keys.is("reload", press) {
            return Pressed::Closes(vec![Effect::Setup(SetupOrder::Reload)]);
        }
        match press.code {
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => Pressed::Closes(Vec::new()),
            _ => Pressed::Stays,
        }
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let mut lines = wrong_lines(model, &self.0);
        lines.push(Line::raw(""));
        lines.push(Line::raw(format!(
            "What was read before stays. Mend the file, then {} reads it again; Esc closes this.",
            model.key_of("reload")
        )));
        draw_box(model, frame, "the config is wrong", lines, 0);
    }
}

/// Where it is wrong, why, and the names in the lines there.
pub fn wrong_lines(model: &Model, wrong: &Wrong) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let bad = theme.style(Part::Status(Role::Bad));
    let mut lines = vec![
        Line::styled(model.text(&wrong.place), theme.style(Part::Key)),
        Line::styled(model.text(&wrong.message), bad),
    ];
    if !wrong.around.is_empty() {
        lines.push(Line::raw(""));
    }
    for line in &wrong.around {
        let is_it = Some(line.number) == wrong.line;
        let (mark, part) = if is_it {
            (">", Part::Text)
        } else {
            (" ", Part::Label)
        };
        let number = Span::styled(format!("{mark} {:>4}  ", line.number), theme.style(Part::Label));
        let text = Span::styled(model.text(&line.text), theme.style(part));
        lines.push(Line::from(vec![number, text]));
    }
    lines
}
