use std::fmt::Write;

/// One bar: its name, and its parts with the class that colours each.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) parts: Vec<(&'static str, usize)>,
}

/// How long the longest bar is, in the drawing's own units.
const LONGEST: usize = 360;
const LABELS: usize = 150;
const ROW: usize = 22;

/// Lying bars under each other, as SVG in the page. `title` and `label` are written as they are: they hold no
/// text from outside.
pub(super) fn draw(title: &str, bars: &[Bar]) -> String {
    let total = |bar: &Bar| bar.parts.iter().map(|(_, count)| count).sum::<usize>();
    let most = bars.iter().map(total).max().unwrap_or_default().max(1);
    let (wide, high) = (LABELS + LONGEST + 80, bars.len() * ROW + 4);
    // Writing into a string cannot fail.
    let mut text = String::new();
    let _written = writeln!(
        text,
        "<svg role=\"img\" viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" height=\"{high}\"><title>{title}</title>"
    );
    for (row, bar) in bars.iter().enumerate() {
        let (top, line) = (row * ROW + 3, row * ROW + 16);
        let _written = write!(
            text,
            "<text class=\"label\" x=\"{}\" y=\"{line}\">{}</text>",
            LABELS - 8,
            bar.label
        );
        let mut left = LABELS;
        for (class, count) in bar.parts.iter().filter(|(_, count)| *count > 0) {
            // What is there is seen, however little it is.
            let length = (LONGEST * count / most).max(2);
            let _written = write!(
                text,
                "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{length}\" height=\"{}\"/>",
                ROW - 6
            );
            left += length;
        }
        let _written = writeln!(
            text,
            "<text x=\"{}\" y=\"{line}\">{}</text>",
            left + 6,
            total(bar)
        );
    }
    text.push_str("</svg>\n");
    text
}
