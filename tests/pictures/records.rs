//! What the store would have of the shops and of the runs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use stripe_propagate::engine::Event;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::run::{Kind, RunId};
use stripe_propagate::rules::state::Served;
use stripe_propagate::rules::status::{Push, Verify};
use stripe_propagate::site::{SiteId, SiteUrl};
use stripe_propagate::store::{
    Operator, PlannedSite, Request, RunRecord, RunSite, Seen, SiteRun, StoredAttempt,
};
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::Past;

use super::shops::{BEGAN, RUN, at, key, new_key, old_key};

/// How many minutes before the run that goes on run 9 began.
const NINTH: i64 = 59_217;

/// What an earlier run left on record of a shop, and what this one did.
pub(crate) fn past(site: &SiteUrl, id: SiteId, told: Vec<(Moment, Event)>) -> Past {
    let seen = |key, from, to, pushed_by: Option<u64>| Seen {
        served: Served::Key(key),
        first: minutes_ago(from),
        last: minutes_ago(to),
        pushed_by: pushed_by.map(RunId),
    };
    let earlier = StoredAttempt {
        run: Some(RunId(9)),
        site: site.clone(),
        request: Request::Put,
        number: 1,
        at: minutes_ago(NINTH),
        ended: true,
        ms: Some(218),
        http: Some(200),
        cause: None,
        note: CleanText::note("stored"),
    };
    let of_this_run = told.into_iter().filter_map(|(_, event)| match event {
        Event::Attempt(attempt) if attempt.site == id => Some(StoredAttempt {
            run: attempt.run,
            site: site.clone(),
            request: attempt.request,
            number: attempt.number,
            at: attempt.at.wall,
            ended: true,
            ms: u64::try_from(attempt.took.as_millis()).ok(),
            http: attempt.http,
            cause: attempt.cause,
            note: attempt.note,
        }),
        _ => None,
    });
    Past {
        seen: vec![
            seen(key("live", "Old1"), 170_011, NINTH, Some(6)),
            seen(old_key(), NINTH, 0, Some(9)),
        ],
        attempts: std::iter::once(earlier).chain(of_this_run).collect(),
        runs: vec![
            in_run(site, (RUN, 0), new_key(), (Push::Retrying, Verify::Unchecked)),
            in_run(
                site,
                (RunId(9), NINTH),
                old_key(),
                (Push::Stored, Verify::Verified),
            ),
        ],
    }
}

fn in_run(
    site: &SiteUrl,
    (run, minutes): (RunId, i64),
    key: PublishableKey,
    (push, verify): (Push, Verify),
) -> SiteRun {
    SiteRun {
        run,
        kind: Kind::Push,
        began: minutes_ago(minutes),
        site: RunSite {
            planned: PlannedSite {
                site: site.clone(),
                name: CleanText::default(),
                group: None,
                left_out: None,
                key,
                serves: Served::Unknown,
            },
            push,
            verify,
            http: None,
            puts: 1,
            before: Served::Unknown,
            before_pushed: false,
            now: Served::Unknown,
            note: CleanText::default(),
            at: None,
        },
    }
}

/// So long before the run that goes on.
fn minutes_ago(minutes: i64) -> Timestamp {
    at(BEGAN).wall - SignedDuration::from_mins(minutes)
}

/// The runs, newest first; the one that goes on has these counts.
pub(crate) fn runs(now: &[(&str, usize)]) -> Vec<RunRecord> {
    let (push, retry, rollback) = (Kind::Push, Kind::Retry, Kind::Rollback);
    let older = || key("live", "Old1");
    vec![
        record((12, push, None), 0, new_key(), None, now),
        record(
            (11, retry, Some(10)),
            8_594,
            old_key(),
            Some(341),
            &[("verified", 3)],
        ),
        record(
            (10, push, None),
            8_611,
            old_key(),
            Some(352),
            &[("failed", 3), ("verified", 21)],
        ),
        record(
            (9, push, None),
            NINTH,
            old_key(),
            Some(338),
            &[("skipped", 1), ("verified", 22)],
        ),
        record(
            (8, rollback, Some(7)),
            91_402,
            older(),
            Some(336),
            &[("verified", 20)],
        ),
        record(
            (7, push, None),
            91_406,
            key("live", "0ops"),
            Some(19),
            &[("cancelled", 2), ("superseded", 20)],
        ),
        record((6, push, None), 170_011, older(), Some(334), &[("verified", 22)]),
    ]
}

/// A run on record; one without an end goes on.
fn record(
    (id, kind, parent): (u64, Kind, Option<u64>),
    minutes: i64,
    key: PublishableKey,
    seconds: Option<u64>,
    counts: &[(&str, usize)],
) -> RunRecord {
    let mut began = at(BEGAN);
    began.wall = minutes_ago(minutes);
    let took = seconds.map(Duration::from_secs);
    let ended = took.map(|took| began + took);
    RunRecord {
        id: RunId(id),
        kind,
        parent: parent.map(RunId),
        key,
        by: Operator {
            user: CleanText::note("ops"),
            ..Operator::default()
        },
        began,
        sent: ended,
        ended,
        closed: false,
        live: ended.is_none(),
        took,
        clock_set: None,
        counts: counts
            .iter()
            .map(|(word, count)| ((*word).to_owned(), *count))
            .collect(),
    }
}
