use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use ratatui::text::{Line, Span};
use tui_input::Input as TextInput;
use tui_input::InputRequest;
use tui_input::backend::crossterm::EventHandler;

use crate::engine::Level;
use crate::text::is_hidden;
use crate::tui::field::secret;
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// A line of text that is typed in a dialog.
#[derive(Debug, Default)]
pub(super) struct TextLine {
    typed: TextInput,
    /// The longest that can be typed, in characters.
    limit: usize,
}

impl TextLine {
    /// With `text` in it.
    pub(super) fn new(text: &str, limit: usize) -> Self {
        Self {
            typed: TextInput::from(text.chars().take(limit).collect::<String>()),
            limit,
        }
    }

    /// What stands in it, without blanks around.
    pub(super) fn text(&self) -> &str {
        self.typed.value().trim()
    }

    /// Takes a key; whether the line may stay. A secret in it must not: it is `named` in the message, its rest is
    /// swallowed, so that none of it is drawn.
    pub(super) fn press(&mut self, model: &mut Model, press: KeyEvent, named: &str) -> bool {
        let control = press.modifiers.contains(KeyModifiers::CONTROL);
        match press.code {
            KeyCode::Char('u') if control => self.typed.reset(),
            KeyCode::Char(letter) if !control => {
                let has_room = self.typed.value().chars().count() < self.limit;
                if has_room && !is_hidden(letter) {
                    self.typed.handle(InputRequest::InsertChar(letter));
                }
            }
            _ => {
                self.typed.handle_event(&TerminalEvent::Key(press));
            }
        }
        let Some(refusal) = secret(self.typed.value()) else {
            return true;
        };
        self.typed.reset();
        let now = model.now;
        model.field.swallow(now);
        model.say(Level::Error, format!("typed as {named} and dropped: {refusal}"));
        false
    }

    /// `> https://shop_`, the part around the cursor where it is longer than the box. Where keys go elsewhere there is
    /// no cursor.
    pub(super) fn draw(&self, model: &Model, has_cursor: bool) -> Line<'static> {
        let theme = model.options.theme;
        let room = usize::from(model.size.0.saturating_sub(14).clamp(10, 80));
        let typed: Vec<char> = self.typed.value().chars().collect();
        let text = |range: std::ops::Range<usize>| -> String {
            let letters: String = typed.get(range).unwrap_or_default().iter().collect();
            model.text(&letters)
        };
        if !has_cursor {
            let shown = text(0..typed.len().min(room));
            return Line::from(vec![
                Span::styled("  ", theme.style(Part::Label)),
                Span::raw(shown),
            ]);
        }
        let cursor = self.typed.cursor();
        let first = cursor.saturating_sub(room.saturating_sub(1));
        let under = match typed.get(cursor) {
            Some(letter) => Span::styled(model.text(&letter.to_string()), theme.style(Part::Cursor)),
            None => Span::styled("_", theme.style(Part::Key)),
        };
        let behind = typed.len().min(first + room).max(cursor + 1).min(typed.len());
        Line::from(vec![
            Span::styled("> ", theme.style(Part::Key)),
            Span::raw(text(first..cursor)),
            under,
            Span::raw(text((cursor + 1).min(behind)..behind)),
        ])
    }
}
