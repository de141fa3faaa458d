use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::text::{Line, Span};

use super::{Pressed, draw_box, last_scroll};
use crate::engine::Level;
use crate::rules::note::note;
use crate::rules::status::Role;
use crate::rules::tally::word;
use crate::site::SiteId;
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// Text that is scrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pager {
    page: Page,
    scroll: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Page {
    Messages,
    Owed,
    Help(Vec<HelpLine>),
}

/// A line of the help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelpLine {
    /// What is pressed.
    pub keys: String,
    /// What that does.
    pub help: &'static str,
}

impl Pager {
    /// All messages, newest first.
    pub fn messages() -> Self {
        Self::of(Page::Messages)
    }

    /// The sites that are not known to serve what is expected of them.
    pub fn owed() -> Self {
        Self::of(Page::Owed)
    }

    /// All keys.
    pub fn help(lines: Vec<HelpLine>) -> Self {
        Self::of(Page::Help(lines))
    }

    fn of(page: Page) -> Self {
        Self { page, scroll: 0 }
    }

    pub(super) fn press(&mut self, model: &Model, press: KeyEvent) -> Pressed {
        let page = model.table_height().max(1);
        let last = last_scroll(model, lines(&self.page, model));
        let control = press.modifiers.contains(KeyModifiers::CONTROL);
        let to = match press.code {
            KeyCode::Char('d') if control => self.scroll + page / 2,
            KeyCode::Char('u') if control => self.scroll.saturating_sub(page / 2),
            KeyCode::Char('j') | KeyCode::Down => self.scroll + 1,
            KeyCode::Char('k') | KeyCode::Up => self.scroll.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll + page,
            KeyCode::PageUp => self.scroll.saturating_sub(page),
            KeyCode::Char('g') | KeyCode::Home => 0,
            KeyCode::Char('G') | KeyCode::End => last,
            KeyCode::Esc | KeyCode::Char('q') | KeyCode::Enter => return Pressed::Closes(Vec::new()),
            _ => return Pressed::Stays,
        };
        self.scroll = to.min(last);
        Pressed::Stays
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let title = match &self.page {
            Page::Messages => "messages, newest first  (j k scroll, Esc closes)".to_owned(),
            Page::Owed => "owed a key  (j k scroll, Esc closes)".to_owned(),
            Page::Help(_) => "keys  (j k scroll, Esc closes)".to_owned(),
        };
        let lines = lines(&self.page, model);
        let more = last_scroll(model, lines.clone()).saturating_sub(self.scroll);
        let title = if more > 0 {
            format!("{title}  {more} more below")
        } else {
            title
        };
        draw_box(model, frame, &title, lines, self.scroll);
    }
}

fn lines(page: &Page, model: &Model) -> Vec<Line<'static>> {
    match page {
        Page::Messages => messages(model),
        Page::Owed => owed(model),
        Page::Help(lines) => help(model, lines),
    }
}

/// Which sites are owed which key since when, whatever run left them so.
fn owed(model: &Model) -> Vec<Line<'static>> {
    let owed = model.owed();
    if owed.is_empty() {
        return vec![Line::raw(
            "none: each site serves what was last pushed to it, as far as was seen",
        )];
    }
    let line = |id: &SiteId| {
        let state = model.state(*id);
        let key = state
            .expected
            .as_ref()
            .map(|key| model.mask(key))
            .unwrap_or_default();
        let since = state
            .expected_since
            .map(|since| model.clock(since))
            .unwrap_or_default();
        let run = state
            .run
            .map_or_else(String::new, |run| format!(" (run {})", run.0));
        let word = word(state);
        let note = note(state, &|at| model.clock(at));
        let note = if note.is_empty() {
            note
        } else {
            format!(": {note}")
        };
        let name = model.pad(model.site(*id).name.as_str(), 20);
        Line::raw(model.text(&format!("{name} {key} since {since}{run}  {word}{note}")))
    };
    owed.iter().map(line).collect()
}

fn messages(model: &Model) -> Vec<Line<'static>> {
    if model.messages.is_empty() {
        return vec![Line::raw("none yet")];
    }
    let line = |message: &crate::engine::Message| {
        let role = match message.level {
            Level::Info => Role::Quiet,
            Level::Warning => Role::Warning,
            Level::Error => Role::Bad,
        };
        let at = Span::styled(
            format!("{} ", model.clock(message.at)),
            model.options.theme.style(Part::Label),
        );
        let style = if role == Role::Quiet {
            Part::Text
        } else {
            Part::Status(role)
        };
        Line::from(vec![
            at,
            Span::styled(model.text(&message.text), model.options.theme.style(style)),
        ])
    };
    model.messages.iter().map(line).collect()
}

fn help(model: &Model, actions: &[HelpLine]) -> Vec<Line<'static>> {
    let key = model.options.theme.style(Part::Key);
    let line = |action: &HelpLine| {
        let keys = Span::styled(format!("{:<12}", model.text(&action.keys)), key);
        Line::from(vec![keys, Span::raw(model.text(action.help))])
    };
    let mut lines: Vec<Line<'static>> = actions.iter().map(line).collect();
    lines.push(Line::raw(""));
    lines.push(Line::raw(
        "Lower case is for the site under the cursor, upper case for all. Esc is always harmless.",
    ));
    lines
}
