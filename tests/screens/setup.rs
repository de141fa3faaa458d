//! Where the sites come from: a config that is wrong, one that is read again, and sites that are added.

use crossterm::event::{KeyCode, KeyEvent};
use stripe_propagate::config::{self, ConfigError, FailedSource, Place, RowWarning};
use stripe_propagate::engine::{Command, Event, RunInfo};
use stripe_propagate::rules::outcome::{LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::plan::ListChange;
use stripe_propagate::rules::run::{Kind, RunPhase};
use stripe_propagate::site::{SiteId, SiteUrl};
use stripe_propagate::store::{Holder, Operator, RunId};
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::model::Start;
use stripe_propagate::tui::screen::Screen;
use stripe_propagate::tui::setup::{SetupNews, SetupOrder, Wrong};
use stripe_propagate::tui::update::{open, update};
use stripe_propagate::tui::{Effect, Input, Leave, Message};

use super::questions::left_behind;
use super::stories::{Story, amid_a_run, amid_a_run_of, run};
use super::trial::{Display, NAMES, Trial, at, key, new_key, start};

fn error() -> ConfigError {
    let text = "[master_key]\nvalue = \"example-master-key\"\n\n[[sites]]\nname = \"boutique\"\nurl = \"http://shop.example.com\"\n\n[push]\n";
    let place = Place {
        path: "/home/ops/.config/stripe-propagate/config.toml".as_ref(),
        home: None,
        owner_only: true,
    };
    config::parse(text, place).unwrap_err()
}

/// A config that is wrong when the screen opens.
pub(super) fn wrong_config(display: Display) -> Trial {
    Trial::new(&[], display, |start| {
        start.setup.wrong = Some(Wrong::from(&error()));
    })
}

/// One that is wrong when it is read again: what was read before stays behind.
pub(super) fn wrong_reload(display: Display) -> Trial {
    let mut screen = amid_a_run(display);
    screen.tell(Message::Setup(SetupNews::Wrong(Wrong::from(&error()))));
    screen
}

/// An address that is none.
pub(super) fn add_site(display: Display) -> Trial {
    let mut screen = with_a_site_of_the_session(display);
    screen
        .types("+")
        .types("http://q?.example.com")
        .press(KeyCode::Enter);
    screen
}

/// Whether a site that was added is to be written to the config.
pub(super) fn keep_site(display: Display) -> Trial {
    let mut screen = with_a_site_of_the_session(display);
    screen.types("+").press(KeyCode::Enter);
    screen
}

#[test]
fn a_wrong_config_has_a_screen_of_its_own() {
    // Nothing but the config can be ordered about.
    let mut bare = wrong_config((80, 24).into());
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
fn with_a_site_of_the_session(display: impl Into<Display>) -> Trial {
    Trial::new(&NAMES[..3], display, |start| {
        start.setup.file = Some("/home/ops/.config/stripe-propagate/config.toml".into());
        start.setup.added = vec![start.sites[2].url.clone()];
    })
}

#[test]
fn a_site_is_added_by_its_address() {
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
    let question = "Write https://port-ouest.example.com to";
    assert!(screen.picture().contains(question), "{}", screen.picture());
    assert_eq!(press(&mut screen, KeyCode::Char('n')), []);
    screen.types("+").press(KeyCode::Enter);
    let added = screen.screen.model.site(SiteId(2)).url.clone();
    assert_eq!(
        press(&mut screen, KeyCode::Char('y')),
        [Effect::Setup(SetupOrder::WriteSites {
            file: "/home/ops/.config/stripe-propagate/config.toml".into(),
            urls: vec![added.clone()]
        })]
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
        let mut start = start(&others, (80, 24).into());
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
        picture.contains("read again: 7 sites, 3 gone (quai-neuf, 日本語の店, page-blanche), 1 new (neu)"),
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

/// What comes of a message that the config was read.
fn loaded(screen: &mut Trial) -> Vec<Effect> {
    screen.tell_effects(&Message::Setup(SetupNews::Loaded))
}

fn presses(screen: &mut Trial, code: KeyCode) -> Vec<Effect> {
    screen.tell_effects(&Message::Input(vec![Input::Key(KeyEvent::from(code))]))
}

#[test]
fn another_config_takes_nothing_away_under_what_is_being_typed() {
    let reload = [Effect::Quit(Leave::Reload)];
    // A filter, the key field, a name in the palette, a page that is read, the address of another site.
    for (opens, closes) in [
        ("/ver", KeyCode::Enter),
        ("epk_", KeyCode::Enter),
        (":ver", KeyCode::Esc),
        ("m", KeyCode::Esc),
        ("+https://q", KeyCode::Esc),
    ] {
        let mut screen = with_a_site_of_the_session((120, 40));
        let asked = presses(&mut screen, KeyCode::F(5));
        assert_eq!(asked, [Effect::Setup(SetupOrder::Reload)]);
        assert!(screen.picture().contains("reading the config"), "{opens}");
        screen.types(opens);
        assert_eq!(loaded(&mut screen), [], "{opens}");
        let picture = screen.picture();
        let told = "it is taken when what is open is closed";
        assert!(opens == "m" || picture.contains(told), "{picture}");
        assert_eq!(
            presses(&mut screen, KeyCode::Char('q')).len(),
            usize::from(opens == "m"),
            "{opens}"
        );
        if opens != "m" {
            assert_eq!(presses(&mut screen, closes), reload, "{opens}");
        }
    }
    assert_eq!(loaded(&mut with_a_site_of_the_session((120, 40))), reload);
    // What was read and is wrong by now is not taken when something closes.
    let mut screen = with_a_site_of_the_session((120, 40));
    screen.types("/ver");
    assert_eq!(loaded(&mut screen), []);
    screen.tell(Message::Setup(SetupNews::Wrong(Wrong::from(&error()))));
    assert_eq!(presses(&mut screen, KeyCode::Esc), []);
    assert_eq!(presses(&mut screen, KeyCode::Esc), []);
}

/// On other sites than before.
fn on_others(change: impl FnOnce(&mut Start)) -> Start {
    let mut start = start(&[NAMES[0], NAMES[2]], (120, 40).into());
    start.setup.file = Some("shops.toml".into());
    change(&mut start);
    start
}

#[test]
fn marks_on_sites_that_are_gone_are_told() {
    for (marks, told) in [
        (" ", None),
        ("j ", Some("1 mark was on a site that is gone; ")),
        ("a", Some("1 mark was on a site that is gone; ")),
    ] {
        let mut screen = with_a_site_of_the_session((120, 40));
        screen.types("gs").press(KeyCode::Enter).types(marks);
        screen.screen = screen.screen.reopened(on_others(|_| ()), at(20));
        let picture = screen.picture();
        let gone = told.unwrap_or("with 2 sites");
        assert!(picture.contains(gone), "{marks:?}: {picture}");
        assert_eq!(
            picture.contains("is gone"),
            told.is_some(),
            "{marks:?}: {picture}"
        );
    }
}

#[test]
fn another_file_and_another_log_are_told() {
    let mut screen = with_a_site_of_the_session((120, 40));
    screen.screen = screen
        .screen
        .reopened(on_others(|start| start.setup.log_waits = true), at(20));
    let picture = screen.types("m").picture();
    for told in [
        "another config is read now: shops.toml",
        "its [log] is another one",
    ] {
        assert!(picture.contains(told), "{picture}");
    }
}

#[test]
fn what_is_offered_and_still_read_does_not_outlive_the_store_that_it_is_read_from() {
    let mut screen = amid_a_run((120, 40));
    screen.types("e").press(KeyCode::Up);
    assert!(screen.picture().contains("history is being read"));
    screen.screen = screen.screen.reopened(on_others(|_| ()), at(20));
    let picture = screen.picture();
    assert!(!picture.contains("history is being read"), "{picture}");
}

#[test]
fn what_happened_while_away_outlives_another_config() {
    let mut screen = Trial::opened(&NAMES[..3], (120, 40), 30, |start| {
        start.away_since = Some(at(10));
        start.run = Some(RunInfo {
            ended: Some(at(20)),
            ..run(RunPhase::Settled)
        });
    });
    assert!(screen.picture().contains("while away: run 12 settled"));
    screen.screen = screen.screen.reopened(on_others(|_| ()), at(40));
    screen.now = 40;
    let picture = screen.types("m").picture();
    let line_of = |text: &str| picture.lines().position(|line| line.contains(text)).unwrap();
    assert!(
        line_of("while away: run 12 settled") < line_of("read again"),
        "it stays on top: {picture}"
    );
}

#[test]
fn a_screen_that_watches_says_of_no_retry_that_it_happens() {
    let mut screen = amid_a_run((120, 40));
    let mut watches = amid_a_run_of((120, 40), |start| start.options.read_only = true);
    for (screen, says) in [(&mut screen, true), (&mut watches, false)] {
        screen.types("R").press(KeyCode::Esc).types("m");
        let picture = screen.picture();
        assert_eq!(picture.contains("retries 2 sites of run 12"), says, "{picture}");
    }
    assert!(watches.picture().contains("this screen is read-only"));
}

#[test]
fn what_a_screen_looks_at_when_it_opens_is_allowed_to_it() {
    let mut start = start(&NAMES[..3], (120, 40).into());
    start.setup.newest = Some(start.sites[1].url.clone());
    let looked = |effects: Vec<Effect>| -> Vec<Vec<SiteId>> {
        let sites = |effect| match effect {
            Effect::Engine(Command::Look { sites, .. }) => sites,
            other => panic!("{other:?}"),
        };
        effects.into_iter().map(sites).collect()
    };
    let mut screen = Screen::new(start, at(0));
    assert_eq!(looked(open(&mut screen, false)), [[SiteId(1)]]);
    let all = looked(open(&mut screen, true));
    assert_eq!(
        all,
        [vec![SiteId(1)], vec![SiteId(0), SiteId(2)]],
        "none of them twice"
    );
    let holder = Holder {
        run: None,
        by: Operator::default(),
        since: at(0).wall,
        is_elsewhere: false,
        free_in: None,
    };
    let mut watches = Trial::new(&NAMES[..3], (120, 40), |start| start.options.read_only = true);
    assert_eq!(looked(open(&mut watches.screen, true)).len(), 1);
    watches.tell(Message::Attached(Some(holder)));
    assert_eq!(open(&mut watches.screen, true), []);
}

#[test]
fn what_is_typed_on_when_a_site_was_added_answers_no_question() {
    let mut screen = with_a_site_of_the_session((120, 40));
    screen.now = 20;
    screen.types("+https://q").press(KeyCode::Esc);
    let newest = on_others(|start| start.setup.newest = Some(start.sites[0].url.clone()));
    screen.screen = screen.screen.reopened(newest, at(20));
    assert!(screen.picture().contains("Write https://"));
    assert_eq!(presses(&mut screen, KeyCode::Char('y')), []);
    screen.now = 21;
    assert_eq!(presses(&mut screen, KeyCode::Char('y')).len(), 1);
}

/// What a source could not bring, and what is odd with what it brought.
fn with_a_source_that_failed(start: &mut Start) {
    start.setup.failed = vec![FailedSource {
        source: CleanText::note("dashboard"),
        reason: CleanText::note("it answers 503"),
    }];
    start.setup.warnings = (1..=300)
        .map(|line| RowWarning {
            source: CleanText::note("shops"),
            place: Some(format!("line {line}")),
            text: CleanText::note("has no url"),
        })
        .collect();
}

#[test]
fn a_source_that_failed_is_told_and_each_plan_asks_for_its_word() {
    let mut screen = Trial::new(&NAMES[..3], (120, 40), |start| {
        with_a_source_that_failed(start);
        start.key = Some(new_key());
    });
    let told = "source dashboard: it answers 503; its sites are missing";
    assert!(screen.picture().contains(told), "{}", screen.picture());
    let picture = screen.types("m").picture();
    assert!(
        picture.contains("300 warnings about the list of sites: m shows all"),
        "{picture}"
    );
    assert!(picture.contains("shops, line 200: has no url"), "{picture}");
    screen.press(KeyCode::Esc);
    let picture = screen.types("P").picture();
    assert!(
        picture.contains("1 source could not be read: sites that only stand there get nothing"),
        "{picture}"
    );
    let live = "live 3 source";
    assert!(picture.contains(live), "{picture}");
    screen.types("live 3").press(KeyCode::Enter);
    assert!(screen.screen.dialog().is_some(), "that is not all of it");
    screen.types(" source");
    let input = Message::Input(vec![Input::Key(KeyCode::Enter.into())]);
    let effects = screen.tell_effects(&input);
    assert!(matches!(effects[..], [Effect::Engine(_)]), "{effects:?}");
}

#[test]
fn only_a_push_from_here_answers_the_question_about_the_list() {
    let gone: Vec<SiteUrl> = (0..9)
        .map(|number| SiteUrl::parse(&format!("https://gone{number}.example.com")).unwrap())
        .collect();
    let asks = |kind, began| {
        let mut screen = Trial::opened(&NAMES[..3], (120, 40), 5, |start| {
            start.key = Some(new_key());
            start.setup.list_change = ListChange::since(Some(&gone), &start.sites);
        });
        screen.tell(Message::Engine(Event::Run(RunInfo {
            kind,
            started: at(began),
            ..run(RunPhase::Settled)
        })));
        screen.types("P").picture().contains(" list")
    };
    assert!(asks(Kind::Retry, 10), "a retry is not asked about it");
    assert!(asks(Kind::Rollback, 10));
    assert!(asks(Kind::Push, 1), "it was begun before, and is only taken up");
    assert!(!asks(Kind::Push, 10));
}

#[test]
fn the_line_of_the_served_keys_says_that_a_source_is_missing() {
    let settled = |change: fn(&mut Start)| {
        let proven = || {
            Story::serving(&key("live", "9zQe"))
                .answered(PutVerdict::Stored, 200, "")
                .shows(14, LookVerdict::Serves(new_key()))
                .shows(400, LookVerdict::Serves(new_key()))
        };
        let mut screen = Trial::opened(&NAMES[..3], (120, 40), 600, |start| {
            start.states = (0..3).map(|_| proven().0).collect();
            change(start);
        });
        screen.tell(Message::Engine(Event::Run(run(RunPhase::Settled))));
        let picture = screen.picture();
        picture
            .lines()
            .find(|line| line.starts_with(" serving"))
            .unwrap()
            .to_owned()
    };
    let whole = settled(|_| ());
    assert!(whole.contains("…9zQe may expire"), "{whole}");
    let lacking = settled(with_a_source_that_failed);
    assert!(
        lacking.contains("do not expire …9zQe yet: 1 source could not be read"),
        "{lacking}"
    );
}

#[test]
fn nothing_is_planned_and_no_run_goes_on_without_the_canary_that_is_named() {
    let words = "nothing sent: a site that rollout.canary names is missing";
    let lacks = |lacks: bool| {
        move |start: &mut Start| {
            with_a_source_that_failed(start);
            start.setup.lacks_canary = lacks;
            start.key = Some(new_key());
        }
    };
    let press = |letter| Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char(letter)))]);
    // A push, and a retry of what failed in an earlier run.
    for letter in ['P', 'R'] {
        for is_missing in [false, true] {
            let mut screen = Trial::new(&NAMES[..3], (120, 40), |start| {
                lacks(is_missing)(start);
                let refused = PutVerdict::Problem(Problem::RefusedKey);
                let failed = Story::serving(&key("live", "9zQe")).answered(refused, 401, "");
                start.states = vec![failed.0; 3];
                for state in &mut start.states {
                    (state.run, state.in_run) = (Some(RunId(11)), false);
                }
            });
            assert_eq!(screen.tell_effects(&press(letter)), [], "{letter}");
            let picture = screen.picture();
            assert_eq!(picture.contains(words), is_missing, "{letter}: {picture}");
            assert_eq!(
                screen.screen.dialog().is_none(),
                is_missing,
                "{letter}: {picture}"
            );
        }
    }
    // A dry run sends nothing.
    let mut screen = Trial::new(&NAMES[..3], (120, 40), lacks(true));
    screen.types("d");
    assert!(screen.screen.dialog().is_some(), "{}", screen.picture());
    // A run that was left may go to all others.
    for is_missing in [false, true] {
        let mut screen = Trial::new(&NAMES, (120, 40), lacks(is_missing));
        left_behind(&mut screen);
        let effects = screen.tell_effects(&press('g'));
        assert_eq!(effects.is_empty(), is_missing, "{effects:?}");
        assert_eq!(screen.picture().contains(words), is_missing);
    }
}
