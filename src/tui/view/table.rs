use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::site::SiteId;
use crate::text::width;
use crate::tui::columns::{Column, WIDE, layout, told};
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// Columns before the first one: a blank, the cursor's mark, a blank.
const INDENT: usize = 3;

/// The heads, then a line a site.
pub(super) fn draw(model: &Model, frame: &mut Frame, area: Rect) {
    let gap = gap(area.width);
    let columns = arranged(model, area.width);
    let mut lines = vec![heads(model, &columns, gap)];
    let visible = model.list.order().iter().enumerate().skip(model.list.top());
    for (place, id) in visible.take(usize::from(area.height).saturating_sub(1)) {
        lines.push(row(model, *id, place == model.list.cursor(), &columns, gap));
    }
    if model.list.order().is_empty() && !model.filter.is_empty() {
        let text = format!("no site matches /{}: Esc clears it", model.filter.text());
        let room = usize::from(area.width).saturating_sub(INDENT);
        let label = model.options.theme.style(Part::Label);
        lines.push(Line::raw(""));
        lines.push(Line::styled(
            format!("{:INDENT$}{}", "", model.fit(&text, room)),
            label,
        ));
    }
    // A paragraph steps on by what it draws, cluster by cluster; a text by what `unicode-width` says of a whole span,
    // which is less where letters have a ligature.
    frame.render_widget(Paragraph::new(lines), area);
}

/// Blanks between two columns.
fn gap(width: u16) -> usize {
    if width >= WIDE { 2 } else { 1 }
}

fn arranged(model: &Model, width: u16) -> Vec<(&'static Column, usize)> {
    layout(model, width, INDENT, gap(width))
}

/// What the row under the cursor has no room for, on a screen of `width` columns: all of its name and its note.
pub(super) fn cut_off(model: &Model, screen: u16) -> Option<(String, String)> {
    let id = model.selected()?;
    let columns = arranged(model, screen);
    let room = |head| {
        let column = columns.iter().find(|(column, _)| column.head == head);
        column.map_or(0, |(_, columns)| *columns)
    };
    let (name, note) = (model.site(id).name.as_str(), told(model, id).0);
    let has_room = width(&model.text(name)) <= room("SITE") && width(&model.text(&note)) <= room("NOTE");
    (!has_room).then(|| (name.to_owned(), note))
}

fn heads(model: &Model, columns: &[(&'static Column, usize)], gap: usize) -> Line<'static> {
    let style = model.options.theme.style(Part::Label);
    let mut text = format!("{:INDENT$}", format!(" {}", unheaded_arrow(model, columns)));
    for (column, columns) in columns {
        let head = sorted_head(model, column);
        if column.right && width(&head) > *columns {
            // The gap before it has room for the arrow.
            text.pop();
            text.push_str(&head);
        } else {
            text.push_str(&padded(model.fit(&head, *columns), *columns, column.right));
        }
        text.push_str(&" ".repeat(gap));
    }
    Line::styled(text, style)
}

/// The head of the column that sites are sorted by says so, where they are not in their usual order.
fn sorted_head(model: &Model, column: &Column) -> String {
    if model.list.sort().column != Some(column.head) {
        return column.head.to_owned();
    }
    format!("{}{}", column.head, arrow(model))
}

fn arrow(model: &Model) -> &'static str {
    if model.list.sort().turned {
        model.glyph("▲", "^")
    } else {
        model.glyph("▼", "v")
    }
}

/// The arrow of an order that has no head: that of a column which is not shown, or what needs attention at the end.
fn unheaded_arrow(model: &Model, columns: &[(&'static Column, usize)]) -> &'static str {
    let sort = model.list.sort();
    let is_shown = |head| columns.iter().any(|(column, _)| column.head == head);
    match sort.column {
        None if !sort.turned => "",
        Some(head) if is_shown(head) => "",
        _ => arrow(model),
    }
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
        let cut = if column.keeps_end {
            model.fit_name(&text, *columns)
        } else {
            model.fit(&text, *columns)
        };
        spans.push(Span::styled(
            padded(cut, *columns, column.right),
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
    use super::super::counters::tests::model;
    use super::*;
    use crate::rules::state::SiteState;
    use crate::rules::status::{Push, Verify};
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

    fn widths(model: &Model, screen: u16) -> Vec<(&'static str, usize)> {
        let gap = gap(screen);
        let columns = arranged(model, screen);
        let all: usize = columns.iter().map(|(_, columns)| columns + gap).sum();
        assert!(3 + all - gap <= usize::from(screen));
        columns
            .iter()
            .map(|(column, columns)| (column.head, *columns))
            .collect()
    }

    #[test]
    fn states_have_the_room_of_their_words_and_names_what_is_left() {
        let mut model = model();
        model.name_columns = 40;
        model.has_groups = true;
        let narrow = [
            ("SITE", 27),
            ("NOW", 13),
            ("PUSH", 10),
            ("VERIFY", 10),
            ("HTTP", 4),
            ("AT", 8),
        ];
        assert_eq!(widths(&model, 80), narrow);
        let mut state = SiteState::default();
        state.push = Push::NotStarted;
        state.verify = Verify::ExposedSecret;
        model.tally.add(&state);
        let narrow = [
            ("SITE", 18),
            ("NOW", 13),
            ("PUSH", 13),
            ("VERIFY", 16),
            ("HTTP", 4),
            ("AT", 8),
        ];
        assert_eq!(widths(&model, 80), narrow);
        let all = widths(&model, 120);
        assert!(
            all.contains(&("PUSH", 13)) && all.contains(&("VERIFY", 16)),
            "{all:?}"
        );
        for screen in 60..200 {
            widths(&model, screen);
        }
    }
}
