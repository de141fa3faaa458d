//! Shops that were never there, and what each does when it is pushed to. The real rules make their states of it.

use std::time::Duration;

use jiff::Timestamp;
use stripe_propagate::engine::{Attempt, Event};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::RunId;
use stripe_propagate::rules::state::{Allow, Call, Next, SiteState};
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::store::Request;
use stripe_propagate::text::CleanText;

/// The run that goes on.
pub(crate) const RUN: RunId = RunId(12);
/// When it began, in milliseconds.
pub(crate) const BEGAN: u64 = 60_000;

/// A shop, and what it does.
pub(crate) struct Shop {
    pub(crate) name: &'static str,
    group: &'static str,
    /// How long after the run's begin it has its turn, and how long it takes for an answer, in milliseconds.
    turn: u64,
    takes: u64,
    does: Does,
}

enum Does {
    /// Stores the key and serves it.
    Serves,
    /// Stores it and goes on serving the old one from its caches.
    ServesOld,
    /// Stores it where its pages do not look.
    ServesAnother,
    /// Serves the new key before.
    HasIt,
    /// Has no key before.
    HadNone,
    /// Takes none.
    Fails(Problem, Option<u16>),
    /// Takes none the first time.
    FailsOnce(Problem, u16),
    /// Shows a page.
    IsAPage,
}

use Does::{Fails, FailsOnce, HadNone, HasIt, IsAPage, Serves, ServesAnother, ServesOld};

const fn shop(name: &'static str, group: &'static str, turn: u64, takes: u64, does: Does) -> Shop {
    Shop {
        name,
        group,
        turn,
        takes,
        does,
    }
}

/// The shops, in the order of their turns.
pub(crate) const SHOPS: [Shop; 24] = [
    shop("atelier-nord", "fr", 0, 84, Serves),
    shop("quai-neuf", "fr", 100, 61, Serves),
    shop(
        "maison-est",
        "fr",
        1200,
        47,
        Fails(Problem::RefusedKey, Some(401)),
    ),
    shop("verger-haut", "be", 2100, 212, Serves),
    shop("lune-bleue", "be", 3000, 96, HasIt),
    shop("日本語の店", "jp", 4200, 318, Serves),
    shop("papeterie-sud", "fr", 5300, 131, ServesAnother),
    shop("cave-ronde", "fr", 6100, 77, Serves),
    shop("fil-et-laine", "be", 7400, 540, Serves),
    shop("page-blanche", "fr", 8600, 39, IsAPage),
    shop("terre-cuite", "fr", 9000, 148, HadNone),
    shop("grand-large", "fr", 10_100, 263, Serves),
    shop("pont-vieux", "be", 11_200, 905, Serves),
    shop("phare-eteint", "fr", 11_300, 3, Fails(Problem::Connect, None)),
    shop("jardin-clos", "fr", 12_600, 1240, Serves),
    shop("encre-noire", "fr", 14_200, 188, ServesOld),
    shop("moulin-bas", "be", 15_900, 2310, Serves),
    shop("galerie-sud", "fr", 18_700, 410, ServesOld),
    shop("pierre-fine", "jp", 20_300, 730, Serves),
    shop(
        "ruche-doree",
        "fr",
        22_000,
        1460,
        FailsOnce(Problem::Unavailable, 503),
    ),
    shop("port-ouest", "fr", 23_500, 9000, Serves),
    shop("clos-fleuri", "fr", 24_100, 122, Serves),
    shop("tisane-verte", "be", 30_000, 80, Serves),
    shop("vieille-enseigne", "fr", 31_000, 80, Serves),
];

/// So many milliseconds after 14:00:00 UTC on 1 March 2026.
pub(crate) fn at(milliseconds: u64) -> Moment {
    Moment {
        since_start: Duration::ZERO,
        wall: Timestamp::from_second(1_772_373_600).unwrap(),
    } + Duration::from_millis(milliseconds)
}

pub(crate) fn key(mode: &str, tail: &str) -> PublishableKey {
    let padding = "Example".repeat(13);
    PublishableKey::parse(&format!("pk_{mode}_51{padding}xx{tail}")).unwrap()
}

pub(crate) fn new_key() -> PublishableKey {
    key("live", "AbCd")
}

pub(crate) fn old_key() -> PublishableKey {
    key("live", "9zQe")
}

/// Settles fast, so that one picture has proofs too.
fn policy() -> Policy {
    Policy {
        settle: Duration::from_secs(15),
        ..Policy::default()
    }
}

/// What the engine tells of all shops until `now`, in order.
pub(crate) fn told(now: u64) -> Vec<(Moment, Event)> {
    let mut told: Vec<_> = (0..)
        .zip(&SHOPS)
        .flat_map(|(id, shop)| shop.turn(SiteId(id), at(now)))
        .collect();
    told.sort_by_key(|(then, _)| *then);
    told
}

impl Shop {
    pub(crate) fn site(&self) -> Site {
        let url = SiteUrl::parse(&format!("https://{}.example.com", self.name)).unwrap();
        Site {
            name: CleanText::note(self.name),
            backend: url.backend().into(),
            url,
            group: Some(CleanText::note(self.group)),
            mode: SiteMode::Any,
            master_key: MasterKeyId(0),
            enabled: true,
        }
    }

    /// What it answers to a look; whether it has had a PUT.
    fn shows(&self, has_new: bool) -> LookVerdict {
        match (&self.does, has_new) {
            (IsAPage, _) => LookVerdict::Problem(Problem::NotThisApi),
            (Fails(Problem::Connect, _), _) => LookVerdict::Problem(Problem::Connect),
            (HadNone, false) => LookVerdict::NoKey,
            (ServesAnother, true) => LookVerdict::Serves(key("live", "Old1")),
            (Serves | HadNone, true) | (HasIt, _) => LookVerdict::Serves(new_key()),
            _ => LookVerdict::Serves(old_key()),
        }
    }

    /// Its state after the look at the start.
    pub(crate) fn seen(&self) -> SiteState {
        let (mut state, policy) = (SiteState::default(), policy());
        state.order_look(None, 1, at(self.turn / 10));
        state.calling(Call::Look, &policy, at(self.turn / 10));
        let answer = self.look(false);
        state.looked(&answer, &policy, at(self.turn / 10) + answer.took, 0.5);
        state
    }

    fn look(&self, has_new: bool) -> Answer<LookVerdict> {
        let verdict = self.shows(has_new);
        let http = match verdict {
            LookVerdict::NoKey => Some(404),
            LookVerdict::Problem(Problem::Connect) => None,
            _ => Some(200),
        };
        answer(verdict, http, 31 + self.takes * 7 % 190)
    }

    fn put(&self, number: u32) -> Answer<PutVerdict> {
        let problem = |problem, http| answer(PutVerdict::Problem(problem), http, self.takes);
        match self.does {
            Fails(what, http) => problem(what, http),
            FailsOnce(what, http) if number == 1 => Answer {
                retry_after: Some(Duration::from_secs(8)),
                ..problem(what, Some(http))
            },
            _ => answer(PutVerdict::Stored, Some(200), self.takes),
        }
    }

    /// What the engine tells of it from the run's begin until `now`, with the time of each.
    fn turn(&self, id: SiteId, now: Moment) -> Vec<(Moment, Event)> {
        let mut state = self.seen();
        state.run = Some(RUN);
        let mut next = state.order_push(new_key(), Allow::default(), false, at(BEGAN));
        let mut told = vec![(at(BEGAN), tell(id, &state))];
        let (mut clock, mut number) = (at(BEGAN + self.turn), 0);
        loop {
            let call = match next {
                Next::Rest => break,
                Next::Now(call) => call,
                Next::At(then, call) => {
                    clock = clock.max(then);
                    call
                }
            };
            if clock > now {
                break;
            }
            number += u32::from(call == Call::Put);
            state.calling(call, &policy(), clock);
            told.push((clock, tell(id, &state)));
            let attempt;
            (next, attempt) = self.answers(call, number, &mut state, clock);
            clock = attempt.at;
            told.push((clock, Event::Attempt(Attempt { site: id, ..attempt })));
            told.push((clock, tell(id, &state)));
        }
        told.retain(|(then, _)| *then <= now);
        told
    }

    /// What a call that is sent at `sent` makes of the state; `number` PUTs were sent until now.
    fn answers(&self, call: Call, number: u32, state: &mut SiteState, sent: Moment) -> (Next, Attempt) {
        let policy = policy();
        if call == Call::Put {
            let answer = self.put(number);
            let at = sent + answer.took;
            let (problem, words) = match answer.verdict {
                PutVerdict::Stored => (None, "stored"),
                PutVerdict::Problem(problem) => (Some(problem), problem.row().sentence),
            };
            let attempt = attempt((Request::Put, number), &answer, problem, words, at);
            return (state.put_answered(&answer, &policy, at, 0.5), attempt);
        }
        let answer = self.look(number > 0);
        let at = sent + answer.took;
        let (problem, words) = match &answer.verdict {
            LookVerdict::Serves(key) => (None, format!("serves {key} #{}", key.fingerprint())),
            LookVerdict::Problem(problem) => (Some(*problem), problem.row().sentence.to_owned()),
            _ => (None, "has no key".to_owned()),
        };
        let attempt = attempt((Request::Get, 1), &answer, problem, &words, at);
        let next = match call {
            Call::LookBefore => state.looked_before(&answer, &policy, at, 0.5),
            _ => state.looked(&answer, &policy, at, 0.5),
        };
        (next, attempt)
    }
}

fn answer<V>(verdict: V, http: Option<u16>, took: u64) -> Answer<V> {
    Answer {
        verdict,
        http,
        took: Duration::from_millis(took),
        retry_after: None,
        detail: CleanText::default(),
        alarm: None,
    }
}

fn tell(site: SiteId, state: &SiteState) -> Event {
    Event::Site {
        site,
        state: Box::new(state.clone()),
    }
}

fn attempt<V>(
    (request, number): (Request, u32),
    answer: &Answer<V>,
    problem: Option<Problem>,
    words: &str,
    at: Moment,
) -> Attempt {
    Attempt {
        run: Some(RUN),
        site: SiteId(0),
        request,
        number,
        at,
        took: answer.took,
        http: answer.http,
        cause: problem.map(Problem::cause),
        note: CleanText::note(words),
    }
}
