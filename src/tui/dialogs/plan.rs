use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::text::{Line, Span};

use super::{Dialog, draw_box};
use crate::engine::Command;
use crate::rules::plan::{Confirm, Plan, PlanAction};
use crate::rules::state::Served;
use crate::rules::status::{Role, SkipReason};
use crate::site::SiteId;
use crate::text::{Count, pad};
use crate::tui::Effect;
use crate::tui::field::secret;
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
    refused: bool,
}

impl PlanDialog {
    /// A run of its own. `bolder` is the plan with every danger allowed.
    pub fn push(plan: Plan, bolder: Plan) -> Self {
        let bolder = (bolder.puts() > plan.puts()).then_some(bolder);
        Self {
            plan,
            bolder,
            retry: None,
            typed: String::new(),
            scroll: 0,
            refused: false,
        }
    }

    /// Held-back sites that go all the same.
    pub fn held_back(plan: Plan, sites: Vec<SiteId>) -> Self {
        Self {
            plan,
            bolder: None,
            retry: Some(sites),
            typed: String::new(),
            scroll: 0,
            refused: false,
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
}

/// What a confirmed plan has done.
fn order(dialog: &PlanDialog, plan: &Plan) -> Vec<Effect> {
    let command = match &dialog.retry {
        Some(sites) => Command::Retry {
            sites: sites.clone(),
            allow: plan.allow,
        },
        None => Command::Push(plan.clone()),
    };
    vec![Effect::WithMasterKeys(command)]
}

pub(super) fn press(model: &mut Model, press: KeyEvent) -> Vec<Effect> {
    let Some(Dialog::Plan(dialog)) = &mut model.dialog else {
        return Vec::new();
    };
    let control = press.modifiers.contains(KeyModifiers::CONTROL);
    match press.code {
        KeyCode::Esc => {
            model.dialog = None;
            return Vec::new();
        }
        KeyCode::Enter => {
            if let Some(plan) = dialog.confirmed() {
                let effects = order(dialog, plan);
                model.dialog = None;
                return effects;
            }
        }
        KeyCode::Char('u') if control => dialog.typed.clear(),
        KeyCode::Backspace => {
            dialog.typed.pop();
        }
        KeyCode::Down => dialog.scroll = (dialog.scroll + 1).min(dialog.plan.rows.len()),
        KeyCode::Up => dialog.scroll = dialog.scroll.saturating_sub(1),
        KeyCode::PageDown => dialog.scroll = (dialog.scroll + 10).min(dialog.plan.rows.len()),
        KeyCode::PageUp => dialog.scroll = dialog.scroll.saturating_sub(10),
        KeyCode::Char('y') if dialog.plan.confirm() == Confirm::Yes => {
            let effects = order(dialog, &dialog.plan);
            model.dialog = None;
            return effects;
        }
        KeyCode::Char(character) if !control => {
            dialog.refused = false;
            if dialog.typed.len() < PHRASE_LIMIT && (character.is_ascii_graphic() || character == ' ') {
                dialog.typed.push(character);
            }
            if let Some(refusal) = secret(&dialog.typed) {
                dialog.typed.clear();
                dialog.refused = true;
                let now = model.now;
                model.field.refuse_secret(refusal, now);
            }
        }
        _ => {}
    }
    Vec::new()
}

pub(super) fn draw(dialog: &PlanDialog, model: &Model, frame: &mut Frame) {
    let title = if dialog.retry.is_some() {
        "held back: push all the same?"
    } else {
        "plan"
    };
    let height = usize::from(frame.area().height);
    let lines = lines(dialog, model, height.saturating_sub(16).max(2));
    let inside = draw_box(model, frame, title, lines, 0);
    let _ = inside;
}

fn lines(dialog: &PlanDialog, model: &Model, rows: usize) -> Vec<Line<'static>> {
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
    let already = dialog.plan.serving_already();
    if already > 0 {
        lines.push(Line::raw(model.text(&format!(
            "{already} of them seen to serve it already: pushed all the same, it may be a fallback"
        ))));
    }
    for reason in [SkipReason::Disabled, SkipReason::WrongMode, SkipReason::OtherMode] {
        let left_out = dialog.plan.skipped(reason);
        if left_out > 0 {
            lines.push(Line::raw(model.text(&format!(
                "{} left out: {}",
                Count(left_out, "site"),
                reason.sentence()
            ))));
        }
    }
    if plan.key.is_short() {
        let short = format!(
            "the key has {} characters, Stripe's own are longer: is it whole?",
            plan.key.length()
        );
        lines.push(Line::styled(
            model.text(&short),
            theme.style(Part::Status(Role::Warning)),
        ));
    }
    for danger in &plan.dangers {
        let text = model.text(&format!("! {}", danger.sentence()));
        lines.push(Line::styled(text, theme.style(Part::Status(Role::Bad))));
    }
    lines.push(Line::raw(""));
    lines.extend(row_lines(dialog, model, rows));
    lines.push(Line::raw(""));
    lines.extend(question(dialog, model));
    lines
}

fn row_lines(dialog: &PlanDialog, model: &Model, rows: usize) -> Vec<Line<'static>> {
    let plan = &dialog.plan;
    let scroll = dialog.scroll.min(plan.rows.len().saturating_sub(rows));
    let mut lines: Vec<Line<'static>> = plan.rows[scroll..]
        .iter()
        .take(rows)
        .map(|row| {
            let old = match &row.serves {
                Served::Unknown => "not seen".to_owned(),
                Served::Key(key) => model.mask(key),
                Served::NoKey => "no key".to_owned(),
                Served::Secret => "A SECRET".to_owned(),
            };
            let then = match row.action {
                PlanAction::Put => model.mask(&plan.key),
                PlanAction::Skip(reason) => format!("left out ({})", reason.word()),
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
    if dialog.refused {
        let text =
            "a SECRET key was typed here and dropped: it must never leave Stripe's dashboard or a server";
        lines.push(Line::styled(text, theme.style(Part::Status(Role::Alarm))));
    } else if dialog.typed.trim() == "y" {
        lines.push(Line::raw("the words above are needed here"));
    }
    lines
}
