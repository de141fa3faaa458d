use crossterm::event::KeyCode;

use super::{Action, When};
use crate::engine::{Command, Level};
use crate::rules::run::RunPhase;
use crate::rules::status::Push;
use crate::tui::dialogs::{Choice, Copying, Deed, Detail, Dialog, Menu, Messages};
use crate::tui::keys::Press;
use crate::tui::model::Model;
use crate::tui::screen::Screen;
use crate::tui::{Effect, Leave, Wanted, find, first, orders, watch};

const fn key(character: char) -> Press {
    Press::key(character)
}

const fn control(character: char) -> Press {
    Press::control(character)
}

const fn named(code: KeyCode) -> Press {
    Press::named(code)
}
fn silent(_: &Model) -> Option<String> {
    None
}

fn with_sites(model: &Model, text: &str) -> Option<String> {
    (!model.sites.is_empty()).then(|| text.to_owned())
}
/// Every action, in the order of footer and help.
pub static ACTIONS: &[Action] = &[
    Action {
        name: "push all",
        keys: &[key('P')],
        help: "review and push the key to all sites that are shown",
        when: When::Steering,
        footer: |model| {
            (model.field.key().is_some() && !model.is_sending())
                .then(|| format!("push {}", model.visible_in_words()))
                .filter(|_| !model.sites.is_empty())
        },
        run: |screen| {
            let all = screen.model.pushed_by_all();
            orders::plan_push(screen, &all)
        },
    },
    Action {
        name: "dry run",
        keys: &[key('d')],
        help: "what a push to all would do, without a way to send it",
        when: When::WithSites,
        footer: |model| {
            let can_plan = model.field.key().is_some() && !model.sites.is_empty();
            can_plan.then(|| "dry run".to_owned())
        },
        run: orders::dry_run,
    },
    Action {
        name: "pause",
        keys: &[key('c')],
        help: "pause the run: go on, or cancel the rest",
        when: When::Steering,
        footer: |model| {
            model.is_sending().then(|| {
                if phase(model).is_some_and(RunPhase::is_held) {
                    "go on or cancel".to_owned()
                } else {
                    "pause".to_owned()
                }
            })
        },
        run: pause,
    },
    Action {
        name: "watch",
        keys: &[key('w')],
        help: "look at all sites each [watch] interval and tell what has changed, or end that",
        when: When::Looking,
        footer: watch::in_footer,
        run: watch::turn,
    },
    Action {
        name: "retry all failed",
        keys: &[key('R')],
        help: "repeat what failed on the sites that are shown",
        when: When::Steering,
        footer: retries,
        run: |screen| {
            let visible = screen.model.visible();
            orders::retry(screen, visible)
        },
    },
    Action {
        name: "edit key",
        keys: &[key('e')],
        help: "type or paste the key (↑ known ones); Enter takes it, Esc leaves what was there, ^U wipes it",
        when: When::Configured,
        footer: |model| (!model.options.read_only).then(|| "key".to_owned()),
        run: |screen| {
            screen.model.field.edit();
            Vec::new()
        },
    },
    Action {
        name: "verify all",
        keys: &[key('V')],
        help: "look at what the sites serve that are shown",
        when: When::Looking,
        footer: |model| with_sites(model, &format!("verify {}", model.visible_in_words())),
        run: |screen| {
            let visible = screen.model.visible();
            orders::look(screen, visible)
        },
    },
    Action {
        name: "detail",
        keys: &[named(KeyCode::Enter)],
        help: "all that is known of the site, with each attempt",
        when: When::Configured,
        footer: |model| with_sites(model, "detail"),
        run: |screen| {
            let Some(site) = screen.model.selected() else {
                return Vec::new();
            };
            let (detail, effects) = Detail::of(site);
            screen.dialog = Some(Dialog::Detail(Box::new(detail)));
            effects
        },
    },
    Action {
        name: "copy",
        keys: &[key('y')],
        help: "copy the URL, the key or the error of the site under the cursor (OSC 52)",
        when: When::Configured,
        footer: silent,
        run: |screen| {
            let site = screen.model.selected();
            screen.dialog = site.map(|site| Dialog::Copy(Copying::of(site)));
            Vec::new()
        },
    },
    Action {
        name: "messages",
        keys: &[key('m')],
        help: "all messages",
        when: When::Always,
        footer: |_| Some("messages".to_owned()),
        run: |screen| {
            screen.dialog = Some(Dialog::Messages(Messages::default()));
            Vec::new()
        },
    },
    Action {
        name: "owed",
        keys: &[key('o')],
        help: "only the sites that are owed a key, or all again; a run that was left unfinished",
        when: When::Configured,
        footer: |model| (!model.left.is_empty()).then(|| "unfinished run".to_owned()),
        run: find::owed,
    },
    Action {
        name: "filter",
        keys: &[key('/')],
        help: "show only the sites that match words or fields, such as push:failed",
        when: When::Configured,
        footer: |model| with_sites(model, "filter"),
        run: |screen| {
            screen.model.filter.edit(true);
            Vec::new()
        },
    },
    Action {
        name: "clear filter",
        keys: &[named(KeyCode::Esc)],
        help: "show all sites again",
        when: When::Configured,
        footer: |model| (!model.filter.is_empty()).then(|| "all sites".to_owned()),
        run: |screen| {
            screen.model.show_only("");
            Vec::new()
        },
    },
    Action {
        name: "mark",
        keys: &[key(' ')],
        help: "mark the site, or take its mark away: actions go on the marked ones",
        when: When::Configured,
        footer: |model| with_sites(model, "mark"),
        run: find::mark,
    },
    Action {
        name: "mark all",
        keys: &[key('a')],
        help: "mark all sites that are shown",
        when: When::Configured,
        footer: silent,
        run: |screen| find::mark_those(screen, |_, _| true),
    },
    Action {
        name: "mark failed",
        keys: &[key('f')],
        help: "mark those of the shown sites that failed",
        when: When::Configured,
        footer: silent,
        run: |screen| find::mark_those(screen, find::failed),
    },
    Action {
        name: "unmark all",
        keys: &[key('A')],
        help: "take all marks away, also those that the filter hides",
        when: When::Configured,
        footer: |model| (model.list.marks() > 0).then(|| "no marks".to_owned()),
        run: |screen| {
            screen.model.list.unmark_all();
            Vec::new()
        },
    },
    Action {
        name: "next failed",
        keys: &[key('n')],
        help: "to the next site that failed",
        when: When::Configured,
        footer: |model| (model.failed > 0).then(|| "next failed".to_owned()),
        run: find::next_failed,
    },
    Action {
        name: "keys served",
        keys: &[named(KeyCode::Tab)],
        help: "which key how many sites serve; Enter shows only those",
        when: When::Configured,
        footer: |model| with_sites(model, "keys served"),
        run: |screen| {
            screen.dialog = Some(Dialog::Menu(Menu::served(&screen.model)));
            Vec::new()
        },
    },
    Action {
        name: "sort",
        keys: &[key('s')],
        help: "choose the column that sites are sorted by",
        when: When::Configured,
        footer: silent,
        run: |screen| {
            screen.dialog = Some(Dialog::Menu(Menu::sort(&screen.model)));
            Vec::new()
        },
    },
    Action {
        name: "turn the order",
        keys: &[key('S')],
        help: "the other end of the order first",
        when: When::Configured,
        footer: silent,
        run: find::turn,
    },
    Action {
        name: "history",
        keys: &[key('h')],
        help: "runs on record: their sites and attempts, retry, roll back, export",
        when: When::Configured,
        footer: |_| Some("history".to_owned()),
        run: |screen| {
            screen.dialog = Some(Dialog::History(Box::default()));
            vec![Effect::Read(Wanted::Runs)]
        },
    },
    Action {
        name: "roll back",
        keys: &[key('u')],
        help: "put back what the marked sites, or the one under the cursor, had before their last run",
        when: When::Steering,
        footer: silent,
        run: |screen| find::on_chosen(screen, Deed::RollBack),
    },
    Action {
        name: "push",
        keys: &[key('p')],
        help: "review and push the key to the marked sites, or the one under the cursor",
        when: When::Steering,
        footer: |model| {
            (model.field.key().is_some() && !model.is_sending())
                .then(|| model.chosen_in_words("push"))
                .filter(|_| !model.sites.is_empty())
        },
        run: |screen| find::on_chosen(screen, Deed::Push),
    },
    Action {
        name: "retry",
        keys: &[key('r')],
        help: "repeat what failed on the marked sites, or the one under the cursor",
        when: When::Steering,
        footer: |model| (model.failed + model.held_back > 0).then(|| model.chosen_in_words("retry")),
        run: |screen| find::on_chosen(screen, Deed::Retry),
    },
    Action {
        name: "verify",
        keys: &[key('v')],
        help: "look at what the marked sites, or the one under the cursor, serve",
        when: When::Looking,
        footer: |model| with_sites(model, &model.chosen_in_words("verify")),
        run: |screen| find::on_chosen(screen, Deed::Look),
    },
    Action {
        name: "preflight",
        keys: &[key('t')],
        help: "try what a push would meet: DNS, TCP, TLS, the GET; then a tries the master key, and stores nothing",
        when: When::Configured,
        footer: silent,
        run: |screen| find::on_chosen(screen, Deed::Check),
    },
    Action {
        name: "acknowledge",
        keys: &[key('x')],
        help: "say of the marked sites, or the one under the cursor, that they are known to be bad: why, and until when",
        when: When::Steering,
        footer: silent,
        run: |screen| find::on_chosen(screen, Deed::Acknowledge),
    },
    Action {
        name: "show key",
        keys: &[control('r')],
        help: "show the key for 10 seconds, or hide it",
        when: When::Configured,
        footer: silent,
        run: |screen| {
            let now = screen.model.now;
            screen.model.field.show(now);
            Vec::new()
        },
    },
    Action {
        name: "heal",
        keys: &[key('H')],
        help: "mend the demo's sick sites, so that a retry works",
        when: When::InDemo,
        footer: |model| model.options.demo.then(|| "heal the demo".to_owned()),
        run: |_| vec![Effect::Heal],
    },
    Action {
        name: "write a config",
        keys: &[key('i')],
        help: "write a commented config, where there is none; it can keep the sites of this session",
        when: When::WithoutConfig,
        footer: |model| {
            let is_bare = model.setup.file.is_none() && model.setup.example.is_none();
            (is_bare && !model.options.read_only).then(|| "write a config".to_owned())
        },
        run: first::write_example,
    },
    Action {
        name: "add a site",
        keys: &[key('+')],
        help: "add a site by its address: for this session, or written to the config",
        when: When::Configured,
        footer: |model| model.sites.is_empty().then(|| "add a site".to_owned()),
        run: first::add_site,
    },
    Action {
        name: "demo",
        keys: &[key('d')],
        help: "try the program on shops inside this machine",
        when: When::WithoutSites,
        footer: |_| Some("demo".to_owned()),
        run: first::open_demo,
    },
    Action {
        name: "reload",
        keys: &[named(KeyCode::F(5))],
        help: "read the config and its sites again",
        when: When::Always,
        footer: |model| {
            let is_wanted = model.setup.wrong.is_some() || model.sites.is_empty();
            is_wanted.then(|| "read the config again".to_owned())
        },
        run: first::reload,
    },
    Action {
        name: "palette",
        keys: &[key(':')],
        help: "finds any action by its name, and does it",
        when: When::Configured,
        footer: |_| Some("palette".to_owned()),
        run: super::listed::palette,
    },
    Action {
        name: "help",
        keys: &[key('?')],
        help: "this help",
        when: When::Always,
        footer: |_| Some("help".to_owned()),
        run: super::listed::help,
    },
    Action {
        name: "quit",
        keys: &[key('q'), control('c')],
        help: "quit; while a run goes on it asks",
        when: When::Always,
        footer: |_| Some("quit".to_owned()),
        run: quit,
    },
    Action {
        name: "down",
        keys: &[key('j'), named(KeyCode::Down)],
        help: "one site down",
        when: When::Configured,
        footer: silent,
        run: |screen| find::step(screen, 1),
    },
    Action {
        name: "up",
        keys: &[key('k'), named(KeyCode::Up)],
        help: "one site up",
        when: When::Configured,
        footer: silent,
        run: |screen| find::step(screen, -1),
    },
    Action {
        name: "half page down",
        keys: &[control('d')],
        help: "half a page down",
        when: When::Configured,
        footer: silent,
        run: |screen| {
            let half = find::page(&screen.model) / 2;
            find::step(screen, half)
        },
    },
    Action {
        name: "half page up",
        keys: &[control('u')],
        help: "half a page up",
        when: When::Configured,
        footer: silent,
        run: |screen| {
            let half = find::page(&screen.model) / 2;
            find::step(screen, -half)
        },
    },
    Action {
        name: "page down",
        keys: &[named(KeyCode::PageDown)],
        help: "a page down",
        when: When::Configured,
        footer: silent,
        run: |screen| {
            let page = find::page(&screen.model);
            find::step(screen, page)
        },
    },
    Action {
        name: "page up",
        keys: &[named(KeyCode::PageUp)],
        help: "a page up",
        when: When::Configured,
        footer: silent,
        run: |screen| {
            let page = find::page(&screen.model);
            find::step(screen, -page)
        },
    },
    Action {
        name: "first",
        keys: &[key('g'), named(KeyCode::Home)],
        help: "the first site",
        when: When::Configured,
        footer: silent,
        run: |screen| {
            screen.model.move_cursor(0);
            Vec::new()
        },
    },
    Action {
        name: "last",
        keys: &[key('G'), named(KeyCode::End)],
        help: "the last site",
        when: When::Configured,
        footer: silent,
        run: |screen| {
            screen.model.move_cursor(usize::MAX);
            Vec::new()
        },
    },
    Action {
        name: "redraw",
        keys: &[control('l')],
        help: "draw the screen afresh",
        when: When::Always,
        footer: silent,
        run: |_| vec![Effect::Redraw],
    },
    Action {
        name: "suspend",
        keys: &[control('z')],
        help: "suspend, while no run goes on; fg comes back",
        when: When::Always,
        footer: silent,
        run: |screen| {
            let model = &mut screen.model;
            if model.is_run_open() && !model.is_attached() {
                // The run would stand still, and hold the store against everybody else.
                let quit = model.key_of("quit");
                let text = format!(
                    "it would stop the run: {quit}, then l, gives the terminal back, and the run goes on"
                );
                model.say(Level::Warning, text);
                return Vec::new();
            }
            vec![Effect::Suspend]
        },
    },
];
fn retries(model: &Model) -> Option<String> {
    match model.failed_shown() {
        (0, 0) => None,
        (failed, 0) => Some(format!("retry {failed}")),
        (0, held_back) => Some(format!("retry {held_back} held back")),
        (failed, held_back) => Some(format!("retry {failed} (+{held_back} held back)")),
    }
}

fn phase(model: &Model) -> Option<RunPhase> {
    model.run.as_ref().map(|run| run.phase)
}

fn pause(screen: &mut Screen) -> Vec<Effect> {
    let model = &mut screen.model;
    if !model.is_sending() {
        model.say(Level::Info, "no run is sending: there is nothing to pause");
        return Vec::new();
    }
    // What was cancelled is not sent again without a word of its own: R asks for that.
    let mut failed = model.failed_sites();
    failed.retain(|id| model.state(*id).push != Push::Cancelled);
    screen.dialog = Some(Dialog::Choice(Choice::paused(model.run.as_ref(), failed)));
    if phase(model).is_some_and(RunPhase::is_held) {
        Vec::new()
    } else {
        vec![Effect::Engine(Command::Pause)]
    }
}

fn quit(screen: &mut Screen) -> Vec<Effect> {
    if !screen.model.is_run_open() || screen.model.is_attached() {
        return vec![Effect::Quit(Leave::Idle)];
    }
    screen.dialog = Some(Dialog::Choice(Choice::quit(&screen.model)));
    Vec::new()
}
