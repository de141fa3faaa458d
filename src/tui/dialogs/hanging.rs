use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::text::{width, wrap};

/// `text` behind `head`, in lines of `room` columns; what goes on in the next line stands under its beginning.
pub(super) fn hanging(head: Vec<Span<'static>>, text: &str, style: Style, room: usize) -> Vec<Line<'static>> {
    let indent: usize = head.iter().map(|span| width(&span.content)).sum();
    let room = room.saturating_sub(indent).max(8);
    let mut lines = Vec::new();
    let mut before = head;
    for piece in wrap(text, room) {
        before.push(Span::styled(piece, style));
        lines.push(Line::from(std::mem::take(&mut before)));
        before.push(Span::raw(" ".repeat(indent)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hang_under_each_other_and_none_is_lost() {
        let lines = hanging(vec![Span::raw("ab ")], "one two three", Style::default(), 12);
        let lines: Vec<String> = lines.iter().map(Line::to_string).collect();
        assert_eq!(lines, ["ab one two", "   three"]);
        let long = "x".repeat(25);
        for text in ["", "a b", long.as_str(), "日本語の店日本語の店 zz"] {
            let pieces = wrap(text, 8);
            assert!(pieces.iter().all(|piece| width(piece) <= 8), "{pieces:?}");
            assert_eq!(pieces.concat().replace(' ', ""), text.replace(' ', ""));
        }
    }
}
