use std::collections::BTreeSet;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::Pressed;
use crate::engine::{Command, Level};
use crate::key::{PublishableKey, SECRET_PREFIXES};
use crate::rules::plan::{Confirm, Outlook, Plan, PutBack};
use crate::rules::run::{Kind, RunId};
use crate::rules::state::Allow;
use crate::rules::status::SkipReason;
use crate::site::SiteId;
use crate::tui::Effect;
use crate::tui::model::Model;

/// What is drawn of it.
mod picture;
#[cfg(test)]
mod tests;
pub(super) use picture::draw;

/// The longest phrase is about 30 characters.
const PHRASE_LIMIT: usize = 60;

/// A plan, and what is typed to confirm it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanDialog {
    plans: Plans,
    /// The keys that it may send.
    keys: BTreeSet<PublishableKey>,
    /// The places of the careful plan's rows with what is expected of each, what needs attention first.
    rows: Vec<(Outlook, usize)>,
    /// Whether sites that serve the key already are left out.
    skips_equal: bool,
    scroll: usize,
    asks: Asks,
}

/// What may be confirmed.
#[derive(Debug, Clone, PartialEq)]
struct Plans {
    /// The plan that leaves out what is dangerous.
    careful: Plan,
    /// The plan that does not, where that is another one.
    bolder: Option<Plan>,
    /// What confirms the careful one. It is of all rows, and a paste brings a million letters: none of them may cost
    /// a walk through those.
    confirm: Confirm,
    /// What confirms the bolder one.
    confirm_bolder: Option<Confirm>,
}

/// What it takes until something is sent.
#[derive(Debug, Clone, PartialEq)]
enum Asks {
    /// A phrase. Nothing else makes an order of a plan.
    Word(Phrase),
    /// A dry run: it is read and closed, and there is nothing in it that could send.
    Nothing,
}

/// The words that confirm a plan, as far as they are typed.
#[derive(Debug, Clone, PartialEq, Default)]
struct Phrase {
    /// The sites of a retry; none for a run of its own.
    retry: Option<Vec<SiteId>>,
    typed: String,
    wrong: bool,
}

impl PlanDialog {
    /// Whether it can be confirmed: a dry run cannot.
    pub fn sends(&self) -> bool {
        self.asks != Asks::Nothing
    }

    /// The plan of a push of the field's key to `sites`.
    ///
    /// # Errors
    /// Why there is none, for the operator.
    pub fn of_push(model: &Model, sites: &[SiteId]) -> Result<Self, String> {
        let Some(key) = model.field.key() else {
            let edit = model.key_of("edit key");
            return Err(format!(
                "there is no key to push: press {edit} and paste a publishable key"
            ));
        };
        may_begin(model)?;
        model.setup.has_canary()?;
        if sites.is_empty() {
            return Err("there are no sites to push to".to_owned());
        }
        let plan = |allow| Some(plan(model, key.clone(), sites, allow));
        Self::careful_or_bolder(model, &plan).ok_or_else(|| "there is nothing to push".to_owned())
    }

    /// What a push of the field's key to `sites` would do. Nothing can be sent from it, so that it needs no leave to
    /// send: neither a master key nor a screen that may steer.
    ///
    /// # Errors
    /// Why there is none, for the operator.
    pub fn of_dry_run(model: &Model, sites: &[SiteId]) -> Result<Self, String> {
        let Some(key) = model.field.key() else {
            let edit = model.key_of("edit key");
            return Err(format!(
                "there is no key for a dry run: press {edit} and paste one, or take a known one with ↑"
            ));
        };
        if sites.is_empty() {
            return Err("there are no sites that a push would go to".to_owned());
        }
        let plan = |allow| Some(plan(model, key.clone(), sites, allow));
        let dialog = Self::careful_or_bolder(model, &plan).map(|dialog| Self {
            asks: Asks::Nothing,
            ..dialog
        });
        dialog.ok_or_else(|| "there is nothing to push".to_owned())
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
        model.setup.has_canary()?;
        let state = |id| model.state(id);
        let plan = |allow| Plan::retry(parent, targets, &model.sites, state, allow);
        Self::careful_or_bolder(model, &plan).ok_or_else(|| "there are no sites to push to".to_owned())
    }

    /// Whether sites that serve the key already can be left out, or taken in again: of a plan that begins a run.
    fn has_equal(&self) -> bool {
        let begins = matches!(&self.asks, Asks::Nothing | Asks::Word(Phrase { retry: None, .. }));
        let is_equal = |(outlook, _): &(Outlook, usize)| {
            matches!(
                outlook,
                Outlook::ServesAlready | Outlook::LeftOut(SkipReason::Equal)
            )
        };
        begins && self.rows.iter().any(is_equal)
    }

    /// Leaves them out, or takes them in again: numbers and phrase are others at once.
    fn turn_equal(&mut self, model: &Model) {
        if !self.has_equal() {
            return;
        }
        self.skips_equal = !self.skips_equal;
        let skips_equal = self.skips_equal;
        self.plans.change(|plan| {
            plan.skip_equal(skips_equal, |id| model.state(id));
            *plan = in_waves(model, plan.clone());
        });
        self.rows = self.plans.careful.outlooks(|id| model.state(id));
        self.scroll = 0;
        if let Asks::Word(phrase) = &mut self.asks {
            phrase.wrong = false;
        }
    }

    /// The plan that leaves out what is dangerous, and the one that does not.
    fn careful_or_bolder(model: &Model, plan: &dyn Fn(Allow) -> Option<Plan>) -> Option<Self> {
        let plan = |allow| Some(in_waves(model, plan(allow)?));
        let careful = plan(Allow::default())?;
        let allow = Allow {
            mode_change: true,
            ..Allow::default()
        };
        let bolder = plan(allow).filter(|bolder| bolder.puts() > careful.puts());
        Some(Self::new(model, Plans::new(careful, bolder), None))
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
        Self::careful_or_bolder(model, &plan).ok_or_else(nothing)
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
        let mut plan = Plan::retry(Some(run.id), &targets, &model.sites, state, allow)?;
        plan.allow_what_is_told(state);
        // What the plan leaves out is not retried.
        let retried = plan.put_sites().collect();
        Some(Self::new(model, Plans::new(plan, None), Some(retried)))
    }

    fn new(model: &Model, plans: Plans, retry: Option<Vec<SiteId>>) -> Self {
        let mut plans = plans;
        plans.judge_keys(model);
        let failed = model.setup.failed.len();
        plans.change(|plan| plan.mind_failed_sources(failed));
        Self {
            rows: plans.careful.outlooks(|id| model.state(id)),
            keys: plans.boldest().put_keys().into_iter().cloned().collect(),
            plans,
            skips_equal: false,
            scroll: 0,
            asks: Asks::Word(Phrase {
                retry,
                ..Phrase::default()
            }),
        }
    }

    /// The keys that it may send.
    pub(in crate::tui) fn keys(&self) -> &BTreeSet<PublishableKey> {
        &self.keys
    }

    /// Stripe has said something of a key while the plan is read: what it tells of that, and what it asks for, are of
    /// now. What was typed was meant for what stood there before.
    pub(in crate::tui) fn judge_keys(&mut self, model: &Model) {
        let changed = self.plans.judge_keys(model);
        if let Asks::Word(phrase) = &mut self.asks
            && changed
        {
            phrase.typed.clear();
            phrase.wrong = false;
        }
    }

    pub(super) fn press(&mut self, model: &mut Model, press: KeyEvent) -> Pressed {
        let control = press.modifiers.contains(KeyModifiers::CONTROL);
        if control && press.code == KeyCode::Char('e') {
            self.turn_equal(model);
            return Pressed::Stays;
        }
        if let Some(to) = self.scrolled(model, press) {
            self.scroll = to;
            return Pressed::Stays;
        }
        match &mut self.asks {
            Asks::Word(phrase) => phrase.press(&self.plans, model, press),
            Asks::Nothing if is_read(press) => Pressed::Closes(Vec::new()),
            Asks::Nothing => Pressed::Stays,
        }
    }

    /// Where the list is after this key press, if it scrolls. Letters belong to the phrase, where one is asked for.
    fn scrolled(&self, model: &Model, press: KeyEvent) -> Option<usize> {
        let control = press.modifiers.contains(KeyModifiers::CONTROL);
        let scrolls = match press.code {
            KeyCode::Down
            | KeyCode::Up
            | KeyCode::PageDown
            | KeyCode::PageUp
            | KeyCode::Home
            | KeyCode::End => true,
            KeyCode::Char('d') if control => true,
            // Where something is typed it wipes that, as in any other line.
            KeyCode::Char('u') if control => !self.has_typed(),
            KeyCode::Char('j' | 'k' | 'g' | 'G') if !control => matches!(self.asks, Asks::Nothing),
            _ => false,
        };
        if !scrolls {
            // How far the list goes costs a drawing of all of it, and a paste brings a million letters and line ends.
            return None;
        }
        let reach = picture::reach(self, model);
        let at = self.scroll.min(reach.last);
        let page = reach.page.max(1);
        let half = (page / 2).max(1);
        let to = match press.code {
            KeyCode::Down | KeyCode::Char('j') => at + 1,
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::PageDown => at + page,
            KeyCode::PageUp => at.saturating_sub(page),
            KeyCode::Char('d') => at + half,
            KeyCode::Char('u') => at.saturating_sub(half),
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => reach.last,
            _ => return None,
        };
        Some(to.min(reach.last))
    }

    fn has_typed(&self) -> bool {
        matches!(&self.asks, Asks::Word(phrase) if !phrase.typed.is_empty())
    }

    /// Whether words confirm it, not a single letter.
    pub(super) fn asks_for_words(&self) -> bool {
        matches!(self.asks, Asks::Word(_)) && self.plans.ask_for_words()
    }
}

/// Whether this key press ends the reading of a dry run.
fn is_read(press: KeyEvent) -> bool {
    matches!(press.code, KeyCode::Esc | KeyCode::Enter)
        || (press.code == KeyCode::Char('q') && !press.modifiers.contains(KeyModifiers::CONTROL))
}

impl Plans {
    fn new(careful: Plan, bolder: Option<Plan>) -> Self {
        Self {
            confirm: careful.confirm(),
            confirm_bolder: bolder.as_ref().map(Plan::confirm),
            careful,
            bolder,
        }
    }

    /// The one that is meant where there is only one: it does all that can be done.
    fn boldest(&self) -> &Plan {
        self.bolder.as_ref().unwrap_or(&self.careful)
    }

    /// Takes in what Stripe says of the keys; whether what is asked for changes by that.
    fn judge_keys(&mut self, model: &Model) -> bool {
        let mut changed = false;
        self.change(|plan| changed |= plan.judge_keys(|key| model.stripe.standing(key)));
        changed
    }

    /// Changes both plans, and what confirms them.
    fn change(&mut self, mut how: impl FnMut(&mut Plan)) {
        how(&mut self.careful);
        if let Some(bolder) = &mut self.bolder {
            how(bolder);
        }
        self.confirm = self.careful.confirm();
        self.confirm_bolder = self.bolder.as_ref().map(Plan::confirm);
    }

    /// Whether words confirm one of them, not a single letter.
    fn ask_for_words(&self) -> bool {
        self.confirm != Confirm::Yes || self.bolder.is_some()
    }

    /// The one that these words confirm.
    fn confirmed(&self, typed: &str) -> Option<&Plan> {
        let typed = typed.split_whitespace().collect::<Vec<_>>().join(" ");
        let typed = Confirm::Phrase(typed);
        if self.confirm == typed {
            return Some(&self.careful);
        }
        self.bolder
            .as_ref()
            .filter(|_| self.confirm_bolder.as_ref() == Some(&typed))
    }
}

impl Phrase {
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

    fn press(&mut self, plans: &Plans, model: &mut Model, press: KeyEvent) -> Pressed {
        let control = press.modifiers.contains(KeyModifiers::CONTROL);
        match press.code {
            KeyCode::Esc => return Pressed::Closes(Vec::new()),
            KeyCode::Enter => {
                if let Some(plan) = plans.confirmed(&self.typed) {
                    if plan.kind == Kind::Rollback {
                        // The next one goes on those that had another last run.
                        for row in &plan.rows {
                            model.list.mark(row.site, false);
                        }
                    }
                    return self.order(plan);
                }
                self.wrong = !self.typed.trim().is_empty();
            }
            KeyCode::Char('u') if control => {
                self.typed.clear();
                self.wrong = false;
            }
            KeyCode::Char('w') if control => {
                let kept = self.typed.trim_end().rsplit_once(' ');
                self.typed = kept.map_or_else(String::new, |(before, _)| format!("{before} "));
            }
            KeyCode::Backspace => {
                self.typed.pop();
            }
            KeyCode::Char('y') if !control && plans.confirm == Confirm::Yes && self.typed.is_empty() => {
                return self.order(&plans.careful);
            }
            KeyCode::Char(character) if !control => return self.take_letter(character, plans, model),
            _ => {}
        }
        Pressed::Stays
    }

    /// A letter of the phrase. A secret that is typed here closes the dialog, and its rest is dropped.
    fn take_letter(&mut self, letter: char, plans: &Plans, model: &mut Model) -> Pressed {
        self.wrong = false;
        if !plans.ask_for_words() {
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

/// With waves as the config says.
fn in_waves(model: &Model, plan: Plan) -> Plan {
    let rollout = &model.options.rollout;
    plan.in_waves(rollout, &model.sites, |id| model.state(id), model.now)
}

fn plan(model: &Model, key: PublishableKey, sites: &[SiteId], allow: Allow) -> Plan {
    let state = |id| model.state(id);
    let mut plan = Plan::new(key, sites.iter().copied(), &model.sites, state, allow);
    plan.dangers.extend(model.setup.list_change.danger());
    plan
}
