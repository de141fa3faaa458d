//! Pictures of the screen at the two sizes that operators have, from states that the real rules made. The
//! clock is fixed, so each picture is the same every time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier, Style};
use stripe_propagate::config::{self, Place};
use stripe_propagate::engine::{Attempt, Command, Event, Level, Message as Told, RunInfo};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::outcome::{Answer, Cause, LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::{Kind, RunPhase};
use stripe_propagate::rules::state::{Allow, Call, SiteState};
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::store::{Holder, Operator, Request, RunId, RunRecord};
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::actions::{bound, unchanged};
use stripe_propagate::tui::model::{Options, Start};
use stripe_propagate::tui::screen::Screen;
use stripe_propagate::tui::setup::{Setup, SetupNews, SetupOrder, Wrong};
use stripe_propagate::tui::theme::{THEMES, Theme};
use stripe_propagate::tui::update::update;
use stripe_propagate::tui::{Effect, Input, Leave, Message, Reading, Wanted, view};

/// The detail of a site, and what is copied of it.
#[path = "screens/detail.rs"]
mod detail;

const SIZES: [(u16, u16); 2] = [(80, 24), (120, 40)];

const NAMES: [&str; 9] = [
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

fn at(seconds: u64) -> Moment {
    Moment {
        since_start: Duration::ZERO,
        // 2026-03-01 14:00:00 UTC.
        wall: Timestamp::from_second(1_772_373_600).unwrap(),
    } + Duration::from_secs(seconds)
}

fn key(mode: &str, tail: &str) -> PublishableKey {
    let padding = "Example".repeat(13);
    PublishableKey::parse(&format!("pk_{mode}_51{padding}{tail}")).unwrap()
}

fn new_key() -> PublishableKey {
    key("live", "AbCd")
}

fn sites(names: &[&str]) -> Arc<[Site]> {
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

fn start(names: &[&str], size: (u16, u16)) -> Start {
    let options = Options {
        ascii: false,
        theme: Theme::DEFAULT,
        keys: unchanged(),
        demo: false,
        read_only: false,
        clipboard: true,
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
        size,
    }
}

/// The screen, as a test drives it.
struct Trial {
    screen: Screen,
    size: (u16, u16),
    now: u64,
}

impl Trial {
    fn new(names: &[&str], size: (u16, u16), change: impl FnOnce(&mut Start)) -> Self {
        let mut start = start(names, size);
        change(&mut start);
        Self {
            screen: Screen::new(start, at(0)),
            size,
            now: 0,
        }
    }

    fn tell(&mut self, message: Message) -> &mut Self {
        update(&mut self.screen, message, at(self.now));
        self
    }

    fn tell_effects(&mut self, message: &Message) -> Vec<Effect> {
        update(&mut self.screen, message.clone(), at(self.now))
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

    fn control(&mut self, letter: char) -> &mut Self {
        let event = KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        self.tell(Message::Input(vec![Input::Key(event)]))
    }

    fn state(&mut self, index: u32, state: SiteState) -> &mut Self {
        self.tell(Message::Engine(Event::Site {
            site: SiteId(index),
            state: Box::new(state),
        }))
    }

    fn terminal(&mut self) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(self.size.0, self.size.1)).unwrap();
        self.screen.model.arrange(at(self.now));
        terminal.draw(|frame| view::draw(&self.screen, frame)).unwrap();
        terminal
    }

    /// What stands on the screen, and below each line a letter for the style of each character; what the letters mean
    /// comes last.
    fn styled(&mut self) -> String {
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
    fn picture(&mut self) -> String {
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
    let name = match (style.fg.unwrap_or_default(), style.add_modifier) {
        (Color::Reset, attributes) if attributes.is_empty() => return ' ',
        (colour, attributes) => format!("{colour} {attributes:?}"),
    };
    let place = known.iter().position(|style| *style == name).unwrap_or_else(|| {
        known.push(name);
        known.len() - 1
    });
    ('a'..).nth(place).unwrap()
}

fn answer<V>(verdict: V, http: u16, detail: &str) -> Answer<V> {
    Answer {
        verdict,
        http: Some(http),
        took: Duration::from_millis(84),
        retry_after: None,
        detail: CleanText::note(detail),
        alarm: false,
    }
}

/// A site that was asked for its key, then pushed to, then looked at.
struct Story(SiteState);

impl Story {
    fn serving(old: &PublishableKey) -> Self {
        Self(SiteState::default()).looks(0, LookVerdict::Serves(old.clone()), 200)
    }

    fn looks(mut self, seconds: u64, verdict: LookVerdict, http: u16) -> Self {
        let policy = Policy::default();
        self.0.order_look(None, 1, at(seconds));
        self.0.calling(Call::Look, &policy, at(seconds));
        self.0
            .looked(&answer(verdict, http, ""), &policy, at(seconds), 0.5);
        self
    }

    fn queued(mut self) -> Self {
        let allow = Allow {
            mode_change: true,
            ..Allow::default()
        };
        self.0.order_push(new_key(), allow, false, at(10));
        self
    }

    fn sending(self) -> Self {
        let mut queued = self.queued();
        queued.0.calling(Call::Put, &Policy::default(), at(12));
        queued
    }

    fn answered(self, verdict: PutVerdict, http: u16, detail: &str) -> Self {
        let mut sent = self.sending();
        let answer = answer(verdict, http, detail);
        sent.0.put_answered(&answer, &Policy::default(), at(13), 0.5);
        sent
    }

    fn shows(mut self, seconds: u64, verdict: LookVerdict) -> Self {
        let policy = Policy::default();
        self.0.calling(Call::Look, &policy, at(seconds));
        self.0
            .looked(&answer(verdict, 200, ""), &policy, at(seconds), 0.5);
        self
    }
}

fn run(phase: RunPhase) -> RunInfo {
    RunInfo {
        id: RunId(12),
        key: new_key(),
        phase,
        started: at(10),
        ended: None,
        puts: 9,
    }
}

/// In mid-run: a site in each state that an operator meets.
fn amid_a_run(size: (u16, u16)) -> Trial {
    themed_run(size, Theme::DEFAULT)
}

fn themed_run(size: (u16, u16), theme: Theme) -> Trial {
    let old = key("live", "9zQe");
    let serving = || Story::serving(&old);
    let stored = || serving().answered(PutVerdict::Stored, 200, "");
    let states = [
        serving().answered(PutVerdict::Problem(Problem::RefusedKey), 401, "invalid_api_key"),
        stored().shows(14, LookVerdict::Serves(old.clone())),
        serving().sending(),
        stored().shows(14, LookVerdict::Serves(new_key())),
        stored()
            .shows(14, LookVerdict::Serves(new_key()))
            .shows(400, LookVerdict::Serves(new_key())),
        Story::serving(&key("test", "0000")).queued(),
        Story(SiteState::default())
            .looks(0, LookVerdict::NoKey, 404)
            .answered(
                PutVerdict::Problem(Problem::ServerError),
                500,
                "Erreur: connexion perdue",
            ),
        stored().shows(14, LookVerdict::ExposedSecret),
        stored()
            .shows(14, LookVerdict::Serves(old.clone()))
            .shows(400, LookVerdict::Serves(old.clone())),
    ];
    let mut screen = Trial::new(&NAMES, size, |start| {
        start.key = Some(new_key());
        start.options.theme = theme;
    });
    screen.now = 10;
    screen.tell(Message::Engine(Event::Run(run(RunPhase::Sending))));
    screen.now = 14;
    for (index, story) in (0..).zip(states) {
        screen.state(index, story.0);
    }
    screen
}

fn each_size(name: &str, mut show: impl FnMut((u16, u16)) -> Trial) {
    for size in SIZES {
        insta::assert_snapshot!(format!("{name}_{}x{}", size.0, size.1), show(size).picture());
    }
}

#[test]
fn at_the_start() {
    each_size("start", |size| Trial::new(&NAMES, size, |_| {}));
}

#[test]
fn amid_the_run() {
    each_size("run", amid_a_run);
}

/// Amid a run whose answers have been coming for half a minute, slower and slower; one of the last failed.
fn with_latencies(size: (u16, u16), ascii: bool) -> Trial {
    let mut screen = Trial::new(&NAMES, size, |start| {
        start.key = Some(new_key());
        start.options.ascii = ascii;
    });
    screen.now = 10;
    screen.tell(Message::Engine(Event::Run(run(RunPhase::Sending))));
    let old = key("live", "9zQe");
    for number in 0..60_u32 {
        screen.now = 10 + u64::from(number) / 2;
        let place = number % 9;
        screen.state(place, Story::serving(&old).sending().0);
        let fails = number == 55;
        screen.tell(Message::Engine(Event::Attempt(Attempt {
            run: Some(RunId(12)),
            site: SiteId(place),
            request: Request::Put,
            number: 1,
            at: at(screen.now),
            took: Duration::from_millis(if fails {
                7300
            } else {
                20 + u64::from(number * number) / 4
            }),
            http: Some(if fails { 503 } else { 200 }),
            cause: fails.then_some(Cause::ServerError),
            note: CleanText::note(if fails {
                "is broken just now (503)"
            } else {
                "stored"
            }),
        })));
        let story = Story::serving(&old);
        let answered = if fails {
            story.answered(PutVerdict::Problem(Problem::ServerError), 503, "")
        } else {
            story
                .answered(PutVerdict::Stored, 200, "")
                .shows(14, LookVerdict::Serves(new_key()))
        };
        screen.state(place, answered.0);
    }
    for site in 4..9 {
        screen.state(site, Story::serving(&old).queued().0);
    }
    screen
}

#[test]
fn how_long_requests_take_and_when_all_is_done() {
    each_size("latencies", |size| with_latencies(size, false));
    let ascii = with_latencies((120, 40), true).picture();
    assert!(ascii.lines().skip(33).all(str::is_ascii), "{ascii}");
    insta::assert_snapshot!("latencies_ascii", ascii);
}

#[test]
fn the_newest_failure_stays_until_its_site_is_well_or_a_run_begins() {
    let mut screen = with_latencies((120, 40), false);
    let failure = |screen: &mut Trial| {
        let picture = screen.picture();
        let line = picture.lines().find(|line| line.starts_with(" newest failure "));
        line.map(str::to_owned)
    };
    let newest = " newest failure 14:00:37 galerie-sud PUT 1: is broken just now (503)";
    assert_eq!(failure(&mut screen).as_deref(), Some(newest));
    // Whatever is said meanwhile.
    screen.types("e").press(KeyCode::Esc).types("r");
    let old = key("live", "9zQe");
    let stored = |showing| {
        Story::serving(&old)
            .answered(PutVerdict::Stored, 200, "")
            .shows(14, LookVerdict::Serves(showing))
    };
    screen.state(0, stored(new_key()).0);
    assert_eq!(
        failure(&mut screen).as_deref(),
        Some(newest),
        "another site is well"
    );
    screen.state(2, stored(key("live", "0ddK")).0);
    let other = " newest failure 14:00:14 port-ouest mismatch: ";
    assert!(failure(&mut screen).unwrap().starts_with(other));
    screen.state(2, stored(new_key()).0);
    assert_eq!(failure(&mut screen).as_deref(), Some(newest), "it is not mended");
    screen.state(1, stored(new_key()).0);
    assert_eq!(failure(&mut screen), None);
    let mut screen = with_latencies((120, 40), false);
    let next = RunInfo {
        id: RunId(13),
        ..run(RunPhase::Sending)
    };
    screen.tell(Message::Engine(Event::Run(next)));
    let picture = screen.picture();
    assert!(
        !picture.contains("newest failure") && !picture.contains("p50"),
        "{picture}"
    );
}

#[test]
fn the_gauge_stays_behind_the_run_with_its_state() {
    let mut screen = with_latencies((80, 24), false);
    for phase in [
        RunPhase::Paused,
        RunPhase::Halted,
        RunPhase::Settling,
        RunPhase::Settled,
    ] {
        screen.tell(Message::Engine(Event::Run(run(phase))));
        let picture = screen.picture();
        let gauge = picture.lines().nth(22).unwrap();
        assert!(gauge.contains(&format!("done 3/9  {}", phase.word())), "{gauge}");
    }
}

#[test]
fn on_eighty_columns_no_count_that_needs_attention_is_cut_off() {
    let old = key("live", "9zQe");
    let mut screen = amid_a_run((80, 24));
    let mut cancelled = Story::serving(&old).queued();
    cancelled.0.cancel(&Policy::default(), at(14));
    screen.state(4, cancelled.0);
    let none = Story(SiteState::default()).looks(0, LookVerdict::NoKey, 404);
    screen.state(3, none.0);
    let picture = screen.picture();
    let gauge = picture.lines().nth(22).unwrap();
    for count in [
        "! secret 1",
        "✗ fail 1",
        "≠ mismatch 1",
        "↻ 1",
        "∅ no_key 1",
        "■ cancel 1",
    ] {
        assert!(gauge.contains(count), "{count} in {gauge}");
    }
}

#[test]
fn the_plan_of_a_live_key_over_test_keys() {
    each_size("plan", |size| {
        let mut screen = Trial::new(&NAMES, size, |start| start.key = Some(new_key()));
        screen.state(0, Story::serving(&key("live", "9zQe")).0);
        screen.state(1, Story::serving(&new_key()).0);
        screen.state(2, Story::serving(&key("test", "0000")).0);
        screen.types("P").types("live 9");
        screen
    });
}

/// Forty sites, of which some serve the old key, the new one or a test key, some did not answer, and some are out.
fn many(size: (u16, u16)) -> Trial {
    many_with(size, false)
}

fn many_with(size: (u16, u16), ascii: bool) -> Trial {
    let names: Vec<String> = (1..=40).map(|number| format!("shop-{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut screen = Trial::new(&names, size, |start| {
        start.key = Some(new_key());
        start.options.ascii = ascii;
        let mut sites = start.sites.to_vec();
        sites[2].enabled = false;
        sites[20].mode = SiteMode::Test;
        start.sites = sites.into();
    });
    let problem = |problem| Story(SiteState::default()).looks(0, LookVerdict::Problem(problem), 200);
    for index in 0..38 {
        let story = match index {
            7 | 33 => Story::serving(&key("test", "0000")),
            11 | 12 => Story::serving(&new_key()),
            4 | 17 | 18 | 25 | 31 => problem(Problem::ConnectTimeout),
            22 => problem(Problem::Redirect),
            _ => Story::serving(&key("live", "9zQe")),
        };
        screen.state(index, story.0);
    }
    screen
}

#[test]
fn the_plan_of_many_scrolled() {
    each_size("plan_many", |size| {
        let mut screen = many(size);
        screen.types("P").types("live 36").press(KeyCode::PageDown);
        screen
    });
    insta::assert_snapshot!("plan_many_60x15", many((60, 15)).types("P").picture());
    let ascii = many_with((80, 24), true).types("P").picture();
    assert!(ascii.is_ascii(), "{ascii}");
}

#[test]
fn a_dry_run() {
    each_size("dry_run", |size| {
        let mut screen = many(size);
        screen.types("d");
        screen
    });
}

fn record(id: u64, key: PublishableKey, seconds: i64) -> RunRecord {
    let mut began = at(0);
    began.wall -= jiff::SignedDuration::from_secs(seconds);
    RunRecord {
        id: RunId(id),
        kind: Kind::Push,
        parent: None,
        key,
        by: Operator::default(),
        began,
        sent: None,
        ended: None,
        closed: false,
        live: false,
        took: None,
        clock_set: None,
        counts: BTreeMap::new(),
    }
}

/// The field offers what forty sites serve, and what two runs put out.
fn offered(size: (u16, u16)) -> Trial {
    offered_to(many(size))
}

fn offered_to(mut screen: Trial) -> Trial {
    screen.types("e").press(KeyCode::Up);
    let runs = [
        record(12, key("live", "9zQe"), 86_400),
        record(9, key("live", "Old1"), 40 * 86_400),
        record(3, key("live", "9zQe"), 90 * 86_400),
    ];
    screen.tell(Message::Read(Reading::Runs(runs.into())));
    screen
}

#[test]
fn known_keys_are_offered() {
    each_size("offered_keys", offered);
    insta::assert_snapshot!("offered_keys_60x15", offered((60, 15)).picture());
    let ascii = offered_to(many_with((80, 24), true)).picture();
    assert!(ascii.is_ascii(), "{ascii}");
}

#[test]
fn an_offered_key_is_taken_as_if_it_were_typed_and_esc_leaves_what_was_there() {
    let size = (120, 40);
    let line = |screen: &mut Trial| screen.picture().lines().nth(2).unwrap().to_owned();
    let before = line(many(size).types("e"));
    let mut screen = offered(size);
    screen.press(KeyCode::Down).press(KeyCode::Esc);
    assert_eq!(line(&mut screen), before);
    assert!(!screen.picture().contains("known keys: "), "closed");

    let mut screen = offered(size);
    let taken =
        |screen: &mut Trial| screen.tell_effects(&Message::Input(vec![Input::Key(KeyCode::Enter.into())]));
    assert_eq!(taken(&mut screen), []);
    assert!(line(&mut screen).contains("•••9zQe  ✓ live publishable key, 105 characters"));
    assert!(screen.picture().contains("Enter done"), "it is still edited");
    screen.types("sk_live_");
    assert!(
        line(&mut screen).contains("a SECRET key"),
        "{}",
        line(&mut screen)
    );

    let mut screen = offered(size);
    let text = screen.types("x").picture();
    assert!(
        !text.contains("known keys: Enter") && text.contains("Enter done"),
        "{text}"
    );
}

#[test]
fn known_keys_are_there_before_history_is_read_and_none_is_said() {
    let mut screen = many((120, 40));
    screen.types("e");
    let up = Message::Input(vec![Input::Key(KeyCode::Up.into())]);
    assert_eq!(screen.tell_effects(&up), [Effect::Read(Wanted::Runs)]);
    let text = screen.picture();
    assert!(
        text.contains("served by 28 sites") && text.contains("history is being read"),
        "{text}"
    );
    screen.tell(Message::Read(Reading::Failed("the store is locked".to_owned())));
    let text = screen.picture();
    assert!(
        text.contains("served by 28 sites") && text.contains("the store is locked"),
        "{text}"
    );

    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    screen
        .types("e")
        .press(KeyCode::Up)
        .tell(Message::Read(Reading::Runs(Vec::new())));
    let text = screen.picture();
    assert!(
        text.contains("no key is known yet") && text.contains("Enter done"),
        "{text}"
    );
}

#[test]
fn a_dry_run_without_a_key_says_what_to_do() {
    let text = Trial::new(&NAMES, (120, 40), |_| {}).types("d").picture();
    assert!(text.contains("there is no key for a dry run: press e"), "{text}");
}

#[test]
fn help_messages_and_questions() {
    let size = (120, 40);
    insta::assert_snapshot!("pause", amid_a_run(size).types("c").picture());
    insta::assert_snapshot!("quit", amid_a_run(size).types("q").picture());
    each_size("help", |size| {
        let mut screen = amid_a_run(size);
        screen.types("?");
        screen
    });
    each_size("messages", |size| {
        let mut screen = amid_a_run(size);
        screen.tell(Message::Engine(Event::Message(Told {
            at: at(14),
            level: Level::Error,
            text: "paused: the store takes no records, so nothing is sent (disk full)".to_owned(),
        })));
        screen.types("m");
        screen
    });
}

#[test]
fn the_palette_finds_an_action_and_does_what_its_key_does() {
    each_size("palette", |size| {
        let mut screen = amid_a_run(size);
        screen.types(":retry");
        screen
    });
    let mut small = amid_a_run((60, 15));
    insta::assert_snapshot!("palette_60x15", small.types(":").picture());
    let effects = |keys: &str| {
        let mut screen = amid_a_run((120, 40));
        screen.types(keys);
        let enter = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Enter))]);
        update(&mut screen.screen, enter, at(14))
    };
    let retry = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char('R')))]);
    let by_key = update(&mut amid_a_run((120, 40)).screen, retry, at(14));
    assert!(!by_key.is_empty());
    assert_eq!(effects(":retry all"), by_key);
    assert_eq!(effects(":no such thing"), Vec::new());
    // What cannot be done says why, and Esc does nothing.
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    let picture = screen.types(":push all").press(KeyCode::Enter).picture();
    assert!(picture.contains("there is no key to push"), "{picture}");
    let calm = screen.types(":history").press(KeyCode::Esc).picture();
    assert!(!calm.contains("Esc closes"), "{calm}");
}

#[test]
fn what_is_pasted_behind_a_word_of_the_palette_confirms_nothing() {
    let start = |start: &mut Start| start.key = Some(new_key());
    let mut screen = Trial::new(&NAMES, (120, 40), start);
    let paste = Message::Input(vec![Input::Paste("push all\rlive 9\r".to_owned())]);
    assert_eq!(update(&mut screen.types(":").screen, paste, at(0)), Vec::new());
    let mut screen = Trial::new(&NAMES, (120, 40), start);
    let typed = "push all\rlive 9\r".chars().map(|letter| {
        let code = match letter {
            '\r' => KeyCode::Enter,
            letter => KeyCode::Char(letter),
        };
        Input::Key(KeyEvent::from(code))
    });
    let effects = update(
        &mut screen.types(":").screen,
        Message::Input(typed.collect()),
        at(0),
    );
    assert_eq!(effects, Vec::new());
    // It is the plan that the key opens, and nothing stands in it yet.
    let plan = screen.picture();
    assert!(plan.contains("type live 9") && plan.contains("> _"), "{plan}");
}

#[test]
fn a_secret_in_the_palette_closes_it_and_is_never_drawn() {
    for paste in [true, false] {
        let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
        let secret = "sk_live_51ThisMustNeverShow";
        screen.types(":");
        if paste {
            screen.tell(Message::Input(vec![Input::Paste(secret.to_owned())]));
        } else {
            screen.types(secret);
        }
        let picture = screen.picture();
        assert!(picture.contains("dropped: a SECRET key"), "{picture}");
        assert!(
            !picture.contains("ThisMust") && !picture.contains("> sk"),
            "{picture}"
        );
    }
}

#[test]
fn a_config_changes_keys_in_dispatch_footer_palette_and_sentences() {
    let place = Place {
        path: "c.toml".as_ref(),
        home: None,
        owner_only: false,
    };
    let text = "[keys]\n\"push all\" = \"F9\"\nmessages = \"P\"\nhelp = []\n";
    let keys = bound(&config::parse(text, place).unwrap()).unwrap();
    let mut screen = Trial::new(&NAMES, (120, 40), |start| {
        start.options.keys = keys;
        start.key = Some(new_key());
    });
    let picture = screen.picture();
    assert!(
        picture.contains("F9 reviews and pushes 9") && picture.contains(" F9 push 9 "),
        "{picture}"
    );
    assert!(!picture.contains(" ? help"), "{picture}");
    assert!(screen.press(KeyCode::F(9)).picture().contains("type live 9"));
    assert!(
        screen
            .press(KeyCode::Esc)
            .types("P")
            .picture()
            .contains("messages, newest first")
    );
    assert!(
        screen
            .press(KeyCode::Esc)
            .types(":push all")
            .picture()
            .contains("push all           F9")
    );
}

#[test]
fn each_theme_and_none() {
    for theme in THEMES {
        let mut screen = themed_run((80, 24), *theme);
        insta::assert_snapshot!(format!("theme_{}", theme.name), screen.styled());
    }
}

/// The line dropped at 14:00:11; it is 14:10 now, and seven sites have their proof.
fn back_after_a_drop(size: (u16, u16), change: impl FnOnce(&mut Start)) -> Trial {
    let old = key("live", "9zQe");
    let stored = || Story::serving(&old).answered(PutVerdict::Stored, 200, "");
    let mut states = vec![
        Story::serving(&old)
            .answered(PutVerdict::Problem(Problem::RefusedKey), 401, "")
            .0,
        stored().shows(400, LookVerdict::Serves(old.clone())).0,
    ];
    let verified = || stored().shows(14, LookVerdict::Serves(new_key()));
    states.resize_with(NAMES.len(), || {
        verified().shows(400, LookVerdict::Serves(new_key())).0
    });
    let mut start = start(&NAMES, size);
    start.states = states;
    start.away_since = Some(at(11));
    change(&mut start);
    Trial {
        screen: Screen::new(start, at(600)),
        size,
        now: 600,
    }
}

#[test]
fn after_a_return_what_happened_meanwhile_comes_first() {
    let ended = |start: &mut Start| {
        start.run = Some(RunInfo {
            ended: Some(at(420)),
            ..run(RunPhase::Settled)
        });
    };
    each_size("meanwhile", |size| {
        let mut screen = back_after_a_drop(size, ended);
        screen.types("m");
        screen
    });
    // Who was there at the end is told nothing.
    let seen = back_after_a_drop((80, 24), |start| {
        ended(start);
        start.away_since = None;
    });
    let later = back_after_a_drop((80, 24), |start| {
        ended(start);
        start.away_since = Some(at(500));
    });
    for mut screen in [seen, later] {
        assert!(!screen.types("m").picture().contains("while away"));
    }
}

#[test]
fn a_run_that_went_on_tells_what_happened_meanwhile_and_its_old_messages_are_no_news() {
    let mut screen = back_after_a_drop((120, 40), |_| {});
    let message = |seconds, text: &str| {
        Message::Engine(Event::Message(Told {
            at: at(seconds),
            level: Level::Warning,
            text: text.to_owned(),
        }))
    };
    let attempt = Attempt {
        run: Some(RunId(12)),
        site: SiteId(0),
        request: Request::Put,
        number: 1,
        at: at(13),
        took: Duration::from_millis(55),
        http: Some(401),
        cause: Some(Cause::RefusedKey),
        note: CleanText::note("refuses the master key"),
    };
    screen.tell(Message::Attached(Some(holder())));
    screen.tell(Message::Engine(Event::Run(run(RunPhase::Settling))));
    screen.tell(message(300, "the second of its messages"));
    screen.tell(message(200, "the first of its messages"));
    screen.tell(Message::Engine(Event::Attempt(attempt.clone())));
    // Something that happens all the time leaves the sentence there, for as long as nobody presses a key.
    screen.now = 700;
    screen.tell(Message::Engine(Event::Attempt(Attempt {
        at: at(700),
        ..attempt
    })));
    let line = Trial::picture;
    let expected =
        "since 14:00:11, while away: run 12 has sent all, proofs are due; 1 failed, 1 mismatch, 7 verified";
    assert!(line(&mut screen).contains(expected), "{}", line(&mut screen));
    insta::assert_snapshot!("meanwhile_attached", screen.types("m").picture());
    screen.now = 710;
    screen.press(KeyCode::Esc).tell(message(710, "what is new"));
    assert!(line(&mut screen).contains("what is new"));
}

fn holder() -> Holder {
    Holder {
        run: Some(RunId(12)),
        by: Operator {
            user: CleanText::note("ops"),
            pid: 4711,
            ..Operator::default()
        },
        since: at(10).wall,
    }
}

#[test]
fn the_key_field_masks_shows_and_refuses() {
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    let mut lines = Vec::new();
    let mut note = |screen: &mut Trial| lines.push(screen.picture().lines().nth(2).unwrap().to_owned());
    note(&mut screen);
    note(screen.types("e"));
    note(screen.types("pk_live_"));
    note(screen.types("51é"));
    note(screen.control('u').types(new_key().as_str()));
    note(screen.control('r'));
    // Leaving and editing anew: what is typed or pasted replaces what stands there.
    note(screen.press(KeyCode::Enter).types("e"));
    note(screen.tell(Message::Input(vec![Input::Paste(format!(
        "{}\rq",
        key("test", "New1").as_str()
    ))])));
    note(screen.types("sk_live_x"));
    note(screen.press(KeyCode::Esc).types("e").types("pk_test_abc"));
    note(screen.control('u').types("sk_live_51ThisMustNeverShow"));
    insta::assert_snapshot!("key_field", lines.join("\n"));
}

#[test]
fn a_secret_in_the_plan_closes_it_and_leaves_the_key() {
    let mut screen = Trial::new(&NAMES, (120, 40), |start| start.key = Some(new_key()));
    screen.types("P").types("9 sk_live_51ThisMustNeverShow");
    let picture = screen.picture();
    assert!(!picture.contains("to push, then Enter"), "{picture}");
    assert!(
        picture.contains("a SECRET key was typed into the plan"),
        "{picture}"
    );
    assert!(picture.contains("✓ live publishable key"), "{picture}");
    assert!(!picture.contains("ThisMust"), "{picture}");
}

#[test]
fn without_a_config_the_screen_says_what_to_do() {
    each_size("empty", |size| {
        Trial::new(&[], size, |start| {
            start.searched = vec![
                "./config.toml".into(),
                "~/.config/stripe-propagate/config.toml".into(),
            ];
        })
    });
}

#[test]
fn a_wrong_config_has_a_screen_of_its_own() {
    let text = "[master_key]\nvalue = \"example-master-key\"\n\n[[sites]]\nname = \"boutique\"\nurl = \"http://shop.example.com\"\n\n[push]\n";
    let place = Place {
        path: "/home/ops/.config/stripe-propagate/config.toml".as_ref(),
        home: None,
        owner_only: true,
    };
    let error = config::parse(text, place).unwrap_err();
    each_size("wrong_config", |size| {
        Trial::new(&[], size, |start| start.setup.wrong = Some(Wrong::from(&error)))
    });
    // What was read before stays behind the same, when it was read again.
    let mut screen = amid_a_run((80, 24));
    screen.tell(Message::Setup(SetupNews::Wrong(Wrong::from(&error))));
    insta::assert_snapshot!("wrong_reload_80x24", screen.picture());
    // Nothing but the config can be ordered about.
    let mut bare = Trial::new(&[], (80, 24), |start| {
        start.setup.wrong = Some(Wrong::from(&error));
    });
    let before = bare.picture();
    bare.types("ePpVvRrhu+id/nsSaAfo ");
    assert_eq!(bare.picture(), before);
    let reload = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::F(5)))]);
    assert_eq!(
        update(&mut bare.screen, reload, at(0)),
        [Effect::Setup(SetupOrder::Reload)]
    );
}

/// On sites of a config, the last of which was added for this session.
fn with_a_site_of_the_session(size: (u16, u16)) -> Trial {
    Trial::new(&NAMES[..3], size, |start| {
        start.setup.file = Some("/home/ops/.config/stripe-propagate/config.toml".into());
        start.setup.added = vec![start.sites[2].url.clone()];
    })
}

#[test]
fn a_site_is_added_by_its_address() {
    each_size("add_site", |size| {
        let mut screen = with_a_site_of_the_session(size);
        screen
            .types("+")
            .types("http://q?.example.com")
            .press(KeyCode::Enter);
        screen
    });
    let size = (120, 40);
    let mut screen = with_a_site_of_the_session(size);
    screen.types("+").types("https://QUAI-neuf.example.com/");
    let press = |screen: &mut Trial, code| {
        let press = Message::Input(vec![Input::Key(KeyEvent::from(code))]);
        update(&mut screen.screen, press, at(0))
    };
    let url = SiteUrl::parse("https://quai-neuf.example.com").unwrap();
    assert_eq!(
        press(&mut screen, KeyCode::Enter),
        [Effect::Setup(SetupOrder::Add(url))]
    );
    // One that is there is named.
    screen
        .types("+")
        .types("https://maison-est.example.com")
        .press(KeyCode::Enter);
    let picture = screen.picture();
    assert!(picture.contains("maison-est is this site already"), "{picture}");
    // Nothing typed asks about what is not written yet.
    screen.press(KeyCode::Esc).types("+").press(KeyCode::Enter);
    insta::assert_snapshot!("keep_site", screen.picture());
    assert_eq!(press(&mut screen, KeyCode::Char('n')), []);
    screen.types("+").press(KeyCode::Enter);
    let added = screen.screen.model.site(SiteId(2)).url.clone();
    assert_eq!(
        press(&mut screen, KeyCode::Char('y')),
        [Effect::Setup(SetupOrder::WriteSites(vec![added.clone()]))]
    );
    assert!(screen.picture().contains("this session only"));
    screen.tell(Message::Setup(SetupNews::SitesWritten(vec![added])));
    assert!(!screen.picture().contains("this session only"));
}

#[test]
fn a_secret_in_the_place_of_an_address_is_dropped() {
    for text in [
        "sk_live_51ThisMustNeverShow",
        "https://shop.example.com/?k=rk_live_51ThisMustNeverShow",
    ] {
        let mut screen = with_a_site_of_the_session((120, 40));
        screen.types("+").types(text);
        let picture = screen.picture();
        assert!(picture.contains("typed as an address and dropped"), "{picture}");
        assert!(
            !picture.contains("add a site") && !picture.contains("ThisMust"),
            "{picture}"
        );
    }
    let mut screen = with_a_site_of_the_session((120, 40));
    screen.types("+");
    screen.tell(Message::Input(vec![Input::Paste(
        "whsec_ThisMustNeverShow".to_owned(),
    )]));
    let picture = screen.picture();
    assert!(
        picture.contains("pasted and dropped") && !picture.contains("ThisMust"),
        "{picture}"
    );
}

#[test]
fn the_sites_stay_while_a_run_goes_on() {
    for (phase, why) in [
        (RunPhase::Sending, "run 12 is sending"),
        (RunPhase::Settling, "run 12 waits for its proofs"),
    ] {
        let mut screen = amid_a_run((120, 40));
        screen.tell(Message::Engine(Event::Run(run(phase))));
        for code in [KeyCode::F(5), KeyCode::Char('+')] {
            let press = Message::Input(vec![Input::Key(KeyEvent::from(code))]);
            assert_eq!(update(&mut screen.screen, press, at(14)), []);
            let picture = screen.picture();
            assert!(
                picture.contains(why) && !picture.contains("add a site"),
                "{picture}"
            );
        }
        // Also where it has begun since the config was asked for.
        let loaded = Message::Setup(SetupNews::Loaded);
        assert_eq!(update(&mut screen.screen, loaded, at(14)), []);
    }
}

#[test]
fn a_screen_that_watches_writes_no_file() {
    let mut screen = Trial::new(&NAMES[..3], (120, 40), |start| {
        start.options.read_only = true;
        start.setup.file = Some("shops.toml".into());
        start.setup.added = vec![start.sites[2].url.clone()];
    });
    screen.types("+").press(KeyCode::Enter);
    assert!(screen.picture().contains("add a site"), "nothing is asked");
}

#[test]
fn what_was_typed_and_told_outlives_another_config() {
    let mut screen = amid_a_run((120, 40));
    screen.tell(Message::Engine(Event::Run(run(RunPhase::Settled))));
    screen.types("gj k");
    let selected = screen.screen.model.selected().unwrap();
    let name = screen.screen.model.site(selected).name.clone();
    let others = ["neu", NAMES[2], NAMES[4], NAMES[1], NAMES[0], NAMES[7], NAMES[8]];
    let setup = |newest: bool| {
        let mut start = start(&others, (80, 24));
        let url = start.sites[0].url.clone();
        start.setup.file = Some("shops.toml".into());
        start.setup.added = vec![url.clone()];
        start.setup.newest = newest.then_some(url);
        start
    };
    let mut again = Trial {
        screen: screen.screen.reopened(setup(false), at(20)),
        size: (120, 40),
        now: 20,
    };
    let model = &again.screen.model;
    assert_eq!(model.site(model.selected().unwrap()).name, name);
    assert_eq!(model.chosen(), [model.selected().unwrap()], "its mark is there");
    let picture = again.picture();
    assert!(picture.contains("live publishable key"), "{picture}");
    assert!(
        picture.contains("read again: shops.toml with 7 sites"),
        "{picture}"
    );
    assert!(again.types("m").picture().contains("run 12 begins"));
    again.screen = again.screen.reopened(setup(true), at(21));
    let picture = again.picture();
    let question = "Write https://neu.example.com to shops.toml?";
    assert!(picture.contains(question), "{picture}");
    assert_eq!(
        again.screen.model.selected(),
        Some(SiteId(0)),
        "it is under the cursor"
    );
}

#[test]
fn a_small_terminal_says_so_and_the_run_goes_on() {
    let mut screen = amid_a_run((59, 24));
    assert_eq!(screen.picture().trim_end(), "needs 60 x 15; the run goes on");
}

#[test]
fn a_terminal_without_line_drawing_gets_ascii() {
    let mut plain = Trial::new(&NAMES[..5], (120, 40), |start| {
        start.options.ascii = true;
        start.key = Some(new_key());
    });
    plain.tell(Message::Engine(Event::Run(run(RunPhase::Sending))));
    plain.state(0, Story::serving(&key("live", "9zQe")).sending().0);
    plain.types("c");
    let picture = plain.picture();
    assert!(picture.is_ascii(), "{picture}");
}

#[test]
fn a_click_puts_the_cursor_on_the_site_that_is_there() {
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    screen.tell(Message::Input(vec![Input::Click(7)]));
    let row = screen.picture().lines().nth(7).unwrap().to_owned();
    assert!(row.starts_with(" ▌ port-ouest"), "{row}");
    screen.tell(Message::Input(vec![Input::Click(30), Input::Scroll(3)]));
    assert!(screen.picture().lines().nth(10).unwrap().starts_with(" ▌ "));
}

#[test]
fn without_colours_the_cursor_row_is_still_seen() {
    let mut screen = Trial::new(&NAMES, (120, 40), |start| start.options.theme = Theme::MONOCHROME);
    let terminal = screen.terminal();
    let buffer = terminal.backend().buffer();
    let reversed = |row: u16| buffer[(5, row)].modifier.contains(Modifier::REVERSED);
    assert!(reversed(5) && !reversed(6));
}

#[test]
fn a_screen_that_is_too_small_orders_nothing() {
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    let small = Message::Resize {
        columns: 40,
        rows: 10,
    };
    screen.tell(small.clone());
    for letter in ['V', 'e', 'm', 'P'] {
        let press = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char(letter)))]);
        assert_eq!(update(&mut screen.screen, press, at(0)), Vec::new());
    }
    screen.tell(Message::Resize {
        columns: 120,
        rows: 40,
    });
    let calm = screen.picture();
    assert!(
        !calm.contains("Enter done") && !calm.contains("Esc closes"),
        "{calm}"
    );
    screen.tell(small);
    let quit = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char('q')))]);
    assert_eq!(
        update(&mut screen.screen, quit, at(0)),
        [Effect::Quit(Leave::Idle)]
    );
}

#[test]
fn a_filter_shows_what_matches_while_it_is_typed() {
    each_size("filter", |size| {
        let mut screen = amid_a_run(size);
        screen.types("/").types("key:9zqe !push:stored");
        screen
    });
}

#[test]
fn a_filter_is_kept_and_cleared() {
    let mut screen = amid_a_run((120, 40));
    screen.types("/galerie").press(KeyCode::Enter);
    let picture = screen.picture();
    assert!(
        picture.contains("galerie-sud") && !picture.contains("port-ouest"),
        "{picture}"
    );
    assert!(picture.contains("1 of 9 sites"), "{picture}");
    assert!(picture.contains("verify 1 of 9"), "{picture}");
    let picture = screen.press(KeyCode::Esc).picture();
    assert!(picture.contains("port-ouest"), "{picture}");
    let picture = screen.types("/xyz").picture();
    assert!(picture.contains("0 of 9"), "{picture}");
    let picture = screen.press(KeyCode::Esc).picture();
    assert!(picture.contains("port-ouest"), "{picture}");
}

#[test]
fn a_secret_in_the_filter_is_never_drawn() {
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    let picture = screen.types("/").types("sk_live_51ThisMustNeverShow").picture();
    assert!(
        !picture.contains("This") && picture.contains("refused and wiped"),
        "{picture}"
    );
    screen.press(KeyCode::Esc).types("/");
    let picture = screen
        .tell(Message::Input(vec![Input::Paste(
            "rk_test_51ThisMust".to_owned(),
        )]))
        .picture();
    assert!(
        !picture.contains("This") && picture.contains("refused and wiped"),
        "{picture}"
    );
}

#[test]
fn actions_go_on_the_marked_sites_and_hidden_marks_are_called_out() {
    each_size("marks", |size| {
        let mut screen = Trial::new(&NAMES, size, |start| start.key = Some(new_key()));
        screen
            .types("j  ")
            .types("/maison")
            .press(KeyCode::Enter)
            .types(" ");
        screen.types("v");
        screen
    });
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    screen.types("  ");
    let press = |letter| Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char(letter)))]);
    let looks_at = |effects: Vec<Effect>| match &effects[..] {
        [Effect::Engine(Command::Look { sites, .. })] => sites.clone(),
        other => panic!("{other:?}"),
    };
    let both = [SiteId(0), SiteId(1)];
    assert_eq!(looks_at(update(&mut screen.screen, press('v'), at(0))), both);
    screen.types("/galerie").press(KeyCode::Enter);
    assert_eq!(update(&mut screen.screen, press('v'), at(0)), []);
    assert_eq!(
        looks_at(update(&mut screen.screen, press('s'), at(0))),
        [SiteId(1)]
    );
    screen.types("v");
    assert_eq!(
        looks_at(update(&mut screen.screen, press('a'), at(0))),
        [SiteId(1), SiteId(0)]
    );
    assert_eq!(
        looks_at(update(&mut screen.screen, press('V'), at(0))),
        [SiteId(1)]
    );
    screen.types("A").types("v");
    let picture = screen.picture();
    assert!(!picture.contains("marked"), "{picture}");
}

#[test]
fn the_keys_that_are_served_are_listed_and_filter() {
    each_size("served", |size| {
        let mut screen = amid_a_run(size);
        screen.press(KeyCode::Tab);
        screen
    });
    let mut screen = amid_a_run((120, 40));
    screen.press(KeyCode::Tab).press(KeyCode::Enter);
    let picture = screen.picture();
    assert!(picture.contains("4 of 9 sites"), "{picture}");
}

#[test]
fn the_order_is_chosen_turned_and_shown() {
    each_size("sort", |size| {
        let mut screen = amid_a_run(size);
        screen.types("s");
        screen
    });
    let mut screen = amid_a_run((120, 40));
    screen.types("sj").press(KeyCode::Enter);
    let names = |screen: &mut Trial| -> Vec<String> {
        let picture = screen.picture();
        let rows = picture.lines().skip(5).take(9);
        rows.map(|row| row.chars().skip(3).take(8).collect()).collect()
    };
    let by_name = names(&mut screen);
    assert_eq!(by_name[0], "atelier-");
    assert!(screen.picture().contains("SITE▼"));
    let mut turned = names(screen.types("S"));
    assert!(screen.picture().contains("SITE▲"));
    turned.reverse();
    assert_eq!(turned, by_name);
}

#[test]
fn the_next_failed_site_is_found() {
    let mut screen = amid_a_run((120, 40));
    screen.types("sj").press(KeyCode::Enter);
    let selected = |screen: &mut Trial| screen.screen.model.selected().unwrap();
    let first = selected(screen.types("n"));
    let second = selected(screen.types("n"));
    assert_ne!(first, second);
    let calm = Trial::new(&NAMES, (120, 40), |_| {}).types("n").picture();
    assert!(calm.contains("no site failed"), "{calm}");
}
