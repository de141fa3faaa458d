use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use super::Strip;
use crate::rules::status::Role;
use crate::text::width;
use crate::tui::screen::Screen;
use crate::tui::theme::Part;

/// Where the text begins, in columns.
const LABEL: usize = 10;

/// ` filter   push:failed                                             3 of 240`
pub(super) fn draw(screen: &Screen, frame: &mut Frame, area: Rect) {
    let model = &screen.model;
    let filter = &model.filter;
    let mut strip = Strip::new(model, area.width);
    let part = if filter.is_editing() {
        Part::Key
    } else {
        Part::Label
    };
    strip.push(&format!("{:<LABEL$}", " filter"), part);
    let count = format!("{} ", model.visible_in_words());
    let room = strip.left.saturating_sub(width(&count) + 2);
    strip.push(&model.fit(filter.text(), room), Part::Header);
    if let Some(nonsense) = filter.nonsense() {
        let room = strip.left.saturating_sub(width(&count) + 4);
        strip.push("  ", Part::Text);
        strip.push(
            &model.fit(&nonsense.to_string(), room),
            Part::Status(Role::Warning),
        );
    }
    strip.pad_to(width(&count));
    let part = if model.list.is_empty() {
        Part::Status(Role::Warning)
    } else {
        Part::Text
    };
    strip.push(&count, part);
    strip.draw(frame, area);
    if filter.is_editing() && screen.dialog.is_none() {
        let column = LABEL + filter.cursor_column().min(room);
        let column = u16::try_from(column).unwrap_or(u16::MAX);
        frame.set_cursor_position(Position::new(
            area.x + column.min(area.width.saturating_sub(1)),
            area.y,
        ));
    }
}
