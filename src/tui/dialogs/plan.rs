use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::text::{Line, Span};

use super::{Pressed, draw_box, height_of};
use crate::engine::{Command, Level};
use crate::key::{PublishableKey, SECRET_PREFIXES};
use crate::rules::plan::{Confirm, Plan, PlanAction, PlanRow, PutBack};
use crate::rules::run::RunId;
use crate::rules::state::Allow;
use crate::rules::status::{Role, SkipReason};
use crate::site::SiteId;
use crate::text::{Count, pad};
use crate::tui::Effect;
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// The longest phrase is about 30 characters.
const PHRASE_LIMIT: usize = 60;

/// A plan, and what is typed to confirm it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanDialog {
    plan: Plan,
    /// The plan that also does what is dangerous, where that is another one.
    bolder: Option<Plan>,
    /// The sites of a retry; none for a run of its own.
    retry: Option<Vec<SiteId>>,
    typed: String,
    scroll: usize,
    wrong: bool,
}

impl PlanDialog {
    /// The plan of a push of the field's key to `sites`.
    ///
    /// # Errors
    /// Why there is none, for the operator.
    pub fn of_push(model: &Model, sites: &[SiteId]) -> Result<Self, String> {
        let Some(key) = model.field.key() else {
            return Err("there is no key to push: press e and paste a publishable key".to_owned());
        };
        may_begin(model)?;
        if sites.is_empty() {
            return Err("there are no sites to push to".to_owned());
        }
        let plan = |allow| Some(plan(model, key.clone(), sites, allow));
        Self::careful_or_bolder(&plan).ok_or_else(|| "there is nothing to push".to_owned())
    }

    /// The plan of a run that repeats what failed in an earlier one, with its key.
    ///
    /// # Errors
    /// Why there is none, for the operator.
    pub fn of_retry(
        model: &Model,
        parent: Option<RunId>,
        targets: &[(SiteId, PublishableKey)],
    ) -> Result<Self, String> {
        may_begin(model)?;
        let state = |id| model.state(id);
        let plan = |allow| Plan::retry(parent, targets, &model.sites, state, allow);
        Self::careful_or_bolder(&plan).ok_or_else(|| "there are no sites to push to".to_owned())
    }

    /// The plan that leaves out what is dangerous, and the one that does not.
    fn careful_or_bolder(plan: &dyn Fn(Allow) -> Option<Plan>) -> Option<Self> {
        let careful = plan(Allow::default())?;
        let allow = Allow {
            mode_change: true,
            ..Allow::default()
        };
        let bolder = plan(allow).filter(|bolder| bolder.puts() > careful.puts());
        Some(Self::new(careful, bolder, None))
    }

    /// The plan that sends again what the operator cancelled in the run that goes on, or went last.
    pub fn of_cancelled(model: &Model, sites: &[SiteId]) -> Option<Self> {
        Self::of_held(model, sites, Allow::default())
    }

    /// The plan that puts back what sites had before `run`.
    ///
    /// # Errors
    /// Why there is none, for the operator.
    pub fn of_rollback(model: &Model, run: RunId, sites: &[PutBack]) -> Result<Self, String> {
        may_begin(model)?;
        let state = |id| model.state(id);
        let plan = |allow| Plan::rollback(run, sites, &model.sites, state, allow);
        let nothing = || {
            format!(
                "nothing of run {} can be put back: it changed no site that had a key",
                run.0
            )
        };
        Self::careful_or_bolder(&plan).ok_or_else(nothing)
    }

    /// Held-back sites that go all the same, with the key of the run; none without a run.
    pub fn of_held_back(model: &Model, sites: &[SiteId]) -> Option<Self> {
        let allow = Allow {
            mode_change: true,
            unrecognised: true,
            changed: true,
        };
        Self::of_held(model, sites, allow)
    }

    /// Sites of the run that goes on, or went last, each with the key that it planned for them.
    fn of_held(model: &Model, sites: &[SiteId], allow: Allow) -> Option<Self> {
        let run = model.run.as_ref()?;
        let key = |id: &SiteId| model.state(*id).planned_key().unwrap_or(&run.key).clone();
        let targets: Vec<(SiteId, PublishableKey)> = sites.iter().map(|id| (*id, key(id))).collect();
        let state = |id| model.state(id);
        let plan = Plan::retry(Some(run.id), &targets, &model.sites, state, allow)?;
        Some(Self::new(plan, None, Some(sites.to_vec())))
    }

    fn new(plan: Plan, bolder: Option<Plan>, retry: Option<Vec<SiteId>>) -> Self {
        Self {
            plan,
            bolder,
            retry,
            typed: String::new(),
            scroll: 0,
            wrong: false,
        }
    }

    /// The plan that what is typed confirms.
    fn confirmed(&self) -> Option<&Plan> {
        let typed = self.typed.split_whitespace().collect::<Vec<_>>().join(" ");
        let matches = |plan: &&Plan| plan.confirm() == Confirm::Phrase(typed.clone());
        Some(&self.plan)
            .filter(matches)
            .or(self.bolder.as_ref().filter(matches))
    }

    /// What a confirmed plan has done.
    fn order(&self, plan: &Plan) -> Pressed {
        let command = match &self.retry {
            Some(sites) => Command::Retry {
                sites: sites.clone(),
                allow: plan.allow,
            },
            None => Command::Push(plan.clone()),
        };
        Pressed::Closes(vec![Effect::Engine(command)])
    }

    pub(super) fn press(&mut self, model: &mut Model, press: KeyEvent) -> Pressed {
        let control = press.modifiers.contains(KeyModifiers::CONTROL);
        let last = self.plan.rows.len().saturating_sub(1);
        match press.code {
            KeyCode::Esc => return Pressed::Closes(Vec::new()),
            KeyCode::Enter => {
                if let Some(plan) = self.confirmed() {
                    return self.order(plan);
                }
                self.wrong = !self.typed.trim().is_empty();
            }
            KeyCode::Char('u') if control => self.typed.clear(),
            KeyCode::Backspace => {
                self.typed.pop();
            }
            KeyCode::Down => self.scroll = (self.scroll + 1).min(last),
            KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll = (self.scroll + 10).min(last),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            KeyCode::Char('y') if self.plan.confirm() == Confirm::Yes && self.typed.is_empty() => {
                return self.order(&self.plan);
            }
            KeyCode::Char(character) if !control => return self.take_letter(character, model),
            _ => {}
        }
        Pressed::Stays
    }

    /// Whether words confirm it, not a single letter.
    pub(super) fn asks_for_words(&self) -> bool {
        self.plan.confirm() != Confirm::Yes || self.bolder.is_some()
    }

    /// A letter of the phrase. A secret that is typed here closes the dialog, and its rest is dropped.
    fn take_letter(&mut self, letter: char, model: &mut Model) -> Pressed {
        self.wrong = false;
        if !self.asks_for_words() {
            // Only `y` means something here.
            return if letter == 'n' {
                Pressed::Closes(Vec::new())
            } else {
                Pressed::Stays
            };
        }
        if self.typed.len() < PHRASE_LIMIT && (letter.is_ascii_graphic() || letter == ' ') {
            self.typed.push(letter);
        }
        let lower = self.typed.to_ascii_lowercase();
        if SECRET_PREFIXES.iter().any(|prefix| lower.contains(prefix)) {
            let now = model.now;
            model.field.swallow(now);
            model.say(
                Level::Error,
                "a SECRET key was typed into the plan and dropped, and the plan closed: it must never leave \
                 Stripe's dashboard or a server",
            );
            return Pressed::Closes(Vec::new());
        }
        Pressed::Stays
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let title = match (self.retry.is_some(), self.plan.parent) {
            (true, _) if self.plan.allow == Allow::default() => {
                "cancelled before: push after all?".to_owned()
            }
            (true, _) => "held back: push all the same?".to_owned(),
            (false, Some(parent)) => format!("plan: {} of run {}", self.plan.kind.word(), parent.0),
            (false, None) => "plan".to_owned(),
        };
        // What is asked and what it is about always has its place; the rows take what is left.
        let all = usize::from(frame.area().height).saturating_sub(4);
        let around = height_of(model, lines(self, model, 0, false));
        let lines = lines(self, model, all.saturating_sub(around), around > all);
        draw_box(model, frame, &title, lines, 0);
    }
}

/// Whether a run can begin from this screen now.
fn may_begin(model: &Model) -> Result<(), String> {
    if model.options.read_only {
        return Err("this screen is read-only: nothing is sent from it".to_owned());
    }
    if model.is_sending() {
        let pause = model.key_of("pause");
        return Err(format!("a run is still sending: {pause} pauses or cancels it"));
    }
    Ok(())
}

fn plan(model: &Model, key: PublishableKey, sites: &[SiteId], allow: Allow) -> Plan {
    let state = |id| model.state(id);
    Plan::new(key, sites.iter().copied(), &model.sites, state, allow)
}

fn lines(dialog: &PlanDialog, model: &Model, rows: usize, tight: bool) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let plan = dialog.bolder.as_ref().unwrap_or(&dialog.plan);
    let mode = plan.key.mode();
    let live = if mode == crate::key::KeyMode::Live {
        Part::Live
    } else {
        Part::Header
    };
    let mut lines = vec![Line::from(vec![
        Span::raw(format!("{} ", mode.word().to_uppercase())),
        Span::styled(model.mask(&plan.key), theme.style(live)),
        Span::raw(model.text(&format!(
            "  to {} of {}",
            dialog.plan.puts(),
            Count(plan.rows.len(), "site")
        ))),
    ])];
    if tight {
        // Whoever confirms has seen what is dangerous and what is asked; the rest is cut off at the end.
        lines.extend(dangers(dialog, model));
        lines.extend(question(dialog, model));
        lines.extend(notes(dialog, model));
        return lines;
    }
    lines.extend(notes(dialog, model));
    lines.extend(dangers(dialog, model));
    lines.push(Line::raw(""));
    lines.extend(row_lines(dialog, model, rows));
    lines.push(Line::raw(""));
    lines.extend(question(dialog, model));
    lines
}

/// What adds its word to the phrase.
fn dangers(dialog: &PlanDialog, model: &Model) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let plan = dialog.bolder.as_ref().unwrap_or(&dialog.plan);
    let mut lines = Vec::new();
    if let Some(odd) = plan.key.odd_length() {
        let text = model.text(&format!("the key has {odd}"));
        lines.push(Line::styled(text, theme.style(Part::Status(Role::Warning))));
    }
    for danger in &plan.dangers {
        let also = if dialog.bolder.is_some() {
            format!("with {}: ", danger.word())
        } else {
            String::new()
        };
        let text = model.text(&format!("! {also}{}", danger.sentence()));
        lines.push(Line::styled(text, theme.style(Part::Status(Role::Bad))));
    }
    lines
}

/// What is not as usual, without being a danger.
fn notes(dialog: &PlanDialog, model: &Model) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let plan = dialog.bolder.as_ref().unwrap_or(&dialog.plan);
    let mut lines = Vec::new();
    let already = dialog.plan.serving_already();
    if already > 0 {
        lines.push(Line::raw(model.text(&format!(
            "{already} of them seen to serve it already: pushed all the same, it may be a fallback"
        ))));
    }
    if plan.keys() > 1 {
        let text = format!("{} go out: to each site what it had", Count(plan.keys(), "key"));
        lines.push(Line::raw(model.text(&text)));
    }
    if plan.doubtful() > 0 {
        let text = format!(
            "{} doubtful: what was seen there was never pushed from here, and may be a fallback",
            Count(plan.doubtful(), "site")
        );
        lines.push(Line::styled(
            model.text(&text),
            theme.style(Part::Status(Role::Warning)),
        ));
    }
    let reasons = [
        SkipReason::Disabled,
        SkipReason::WrongMode,
        SkipReason::OtherMode,
        SkipReason::Unchanged,
        SkipReason::NotReversible,
    ];
    for reason in reasons {
        let left_out = dialog.plan.skipped(reason);
        if left_out > 0 {
            lines.push(Line::raw(model.text(&format!(
                "{} left out: {}",
                Count(left_out, "site"),
                reason.sentence()
            ))));
        }
    }
    lines
}

fn row_lines(dialog: &PlanDialog, model: &Model, rows: usize) -> Vec<Line<'static>> {
    let plan = &dialog.plan;
    let scroll = dialog.scroll.min(plan.rows.len().saturating_sub(rows));
    // What will change first.
    let (puts, skips): (Vec<&PlanRow>, Vec<&PlanRow>) =
        plan.rows.iter().partition(|row| row.action == PlanAction::Put);
    let mut lines: Vec<Line<'static>> = puts
        .into_iter()
        .chain(skips)
        .skip(scroll)
        .take(rows)
        .map(|row| {
            let old = row.serves.words(|key| model.mask(key));
            let then = match row.action {
                PlanAction::Put if row.doubtful => format!("{} (doubtful)", model.mask(&row.key)),
                PlanAction::Put => model.mask(&row.key),
                PlanAction::Skip(SkipReason::NotReversible) => "not reversible".to_owned(),
                PlanAction::Skip(_) => "left out".to_owned(),
            };
            let name = pad(model.site(row.site).name.as_str(), 26);
            Line::raw(model.text(&format!("  {name} {old} → {then}")))
        })
        .collect();
    let more = plan.rows.len().saturating_sub(scroll + rows);
    if plan.rows.len() > rows {
        let label = model.options.theme.style(Part::Label);
        lines.push(Line::styled(
            model.text(&format!("  {more} more below (↓ ↑ PgDn PgUp)")),
            label,
        ));
    }
    lines
}

fn question(dialog: &PlanDialog, model: &Model) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let phrase = |plan: &Plan| match plan.confirm() {
        Confirm::Phrase(phrase) => phrase,
        Confirm::Yes => "y".to_owned(),
        Confirm::Nothing => String::new(),
    };
    let ask = match (&dialog.bolder, dialog.plan.confirm()) {
        (None, Confirm::Nothing) => return vec![Line::raw("nothing would be sent: Esc closes")],
        (None, Confirm::Yes) => return vec![Line::raw("press y to push, Esc to leave it")],
        (None, Confirm::Phrase(phrase)) => format!("type {phrase} to push, then Enter; Esc leaves it"),
        (Some(bolder), Confirm::Nothing) => format!(
            "type {} to push all the same, then Enter; Esc leaves it",
            phrase(bolder)
        ),
        (Some(bolder), Confirm::Yes) => format!(
            "press y to push {} and leave {} out, or type {} to push all, then Enter",
            dialog.plan.puts(),
            bolder.puts() - dialog.plan.puts(),
            phrase(bolder)
        ),
        (Some(bolder), Confirm::Phrase(careful)) => format!(
            "type {careful} to push and leave {} out, or {} to push all, then Enter",
            bolder.puts() - dialog.plan.puts(),
            phrase(bolder)
        ),
    };
    let mut lines = vec![Line::raw(model.text(&ask))];
    lines.push(Line::from(vec![
        Span::styled("> ", theme.style(Part::Key)),
        Span::raw(format!("{}_", dialog.typed)),
    ]));
    if dialog.wrong {
        let text = "these are not the words above: nothing is sent";
        lines.push(Line::styled(text, theme.style(Part::Status(Role::Warning))));
    }
    lines
}
