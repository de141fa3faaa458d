use super::dialogs::{AddSite, Choice, Dialog, WrongConfig};
use super::model::{Model, Start};
use super::reread::compared;
use super::screen::Screen;
use super::setup::{SetupNews, SetupOrder, Wrong, shown};
use super::{Effect, Leave, sources};
use crate::engine::{Attempts, Command, Level, Message};
use crate::rules::moment::Moment;
use crate::rules::run::RunPhase;
use crate::site::SiteId;
use crate::text::Count;

/// `F5`: the config and its sites are read again.
pub(super) fn reload(screen: &mut Screen) -> Vec<Effect> {
    if let Err(why) = can_change(&screen.model) {
        screen.model.say(Level::Warning, why);
        return Vec::new();
    }
    vec![Effect::Setup(SetupOrder::Reload)]
}

/// `+`: asks for the address of a site.
pub(super) fn add_site(screen: &mut Screen) -> Vec<Effect> {
    match can_change(&screen.model) {
        Ok(()) => screen.dialog = Some(Dialog::AddSite(AddSite::default())),
        Err(why) => screen.model.say(Level::Warning, why),
    }
    Vec::new()
}

/// `i`: a config to begin with, where there is none.
pub(super) fn write_example(screen: &mut Screen) -> Vec<Effect> {
    let model = &mut screen.model;
    let why = if model.options.demo {
        "the demo needs no config".to_owned()
    } else if model.options.read_only {
        "this screen is read-only: it writes no file".to_owned()
    } else if let Some(file) = &model.setup.file {
        format!("there is a config already: {}", shown(file))
    } else {
        return vec![Effect::Setup(SetupOrder::WriteExample)];
    };
    model.say(Level::Info, why);
    Vec::new()
}

/// `d` on the empty screen: the demo.
pub(super) fn open_demo(screen: &mut Screen) -> Vec<Effect> {
    screen
        .model
        .say(Level::Info, "the demo begins: shops inside this machine");
    vec![Effect::Quit(Leave::Demo)]
}

/// Whether the sites may be others from now on; why not, and what to do.
fn can_change(model: &Model) -> Result<(), String> {
    if model.options.demo {
        return Err("the demo's sites are its own: they stand in no config".to_owned());
    }
    if model.is_ordered() {
        return Err("an order is still being taken: try again when its run goes on".to_owned());
    }
    let Some(run) = model
        .run()
        .filter(|_| model.is_run_open() && !model.is_attached())
    else {
        return Ok(());
    };
    let id = run.id.0;
    Err(match (run.phase, model.proof_at()) {
        (RunPhase::Settling, Some(at)) => format!(
            "run {id} waits for its proofs until {}: the sites can be others after that",
            model.clock(at)
        ),
        (RunPhase::Settling, None) => format!("run {id} is settling: the sites can be others after that"),
        (phase, _) => format!(
            "run {id} is {}: the sites can be others when it is settled ({} goes on with it, or cancels the rest)",
            phase.word(),
            model.key_of("pause")
        ),
    })
}

/// What came of an order about the config.
pub(super) fn take(screen: &mut Screen, news: SetupNews) -> Vec<Effect> {
    let model = &mut screen.model;
    match news {
        SetupNews::Loaded => {
            screen.loaded = true;
            if !is_free(screen) {
                let text = "the config was read: it is taken when what is open is closed";
                hint(&mut screen.model, text);
            }
        }
        SetupNews::Wrong(wrong) => show_wrong(screen, wrong),
        SetupNews::SitesWritten(urls) => {
            model.setup.added.retain(|added| !urls.contains(added));
            let file = model.setup.writable().map(shown).unwrap_or_default();
            let read = if model.setup.file.is_none() {
                format!("{} reads it; ", model.key_of("reload"))
            } else {
                String::new()
            };
            let text = format!("{read}{} written to {file}", Count(urls.len(), "site"));
            model.say(Level::Info, text);
        }
        SetupNews::ExampleWritten(path) => {
            let text = format!(
                "written: put your sites in it, then {}: {}",
                model.key_of("reload"),
                shown(&path)
            );
            model.say(Level::Info, text);
            model.setup.example = Some(path);
            offer_to_keep(screen);
        }
        SetupNews::NotWritten(why) => model.say(Level::Error, why),
    }
    Vec::new()
}

/// Asks whether the sites of the session go into the config that was just written.
fn offer_to_keep(screen: &mut Screen) {
    let model = &screen.model;
    let added = &model.setup.added;
    let is_free = screen.dialog.is_none() && !model.is_too_small();
    if let Some(file) = model.setup.writable()
        && is_free
        && !added.is_empty()
    {
        let question = Choice::write_sites(added.clone(), file);
        screen.dialog = Some(Dialog::Choice(question));
    }
}

/// Whether nothing stands before the table and nothing is being typed.
fn is_free(screen: &Screen) -> bool {
    screen.dialog.is_none() && !screen.takes_text()
}

/// Says it on the line alone: what comes of it is told, and kept, when it has come.
fn hint(model: &mut Model, text: &str) {
    model.line = Some(Message {
        at: model.now,
        level: Level::Info,
        text: text.to_owned(),
    });
}

/// Says that the config is being read, if that is among what was ordered.
pub(super) fn mind_reading(model: &mut Model, effects: &[Effect]) {
    let reads = |effect: &Effect| matches!(effect, Effect::Setup(order) if !order.writes());
    if effects.iter().any(reads) {
        hint(model, "reading the config …");
    }
}

/// Takes the config that was read, as soon as that takes nothing away under what is being typed.
pub(super) fn take_loaded(screen: &mut Screen) -> Option<Effect> {
    if !screen.loaded || !is_free(screen) {
        return None;
    }
    screen.loaded = false;
    // A run may have begun since it was asked for.
    if let Err(why) = can_change(&screen.model) {
        screen.model.say(Level::Warning, format!("not taken: {why}"));
        return None;
    }
    Some(Effect::Quit(Leave::Reload))
}

fn show_wrong(screen: &mut Screen, wrong: Wrong) {
    // What was read before it is not what stands there now.
    screen.loaded = false;
    let model = &mut screen.model;
    let text = format!("{}: {}", wrong.place, wrong.message);
    if model.setup.wrong.is_some() {
        model.say(Level::Error, "it is still wrong");
        model.setup.wrong = Some(wrong);
        return;
    }
    model.say(Level::Error, format!("the config is as before: {text}"));
    let is_free = matches!(screen.dialog, None | Some(Dialog::WrongConfig(_)));
    if is_free && !model.is_too_small() {
        screen.dialog = Some(Dialog::WrongConfig(WrongConfig(wrong)));
    }
}

impl Screen {
    /// On other sites: what the operator has typed, was told and looks at stays.
    #[must_use]
    pub fn reopened(self, start: Start, now: Moment) -> Self {
        let mut old = self.model;
        let same_size = Start {
            size: old.size,
            ..start
        };
        let mut screen = Self::new(same_size, now);
        let model = &mut screen.model;
        let gone = keep_view(model, &mut old);
        let (level, text) = said(model, &old);
        model.field = old.field;
        // The runs that they wait for were asked of the store that is closed.
        model.field.stop_offering();
        // What a new screen says at first was said before.
        model.messages = old.messages;
        model.line = None;
        (model.meanwhile, model.away_since) = (old.meanwhile, old.away_since);
        // It is begun anew, on the new sites.
        model.watch = old.watch;
        // Asked about once is enough.
        model.set_left(old.left);
        let marks = match gone {
            0 => String::new(),
            1 => "1 mark was on a site that is gone; ".to_owned(),
            gone => format!("{gone} marks were on sites that are gone; "),
        };
        let level = if gone > 0 { Level::Warning } else { level };
        sources::tell_warnings(model);
        model.say(level, marks + &text);
        sources::tell_failed(model);
        if let Some(url) = model.setup.newest.clone()
            && !model.options.read_only
            && let Some(file) = &model.setup.file
        {
            let question = Choice::write_sites(vec![url], file);
            // Who went on typing while the config was read does not mean it.
            screen.pressed_at = self.pressed_at;
            screen.come_up(|_| Dialog::Choice(question));
        }
        screen
    }
}

/// What a screen orders at first: a site that was just added is looked at, whatever the config says of others; with
/// `look` those too of which what is known is old.
pub(super) fn first_orders(model: &Model, look: bool) -> Vec<Effect> {
    let newest = model.setup.newest.as_ref();
    let added: Option<SiteId> = newest.and_then(|url| model.places().get(url).copied());
    let mut old = if look {
        model.to_look_at_first()
    } else {
        Vec::new()
    };
    old.retain(|site| Some(*site) != added);
    let orders = [
        (added.into_iter().collect(), Attempts::Policy),
        (old, Attempts::One),
    ];
    let looks = orders
        .into_iter()
        .filter(|(sites, _): &(Vec<SiteId>, _)| !sites.is_empty());
    let looks = looks.map(|(sites, attempts)| {
        Effect::Engine(Command::Look {
            sites,
            expected: None,
            attempts,
            background: attempts == Attempts::One,
        })
    });
    let watch = model.watch.map(|_| Effect::Watch(true));
    looks.chain(watch).collect()
}

/// Order, filter, marks and cursor are as they were, as far as the sites are still there. Returns how many marks were
/// on sites that are not: without them an action may go on what is under the cursor.
fn keep_view(model: &mut Model, old: &mut Model) -> usize {
    let places = model.places();
    model.sort_by(old.list.sort());
    model.show_only(old.filter.text());
    model.filter.edit(old.filter.is_editing());
    let mut gone = 0;
    for (id, site) in (0..).map(SiteId).zip(old.sites.iter()) {
        if let Some(place) = places.get(&site.url) {
            model.list.mark(*place, old.list.is_marked(id));
        } else if old.list.is_marked(id) {
            gone += 1;
        }
    }
    // A cursor that stands on top stays there, whatever comes to stand under it; what was just added is under it.
    let before = old.selected().filter(|_| old.list.cursor() > 0);
    let before = before.map(|id| &old.site(id).url);
    let selected = model.setup.newest.as_ref().or(before);
    let selected = selected.and_then(|url| places.get(url));
    let shown = |id: &SiteId| model.list.order().iter().position(|other| other == id);
    if let Some(place) = selected.and_then(shown) {
        model.move_cursor(place);
    }
    for (id, attempts) in std::mem::take(&mut old.attempts) {
        if let Some(id) = places.get(&old.site(id).url) {
            model.attempts.insert(*id, attempts);
        }
    }
    gone
}

/// What was read; `before` is what the screen had before.
fn said(model: &Model, before: &Model) -> (Level, String) {
    let Some(file) = &model.setup.file else {
        let text = match &model.setup.newest {
            Some(url) => format!(
                "{url} is there for this session; {} writes a config that can keep it",
                model.key_of("write a config")
            ),
            None => "there is still no config".to_owned(),
        };
        return (Level::Info, text);
    };
    let log = if model.setup.log_waits {
        "; its [log] is another one, and counts when the program is started again"
    } else {
        ""
    };
    let name = shown(file);
    match (&model.setup.newest, before.setup.file.as_deref()) {
        (Some(url), _) => (Level::Info, format!("{url} is there for this session{log}")),
        (None, Some(other)) if other != file => {
            let sites = Count(model.sites.len(), "site");
            let other = shown(other);
            let text = format!("another config is read now: {name} with {sites}; before it was {other}{log}");
            (Level::Warning, text)
        }
        (None, _) if model.sites.is_empty() && before.sites.is_empty() => {
            let add = model.key_of("add a site");
            (
                Level::Info,
                format!("read again: no sites yet: {add} adds one{log}"),
            )
        }
        (None, _) => {
            let compared = compared(&before.sites, &model.sites);
            (Level::Info, format!("read again: {compared}{log}"))
        }
    }
}
