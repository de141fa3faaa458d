use jiff::Timestamp;
use ratatui::text::{Line, Span};

use super::attempts::{Tried, tried};
use super::next::next;
use crate::engine::Shown;
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::note::note;
use crate::rules::status::{Look, Push, Role};
use crate::site::{SiteId, SiteMode};
use crate::store::{Seen, SiteRun};
use crate::text::{Count, width, wrap};
use crate::tui::Past;
use crate::tui::columns::wave;
use crate::tui::dialogs::inner_width;
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// Columns before what is said of something.
const INDENT: usize = 10;

/// What no call to the site shows.
const UNSEEN: [&str; 4] = [
    "Several processes may stand behind this address, and each keeps its settings for up to 5 minutes. A look shows one \
     of them: only a look after the settle time is proof.",
    "A key that it serves need not be stored there: with none stored it answers one from its environment or from the \
     dashboard.",
    "A PUT may be stored under another tenant than the one that the GET reads.",
    "The shop takes payments with its own SECRET key, and its webhook may belong to another account: it can serve the \
     right key and fail at checkout. Try one payment.",
];

/// The page, in lines that fit into the box.
pub(super) fn lines(model: &Model, id: SiteId, past: Option<&Past>) -> Vec<Line<'static>> {
    let mut page = Page {
        model,
        columns: inner_width(model),
        lines: Vec::new(),
    };
    page.what_it_is(id);
    page.known(id);
    page.keys(past);
    page.attempts(id, past);
    page.runs(past);
    page.heading("what cannot be seen from here");
    for unseen in UNSEEN {
        page.item("- ", unseen, Part::Label);
    }
    page.lines
}

struct Page<'a> {
    model: &'a Model,
    columns: usize,
    lines: Vec<Line<'static>>,
}

impl Page<'_> {
    fn heading(&mut self, text: &'static str) {
        if !self.lines.is_empty() {
            self.lines.push(Line::raw(""));
        }
        let style = self.model.options.theme.style(Part::Header);
        self.lines.push(Line::styled(text, style));
    }

    fn fact(&mut self, name: &str, value: &str) {
        self.item(&format!("{name:<INDENT$}"), value, Part::Text);
    }

    /// `text`, wrapped, behind `label`.
    fn item(&mut self, label: &str, text: &str, part: Part) {
        let theme = self.model.options.theme;
        let label = self.model.text(label);
        let indent = width(&label);
        let blanks = " ".repeat(indent);
        let text = wrap(&self.model.text(text), self.columns.saturating_sub(indent));
        let labels = std::iter::once(label).chain(std::iter::repeat(blanks));
        let line = |(label, text): (String, String)| {
            Line::from(vec![
                Span::styled(label, theme.style(Part::Label)),
                Span::styled(text, theme.style(part)),
            ])
        };
        self.lines.extend(labels.zip(text).map(line));
    }

    fn key(&self, key: &PublishableKey) -> String {
        format!("{} #{}", self.model.mask(key), key.fingerprint())
    }

    fn status(&self, look: Look, why: Option<&str>) -> String {
        let why = why.map_or_else(String::new, |why| format!(" ({why})"));
        format!("{} {}{why}", self.model.glyph(look.glyph, look.ascii), look.word)
    }

    fn clock(&self, wall: Timestamp) -> String {
        let since_start = self.model.now.since_start;
        self.model.clock(Moment { since_start, wall })
    }

    fn what_it_is(&mut self, id: SiteId) {
        let site = self.model.site(id);
        self.fact("name", site.name.as_str());
        self.fact("address", &site.url.to_string());
        if let Some(host) = site.url.readable_host() {
            let mixes = if site.url.mixes_scripts() {
                ", in more than one script: is it the right one?"
            } else {
                ""
            };
            self.fact("", &format!("reads as {host}{mixes}"));
        }
        if let Some(group) = &site.group {
            self.fact("group", group.as_str());
        }
        self.fact("backend", &site.backend);
        if let Some(shown) = self.model.backends.get(&site.backend) {
            self.fact("", &backend(self.model, shown));
        }
        let takes = match site.mode {
            SiteMode::Any => "live and test keys",
            SiteMode::Live => "live keys",
            SiteMode::Test => "test keys",
        };
        self.fact("takes", takes);
        if !site.enabled {
            self.fact("", "disabled in the config: it is listed and never asked");
        }
        if self.model.is_of_session(id) {
            let add = self.model.key_of("add a site");
            let text = format!("in no config: added for this session ({add} and Enter write it)");
            self.fact("", &text);
        }
    }

    fn known(&mut self, id: SiteId) {
        let (model, state) = (self.model, self.model.state(id));
        self.heading("now");
        let expected = state.expected.as_ref().map_or("nothing".to_owned(), |key| {
            let since = state
                .expected_since
                .map(|since| format!(" since {}", model.clock(since)));
            let skipped = matches!(state.push, Push::Skipped(_));
            let run = state
                .run
                .filter(|_| !skipped)
                .map(|run| format!(", run {}", run.0));
            format!(
                "{}{}{}",
                self.key(key),
                since.unwrap_or_default(),
                run.unwrap_or_default()
            )
        });
        self.fact("expected", &expected);
        let looked = state
            .looked_at
            .map(|looked| format!(" at {}", model.clock(looked)));
        let serves = state.now.words(|key| self.key(key));
        self.fact("serves", &format!("{serves}{}", looked.unwrap_or_default()));
        self.fact("before", &state.before.words(|key| self.key(key)));
        let skipped = match state.push {
            Push::Skipped(reason) => Some(reason.word()),
            push => push.cause().map(crate::rules::outcome::Cause::word),
        };
        self.fact("push", &self.status(state.push.look(), skipped));
        let cause = state.verify.cause().map(crate::rules::outcome::Cause::word);
        self.fact("verify", &self.status(state.verify.look(), cause));
        let note = note(state, &|at| model.clock(at));
        if !note.is_empty() {
            self.fact("note", &note);
        }
        let wave = wave(model, state);
        if !wave.is_empty() {
            self.fact("wave", &wave);
        }
        if let Some(known) = model.acknowledgement(id) {
            let until = known.until_in_words(&|at| model.clock(at));
            let text = format!("{until} by {}: {}", known.by, known.reason);
            self.fact("known", &text);
        }
        if let Some(held) = model.held_by(id) {
            let who = &held.holder.by;
            let said = model.held_in_words(id).unwrap_or_default();
            let text = format!(
                "{said} (PID {} on {}, since {}): until all of it is sent no other run may send to it",
                who.pid,
                who.host,
                self.clock(held.holder.since)
            );
            self.fact("held", &text);
        }
        self.fact("next", &next(model, id));
    }

    /// Which keys it was seen to serve, from when to when, and who put them there.
    fn keys(&mut self, past: Option<&Past>) {
        self.heading("keys that it was seen to serve, newest first");
        let Some(past) = past else {
            return self.item("", "is being read", Part::Label);
        };
        if past.seen.is_empty() {
            self.item("", "none yet", Part::Label);
        }
        for seen in past.seen.iter().rev() {
            self.seen(seen);
        }
    }

    fn seen(&mut self, seen: &Seen) {
        let until = if seen.last == seen.first {
            String::new()
        } else {
            format!(" until {}", self.clock(seen.last))
        };
        let by = match (&seen.pushed_by, seen.served.key()) {
            (Some(run), _) => format!(", pushed by run {}", run.0),
            (None, Some(_)) => ", not pushed by us".to_owned(),
            (None, None) => String::new(),
        };
        let served = seen.served.words(|key| self.key(key));
        let text = format!("{served} seen {}{until}{by}", self.clock(seen.first));
        self.item("  ", &text, Part::Text);
    }

    fn attempts(&mut self, id: SiteId, past: Option<&Past>) {
        self.heading("attempts, newest first");
        let stored = past.map_or(&[][..], |past| &past.attempts);
        let tried = tried(self.model, id, stored);
        if tried.is_empty() {
            let text = if past.is_some() {
                "no request yet"
            } else {
                "are being read"
            };
            self.item("", text, Part::Label);
        }
        let out = self.model.state(id).is_calling();
        for (place, attempt) in tried.iter().enumerate() {
            self.attempt(id, attempt, out && place == 0);
        }
    }

    /// The request line, then what came of it; on one line if there is room.
    fn attempt(&mut self, id: SiteId, tried: &Tried, out: bool) {
        let at = format!("{:<8}  ", self.clock(tried.sent));
        let (line, facts) = (tried.line(self.model.site(id)), tried.facts());
        let indent = width(&at);
        if indent + width(&line) + 2 + width(&facts) <= self.columns {
            self.item(&at, &line, Part::Text);
            if let Some(last) = self.lines.last_mut() {
                last.push_span(format!("  {}", self.model.text(&facts)));
            }
        } else {
            self.item(&at, &line, Part::Text);
            self.item(&" ".repeat(INDENT), &facts, Part::Text);
        }
        let (role, note) = match (tried.ended, out) {
            (true, _) if tried.cause.is_some() => (Role::Bad, tried.note.as_str()),
            (true, _) => (Role::Good, tried.note.as_str()),
            (false, true) => (Role::Busy, "is out"),
            (false, false) => (Role::Warning, "sent; what came of it is not on record"),
        };
        self.item(&" ".repeat(INDENT), note, Part::Status(role));
    }

    fn runs(&mut self, past: Option<&Past>) {
        self.heading("its runs, newest first");
        let Some(past) = past else {
            return self.item("", "are being read", Part::Label);
        };
        if past.runs.is_empty() {
            self.item("", "none on record", Part::Label);
        }
        for run in &past.runs {
            self.run(run);
        }
    }

    /// `  12  14:02:11 push of pk_live_…AbCd, push ✗ failed (refused_key), verify – unchecked`, and the last word on it below.
    fn run(&mut self, run: &SiteRun) {
        let row = &run.site;
        let reason = match row.push {
            Push::Skipped(reason) => Some(reason.word()),
            push => push.cause().map(crate::rules::outcome::Cause::word),
        };
        let text = format!(
            "{} {} of {}, push {}, verify {}",
            self.clock(run.began),
            run.kind.word(),
            self.model.mask(&row.planned.key),
            self.status(row.push.look(), reason),
            self.status(row.verify.look(), None),
        );
        self.item(&format!("{:>4}  ", run.run.0), &text, Part::Text);
        if !row.note.is_empty() {
            self.item("      ", row.note.as_str(), Part::Label);
        }
    }
}

/// How a backend is treated by now.
fn backend(model: &Model, shown: &Shown) -> String {
    let mut parts = vec![format!("takes {} of {} calls at once", shown.at_once, shown.most)];
    if let Some(until) = shown.open_until.filter(|until| *until > model.now) {
        parts.push(format!(
            "its sites fail in a row: left alone until {}",
            model.clock(until)
        ));
    }
    if let Some(until) = shown.held_until.filter(|until| *until > model.now) {
        parts.push(format!("asks to wait until {}", model.clock(until)));
    }
    let retries = format!("{} of {} were retries", shown.retries, Count(shown.calls, "call"));
    parts.push(retries);
    parts.join("; ")
}
