use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::text::{Line, Span};
use tui_input::Input as TextInput;
use tui_input::InputRequest;
use tui_input::backend::crossterm::EventHandler;

use super::{Choice, Dialog, Pressed, draw_box};
use crate::engine::Level;
use crate::rules::status::Role;
use crate::site::SiteUrl;
use crate::text::{Count, is_hidden};
use crate::tui::Effect;
use crate::tui::field::secret;
use crate::tui::model::Model;
use crate::tui::setup::{SetupOrder, shown};
use crate::tui::theme::Part;

/// The longest address that can be typed, in characters.
const LIMIT: usize = 500;

/// The address of a site that is to be added.
#[derive(Debug, Default)]
pub struct AddSite {
    typed: TextInput,
    /// Why it is none.
    refusal: Option<String>,
}

impl AddSite {
    pub(super) fn press(&mut self, model: &mut Model, press: KeyEvent) -> Pressed {
        let control = press.modifiers.contains(KeyModifiers::CONTROL);
        match press.code {
            KeyCode::Esc => return Pressed::Closes(Vec::new()),
            KeyCode::Enter => return self.enter(model),
            KeyCode::Char('u') if control => self.typed.reset(),
            KeyCode::Char(letter) if !control => {
                let has_room = self.typed.value().chars().count() < LIMIT;
                if has_room && !is_hidden(letter) {
                    self.typed.handle(InputRequest::InsertChar(letter));
                }
            }
            _ => {
                self.typed.handle_event(&TerminalEvent::Key(press));
            }
        }
        self.refusal = None;
        match secret(self.typed.value()) {
            Some(refusal) => {
                // Its rest is swallowed, so that none of it is drawn.
                let now = model.now;
                model.field.swallow(now);
                let text = format!("typed as an address and dropped: {refusal}");
                model.say(Level::Error, text);
                Pressed::Closes(Vec::new())
            }
            None => Pressed::Stays,
        }
    }

    fn enter(&mut self, model: &Model) -> Pressed {
        let typed = self.typed.value().trim();
        if typed.is_empty() {
            return match unwritten(model) {
                Some(question) => Pressed::Becomes(Box::new(Dialog::Choice(question))),
                None => Pressed::Stays,
            };
        }
        let url = match SiteUrl::parse(typed) {
            Ok(url) => url,
            Err(refusal) => {
                self.refusal = Some(refusal.to_string());
                return Pressed::Stays;
            }
        };
        if let Some(site) = model.sites.iter().find(|site| site.url == url) {
            self.refusal = Some(format!("{} is this site already", site.name));
            return Pressed::Stays;
        }
        Pressed::Closes(vec![Effect::Setup(SetupOrder::Add(url))])
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let theme = model.options.theme;
        let label = |text: &str| Line::styled(model.text(text), theme.style(Part::Label));
        let mut lines = vec![
            Line::raw(
                "The site's address, such as https://shop.example.com or https://shop.example.com/boutique:",
            ),
            Line::raw(""),
            self.field(model),
            Line::raw(""),
        ];
        if let Some(refusal) = &self.refusal {
            let bad = theme.style(Part::Status(Role::Bad));
            let text = format!("{} {refusal}", model.glyph("✗", "x"));
            lines.extend([Line::styled(model.text(&text), bad), Line::raw("")]);
        }
        lines.push(label(
            "It is looked at at once, and is there until the program ends. A push sends it the master key that \
             [master_key] names, or $TEMPLATE_MASTER_API_KEY.",
        ));
        if let (Some(_), Some(file)) = (unwritten(model), model.setup.writable()) {
            let text = format!(
                "Enter alone asks whether to write the {} of this session to {}.",
                Count(model.setup.added.len(), "site"),
                shown(file)
            );
            lines.push(label(&text));
        } else if model.setup.writable().is_none() && !model.options.read_only {
            let write = model.key_of("write a config");
            let text = format!(
                "There is no config yet that could keep it: {write} writes one, once the site is there."
            );
            lines.push(label(&text));
        }
        draw_box(model, frame, "add a site", lines, 0);
    }

    /// `> https://shop_`, the part around the cursor where it is longer than the box.
    fn field(&self, model: &Model) -> Line<'static> {
        let theme = model.options.theme;
        let room = usize::from(model.size.0.saturating_sub(14).clamp(10, 80));
        let typed: Vec<char> = self.typed.value().chars().collect();
        let cursor = self.typed.cursor();
        let first = cursor.saturating_sub(room.saturating_sub(1));
        let text = |range: std::ops::Range<usize>| -> String {
            let letters: String = typed.get(range).unwrap_or_default().iter().collect();
            model.text(&letters)
        };
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

/// Asks about the sites of the session that the config lacks.
fn unwritten(model: &Model) -> Option<Choice> {
    let file = model.setup.writable().filter(|_| !model.options.read_only)?;
    let added = &model.setup.added;
    (!added.is_empty()).then(|| Choice::write_sites(added.clone(), file))
}
