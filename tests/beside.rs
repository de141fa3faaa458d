//! Two engines on one store, as two processes have it: what one does not know of the other must send nothing, and
//! call nothing proven.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use stripe_propagate::engine::{self, Clock, Command, Event, Handle, Left, LeftRun, Settings};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::rules::status::{Push, SkipReason, Verify};
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::site_api::SiteApi;
use stripe_propagate::store::memory::MemoryStore;
use stripe_propagate::store::{RunRecord, Store};
use stripe_propagate::text::CleanText;
use tokio::sync::mpsc::UnboundedReceiver;

#[path = "beside/behind.rs"]
mod behind;
#[path = "beside/known_bad.rs"]
mod known_bad;
#[path = "beside/late.rs"]
mod late;
#[path = "beside/waiting.rs"]
mod waiting;

fn key(tail: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_test_51ExampleExampleExample{tail}")).unwrap()
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

/// Shops without caches. A PUT takes a second; `refuses` answers each with 401, `is_away` with 503,
/// `hangs` never.
#[derive(Default)]
struct Shops {
    stored: Mutex<BTreeMap<String, PublishableKey>>,
    puts: Mutex<Vec<(String, PublishableKey)>>,
    refuses: Mutex<bool>,
    is_away: Mutex<bool>,
    hangs: Mutex<bool>,
    looks: Mutex<usize>,
}

impl Shops {
    fn puts(&self) -> usize {
        self.puts.lock().unwrap().len()
    }

    fn last_put(&self) -> PublishableKey {
        self.puts.lock().unwrap().last().unwrap().1.clone()
    }

    fn looks(&self) -> usize {
        *self.looks.lock().unwrap()
    }
}

impl SiteApi for Shops {
    async fn look(&self, site: &Site, _: Duration, _: bool) -> Answer<LookVerdict> {
        *self.looks.lock().unwrap() += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let stored = self.stored.lock().unwrap().get(site.name.as_str()).cloned();
        answer(LookVerdict::Serves(stored.unwrap_or_else(|| key("Old"))))
    }

    async fn put(&self, site: &Site, sent: &PublishableKey) -> Answer<PutVerdict> {
        let name = site.name.to_string();
        self.puts.lock().unwrap().push((name.clone(), sent.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        if *self.hangs.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        if *self.refuses.lock().unwrap() {
            return answer(PutVerdict::Problem(Problem::RefusedKey));
        }
        if *self.is_away.lock().unwrap() {
            return answer(PutVerdict::Problem(Problem::Unavailable));
        }
        self.stored.lock().unwrap().insert(name, sent.clone());
        answer(PutVerdict::Stored)
    }
}

fn sites(names: &[&str]) -> Arc<[Site]> {
    let site = |name: &&str| {
        let url = SiteUrl::parse(&format!("https://{name}.example.com")).unwrap();
        Site {
            name: CleanText::note(name),
            backend: url.backend().into(),
            url,
            group: None,
            mode: SiteMode::Any,
            master_key: MasterKeyId(0),
            enabled: true,
        }
    };
    names.iter().map(site).collect()
}

/// A process: an engine on a store, with what is on record when it begins.
struct Process {
    handle: Handle,
    events: UnboundedReceiver<Event>,
    states: Vec<SiteState>,
    phase: Option<RunPhase>,
    refused: Vec<String>,
    /// How often what is on record was read.
    refreshed: usize,
    sites: Arc<[Site]>,
}

impl Process {
    async fn begin<Db: Store>(
        shops: &Arc<Shops>,
        store: &Arc<Db>,
        sites: &Arc<[Site]>,
        clock: Clock,
    ) -> Self {
        let policy = Policy::default();
        let urls: Vec<SiteUrl> = sites.iter().map(|site| site.url.clone()).collect();
        let known = store.last_known(&urls, &policy, clock.now()).await.unwrap();
        let settings = Settings {
            concurrency: 4,
            per_backend: 2,
            policy,
            left: Left::Awaited,
            ..Settings::default()
        };
        let (sites, shops, store) = (Arc::clone(sites), Arc::clone(shops), Arc::clone(store));
        let (handle, events) =
            engine::start(Arc::clone(&sites), known.clone(), shops, store, settings, clock);
        Self {
            handle,
            events,
            states: known.into_iter().map(|newest| newest.state).collect(),
            phase: None,
            refused: Vec::new(),
            refreshed: 0,
            sites,
        }
    }

    fn push(&self, tail: &str) {
        let unseen = SiteState::default();
        let all = (0..self.sites.len()).map(SiteId::at);
        let plan = Plan::new(key(tail), all, &self.sites, |_| &unseen, Allow::default());
        self.handle.send(Command::Push(plan));
    }

    fn look(&self, expected: Option<PublishableKey>) {
        self.handle.send(Command::Look {
            sites: (0..self.sites.len()).map(SiteId::at).collect(),
            expected,
            attempts: engine::Attempts::Policy,
            background: false,
        });
    }

    /// Ends it, with all that it knows on record.
    async fn leave(mut self) {
        self.handle.send(Command::Leave);
        self.for_seconds(10).await;
    }

    fn retry(&self) {
        let sites = (0..self.sites.len()).map(SiteId::at).collect();
        let allow = Allow::default();
        self.handle.send(Command::Retry { sites, allow });
    }

    fn resume(&self, run: &RunRecord) {
        self.handle.send(Command::Resume(LeftRun {
            id: run.id,
            kind: run.kind,
            key: run.key.clone(),
            began: run.began,
            sites: Vec::new(),
        }));
    }

    /// Takes in what is told within so many seconds.
    async fn for_seconds(&mut self, seconds: u64) {
        self.within(Duration::from_secs(seconds)).await;
    }

    /// While what it has begun is still out.
    async fn for_a_moment(&mut self) {
        self.within(Duration::from_millis(100)).await;
    }

    async fn within(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while let Ok(Some(event)) = tokio::time::timeout_at(end, self.events.recv()).await {
            match event {
                Event::Site { site, state } => self.states[site.index()] = *state,
                Event::Run(run) => self.phase = Some(run.phase),
                Event::NotBegun(error) => self.refused.push(error.to_string()),
                Event::Refreshed { .. } => self.refreshed += 1,
                _ => {}
            }
        }
    }

    fn words(&self, site: usize) -> (Push, Verify) {
        (self.states[site].push, self.states[site].verify)
    }
}

fn stage() -> (Arc<Shops>, Arc<MemoryStore>, Clock) {
    let clock = Clock::with_wall(|| Timestamp::UNIX_EPOCH);
    (Arc::default(), Arc::new(MemoryStore::default()), clock)
}

/// A process dies while its PUTs are out. The store as the next one opens it, and the run that is left.
async fn left_by_a_dead_process(
    shops: &Arc<Shops>,
    store: &Arc<MemoryStore>,
    list: &Arc<[Site]>,
    clock: Clock,
) -> (Arc<MemoryStore>, RunRecord) {
    *shops.hangs.lock().unwrap() = true;
    let mut dead = Process::begin(shops, store, list, clock).await;
    dead.push("One");
    dead.for_seconds(5).await;
    *shops.hangs.lock().unwrap() = false;
    let store = Arc::new(store.reopen());
    let run = store.unfinished_runs().await.unwrap().remove(0);
    (store, run)
}

#[tokio::test(start_paused = true)]
async fn a_retry_sends_nothing_where_a_run_of_another_process_has_stored_a_newer_key() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    *shops.refuses.lock().unwrap() = true;
    let mut first = Process::begin(&shops, &store, &list, clock).await;
    first.push("One");
    first.for_seconds(10).await;
    assert!(matches!(first.words(0).0, Push::Failed(_)));
    *shops.refuses.lock().unwrap() = false;
    let mut second = Process::begin(&shops, &Arc::new(store.beside()), &list, clock).await;
    second.push("Two");
    second.for_seconds(400).await;
    assert_eq!(second.words(0), (Push::Stored, Verify::Verified));
    first.retry();
    first.for_seconds(10).await;
    assert_eq!(shops.puts(), 2, "the older run's key is not sent again");
    assert_eq!(first.words(0).1, Verify::Superseded);
    first.retry();
    first.for_seconds(10).await;
    assert_eq!(shops.puts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_resumed_run_holds_the_store_while_it_finds_out_what_was_stored() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let (store, run) = left_by_a_dead_process(&shops, &store, &list, clock).await;
    let mut next = Process::begin(&shops, &store, &list, clock).await;
    // Its own look at what is unknown is out when the run is taken up.
    next.for_a_moment().await;
    next.resume(&run);
    next.for_a_moment().await;
    let mut other = Process::begin(&shops, &Arc::new(store.beside()), &list, clock).await;
    other.push("Two");
    other.for_a_moment().await;
    assert_eq!(other.refused.len(), 1, "one run at a time sends");
    next.handle.send(Command::Cancel);
    next.for_seconds(30).await;
    assert_eq!(shops.puts(), 1, "what is cancelled is not sent");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_finished_meanwhile_is_not_taken_up_again() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let (store, run) = left_by_a_dead_process(&shops, &store, &list, clock).await;
    let mut asks = Process::begin(&shops, &store, &list, clock).await;
    let mut quick = Process::begin(&shops, &Arc::new(store.beside()), &list, clock).await;
    quick.resume(&run);
    quick.for_seconds(400).await;
    assert_eq!(quick.words(0), (Push::Stored, Verify::Verified));
    let puts = shops.puts();
    asks.resume(&run);
    asks.for_seconds(10).await;
    assert_eq!(
        (shops.puts(), asks.refused.len()),
        (puts, 1),
        "{:?}",
        asks.refused
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_is_not_called_finished() {
    let (shops, store, clock) = stage();
    let (list, others) = (sites(&["a"]), sites(&["b"]));
    let mut asks = Process::begin(&shops, &Arc::new(store.beside()), &list, clock).await;
    let mut settles = Process::begin(&shops, &store, &list, clock).await;
    settles.push("One");
    settles.for_seconds(10).await;
    // The newest run is another one, which is still to be sent.
    let beside = Arc::new(store.beside());
    *shops.hangs.lock().unwrap() = true;
    let mut sends = Process::begin(&shops, &beside, &others, clock).await;
    sends.push("Two");
    sends.for_seconds(5).await;
    let runs = store.runs(2).await.unwrap();
    for run in &runs {
        asks.resume(run);
        settles.resume(run);
    }
    asks.for_seconds(5).await;
    settles.for_seconds(5).await;
    for (process, words) in [
        (
            &asks,
            ["run 2 of  is sending", "run 1 goes on in another process"],
        ),
        (&settles, ["run 2 of  is sending", "run 1 goes on here already"]),
    ] {
        let told = process.refused.iter().zip(words);
        assert!(
            process.refused.len() == 2 && told.into_iter().all(|(told, words)| told.starts_with(words)),
            "{:?}",
            process.refused
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_config_does_not_allow_any_more_is_not_taken_up() {
    let (shops, store, clock) = stage();
    let list = sites(&["a", "b"]);
    let (store, run) = left_by_a_dead_process(&shops, &store, &list, clock).await;
    let mut changed = list.to_vec();
    changed[0].enabled = false;
    changed[1].mode = SiteMode::Live;
    let before = shops.puts();
    let mut next = Process::begin(&shops, &store, &changed.into(), clock).await;
    next.resume(&run);
    next.for_seconds(400).await;
    assert_eq!(shops.puts(), before);
    assert_eq!(next.words(0).0, Push::Skipped(SkipReason::Disabled));
    assert_eq!(next.words(1).0, Push::Skipped(SkipReason::WrongMode));
    assert!(store.unfinished_runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_config_without_the_sites_of_a_run_does_not_end_it() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let (store, run) = left_by_a_dead_process(&shops, &store, &list, clock).await;
    let mut elsewhere = Process::begin(&shops, &store, &sites(&["z"]), clock).await;
    elsewhere.resume(&run);
    elsewhere.for_seconds(10).await;
    elsewhere.handle.send(Command::Leave);
    elsewhere.for_seconds(10).await;
    let store = Arc::new(store.reopen());
    assert_eq!(
        store.unfinished_runs().await.unwrap().len(),
        1,
        "it is still to be finished"
    );
    let mut next = Process::begin(&shops, &store, &list, clock).await;
    next.resume(&run);
    next.for_seconds(400).await;
    assert_eq!(next.words(0), (Push::Stored, Verify::Verified));
    assert_eq!(next.phase, Some(RunPhase::Settled));
    assert!(store.unfinished_runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_look_at_what_a_dead_run_did_not_reach_does_not_end_the_run() {
    let (shops, store, clock) = stage();
    let list = sites(&["a", "b", "c", "d", "e"]);
    let (store, run) = left_by_a_dead_process(&shops, &store, &list, clock).await;
    let mut looks = Process::begin(&shops, &Arc::new(store.beside()), &list, clock).await;
    assert_eq!(looks.words(4), (Push::NotStarted, Verify::Unchecked));
    looks.look(None);
    looks.for_seconds(800).await;
    assert_eq!(looks.words(4), (Push::NotStarted, Verify::Mismatch));
    assert_eq!(store.unfinished_runs().await.unwrap().len(), 1);
    let mut next = Process::begin(&shops, &store, &list, clock).await;
    next.resume(&run);
    next.for_seconds(800).await;
    assert_eq!(next.words(4), (Push::Stored, Verify::Verified));
    assert!(store.unfinished_runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_is_left_to_others_by_who_has_no_part_in_what_is_left() {
    let (shops, store, clock) = stage();
    let list = sites(&["a", "b"]);
    let (store, run) = left_by_a_dead_process(&shops, &store, &list, clock).await;
    let mut part = Process::begin(&shops, &store, &sites(&["a"]), clock).await;
    part.resume(&run);
    part.for_seconds(800).await;
    assert_eq!(part.words(0), (Push::Stored, Verify::Verified));
    assert_eq!(part.phase, Some(RunPhase::Settled));
    // It goes on, as an idle screen does.
    let mut whole = Process::begin(&shops, &Arc::new(store.beside()), &list, clock).await;
    assert_eq!(store.unfinished_runs().await.unwrap().len(), 1);
    whole.resume(&run);
    whole.for_seconds(800).await;
    assert!(whole.refused.is_empty(), "{:?}", whole.refused);
    assert_eq!(whole.words(1), (Push::Stored, Verify::Verified));
    assert!(store.unfinished_runs().await.unwrap().is_empty());
    assert!(!store.runs(1).await.unwrap()[0].live);
}

#[tokio::test(start_paused = true)]
async fn a_look_beside_a_push_says_what_that_knows() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let mut looks = Process::begin(&shops, &store, &list, clock).await;
    let mut pushes = Process::begin(&shops, &Arc::new(store.beside()), &list, clock).await;
    pushes.push("Two");
    pushes.for_seconds(5).await;
    assert_eq!(pushes.words(0), (Push::Stored, Verify::Serving));
    looks.look(None);
    looks.for_seconds(5).await;
    assert_eq!(looks.words(0).1, Verify::Serving, "as the other one knows it");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_ends_gives_up_its_looks_and_waits_for_its_puts() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let mut looks = Process::begin(&shops, &store, &list, clock).await;
    looks.handle.send(Command::Look {
        sites: vec![SiteId(0)],
        expected: None,
        attempts: engine::Attempts::Policy,
        background: false,
    });
    looks.for_a_moment().await;
    assert_eq!(looks.words(0).1, Verify::Checking);
    looks.handle.send(Command::End);
    looks.for_a_moment().await;
    assert!(looks.events.is_closed(), "the look would take a second");

    let store = Arc::new(store.reopen());
    let mut pushes = Process::begin(&shops, &store, &list, clock).await;
    assert_eq!(
        pushes.words(0).1,
        Verify::Unchecked,
        "nothing is known of the look"
    );
    pushes.push("Two");
    // The look before it takes a second.
    pushes.within(Duration::from_millis(1100)).await;
    assert_eq!(pushes.words(0).0, Push::Sending);
    pushes.handle.send(Command::End);
    pushes.for_a_moment().await;
    assert!(!pushes.events.is_closed());
    pushes.for_seconds(5).await;
    assert!(pushes.events.is_closed());
    assert_eq!(pushes.words(0).0, Push::Stored);
}

#[tokio::test(start_paused = true)]
async fn what_another_process_sends_in_the_same_run_is_not_open_here() {
    let (shops, store, clock) = stage();
    let all = sites(&["a", "b"]);
    let (store, run) = left_by_a_dead_process(&shops, &store, &all, clock).await;
    *shops.refuses.lock().unwrap() = true;
    let mut part = Process::begin(&shops, &store, &sites(&["a"]), clock).await;
    part.resume(&run);
    part.for_seconds(10).await;
    assert!(matches!(part.words(0).0, Push::Failed(_)));
    assert_eq!(part.phase, Some(RunPhase::Settled));
    let mut whole = Process::begin(&shops, &Arc::new(store.beside()), &all, clock).await;
    whole.resume(&run);
    whole.for_seconds(10).await;
    assert_eq!(whole.phase, Some(RunPhase::Settled));
    (*shops.refuses.lock().unwrap(), *shops.is_away.lock().unwrap()) = (false, true);
    whole.retry();
    // Its first PUT has been answered, and the next one has not.
    whole.for_seconds(1).await;
    whole.for_a_moment().await;
    assert!(whole.words(0).0.is_open());
    part.handle.send(Command::Refresh { tells_all: false });
    part.for_a_moment().await;
    assert_eq!(part.words(0).0, Push::Retrying);
    // What is in the way is the other one, which sends, and nothing of its own.
    part.push("Two");
    part.for_a_moment().await;
    assert_eq!(part.refused.len(), 1);
}
