//! Stripe answers late: in virtual time, with sites and a Stripe of this test.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use stripe_propagate::engine::{self, Clock, Command, Event, Handle, Level, Settings, Standings};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, PutVerdict};
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::standing::{NotAsked, Purpose, Standing};
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::rules::status::Verify;
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::site_api::SiteApi;
use stripe_propagate::store::Store;
use stripe_propagate::store::memory::MemoryStore;
use stripe_propagate::stripe::{Answering, AskStripe};
use stripe_propagate::text::CleanText;
use tokio::sync::mpsc::UnboundedReceiver;

fn key(tail: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_test_51ExampleExampleExample{tail}")).unwrap()
}

fn answer<V>(verdict: V) -> Answer<V> {
    Answer {
        verdict,
        http: Some(200),
        took: Duration::from_secs(1),
        retry_after: None,
        detail: CleanText::default(),
        alarm: None,
    }
}

/// Sites that take a second for each request.
#[derive(Default)]
struct Shops {
    stored: Mutex<BTreeMap<String, PublishableKey>>,
}

impl SiteApi for Shops {
    async fn look(&self, site: &Site, _: Duration, _: bool) -> Answer<LookVerdict> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let stored = self.stored.lock().unwrap().get(site.name.as_str()).cloned();
        answer(LookVerdict::Serves(stored.unwrap_or_else(|| key("Old"))))
    }

    async fn put(&self, site: &Site, sent: &PublishableKey) -> Answer<PutVerdict> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let name = site.name.to_string();
        self.stored.lock().unwrap().insert(name, sent.clone());
        answer(PutVerdict::Stored)
    }
}

/// Takes some time for each answer, and says of a key what its end says. Counts what it was asked.
struct Stripe {
    takes: Duration,
    is_down: Mutex<bool>,
    asked: Mutex<Vec<PublishableKey>>,
}

impl Stripe {
    fn taking(seconds: u64) -> Arc<Self> {
        Arc::new(Self {
            takes: Duration::from_secs(seconds),
            is_down: Mutex::default(),
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl AskStripe for Stripe {
    fn ask<'a>(&'a self, key: &'a PublishableKey) -> Answering<'a> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(key.clone());
            tokio::time::sleep(self.takes).await;
            if *self.is_down.lock().unwrap() {
                return Err(NotAsked::because("no way out"));
            }
            Ok(match key.as_str() {
                key if key.ends_with("Unknown") => Standing::Unknown,
                key if key.ends_with("Expired") => Standing::Expired,
                _ => Standing::Known,
            })
        })
    }
}

fn sites(count: usize) -> Arc<[Site]> {
    let site = |index| {
        let url = SiteUrl::parse(&format!("https://shop{index}.example.com")).unwrap();
        Site {
            name: CleanText::note(&format!("shop{index}")),
            backend: url.backend().into(),
            url,
            group: None,
            mode: SiteMode::Any,
            master_key: MasterKeyId(0),
            enabled: true,
        }
    };
    (0..count).map(site).collect()
}

/// An engine that sends to one site at a time.
struct Process {
    handle: Handle,
    events: UnboundedReceiver<Event>,
    shops: Arc<Shops>,
    sites: Arc<[Site]>,
    states: Vec<SiteState>,
    phase: Option<RunPhase>,
    errors: Vec<String>,
}

impl Process {
    async fn begin(count: usize, stripe: Arc<Stripe>) -> Self {
        let (sites, shops) = (sites(count), Arc::new(Shops::default()));
        let clock = Clock::with_wall(|| Timestamp::UNIX_EPOCH);
        let store = Arc::new(MemoryStore::default());
        let policy = Policy::default();
        let urls: Vec<SiteUrl> = sites.iter().map(|site| site.url.clone()).collect();
        let known = store.last_known(&urls, &policy, clock.now()).await.unwrap();
        let settings = Settings {
            concurrency: 1,
            per_backend: 1,
            policy,
            ..Settings::default()
        };
        let (api, memory) = (Arc::clone(&shops), Arc::clone(&store));
        let standings = Arc::new(Standings::new(Some(stripe), memory, clock));
        let (handle, events) =
            engine::start_asking(Arc::clone(&sites), known, api, standings, store, settings, clock);
        Self {
            handle,
            events,
            shops,
            states: vec![SiteState::default(); sites.len()],
            sites,
            phase: None,
            errors: Vec::new(),
        }
    }

    fn push(&self, key: &PublishableKey, standing: Option<Standing>) {
        let all = (0..self.sites.len()).map(SiteId::at);
        let state = |id: SiteId| &self.states[id.index()];
        let mut plan = Plan::new(key.clone(), all, &self.sites, state, Allow::default());
        plan.judge_keys(|_| standing);
        self.handle.send(Command::Push(plan));
    }

    async fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            match self.events.recv().await.unwrap() {
                Event::Site { site, state } => self.states[site.index()] = *state,
                Event::Run(run) => self.phase = Some(run.phase),
                Event::Message(message) if message.level == Level::Error => self.errors.push(message.text),
                _ => {}
            }
        }
    }

    fn stored(&self) -> usize {
        self.shops.stored.lock().unwrap().len()
    }

    fn verify(&self) -> Vec<Verify> {
        self.states.iter().map(|state| state.verify).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_confirmed_before_its_key_was_known_to_be_dead_is_held() {
    let mut process = Process::begin(6, Stripe::taking(4)).await;
    process.push(&key("Unknown"), None);
    process.until(|now| now.phase == Some(RunPhase::Halted)).await;
    let sent = process.stored();
    assert!((1..6).contains(&sent), "{sent}");
    assert!(
        process.errors[0].starts_with("halted with "),
        "{:?}",
        process.errors
    );
    assert!(
        process.errors[0].contains("is not known to Stripe"),
        "{:?}",
        process.errors
    );
    // Nothing more goes out until somebody says so; then it is said, and not asked again.
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert!(process.stored() <= sent + 1);
    process.handle.send(Command::GoOn);
    process.until(|now| now.phase == Some(RunPhase::Settled)).await;
    assert_eq!(process.verify(), [Verify::DeadKey; 6]);
    assert_eq!(process.errors.len(), 1, "{:?}", process.errors);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_confirmed_with_the_word_for_it_goes() {
    let mut process = Process::begin(3, Stripe::taking(0)).await;
    process.push(&key("Expired"), Some(Standing::Expired));
    process.until(|now| now.phase == Some(RunPhase::Settled)).await;
    assert_eq!(process.verify(), [Verify::DeadKey; 3]);
    assert!(process.errors.is_empty(), "{:?}", process.errors);
}

#[tokio::test(start_paused = true)]
async fn a_dead_key_that_was_confirmed_confirms_no_other_one() {
    let mut process = Process::begin(6, Stripe::taking(4)).await;
    let targets: Vec<(SiteId, PublishableKey)> = (0..6)
        .map(|site| (SiteId(site), key(if site < 3 { "Expired" } else { "Unknown" })))
        .collect();
    let state = |id: SiteId| &process.states[id.index()];
    let mut plan = Plan::retry(None, &targets, &process.sites, state, Allow::default()).unwrap();
    let known = |key: &PublishableKey| key.as_str().ends_with("Expired").then_some(Standing::Expired);
    assert!(plan.judge_keys(known));
    process.handle.send(Command::Push(plan));
    let rests = [Some(RunPhase::Halted), Some(RunPhase::Settled)];
    process.until(|now| rests.contains(&now.phase)).await;
    assert_eq!(process.phase, Some(RunPhase::Halted));
    assert!(
        process.errors[0].contains("is not known to Stripe"),
        "{:?}",
        process.errors
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_stripe_holds_no_put_up_and_its_word_counts_when_it_comes() {
    let mut process = Process::begin(4, Stripe::taking(3600)).await;
    process.push(&key("Expired"), None);
    process.until(|now| now.phase == Some(RunPhase::Settled)).await;
    assert_eq!(process.verify(), [Verify::Verified; 4]);
    process.until(|now| now.verify() == [Verify::DeadKey; 4]).await;
    process.until(|now| !now.errors.is_empty()).await;
    assert!(
        process.errors[0].contains("has sent a key"),
        "{:?}",
        process.errors
    );
}

/// Seconds of the wall clock of the one test that sets it.
static WALL: AtomicI64 = AtomicI64::new(0);

#[tokio::test(start_paused = true)]
async fn a_key_is_asked_once_whoever_wants_to_know_and_remembered() {
    let wall = || Timestamp::from_second(WALL.load(Ordering::Relaxed)).unwrap();
    let pass = |seconds| WALL.fetch_add(seconds, Ordering::Relaxed);
    let (stripe, store) = (Stripe::taking(1), Arc::new(MemoryStore::default()));
    let of_process = || {
        let stripe: Arc<dyn AskStripe> = Arc::clone(&stripe) as _;
        Arc::new(Standings::new(
            Some(stripe),
            Arc::clone(&store),
            Clock::with_wall(wall),
        ))
    };
    let (here, there) = (of_process(), of_process());
    let (old, dead) = (key("Old"), key("Expired"));
    let (one, two) = tokio::join!(here.of(&old, Purpose::Push), here.of(&old, Purpose::Fleet));
    assert_eq!((one, two), (Some(Ok(Standing::Known)), Some(Ok(Standing::Known))));
    assert_eq!(
        stripe.asked(),
        1,
        "who wants to know meanwhile waits for the same answer"
    );
    // An hour for a push, a day for the fleet, in each process.
    pass(3599);
    assert!(there.of(&old, Purpose::Push).await.unwrap().is_ok());
    assert_eq!(stripe.asked(), 1);
    pass(1);
    assert!(here.of(&old, Purpose::Fleet).await.unwrap().is_ok());
    assert_eq!(stripe.asked(), 1);
    assert!(here.of(&old, Purpose::Push).await.unwrap().is_ok());
    assert_eq!(stripe.asked(), 2);
    // What the other process has asked since is heard here.
    assert!(there.of(&old, Purpose::Push).await.unwrap().is_ok());
    assert_eq!(stripe.asked(), 2);
    pass(24 * 3600);
    assert!(here.of(&old, Purpose::Fleet).await.unwrap().is_ok());
    assert_eq!(stripe.asked(), 3);
    // That it could not be asked is remembered for a minute, and hides nothing that is known.
    *stripe.is_down.lock().unwrap() = true;
    pass(3600);
    assert!(here.of(&old, Purpose::Push).await.unwrap().is_err());
    assert!(here.of(&old, Purpose::Push).await.unwrap().is_err());
    assert!(here.of(&old, Purpose::Fleet).await.unwrap().is_ok());
    assert!(here.of(&dead, Purpose::Fleet).await.unwrap().is_err());
    assert_eq!(stripe.asked(), 5);
    *stripe.is_down.lock().unwrap() = false;
    pass(60);
    assert_eq!(here.of(&dead, Purpose::Push).await, Some(Ok(Standing::Expired)));
    // A clock that was set back makes nothing younger.
    pass(-100);
    assert_eq!(here.of(&dead, Purpose::Push).await, Some(Ok(Standing::Expired)));
    assert_eq!(stripe.asked(), 7);
    here.ask_afresh();
    pass(1);
    assert_eq!(here.of(&dead, Purpose::Fleet).await, Some(Ok(Standing::Expired)));
    assert_eq!(stripe.asked(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_keys_waits_for_a_dead_line_once() {
    let stripe = Stripe::taking(3);
    *stripe.is_down.lock().unwrap() = true;
    let stripe_here: Arc<dyn AskStripe> = Arc::clone(&stripe) as _;
    let clock = Clock::with_wall(|| Timestamp::UNIX_EPOCH);
    let standings = Arc::new(Standings::new(
        Some(stripe_here),
        Arc::new(MemoryStore::default()),
        clock,
    ));
    let begin = tokio::time::Instant::now();
    let mut questions = tokio::task::JoinSet::new();
    for number in 0..50 {
        let standings = Arc::clone(&standings);
        questions.spawn(async move { standings.of(&key(&format!("Key{number}")), Purpose::Fleet).await });
    }
    let answers = questions.join_all().await;
    assert!(answers.iter().all(|asked| matches!(asked, Some(Err(_)))));
    assert_eq!(stripe.asked(), 4, "so many are out at once");
    assert_eq!(begin.elapsed(), Duration::from_secs(3));
}
