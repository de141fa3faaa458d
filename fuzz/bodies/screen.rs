use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use stripe_propagate::engine::Command;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::site::{MasterKeyId, Site, SiteMode, SiteUrl};
use stripe_propagate::text::{CleanText, is_hidden};
use stripe_propagate::tui::dialogs::Dialog;
use stripe_propagate::tui::model::{Clipboard, Options, Start};
use stripe_propagate::tui::screen::Screen;
use stripe_propagate::tui::theme::Theme;
use stripe_propagate::tui::update::{open, update};
use stripe_propagate::tui::{Effect, Input, Message, PreflightOrder, Wanted, view};

use super::given::Given;

/// What others tell the screen.
mod told;

use told::World;

/// A step: what kind of message it is, a number and a text that it takes what it needs from.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) kind: u8,
    pub(crate) number: u16,
    pub(crate) text: String,
}

/// The screen that all begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opened {
    pub(crate) sites: u8,
    pub(crate) read_only: bool,
    pub(crate) ascii: bool,
    pub(crate) demo: bool,
}

/// The bytes say which screen is opened, then what happens, step by step.
pub(crate) fn check(bytes: &[u8]) {
    const MOST: usize = 200;

    let mut given = Given::new(bytes);
    let opened = Opened {
        sites: given.byte(),
        read_only: given.byte() % 4 == 1,
        ascii: given.flag(),
        demo: given.flag(),
    };
    let mut steps = Vec::new();
    while !given.is_over() && steps.len() < MOST {
        steps.push(Step {
            kind: given.byte(),
            number: given.number(),
            text: given.text(),
        });
    }
    play(opened, &steps);
}

/// So many kinds of steps there are.
pub(crate) const KINDS: u8 = 11 + told::KINDS;
/// What stands behind the prefix of the key in the field. Nothing else has these characters.
const HIDDEN: &str = "QZ7hiddenX9vQZ7hiddenX9v";
/// What stands behind the prefix of a secret that is pasted.
const SECRET: &str = "WY3secretK4wWY3secretK4w";

/// 2026-03-01 14:00 UTC.
const BEGIN: Duration = Duration::from_hours(492_326);

pub(crate) fn at(tenths: u64) -> Moment {
    let since_start = Duration::from_millis(100 * tenths);
    Moment {
        since_start,
        wall: Timestamp::UNIX_EPOCH + BEGIN + since_start,
    }
}

pub(crate) fn parsed(key: &str) -> PublishableKey {
    match PublishableKey::parse(key) {
        Ok(key) => key,
        Err(refusal) => panic!("{refusal}"),
    }
}

fn sites(count: u8) -> Vec<Site> {
    let site = |number: u8| {
        let url = match SiteUrl::parse(&format!("https://shop-{number}.example")) {
            Ok(url) => url,
            Err(refusal) => panic!("{refusal}"),
        };
        Site {
            name: CleanText::note(&format!("shop {number}")),
            backend: url.backend().into(),
            url,
            group: number.is_multiple_of(3).then(|| CleanText::note("prod")),
            mode: [SiteMode::Any, SiteMode::Live, SiteMode::Test][usize::from(number % 7 % 3)],
            master_key: MasterKeyId(0),
            enabled: number % 5 != 4,
        }
    };
    (0..count % 26).map(site).collect()
}

/// A screen on which all of this happens. After each step it is drawn, at the end at several sizes.
pub(crate) fn play(opened: Opened, steps: &[Step]) {
    let mut stage = Stage::new(opened);
    for step in steps {
        stage.take(step);
        stage.draw();
    }
    for size in [(80, 24), (120, 40), (60, 15), (0, 0), (1, 3), (250, 9)] {
        stage.resize(size);
        stage.draw();
    }
}

struct Stage {
    opened: Opened,
    screen: Screen,
    world: World,
    size: (u16, u16),
    tenths: u64,
    /// The key may be read until then: something that shows it may have been pressed.
    may_show_until: u64,
}

impl Stage {
    fn new(opened: Opened) -> Self {
        let sites = sites(opened.sites);
        let world = World::new(sites.len());
        let size = (80, 24);
        let start = Start {
            sites: sites.into(),
            states: Vec::new(),
            operator: "ops@bastion".to_owned(),
            config: "shops.toml".to_owned(),
            searched: vec!["/etc/shops.toml".into()],
            setup: stripe_propagate::tui::setup::Setup::default(),
            run: None,
            away_since: None,
            key: Some(parsed(&format!("pk_live_{HIDDEN}"))),
            options: Options {
                rollout: stripe_propagate::rules::rollout::Settings::default(),
                ascii: opened.ascii,
                theme: Theme::DEFAULT,
                keys: stripe_propagate::tui::actions::unchanged(),
                demo: opened.demo,
                read_only: opened.read_only,
                clipboard: Clipboard::Takes,
                zone: TimeZone::UTC,
            },
            size,
        };
        let mut screen = Screen::new(start, at(0));
        let effects = open(&mut screen, true);
        let mut stage = Self {
            opened,
            screen,
            world,
            size,
            tenths: 0,
            may_show_until: 0,
        };
        stage.heed(effects, false);
        stage
    }

    fn take(&mut self, step: &Step) {
        let number = step.number;
        let letters = || {
            step.text
                .chars()
                .map(|letter| Input::Key(KeyEvent::from(KeyCode::Char(letter))))
        };
        match step.kind % KINDS {
            0 => self.press(
                KeyCode::Char(char::from(b' ' + (number % 95).to_le_bytes()[0])),
                KeyModifiers::NONE,
            ),
            1 => self.press(KEYS[usize::from(number) % KEYS.len()], KeyModifiers::NONE),
            2 => self.press(
                KeyCode::Char(char::from(b'a' + (number % 26).to_le_bytes()[0])),
                KeyModifiers::CONTROL,
            ),
            3 => self.type_all(letters().collect()),
            4 => letters().for_each(|letter| self.type_all(vec![letter])),
            5 => self.type_all(vec![Input::Paste(step.text.clone())]),
            6 => self.paste_secret(number, &step.text),
            7 => self.type_all(
                letters()
                    .chain([Input::Key(KeyEvent::from(KeyCode::Enter))])
                    .collect(),
            ),
            8 => self.resize((number & 0xff, number >> 8)),
            9 => self.wait(number),
            10 => self.type_all(vec![
                Input::Scroll(isize::from(number.to_le_bytes()[0].cast_signed())),
                Input::Click(number >> 8),
                Input::PasteGoesOn,
            ]),
            kind => {
                let messages = self.world.tell(kind - 11, number, &step.text, at(self.tenths));
                for message in messages {
                    self.tell(message);
                }
            }
        }
    }

    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        self.type_all(vec![Input::Key(KeyEvent::new(code, modifiers))]);
    }

    fn type_all(&mut self, batch: Vec<Input>) {
        let shows = |input: &Input| match input {
            // By its key, or chosen in the palette.
            Input::Key(key) => {
                key.code == KeyCode::Enter
                    || key.code == KeyCode::Char('r') && key.modifiers.contains(KeyModifiers::CONTROL)
            }
            _ => false,
        };
        if batch.iter().any(shows) {
            self.may_show_until = self.tenths + 100;
        }
        self.tell(Message::Input(batch));
    }

    /// A secret in a paste of its own, amid other text.
    fn paste_secret(&mut self, number: u16, around: &str) {
        let prefix = ["sk_live_", "rk_test_", "SK_LIVE_", "whsec_", "'sk_"][usize::from(number) % 5];
        let secret = match number >> 8 & 3 {
            0 => format!("{prefix}{SECRET}"),
            1 => format!("{around}\n{prefix}{SECRET}"),
            2 => format!(" {prefix}{SECRET} {around}"),
            _ => format!("pk_live_51abc {prefix}{SECRET}"),
        };
        self.type_all(vec![Input::Paste(secret)]);
    }

    fn resize(&mut self, (columns, rows): (u16, u16)) {
        self.size = (columns, rows);
        self.tell(Message::Resize { columns, rows });
    }

    fn wait(&mut self, tenths: u16) {
        self.tenths += u64::from(tenths % 20_000);
        let now = at(self.tenths);
        if self
            .screen
            .model
            .wake_at()
            .is_some_and(|wake| wake.since_start <= now.since_start)
        {
            self.tell(Message::Wake);
        }
    }

    fn tell(&mut self, message: Message) {
        let confirms = matches!(self.screen.dialog(), Some(Dialog::Plan(_)));
        let effects = update(&mut self.screen, message, at(self.tenths));
        self.heed(effects, confirms);
    }

    /// What the screen may want, and what it may not.
    fn heed(&mut self, effects: Vec<Effect>, confirms: bool) {
        if effects.is_empty() {
            return;
        }
        let told = format!("{effects:?}");
        assert!(!told.contains(SECRET), "a secret leaves the screen");
        for effect in effects {
            match effect {
                Effect::Engine(Command::Push(_)) => {
                    assert!(
                        confirms && !self.opened.read_only,
                        "pushes without a plan: {told}"
                    );
                }
                Effect::Engine(Command::Look { .. }) => {}
                Effect::Engine(_) => assert!(!self.opened.read_only, "a screen that only watches: {told}"),
                Effect::Read(wanted) => self.read(wanted),
                Effect::Preflight(PreflightOrder::Begin { number, .. }) => self.world.preflight = number,
                _ => {}
            }
        }
    }

    fn read(&mut self, wanted: Wanted) {
        const MOST: usize = 16;

        self.world.wanted.push_back(wanted);
        self.world.wanted.truncate(MOST);
    }

    fn draw(&mut self) {
        let mut terminal = match Terminal::new(TestBackend::new(self.size.0, self.size.1)) {
            Ok(terminal) => terminal,
            Err(error) => match error {},
        };
        self.screen.model.arrange(at(self.tenths));
        let drawn = terminal.draw(|frame| view::draw(&self.screen, frame));
        assert!(drawn.is_ok());
        let cells = &terminal.backend().buffer().content;
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        assert!(!text.chars().any(is_hidden), "{text:?}");
        assert!(!self.opened.ascii || text.is_ascii(), "{text}");
        assert!(!text.contains(&SECRET[..8]), "a secret is drawn: {text}");
        if self.tenths >= self.may_show_until {
            assert!(!text.contains(&HIDDEN[..8]), "the key is drawn: {text}");
        }
    }
}

/// Keys that are no letters.
const KEYS: [KeyCode; 18] = [
    KeyCode::Enter,
    KeyCode::Esc,
    KeyCode::Up,
    KeyCode::Down,
    KeyCode::Left,
    KeyCode::Right,
    KeyCode::Home,
    KeyCode::End,
    KeyCode::PageUp,
    KeyCode::PageDown,
    KeyCode::Backspace,
    KeyCode::Delete,
    KeyCode::Tab,
    KeyCode::BackTab,
    KeyCode::F(5),
    KeyCode::Insert,
    KeyCode::Null,
    KeyCode::Char(' '),
];
