use std::collections::HashMap;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::text::{Line, Span};

use super::hanging::hanging;
use super::scroll::{closes, scrolled};
use super::{Pressed, draw_box, inner_width, inside, last_scroll};
use crate::engine::Level;
use crate::engine::preflight::News;
use crate::rules::preflight::{Counts, Done, Report, Step};
use crate::rules::status::Role;
use crate::site::SiteId;
use crate::text::{Count, width};
use crate::tui::model::Model;
use crate::tui::theme::Part;
use crate::tui::{Effect, PreflightNews, PreflightOrder, PreflightTold};

/// Columns that the names of the list have at most.
const NAMES: usize = 24;

/// What a push would meet. One site has a page with its steps; several have a line each, of which one is opened.
#[derive(Debug)]
pub struct Preflight {
    number: u64,
    /// What is asked for and not begun yet: its master keys are being read.
    asked: Option<u64>,
    /// Whether the master keys are tried, too.
    auth: bool,
    sites: Vec<SiteId>,
    found: HashMap<SiteId, Found>,
    counts: Counts,
    /// The columns of the names.
    names: usize,
    /// Whether nothing more comes.
    ended: bool,
    cursor: usize,
    /// The site whose page is open.
    page: Option<SiteId>,
    scroll: usize,
}

#[derive(Debug, Default)]
struct Found {
    report: Report,
    /// Whether nothing more comes of this site.
    over: bool,
}

fn order(model: &mut Model, sites: &[SiteId], auth: bool) -> (u64, Vec<Effect>) {
    model.preflights += 1;
    let begin = PreflightOrder::Begin {
        number: model.preflights,
        sites: sites.to_vec(),
        auth,
    };
    (model.preflights, vec![Effect::Preflight(begin)])
}

/// Why this screen tries no master key, if it does not: it does where it could push.
fn lacks_auth(model: &Model) -> Option<&'static str> {
    if model.options.read_only {
        return Some("this screen is read-only: it tries no master key");
    }
    if model.is_attached() && model.is_sending() {
        return Some("another process is sending: it alone has the master key now");
    }
    // A push asks about these. Nobody is asked here.
    if !model.setup.failed.is_empty() {
        return Some("a source could not be read: the master key is not tried until it can be");
    }
    let has_changed = model.setup.list_change.danger().is_some();
    has_changed.then_some("the list changed much since the last run: a push that confirms it comes first")
}

impl Preflight {
    /// Of these sites, without their master keys; it is to begin.
    pub fn of(sites: Vec<SiteId>, model: &mut Model) -> (Self, Vec<Effect>) {
        let (number, effects) = order(model, &sites, false);
        let page = match sites[..] {
            [site] => Some(site),
            _ => None,
        };
        let names = sites
            .iter()
            .map(|site| model.text(model.site(*site).name.as_str()));
        let longest = names.map(|name| width(&name)).max().unwrap_or_default();
        let dialog = Self {
            names: longest.min(NAMES),
            number,
            asked: None,
            auth: false,
            sites,
            found: HashMap::new(),
            counts: Counts::default(),
            ended: false,
            cursor: 0,
            page,
            scroll: 0,
        };
        (dialog, effects)
    }

    /// Takes in what is told of a preflight: of this one, or of another before it.
    pub fn take(&mut self, news: PreflightNews, model: &mut Model) {
        if self.asked == Some(news.number) {
            self.asked = None;
            match news.told {
                PreflightTold::Begun => {
                    (self.number, self.auth, self.ended) = (news.number, true, false);
                    self.found.clear();
                    self.counts = Counts::default();
                }
                PreflightTold::Refused(why) => {
                    model.say(Level::Error, format!("the master key is not tried: {why}"));
                }
                PreflightTold::Found(_) | PreflightTold::Ended => {}
            }
            return;
        }
        if news.number != self.number {
            return;
        }
        match news.told {
            PreflightTold::Found(News::Step(site, done)) => {
                self.found.entry(site).or_default().report.take(done);
            }
            PreflightTold::Found(News::Over(site)) => {
                let found = self.found.entry(site).or_default();
                if !std::mem::replace(&mut found.over, true) {
                    self.counts.add(found.report.grade());
                }
            }
            PreflightTold::Ended => self.end(),
            PreflightTold::Begun | PreflightTold::Refused(_) => {}
        }
    }

    /// All is there: what is wrong comes first. The cursor stays on its site.
    fn end(&mut self) {
        self.ended = true;
        let on = self.sites.get(self.cursor).copied();
        let found = &self.found;
        let grade = |site: &SiteId| found.get(site).map(|found| found.report.grade());
        self.sites.sort_by_key(|site| std::cmp::Reverse(grade(site)));
        if self.cursor > 0 {
            let place = self.sites.iter().position(|site| Some(*site) == on);
            self.cursor = place.unwrap_or_default();
        }
    }

    pub(super) fn press(&mut self, model: &mut Model, press: KeyEvent) -> Pressed {
        if press.code == KeyCode::Char('a') && press.modifiers.is_empty() {
            return self.ask_with_auth(model);
        }
        let page = model.table_height();
        let Some(site) = self.page else {
            if let Some(to) = scrolled(self.cursor, press, page, self.sites.len().saturating_sub(1)) {
                self.cursor = to;
            } else if press.code == KeyCode::Enter {
                (self.page, self.scroll) = (self.sites.get(self.cursor).copied(), 0);
            } else if closes(press) {
                return Pressed::Closes(Vec::new());
            }
            return Pressed::Stays;
        };
        let last = last_scroll(model, self.page_lines(site, model));
        if let Some(to) = scrolled(self.scroll, press, page, last) {
            self.scroll = to;
        } else if closes(press) && self.sites.len() > 1 {
            self.page = None;
        } else if closes(press) {
            return Pressed::Closes(Vec::new());
        }
        Pressed::Stays
    }

    /// Begins again, with the master keys.
    fn ask_with_auth(&mut self, model: &mut Model) -> Pressed {
        if let Some(why) = lacks_auth(model) {
            model.say(Level::Info, why);
            return Pressed::Stays;
        }
        if self.asked.is_some() {
            return Pressed::Stays;
        }
        let (number, effects) = order(model, &self.sites, true);
        self.asked = Some(number);
        Pressed::StaysAnd(effects)
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let Some(site) = self.page else {
            return self.draw_list(model, frame);
        };
        let lines = self.page_lines(site, model);
        let scroll = self.scroll.min(last_scroll(model, lines.clone()));
        let leaves = if self.sites.len() > 1 {
            "Esc back"
        } else {
            "Esc closes"
        };
        let name = model.fit_name(model.site(site).name.as_str(), 30);
        let title = format!("preflight of {name}  ({leaves})");
        draw_box(model, frame, &title, lines, scroll);
    }

    fn draw_list(&self, model: &Model, frame: &mut Frame) {
        let sites = Count(self.sites.len(), "site");
        let title = format!("preflight of {sites}  (j k, Enter opens one, Esc closes)");
        draw_box(model, frame, &title, self.list_lines(model), 0);
    }

    /// How far it is, the sites that there is room for, and what `a` does.
    fn list_lines(&self, model: &Model) -> Vec<Line<'static>> {
        let label = model.options.theme.style(Part::Label);
        let to_come = self.sites.len() - self.counts.all();
        let left = match to_come {
            0 => String::new(),
            left if self.ended => format!(", {left} not checked"),
            left => format!(", {left} to come"),
        };
        let heads = Step::ALL.map(|step| format!("{} ", step.head())).concat();
        let mut lines = vec![
            Line::raw(model.text(&format!("{}{left}", self.counts.words()))),
            Line::styled(heads, label),
        ];
        let (_, rows) = inside(model);
        // The two lines above, and below: how many more, a blank, what `a` does.
        let room = rows.saturating_sub(lines.len() + 3).max(1);
        let first = self.cursor.saturating_sub(room - 1);
        let shown = self.sites.iter().enumerate().skip(first).take(room);
        lines.extend(shown.map(|(place, site)| self.row(model, *site, place == self.cursor)));
        let more = self.sites.len().saturating_sub(first + room);
        if more > 0 {
            lines.push(Line::styled(format!("{more} more below"), label));
        }
        lines.push(Line::raw(""));
        lines.push(self.last_line(model));
        lines
    }

    /// `✓   ✓   !   ✓         maison-est   TLS: the certificate ends in 9 days`
    fn row(&self, model: &Model, site: SiteId, is_cursor: bool) -> Line<'static> {
        let theme = model.options.theme;
        let found = self.found.get(&site);
        let report = found.map(|found| &found.report);
        let mut spans: Vec<Span<'static>> = Vec::new();
        let mut columns = 0;
        for (step, sign, role) in self.signs(model, site) {
            let cell = model.pad(sign, step.head().len() + 1);
            columns += step.head().len() + 1;
            spans.push(Span::styled(cell, theme.style(Part::Status(role))));
        }
        let name = model.pad_name(model.site(site).name.as_str(), self.names);
        let said = match report {
            Some(report) if found.is_some_and(|found| found.over) => report.sentence(),
            _ => String::new(),
        };
        let room = inner_width(model).saturating_sub(columns + self.names + 3);
        let part = if is_cursor { Part::Cursor } else { Part::Text };
        let text = format!(" {name}  {}", model.pad(&said, room));
        spans.push(Span::styled(text, theme.style(part)));
        Line::from(spans)
    }

    /// Each step of a site: its sign, and what that means.
    fn signs(&self, model: &Model, site: SiteId) -> Vec<(Step, &'static str, Role)> {
        let found = self.found.get(&site);
        let report = found.map(|found| &found.report);
        let over = found.is_some_and(|found| found.over) || self.ended;
        let sign = |step: Step| match report.and_then(|report| report.step(step)) {
            Some(done) => {
                let (sign, role) = done.result.sign();
                (step, sign, role)
            }
            None if over || (step == Step::Auth && !self.auth) => (step, " ", Role::Quiet),
            None => (step, model.glyph("·", "."), Role::Quiet),
        };
        Step::ALL.map(sign).to_vec()
    }

    /// A site's page: each step with its time and its sentence.
    fn page_lines(&self, site: SiteId, model: &Model) -> Vec<Line<'static>> {
        let label = model.options.theme.style(Part::Label);
        let mut lines = vec![
            Line::styled(model.text(&model.site(site).url.to_string()), label),
            Line::raw(""),
        ];
        let report = self.found.get(&site).map(|found| &found.report);
        for (step, sign, role) in self.signs(model, site) {
            let done = report.and_then(|report| report.step(step));
            lines.extend(self.step_lines(model, step, done, (sign, role)));
        }
        lines.push(Line::raw(""));
        lines.push(self.last_line(model));
        lines
    }

    /// `! TLS      20 ms  the certificate ends in 9 days (2026-03-10)`
    fn step_lines(
        &self,
        model: &Model,
        step: Step,
        done: Option<&Done>,
        (sign, role): (&'static str, Role),
    ) -> Vec<Line<'static>> {
        let theme = model.options.theme;
        let took = match done {
            Some(done) if done.took > Duration::ZERO => format!("{} ms", done.milliseconds()),
            _ => String::new(),
        };
        let sentence = match done {
            Some(done) => done.result.sentence().to_string(),
            None if step == Step::Auth && !self.auth => "not tried".to_owned(),
            None if self.ended => "stopped before it".to_owned(),
            None => String::new(),
        };
        let style = theme.style(Part::Status(role));
        let head = vec![
            Span::styled(format!("{} ", model.text(sign)), style),
            Span::raw(format!("{:<5}", step.head())),
            Span::styled(format!("{took:>9}  "), theme.style(Part::Label)),
        ];
        let said = match role {
            Role::Warning | Role::Bad => style,
            _ => theme.style(Part::Text),
        };
        hanging(head, &model.text(&sentence), said, inner_width(model))
    }

    /// What `a` does, or has done.
    fn last_line(&self, model: &Model) -> Line<'static> {
        let text = match lacks_auth(model) {
            _ if self.asked.is_some() => "the master key is being read",
            _ if self.auth => "with the master key, by a PUT of {} that stores nothing; a again",
            Some(why) => why,
            None => "a tries the master key too, by a PUT of {} that stores nothing",
        };
        let style = model.options.theme.style(Part::Label);
        Line::styled(model.fit(text, inner_width(model)), style)
    }
}
