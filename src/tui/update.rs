use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::actions::known;
use super::dialogs::{self, Choice, Dialog, PlanDialog, Pressed};
use super::keys::Press;
use super::live::Failure;
use super::model::Model;
use super::screen::Screen;
use super::{
    Effect, Input, Message, PreflightOrder, Reading, Wanted, first, looks_pasted, orders, stripe, watch,
};
use crate::engine::{Command, Event, Level, RunInfo};
use crate::report::UNSEEN;
use crate::rules::moment::Moment;
use crate::rules::note::note;
use crate::rules::plan::ListChange;
use crate::rules::run::{Kind, RunPhase};
use crate::rules::state::SiteState;
use crate::rules::status::Verify;
use crate::site::SiteId;
use crate::store::{Holder, RunRecord};
use crate::text::Count;

/// What is typed or pasted into the key field and the filter.
mod typing;

use typing::{paste, press_in_field, press_in_filter, stray_paste, take_offered_runs};

/// What a message makes of the screen, and what it wants done.
pub fn update(screen: &mut Screen, message: Message, now: Moment) -> Vec<Effect> {
    screen.model.now = now;
    screen.model.mind_ended_acknowledgements();
    let had_dialog = screen.dialog.is_some();
    let had_plan = matches!(screen.dialog, Some(Dialog::Plan(_)));
    let had_preflight = matches!(screen.dialog, Some(Dialog::Preflight(_)));
    let mut effects = take(screen, message);
    if had_preflight && !matches!(screen.dialog, Some(Dialog::Preflight(_))) {
        // However its dialog was closed: nobody sees what it finds.
        effects.push(Effect::Preflight(PreflightOrder::Stop));
    }
    if !had_dialog {
        screen.model.behind_since = now;
    }
    if !had_plan && matches!(screen.dialog, Some(Dialog::Plan(_))) {
        effects.extend(screen.model.ask_of_strange_key());
    }
    effects.extend(first::take_loaded(screen));
    first::mind_reading(&mut screen.model, &effects);
    effects.extend(stripe::questions(screen));
    allowed(screen, effects)
}

/// What the screen orders by itself when it opens; with `look` it looks at all sites of which little is known.
pub fn open(screen: &mut Screen, look: bool) -> Vec<Effect> {
    let mut effects = first::first_orders(&screen.model, look);
    effects.extend(stripe::questions(screen));
    allowed(screen, effects)
}

/// Those of `effects` that may leave this screen.
fn allowed(screen: &mut Screen, mut effects: Vec<Effect>) -> Vec<Effect> {
    if screen.model.options.read_only {
        only_watch(screen, &mut effects);
    }
    if let Some(run) = screen
        .model
        .rolls_back_next
        .filter(|_| !screen.model.is_sending())
    {
        screen.model.rolls_back_next = None;
        effects.push(Effect::Read(Wanted::PutBack(run, None)));
    }
    let orders = effects.iter().filter(|effect| effect.is_answered()).count();
    if orders > 0 {
        screen.model.ordered += orders;
        screen.model.refused_order = None;
    }
    effects
}

/// A screen that only watches sends nothing, and steers no run; it may look.
fn only_watch(screen: &mut Screen, effects: &mut Vec<Effect>) {
    let model = &mut screen.model;
    let steers = |effect: &Effect| match effect {
        Effect::Engine(Command::Look { .. }) => model.attached.is_some(),
        Effect::Engine(_) => true,
        Effect::Setup(order) => order.writes(),
        Effect::Preflight(PreflightOrder::Begin { auth, .. }) => *auth,
        _ => false,
    };
    let before = effects.len();
    let kept: Vec<Effect> = std::mem::take(effects)
        .into_iter()
        .filter(|effect| !steers(effect))
        .collect();
    *effects = kept;
    if effects.len() < before {
        model.say(Level::Info, model.read_only_why());
        screen.dialog = None;
    }
}

fn take(screen: &mut Screen, message: Message) -> Vec<Effect> {
    let model = &mut screen.model;
    let now = model.now;
    match message {
        Message::Input(batch) => return take_input(screen, batch),
        Message::Resize { columns, rows } => {
            model.size = (columns, rows);
            model.keep_cursor_in_view();
        }
        Message::Engine(event) => return take_told(screen, event),
        Message::Attached(to) => take_attached(model, to),
        Message::Others(runs) => model.take_others(runs),
        Message::Crew(crew) => model.crew = Some(crew),
        Message::Left(run) => return take_left(screen, *run),
        Message::Setup(news) => return first::take(screen, news),
        Message::Read(reading) => return take_reading(screen, reading),
        Message::Preflight(news) => {
            if let Some(Dialog::Preflight(dialog)) = &mut screen.dialog {
                dialog.take(news, model);
            }
        }
        Message::Asked(key, asked) => stripe::take(screen, key, asked),
        Message::Watch(news) => watch::take(model, news),
        Message::Wake => model.field.wake(now),
        Message::Resumed => {}
        Message::Reload => return first::reload(screen),
        Message::Healed(sites) => tell_healed(model, sites),
    }
    Vec::new()
}

/// The demo's sites were mended.
fn tell_healed(model: &mut Model, sites: usize) {
    let text = if sites == 0 {
        "all sites of the demo are well already".to_owned()
    } else {
        format!(
            "{} mended: {} looks again, {} retries what failed",
            Count(sites, "site"),
            model.key_of("verify all"),
            model.key_of("retry all failed")
        )
    };
    model.say(Level::Info, text);
}

fn take_event(model: &mut Model, event: Event) {
    match event {
        Event::Site { site, state } => take_state(model, site, *state),
        Event::Attempt(attempt) => {
            if attempt.cause.is_some() {
                let name = &model.site(attempt.site).name;
                let request = attempt.request.word();
                let text = format!("{name} {request} {}: {}", attempt.number, attempt.note);
                if model.acknowledgement(attempt.site).is_none() {
                    model.live.take_failure(Failure {
                        site: attempt.site,
                        at: attempt.at,
                        text: text.clone(),
                    });
                }
                model.mention(attempt.at, Level::Warning, text);
            }
            model.take_attempt(attempt);
        }
        Event::Message(message) => model.take_message(message),
        Event::Refused(why) => {
            model.say(Level::Error, format!("nothing sent: {why}"));
            model.refused_order = Some(why);
        }
        Event::NotBegun(error) => model.say(Level::Error, format!("nothing sent: {error}")),
        Event::Run(run) => take_run(model, run),
        Event::Backend { backend, shown } => {
            model.backends.insert(backend, shown);
        }
        // A message has told it, and the run says why it holds.
        Event::Halted(..)
        | Event::Alarm(..)
        | Event::Refreshed { .. }
        | Event::ChunkOver(_)
        | Event::KeyRefused(..) => {}
        Event::Acknowledged {
            sites,
            acknowledgement,
        } => model.take_acknowledged(&sites, acknowledgement.as_ref()),
        Event::Store { reached, note } => {
            let level = if reached { Level::Info } else { Level::Error };
            model.others.store_is_away = !reached;
            model.say(level, note);
        }
        Event::Taken => model.ordered = model.ordered.saturating_sub(1),
    }
}

/// What an engine tells, and what becomes of the dialog that is open.
fn take_told(screen: &mut Screen, event: Event) -> Vec<Effect> {
    let model = &mut screen.model;
    let mut outlived = None;
    if let Event::Run(run) = &event
        && let Some(dialog) = screen.dialog.take_if(|dialog| dialog.is_outlived_by(model, run))
        && matches!(dialog, Dialog::Plan(_))
    {
        outlived = Some(format!(
            "Run {} was begun meanwhile, so that this plan is not true any more.",
            run.id.0
        ));
    }
    let effects = match &mut screen.dialog {
        Some(Dialog::Detail(detail)) => detail.happened(&event),
        _ => Vec::new(),
    };
    let why = match &event {
        Event::NotBegun(error) if model.ordered > 0 => Some(error.to_string()),
        Event::Refused(why) => Some(why.clone()),
        _ => None,
    };
    take_event(model, event);
    // Another dialog takes its place: who is typing its phrase presses no key of the screen.
    if let Some(why) = why.or(outlived) {
        // A line that the next message pushes away is not enough: what was confirmed did not happen.
        screen.come_up(|_| Dialog::Choice(Choice::not_sent(why)));
    }
    effects
}

fn take_attached(model: &mut Model, to: Option<Holder>) {
    match (&to, &model.attached) {
        (Some(holder), _) => {
            let of = holder
                .run
                .map_or_else(String::new, |run| format!("run {} of ", run.0));
            let text = format!(
                "attached to {of}{} (PID {}): what is ordered here is done there",
                holder.by.user, holder.by.pid
            );
            model.say(Level::Info, text);
        }
        (None, Some(_)) if model.is_run_open() => {
            model.set_run(None);
            model.say(
                Level::Warning,
                "the process of the run has ended before it: this is what it left on record",
            );
        }
        (None, Some(_)) => model.say(Level::Info, "the process of the run has ended: all is on record"),
        (None, None) => {}
    }
    model.attached = to;
}

fn take_reading(screen: &mut Screen, reading: Reading) -> Vec<Effect> {
    let model = &mut screen.model;
    match reading {
        Reading::Failed(why) => {
            take_offered_runs(model, &[]);
            model.say(Level::Error, why);
            if let Some(Dialog::Detail(detail)) = &mut screen.dialog {
                return detail.failed();
            }
        }
        Reading::Runs(runs) if take_offered_runs(model, &runs) => {}
        Reading::Past(site, past) => {
            if let Some(Dialog::Detail(detail)) = &mut screen.dialog {
                return detail.take(site, *past);
            }
        }
        Reading::WasServed(key, was_served) => model.take_was_served(&key, was_served),
        Reading::PutBack(run, sites) => match PlanDialog::of_rollback(model, run, &sites) {
            Ok(plan) => take_rollback(screen, plan),
            Err(why) => {
                let why = match &sites[..] {
                    [one] => format!(
                        "{}: run {} changed nothing there that could be put back",
                        model.site(one.site).name,
                        run.0
                    ),
                    _ => why,
                };
                model.say(Level::Warning, why);
            }
        },
        reading => {
            if let Some(Dialog::History(history)) = &mut screen.dialog {
                history.take(reading, model);
            }
        }
    }
    Vec::new()
}

/// The plan that was asked for has to be read first. It comes up if nothing else was begun meanwhile.
fn take_rollback(screen: &mut Screen, plan: PlanDialog) {
    let asked_for = matches!(&screen.dialog, None | Some(Dialog::History(_)));
    if asked_for && !screen.takes_text() {
        screen.dialog = Some(Dialog::Plan(Box::new(plan)));
        return;
    }
    let model = &mut screen.model;
    let text = format!(
        "the plan to put back is ready: {} asks for it again",
        model.key_of("roll back")
    );
    model.say(Level::Info, text);
}

/// A run that nobody works on: asked about at once, unless something else is being asked.
fn take_left(screen: &mut Screen, run: RunRecord) -> Vec<Effect> {
    let model = &mut screen.model;
    let asked = model.left.iter().any(|known| known.id == run.id);
    model.forget_left(run.id);
    let mut of_run = model.states.iter().filter(|state| state.run == Some(run.id));
    if !of_run.any(|state| state.is_left_over()) {
        let left = ["not_started", "unknown"].map(|word| run.counts.get(word).copied().unwrap_or(0));
        let left = left.into_iter().sum();
        let text = if left > 0 {
            format!(
                "run {} was not finished: {} of it wait that are not in this config, or that a later run has",
                run.id.0,
                Count(left, "site")
            )
        } else {
            format!(
                "all of run {} is sent: what is not proven yet is looked at when it is time",
                run.id.0
            )
        };
        model.say(Level::Info, text);
        return Vec::new();
    }
    let owed = model.key_of("owed");
    let text = format!("run {} was not finished: {owed} asks about it again", run.id.0);
    model.say(Level::Warning, text);
    model.tell_of_what_was_left(run.id);
    if !asked && !model.options.read_only {
        screen.come_up(|model| Dialog::Choice(Choice::unfinished(model, &run)));
    }
    let mut left = std::mem::take(&mut screen.model.left);
    left.push(run);
    screen.model.set_left(left);
    Vec::new()
}

fn take_run(model: &mut Model, run: RunInfo) {
    let known = model
        .run
        .as_ref()
        .filter(|known| known.id == run.id)
        .map(|known| known.phase);
    let goes_on_here = model.is_attached() && run.started.since_start < model.opened.since_start;
    if known.is_none() && goes_on_here {
        model.tell_of_the_run(&run);
    } else if known.is_none() {
        // The list that a push from here was confirmed for is what the next one is compared with. Nothing else asks
        // about it.
        let began_here = run.started.since_start >= model.opened.since_start && !model.is_attached();
        if run.kind == Kind::Push && began_here {
            model.setup.list_change = ListChange::default();
        }
        model.say(
            Level::Info,
            format!(
                "run {} begins: {} to {}",
                run.id.0,
                model.mask(&run.key),
                Count(run.puts, "site")
            ),
        );
    }
    // Why it holds by itself is told already.
    if known.is_some() && known != Some(run.phase) && run.halt.is_none() {
        let text = match run.phase {
            RunPhase::Sending => "goes on".to_owned(),
            RunPhase::Settling => "nothing is left to send; proofs are due".to_owned(),
            RunPhase::Settled => {
                if model.expiry().is_some_and(|expiry| expiry.is_safe()) {
                    // Before the answer from which one may conclude otherwise.
                    model.say(Level::Info, UNSEEN);
                }
                // Behind the time of day and the run.
                let room = usize::from(model.size.0).saturating_sub(" 14:02:12 run 1234: settled; ".len());
                let expiry = model.expiry().map(|expiry| model.expiry_within(&expiry, room));
                format!("settled; {}", expiry.unwrap_or_default())
            }
            RunPhase::Paused | RunPhase::Halted => run.phase.word().to_owned(),
        };
        model.say(Level::Info, format!("run {}: {text}", run.id.0));
    }
    if known.is_none() {
        model.live.begin_run(model.now);
    } else if run.phase == RunPhase::Sending && known != Some(run.phase) {
        model.live.pace.begin(model.now);
    }
    let ends = |phase| matches!(phase, RunPhase::Settled | RunPhase::Halted);
    if ends(run.phase) && known.is_some_and(|known| !ends(known)) {
        model.live.ended += 1;
    }
    model.forget_left(run.id);
    model.set_run(Some(run));
}

fn take_state(model: &mut Model, id: SiteId, state: SiteState) {
    if let Some(failure) = unasked_failure(model, id, &state) {
        model.live.take_failure(failure);
    }
    model.take_state(id, state);
}

/// What is wrong with a site although its answer was a good one, if that is new.
fn unasked_failure(model: &Model, id: SiteId, state: &SiteState) -> Option<Failure> {
    let is_wrong = |verify| {
        matches!(
            verify,
            Verify::Mismatch | Verify::Drifted | Verify::ExposedSecret | Verify::DeadKey
        )
    };
    let is_known = model.acknowledgement(id).is_some() && state.verify != Verify::ExposedSecret;
    if !is_wrong(state.verify) || is_wrong(model.state(id).verify) || is_known {
        return None;
    }
    let note = note(state, &|at| model.clock(at));
    Some(Failure {
        site: id,
        at: state.at.unwrap_or(model.now),
        text: format!("{} {}: {note}", model.site(id).name, state.verify.look().word),
    })
}

/// The events of one read. What follows a line end in it was pasted, not typed, and is dropped, except in a
/// dialog that asks for words; what was typed before a dialog opened or closed is dropped too.
fn take_input(screen: &mut Screen, batch: Vec<Input>) -> Vec<Effect> {
    let has_brackets = batch.iter().any(|input| matches!(input, Input::Paste(_)));
    if !screen.takes_text() && looks_pasted(&batch) && !has_brackets {
        // Its letters would be commands.
        stray_paste(screen);
        return Vec::new();
    }
    let mut effects = Vec::new();
    screen.model.pinned = false;
    for input in batch {
        let dialog_before = screen.dialog.is_some();
        let which_before = screen.dialog.as_ref().map(Dialog::name);
        let editing_before = screen.model.field.is_editing();
        let ends_line = match &input {
            Input::Key(press) => press.code == KeyCode::Enter,
            Input::Paste(text) => text.contains(['\n', '\r']),
            Input::Scroll(_) | Input::Click(_) | Input::PasteGoesOn => false,
        };
        match input {
            // Esc is harmless whatever it was meant for.
            Input::Key(event) if screen.is_deaf() && event.code != KeyCode::Esc => {}
            Input::Key(event) => effects.extend(press(screen, event)),
            Input::Paste(_) if screen.model.is_too_small() => {}
            Input::Paste(text) => paste(screen, &text),
            Input::Scroll(_) | Input::Click(_) if dialog_before => {}
            Input::PasteGoesOn => {}
            Input::Scroll(by) => {
                let to = screen.model.list.cursor().saturating_add_signed(by);
                screen.model.move_cursor(to);
            }
            Input::Click(row) => screen.model.click(row),
        }
        let turned = screen.dialog.as_ref().map(Dialog::name) != which_before;
        let in_words = screen.dialog.as_ref().is_some_and(Dialog::takes_text) && dialog_before;
        let left_field = editing_before && !screen.model.field.is_editing();
        if turned || (ends_line && !in_words) || left_field {
            break;
        }
    }
    effects
}

fn press(screen: &mut Screen, event: KeyEvent) -> Vec<Effect> {
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    if is_for_everywhere(screen, event) {
        return dispatch(screen, event);
    }
    if screen.model.is_too_small() {
        return press_unseen(screen, event);
    }
    let model = &mut screen.model;
    if model.field.is_editing() {
        return press_in_field(model, event);
    }
    if model.filter.is_editing() && screen.dialog.is_none() {
        press_in_filter(model, event);
        return Vec::new();
    }
    let leaves = event.code == KeyCode::Esc || control && matches!(event.code, KeyCode::Char('u' | 'c'));
    if leaves {
        model.field.stop_swallowing();
    }
    if model.field.is_swallowing(model.now) {
        // The rest of a secret that was typed into a dialog.
        let now = model.now;
        model.field.press(event, now);
        return Vec::new();
    }
    if screen.dialog.is_none() {
        return dispatch(screen, event);
    }
    if control && event.code == KeyCode::Char('c') {
        screen.dialog = None;
        return Vec::new();
    }
    press_in_dialog(screen, event)
}

/// Whether it is the key of what is done in any place, also where text is typed.
fn is_for_everywhere(screen: &Screen, event: KeyEvent) -> bool {
    let keys = &screen.model.options.keys;
    let actions = ["suspend", "redraw"];
    Press::of(event).is_free_everywhere() && actions.iter().any(|action| keys.is(action, event))
}

/// A key that is pressed while nothing can be seen orders nothing; it may leave, where that needs no question.
fn press_unseen(screen: &mut Screen, event: KeyEvent) -> Vec<Effect> {
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    let quits = screen.model.options.keys.is("quit", event) && (control || !screen.takes_text());
    if quits && !screen.model.is_run_open() {
        return dispatch(screen, event);
    }
    Vec::new()
}

fn dispatch(screen: &mut Screen, event: KeyEvent) -> Vec<Effect> {
    let keys = &screen.model.options.keys;
    let meant = known(&screen.model).find(|action| keys.is(action.name, event));
    match meant {
        Some(action) => action.act(screen),
        None => Vec::new(),
    }
}

/// Does the action of this name, as its key would.
fn act(screen: &mut Screen, name: &str) -> Vec<Effect> {
    let named = known(&screen.model).find(|action| action.name == name);
    match named {
        Some(action) => action.act(screen),
        None => Vec::new(),
    }
}

fn press_in_dialog(screen: &mut Screen, event: KeyEvent) -> Vec<Effect> {
    let Some(dialog) = &mut screen.dialog else {
        return Vec::new();
    };
    match dialogs::press(dialog, &mut screen.model, event) {
        Pressed::Stays => Vec::new(),
        Pressed::StaysAnd(effects) => effects,
        Pressed::Orders(deed, site) => orders::go(screen, deed, vec![site]),
        Pressed::Closes(effects) => {
            screen.dialog = None;
            effects
        }
        Pressed::Does(deed, sites) => {
            screen.dialog = None;
            orders::go(screen, deed, sites)
        }
        Pressed::Becomes(next) => {
            screen.dialog = Some(*next);
            Vec::new()
        }
        Pressed::Runs(action) => {
            screen.dialog = None;
            act(screen, action)
        }
    }
}
