use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::text::{Line, Span};

use super::{Pressed, draw_box, last_scroll};
use crate::engine::{Attempt, Level};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::note::note;
use crate::rules::status::Role;
use crate::rules::tally::word;
use crate::site::SiteId;
use crate::store::Seen;
use crate::text::pad;
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
    Detail(SiteId),
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
    /// All that is known of a site.
    pub fn detail(site: SiteId) -> Self {
        Self::of(Page::Detail(site))
    }

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
            Page::Detail(site) => format!("{}  (j k scroll, Esc closes)", model.site(*site).name),
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
        Page::Detail(site) => detail(model, *site),
        Page::Messages => messages(model),
        Page::Owed => owed(model),
        Page::Help(lines) => help(model, lines),
    }
}

fn fact(model: &Model, name: &'static str, value: &str) -> Line<'static> {
    let label = Span::styled(format!("{name:<10}"), model.options.theme.style(Part::Label));
    Line::from(vec![label, Span::raw(model.text(value))])
}

fn detail(model: &Model, id: SiteId) -> Vec<Line<'static>> {
    let (site, state) = (model.site(id), model.state(id));
    let nothing = || "nothing".to_owned();
    let whole = |key: &PublishableKey| format!("{} #{}", model.mask(key), key.fingerprint());
    let mode = format!("{:?}", site.mode).to_lowercase();
    let mut lines = vec![
        fact(model, "address", &site.url.to_string()),
        fact(model, "backend", &site.backend),
        fact(
            model,
            "takes",
            &if mode == "any" {
                "live and test keys".to_owned()
            } else {
                format!("{mode} keys")
            },
        ),
        fact(
            model,
            "expected",
            &state.expected.as_ref().map_or_else(nothing, |key| {
                format!("{} #{}", model.mask(key), key.fingerprint())
            }),
        ),
        fact(model, "serves", &state.now.words(whole)),
        fact(model, "before", &state.before.words(whole)),
        fact(model, "push", state.push.look().word),
        fact(model, "verify", state.verify.look().word),
    ];
    if model.is_of_session(id) {
        let text = "in no config: added for this session (+ and Enter write it)";
        lines.push(fact(model, "", text));
    }
    if !site.enabled {
        lines.push(fact(model, "", "disabled in the config"));
    }
    if let Some(at) = state.next_at {
        lines.push(fact(model, "next", &format!("at {}", model.clock(at))));
    }
    let note = note(state, &|at| model.clock(at));
    if !note.is_empty() {
        lines.push(fact(model, "note", &note));
    }
    lines.extend(timeline(model, id));
    lines.push(Line::raw(""));
    lines.extend(attempts(model, id));
    lines.push(Line::raw(""));
    lines.push(Line::styled(
        model.text("What cannot be seen from here: the shop takes payments with its own SECRET key, and its webhook may belong to another account. Try one payment."),
        model.options.theme.style(Part::Label),
    ));
    lines
}

/// Which key it was seen to serve, from when to when, and who put it there.
fn timeline(model: &Model, id: SiteId) -> Vec<Line<'static>> {
    let seen = model.timeline.as_ref().filter(|(site, _)| *site == id);
    let line = |seen: &Seen| {
        let since_start = model.now.since_start;
        let clock = |wall| model.clock(Moment { since_start, wall });
        let by = match seen.pushed_by {
            Some(run) => format!("pushed by run {}", run.0),
            None => "not pushed by us".to_owned(),
        };
        let served = seen.served.words(|key| model.mask(key));
        let text = format!(
            "{served} seen {} to {}, {by}",
            clock(seen.first),
            clock(seen.last)
        );
        fact(model, "", &text)
    };
    seen.into_iter()
        .flat_map(|(_, seen)| seen.iter().rev().map(line))
        .collect()
}

fn attempts(model: &Model, id: SiteId) -> Vec<Line<'static>> {
    let Some(attempts) = model.attempts.get(&id) else {
        return vec![Line::styled(
            "no request yet",
            model.options.theme.style(Part::Label),
        )];
    };
    attempts
        .iter()
        .rev()
        .map(|attempt| attempt_line(model, attempt))
        .collect()
}

fn attempt_line(model: &Model, attempt: &Attempt) -> Line<'static> {
    let request = attempt.request.word();
    let http = attempt
        .http
        .map_or_else(|| "   ".to_owned(), |status| status.to_string());
    let head = format!(
        "{}  {request} {:<2} {http} {:>6} ms  ",
        model.clock(attempt.at),
        attempt.number,
        attempt.took.as_millis()
    );
    let role = if attempt.cause.is_some() {
        Role::Bad
    } else {
        Role::Good
    };
    Line::from(vec![
        Span::raw(head),
        Span::styled(
            model.text(attempt.note.as_str()),
            model.options.theme.style(Part::Status(role)),
        ),
    ])
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
        let name = pad(model.site(*id).name.as_str(), 20);
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
