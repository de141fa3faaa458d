use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::rules::moment::Moment;
use crate::rules::plan::{ListChange, PlanAction};
use crate::rules::state::{Served, SiteState};
use crate::rules::status::SkipReason;
use crate::site::{MasterKeyId, Site, SiteMode, SiteUrl};
use crate::text::CleanText;
use crate::tui::field::KeyField;
use crate::tui::keys::Bindings;
use crate::tui::model::{Options, Start};
use crate::tui::theme::Theme;

mod choices;

const SIZES: [(u16, u16); 3] = [(60, 15), (80, 24), (120, 40)];

fn key(mode: &str, tail: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_{mode}_51ExampleExampleExampleExample{tail}")).unwrap()
}

fn site(index: usize) -> Site {
    let url = SiteUrl::parse(&format!("https://shop{index}.example.com")).unwrap();
    Site {
        name: CleanText::note(&format!("shop{index}")),
        backend: url.backend().into(),
        url,
        group: None,
        mode: SiteMode::Any,
        master_key: MasterKeyId(0),
        enabled: true,
    }
}

/// A screen of so many sites, the first of which serve a key of the other mode, with a live key in the field.
fn model(sites: usize, other_mode: usize, size: (u16, u16)) -> Model {
    let sites: Arc<[Site]> = (0..sites).map(site).collect();
    let mut states = vec![SiteState::default(); sites.len()];
    for state in &mut states[..other_mode] {
        state.now = Served::Key(key("test", "0000"));
    }
    let options = Options {
        rollout: crate::rules::rollout::Settings::default(),
        ascii: false,
        theme: Theme::DEFAULT,
        keys: Bindings::new(Vec::new()),
        demo: false,
        read_only: false,
        clipboard: crate::tui::model::Clipboard::Takes,
        zone: TimeZone::UTC,
    };
    let start = Start {
        sites,
        states,
        operator: "ops@bastion".to_owned(),
        config: "shops.toml".to_owned(),
        searched: Vec::new(),
        setup: crate::tui::setup::Setup::default(),
        run: None,
        away_since: None,
        key: Some(key("live", "AbCd")),
        options,
        size,
    };
    let now = Moment {
        since_start: Duration::ZERO,
        wall: Timestamp::UNIX_EPOCH,
    };
    Model::new(start, now)
}

fn push(model: &Model) -> PlanDialog {
    PlanDialog::of_push(model, &model.pushed_by_all()).unwrap()
}

#[test]
fn a_list_that_changed_much_asks_for_its_word() {
    let mut model = model(7, 0, (80, 24));
    let before: Vec<SiteUrl> = (2..9).map(|index| site(index).url).collect();
    model.setup.list_change = ListChange::since(Some(&before), &model.sites);
    let Confirm::Phrase(without) = push(&model).plans.confirm else {
        panic!("4 changed sites of 7 are few, and the key is live")
    };
    assert_eq!(without, "live 7");
    let before: Vec<SiteUrl> = (4..11).map(|index| site(index).url).collect();
    model.setup.list_change = ListChange::since(Some(&before), &model.sites);
    assert_eq!(
        push(&model).plans.confirm,
        Confirm::Phrase("live 7 list".to_owned())
    );
}

fn dry_run(model: &Model) -> PlanDialog {
    PlanDialog::of_dry_run(model, &model.pushed_by_all()).unwrap()
}

fn is_harmless(pressed: &Pressed) -> bool {
    match pressed {
        Pressed::Stays => true,
        Pressed::StaysAnd(effects) | Pressed::Closes(effects) => effects.is_empty(),
        Pressed::Becomes(_) | Pressed::Does(..) | Pressed::Orders(..) | Pressed::Runs(_) => false,
    }
}

fn picture(dialog: &PlanDialog, model: &Model) -> String {
    let (columns, rows) = model.size;
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(dialog, model, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content.chunks(columns.into());
    let lines = lines.map(|cells| {
        cells
            .iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect::<String>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn typed(dialog: &PlanDialog) -> &str {
    match &dialog.asks {
        Asks::Word(phrase) => &phrase.typed,
        Asks::Nothing => "",
    }
}

fn types(dialog: &mut PlanDialog, model: &mut Model, text: &str) {
    for letter in text.chars() {
        let pressed = dialog.press(model, KeyEvent::from(KeyCode::Char(letter)));
        assert!(matches!(pressed, Pressed::Stays), "{letter}");
    }
}

fn named_key() -> impl Strategy<Value = KeyCode> {
    prop::sample::select(vec![
        KeyCode::Enter,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::Backspace,
        KeyCode::Tab,
        KeyCode::Delete,
        KeyCode::Left,
        KeyCode::F(5),
    ])
}

fn any_press() -> impl Strategy<Value = KeyEvent> {
    let letters = prop::sample::select(
        "live 24over-testyY09PRrgGjkdun \u{e9}"
            .chars()
            .collect::<Vec<_>>(),
    );
    let code = prop_oneof![
        named_key(),
        letters.prop_map(KeyCode::Char),
        any::<char>().prop_map(KeyCode::Char)
    ];
    let modifiers = prop::sample::select(vec![
        KeyModifiers::NONE,
        KeyModifiers::SHIFT,
        KeyModifiers::CONTROL,
        KeyModifiers::ALT,
    ]);
    (code, modifiers).prop_map(|(code, modifiers)| KeyEvent::new(code, modifiers))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dry_run_does_nothing_whatever_is_pressed(
        presses in prop::collection::vec(any_press(), 1..60), sites in 1_usize..8, other_mode in 0_usize..2,
        test_key in any::<bool>(),
    ) {
        let mut model = model(sites, other_mode, (80, 24));
        if test_key {
            // A few sites take a letter.
            model.field = KeyField::new(Some(key("test", "AbCd")));
        }
        let mut dialog = dry_run(&model);
        for press in presses {
            let pressed = dialog.press(&mut model, press);
            prop_assert!(is_harmless(&pressed), "{press:?}: {pressed:?}");
        }
    }

    #[test]
    fn keys_that_are_no_letters_never_confirm(
        codes in prop::collection::vec(named_key(), 1..60), sites in 1_usize..8, other_mode in 0_usize..2,
        test_key in any::<bool>(),
    ) {
        let mut model = model(sites, other_mode, (80, 24));
        if test_key {
            // A few sites take a letter.
            model.field = KeyField::new(Some(key("test", "AbCd")));
        }
        let mut dialog = push(&model);
        for code in codes {
            let pressed = dialog.press(&mut model, KeyEvent::from(code));
            prop_assert!(matches!(pressed, Pressed::Stays), "{code:?}: {pressed:?}");
        }
    }
}

#[test]
fn the_words_of_the_plan_confirm_it_also_when_it_was_scrolled() {
    let mut model = model(300, 0, (80, 24));
    let mut dialog = push(&model);
    for code in [KeyCode::End, KeyCode::PageUp] {
        dialog.press(&mut model, KeyEvent::from(code));
    }
    types(&mut dialog, &mut model, "live 300");
    let pressed = dialog.press(&mut model, KeyEvent::from(KeyCode::Enter));
    let Pressed::Closes(effects) = pressed else {
        panic!("{pressed:?}");
    };
    let [Effect::Engine(Command::Push(plan))] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(plan.puts(), 300);
    assert_eq!(*plan, dialog.plans.careful);
}

#[test]
fn letters_and_digits_belong_to_the_word_and_control_scrolls() {
    let mut model = model(300, 0, (80, 24));
    let mut dialog = push(&model);
    types(&mut dialog, &mut model, "jkgGqdu 0123");
    assert_eq!((typed(&dialog), dialog.scroll), ("jkgGqdu 0123", 0));
    let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    dialog.press(&mut model, control('d'));
    let half = dialog.scroll;
    assert!(half > 0);
    dialog.press(&mut model, control('d'));
    assert_eq!((typed(&dialog), dialog.scroll), ("jkgGqdu 0123", 2 * half));
    dialog.press(&mut model, control('w'));
    assert_eq!(typed(&dialog), "jkgGqdu ");
}

#[test]
fn control_u_wipes_what_was_typed_and_scrolls_where_nothing_was() {
    let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    let mut model = model(30, 0, (80, 24));
    let mut dialog = push(&model);
    dialog.press(&mut model, control('d'));
    let down = dialog.scroll;
    types(&mut dialog, &mut model, "live 3");
    dialog.press(&mut model, control('u'));
    assert_eq!((typed(&dialog), dialog.scroll), ("", down));
    dialog.press(&mut model, control('u'));
    assert!(dialog.scroll < down);
}

#[test]
fn a_wrong_word_sends_nothing_and_says_so() {
    let mut model = model(6, 1, (80, 24));
    let mut dialog = push(&model);
    for words in ["live 6", "5", "live5", "over-test"] {
        types(&mut dialog, &mut model, words);
        let pressed = dialog.press(&mut model, KeyEvent::from(KeyCode::Enter));
        assert!(matches!(pressed, Pressed::Stays), "{words}");
        assert!(
            picture(&dialog, &model).contains("these are not the words above"),
            "{words}"
        );
        while !typed(&dialog).is_empty() {
            dialog.press(&mut model, KeyEvent::from(KeyCode::Backspace));
        }
    }
}

#[test]
fn what_is_dangerous_and_what_is_asked_is_seen_at_every_size() {
    for size in SIZES {
        let mut model = model(40, 3, size);
        // All remarks that there are, besides.
        let sites: Vec<Site> = model
            .sites
            .iter()
            .cloned()
            .map(|mut site| {
                site.enabled = site.name.as_str() != "shop9";
                site
            })
            .collect();
        model.sites = sites.into();
        let mut dialog = push(&model);
        let mut text = picture(&dialog, &model);
        for seen in [
            "LIVE pk_live_",
            "36 of 40 sites get a PUT",
            "! with over-test",
            "type live 36",
            "> _",
            " of 40",
        ] {
            assert!(text.contains(seen), "{size:?} {seen}:\n{text}");
        }
        // The rest comes into view.
        let mut seen = vec![false; 40];
        let mut refused = false;
        for _ in 0..60 {
            for (index, seen) in seen.iter_mut().enumerate() {
                *seen |= text.contains(&format!("shop{index} "));
            }
            refused |= text.contains("refused by mode");
            dialog.press(&mut model, KeyEvent::from(KeyCode::Down));
            text = picture(&dialog, &model);
            assert!(
                text.contains("! with over-test") && text.contains("> _"),
                "{text}"
            );
        }
        assert!(
            seen.iter().all(|seen| *seen) && refused,
            "{size:?} {seen:?}\n{text}"
        );
    }
}

#[test]
fn a_rollback_tells_what_is_doubtful_and_what_cannot_be_put_back() {
    let mut model = model(5, 0, (120, 40));
    let (one, two) = (key("live", "9zQe"), key("live", "Old1"));
    let back = |index: u32, before: Served, was_pushed, was_changed| PutBack {
        site: SiteId(index),
        before,
        was_pushed,
        was_changed,
        later: None,
    };
    let sites = [
        back(0, Served::Key(one.clone()), true, true),
        back(1, Served::Key(one), true, true),
        back(2, Served::Key(two.clone()), false, true),
        back(3, Served::NoKey, false, true),
        back(4, Served::Key(two), true, false),
    ];
    let states: Vec<SiteState> = (0..5)
        .map(|_| {
            let mut state = SiteState::default();
            state.now = Served::Key(key("live", "AbCd"));
            state
        })
        .collect();
    model.states = states;
    let mut dialog = PlanDialog::of_rollback(&model, RunId(7), &sites).unwrap();
    let text = picture(&dialog, &model);
    for seen in [
        "plan: rollback of run 7",
        "3 of 5 sites get a PUT",
        "LIVE 2 keys go out  3 of 5 sites get a PUT",
        "to each site goes what it had",
        "1 site doubtful: what was seen there",
        "1 left out (shop3): had no key",
        "1 left out (shop4): that run changed nothing there",
        "pk_live_…AbCd → pk_live_…Old1  doubtful",
        "pk_live_…AbCd → left out       not reversible",
    ] {
        assert!(text.contains(seen), "{seen}:\n{text}");
    }
    assert!(
        text.find("doubtful\n") < text.find("shop0 "),
        "what is doubtful comes first:\n{text}"
    );
    types(&mut dialog, &mut model, "live 3");
    let pressed = dialog.press(&mut model, KeyEvent::from(KeyCode::Enter));
    let Pressed::Closes(effects) = &pressed else {
        panic!("{pressed:?}");
    };
    assert!(matches!(&effects[..], [Effect::Engine(Command::Push(plan))] if plan.parent == Some(RunId(7))));
}

#[test]
fn a_retry_of_an_earlier_run_is_told_by_its_run() {
    let model = model(6, 0, (80, 24));
    let targets: Vec<(SiteId, PublishableKey)> = model
        .all()
        .into_iter()
        .map(|id| (id, key("test", "New1")))
        .collect();
    let dialog = PlanDialog::of_retry(&model, Some(RunId(3)), &targets).unwrap();
    let text = picture(&dialog, &model);
    for seen in [
        "plan: retry of run 3",
        "TEST pk_test_…New1  6 sites get a PUT",
        "type 6 to push",
    ] {
        assert!(text.contains(seen), "{seen}:\n{text}");
    }
}

#[test]
fn a_dry_run_scrolls_by_letters_too() {
    let mut model = model(300, 0, (80, 24));
    let mut dialog = dry_run(&model);
    let mut at = |letter| {
        dialog.press(&mut model, KeyEvent::from(KeyCode::Char(letter)));
        dialog.scroll
    };
    let last = at('G');
    assert!(last > 200);
    assert_eq!((at('k'), at('j'), at('g'), at('j')), (last - 1, last, 0, 1));
}

#[test]
fn of_ten_thousand_rows_those_are_drawn_that_are_seen() {
    for size in SIZES {
        let mut model = model(10_000, 1, size);
        let mut dialog = dry_run(&model);
        assert!(picture(&dialog, &model).contains("dry run"));
        dialog.press(&mut model, KeyEvent::from(KeyCode::End));
        let text = picture(&dialog, &model);
        assert!(
            text.contains("-10000 of 10000") && text.contains("shop9999 "),
            "{text}"
        );
        dialog.press(&mut model, KeyEvent::from(KeyCode::PageUp));
        let text = picture(&dialog, &model);
        assert!(!text.contains("shop9999 "), "{text}");
        dialog.press(&mut model, KeyEvent::from(KeyCode::Home));
        assert!(picture(&dialog, &model).contains("shop0 ") || size == SIZES[0]);
    }
}

#[test]
fn a_place_that_a_smaller_screen_does_not_have_is_none() {
    let mut model = model(40, 0, (60, 15));
    let mut dialog = push(&model);
    dialog.press(&mut model, KeyEvent::from(KeyCode::End));
    model.size = (120, 40);
    assert!(picture(&dialog, &model).contains("shop39 "));
    dialog.press(&mut model, KeyEvent::from(KeyCode::Up));
    let reach = picture::reach(&dialog, &model);
    assert_eq!(dialog.scroll, reach.last.saturating_sub(1));
}

#[test]
fn a_dry_run_is_the_plan_of_a_push_and_needs_no_leave() {
    let mut model = model(6, 1, (80, 24));
    let plans = push(&model).plans;
    model.options.read_only = true;
    assert!(PlanDialog::of_push(&model, &model.all()).is_err());
    let dialog = dry_run(&model);
    assert_eq!(dialog.plans, plans);
    let one = PlanDialog::of_dry_run(&model, &[SiteId(1)]).unwrap();
    let text = picture(&one, &model);
    assert!(
        text.contains("1 site would get a PUT, of 6 in the list"),
        "{text}"
    );
    assert!(!dialog.asks_for_words());
    let text = picture(&dialog, &model);
    assert!(!text.contains("type ") && !text.contains("> "), "{text}");
    let skipped = plans
        .careful
        .rows
        .iter()
        .filter(|row| row.action == PlanAction::Skip(SkipReason::OtherMode));
    assert_eq!(skipped.count(), 1);
    model.field.edit();
    model.field.press(
        KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL),
        model.now,
    );
    assert!(
        PlanDialog::of_dry_run(&model, &model.all())
            .unwrap_err()
            .contains("press e")
    );
}
