use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Where a page goes that is scrolled by a key; none where the key does not scroll. `page` lines are seen of it,
/// and its last ones when it has been scrolled to `last`.
pub(super) fn scrolled(from: usize, press: KeyEvent, page: usize, last: usize) -> Option<usize> {
    let page = page.max(2);
    let control = press.modifiers.contains(KeyModifiers::CONTROL);
    let to = match press.code {
        KeyCode::Char('d') if control => from + page / 2,
        KeyCode::Char('u') if control => from.saturating_sub(page / 2),
        KeyCode::Char('j') | KeyCode::Down => from + 1,
        KeyCode::Char('k') | KeyCode::Up => from.saturating_sub(1),
        KeyCode::PageDown | KeyCode::Char(' ') => from + page,
        KeyCode::PageUp => from.saturating_sub(page),
        KeyCode::Char('g') | KeyCode::Home => 0,
        KeyCode::Char('G') | KeyCode::End => last,
        _ => return None,
    };
    Some(to.min(last))
}

/// Whether a key closes what is only read.
pub(super) fn closes(press: KeyEvent) -> bool {
    matches!(press.code, KeyCode::Esc | KeyCode::Char('q') | KeyCode::Enter)
}
