//! What a push would meet, told site by site.

use std::time::Duration;

use crossterm::event::KeyCode;
use jiff::SignedDuration;
use stripe_propagate::config::FailedSource;
use stripe_propagate::engine::Event;
use stripe_propagate::engine::preflight::News;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, Problem};
use stripe_propagate::rules::plan::ListChange;
use stripe_propagate::rules::preflight::{self, Done, Step, StepResult};
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::site::SiteId;
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::model::Start;
use stripe_propagate::tui::{Effect, Input, Message, PreflightNews, PreflightOrder, PreflightTold};

use super::stories::{holder, run};
use super::trial::{Display, NAMES, Trial, at, key};

fn told(number: u64, told: PreflightTold) -> Message {
    Message::Preflight(PreflightNews { number, told })
}

fn found(screen: &mut Trial, number: u64, site: u32, step: Step, result: StepResult, ms: u64) {
    let done = Done {
        step,
        result,
        took: Duration::from_millis(ms),
    };
    let news = News::Step(SiteId(site), done);
    screen.tell(told(number, PreflightTold::Found(news)));
}

fn ok(text: &str) -> StepResult {
    StepResult::Ok(CleanText::note(text))
}

fn answered(verdict: LookVerdict, http: u16, detail: &str) -> StepResult {
    preflight::get(&Answer {
        verdict,
        http: Some(http),
        took: Duration::ZERO,
        retry_after: None,
        detail: CleanText::note(detail),
        alarm: None,
    })
}

/// What is found of a site whose certificate ends in so many days, up to its GET.
fn reaches(screen: &mut Trial, number: u64, site: u32, days: i64, get: impl Into<Option<StepResult>>) {
    let ends = at(0).wall + SignedDuration::from_hours(24 * days + 5);
    found(screen, number, site, Step::Dns, ok("203.0.113.7"), 3);
    found(
        screen,
        number,
        site,
        Step::Tcp,
        ok("203.0.113.7:443 takes connections"),
        12,
    );
    let certificate = preflight::certificate(Some(ends), at(0).wall);
    found(screen, number, site, Step::Tls, certificate, 21);
    if let Some(get) = get.into() {
        found(screen, number, site, Step::Get, get, 1234);
    }
}

fn over(screen: &mut Trial, number: u64, site: u32) {
    screen.tell(told(number, PreflightTold::Found(News::Over(SiteId(site)))));
}

fn serves() -> StepResult {
    answered(LookVerdict::Serves(key("live", "Old1")), 200, "")
}

/// Two are good, one will not be for long, one has no address, one is parked; the others are still to come.
pub(super) fn midway(display: Display) -> Trial {
    let mut screen = Trial::new(&NAMES, display, |_| {});
    screen.types("at").tell(told(1, PreflightTold::Begun));
    for site in [0, 1] {
        reaches(&mut screen, 1, site, 64, serves());
        over(&mut screen, 1, site);
    }
    reaches(&mut screen, 1, 2, 9, serves());
    over(&mut screen, 1, 2);
    let unknown = preflight::failed(Problem::Dns, None, &CleanText::default());
    found(&mut screen, 1, 3, Step::Dns, unknown, 8);
    for step in [Step::Tcp, Step::Tls, Step::Get] {
        found(&mut screen, 1, 3, step, StepResult::skipped("DNS failed"), 0);
    }
    over(&mut screen, 1, 3);
    let problem = LookVerdict::Problem(Problem::NotThisApi);
    let parked = answered(problem, 200, "page “This domain is parked”");
    reaches(&mut screen, 1, 8, 64, parked);
    over(&mut screen, 1, 8);
    reaches(&mut screen, 1, 5, 64, None);
    screen
}

/// All are over.
pub(super) fn done(display: Display) -> Trial {
    let mut screen = midway(display);
    for site in 4..8 {
        reaches(&mut screen, 1, site, 64, serves());
        over(&mut screen, 1, site);
    }
    screen.tell(told(1, PreflightTold::Ended));
    screen
}

/// One of them is opened.
pub(super) fn page(display: Display) -> Trial {
    let mut screen = done(display);
    screen.press(KeyCode::Enter);
    screen
}

/// Of one site alone, with its master key.
pub(super) fn one(display: Display) -> Trial {
    let mut screen = Trial::new(&NAMES, display, |_| {});
    screen.types("t").tell(told(1, PreflightTold::Begun));
    reaches(&mut screen, 1, 0, 9, serves());
    over(&mut screen, 1, 0);
    screen.tell(told(1, PreflightTold::Ended)).types("a");
    screen.tell(told(2, PreflightTold::Begun));
    reaches(&mut screen, 2, 0, 9, serves());
    let words = CleanText::note("invalid_api_key");
    let refused = preflight::failed(Problem::RefusedKey, Some(401), &words);
    found(&mut screen, 2, 0, Step::Auth, refused, 40);
    over(&mut screen, 2, 0);
    screen.tell(told(2, PreflightTold::Ended));
    screen
}

fn press(screen: &mut Trial, code: KeyCode) -> Vec<Effect> {
    screen.tell_effects(&Message::Input(vec![Input::Key(code.into())]))
}

fn begins(number: u64, site: u32, auth: bool) -> Vec<Effect> {
    let sites = vec![SiteId(site)];
    vec![Effect::Preflight(PreflightOrder::Begin { number, sites, auth })]
}

#[test]
fn closing_it_however_stops_what_is_not_begun() {
    let stops = [Effect::Preflight(PreflightOrder::Stop)];
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    screen.picture();
    assert_eq!(press(&mut screen, KeyCode::Char('t')), begins(1, 0, false));
    assert_eq!(press(&mut screen, KeyCode::Esc), stops);
    assert_eq!(press(&mut screen, KeyCode::Char('t')), begins(2, 0, false));
    // What is told of the one before is not taken for this one's.
    found(&mut screen, 1, 0, Step::Dns, ok("198.51.100.1"), 3);
    assert!(!screen.picture().contains("198.51.100.1"));
    found(&mut screen, 2, 0, Step::Dns, ok("198.51.100.2"), 3);
    assert!(screen.picture().contains("198.51.100.2"));
    let control_c =
        crossterm::event::KeyEvent::new(KeyCode::Char('c'), crossterm::event::KeyModifiers::CONTROL);
    assert_eq!(
        screen.tell_effects(&Message::Input(vec![Input::Key(control_c)])),
        stops
    );
}

#[test]
fn the_master_key_is_tried_where_a_push_could_go() {
    let mut screen = Trial::new(&NAMES, (120, 40), |_| {});
    screen.picture();
    screen.types("t");
    assert_eq!(press(&mut screen, KeyCode::Char('a')), begins(2, 0, true));
    assert_eq!(press(&mut screen, KeyCode::Char('a')), [], "one at a time");
    let why = "the master key: /root/master.key: permission denied".to_owned();
    screen.tell(told(2, PreflightTold::Refused(why)));
    let picture = screen.picture();
    assert!(
        picture.contains("the master key is not tried: the master key: /root/master.key"),
        "{picture}"
    );
    // What goes on without it goes on.
    found(&mut screen, 1, 0, Step::Dns, ok("198.51.100.1"), 3);
    assert!(screen.picture().contains("198.51.100.1"));
    assert_eq!(press(&mut screen, KeyCode::Char('a')), begins(3, 0, true));
    screen.tell(Message::Attached(Some(holder())));
    screen.tell(Message::Engine(Event::Run(run(RunPhase::Sending))));
    screen.press(KeyCode::Esc).types("t");
    assert_eq!(
        press(&mut screen, KeyCode::Char('a')),
        [],
        "no push could go from here"
    );
    let picture = screen.picture();
    assert!(picture.contains("another process is sending"), "{picture}");

    let mut watches = Trial::new(&NAMES, (120, 40), |start| start.options.read_only = true);
    watches.picture();
    assert_eq!(
        press(&mut watches, KeyCode::Char('t')),
        begins(1, 0, false),
        "a look is allowed"
    );
    assert_eq!(press(&mut watches, KeyCode::Char('a')), []);
    assert!(
        watches
            .picture()
            .contains("this screen is read-only: it tries no master key")
    );
}

#[test]
fn the_master_key_is_not_tried_on_a_list_that_a_push_would_ask_about() {
    let waits = |change: fn(&mut Start), why: &str| {
        let mut screen = Trial::new(&NAMES, (120, 40), change);
        screen.picture();
        assert_eq!(press(&mut screen, KeyCode::Char('t')), begins(1, 0, false));
        assert_eq!(press(&mut screen, KeyCode::Char('a')), [], "{why}");
        let picture = screen.picture();
        assert!(picture.contains(why), "{picture}");
    };
    let fails = |start: &mut Start| {
        let (source, reason) = (CleanText::note("shops"), CleanText::note("no answer"));
        start.setup.failed = vec![FailedSource { source, reason }];
    };
    waits(
        fails,
        "a source could not be read: the master key is not tried until it can be",
    );
    let changed = |start: &mut Start| start.setup.list_change = ListChange::since(Some(&[]), &start.sites);
    waits(
        changed,
        "the list changed much since the last run: a push that confirms it comes first",
    );
}

#[test]
fn what_is_wrong_comes_first_when_all_is_there_and_a_page_leads_back() {
    let mut screen = done((120, 40).into());
    let picture = screen.picture();
    let (_, dialog) = picture.split_once("preflight of 9 sites").unwrap();
    let place = |name: &str| dialog.find(&format!(" {name} ")).unwrap();
    assert!(picture.contains("6 ok, 1 warning, 2 failed"), "{picture}");
    assert!(place("quai-neuf") < place("port-ouest") && place("port-ouest") < place("maison-est"));
    screen.press(KeyCode::Enter);
    assert!(screen.picture().contains("preflight of quai-neuf  (Esc back)"));
    screen.press(KeyCode::Esc);
    assert!(screen.picture().contains("preflight of 9 sites"));
}
