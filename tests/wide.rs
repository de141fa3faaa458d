//! Names, notes and messages that break columns elsewhere: wide, combining and joined characters, emoji, text from
//! right to left, controls. Whatever they are, what stands beside them on the screen stands where it stands beside a
//! plain name.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use stripe_propagate::engine::{Event, Level, Message as Told};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::outcome::{Answer, Cause, LookVerdict, Problem};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::Kind;
use stripe_propagate::rules::state::{Call, Served, SiteState};
use stripe_propagate::rules::status::{Push, Verify};
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::store::{
    Operator, PlannedSite, Request, RunId, RunRecord, RunSite, Seen, SiteRun, StoredAttempt,
};
use stripe_propagate::text::{CleanText, is_hidden, width};
use stripe_propagate::tui::model::{Options, Start};
use stripe_propagate::tui::screen::Screen;
use stripe_propagate::tui::theme::Theme;
use stripe_propagate::tui::update::update;
use stripe_propagate::tui::{Effect, Input, Message, Past, Reading, Wanted, view};

fn at(seconds: u64) -> Moment {
    Moment {
        since_start: Duration::from_secs(seconds),
        wall: Timestamp::from_second(1_772_373_600).unwrap() + Duration::from_secs(seconds),
    }
}

fn key(tail: &str) -> PublishableKey {
    let padding = "Example".repeat(13);
    PublishableKey::parse(&format!("pk_live_51{padding}{tail}")).unwrap()
}

/// A name, a group or a note, as a config or a site has it.
fn odd() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "日本語の店",
        "e\u{301}te\u{301}",
        "\u{301}",
        "👩\u{200d}👩\u{200d}👧",
        "👍🏽",
        "🇫🇷",
        "🇫",
        "✈\u{fe0f}",
        "1\u{fe0f}\u{20e3}",
        "متجر",
        "سلام",
        "חנות",
        "\u{202e}evil\u{202c}",
        "\u{2066}x\u{2069}",
        "ｶﾞ",
        "क्षेत्र",
        "ไทยกำ",
        "한\u{1112}\u{1161}\u{11ab}",
        "\u{1b}[2J",
        "\0",
        "\u{9b}31m",
        "\u{7f}",
        "\u{200b}\u{feff}",
        "\u{600}",
        "\u{e01ef}",
        "⸻",
        "\u{ad}",
        " ",
        "shop",
        "x\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{30b}\u{30c}",
        "a name that is longer than any column has room for, and goes on and on",
    ]);
    let piece = prop_oneof![6 => pieces.prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
}

/// A screen with two sites, of which the first has this name, group and note.
fn screen(text: &str, size: (u16, u16), ascii: bool) -> Screen {
    let named = |name: &str, host: &str| {
        let url = SiteUrl::parse(&format!("https://{host}.example.com")).unwrap();
        Site {
            name: CleanText::new(name, 120),
            backend: url.backend().into(),
            url,
            group: Some(CleanText::note(name)),
            mode: SiteMode::Any,
            master_key: MasterKeyId(0),
            enabled: true,
        }
    };
    let sites: Arc<[Site]> = [named(text, "one"), named("plain", "two")].into();
    let states = vec![troubled(text), SiteState::default()];
    let start = Start {
        sites,
        states,
        operator: "ops@bastion".to_owned(),
        config: "shops.toml".to_owned(),
        searched: Vec::new(),
        setup: stripe_propagate::tui::setup::Setup::default(),
        run: None,
        away_since: None,
        key: Some(key("AbCd")),
        options: Options {
            rollout: stripe_propagate::rules::rollout::Settings::default(),
            ascii,
            theme: Theme::DEFAULT,
            keys: stripe_propagate::tui::actions::unchanged(),
            demo: false,
            read_only: false,
            clipboard: stripe_propagate::tui::model::Clipboard::Takes,
            zone: TimeZone::UTC,
        },
        size,
    };
    Screen::new(start, at(0))
}

/// A site that is owed a key, and answered with this.
fn troubled(text: &str) -> SiteState {
    let mut state = SiteState::default();
    let policy = Policy::default();
    state.order_look(Some(key("AbCd")), 1, at(0));
    state.calling(Call::Look, &policy, at(0));
    let answer = Answer {
        verdict: LookVerdict::Problem(Problem::ServerError),
        http: Some(500),
        took: Duration::from_millis(84),
        retry_after: None,
        detail: CleanText::note(text),
        alarm: None,
    };
    state.looked(&answer, &policy, at(0), 0.5);
    state
}

fn press(screen: &mut Screen, code: KeyCode) -> Vec<Effect> {
    let key = Message::Input(vec![Input::Key(KeyEvent::from(code))]);
    update(screen, key, at(1))
}

fn run_site(text: &str) -> RunSite {
    RunSite {
        planned: PlannedSite {
            site: SiteUrl::parse("https://one.example.com").unwrap(),
            name: CleanText::new(text, 120),
            group: None,
            left_out: None,
            key: key("AbCd"),
            serves: Served::Unknown,
        },
        push: Push::Failed(Cause::ServerError),
        verify: Verify::Unchecked,
        http: Some(500),
        puts: 1,
        before: Served::NoKey,
        before_pushed: false,
        now: Served::Unknown,
        note: CleanText::note(text),
        at: None,
    }
}

/// What the store has to tell, with this wherever text can stand.
fn told(wanted: &Wanted, text: &str) -> Reading {
    let site = SiteUrl::parse("https://one.example.com").unwrap();
    match wanted {
        Wanted::Runs => Reading::Runs(vec![RunRecord {
            id: RunId(3),
            kind: Kind::Push,
            parent: None,
            key: key("AbCd"),
            by: Operator {
                user: CleanText::note(text),
                ..Operator::default()
            },
            began: at(0),
            sent: None,
            ended: None,
            closed: false,
            live: false,
            took: None,
            clock_set: None,
            counts: BTreeMap::new(),
        }]),
        Wanted::Run(run) => Reading::Run(*run, vec![run_site(text), run_site("plain")]),
        Wanted::Past(id) => Reading::Past(
            *id,
            Box::new(Past {
                seen: vec![Seen {
                    served: Served::NoKey,
                    first: at(0).wall,
                    last: at(1).wall,
                    pushed_by: None,
                }],
                attempts: vec![StoredAttempt {
                    run: None,
                    site,
                    request: Request::Get,
                    number: 1,
                    at: at(0).wall,
                    ended: true,
                    ms: Some(5),
                    http: Some(500),
                    cause: Some(Cause::ServerError),
                    note: CleanText::note(text),
                }],
                runs: vec![SiteRun {
                    run: RunId(3),
                    kind: Kind::Push,
                    began: at(0).wall,
                    site: run_site(text),
                }],
            }),
        ),
        other => panic!("nobody asks for {other:?} here"),
    }
}

fn drawn(screen: &mut Screen, size: (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    screen.model.arrange(at(1));
    terminal.draw(|frame| view::draw(screen, frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// Each line as the terminal gets it: its cells, those left out that a wide one before them covers.
fn lines(buffer: &Buffer) -> Vec<Vec<&str>> {
    let columns = usize::from(buffer.area.width);
    let line = |cells: &[ratatui::buffer::Cell]| -> Vec<usize> {
        let mut places = Vec::new();
        let mut place = 0;
        while place < cells.len() {
            places.push(place);
            place += width(cells[place].symbol()).max(1);
        }
        places
    };
    let rows = buffer.content.chunks(columns);
    rows.map(|cells| {
        let places = line(cells);
        places.into_iter().map(|place| cells[place].symbol()).collect()
    })
    .collect()
}

/// What holds of any picture: each line fills its columns to the last, and no terminal is told anything but to draw.
fn is_sound(buffer: &Buffer, ascii: bool) -> Result<(), TestCaseError> {
    for line in lines(buffer) {
        let columns: usize = line.iter().map(|cell| width(cell)).sum();
        prop_assert_eq!(columns, usize::from(buffer.area.width), "{}", line.concat());
        for cell in line {
            prop_assert!(!cell.chars().any(is_hidden), "{cell:?}");
            prop_assert!(!ascii || cell.is_ascii(), "{cell:?}");
            // One that is drawn one by one takes no more columns than the whole: then terminals agree.
            let one_by_one: usize = cell.chars().map(|letter| width(&letter.to_string())).sum();
            prop_assert_eq!(one_by_one, width(cell), "{:?}", cell);
        }
    }
    Ok(())
}

/// The columns of `line` between these two, as text.
fn part(buffer: &Buffer, row: u16, from: u16, to: u16) -> String {
    (from..to).map(|column| buffer[(column, row)].symbol()).collect()
}

fn find(buffer: &Buffer, row: u16, text: &str) -> u16 {
    let whole = part(buffer, row, 0, buffer.area.width);
    // On the smallest screen the last columns have no room.
    whole
        .find(text)
        .map_or(buffer.area.width, |place| u16::try_from(place).unwrap())
}

/// The rows in which a box has its sides, and where these are: none where it has no box.
fn sides(buffer: &Buffer, ascii: bool) -> Vec<(u16, u16, u16)> {
    let side = if ascii { "|" } else { "│" };
    let is_side = |row: u16, column: u16| buffer[(column, row)].symbol() == side;
    let corner =
        (0..buffer.area.height).flat_map(|row| (0..buffer.area.width).map(move |column| (column, row)));
    let top = if ascii { "+ " } else { "┌ " };
    let is_top = |(column, row): &(u16, u16)| {
        part(buffer, *row, *column, buffer.area.width).starts_with(top) && is_side(*row + 1, *column)
    };
    let Some((left, first)) = corner.into_iter().find(is_top) else {
        return Vec::new();
    };
    let right = buffer.area.width - 1 - left;
    let rows = (first + 1..buffer.area.height).take_while(|row| is_side(*row, left));
    rows.map(|row| (row, left, right)).collect()
}

/// The row of the first site in a list: before the second one's, if that is listed too.
fn first_in_list(buffer: &Buffer, ascii: bool) -> (u16, u16, u16) {
    let rows = sides(buffer, ascii);
    let is_second = |(row, left, right): &(u16, u16, u16)| {
        part(buffer, *row, left + 1, *right).trim().starts_with("plain")
    };
    let second = rows.iter().rposition(is_second).unwrap_or(1);
    rows[second - 1]
}

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (60, 15)];
const PLAIN: &str = "a shop of which nothing is odd, with a name that is cut off everywhere, and so its note";

/// Presses the keys, and gives what is read for them.
fn opened(text: &str, size: (u16, u16), ascii: bool, keys: &[KeyCode]) -> Buffer {
    let mut screen = screen(text, size, ascii);
    let said = Message::Engine(Event::Message(Told {
        at: at(1),
        level: Level::Error,
        text: text.to_owned(),
    }));
    update(&mut screen, said, at(1));
    drawn(&mut screen, size);
    for code in keys {
        for effect in press(&mut screen, *code) {
            if let Effect::Read(wanted) = effect {
                update(&mut screen, Message::Read(told(&wanted, text)), at(1));
            }
        }
    }
    drawn(&mut screen, size)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_row_of_the_table_keeps_its_columns(text in odd(), ascii in any::<bool>()) {
        for size in SIZES {
            let [odd, plain] = [&text[..], PLAIN].map(|text| opened(text, size, ascii, &[]));
            is_sound(&odd, ascii)?;
            // Names have the room of the longest one.
            let from_now = |picture: &Buffer, row| {
                let heads = 4;
                let (now, http) = (find(picture, heads, "NOW"), find(picture, heads, "HTTP"));
                part(picture, row, now, http + 4)
            };
            let row = (0..size.1).find(|row| part(&plain, *row, 3, 9) == "a shop").unwrap();
            for row in [row, row + 1] {
                prop_assert_eq!(from_now(&odd, row), from_now(&plain, row));
                prop_assert_eq!(part(&odd, row, 0, 3), part(&plain, row, 0, 3));
            }
        }
    }

    #[test]
    fn what_stands_in_a_box_stays_in_it(
        text in odd(),
        ascii in any::<bool>(),
        size in prop::sample::select(SIZES.to_vec()),
    ) {
        use KeyCode::{Char, Enter};
        let dialogs: [&[KeyCode]; 8] = [
            &[Enter], &[Enter, Char('G')], &[Char('y')], &[Char('m')], &[Char('o')], &[Char('h')], &[Char('h'), Enter],
            &[Char('P')],
        ];
        for keys in dialogs {
            let buffer = opened(&text, size, ascii, keys);
            is_sound(&buffer, ascii)?;
            let rows = sides(&buffer, ascii);
            prop_assert!(!rows.is_empty(), "{keys:?}");
            let side = if ascii { "|" } else { "│" };
            for (row, left, right) in rows {
                prop_assert_eq!(buffer[(left, row)].symbol(), side);
                prop_assert_eq!(buffer[(right, row)].symbol(), side, "{:?}", keys);
            }
        }
    }

    #[test]
    fn what_follows_a_name_in_a_list_stands_where_it_always_does(text in odd(), ascii in any::<bool>()) {
        use KeyCode::{Char, Enter};
        let lists: [(&[KeyCode], &str); 3] = [
            (&[Char('o')], "pk_live_"),
            (&[Char('h'), Enter], "failed"),
            (&[Char('P')], "not seen"),
        ];
        for (keys, behind) in lists {
            let size = (120, 40);
            let [odd, plain] = [&text[..], PLAIN].map(|text| opened(text, size, ascii, keys));
            let (row, left, right) = first_in_list(&plain, ascii);
            let from = (left..right)
                .find(|column| part(&plain, row, *column, right).starts_with(behind))
                .unwrap();
            let (row, ..) = first_in_list(&odd, ascii);
            let to = from + u16::try_from(behind.len()).unwrap();
            prop_assert_eq!(part(&odd, row, from, to), behind, "{:?}", keys);
        }
    }
}

#[test]
fn a_site_with_a_group_of_its_own_is_asked_for_by_its_place() {
    let mut screen = screen("日本語の店", (80, 24), false);
    assert_eq!(
        press(&mut screen, KeyCode::Enter),
        [Effect::Read(Wanted::Past(SiteId(0)))]
    );
}
