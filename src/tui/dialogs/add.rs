use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::text::Line;

use super::line::TextLine;
use super::{Choice, Dialog, Pressed, draw_box};
use crate::rules::status::Role;
use crate::site::SiteUrl;
use crate::text::Count;
use crate::tui::Effect;
use crate::tui::model::Model;
use crate::tui::setup::{SetupOrder, shown};
use crate::tui::theme::Part;

/// The longest address that can be typed, in characters.
const LIMIT: usize = 500;

/// The address of a site that is to be added.
#[derive(Debug)]
pub struct AddSite {
    typed: TextLine,
    /// Why it is none.
    refusal: Option<String>,
}

impl Default for AddSite {
    fn default() -> Self {
        Self {
            typed: TextLine::new("", LIMIT),
            refusal: None,
        }
    }
}

impl AddSite {
    pub(super) fn press(&mut self, model: &mut Model, press: KeyEvent) -> Pressed {
        match press.code {
            KeyCode::Esc => return Pressed::Closes(Vec::new()),
            KeyCode::Enter => return self.enter(model),
            _ => {}
        }
        self.refusal = None;
        if self.typed.press(model, press, "an address") {
            Pressed::Stays
        } else {
            Pressed::Closes(Vec::new())
        }
    }

    fn enter(&mut self, model: &Model) -> Pressed {
        let typed = self.typed.text();
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
            self.typed.draw(model, true),
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
}

/// Asks about the sites of the session that the config lacks.
fn unwritten(model: &Model) -> Option<Choice> {
    let file = model.setup.writable().filter(|_| !model.options.read_only)?;
    let added = &model.setup.added;
    (!added.is_empty()).then(|| Choice::write_sites(added.clone(), file))
}
