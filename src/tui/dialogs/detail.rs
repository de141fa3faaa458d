use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;

use super::copy::Copying;
use super::offered::Offered;
use super::{Deed, Pressed, draw_box, last_scroll};
use crate::engine::Event;
use crate::site::SiteId;
use crate::tui::keys::Press;
use crate::tui::model::Model;
use crate::tui::{Effect, Past, Wanted};

/// What happens to a site next, and when.
mod next;
/// Its attempts: those of this screen and those on record.
mod attempts;
/// The page: a section a question.
mod page;

/// What can be done to the site from here.
fn offered(model: &Model) -> Offered {
    const OWN: [Press; 5] = [
        Press::key('n'),
        Press::key('p'),
        Press::key('J'),
        Press::key('K'),
        Press::key(' '),
    ];

    Offered::new(model, &OWN, &[("copy", 'y'), ("retry", 'r'), ("verify", 'v')])
}

/// All that is known of a site:
///
/// ```text
/// what it is, what is known now, what comes next
/// keys       what it was seen to serve, from when to when, pushed by whom
/// attempts   each request as it went out, and what came back
/// runs       what past runs made of it
/// what cannot be seen from here
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    site: SiteId,
    scroll: usize,
    /// What is on record; none until it is read.
    past: Option<Past>,
    /// Whether that is being read.
    reading: bool,
    /// Whether something has happened since that was asked for.
    stale: bool,
    copying: Option<Copying>,
}

impl Detail {
    /// Of this site; what is on record of it is to be read.
    pub fn of(site: SiteId) -> (Self, Vec<Effect>) {
        let mut detail = Self {
            site,
            scroll: 0,
            past: None,
            reading: false,
            stale: false,
            copying: None,
        };
        let effects = detail.read();
        (detail, effects)
    }

    /// Reads what is on record. One read at a time: a site that never rests must not fill the store's queue.
    fn read(&mut self) -> Vec<Effect> {
        self.stale = self.reading;
        if std::mem::replace(&mut self.reading, true) {
            return Vec::new();
        }
        vec![Effect::Read(Wanted::Past(self.site))]
    }

    /// Something has happened: to this site, perhaps, or to a run of it.
    pub fn happened(&mut self, event: &Event) -> Vec<Effect> {
        let concerns = match event {
            Event::Site { site, .. } => *site == self.site,
            Event::Attempt(attempt) => attempt.site == self.site,
            Event::Run(_) => true,
            Event::Message(_)
            | Event::Halted(..)
            | Event::Alarm(..)
            | Event::Backend { .. }
            | Event::NotBegun(_)
            | Event::Refused(_)
            | Event::Acknowledged { .. }
            | Event::Refreshed { .. }
            | Event::Store { .. }
            | Event::ChunkOver(_)
            | Event::KeyRefused(..)
            | Event::Taken => false,
        };
        if concerns { self.read() } else { Vec::new() }
    }

    /// What is on record was read.
    pub fn take(&mut self, site: SiteId, past: Past) -> Vec<Effect> {
        if site == self.site {
            self.past = Some(past);
        } else {
            // It was asked for before another site was turned to.
            self.stale = true;
        }
        self.failed()
    }

    /// The read has ended, however.
    pub fn failed(&mut self) -> Vec<Effect> {
        self.reading = false;
        if std::mem::take(&mut self.stale) {
            self.read()
        } else {
            Vec::new()
        }
    }

    pub(super) fn press(&mut self, model: &mut Model, press: KeyEvent) -> Pressed {
        if let Some(copying) = self.copying {
            return match copying.press(model, press) {
                Pressed::Closes(effects) => {
                    self.copying = None;
                    Pressed::StaysAnd(effects)
                }
                other => other,
            };
        }
        match offered(model).meant(press) {
            Some("retry") => return Pressed::Orders(Deed::Retry, self.site),
            Some("verify") => return Pressed::Orders(Deed::Look, self.site),
            Some(_) => {
                self.copying = Some(Copying::of(self.site));
                return Pressed::Stays;
            }
            None => {}
        }
        let page = model.table_height().max(2);
        let last = last_scroll(model, page::lines(model, self.site, self.past.as_ref()));
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
            _ if control => return Pressed::Stays,
            KeyCode::Char('n' | 'J') => return self.turn(model, 1),
            KeyCode::Char('p' | 'K') => return self.turn(model, -1),
            KeyCode::Esc | KeyCode::Char('q') | KeyCode::Enter => return Pressed::Closes(Vec::new()),
            _ => return Pressed::Stays,
        };
        self.scroll = to.min(last);
        Pressed::Stays
    }

    /// Turns to the site so many rows further in the table; its cursor goes there too.
    fn turn(&mut self, model: &mut Model, by: isize) -> Pressed {
        let place = model.list.order().iter().position(|site| *site == self.site);
        let to = place.unwrap_or(model.list.cursor()).saturating_add_signed(by);
        model.move_cursor(to);
        match model.selected() {
            Some(site) if site != self.site => {
                (self.site, self.scroll, self.past) = (site, 0, None);
                // What was said was of the site before.
                model.behind_since = model.now;
                Pressed::StaysAnd(self.read())
            }
            _ => Pressed::Stays,
        }
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let lines = page::lines(model, self.site, self.past.as_ref());
        let last = last_scroll(model, lines.clone());
        // The screen may have grown, or the page become shorter.
        let scroll = self.scroll.min(last);
        let more = last - scroll;
        let steers = !model.options.read_only;
        let said = [
            ("copy", true),
            ("retry", steers),
            ("verify", steers || !model.is_attached()),
        ];
        let said = said
            .iter()
            .filter(|(_, can)| *can)
            .map(|(action, _)| (*action, *action));
        let keys = offered(model).words(&said.collect::<Vec<_>>());
        let mut title = format!(
            "{}  (n p others, {keys}Esc closes)",
            model.fit_name(model.site(self.site).name.as_str(), 18)
        );
        if more > 0 && model.size.0 >= 100 {
            title = format!("{title}  {more} more below");
        }
        draw_box(model, frame, &title, lines, scroll);
        if let Some(copying) = self.copying {
            copying.draw(model, frame);
        }
    }
}
