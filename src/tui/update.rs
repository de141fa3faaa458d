use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::actions::ACTIONS;
use super::dialogs::{self, Choice, Dialog, PlanDialog};
use super::field::{Edited, secret};
use super::model::Model;
use super::{Effect, Input, Message, looks_pasted};
use crate::engine::{Command, Event, Level, RunInfo};
use crate::rules::moment::Moment;
use crate::rules::plan::Plan;
use crate::rules::state::{Allow, RetryPlan};
use crate::rules::tally::{Ending, RunPhase};
use crate::site::SiteId;
use crate::text::Count;

/// What a message makes of the screen, and what it wants done.
pub fn update(model: &mut Model, message: Message, now: Moment) -> Vec<Effect> {
    model.now = now;
    match message {
        Message::Input(batch) => return take_input(model, batch),
        Message::Resize { columns, rows } => {
            model.size = (columns, rows);
            model.keep_cursor_in_view();
        }
        Message::Engine(event) => take_event(model, event),
        Message::Wake => model.field.wake(now),
        Message::MasterKeys(Ok(())) | Message::Resumed => {}
        Message::MasterKeys(Err(why)) => model.say(Level::Error, format!("nothing sent: {why}")),
        Message::Healed(sites) => {
            let text = if sites == 0 {
                "all sites of the demo are well already".to_owned()
            } else {
                format!("{} mended: R retries them", Count(sites, "site"))
            };
            model.say(Level::Info, text);
        }
    }
    Vec::new()
}

fn take_event(model: &mut Model, event: Event) {
    match event {
        Event::Site { site, state } => model.take_state(site, *state),
        Event::Attempt(attempt) => {
            if attempt.cause.is_some() {
                let name = &model.site(attempt.site).name;
                model.say(Level::Warning, format!("{name} {}", attempt.note));
            }
            model.take_attempt(attempt);
        }
        Event::Message(message) => model.take_message(message),
        Event::Run(run) => take_run(model, run),
    }
}

fn take_run(model: &mut Model, run: RunInfo) {
    let known = model
        .run
        .as_ref()
        .filter(|known| known.id == run.id)
        .map(|known| known.phase);
    if known.is_none() {
        model.say(
            Level::Info,
            format!(
                "run {} begins: {} to {}",
                run.id.0,
                run.key,
                Count(run.puts, "site")
            ),
        );
    }
    if known.is_some() && known != Some(run.phase) {
        let text = match run.phase {
            RunPhase::Sending => "goes on".to_owned(),
            RunPhase::Settling => "all is sent; proofs are due".to_owned(),
            RunPhase::Settled => format!(
                "settled: {} verified, {} to look into",
                model.tally.verify("verified"),
                model.tally.ending(Ending::Bad)
            ),
            RunPhase::Paused | RunPhase::Halted => run.phase.word().to_owned(),
        };
        model.say(Level::Info, format!("run {}: {text}", run.id.0));
    }
    model.run = Some(run);
}

/// The events of one read. What follows a line end in it was pasted, not typed, and is dropped, except in a
/// dialog that asks for words; what was typed before a dialog opened is dropped too.
fn take_input(model: &mut Model, batch: Vec<Input>) -> Vec<Effect> {
    let takes_text = model.field.is_editing() || model.dialog.as_ref().is_some_and(Dialog::takes_text);
    if !takes_text && looks_pasted(&batch) && !batch.iter().any(|input| matches!(input, Input::Paste(_))) {
        // Its letters would be commands.
        model.say(
            Level::Info,
            "pasted text was ignored: press e first, then paste the key",
        );
        return Vec::new();
    }
    let mut effects = Vec::new();
    for input in batch {
        let dialog_before = model.dialog.is_some();
        let ends_line = matches!(input, Input::Key(press) if press.code == KeyCode::Enter)
            || matches!(&input, Input::Paste(text) if text.contains(['\n', '\r']));
        let editing_before = model.field.is_editing();
        match input {
            Input::Key(event) => effects.extend(press(model, event)),
            Input::Paste(text) => paste(model, &text),
        }
        let opened = model.dialog.is_some() && !dialog_before;
        let in_words = model.dialog.as_ref().is_some_and(Dialog::takes_text) && dialog_before;
        if opened || (ends_line && !in_words) || (editing_before && !model.field.is_editing()) {
            break;
        }
    }
    effects
}

fn press(model: &mut Model, event: KeyEvent) -> Vec<Effect> {
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    if control && matches!(event.code, KeyCode::Char('z' | 'l')) {
        return dispatch(model, event);
    }
    if model.field.is_editing() {
        return press_in_field(model, event);
    }
    let leaves = event.code == KeyCode::Esc || control && matches!(event.code, KeyCode::Char('u' | 'c'));
    if model.field.is_swallowing(model.now) && !leaves {
        // The rest of a secret that was typed into a dialog.
        let now = model.now;
        model.field.press(event, now);
        return Vec::new();
    }
    if model.dialog.is_some() {
        if control && event.code == KeyCode::Char('c') {
            model.dialog = None;
            return Vec::new();
        }
        return dialogs::press(model, event);
    }
    dispatch(model, event)
}

fn dispatch(model: &mut Model, event: KeyEvent) -> Vec<Effect> {
    let mut known = ACTIONS
        .iter()
        .filter(|action| !action.demo_only || model.options.demo);
    match known.find(|action| action.keys.iter().any(|key| key.is(event))) {
        Some(action) => (action.run)(model),
        None => Vec::new(),
    }
}

fn press_in_field(model: &mut Model, event: KeyEvent) -> Vec<Effect> {
    let now = model.now;
    let is_interrupt = event.code == KeyCode::Char('c') && event.modifiers.contains(KeyModifiers::CONTROL);
    let event = if is_interrupt {
        KeyEvent::from(KeyCode::Esc)
    } else {
        event
    };
    match model.field.press(event, now) {
        Edited::Editing => {}
        Edited::Left => left_field(model),
        Edited::SecretRefused => refused_secret(model),
    }
    Vec::new()
}

fn left_field(model: &mut Model) {
    let text = match model.field.verdict() {
        None => return,
        Some(Ok(_)) if model.sites.is_empty() => {
            "the key is good; there are no sites to push it to".to_owned()
        }
        Some(Ok(_)) => format!("P reviews and pushes {}", model.sites.len()),
        Some(Err(refusal)) => return model.say(Level::Warning, refusal.to_string()),
    };
    model.say(Level::Info, text);
}

fn refused_secret(model: &mut Model) {
    if let Some(Err(refusal)) = model.field.verdict() {
        model.say(Level::Error, format!("refused and wiped: {refusal}"));
    }
}

fn paste(model: &mut Model, text: &str) {
    let now = model.now;
    if model.field.is_editing() {
        if model.field.paste(text, now) == Edited::SecretRefused {
            refused_secret(model);
        }
    } else if let Some(refusal) = secret(text) {
        model.field.refuse_secret(refusal, now);
        refused_secret(model);
    } else if model.dialog.as_ref().is_some_and(Dialog::takes_text) {
        for character in text.chars().take_while(|character| !character.is_control()) {
            dialogs::press(model, KeyEvent::from(KeyCode::Char(character)));
        }
    } else {
        model.say(
            Level::Info,
            "pasted text was ignored: press e first, then paste the key",
        );
    }
}

/// Opens the plan of a push to `sites`.
pub(super) fn plan_push(model: &mut Model, sites: &[SiteId]) -> Vec<Effect> {
    let Some(key) = model.field.key() else {
        model.say(
            Level::Warning,
            "there is no key to push: press e and paste a publishable key",
        );
        return Vec::new();
    };
    if model.is_sending() {
        model.say(Level::Warning, "a run is still sending: c pauses or cancels it");
        return Vec::new();
    }
    if sites.is_empty() {
        model.say(Level::Warning, "there are no sites to push to");
        return Vec::new();
    }
    let plan = |allow| {
        Plan::new(
            key.clone(),
            sites.iter().copied(),
            &model.sites,
            |id| model.state(id),
            allow,
        )
    };
    let careful = plan(Allow::default());
    let bolder = plan(Allow {
        mode_change: true,
        unrecognised: false,
    });
    model.dialog = Some(Dialog::Plan(PlanDialog::push(careful, bolder)));
    Vec::new()
}

/// Repeats what failed on `sites`; asks where a word is needed, and says why where nothing is to be done.
pub(super) fn retry(model: &mut Model, sites: Vec<SiteId>) -> Vec<Effect> {
    let alone = sites.len() == 1;
    let mut again = Vec::new();
    let mut held_back = Vec::new();
    let mut pushes = false;
    for id in sites {
        match model.state(id).retry_plan() {
            RetryPlan::Push => {
                pushes = true;
                again.push(id);
            }
            RetryPlan::Look => again.push(id),
            RetryPlan::Ask(_) => held_back.push(id),
            RetryPlan::Settles | RetryPlan::Busy | RetryPlan::Nothing if alone => say_why_not(model, id),
            RetryPlan::Settles | RetryPlan::Busy | RetryPlan::Nothing => {}
        }
    }
    if again.is_empty() && !held_back.is_empty() {
        ask_for_held_back(model, held_back);
        return Vec::new();
    }
    if again.is_empty() {
        if !alone {
            model.say(Level::Info, "nothing failed: there is nothing to retry");
        }
        return Vec::new();
    }
    if !held_back.is_empty() {
        let held = Count(held_back.len(), "site");
        model.say(
            Level::Info,
            format!("{held} held back: R again, or r on each, asks about them"),
        );
    }
    order_retry(model, again, pushes)
}

fn order_retry(model: &mut Model, sites: Vec<SiteId>, pushes: bool) -> Vec<Effect> {
    let command = Command::Retry {
        sites: sites.clone(),
        allow: Allow::default(),
    };
    if !pushes {
        return vec![Effect::Engine(command)];
    }
    let run_key = model.run.as_ref().map(|run| run.key.clone());
    if let (Some(run), Some(field)) = (run_key, model.field.key())
        && run != field
    {
        let choice = Choice::which_key(sites, &model.mask(&run), &model.mask(&field));
        model.dialog = Some(Dialog::Choice(choice));
        return Vec::new();
    }
    if let Some(run) = &model.run {
        let text = format!(
            "retries {} of run {} with {}",
            Count(sites.len(), "site"),
            run.id.0,
            run.key
        );
        model.say(Level::Info, text);
    }
    vec![Effect::WithMasterKeys(command)]
}

fn ask_for_held_back(model: &mut Model, sites: Vec<SiteId>) {
    let Some(key) = model.run.as_ref().map(|run| run.key.clone()) else {
        return;
    };
    let allow = Allow {
        mode_change: true,
        unrecognised: true,
    };
    let plan = Plan::new(
        key,
        sites.iter().copied(),
        &model.sites,
        |id| model.state(id),
        allow,
    );
    model.dialog = Some(Dialog::Plan(PlanDialog::held_back(plan, sites)));
}

fn say_why_not(model: &mut Model, id: SiteId) {
    let state = model.state(id);
    let name = &model.site(id).name;
    let when = state
        .next_at
        .map(|at| format!(": looks again {}", model.clock(at)))
        .unwrap_or_default();
    let text = match state.retry_plan() {
        RetryPlan::Settles => format!("{name} settles{when}"),
        RetryPlan::Busy => format!("{name} is being worked on"),
        _ => format!("{name}: nothing failed there, so there is nothing to retry"),
    };
    model.say(Level::Info, text);
}
