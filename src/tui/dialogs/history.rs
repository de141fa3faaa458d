use std::path::PathBuf;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::text::Line;

use super::offered::Offered;
use super::{Dialog, PlanDialog, Pressed, draw_box, listing};
use crate::engine::Level;
use crate::report::history::counts;
use crate::rules::moment::Moment;
use crate::rules::state::Served;
use crate::rules::status::{Push, Verify};
use crate::site::SiteUrl;
use crate::store::{RunRecord, RunSite, StoredAttempt};
use crate::text::{Count, width};
use crate::tui::field::secret;
use crate::tui::keys::Press;
use crate::tui::model::Model;
use crate::tui::theme::Part;
use crate::tui::{Effect, Reading, Wanted};

/// The longest file name that is taken, in characters.
const PATH_LIMIT: usize = 200;

/// What can be done with a run from here.
fn offered(model: &Model) -> Offered {
    const OWN: [Press; 2] = [Press::key('f'), Press::key('e')];

    Offered::new(model, &OWN, &[("retry", 'r'), ("roll back", 'u')])
}

/// What is said of that; a screen that only watches offers none of it.
fn words(model: &Model, said: &[(&str, &str)]) -> String {
    if model.options.read_only {
        String::new()
    } else {
        offered(model).words(said)
    }
}

/// Runs on record, newest first; one opens to its sites, a site to its attempts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// None until they are read.
    runs: Option<Vec<RunRecord>>,
    cursor: usize,
    open: Option<OpenRun>,
    /// The file that an export goes to, while it is typed.
    file: Option<String>,
    /// A file that is there already: whether it may be replaced is being asked.
    replaces: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
struct OpenRun {
    run: RunRecord,
    /// None until they are read.
    sites: Option<Vec<RunSite>>,
    failed_only: bool,
    cursor: usize,
    /// The site that is open, and its attempts once they are read.
    site: Option<(SiteUrl, Vec<StoredAttempt>)>,
}

impl OpenRun {
    fn shown(&self) -> Vec<&RunSite> {
        let all = self.sites.iter().flatten();
        all.filter(|site| !self.failed_only || failed(site)).collect()
    }
}

/// Whether a run left the site in a state that needs a look.
fn failed(site: &RunSite) -> bool {
    match site.push {
        Push::Skipped(reason) => reason.is_held_back(),
        Push::Stored | Push::Idle => !matches!(
            site.verify,
            Verify::Verified | Verify::Superseded | Verify::Serving | Verify::Settling
        ),
        _ => true,
    }
}

impl History {
    /// Whether a file name is being typed.
    pub(super) fn takes_text(&self) -> bool {
        self.file.is_some()
    }

    /// What was read from the store.
    pub fn take(&mut self, reading: Reading, model: &mut Model) {
        match (reading, &mut self.open) {
            (Reading::Runs(runs), _) => self.runs = Some(runs),
            (Reading::Run(id, sites), Some(open)) if open.run.id == id => open.sites = Some(sites),
            (Reading::Attempts(url, attempts), Some(open)) => open.site = Some((url, attempts)),
            (Reading::Exported(path), _) => {
                self.file = None;
                model.say(Level::Info, format!("written: {}", path.display()));
            }
            (Reading::Exists(path), _) => self.replaces = Some(path),
            _ => {}
        }
    }

    pub(super) fn press(&mut self, model: &mut Model, press: KeyEvent) -> Pressed {
        if self.replaces.is_some() {
            return self.press_replace(press);
        }
        if self.file.is_some() {
            return self.press_in_file(press, model);
        }
        match offered(model).meant(press) {
            Some(_) if model.options.read_only => {
                model.say(Level::Info, model.read_only_why());
                return Pressed::Stays;
            }
            Some("roll back") => return self.roll_back(),
            Some(_) => return self.retry(model),
            None => {}
        }
        let control = press.modifiers.contains(KeyModifiers::CONTROL);
        let page = model.table_height().max(2);
        let (at, count) = self.place();
        let to = match press.code {
            KeyCode::Char('j') | KeyCode::Down => at + 1,
            KeyCode::Char('k') | KeyCode::Up => at.saturating_sub(1),
            KeyCode::PageDown => at + page,
            KeyCode::PageUp => at.saturating_sub(page),
            KeyCode::Char('d') if control => at + page / 2,
            KeyCode::Char('u') if control => at.saturating_sub(page / 2),
            KeyCode::Char('g') | KeyCode::Home => 0,
            KeyCode::Char('G') | KeyCode::End => count,
            _ if control => return Pressed::Stays,
            KeyCode::Esc | KeyCode::Char('q') => return self.back(),
            KeyCode::Enter => return self.enter(),
            KeyCode::Char(letter) => return self.letter(letter),
            _ => return Pressed::Stays,
        };
        self.go_to(to.min(count.saturating_sub(1)));
        Pressed::Stays
    }

    /// Where the cursor is, and among how many.
    fn place(&self) -> (usize, usize) {
        match &self.open {
            Some(open) if open.site.is_some() => (0, 0),
            Some(open) => (open.cursor, open.shown().len()),
            None => (self.cursor, self.runs.as_ref().map_or(0, Vec::len)),
        }
    }

    fn go_to(&mut self, to: usize) {
        match &mut self.open {
            Some(open) => open.cursor = to,
            None => self.cursor = to,
        }
    }

    fn back(&mut self) -> Pressed {
        match &mut self.open {
            Some(open) if open.site.is_some() => open.site = None,
            Some(_) => self.open = None,
            None => return Pressed::Closes(Vec::new()),
        }
        Pressed::Stays
    }

    fn selected_run(&self) -> Option<&RunRecord> {
        match &self.open {
            Some(open) => Some(&open.run),
            None => self.runs.as_ref()?.get(self.cursor),
        }
    }

    fn enter(&mut self) -> Pressed {
        match &mut self.open {
            None => {
                let Some(run) = self.selected_run().cloned() else {
                    return Pressed::Stays;
                };
                let id = run.id;
                self.open = Some(OpenRun {
                    run,
                    sites: None,
                    failed_only: false,
                    cursor: 0,
                    site: None,
                });
                Pressed::StaysAnd(vec![Effect::Read(Wanted::Run(id))])
            }
            Some(open) if open.site.is_none() => {
                let url = open
                    .shown()
                    .get(open.cursor)
                    .map(|site| site.planned.site.clone());
                let id = open.run.id;
                url.map_or(Pressed::Stays, |url| {
                    Pressed::StaysAnd(vec![Effect::Read(Wanted::Attempts(id, url))])
                })
            }
            Some(_) => Pressed::Stays,
        }
    }

    fn letter(&mut self, letter: char) -> Pressed {
        match letter {
            'f' => {
                if let Some(open) = &mut self.open {
                    open.failed_only = !open.failed_only;
                    open.cursor = 0;
                }
                Pressed::Stays
            }
            'e' => {
                if let Some(run) = self.selected_run() {
                    self.file = Some(format!("run-{}.html", run.id.0));
                }
                Pressed::Stays
            }
            _ => Pressed::Stays,
        }
    }

    fn roll_back(&self) -> Pressed {
        self.selected_run().map_or(Pressed::Stays, |run| {
            Pressed::StaysAnd(vec![Effect::Read(Wanted::PutBack(run.id, None))])
        })
    }

    /// Plans to repeat what failed in the open run.
    fn retry(&self, model: &mut Model) -> Pressed {
        let Some(open) = self.open.as_ref().filter(|open| open.sites.is_some()) else {
            let retry = offered(model).key("retry").unwrap_or_default();
            let text = format!("Enter opens the run; then {retry} repeats what failed in it");
            model.say(Level::Info, text);
            return Pressed::Stays;
        };
        let places = model.places();
        let failed = open.sites.iter().flatten().filter(|site| failed(site));
        let of_list =
            failed.filter_map(|row| Some((*places.get(&row.planned.site)?, row.planned.key.clone())));
        // What a later run has taken over is that run's.
        let (targets, later): (Vec<_>, Vec<_>) =
            of_list.partition(|(id, _)| model.state(*id).run == Some(open.run.id));
        if targets.is_empty() {
            let text = if later.is_empty() {
                format!("nothing failed in run {}", open.run.id.0)
            } else {
                format!(
                    "what failed in run {} was taken over by later runs",
                    open.run.id.0
                )
            };
            model.say(Level::Info, text);
            return Pressed::Stays;
        }
        if !later.is_empty() {
            let text = format!(
                "{} that failed were taken over by later runs: left out",
                Count(later.len(), "site")
            );
            model.say(Level::Info, text);
        }
        match PlanDialog::of_retry(model, Some(open.run.id), &targets) {
            Ok(plan) => Pressed::Becomes(Box::new(Dialog::Plan(Box::new(plan)))),
            Err(why) => {
                model.say(Level::Warning, why);
                Pressed::Stays
            }
        }
    }

    fn press_in_file(&mut self, press: KeyEvent, model: &mut Model) -> Pressed {
        let Some(file) = &mut self.file else {
            return Pressed::Stays;
        };
        match press.code {
            KeyCode::Esc => self.file = None,
            KeyCode::Backspace => {
                file.pop();
            }
            KeyCode::Char('u') if press.modifiers.contains(KeyModifiers::CONTROL) => file.clear(),
            KeyCode::Char(letter)
                if !press.modifiers.contains(KeyModifiers::CONTROL) && file.chars().count() < PATH_LIMIT =>
            {
                file.push(letter);
                if let Some(refusal) = secret(file) {
                    // Its rest is swallowed, so that none of it is drawn.
                    self.file = None;
                    let now = model.now;
                    model.field.swallow(now);
                    model.say(
                        Level::Error,
                        format!("typed as a file name and dropped: {refusal}"),
                    );
                }
            }
            KeyCode::Enter if !file.trim().is_empty() => {
                // The name stays until the file is there: it can be mended.
                let path = PathBuf::from(file.trim());
                return self.export(path, false);
            }
            _ => {}
        }
        Pressed::Stays
    }

    fn press_replace(&mut self, press: KeyEvent) -> Pressed {
        match (press.code, self.replaces.take()) {
            (KeyCode::Char('y'), Some(path)) => self.export(path, true),
            (KeyCode::Char('n') | KeyCode::Esc, _) => Pressed::Stays,
            (_, asked) => {
                self.replaces = asked;
                Pressed::Stays
            }
        }
    }

    fn export(&self, path: PathBuf, replace: bool) -> Pressed {
        self.selected_run().map_or(Pressed::Stays, |run| {
            Pressed::StaysAnd(vec![Effect::Read(Wanted::Export {
                run: run.id,
                path,
                replace,
            })])
        })
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let rows = usize::from(frame.area().height).saturating_sub(8).max(3);
        let (title, mut lines) = match &self.open {
            None => self.draw_runs(model, rows),
            Some(open) => match &open.site {
                None => draw_run(open, model, rows),
                Some((url, attempts)) => draw_attempts(open, url, attempts, model),
            },
        };
        // On top, so that it is seen however few rows there are.
        let mut shown = self.draw_questions(model);
        shown.append(&mut lines);
        draw_box(model, frame, &title, shown, 0);
    }

    /// The file name that is typed, and whether a file is replaced.
    fn draw_questions(&self, model: &Model) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        if let Some(file) = &self.file {
            lines.push(Line::raw(
                "write it to a file that ends in .html, .csv, .json or .md:",
            ));
            lines.push(Line::raw(model.text(&format!("> {file}_"))));
        }
        if let Some(path) = &self.replaces {
            let question = format!("{} is there already: y replaces it, n leaves it", path.display());
            lines.push(Line::raw(model.text(&question)));
        }
        if !lines.is_empty() {
            lines.push(Line::raw(""));
        }
        lines
    }

    fn draw_runs(&self, model: &Model, rows: usize) -> (String, Vec<Line<'static>>) {
        let puts_back = words(model, &[("roll back", "rolls back")]);
        let title = format!("history  (Enter opens, {puts_back}e exports, Esc closes)");
        let Some(runs) = &self.runs else {
            return (title, vec![Line::raw("is being read")]);
        };
        if runs.is_empty() {
            let (edit, push) = (model.key_of("edit key"), model.key_of("push all"));
            let text = format!("no run yet: {edit} takes a key, {push} reviews and pushes it");
            return (title, vec![Line::raw(text)]);
        }
        // A run of another day has its date before its time.
        let clocks = runs.iter().map(|run| width(&model.clock(run.began)));
        let room = clocks.max().unwrap_or_default();
        let lines = runs.iter().map(|run| run_line(run, model, room)).collect();
        (title, listing(model, lines, self.cursor, rows))
    }
}

fn wall(model: &Model, wall: jiff::Timestamp) -> String {
    let since_start = model.now.since_start;
    model.clock(Moment { since_start, wall })
}

/// Number, when (in so many columns), what, key, how it ended, who, how long: what has no room is the least.
fn run_line(run: &RunRecord, model: &Model, room: usize) -> String {
    let took = run
        .took
        .map_or_else(String::new, |took| format!(" {} s", took.as_secs()));
    let end = match (run.live, run.ended, run.closed) {
        (true, ..) => " (goes on)",
        (false, None, _) => " (unfinished)",
        (false, Some(_), true) => " (closed)",
        (false, Some(_), false) => "",
    };
    let parent = run
        .parent
        .map_or_else(String::new, |parent| format!(" of {}", parent.0));
    let counts = match counts(run) {
        none if none.is_empty() => none,
        counts => format!("  {counts}"),
    };
    format!(
        "{:>4}  {:<room$}  {}{parent}  {}{end}{counts}  {}{took}{}",
        run.id.0,
        model.clock(run.began),
        run.kind.word(),
        model.mask(&run.key),
        run.by.user,
        clock_set(run),
    )
}

fn clock_set(run: &RunRecord) -> String {
    run.clock_set.map_or_else(String::new, |by| {
        format!("; the clock was set by {by:#} meanwhile: times of day before and after do not compare")
    })
}

fn draw_run(open: &OpenRun, model: &Model, rows: usize) -> (String, Vec<Line<'static>>) {
    let which = if open.failed_only { ", what failed" } else { "" };
    let keys = words(model, &[("retry", "retry"), ("roll back", "roll back")]);
    let title = format!(
        "run {}{which}  (Enter opens, f failed, {keys}e export)",
        open.run.id.0
    );
    let label = model.options.theme.style(Part::Label);
    let by = &open.run.by;
    // In the order of what can be trusted: the kernel's words, then a claim.
    let who = [
        by.uid.map(|uid| format!("uid {uid}")),
        by.login.as_ref().map(|login| format!("login {login}")),
        by.sudo_user.as_ref().map(|user| format!("sudo: {user}")),
    ];
    let who: Vec<String> = who.into_iter().flatten().collect();
    let who = if who.is_empty() {
        String::new()
    } else {
        format!(" ({})", who.join(", "))
    };
    let from = by
        .ssh_client
        .as_ref()
        .map_or_else(String::new, |from| format!(" from {from}"));
    let mut lines = vec![
        Line::styled(model.text(&run_line(&open.run, model, 0)), label),
        Line::styled(
            model.text(&format!("      by {}{who} on {}{from}", by.user, by.host)),
            label,
        ),
        Line::raw(""),
    ];
    if open.sites.is_none() {
        lines.push(Line::raw("is being read"));
        return (title, lines);
    }
    let shown = open.shown();
    if shown.is_empty() {
        lines.push(Line::raw("nothing failed in it: f shows all"));
        return (title, lines);
    }
    let widest = |words: &mut dyn Iterator<Item = &'static str>| words.map(width).max().unwrap_or_default();
    let push = widest(&mut shown.iter().map(|site| site.push.look().word));
    let verify = widest(&mut shown.iter().map(|site| site.verify.look().word));
    let line = |site: &&RunSite| site_line(site, model, (push, verify));
    let sites = shown.iter().map(line).collect();
    lines.extend(listing(model, sites, open.cursor, rows.saturating_sub(3).max(2)));
    (title, lines)
}

/// A site of a run; its states in so many columns.
fn site_line(site: &RunSite, model: &Model, (push, verify): (usize, usize)) -> String {
    let served = |served: &Served| served.words(|key| model.mask(key));
    let at = site.at.map_or_else(String::new, |at| wall(model, at));
    let http = site.http.map_or("-".to_owned(), |status| status.to_string());
    format!(
        "{} {} {} {http:>3} {} → {}  {at}  {}",
        model.pad_name(site.planned.name.as_str(), 18),
        model.pad(site.push.look().word, push),
        model.pad(site.verify.look().word, verify),
        served(&site.before),
        served(&site.now),
        site.note,
    )
}

fn draw_attempts(
    open: &OpenRun,
    url: &SiteUrl,
    attempts: &[StoredAttempt],
    model: &Model,
) -> (String, Vec<Line<'static>>) {
    let name = open.sites.iter().flatten().find(|site| site.planned.site == *url);
    let name = name.map_or_else(|| url.to_string(), |site| site.planned.name.to_string());
    let title = format!(
        "{name} in run {}: {}  (Esc back)",
        open.run.id.0,
        Count(attempts.len(), "attempt")
    );
    if attempts.is_empty() {
        return (title, vec![Line::raw("no request was made to it in this run")]);
    }
    let line = |attempt: &StoredAttempt| {
        let http = attempt.http.map_or("   ".to_owned(), |status| status.to_string());
        let ms = attempt
            .ms
            .map_or_else(|| "      ".to_owned(), |ms| format!("{ms:>6} ms"));
        let note = if attempt.ended {
            attempt.note.as_str()
        } else {
            "sent; what came of it is not on record"
        };
        let at = wall(model, attempt.at);
        let request = attempt.request.word();
        Line::raw(model.text(&format!(
            "{at}  {request} {:<2} {http} {ms}  {note}",
            attempt.number
        )))
    };
    (title, attempts.iter().map(line).collect())
}
