use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::site::SiteId;
use crate::text::width;
use crate::tui::columns::{Column, WIDE, layout};
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// Columns before the first one: a blank, the cursor's mark, a blank.
const INDENT: usize = 3;

/// The heads, then a line a site.
pub(super) fn draw(model: &Model, frame: &mut Frame, area: Rect) {
    let gap = if area.width >= WIDE { 2 } else { 1 };
    let columns = layout(model, area.width, INDENT, gap);
    let mut lines = vec![heads(model, &columns, gap)];
    let visible = model.list.order().iter().enumerate().skip(model.list.top());
    for (place, id) in visible.take(usize::from(area.height).saturating_sub(1)) {
        lines.push(row(model, *id, place == model.list.cursor(), &columns, gap));
    }
    // A paragraph steps on by what it draws, cluster by cluster; a text by what `unicode-width` says of a whole span,
    // which is less where letters have a ligature.
    frame.render_widget(Paragraph::new(lines), area);
}

fn heads(model: &Model, columns: &[(&'static Column, usize)], gap: usize) -> Line<'static> {
    let style = model.options.theme.style(Part::Label);
    let mut text = " ".repeat(INDENT);
    for (column, columns) in columns {
        let head = sorted_head(model, column);
        text.push_str(&padded(model.fit(&head, *columns), *columns, column.right));
        text.push_str(&" ".repeat(gap));
    }
    Line::styled(text, style)
}

/// The head of the column that sites are sorted by says so, where they are not in their usual order.
fn sorted_head(model: &Model, column: &Column) -> String {
    let sort = model.list.sort();
    if sort.column != Some(column.head) {
        return column.head.to_owned();
    }
    let arrow = if sort.turned {
        model.glyph("▲", "^")
    } else {
        model.glyph("▼", "v")
    };
    format!("{}{arrow}", column.head)
}

fn row(
    model: &Model,
    id: SiteId,
    selected: bool,
    columns: &[(&'static Column, usize)],
    gap: usize,
) -> Line<'static> {
    let theme = model.options.theme;
    let mark = if model.list.is_marked(id) {
        model.glyph("●", "*")
    } else {
        " "
    };
    let cursor = if selected { model.glyph("▌ ", "> ") } else { "  " };
    let mut spans = vec![Span::raw(mark), Span::raw(cursor)];
    for (column, columns) in columns {
        let (text, part) = (column.cell)(model, id);
        spans.push(Span::styled(
            padded(model.fit(&text, *columns), *columns, column.right),
            theme.style(part),
        ));
        spans.push(Span::raw(" ".repeat(gap)));
    }
    let line = Line::from(spans);
    if selected {
        line.patch_style(theme.style(Part::Cursor))
    } else {
        line
    }
}

/// `text`, which fits, in exactly so many columns.
fn padded(text: String, columns: usize, right: bool) -> String {
    let blanks = " ".repeat(columns.saturating_sub(width(&text)));
    if right { blanks + &text } else { text + &blanks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fit;

    #[test]
    fn wide_and_combining_names_keep_the_columns() {
        for name in [
            "日本語の店",
            "e\u{301}te\u{301}",
            "👩‍👩‍👧 shop",
            "متجر",
            "",
            "abcdefghij",
        ] {
            assert_eq!(width(&padded(fit(name, 7), 7, false)), 7, "{name}");
            assert_eq!(width(&padded(fit(name, 7), 7, true)), 7, "{name}");
        }
    }
}
