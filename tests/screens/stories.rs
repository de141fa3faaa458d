//! What happened before a picture is taken, as the real rules make it.

use std::collections::BTreeMap;
use std::time::Duration;

use stripe_propagate::engine::{self, Attempt, Event, Level, RunInfo};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::outcome::{Answer, Cause, LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::{Kind, RunPhase};
use stripe_propagate::rules::state::{Allow, Call, SiteState};
use stripe_propagate::site::{SiteId, SiteMode};
use stripe_propagate::store::{Holder, Operator, Request, RunId, RunRecord};
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::model::Start;
use stripe_propagate::tui::{Message, OthersRun};

use super::trial::{Display, NAMES, Trial, at, key, new_key};

pub(super) fn answer<V>(verdict: V, http: u16, detail: &str) -> Answer<V> {
    Answer {
        verdict,
        http: Some(http),
        took: Duration::from_millis(84),
        retry_after: None,
        detail: CleanText::note(detail),
        alarm: None,
    }
}

/// A site that was asked for its key, then pushed to, then looked at.
pub(super) struct Story(pub(super) SiteState);

impl Story {
    pub(super) fn serving(old: &PublishableKey) -> Self {
        Self(SiteState::default()).looks(0, LookVerdict::Serves(old.clone()), 200)
    }

    pub(super) fn looks(mut self, seconds: u64, verdict: LookVerdict, http: u16) -> Self {
        let policy = Policy::default();
        self.0.order_look(None, 1, at(seconds));
        self.0.calling(Call::Look, &policy, at(seconds));
        self.0
            .looked(&answer(verdict, http, ""), &policy, at(seconds), 0.5);
        self
    }

    pub(super) fn queued(mut self) -> Self {
        let allow = Allow {
            mode_change: true,
            ..Allow::default()
        };
        self.0.order_push(new_key(), allow, false, at(10));
        self
    }

    pub(super) fn sending(self) -> Self {
        let mut queued = self.queued();
        queued.0.calling(Call::Put, &Policy::default(), at(12));
        queued
    }

    pub(super) fn answered(self, verdict: PutVerdict, http: u16, detail: &str) -> Self {
        let mut sent = self.sending();
        let answer = answer(verdict, http, detail);
        sent.0.put_answered(&answer, &Policy::default(), at(13), 0.5);
        sent
    }

    pub(super) fn shows(mut self, seconds: u64, verdict: LookVerdict) -> Self {
        let policy = Policy::default();
        self.0.calling(Call::Look, &policy, at(seconds));
        self.0
            .looked(&answer(verdict, 200, ""), &policy, at(seconds), 0.5);
        self
    }
}

pub(super) fn run(phase: RunPhase) -> RunInfo {
    RunInfo {
        kind: Kind::Push,
        halt: None,
        rollout: stripe_propagate::rules::rollout::Rollout::default(),
        id: RunId(12),
        key: new_key(),
        phase,
        started: at(10),
        ended: None,
        puts: 9,
    }
}

/// In mid-run: a site in each state that an operator meets.
pub(super) fn amid_a_run(display: impl Into<Display>) -> Trial {
    amid_a_run_of(display, |_| ())
}

/// The same, on a screen that begins otherwise.
pub(super) fn amid_a_run_of(display: impl Into<Display>, change: impl FnOnce(&mut Start)) -> Trial {
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
    let mut screen = Trial::new(&NAMES, display, |start| {
        start.key = Some(new_key());
        change(start);
    });
    screen.now = 10;
    screen.tell(Message::Engine(Event::Run(run(RunPhase::Sending))));
    screen.now = 14;
    for (index, story) in (0..).zip(states) {
        screen.state(index, story.0);
        if index == SECRET {
            let text = format!(
                "ALARM: {} shows a SECRET key to the public: have it rolled in Stripe now",
                NAMES[SECRET as usize]
            );
            let (at, level) = (at(14), Level::Error);
            screen.tell(Message::Engine(Event::Message(engine::Message {
                at,
                level,
                text,
            })));
        }
    }
    screen
}

/// The site that shows a secret amid a run: the engine tells so.
const SECRET: u32 = 7;

/// Amid a run whose answers have been coming for half a minute, slower and slower; one of the last failed.
pub(super) fn with_latencies(display: impl Into<Display>) -> Trial {
    let mut screen = Trial::new(&NAMES, display, |start| start.key = Some(new_key()));
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

/// Forty sites, of which some serve the old key, the new one or a test key, some did not answer, and some are out.
pub(super) fn many(display: impl Into<Display>) -> Trial {
    let names: Vec<String> = (1..=40).map(|number| format!("shop-{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut screen = Trial::new(&names, display, |start| {
        start.key = Some(new_key());
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

pub(super) fn record(id: u64, key: PublishableKey, seconds: i64) -> RunRecord {
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

/// The line dropped at 14:00:11; it is 14:10 now, and seven sites have their proof.
pub(super) fn back_after_a_drop(display: impl Into<Display>, change: impl FnOnce(&mut Start)) -> Trial {
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
    Trial::opened(&NAMES, display, 600, |start| {
        start.states = states;
        start.away_since = Some(at(11));
        change(start);
    })
}

pub(super) fn holder() -> Holder {
    Holder {
        run: Some(RunId(12)),
        by: Operator {
            user: CleanText::note("ops"),
            pid: 4711,
            ..Operator::default()
        },
        since: at(10).wall,
        is_elsewhere: false,
        free_in: None,
    }
}

/// A run of somebody else, on another machine, that holds the first two sites.
pub(super) fn others() -> OthersRun {
    OthersRun {
        run: RunId(13),
        holder: Holder {
            run: Some(RunId(13)),
            by: Operator {
                user: CleanText::note("ada"),
                host: CleanText::note("ops-2"),
                pid: 512,
                ..Operator::default()
            },
            is_elsewhere: true,
            ..holder()
        },
        sends: true,
        sites: [SiteId(0), SiteId(1)].into(),
    }
}
