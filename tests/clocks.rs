//! The wall clock is set while a run goes on, and the process is stopped: waits and the settle time hold, and the
//! history says so.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use stripe_propagate::engine::{self, Clock, Command, Event, Settings};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, PutVerdict};
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::rules::status::Verify;
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::site_api::SiteApi;
use stripe_propagate::store::memory::MemoryStore;
use stripe_propagate::store::{RunRecord, Store};
use stripe_propagate::text::CleanText;

thread_local! {
    /// By how much the wall clock was set, in seconds. Each test has a thread of its own.
    static SET: Cell<i64> = const { Cell::new(0) };
    static BEGAN: Cell<Option<tokio::time::Instant>> = const { Cell::new(None) };
}

/// The machine's wall clock: it goes with the time, and can be set.
fn wall() -> Timestamp {
    let began = BEGAN.get().unwrap_or_else(|| {
        let now = tokio::time::Instant::now();
        BEGAN.set(Some(now));
        now
    });
    let passed = SignedDuration::try_from(began.elapsed()).unwrap();
    let base = Timestamp::from_second(1_772_373_600).unwrap();
    base + passed + SignedDuration::from_secs(SET.get())
}

fn key(tail: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_test_51ExampleExampleExample{tail}")).unwrap()
}

/// A shop of two processes, one of which answers the old key from its cache for 300 s.
struct Shop {
    clock: Clock,
    put_at: Mutex<Option<Duration>>,
    looked_at: Mutex<Vec<u64>>,
}

impl Shop {
    fn seconds(&self) -> u64 {
        self.clock.now().since_start.as_secs()
    }
}

fn answer<V>(verdict: V) -> Answer<V> {
    Answer {
        verdict,
        http: Some(200),
        took: Duration::from_millis(1),
        retry_after: None,
        detail: CleanText::default(),
        alarm: None,
    }
}

impl SiteApi for Shop {
    async fn look(&self, _: &Site, _: Duration, _: bool) -> Answer<LookVerdict> {
        self.looked_at.lock().unwrap().push(self.seconds());
        let cached = self
            .put_at
            .lock()
            .unwrap()
            .is_none_or(|put| self.clock.now().since_start.saturating_sub(put) < Duration::from_mins(5));
        answer(LookVerdict::Serves(key(if cached { "Old" } else { "New" })))
    }

    async fn put(&self, _: &Site, _: &PublishableKey) -> Answer<PutVerdict> {
        *self.put_at.lock().unwrap() = Some(self.clock.now().since_start);
        answer(PutVerdict::Stored)
    }
}

/// A run on one shop; `happens` is done 100 s after its beginning. The seconds of its looks, its end, its record.
async fn run(happens: impl AsyncFnOnce()) -> (Vec<u64>, Verify, RunRecord) {
    let clock = Clock::with_wall(wall);
    let url = SiteUrl::parse("https://shop.example.com").unwrap();
    let sites: Arc<[Site]> = Arc::from([Site {
        name: CleanText::note("shop"),
        backend: url.backend().into(),
        url,
        group: None,
        mode: SiteMode::Any,
        master_key: MasterKeyId(0),
        enabled: true,
    }]);
    let shop = Arc::new(Shop {
        clock,
        put_at: Mutex::default(),
        looked_at: Mutex::default(),
    });
    let store = Arc::new(MemoryStore::default());
    let settings = Settings {
        concurrency: 4,
        ..Settings::default()
    };
    let (handle, mut events) = engine::start(
        Arc::clone(&sites),
        Vec::new(),
        Arc::clone(&shop),
        Arc::clone(&store),
        settings,
        clock,
    );
    let unseen = SiteState::default();
    let plan = Plan::new(key("New"), [SiteId(0)], &sites, |_| &unseen, Allow::default());
    handle.send(Command::Push(plan));
    tokio::time::sleep(Duration::from_secs(100)).await;
    happens().await;
    drop(handle);
    let mut verify = Verify::Unchecked;
    let mut phase = None;
    while let Some(event) = events.recv().await {
        match event {
            Event::Site { state, .. } => verify = state.verify,
            Event::Run(run) => phase = Some(run.phase),
            _ => {}
        }
    }
    assert_eq!(phase, Some(RunPhase::Settled));
    let record = store.runs(1).await.unwrap().remove(0);
    let looks = shop.looked_at.lock().unwrap().clone();
    (looks, verify, record)
}

const LOOKS: [u64; 14] = [0, 0, 3, 10, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300];

async fn a_clock_that_is_set_changes_no_wait(seconds: i64) {
    let (looks, verify, record) = run(async || SET.set(seconds)).await;
    assert_eq!(looks[..14], LOOKS, "the looks keep their distances");
    assert_eq!(
        looks.last(),
        Some(&330),
        "the proof comes at the end of the settle time"
    );
    assert_eq!(verify, Verify::Verified);
    assert_eq!(record.took.map(|took| took.as_secs()), Some(330));
    assert_eq!(record.clock_set, Some(SignedDuration::from_secs(seconds)));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_by_an_hour_changes_no_wait() {
    a_clock_that_is_set_changes_no_wait(-3600).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_by_an_hour_changes_no_wait() {
    a_clock_that_is_set_changes_no_wait(3600).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_stopped_for_a_minute_looks_when_it_goes_on_and_proves_at_the_end() {
    // Nothing runs meanwhile, as after SIGSTOP: time alone goes on.
    let (looks, verify, record) = run(async || tokio::time::advance(Duration::from_mins(1)).await).await;
    assert_eq!(looks[..8], [0, 0, 3, 10, 30, 60, 90, 160]);
    assert_eq!(looks.last(), Some(&330));
    assert_eq!(verify, Verify::Verified);
    assert_eq!(
        (record.took.map(|took| took.as_secs()), record.clock_set),
        (Some(330), None)
    );
}
