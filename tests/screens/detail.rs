//! The detail of a site, and what is copied of it.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent};
use jiff::SignedDuration;
use stripe_propagate::engine::{Attempt, Command, Event};
use stripe_propagate::rules::outcome::Cause;
use stripe_propagate::rules::run::Kind;
use stripe_propagate::rules::state::Served;
use stripe_propagate::rules::status::{Push, Verify};
use stripe_propagate::site::{SiteId, SiteUrl};
use stripe_propagate::store::{PlannedSite, Request, RunId, RunSite, Seen, SiteRun, StoredAttempt};
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::model::Clipboard;
use stripe_propagate::tui::update::update;
use stripe_propagate::tui::{Effect, Input, Message, Past, Reading, Wanted};

use super::stories::amid_a_run;
use super::trial::{Display, NAMES, Trial, at, key, new_key};

pub(super) fn tried(
    site: &SiteUrl,
    run: u64,
    (request, number): (Request, u32),
    seconds: u64,
    http: Option<u16>,
    cause: Option<Cause>,
    note: &str,
) -> StoredAttempt {
    StoredAttempt {
        run: Some(RunId(run)),
        site: site.clone(),
        request,
        number,
        at: at(seconds).wall,
        ended: true,
        ms: Some(55),
        http,
        cause,
        note: CleanText::note(note),
    }
}

pub(super) fn row(
    site: &SiteUrl,
    (run, days): (u64, i64),
    kind: Kind,
    (push, verify): (Push, Verify),
    note: &str,
) -> SiteRun {
    SiteRun {
        run: RunId(run),
        kind,
        began: at(10).wall - SignedDuration::from_hours(24 * days),
        site: RunSite {
            planned: PlannedSite {
                site: site.clone(),
                name: CleanText::note("page-blanche"),
                group: None,
                left_out: None,
                key: new_key(),
                serves: Served::Unknown,
            },
            push,
            verify,
            http: Some(500),
            puts: 4,
            before: Served::NoKey,
            before_pushed: false,
            now: Served::Unknown,
            note: CleanText::note(note),
            at: None,
        },
    }
}

/// A site that was tried four times in this run and once in an earlier one, as the store has it.
fn past(address: &SiteUrl) -> Past {
    let seen = |served, first, last, pushed_by: Option<u64>| Seen {
        served,
        first: at(first).wall,
        last: at(last).wall,
        pushed_by: pushed_by.map(RunId),
    };
    let broken = "is broken just now: Erreur: connexion perdue pendant la requête UPDATE settings SET value = %s WHERE \
                  key = %s ; le serveur a fermé la connexion de façon inattendue";
    let (put, get, error) = (Request::Put, Request::Get, Some(Cause::ServerError));
    Past {
        seen: vec![
            seen(Served::Key(key("live", "Old1")), 0, 4, None),
            seen(Served::Key(key("live", "9zQe")), 5, 6, Some(3)),
            seen(Served::NoKey, 7, 7, None),
        ],
        attempts: vec![
            tried(address, 3, (put, 1), 5, Some(200), None, "stored"),
            tried(address, 12, (get, 1), 11, Some(404), None, "has no key"),
            tried(address, 12, (put, 1), 12, Some(500), error, broken),
            tried(
                address,
                12,
                (put, 2),
                13,
                None,
                Some(Cause::Timeout),
                "no answer within the limit",
            ),
        ],
        runs: vec![
            row(
                address,
                (12, 0),
                Kind::Push,
                (Push::Retrying, Verify::Unchecked),
                "is broken just now (500)",
            ),
            row(
                address,
                (3, 4),
                Kind::Rollback,
                (Push::Stored, Verify::Verified),
                "",
            ),
        ],
    }
}

/// The detail of a site that is tried again and again.
pub(super) fn detail(display: impl Into<Display>) -> Trial {
    let mut screen = amid_a_run(display);
    screen.picture();
    screen.now = 15;
    screen.press(KeyCode::Enter);
    for _ in 0..8 {
        let row = screen.press(KeyCode::Char('n')).picture();
        if row.contains(" page-blanche  (n p") {
            break;
        }
    }
    let (id, address) = (
        SiteId(6),
        SiteUrl::parse("https://page-blanche.example.com").unwrap(),
    );
    // The first was asked for before other sites were turned to.
    for _ in 0..2 {
        screen.tell(Message::Read(Reading::Past(id, Box::new(past(&address)))));
    }
    screen
}

#[test]
fn the_detail_takes_in_what_happens_and_reads_again() {
    let mut screen = detail((120, 40));
    let attempt = |number, seconds, note| Attempt {
        run: Some(RunId(12)),
        site: SiteId(6),
        request: Request::Put,
        number,
        at: at(seconds) + Duration::from_millis(55),
        took: Duration::from_millis(55),
        http: Some(503),
        cause: Some(Cause::ServerError),
        note: CleanText::note(note),
    };
    let happens = |attempt| Message::Engine(Event::Attempt(attempt));
    let asks = vec![Effect::Read(Wanted::Past(SiteId(6)))];
    let mut known = attempt(2, 13, "");
    known.note = CleanText::note("told of twice");
    assert_eq!(update(&mut screen.screen, happens(known), at(14)), asks);
    let new = happens(attempt(3, 14, "is not available just now"));
    assert_eq!(update(&mut screen.screen, new, at(15)), [], "one read at a time");
    let picture = screen.picture();
    assert!(!picture.contains("told of twice"), "{picture}");
    let (third, second) = (
        picture.find("number 3 of run 12, 503, 55 ms, server_error"),
        picture.find("number 2 of run 12"),
    );
    assert!(third.is_some() && third < second, "{picture}");
    let other = happens(Attempt {
        site: SiteId(1),
        ..attempt(1, 15, "of another site")
    });
    assert_eq!(update(&mut screen.screen, other, at(15)), []);
    // What was read may be older than what has happened meanwhile.
    let read = Message::Read(Reading::Past(SiteId(6), Box::default()));
    assert_eq!(update(&mut screen.screen, read.clone(), at(15)), asks);
    assert_eq!(update(&mut screen.screen, read, at(15)), []);
    assert!(screen.picture().contains("number 3 of run 12"));
}

#[test]
fn the_detail_turns_to_other_sites_and_acts_on_its_own() {
    let mut screen = detail((120, 40));
    let mut effects = |letter: char| {
        let press = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char(letter)))]);
        update(&mut screen.screen, press, at(15))
    };
    let look = effects('v');
    assert!(
        matches!(&look[..], [Effect::Engine(Command::Look { sites, .. })] if *sites == [SiteId(6)]),
        "{look:?}"
    );
    assert_eq!(effects('r'), [], "its PUT goes again by itself");
    let turned = effects('p');
    assert!(
        matches!(&turned[..], [Effect::Read(Wanted::Past(site))] if *site != SiteId(6)),
        "{turned:?}"
    );
    assert_eq!(effects('n'), [], "one read at a time");
    let picture = screen.picture();
    assert!(picture.contains(" page-blanche  (n p"), "{picture}");
    assert!(screen.press(KeyCode::Esc).picture().contains(" ▌ page-blanche"));
}

#[test]
fn copies_are_of_the_site_and_never_more_than_it_has() {
    let press = |screen: &mut Trial, letter| {
        let press = Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char(letter)))]);
        update(&mut screen.screen, press, at(14))
    };
    let copied = |text: &str| vec![Effect::Copy(text.to_owned())];
    let mut screen = amid_a_run((120, 40));
    screen.picture();
    // The site that shows a secret is on top: of its keys there is the one that it should serve.
    assert_eq!(press(screen.types("y"), 'k'), copied(new_key().as_str()));
    assert_eq!(press(screen.types("y"), 'u'), copied("https://verre.example.com"));
    assert!(
        screen
            .picture()
            .contains("copied the URL, if the terminal takes OSC 52")
    );
    screen.press(KeyCode::Enter).types("n");
    let error = "refuses the master key: check master_key of this site (401): invalid_api_key";
    assert_eq!(press(screen.types("y"), 'e'), copied(error));
    assert!(
        screen
            .picture()
            .contains("└─ copied the error, if the terminal takes OSC 52 ─")
    );
    assert_eq!(
        press(screen.types("y"), 'k'),
        copied(key("live", "9zQe").as_str())
    );
    assert_eq!(press(screen.types("y"), 'q'), []);
    // A site of which nothing is known has an address.
    let mut plain = Trial::new(&NAMES, (120, 40), |start| {
        start.options.read_only = true;
        start.options.clipboard = Clipboard::Lacks;
    });
    assert!(!plain.types("y").picture().contains("error"));
    assert_eq!(press(&mut plain, 'u'), []);
    assert!(plain.picture().contains("the URL was not copied"));
    let mut watched = Trial::new(&NAMES, (120, 40), |start| start.options.read_only = true);
    assert_eq!(
        press(watched.types("y"), 'u'),
        copied("https://maison-est.example.com")
    );
}

#[test]
fn a_host_that_mixes_scripts_is_asked_about() {
    for (host, asked) in [("sh\u{43e}p.example", true), ("bücher.example", false)] {
        let mut screen = Trial::new(&NAMES[..2], (120, 40), |start| {
            let mut sites = start.sites.to_vec();
            sites[0].url = SiteUrl::parse(&format!("https://{host}")).unwrap();
            start.sites = sites.into();
        });
        let picture = screen.press(KeyCode::Enter).picture();
        assert!(picture.contains(&format!("reads as {host}")), "{picture}");
        let question = "in more than one script: is it the right one?";
        assert_eq!(picture.contains(question), asked, "{picture}");
    }
}
