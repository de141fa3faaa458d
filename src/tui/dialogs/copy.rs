use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::text::{Line, Span};

use super::{Pressed, draw_box, inner_width};
use crate::engine::Level;
use crate::key::secret_inside;
use crate::rules::note::note;
use crate::rules::status::Role;
use crate::site::SiteId;
use crate::text::CleanText;
use crate::tui::Effect;
use crate::tui::model::{Clipboard, Model};
use crate::tui::theme::Part;

/// The longest text that is copied, in characters: terminals drop what is much longer than this.
const LIMIT: usize = 4096;

/// What of a site can be copied: a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copying {
    site: SiteId,
}

/// Something that can be copied.
struct Copy {
    key: char,
    what: &'static str,
    /// As the question shows it.
    shown: String,
    text: String,
}

impl Copying {
    /// Of this site.
    pub fn of(site: SiteId) -> Self {
        Self { site }
    }

    pub(super) fn press(self, model: &mut Model, press: KeyEvent) -> Pressed {
        let key = match press.code {
            KeyCode::Esc | KeyCode::Enter => return Pressed::Closes(Vec::new()),
            KeyCode::Char(key) if !press.modifiers.contains(KeyModifiers::CONTROL) => key,
            _ => return Pressed::Stays,
        };
        let Some(copy) = copies(model, self.site).into_iter().find(|copy| copy.key == key) else {
            return if key == 'q' {
                Pressed::Closes(Vec::new())
            } else {
                Pressed::Stays
            };
        };
        if model.options.clipboard == Clipboard::Lacks {
            let text = format!(
                "the {} was not copied: a terminal of this kind ($TERM) has no clipboard (OSC 52)",
                copy.what
            );
            model.say(Level::Warning, text);
            return Pressed::Closes(Vec::new());
        }
        let text = if model.options.clipboard == Clipboard::Tmux {
            let what = copy.what;
            format!("copied the {what} (tmux may need: set -s set-clipboard on)")
        } else {
            format!("copied the {}, if the terminal takes OSC 52", copy.what)
        };
        model.say(Level::Info, text);
        Pressed::Closes(vec![Effect::Copy(copy.text)])
    }

    pub(super) fn draw(self, model: &Model, frame: &mut Frame) {
        let theme = model.options.theme;
        let key = |name: &str| Span::styled(format!("{name:>3}  "), theme.style(Part::Key));
        let line = |copy: Copy| {
            let shown = format!("{:<5}  {}", copy.what, copy.shown);
            let shown = model.fit(&shown, inner_width(model).saturating_sub(5));
            Line::from(vec![key(&copy.key.to_string()), Span::raw(shown)])
        };
        let mut lines: Vec<Line<'static>> = copies(model, self.site).into_iter().map(line).collect();
        lines.push(Line::from(vec![key("Esc"), Span::raw("copies nothing")]));
        let title = format!("copy from {}", model.fit(model.site(self.site).name.as_str(), 30));
        draw_box(model, frame, &title, lines, 0);
    }
}

/// What there is to copy of a site; never a secret: a key is one that may be public, and an error was cleaned and
/// washed when it came.
fn copies(model: &Model, id: SiteId) -> Vec<Copy> {
    let (site, state) = (model.site(id), model.state(id));
    let url = site.url.to_string();
    let mut copies = vec![Copy {
        key: 'u',
        what: "URL",
        shown: url.clone(),
        text: url,
    }];
    let serves = state.now.key().map(|key| (key, "which it serves"));
    let expected = state.expected.as_ref().map(|key| (key, "which it should serve"));
    if let Some((key, which)) = serves.or(expected) {
        copies.push(Copy {
            key: 'k',
            what: "key",
            shown: format!("{}, {which}", model.mask(key)),
            text: key.as_str().to_owned(),
        });
    }
    if let Some(error) = error(model, id) {
        copies.push(Copy {
            key: 'e',
            what: "error",
            shown: error.clone(),
            text: error,
        });
    }
    copies.retain(|copy| secret_inside(&copy.text).is_none());
    copies
}

/// What is wrong with a site, in the words of its note.
fn error(model: &Model, id: SiteId) -> Option<String> {
    let state = model.state(id);
    let roles = [state.push.look().role, state.verify.look().role];
    let is_wrong = |role: &Role| matches!(role, Role::Warning | Role::Bad | Role::Alarm);
    if state.problem.is_none() && !state.alarm && !roles.iter().any(is_wrong) {
        return None;
    }
    let note = note(state, &|at| model.clock(at));
    let note = CleanText::new(&note, LIMIT);
    (!note.is_empty()).then(|| note.to_string())
}
