use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use ratatui::Frame;
use ratatui::text::{Line, Span};
use tui_input::Input as TextInput;
use tui_input::backend::crossterm::EventHandler;

use super::{Pressed, draw_box, inner_width};
use crate::engine::Level;
use crate::text::{is_hidden, pad};
use crate::tui::field::secret;
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// Characters that are taken.
const LONGEST: usize = 40;
/// Columns of a name, and of its keys.
const NAMES: usize = 18;
const KEYS: usize = 10;

/// Finds an action by its name.
#[derive(Debug)]
pub struct Palette {
    entries: Vec<Entry>,
    typed: TextInput,
    /// Which entries match, best first.
    found: Vec<usize>,
    /// Which of those is chosen.
    chosen: usize,
}

/// An action that can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its keys.
    pub keys: String,
    /// What it does.
    pub help: &'static str,
    /// Why it cannot be done now.
    pub lacks: Option<&'static str>,
}

impl Palette {
    /// Finds these. Those that can be done come first.
    pub fn new(entries: Vec<Entry>) -> Self {
        let (can, cannot): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.lacks.is_none());
        let entries: Vec<Entry> = can.into_iter().chain(cannot).collect();
        Self {
            found: (0..entries.len()).collect(),
            entries,
            typed: TextInput::default(),
            chosen: 0,
        }
    }

    pub(super) fn press(&mut self, model: &mut Model, press: KeyEvent) -> Pressed {
        let control = press.modifiers.contains(KeyModifiers::CONTROL);
        let last = self.found.len().saturating_sub(1);
        match press.code {
            KeyCode::Esc => return Pressed::Closes(Vec::new()),
            KeyCode::Enter => {
                return match self.found.get(self.chosen) {
                    Some(index) => Pressed::Runs(self.entries[*index].name),
                    None => Pressed::Stays,
                };
            }
            KeyCode::Down => self.chosen = (self.chosen + 1).min(last),
            KeyCode::Up => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::PageDown => self.chosen = (self.chosen + rows(model)).min(last),
            KeyCode::PageUp => self.chosen = self.chosen.saturating_sub(rows(model)),
            KeyCode::Char('n') if control => self.chosen = (self.chosen + 1).min(last),
            KeyCode::Char('p') if control => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::Char('u') if control => {
                self.typed.reset();
                self.find();
            }
            KeyCode::Char(character)
                if !control && (is_hidden(character) || self.typed.value().chars().count() >= LONGEST) => {}
            _ => return self.edit(model, press),
        }
        Pressed::Stays
    }

    /// Text for the field. A secret closes the palette, and its rest is dropped.
    fn edit(&mut self, model: &mut Model, press: KeyEvent) -> Pressed {
        let changed = self.typed.handle_event(&TerminalEvent::Key(press));
        if changed.is_some_and(|changed| changed.value) {
            if let Some(refusal) = secret(self.typed.value()) {
                let now = model.now;
                model.field.swallow(now);
                model.say(Level::Error, format!("typed and dropped: {refusal}"));
                return Pressed::Closes(Vec::new());
            }
            self.find();
        }
        Pressed::Stays
    }

    /// What matches: first by its name, then by its key or what its help says.
    fn find(&mut self) {
        let typed = self.typed.value().trim();
        let pattern = |kind| Pattern::new(typed, CaseMatching::Ignore, Normalization::Smart, kind);
        let (letters, words) = (pattern(AtomKind::Fuzzy), pattern(AtomKind::Substring));
        let mut matcher = Matcher::new(Config::DEFAULT);
        let mut buffer = Vec::new();
        let mut found: Vec<(u8, u32, usize)> = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let by_key = !typed.is_empty() && entry.keys.split(' ').any(|key| key == typed);
            let name = Utf32Str::new(entry.name, &mut buffer);
            let by_name = letters.score(name, &mut matcher);
            let by_help = words.score(Utf32Str::new(entry.help, &mut buffer), &mut matcher);
            match (by_name, by_help) {
                (Some(score), _) => found.push((2, score, index)),
                (None, _) if by_key => found.push((1, 0, index)),
                (None, Some(_)) => found.push((0, 0, index)),
                (None, None) => {}
            }
        }
        found.sort_by_key(|(by, score, _)| std::cmp::Reverse((*by, *score)));
        self.found = found.into_iter().map(|(_, _, index)| index).collect();
        self.chosen = 0;
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let theme = model.options.theme;
        let room = rows(model);
        let columns = inner_width(model);
        let mut lines = vec![self.field(model)];
        let first = self.chosen.saturating_sub(room.saturating_sub(1));
        let shown = self.found.iter().enumerate().skip(first).take(room);
        for (place, index) in shown {
            lines.push(line(model, &self.entries[*index], place == self.chosen, columns));
        }
        let more = self.found.len().saturating_sub(first + room);
        let label = theme.style(Part::Label);
        lines.push(if self.found.is_empty() {
            Line::styled("no action is called so, and none says so of itself", label)
        } else if more > 0 {
            Line::styled(format!("{more} more below"), label)
        } else {
            Line::raw("")
        });
        // As high as at first, so that it does not jump while one types.
        lines.resize(2 + room.min(self.entries.len()), Line::raw(""));
        draw_box(
            model,
            frame,
            "do  (Up Down choose, Enter does it, Esc closes)",
            lines,
            0,
        );
    }

    /// What is typed, with the cursor in it.
    fn field(&self, model: &Model) -> Line<'static> {
        let theme = model.options.theme;
        let mut before: Vec<char> = self.typed.value().chars().collect();
        let behind = before.split_off(self.typed.cursor().min(before.len()));
        let text = |characters: &[char]| model.text(&characters.iter().collect::<String>());
        let (under, behind) = behind.split_at(behind.len().min(1));
        let under = if under.is_empty() {
            "_".to_owned()
        } else {
            text(under)
        };
        Line::from(vec![
            Span::styled("> ", theme.style(Part::Key)),
            Span::raw(text(&before)),
            Span::styled(
                under,
                theme.style(if behind.is_empty() {
                    Part::Text
                } else {
                    Part::Cursor
                }),
            ),
            Span::raw(text(behind)),
        ])
    }
}

/// How many actions are listed at most.
fn rows(model: &Model) -> usize {
    usize::from(model.size.1.saturating_sub(6)).clamp(1, 16)
}

fn line(model: &Model, entry: &Entry, chosen: bool, columns: usize) -> Line<'static> {
    let theme = model.options.theme;
    let help = match entry.lacks {
        Some(lacks) => format!("(not now: {lacks})"),
        None => entry.help.to_owned(),
    };
    let name = pad(entry.name, NAMES);
    let keys = pad(&model.text(&entry.keys), KEYS);
    let help = model.fit(&help, columns.saturating_sub(NAMES + KEYS + 2));
    if chosen {
        let whole = pad(&format!("{name} {keys} {help}"), columns);
        return Line::styled(whole, theme.style(Part::Cursor));
    }
    let dim = entry.lacks.is_some();
    let part = |part| theme.style(if dim { Part::Label } else { part });
    Line::from(vec![
        Span::styled(format!("{name} "), part(Part::Text)),
        Span::styled(format!("{keys} "), part(Part::Key)),
        Span::styled(help, theme.style(Part::Label)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette() -> Palette {
        let entry = |name, keys: &str, help, lacks| Entry {
            name,
            keys: keys.to_owned(),
            help,
            lacks,
        };
        Palette::new(vec![
            entry("push all", "P", "review and push the key to all sites", None),
            entry("pause", "c", "pause the run", Some("no run is sending")),
            entry("verify all", "V", "look at what all sites serve", None),
            entry("roll back", "u", "put back what the site had", None),
            entry("palette", ":", "finds any action", None),
        ])
    }

    fn finds(typed: &str) -> Vec<&'static str> {
        let mut palette = palette();
        palette.typed = TextInput::from(typed);
        palette.find();
        let found = palette.found.iter();
        found.map(|index| palette.entries[*index].name).collect()
    }

    #[test]
    fn names_are_found_by_some_of_their_letters_the_best_first() {
        assert_eq!(finds("pushall")[0], "push all");
        assert_eq!(finds("ROLL"), ["roll back"]);
        assert_eq!(finds("pa")[0], "palette");
        assert_eq!(finds("va"), ["verify all"]);
        assert_eq!(finds("zzz"), [""; 0]);
    }

    #[test]
    fn what_is_no_name_is_found_by_its_key_or_its_help() {
        assert_eq!(finds("look at"), ["verify all"]);
        assert_eq!(finds(":"), ["palette"]);
    }

    #[test]
    fn without_a_word_all_are_there_and_what_cannot_be_done_comes_last() {
        assert_eq!(finds("").len(), 5);
        let palette = palette();
        assert_eq!(palette.entries[palette.found[4]].name, "pause");
    }
}
