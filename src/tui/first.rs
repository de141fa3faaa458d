use super::dialogs::{AddSite, Choice, Dialog, WrongConfig};
use super::model::{Model, Start};
use super::reread::compared;
use super::screen::Screen;
use super::setup::{SetupNews, SetupOrder, Wrong, shown};
use super::{Effect, Leave};
use crate::engine::{Attempts, Command, Level};
use crate::rules::moment::Moment;
use crate::rules::run::RunPhase;
use crate::site::{Site, SiteId};
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
            // A run may have begun since it was asked for.
            if let Err(why) = can_change(model) {
                model.say(Level::Warning, format!("not taken: {why}"));
                return Vec::new();
            }
            return vec![Effect::Quit(Leave::Reload)];
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

fn show_wrong(screen: &mut Screen, wrong: Wrong) {
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
        keep_view(model, &mut old);
        model.field = old.field;
        // What a new screen says at first was said before.
        model.messages = old.messages;
        model.line = None;
        // Asked about once is enough.
        model.set_left(old.left);
        let told = said(model, &old.sites);
        model.say(Level::Info, told);
        if let Some(url) = model.setup.newest.clone()
            && !model.options.read_only
            && let Some(file) = &model.setup.file
        {
            let question = Choice::write_sites(vec![url], file);
            screen.dialog = Some(Dialog::Choice(question));
        }
        screen
    }

    /// What it orders at first: a site that was just added is looked at, whatever the config says of others.
    pub fn first_orders(&self) -> Vec<Effect> {
        let newest = self.model.setup.newest.as_ref();
        let added: Option<SiteId> = newest.and_then(|url| self.model.places().get(url).copied());
        let look = |site| {
            Effect::Engine(Command::Look {
                sites: vec![site],
                expected: None,
                attempts: Attempts::Policy,
                background: false,
            })
        };
        added.map(look).into_iter().collect()
    }
}

/// Order, filter, marks and cursor are as they were, as far as the sites are still there.
fn keep_view(model: &mut Model, old: &mut Model) {
    let places = model.places();
    model.sort_by(old.list.sort());
    model.show_only(old.filter.text());
    for (id, site) in (0..).map(SiteId).zip(old.sites.iter()) {
        if let Some(place) = places.get(&site.url) {
            model.list.mark(*place, old.list.is_marked(id));
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
}

/// What was read.
fn said(model: &Model, before: &[Site]) -> String {
    if model.setup.file.is_none() {
        return match &model.setup.newest {
            Some(url) => format!(
                "{url} is there for this session; {} writes a config that can keep it",
                model.key_of("write a config")
            ),
            None => "there is still no config".to_owned(),
        };
    }
    match &model.setup.newest {
        Some(url) => format!("{url} is there for this session"),
        None if model.sites.is_empty() && before.is_empty() => {
            format!(
                "read again: no sites yet: {} adds one",
                model.key_of("add a site")
            )
        }
        None => format!("read again: {}", compared(before, &model.sites)),
    }
}
