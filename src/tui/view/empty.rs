use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Paragraph, Wrap};

use crate::tui::model::Model;
use crate::tui::theme::Part;

/// Says where sites were looked for and what to do next.
pub(super) fn draw(model: &Model, frame: &mut Frame, area: Rect) {
    let label = model.options.theme.style(Part::Label);
    let key = model.options.theme.style(Part::Key);
    let mut lines = vec![Line::raw("")];
    if model.searched.is_empty() {
        lines.push(Line::raw(format!("   {} lists no sites.", model.config)));
    } else {
        lines.push(Line::raw("   There is no config yet. Looked for:"));
        for path in &model.searched {
            lines.push(Line::styled(
                model.text(&format!("     {}", path.display())),
                label,
            ));
        }
    }
    lines.push(Line::raw(""));
    lines.push(Line::raw(
        "   Or name one with --config. To begin with, it needs this for each site:",
    ));
    lines.push(Line::raw(""));
    lines.push(Line::styled("     [[sites]]", key));
    lines.push(Line::styled("     url = \"https://shop.example.com\"", key));
    lines.push(Line::raw(""));
    lines.push(Line::raw(
        "   and, to push, the master key: in $TEMPLATE_MASTER_API_KEY, or as config.example.toml
   shows, which has all that can stand in a config. To try the program first,",
    ));
    lines.push(Line::raw(
        "   on shops inside this machine that fail in every way:",
    ));
    lines.push(Line::raw(""));
    lines.push(Line::styled("     stripe-propagate demo", key));
    frame.render_widget(Paragraph::new(Text::from(lines)).wrap(Wrap { trim: false }), area);
}
