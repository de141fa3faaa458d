//! The pictures in the README: frames that the real `update` and `view::draw` make of invented shops, as SVG.
//!
//! `UPDATE_PICTURES=1 cargo test --test pictures` writes them; without it the test fails where they are not what the
//! screen shows now.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::{env, fs};

use crossterm::event::{KeyCode, KeyEvent};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use stripe_propagate::engine::{Event, RunInfo};
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::tally::Tally;
use stripe_propagate::site::SiteId;
use stripe_propagate::tui::actions::unchanged;
use stripe_propagate::tui::model::{Options, Start};
use stripe_propagate::tui::screen::Screen;
use stripe_propagate::tui::setup::Setup;
use stripe_propagate::tui::theme::Theme;
use stripe_propagate::tui::update::update;
use stripe_propagate::tui::{Input, Message, Reading, view};

use shops::{BEGAN, RUN, SHOPS, at, new_key, told};

mod records;
mod shops;
mod svg;

const COMMAND: &str = "UPDATE_PICTURES=1 cargo test --test pictures";
const SIZE: (u16, u16) = (120, 36);
/// When the pictures of the run are taken: in its middle.
const AMID: u64 = BEGAN + 27_600;

/// A picture: its file, what it shows, and what makes it.
type Picture = (&'static str, &'static str, fn() -> Trial);

const PICTURES: [Picture; 4] = [
    ("main", "The main screen amid a run", amid_the_run),
    (
        "plan",
        "The plan of a push, with the phrase that confirms it",
        plan,
    ),
    ("detail", "All that is known of one shop", detail),
    ("history", "The runs on record", history),
];

/// The screen at a time.
struct Trial {
    screen: Screen,
    now: u64,
}

impl Trial {
    /// All shops were looked at, and a key is in the field.
    fn new() -> Self {
        let start = Start {
            sites: SHOPS.iter().map(shops::Shop::site).collect(),
            states: SHOPS.iter().map(shops::Shop::seen).collect(),
            operator: "ops@bastion".to_owned(),
            config: "shops.toml".to_owned(),
            searched: Vec::new(),
            setup: Setup::default(),
            run: None,
            away_since: None,
            key: Some(new_key()),
            options: Options {
                rollout: stripe_propagate::rules::rollout::Settings::default(),
                ascii: false,
                theme: Theme::DEFAULT,
                keys: unchanged(),
                demo: false,
                read_only: false,
                clipboard: stripe_propagate::tui::model::Clipboard::Takes,
                zone: TimeZone::UTC,
            },
            size: SIZE,
        };
        Self {
            screen: Screen::new(start, at(10_000)),
            now: 10_000,
        }
    }

    fn tell(&mut self, message: Message) -> &mut Self {
        update(&mut self.screen, message, at(self.now));
        self
    }

    fn press(&mut self, code: KeyCode) -> &mut Self {
        self.tell(Message::Input(vec![Input::Key(KeyEvent::from(code))]))
    }

    fn types(&mut self, text: &str) -> &mut Self {
        for letter in text.chars() {
            self.press(KeyCode::Char(letter));
        }
        self
    }

    fn terminal(&mut self) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
        self.screen.model.arrange(at(self.now));
        terminal.draw(|frame| view::draw(&self.screen, frame)).unwrap();
        terminal
    }
}

fn amid_the_run() -> Trial {
    let mut trial = Trial::new();
    trial.now = AMID;
    let run = RunInfo {
        kind: stripe_propagate::rules::run::Kind::Push,
        halt: None,
        rollout: stripe_propagate::rules::rollout::Rollout::default(),
        id: RUN,
        key: new_key(),
        phase: RunPhase::Sending,
        started: at(BEGAN),
        ended: None,
        puts: SHOPS.len(),
    };
    update(&mut trial.screen, Message::Engine(Event::Run(run)), at(BEGAN));
    for (then, event) in told(AMID) {
        update(&mut trial.screen, Message::Engine(event), then);
    }
    trial
}

fn plan() -> Trial {
    let mut trial = Trial::new();
    trial.types("P").types("live 24");
    trial
}

/// The shop that is tried again, with what the store has of it.
fn detail() -> Trial {
    let mut trial = amid_the_run();
    let name = "ruche-doree";
    let (id, shop) = (0..).zip(&SHOPS).find(|(_, shop)| shop.name == name).unwrap();
    trial.screen.model.arrange(at(AMID));
    trial.press(KeyCode::Enter);
    for _ in 1..SHOPS.len() {
        if shows(&mut trial, &format!(" {name}  (")) {
            break;
        }
        trial.types("n");
    }
    let past = records::past(&shop.site().url, SiteId(id), told(AMID));
    // What was asked for first, before other shops were turned to, is read again.
    for _ in 0..2 {
        trial.tell(Message::Read(Reading::Past(SiteId(id), Box::new(past.clone()))));
    }
    trial
}

fn shows(trial: &mut Trial, text: &str) -> bool {
    trial.terminal().backend().to_string().contains(text)
}

fn history() -> Trial {
    let mut trial = amid_the_run();
    trial.types("h");
    let states = (0..)
        .zip(&SHOPS)
        .map(|(id, _)| trial.screen.model.state(SiteId(id)));
    let now: Vec<(&str, usize)> = Tally::of(states).words().collect();
    trial.tell(Message::Read(Reading::Runs(records::runs(&now))));
    trial.types("jj");
    trial
}

#[test]
fn the_pictures_are_what_the_screen_shows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    let drawn = PICTURES.map(|(name, title, make)| {
        let drawn = svg::window(make().terminal().backend().buffer(), title, COMMAND);
        (folder.join(name).with_extension("svg"), drawn)
    });
    let stale = drawn
        .iter()
        .filter(|(file, drawn)| fs::read_to_string(file).ok().as_ref() != Some(drawn));
    if env::var_os("UPDATE_PICTURES").is_some() {
        fs::create_dir_all(&folder).unwrap();
        stale.for_each(|(file, drawn)| fs::write(file, drawn).unwrap());
        return;
    }
    let stale: Vec<_> = stale.map(|(file, _)| file).collect();
    assert!(
        stale.is_empty(),
        "not what the screen shows now: {stale:?}; `{COMMAND}` writes them anew, then look at them"
    );
}

#[test]
fn the_readme_shows_each_picture_and_no_other() {
    let readme = include_str!("../../README.md");
    let shown = readme.split("](docs/pictures/").skip(1);
    let mut shown: Vec<&str> = shown.map(|rest| rest.split(".svg)").next().unwrap()).collect();
    let mut made = PICTURES.map(|(name, ..)| name);
    shown.sort_unstable();
    made.sort_unstable();
    assert_eq!(shown, made);
}
