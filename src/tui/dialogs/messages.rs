use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::text::{Line, Span};

use super::hanging::hanging;
use super::scroll::{closes, scrolled};
use super::{Pressed, draw_box, inner_width, last_scroll};
use crate::engine::{Level, Message};
use crate::rules::status::Role;
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// All messages, newest first; what happened while nobody looked comes before them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Messages {
    scroll: usize,
    /// Only what is more than information.
    failures: bool,
}

impl Messages {
    pub(super) fn press(&mut self, model: &Model, press: KeyEvent) -> Pressed {
        let last = last_scroll(model, self.lines(model));
        if let Some(to) = scrolled(self.scroll, press, model.table_height(), last) {
            self.scroll = to;
        } else if press.code == KeyCode::Char('f') {
            self.failures = !self.failures;
            self.scroll = 0;
        } else if closes(press) {
            return Pressed::Closes(Vec::new());
        }
        Pressed::Stays
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let lines = self.lines(model);
        let last = last_scroll(model, lines.clone());
        let more = last.saturating_sub(self.scroll);
        let (which, other) = if self.failures {
            ("failures", "all")
        } else {
            ("messages", "failures")
        };
        let more = if more > 0 {
            format!("  {more} more")
        } else {
            String::new()
        };
        let title = format!("{which}, newest first  (j k scroll, f {other}, Esc closes){more}");
        draw_box(model, frame, &title, lines, self.scroll.min(last));
    }

    fn lines(&self, model: &Model) -> Vec<Line<'static>> {
        let label = model.options.theme.style(Part::Label);
        let shown = |message: &&Message| !self.failures || message.level != Level::Info;
        let mut lines = Vec::new();
        if let Some(meanwhile) = &model.meanwhile {
            lines.extend(message_lines(model, meanwhile));
            lines.push(Line::raw(""));
        }
        let others = model
            .messages
            .iter()
            .filter(|message| Some(*message) != model.meanwhile.as_ref());
        let mut in_the_past = false;
        for message in others.filter(shown) {
            let is_before = message.at.since_start < model.opened.since_start;
            if is_before && !std::mem::replace(&mut in_the_past, true) {
                let opened = format!("before this screen opened ({})", model.clock(model.opened));
                lines.push(Line::styled(model.text(&format!("— {opened} —")), label));
            }
            lines.extend(message_lines(model, message));
        }
        if lines.is_empty() {
            lines.push(Line::raw("none yet"));
        }
        lines
    }
}

/// ` ✗ 14:02:12 maison-est PUT 1: refuses the master key`
fn message_lines(model: &Model, message: &Message) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let (mark, part) = match message.level {
        Level::Info => (" ", Part::Text),
        Level::Warning => ("!", Part::Status(Role::Warning)),
        Level::Error => ("✗", Part::Status(Role::Bad)),
    };
    let head = vec![
        Span::styled(format!("{} ", model.text(mark)), theme.style(part)),
        Span::styled(format!("{} ", model.clock(message.at)), theme.style(Part::Label)),
    ];
    let text = model.text(&message.text);
    hanging(head, &text, theme.style(part), inner_width(model))
}
