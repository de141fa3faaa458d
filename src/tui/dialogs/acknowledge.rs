use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::text::Line;

use super::line::TextLine;
use super::{Pressed, draw_box};
use crate::engine::{Command, Level};
use crate::rules::acknowledgement::{Acknowledgement, DEFAULT_UNTIL, until};
use crate::rules::status::Role;
use crate::site::SiteId;
use crate::text::{CleanText, Count, NOTE_LIMIT};
use crate::tui::Effect;
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// The longest end that can be typed, in characters.
const UNTIL_LIMIT: usize = 40;

/// Sites that are known to be bad: why, and until when.
#[derive(Debug)]
pub struct Acknowledge {
    sites: Vec<SiteId>,
    reason: TextLine,
    until: TextLine,
    /// Whether keys go to `until`.
    at_until: bool,
    refusal: Option<String>,
    /// How many of the sites are acknowledged already.
    known: usize,
}

impl Acknowledge {
    /// Of these sites: what is known of the first that is acknowledged stands there to be changed.
    pub fn of(model: &Model, sites: Vec<SiteId>) -> Self {
        let known = || sites.iter().filter_map(|site| model.acknowledgement(*site));
        let first = known().next();
        let reason = first.map_or("", |first| first.reason.as_str());
        Self {
            reason: TextLine::new(reason, NOTE_LIMIT),
            until: TextLine::new(DEFAULT_UNTIL, UNTIL_LIMIT),
            at_until: false,
            refusal: None,
            known: known().count(),
            sites,
        }
    }

    pub(super) fn press(&mut self, model: &mut Model, press: KeyEvent) -> Pressed {
        let control = press.modifiers.contains(KeyModifiers::CONTROL);
        match press.code {
            KeyCode::Esc => return Pressed::Closes(Vec::new()),
            KeyCode::Char('x') if control && self.known > 0 => return self.take_back(model),
            KeyCode::Enter if self.at_until => return self.enter(model),
            KeyCode::Enter if self.reason.text().is_empty() => {
                self.refusal = Some("a reason is needed: who comes later has to know why".to_owned());
                return Pressed::Stays;
            }
            KeyCode::Enter => self.at_until = true,
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Up | KeyCode::Down => self.at_until = !self.at_until,
            _ => {
                let stays = if self.at_until {
                    self.until.press(model, press, "a time")
                } else {
                    self.reason.press(model, press, "a reason")
                };
                if !stays {
                    return Pressed::Closes(Vec::new());
                }
            }
        }
        self.refusal = None;
        Pressed::Stays
    }

    fn enter(&mut self, model: &mut Model) -> Pressed {
        let reason = CleanText::note(self.reason.text());
        if reason.is_empty() {
            self.at_until = false;
            self.refusal = Some("a reason is needed: who comes later has to know why".to_owned());
            return Pressed::Stays;
        }
        let now = model.now.wall;
        let acknowledgement = match until(self.until.text(), now, &model.options.zone) {
            Ok(until) => Acknowledgement {
                reason,
                until,
                by: CleanText::note(&model.operator),
                at: now,
            },
            Err(refusal) => {
                self.refusal = Some(refusal.to_string());
                return Pressed::Stays;
            }
        };
        let sentence = acknowledgement.sentence(&|at| model.clock(at));
        model.say(Level::Info, format!("{} {sentence}", self.named(model)));
        self.orders(Some(acknowledgement))
    }

    fn take_back(&mut self, model: &mut Model) -> Pressed {
        let text = format!("{}: acknowledged no more", self.named(model));
        model.say(Level::Info, text);
        self.orders(None)
    }

    fn orders(&mut self, acknowledgement: Option<Acknowledgement>) -> Pressed {
        Pressed::Closes(vec![Effect::Engine(Command::Acknowledge {
            sites: std::mem::take(&mut self.sites),
            acknowledgement,
        })])
    }

    fn named(&self, model: &Model) -> String {
        match &self.sites[..] {
            [site] => model.site(*site).name.to_string(),
            sites => Count(sites.len(), "site").to_string(),
        }
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let theme = model.options.theme;
        let label = |text: &str| Line::styled(model.text(text), theme.style(Part::Label));
        let mut lines = vec![
            Line::raw(
                "A site that is known to be bad stays listed and tried, and its failure is shown; it is left out of \
                 the halt, the exit status and the bell. A secret that it shows is an alarm all the same.",
            ),
            Line::raw(""),
            label("why"),
            self.reason.draw(model, !self.at_until),
            label("until: \"7 days\", \"12h\", \"2026-12-24\", \"2026-12-24 18:00\", or \"taken back\""),
            self.until.draw(model, self.at_until),
            Line::raw(""),
        ];
        if let Some(refusal) = &self.refusal {
            let bad = theme.style(Part::Status(Role::Bad));
            let text = format!("{} {refusal}", model.glyph("✗", "x"));
            lines.extend([Line::styled(model.text(&text), bad), Line::raw("")]);
        }
        lines.push(label(
            "Enter goes on to the end, and there it does it; Tab changes the field.",
        ));
        let known = self.sites.iter().find_map(|site| model.acknowledgement(*site));
        if let Some(known) = known {
            let what = known.until_in_words(&|at| model.clock(at));
            let text = match self.sites.len() {
                1 => format!("^X takes back what {} acknowledged {what}.", known.by),
                _ => format!(
                    "{} acknowledged already: ^X takes that back.",
                    Count(self.known, "site")
                ),
            };
            lines.push(label(&text));
        }
        draw_box(
            model,
            frame,
            &format!("acknowledge {}", self.named(model)),
            lines,
            0,
        );
    }
}
