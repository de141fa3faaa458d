//! Runs on record: the list, a run that is open, the attempts on a site, and the export.

use std::time::Duration;

use crossterm::event::KeyCode;
use jiff::SignedDuration;
use stripe_propagate::engine::Event;
use stripe_propagate::rules::outcome::Cause;
use stripe_propagate::rules::plan::PutBack;
use stripe_propagate::rules::run::{Kind, RunPhase};
use stripe_propagate::rules::state::Served;
use stripe_propagate::rules::status::{Push, Verify};
use stripe_propagate::site::{SiteId, SiteUrl};
use stripe_propagate::store::{Operator, Request, RunId, RunRecord, RunSite, StoredAttempt};
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::{Message, Reading};

use super::detail::{row, tried};
use super::stories::{amid_a_run, record, run};
use super::trial::{Display, NAMES, Trial, at, key, new_key};

fn runs() -> Vec<RunRecord> {
    let by = Operator {
        user: CleanText::note("root"),
        host: CleanText::note("bastion"),
        uid: Some(0),
        login: Some(CleanText::note("zoë")),
        sudo_user: Some(CleanText::note("zoë")),
        ssh_client: Some(CleanText::note("198.51.100.7")),
        ..Operator::default()
    };
    let ended = |run: RunRecord| RunRecord {
        took: Some(Duration::from_secs(341)),
        ended: Some(run.began),
        by: by.clone(),
        ..run
    };
    let goes_on = RunRecord {
        live: true,
        ..record(12, new_key(), 60)
    };
    let retry = RunRecord {
        kind: Kind::Retry,
        parent: Some(RunId(9)),
        counts: [("failed", 1), ("verified", 230)]
            .map(|(word, count)| (word.into(), count))
            .into(),
        ..record(10, key("live", "9zQe"), 5 * 3600)
    };
    let rollback = RunRecord {
        kind: Kind::Rollback,
        parent: Some(RunId(3)),
        closed: true,
        clock_set: Some(SignedDuration::from_mins(-61)),
        ..record(9, key("test", "0000"), 40 * 86_400)
    };
    vec![
        goes_on,
        ended(retry),
        ended(rollback),
        record(3, key("live", "Old1"), 90 * 86_400),
    ]
}

fn listed(display: Display, runs: Vec<RunRecord>) -> Trial {
    let mut screen = amid_a_run(display);
    screen.types("h").tell(Message::Read(Reading::Runs(runs)));
    screen
}

/// The list, while it is read.
pub(super) fn being_read(display: Display) -> Trial {
    let mut screen = amid_a_run(display);
    screen.types("h");
    screen
}

/// The list without a run.
pub(super) fn none(display: Display) -> Trial {
    listed(display, Vec::new())
}

/// The list.
pub(super) fn list(display: Display) -> Trial {
    let mut screen = listed(display, runs());
    screen.types("j");
    screen
}

fn address(name: &str) -> SiteUrl {
    SiteUrl::parse(&format!("https://{name}.example.com")).unwrap()
}

fn sites() -> Vec<RunSite> {
    let site = |name: &str, states, note: &str| {
        let mut site = row(&address(name), (10, 0), Kind::Push, states, note).site;
        site.planned.name = CleanText::note(name);
        site.at = Some(at(13).wall);
        site
    };
    vec![
        RunSite {
            http: Some(200),
            before: Served::Key(key("live", "9zQe")),
            now: Served::Key(new_key()),
            ..site("atelier-nord", (Push::Stored, Verify::Verified), "")
        },
        site(
            "日本語の店",
            (Push::Retrying, Verify::Unchecked),
            "is broken just now (500): Erreur: requête perdue",
        ),
        RunSite {
            http: None,
            ..site("verre", (Push::Cancelled, Verify::Unchecked), "")
        },
    ]
}

/// A run that is open.
pub(super) fn open(display: Display) -> Trial {
    let mut screen = list(display);
    screen.press(KeyCode::Enter);
    screen.tell(Message::Read(Reading::Run(RunId(10), sites())));
    screen
}

/// What failed in a run.
pub(super) fn failed(display: Display) -> Trial {
    let mut screen = open(display);
    screen.types("f");
    screen
}

/// The attempts on a site.
pub(super) fn attempts(display: Display) -> Trial {
    let mut screen = open(display);
    screen.types("j").press(KeyCode::Enter);
    let url = address("日本語の店");
    let lost = Some(Cause::ServerError);
    let attempts = vec![
        tried(&url, 10, (Request::Get, 1), 11, Some(404), None, "has no key"),
        tried(
            &url,
            10,
            (Request::Put, 1),
            12,
            Some(500),
            lost,
            "Erreur: requête perdue",
        ),
        StoredAttempt {
            ended: false,
            ms: None,
            ..tried(&url, 10, (Request::Put, 2), 13, None, None, "")
        },
    ];
    screen.tell(Message::Read(Reading::Attempts(url, attempts)));
    screen
}

/// Into which file a run is exported.
pub(super) fn export(display: Display) -> Trial {
    let mut screen = open(display);
    screen.types("e").press(KeyCode::Backspace).types("l");
    screen
}

/// The file is there already.
pub(super) fn replace(display: Display) -> Trial {
    let mut screen = export(display);
    screen.press(KeyCode::Enter);
    screen.tell(Message::Read(Reading::Exists("Été/run-10.html".into())));
    screen
}

/// The plan that puts back what sites had before a run.
pub(super) fn rollback(display: Display) -> Trial {
    let mut screen = amid_a_run(display);
    screen.tell(Message::Engine(Event::Run(run(RunPhase::Settled))));
    let sites = (0..NAMES.len()).map(|place| PutBack {
        site: SiteId::at(place),
        before: match place {
            0 | 3 | 4 => Served::Key(key("live", "9zQe")),
            5 => Served::Key(key("test", "0000")),
            6 => Served::NoKey,
            _ => Served::Unknown,
        },
        was_pushed: place == 0,
        was_changed: place != 8,
        later: None,
    });
    let sites = sites.collect();
    screen.tell(Message::Read(Reading::PutBack(RunId(12), sites)));
    screen
}
