use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::text::{Line, Span};

use super::scroll::{closes, scrolled};
use super::{Pressed, draw_box, last_scroll};
use crate::engine::Attempt;
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
    Owed,
}

impl Pager {
    /// All that is known of a site.
    pub fn detail(site: SiteId) -> Self {
        Self::of(Page::Detail(site))
    }

    /// The sites that are not known to serve what is expected of them.
    pub fn owed() -> Self {
        Self::of(Page::Owed)
    }

    fn of(page: Page) -> Self {
        Self { page, scroll: 0 }
    }

    pub(super) fn press(&mut self, model: &Model, press: KeyEvent) -> Pressed {
        let last = last_scroll(model, lines(&self.page, model));
        if let Some(to) = scrolled(self.scroll, press, model.table_height(), last) {
            self.scroll = to;
        } else if closes(press) {
            return Pressed::Closes(Vec::new());
        }
        Pressed::Stays
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let title = match &self.page {
            Page::Detail(site) => format!("{}  (j k scroll, Esc closes)", model.site(*site).name),
            Page::Owed => "owed a key  (j k scroll, Esc closes)".to_owned(),
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
        Page::Owed => owed(model),
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
