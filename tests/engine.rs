//! The engine in virtual time: each file in `tests/cases` is a story of a few sites and what must come of it.
//! A new retry or settling case is a new file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use stripe_propagate::engine::{self, Attempts, Clock, Command, Event, Handle, Left, Settings};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, PROBLEMS, Problem, PutVerdict};
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::site_api::SiteApi;
use stripe_propagate::store::memory::MemoryStore;
use stripe_propagate::text::CleanText;
use tokio::sync::mpsc::UnboundedReceiver;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    #[serde(default)]
    settle: Option<SignedDuration>,
    #[serde(default)]
    concurrency: Option<usize>,
    #[serde(default)]
    per_backend: Option<usize>,
    /// Orders given after this many seconds: `pause`, `go_on`, `cancel`, `retry`, `verify`.
    #[serde(default)]
    orders: BTreeMap<String, u64>,
    /// What is told at once: at which second, and of which site what.
    #[serde(default)]
    alarms: Vec<(u64, String)>,
    sites: Vec<Story>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    name: String,
    #[serde(default)]
    backend: Option<String>,
    /// What the PUTs come to, in turn; the last one stays. `stored`, or a problem, with `Retry-After` behind
    /// a blank (`RateLimited 7s`).
    puts: Vec<String>,
    /// What looks show from each second on: `new`, `old`, `third`, `none`, `secret`, or a problem.
    shows: Vec<(u64, String)>,
    /// How long each answer takes.
    #[serde(default)]
    takes: Option<SignedDuration>,
    /// PUSH and VERIFY at the end.
    ends: (String, String),
    /// How many PUTs the site saw.
    sees_puts: usize,
    /// The seconds at which it was looked at.
    #[serde(default)]
    looked_at: Option<Vec<u64>>,
    /// By when all was over, in seconds.
    #[serde(default)]
    within: Option<u64>,
}

/// Plays the stories. Not a mock of the HTTP edge: the engine is tested against the trait, the edge against
/// real sites.
struct Stage {
    stories: Vec<Story>,
    clock: Clock,
    puts: Vec<AtomicUsize>,
    looks: Vec<Mutex<Vec<u64>>>,
    last: Vec<AtomicUsize>,
    out: Mutex<BTreeMap<String, usize>>,
    most_out: AtomicUsize,
    most_of_backend: AtomicUsize,
}

fn key(tail: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_test_51ExampleExampleExample{tail}")).unwrap()
}

fn problem(name: &str) -> Problem {
    let found = PROBLEMS.iter().find(|row| format!("{:?}", row.problem) == name);
    found
        .unwrap_or_else(|| panic!("no problem is called {name}"))
        .problem
}

fn answer<V>(verdict: V, retry_after: Option<Duration>) -> Answer<V> {
    let detail = CleanText::default();
    Answer {
        verdict,
        http: None,
        took: Duration::from_millis(1),
        retry_after,
        detail,
        alarm: None,
    }
}

impl Stage {
    fn new(stories: Vec<Story>) -> Self {
        let count = stories.len();
        Self {
            stories,
            clock: Clock::with_wall(|| Timestamp::UNIX_EPOCH),
            puts: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            looks: (0..count).map(|_| Mutex::default()).collect(),
            last: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            out: Mutex::default(),
            most_out: AtomicUsize::new(0),
            most_of_backend: AtomicUsize::new(0),
        }
    }

    fn check(&self, index: usize, end: &SiteState, about: &str) {
        let expected = &self.stories[index];
        let name = format!("{} in {about}", expected.name);
        let ends = (end.push.look().word, end.verify.look().word);
        assert_eq!(
            ends,
            (expected.ends.0.as_str(), expected.ends.1.as_str()),
            "{name}: {end:?}"
        );
        assert_eq!(
            self.puts[index].load(Ordering::Relaxed),
            expected.sees_puts,
            "{name}"
        );
        if let Some(looked_at) = &expected.looked_at {
            assert_eq!(*self.looks[index].lock().unwrap(), *looked_at, "{name}");
        }
        if let Some(within) = expected.within {
            let last = self.last[index].load(Ordering::Relaxed);
            assert!(
                last <= usize::try_from(within).unwrap(),
                "{name} ended after {last} s"
            );
        }
    }

    fn index(&self, site: &Site) -> usize {
        self.stories
            .iter()
            .position(|story| story.name == site.name.as_str())
            .unwrap()
    }

    async fn takes_time(&self, site: &Site) {
        {
            let mut out = self.out.lock().unwrap();
            let of_backend = out.entry(site.backend.to_string()).or_default();
            *of_backend += 1;
            self.most_of_backend.fetch_max(*of_backend, Ordering::Relaxed);
            self.most_out.fetch_max(out.values().sum(), Ordering::Relaxed);
        }
        let takes = self.stories[self.index(site)]
            .takes
            .map_or(Duration::from_millis(1), SignedDuration::unsigned_abs);
        tokio::time::sleep(takes).await;
        *self.out.lock().unwrap().get_mut(&*site.backend).unwrap() -= 1;
        let now = usize::try_from(self.clock.now().since_start.as_secs()).unwrap();
        self.last[self.index(site)].store(now, Ordering::Relaxed);
    }
}

impl SiteApi for Stage {
    async fn look(&self, site: &Site, _limit: Duration, _close: bool) -> Answer<LookVerdict> {
        let index = self.index(site);
        let seconds = self.clock.now().since_start.as_secs();
        self.looks[index].lock().unwrap().push(seconds);
        self.takes_time(site).await;
        let shown = self.stories[index]
            .shows
            .iter()
            .rev()
            .find(|(from, _)| *from <= seconds)
            .unwrap();
        let verdict = match shown.1.as_str() {
            "new" => LookVerdict::Serves(key("New")),
            "old" => LookVerdict::Serves(key("Old")),
            "third" => LookVerdict::Serves(key("Third")),
            "none" => LookVerdict::NoKey,
            "secret" => LookVerdict::ExposedSecret,
            name => LookVerdict::Problem(problem(name)),
        };
        answer(verdict, None)
    }

    async fn put(&self, site: &Site, sent: &PublishableKey) -> Answer<PutVerdict> {
        assert_eq!(*sent, key("New"));
        let index = self.index(site);
        let turn = self.puts[index].fetch_add(1, Ordering::Relaxed);
        self.takes_time(site).await;
        let puts = &self.stories[index].puts;
        let mut words = puts[turn.min(puts.len() - 1)].split(' ');
        let verdict = match words.next().unwrap() {
            "stored" => PutVerdict::Stored,
            name => PutVerdict::Problem(problem(name)),
        };
        let retry_after = words
            .next()
            .map(|text| text.parse::<SignedDuration>().unwrap().unsigned_abs());
        answer(verdict, retry_after)
    }
}

fn site(story: &Story) -> Site {
    let url = SiteUrl::parse(&format!("https://{}.example.com", story.name)).unwrap();
    Site {
        name: CleanText::note(&story.name),
        backend: story.backend.clone().unwrap_or_else(|| url.backend()).into(),
        url,
        group: None,
        mode: SiteMode::Any,
        master_key: MasterKeyId(0),
        enabled: true,
    }
}

fn all(sites: &[Site]) -> Vec<SiteId> {
    (0..u32::try_from(sites.len()).unwrap()).map(SiteId).collect()
}

async fn play(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let case: Case = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let about = format!("{}: {}", file.display(), case.about);
    let sites: Arc<[Site]> = case.sites.iter().map(site).collect();
    let stage = Arc::new(Stage::new(case.sites));
    let default = Policy::default();
    let settle = case.settle.map_or(default.settle, SignedDuration::unsigned_abs);
    let settings = Settings {
        concurrency: case.concurrency.unwrap_or(64),
        per_backend: case.per_backend.unwrap_or(2),
        policy: Policy { settle, ..default },
        left: Left::default(),
        ..Settings::default()
    };
    let store = Arc::new(MemoryStore::default());
    let (handle, events) = engine::start(
        Arc::clone(&sites),
        Vec::new(),
        Arc::clone(&stage),
        Arc::clone(&store),
        settings.clone(),
        stage.clock,
    );
    let unseen = SiteState::default();
    let plan = Plan::new(key("New"), all(&sites), &sites, |_| &unseen, Allow::default());
    handle.send(Command::Push(plan));
    give_orders(case.orders, &handle, &sites);
    drop(handle);
    let (states, phase, alarms) = watch(events, sites.len(), stage.clock).await;
    assert_eq!(phase, Some(RunPhase::Settled), "{about}");
    assert_eq!(alarms, case.alarms, "{about}");
    assert!(
        stage.most_out.load(Ordering::Relaxed) <= settings.concurrency,
        "{about}"
    );
    assert!(
        stage.most_of_backend.load(Ordering::Relaxed) <= settings.per_backend,
        "{about}"
    );
    let sent: usize = stage.puts.iter().map(|puts| puts.load(Ordering::Relaxed)).sum();
    assert_eq!(store.intents().len(), sent, "each PUT has its intent: {about}");
    for (index, end) in states.iter().enumerate() {
        stage.check(index, end, &about);
    }
}

fn give_orders(orders: BTreeMap<String, u64>, handle: &Handle, sites: &[Site]) {
    for (order, seconds) in orders {
        let (handle, sites) = (handle.clone(), all(sites));
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            handle.send(match order.as_str() {
                "pause" => Command::Pause,
                "go_on" => Command::GoOn,
                "cancel" => Command::Cancel,
                "retry" => Command::Retry {
                    sites,
                    allow: Allow::default(),
                },
                "verify" => Command::Look {
                    sites,
                    expected: None,
                    attempts: Attempts::Policy,
                    background: false,
                },
                other => panic!("no order is called {other}"),
            });
        });
    }
}

/// Until the engine ends, which it does when all orders are given and nothing is open.
async fn watch(
    mut events: UnboundedReceiver<Event>,
    count: usize,
    clock: Clock,
) -> (Vec<SiteState>, Option<RunPhase>, Vec<(u64, String)>) {
    let mut alarms = Vec::new();
    let mut states = vec![SiteState::default(); count];
    let mut phase = None;
    while let Some(event) = events.recv().await {
        match event {
            Event::Site { site, state } => states[site.index()] = *state,
            Event::Run(info) => phase = Some(info.phase),
            Event::Alarm(alarm, text) => {
                let name = text.trim_start_matches("ALARM: ").split(' ').next().unwrap();
                let seconds = clock.now().since_start.as_secs();
                alarms.push((seconds, format!("{name} {}", alarm.word())));
            }
            Event::NotBegun(error) => panic!("{error}"),
            Event::Refused(why) => panic!("{why}"),
            Event::Attempt(_)
            | Event::Message(_)
            | Event::Halted(..)
            | Event::Backend { .. }
            | Event::Acknowledged { .. }
            | Event::Refreshed { .. }
            | Event::Store { .. }
            | Event::ChunkOver(_)
            | Event::KeyRefused(..)
            | Event::Taken => {}
        }
    }
    (states, phase, alarms)
}

#[tokio::test(start_paused = true)]
async fn every_case_ends_as_it_says() {
    let mut files: Vec<_> = std::fs::read_dir("tests/cases")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        play(&file).await;
    }
}
