use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stripe_propagate::engine::preflight::News;
use stripe_propagate::engine::{Attempt, Event, Level, Message as Sentence, RunInfo, Shown};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::acknowledgement::Acknowledgement;
use stripe_propagate::rules::alarm::Alarm;
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::outcome::{Answer, Cause, Leak, LookVerdict, PROBLEMS, Problem, PutVerdict};
use stripe_propagate::rules::plan::PutBack;
use stripe_propagate::rules::preflight::{Done, Step};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::rollout::Rollout;
use stripe_propagate::rules::run::{Halt, Kind, RunPhase};
use stripe_propagate::rules::standing::{NotAsked, Standing};
use stripe_propagate::rules::state::{Allow, Call, Next, Served, SiteState};
use stripe_propagate::rules::status::{Push, Verify};
use stripe_propagate::site::{SiteId, SiteUrl};
use stripe_propagate::store::{
    Holder, Operator, PlannedSite, Request, RunId, RunRecord, RunSite, StoreError,
};
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::setup::{SetupNews, Wrong};
use stripe_propagate::tui::{Message, PreflightNews, PreflightTold, Reading, Wanted, WatchNews};

use super::parsed;

/// So many kinds of things are told.
pub(crate) const KINDS: u8 = 17;

/// What goes on behind the screen.
pub(crate) struct World {
    states: Vec<SiteState>,
    next: Vec<Next>,
    policy: Policy,
    /// What the screen waits to be read.
    pub(crate) wanted: VecDeque<Wanted>,
    /// The preflight that it began last.
    pub(crate) preflight: u64,
}

fn one_of<T: Clone>(all: &[T], number: u16) -> T {
    all[usize::from(number) % all.len()].clone()
}

fn problem(number: u16) -> Problem {
    PROBLEMS[usize::from(number) % PROBLEMS.len()].problem
}

fn key(number: u16) -> PublishableKey {
    let mode = one_of(&["live", "test"], number);
    parsed(&format!("pk_{mode}_51{}{:04}", "Example".repeat(13), number % 5))
}

fn url(number: u16) -> SiteUrl {
    match SiteUrl::parse(&format!("https://shop-{}.example", number % 30)) {
        Ok(url) => url,
        Err(refusal) => panic!("{refusal}"),
    }
}

impl World {
    pub(crate) fn new(sites: usize) -> Self {
        Self {
            states: vec![SiteState::default(); sites],
            next: vec![Next::Rest; sites],
            policy: Policy::default(),
            wanted: VecDeque::new(),
            preflight: 0,
        }
    }

    /// What of this kind happens now.
    pub(crate) fn tell(&mut self, kind: u8, number: u16, text: &str, now: Moment) -> Vec<Message> {
        let one = match kind {
            0..=3 => return self.goes_on(number, text, now),
            4 => Message::Engine(Event::Run(run(number, now))),
            5 => Message::Engine(Event::Message(Sentence {
                at: now,
                level: one_of(&[Level::Info, Level::Warning, Level::Error], number),
                text: text.to_owned(),
            })),
            6 => return self.attempt(number, text, now),
            7 => Message::Engine(other_event(number, text, now)),
            8 => return self.acknowledged(number, text, now),
            9 => Message::Attached(number.is_multiple_of(2).then(|| holder(number, now))),
            10 => Message::Left(Box::new(record(number, text, now))),
            11 => return self.read(number, text, now),
            12 => Message::Setup(setup(number, text)),
            13 => return self.preflight(number, text),
            14 => Message::Asked(key(number >> 4), asked(number, text)),
            15 => Message::Watch(match number % 3 {
                0 => WatchNews::Next(now + Duration::from_secs(number.into())),
                1 => WatchNews::Off,
                _ => WatchNews::Notice {
                    text: text.to_owned(),
                    over: number.is_multiple_of(2),
                },
            }),
            _ => match number % 4 {
                0 => Message::Healed(usize::from(number >> 2)),
                1 => Message::Resumed,
                2 => Message::Reload,
                _ => Message::Wake,
            },
        };
        vec![one]
    }

    fn site(&self, number: u16) -> Option<usize> {
        usize::from(number).checked_rem(self.states.len())
    }

    /// A site's state machine goes a step on, as the engine would have it.
    fn goes_on(&mut self, number: u16, text: &str, now: Moment) -> Vec<Message> {
        let Some(site) = self.site(number >> 8) else {
            return Vec::new();
        };
        let dice = f64::from(number & 0xff) / 256.0;
        let state = &mut self.states[site];
        self.next[site] = match self.next[site] {
            Next::Rest if number & 1 == 0 => {
                state.run = Some(RunId(1 + u64::from(number >> 1 & 1)));
                state.order_push(key(number >> 2), Allow::default(), false, now)
            }
            Next::Rest => state.order_look(Some(key(number >> 2)).filter(|_| number & 2 == 0), 2, now),
            Next::Now(call) | Next::At(_, call) => {
                state.calling(call, &self.policy, now);
                match call {
                    Call::Put => {
                        let verdict = match number & 3 {
                            0 | 1 => PutVerdict::Stored,
                            _ => PutVerdict::Problem(problem(number >> 2)),
                        };
                        state.put_answered(&answer(verdict, number, text), &self.policy, now, dice)
                    }
                    Call::LookBefore => state.looked_before(&look(number, text), &self.policy, now, dice),
                    Call::Look => state.looked(&look(number, text), &self.policy, now, dice),
                }
            }
        };
        let event = Event::Site {
            site: SiteId::at(site),
            state: Box::new(self.states[site].clone()),
        };
        vec![Message::Engine(event)]
    }

    fn attempt(&self, number: u16, text: &str, now: Moment) -> Vec<Message> {
        let Some(site) = self.site(number) else {
            return Vec::new();
        };
        let attempt = Attempt {
            run: Some(RunId(1)),
            site: SiteId::at(site),
            request: one_of(&[Request::Put, Request::Get], number >> 5),
            number: u32::from(number >> 6),
            at: now,
            took: Duration::from_millis(number.into()),
            http: (!number.is_multiple_of(3)).then_some(number % 1000),
            cause: number.is_multiple_of(2).then_some(Cause::ServerError),
            note: CleanText::note(text),
        };
        vec![Message::Engine(Event::Attempt(attempt))]
    }

    fn acknowledged(&self, number: u16, text: &str, now: Moment) -> Vec<Message> {
        let sites = self.site(number).into_iter().map(SiteId::at).collect();
        let acknowledgement = (!number.is_multiple_of(3)).then(|| Acknowledgement {
            reason: CleanText::note(text),
            until: number
                .is_multiple_of(2)
                .then(|| now.wall + Duration::from_secs(number.into())),
            by: CleanText::note("ops@bastion"),
            at: now.wall,
        });
        vec![Message::Engine(Event::Acknowledged {
            sites,
            acknowledgement,
        })]
    }

    /// What the screen waits for, or what it did not ask for.
    fn read(&mut self, number: u16, text: &str, now: Moment) -> Vec<Message> {
        let wanted = self.wanted.pop_front().unwrap_or(Wanted::Runs);
        let site = self.site(number).map(SiteId::at);
        let reading = match (number % 8, wanted) {
            (0, _) => Reading::Failed(text.to_owned()),
            (1, Wanted::Export { path, .. }) => Reading::Exists(path),
            (_, Wanted::Runs) => Reading::Runs((0..number % 4).map(|run| record(run, text, now)).collect()),
            (_, Wanted::Run(run)) => {
                Reading::Run(run, (0..number % 5).map(|site| run_site(site, text)).collect())
            }
            (_, Wanted::Attempts(_, url)) => Reading::Attempts(url, Vec::new()),
            (_, Wanted::PutBack(run, sites)) => {
                let asked = sites.into_iter().flatten().chain(site);
                let back = asked.map(|site| PutBack {
                    site,
                    before: one_of(
                        &[Served::Unknown, Served::NoKey, Served::Key(key(number >> 3))],
                        number,
                    ),
                    was_pushed: number & 1 == 1,
                    was_changed: number & 2 == 2,
                    later: None,
                });
                Reading::PutBack(run, back.collect())
            }
            (_, Wanted::Past(site)) => Reading::Past(site, Box::default()),
            (_, Wanted::WasServed(key)) => Reading::WasServed(key, number & 1 == 1),
            (_, Wanted::Export { path, .. }) => Reading::Exported(path),
        };
        vec![Message::Read(reading)]
    }

    fn preflight(&self, number: u16, text: &str) -> Vec<Message> {
        let site = self.site(number).map(SiteId::at);
        let told = match (number >> 5 & 7, site) {
            (0, _) => PreflightTold::Begun,
            (1, _) => PreflightTold::Refused(text.to_owned()),
            (2, _) | (_, None) => PreflightTold::Ended,
            (3, Some(site)) => PreflightTold::Found(News::Over(site)),
            (_, Some(site)) => {
                let steps = [Step::Dns, Step::Tcp, Step::Tls, Step::Get, Step::Auth];
                PreflightTold::Found(News::Step(site, Done::skipped(one_of(&steps, number >> 8), text)))
            }
        };
        vec![Message::Preflight(PreflightNews {
            number: self.preflight,
            told,
        })]
    }
}

fn answer<Verdict>(verdict: Verdict, number: u16, text: &str) -> Answer<Verdict> {
    Answer {
        verdict,
        http: Some(200 + number % 400),
        took: Duration::from_millis(number.into()),
        retry_after: number
            .is_multiple_of(7)
            .then(|| Duration::from_secs(number.into())),
        detail: CleanText::note(text),
        alarm: Leak::of(number.is_multiple_of(11), number.is_multiple_of(13)),
    }
}

fn look(number: u16, text: &str) -> Answer<LookVerdict> {
    let verdict = match number & 7 {
        0..=3 => LookVerdict::Serves(key(number >> 3)),
        4 => LookVerdict::NoKey,
        5 => LookVerdict::ExposedSecret,
        _ => LookVerdict::Problem(problem(number >> 3)),
    };
    answer(verdict, number, text)
}

fn halt(number: u16) -> Halt {
    let count = usize::from(number >> 3);
    match number % 6 {
        0 => Halt::Canary,
        1 => Halt::StopAfter {
            failed: count,
            of: count + 1,
        },
        2 => Halt::RefusedKey {
            sites: count,
            others_took: count % 2 == 0,
        },
        3 => Halt::DeadKey,
        4 => Halt::Unrecorded,
        _ => Halt::NextWave {
            wave: count,
            of: count + 2,
        },
    }
}

fn run(number: u16, now: Moment) -> RunInfo {
    let phases = [
        RunPhase::Sending,
        RunPhase::Paused,
        RunPhase::Halted,
        RunPhase::Settling,
        RunPhase::Settled,
    ];
    let phase = one_of(&phases, number);
    RunInfo {
        id: RunId(1 + u64::from(number >> 3 & 1)),
        kind: one_of(&[Kind::Push, Kind::Rollback], number >> 4),
        key: key(number >> 5),
        phase,
        started: now,
        ended: (phase == RunPhase::Settled).then_some(now),
        puts: usize::from(number >> 8),
        rollout: Rollout::default(),
        halt: (phase == RunPhase::Halted).then(|| halt(number >> 6)),
    }
}

fn holder(number: u16, now: Moment) -> Holder {
    Holder {
        run: (!number.is_multiple_of(3)).then(|| RunId(number.into())),
        by: Operator::default(),
        since: now.wall,
        is_elsewhere: number & 1 == 1,
        free_in: (number & 2 == 2).then_some(number.into()),
    }
}

fn other_event(number: u16, text: &str, now: Moment) -> Event {
    match number % 7 {
        0 => Event::Refused(text.to_owned()),
        1 => Event::NotBegun(StoreError::Failed(text.to_owned())),
        2 => Event::NotBegun(StoreError::Busy(Box::new(holder(number >> 3, now)))),
        3 => Event::Taken,
        4 => Event::Halted(halt(number >> 3), text.to_owned()),
        5 => Event::Alarm(Alarm::ThirdKey, text.to_owned()),
        _ => Event::Backend {
            backend: format!("shop-{}.example", number % 30).into(),
            shown: Shown {
                at_once: usize::from(number >> 3),
                most: usize::from(number >> 5),
                open_until: number.is_multiple_of(2).then_some(now),
                held_until: number
                    .is_multiple_of(3)
                    .then_some(now + Duration::from_secs(number.into())),
                calls: number.into(),
                retries: usize::from(number >> 1),
            },
        },
    }
}

fn record(number: u16, text: &str, now: Moment) -> RunRecord {
    RunRecord {
        id: RunId(1 + u64::from(number % 4)),
        kind: one_of(&[Kind::Push, Kind::Rollback], number >> 2),
        parent: None,
        key: key(number >> 3),
        by: Operator {
            user: CleanText::note(text),
            ..Operator::default()
        },
        began: now,
        sent: number.is_multiple_of(2).then_some(now),
        ended: number.is_multiple_of(6).then_some(now),
        closed: number.is_multiple_of(5),
        live: number.is_multiple_of(7),
        took: None,
        clock_set: None,
        counts: BTreeMap::from([("unknown".to_owned(), usize::from(number >> 4))]),
    }
}

fn run_site(number: u16, text: &str) -> RunSite {
    RunSite {
        planned: PlannedSite {
            site: url(number),
            name: CleanText::new(text, 120),
            group: None,
            left_out: None,
            key: key(number),
            serves: Served::Unknown,
        },
        push: Push::Failed(Cause::ServerError),
        verify: Verify::Unchecked,
        http: Some(500),
        puts: number.into(),
        before: Served::NoKey,
        before_pushed: false,
        now: Served::Unknown,
        note: CleanText::note(text),
        at: None,
    }
}

fn setup(number: u16, text: &str) -> SetupNews {
    match number % 5 {
        0 => SetupNews::Loaded,
        1 => SetupNews::Wrong(Wrong::unusable("/etc/shops.toml".as_ref(), text)),
        2 => SetupNews::SitesWritten(vec![url(number >> 3)]),
        3 => SetupNews::ExampleWritten("/etc/shops.toml".into()),
        _ => SetupNews::NotWritten(text.to_owned()),
    }
}

fn asked(number: u16, text: &str) -> Result<Standing, NotAsked> {
    match number % 4 {
        0 => Ok(Standing::Known),
        1 => Ok(Standing::Unknown),
        2 => Ok(Standing::Expired),
        _ => Err(NotAsked::because(text)),
    }
}
