//! The screen as a test drives it, on sites whose names are short, long, and in other scripts.

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Style};
use stripe_propagate::engine::Event;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::state::SiteState;
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::actions::unchanged;
use stripe_propagate::tui::model::{Clipboard, Options, Start};
use stripe_propagate::tui::screen::Screen;
use stripe_propagate::tui::setup::Setup;
use stripe_propagate::tui::theme::Theme;
use stripe_propagate::tui::update::update;
use stripe_propagate::tui::{Effect, Input, Message, view};

pub(super) const SIZES: [(u16, u16); 2] = [(80, 24), (120, 40)];

pub(super) const NAMES: [&str; 9] = [
    "maison-est",
    "galerie-sud",
    "port-ouest",
    "quai-neuf",
    "atelier-nord",
    "日本語の店",
    "page-blanche",
    "verre",
    "terrain-vague",
];

pub(super) fn at(seconds: u64) -> Moment {
    Moment {
        since_start: Duration::ZERO,
        // 2026-03-01 14:00:00 UTC.
        wall: Timestamp::from_second(1_772_373_600).unwrap(),
    } + Duration::from_secs(seconds)
}

pub(super) fn key(mode: &str, tail: &str) -> PublishableKey {
    let padding = "Example".repeat(13);
    PublishableKey::parse(&format!("pk_{mode}_51{padding}{tail}")).unwrap()
}

pub(super) fn new_key() -> PublishableKey {
    key("live", "AbCd")
}

pub(super) fn sites(names: &[&str]) -> Arc<[Site]> {
    let site = |name: &&str| {
        let url = SiteUrl::parse(&format!("https://{name}.example.com")).unwrap();
        Site {
            name: CleanText::note(name),
            backend: url.backend().into(),
            url,
            group: Some(CleanText::note("prod")),
            mode: SiteMode::Any,
            master_key: MasterKeyId(0),
            enabled: true,
        }
    };
    names.iter().map(site).collect()
}

pub(super) fn start(names: &[&str], display: Display) -> Start {
    let options = Options {
        rollout: stripe_propagate::rules::rollout::Settings::default(),
        ascii: display.ascii,
        theme: display.theme,
        keys: unchanged(),
        demo: false,
        read_only: false,
        clipboard: Clipboard::Takes,
        zone: TimeZone::UTC,
    };
    Start {
        sites: sites(names),
        states: Vec::new(),
        operator: "ops@bastion".to_owned(),
        config: "shops.toml".to_owned(),
        searched: Vec::new(),
        setup: Setup::default(),
        run: None,
        away_since: None,
        key: None,
        options,
        size: display.size,
    }
}

/// What a screen is drawn for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Display {
    pub(super) size: (u16, u16),
    /// Whether it shows ASCII alone.
    pub(super) ascii: bool,
    pub(super) theme: Theme,
}

impl From<(u16, u16)> for Display {
    fn from(size: (u16, u16)) -> Self {
        Self {
            size,
            ascii: false,
            theme: Theme::DEFAULT,
        }
    }
}

/// The screen, as a test drives it.
pub(super) struct Trial {
    pub(super) screen: Screen,
    pub(super) size: (u16, u16),
    pub(super) now: u64,
}

impl Trial {
    pub(super) fn new(names: &[&str], display: impl Into<Display>, change: impl FnOnce(&mut Start)) -> Self {
        Self::opened(names, display, 0, change)
    }

    /// The screen, when it is opened so many seconds after two o'clock.
    pub(super) fn opened(
        names: &[&str],
        display: impl Into<Display>,
        now: u64,
        change: impl FnOnce(&mut Start),
    ) -> Self {
        let display = display.into();
        let mut start = start(names, display);
        change(&mut start);
        Self {
            screen: Screen::new(start, at(now)),
            size: display.size,
            now,
        }
    }

    pub(super) fn tell(&mut self, message: Message) -> &mut Self {
        update(&mut self.screen, message, at(self.now));
        self
    }

    pub(super) fn tell_effects(&mut self, message: &Message) -> Vec<Effect> {
        update(&mut self.screen, message.clone(), at(self.now))
    }

    pub(super) fn press(&mut self, code: KeyCode) -> &mut Self {
        self.tell(Message::Input(vec![Input::Key(KeyEvent::from(code))]))
    }

    pub(super) fn types(&mut self, text: &str) -> &mut Self {
        for letter in text.chars() {
            self.press(KeyCode::Char(letter));
        }
        self
    }

    pub(super) fn control(&mut self, letter: char) -> &mut Self {
        let event = KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        self.tell(Message::Input(vec![Input::Key(event)]))
    }

    pub(super) fn state(&mut self, index: u32, state: SiteState) -> &mut Self {
        self.tell(Message::Engine(Event::Site {
            site: SiteId(index),
            state: Box::new(state),
        }))
    }

    pub(super) fn terminal(&mut self) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(self.size.0, self.size.1)).unwrap();
        self.screen.model.arrange(at(self.now));
        terminal.draw(|frame| view::draw(&self.screen, frame)).unwrap();
        terminal
    }

    /// What stands on the screen, and below each line a letter for the style of each character; what the letters mean
    /// comes last.
    pub(super) fn styled(&mut self) -> String {
        let buffer = self.terminal().backend().buffer().clone();
        let picture = self.picture();
        let mut styles: Vec<String> = Vec::new();
        let mut lines = Vec::new();
        for (cells, line) in buffer
            .content
            .chunks(usize::from(self.size.0))
            .zip(picture.lines())
        {
            lines.push(line.to_owned());
            let letters: String = cells
                .iter()
                .map(|cell| letter(cell.style(), &mut styles))
                .collect();
            if !letters.trim().is_empty() {
                lines.push(letters.trim_end().to_owned());
            }
        }
        let meanings = ('a'..)
            .zip(&styles)
            .map(|(letter, style)| format!("{letter} {style}"));
        lines.extend(meanings);
        lines.join("\n")
    }

    /// What stands on the screen, line by line.
    pub(super) fn picture(&mut self) -> String {
        let buffer = self.terminal().backend().buffer().clone();
        let lines = buffer.content.chunks(usize::from(self.size.0)).map(|row| {
            let mut line = String::new();
            let mut covered = 0;
            for cell in row {
                if covered == 0 {
                    line.push_str(cell.symbol());
                    covered = stripe_propagate::text::width(cell.symbol());
                }
                covered = covered.saturating_sub(1);
            }
            line.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A letter for a style; none for that of plain text.
fn letter(style: Style, known: &mut Vec<String>) -> char {
    let name = style_name(style);
    if name == "-" {
        return ' ';
    }
    let place = known.iter().position(|style| *style == name).unwrap_or_else(|| {
        known.push(name);
        known.len() - 1
    });
    ('a'..).nth(place).unwrap()
}

/// A style in words; a dash for that of plain text.
pub(super) fn style_name(style: Style) -> String {
    let mut words = Vec::new();
    for (ground, colour) in [("", style.fg), ("on ", style.bg)] {
        if let Some(colour) = colour.filter(|colour| *colour != Color::Reset) {
            words.push(format!("{ground}{colour}"));
        }
    }
    words.extend(
        style
            .add_modifier
            .iter_names()
            .map(|(name, _)| name.to_lowercase()),
    );
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(" ")
    }
}
