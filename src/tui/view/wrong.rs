use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Margin, Rect};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Paragraph, Wrap};

use crate::tui::dialogs::wrong_lines;
use crate::tui::model::Model;
use crate::tui::setup::Wrong;

/// Says why the config cannot be used, and how to go on.
pub(super) fn draw(model: &Model, wrong: &Wrong, frame: &mut Frame, area: Rect) {
    let [_, area] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
    let mut lines = vec![Line::raw("The config cannot be used:"), Line::raw("")];
    lines.extend(wrong_lines(model, wrong));
    lines.push(Line::raw(""));
    lines.push(Line::raw(format!(
        "Mend it, in another terminal or behind {}, then {} reads it again. Values are not shown here: one could be \
         a secret. Nothing is sent before it is read.",
        model.key_of("suspend"),
        model.key_of("reload")
    )));
    let text = Paragraph::new(Text::from(lines)).wrap(Wrap { trim: false });
    frame.render_widget(text, area.inner(Margin::new(3, 0)));
}
