//! A frame as an SVG that looks the same with every font: each run of text stands at its column and is as long as its
//! columns, and lines and blocks are shapes.
//!
//! Crates that make SVG of a terminal's output leave columns to the font, which breaks a table apart where a glyph comes
//! from another one.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use stripe_propagate::text::width;

/// A cell, in pixels: with these a glyph of 13.3 pixels is as wide as it in most fonts, and eighths are whole.
const COLUMN: usize = 8;
const ROW: usize = 16;
const BASELINE: usize = 12;
/// Around the cells.
const EDGE: usize = 12;
/// Above them, with the window's buttons.
const BAR: usize = 30;

const GROUND: &str = "#0d1117";
const TEXT: &str = "#e6edf3";
const FRAME: &str = "#3d444d";
const FONTS: &str =
    "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', 'DejaVu Sans Mono', monospace";

/// Draws `frame` in a window; `title` is what it shows, in words.
pub(crate) fn window(frame: &Buffer, title: &str, written_by: &str) -> String {
    let columns = usize::from(frame.area.width);
    let (wide, high) = (
        columns * COLUMN + 2 * EDGE,
        usize::from(frame.area.height) * ROW + BAR + EDGE,
    );
    let mut grounds = Rects::default();
    let mut shapes = Rects::default();
    let mut rows = String::new();
    for (row, cells) in frame.content.chunks(columns).enumerate() {
        let top = BAR + row * ROW;
        let mut runs: Vec<Run> = Vec::new();
        for (column, cell) in visible(cells) {
            let (ink, ground) = colours(cell);
            let left = EDGE + column * COLUMN;
            let room = width(cell.symbol()) * COLUMN;
            if ground != GROUND {
                grounds.add(Rect(left, top, room, ROW, ground));
            }
            if let Some(parts) = shape(cell.symbol()) {
                for (x, y, w, h) in parts {
                    shapes.add(Rect(left + x, top + y, w, h, ink));
                }
            } else {
                write_on(&mut runs, left, cell, ink);
            }
        }
        write_row(&mut rows, top + BASELINE, &runs);
    }
    let title = escaped(title);
    let (inner_wide, inner_high) = (wide - 1, high - 1);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" role="img">
<title>{title}</title>
<metadata>Written by {written_by}</metadata>
<rect x="0.5" y="0.5" width="{inner_wide}" height="{inner_high}" rx="8" fill="{GROUND}" stroke="{FRAME}"/>
<g fill="{FRAME}"><circle cx="20" cy="15" r="5"/><circle cx="38" cy="15" r="5"/><circle cx="56" cy="15" r="5"/></g>
{grounds}{shapes}<g font-family="{FONTS}" font-size="13.3" style="font-variant-ligatures: none">
{rows}</g>
</svg>
"#,
        grounds = grounds.written(),
        shapes = shapes.written(),
    )
}

/// The cells that are seen, with their columns: what a wide one covers is left out.
fn visible(cells: &[Cell]) -> impl Iterator<Item = (usize, &Cell)> {
    let mut covered = 0;
    cells.iter().enumerate().filter(move |(column, cell)| {
        let seen = *column >= covered;
        if seen {
            covered = column + width(cell.symbol());
        }
        seen
    })
}

/// The colours of a cell: its ink and its ground. What this cannot draw must not be lost without a word.
fn colours(cell: &Cell) -> (&'static str, &'static str) {
    let known = Modifier::BOLD | Modifier::REVERSED;
    assert!(
        known.contains(cell.modifier),
        "{:?} cannot be drawn yet",
        cell.modifier
    );
    assert_eq!(cell.bg, Color::Reset, "a ground of its own cannot be drawn yet");
    let ink = match cell.fg {
        Color::Reset => TEXT,
        Color::DarkGray => "#8b949e",
        Color::Red => "#ff7b72",
        Color::Green => "#3fb950",
        Color::LightGreen => "#7ee787",
        Color::Yellow => "#d29922",
        Color::Magenta => "#d2a8ff",
        Color::Cyan => "#39c5cf",
        other => panic!("{other} has no colour yet"),
    };
    if cell.modifier.contains(Modifier::REVERSED) {
        (GROUND, ink)
    } else {
        (ink, GROUND)
    }
}

/// Lines and blocks as rectangles in the cell, if it is one: with a font they would have gaps between rows.
fn shape(symbol: &str) -> Option<Vec<(usize, usize, usize, usize)>> {
    // From the middle to the right, to the left, up and down.
    let (to_right, to_left) = ((4, 8, 4, 1), (0, 8, 5, 1));
    let (up, down) = ((4, 0, 1, 9), (4, 8, 1, 8));
    let eighths = |height: usize| vec![(0, ROW - 2 * height, COLUMN, 2 * height)];
    Some(match symbol {
        "─" => vec![(0, 8, COLUMN, 1)],
        "│" => vec![(4, 0, 1, ROW)],
        "┌" => vec![to_right, down],
        "┐" => vec![to_left, down],
        "└" => vec![to_right, up],
        "┘" => vec![to_left, up],
        "▌" => vec![(0, 0, 4, ROW)],
        // The ground that a bar stands on; the letter of it is a pattern that looks like dirt when it is small.
        "░" => vec![(0, 7, COLUMN, 2)],
        "▁" => eighths(1),
        "▂" => eighths(2),
        "▃" => eighths(3),
        "▄" => eighths(4),
        "▅" => eighths(5),
        "▆" => eighths(6),
        "▇" => eighths(7),
        "█" => eighths(8),
        _ => return None,
    })
}

/// Left, top, width, height and colour.
struct Rect(usize, usize, usize, usize, &'static str);

/// Rectangles, of which neighbours are one: between two of them a picture that is not shown at its own size has a seam.
#[derive(Default)]
struct Rects(Vec<Rect>);

impl Rects {
    fn add(&mut self, new: Rect) {
        for known in &mut self.0 {
            if known.4 != new.4 {
                continue;
            }
            if (known.1, known.3) == (new.1, new.3) && known.0 + known.2 == new.0 {
                known.2 += new.2;
                return;
            }
            if (known.0, known.2) == (new.0, new.2) && known.1 + known.3 == new.1 {
                known.3 += new.3;
                return;
            }
        }
        self.0.push(new);
    }

    fn written(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, rect| {
            let Rect(x, y, width, height, colour) = rect;
            writeln!(
                text,
                r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{colour}"/>"#
            )
            .unwrap();
            text
        })
    }
}

/// Text of one style without a gap.
struct Run {
    left: usize,
    room: usize,
    text: String,
    ink: &'static str,
    bold: bool,
}

/// Adds a cell to the runs of its row.
fn write_on(runs: &mut Vec<Run>, left: usize, cell: &Cell, ink: &'static str) {
    let symbol = cell.symbol();
    let room = width(symbol) * COLUMN;
    let bold = cell.modifier.contains(Modifier::BOLD);
    if let Some(run) = runs.last_mut() {
        let plain = |text: &str| text.is_ascii();
        // What may come from another font stands alone, so that it moves nothing else; the same again is as wide.
        let alike = (plain(&run.text) && plain(symbol)) || run.text.ends_with(symbol);
        if run.left + run.room == left
            && alike
            && (run.ink, run.bold) == (ink, bold)
            && !(symbol == " " && run.text.ends_with(' '))
        {
            run.text.push_str(symbol);
            run.room += room;
            return;
        }
    }
    if symbol != " " {
        runs.push(Run {
            left,
            room,
            text: symbol.to_owned(),
            ink,
            bold,
        });
    }
}

fn write_row(rows: &mut String, baseline: usize, runs: &[Run]) {
    if runs.is_empty() {
        return;
    }
    write!(rows, r#"<text y="{baseline}" fill="{TEXT}">"#).unwrap();
    for run in runs {
        let text = run.text.trim_end();
        let room = run.room - (run.text.len() - text.len()) * COLUMN;
        write!(rows, r#"<tspan x="{}""#, run.left).unwrap();
        if text.chars().nth(1).is_some() {
            write!(rows, r#" textLength="{room}""#).unwrap();
        }
        if run.ink != TEXT {
            write!(rows, r#" fill="{}""#, run.ink).unwrap();
        }
        if run.bold {
            rows.push_str(r#" font-weight="bold""#);
        }
        write!(rows, ">{}</tspan>", escaped(text)).unwrap();
    }
    rows.push_str("</text>\n");
}

/// What stands between two tags.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;
    use ratatui::text::{Line, Span};

    use super::*;

    fn drawn(spans: Vec<Span<'static>>) -> String {
        window(&Buffer::with_lines([Line::from(spans)]), "a < b", "a test")
    }

    #[test]
    fn what_is_markup_elsewhere_is_text_here() {
        let svg = drawn(vec![Span::raw("<a> & \"b\"")]);
        assert!(
            svg.contains(r#"<tspan x="12" textLength="72">&lt;a&gt; &amp; "b"</tspan>"#),
            "{svg}"
        );
        assert!(svg.contains("<title>a &lt; b</title>"), "{svg}");
    }

    #[test]
    fn each_run_stands_at_its_column_behind_wide_letters_and_gaps_too() {
        let svg = drawn(vec![Span::raw("日本 a b  c…")]);
        for run in [
            r#"<tspan x="12">日</tspan>"#,
            r#"<tspan x="28">本</tspan>"#,
            r#"<tspan x="52" textLength="24">a b</tspan>"#,
            r#"<tspan x="92">c</tspan>"#,
            r#"<tspan x="100">…</tspan>"#,
        ] {
            assert!(svg.contains(run), "{run} in {svg}");
        }
    }

    #[test]
    fn reversed_and_bold_are_seen() {
        let alarm = Style::new()
            .fg(Color::Red)
            .add_modifier(Modifier::BOLD | Modifier::REVERSED);
        let svg = drawn(vec![Span::raw("a"), Span::styled("b c", alarm)]);
        assert!(
            svg.contains(r##"<rect x="20" y="30" width="24" height="16" fill="#ff7b72"/>"##),
            "{svg}"
        );
        let text = r##"<tspan x="20" textLength="24" fill="#0d1117" font-weight="bold">b c</tspan>"##;
        assert!(svg.contains(text), "{svg}");
    }

    #[test]
    fn a_line_down_and_a_line_along_are_one_shape_each() {
        let svg = window(&Buffer::with_lines(["│──", "│", "└"]), "lines", "a test");
        assert!(
            svg.contains(r#"<rect x="16" y="30" width="1" height="41""#),
            "{svg}"
        );
        assert!(
            svg.contains(r#"<rect x="20" y="38" width="16" height="1""#),
            "{svg}"
        );
    }
}
