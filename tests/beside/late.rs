//! Between what a process reads and what it does with that, something else may have happened.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use stripe_propagate::engine::Command;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::acknowledgement::{Acknowledged, Acknowledgement};
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::standing::Standing;
use stripe_propagate::rules::state::{Allow, Served, SiteState};
use stripe_propagate::rules::status::{Push, SkipReason, Verify};
use stripe_propagate::rules::watch::{Change, Told};
use stripe_propagate::site::{SiteId, SiteUrl};
use stripe_propagate::store::memory::MemoryStore;
use stripe_propagate::store::{
    Intent, LiveRun, NewRun, Newest, Record, Recorded, RunId, RunRecord, RunSite, Seen, SiteRun, Store,
    StoreError, StoredAttempt,
};

use super::{Process, key, left_by_a_dead_process, sites, stage};

type Between = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A store on which something happens just before the right to send is taken.
struct Late {
    db: MemoryStore,
    between: Mutex<Option<Between>>,
    /// Before the next answer to what is on record.
    slow: Mutex<Option<Between>>,
    /// Takes no record.
    full: AtomicBool,
}

impl Late {
    fn new(db: MemoryStore, between: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        let between: Between = Box::pin(between);
        Arc::new(Self {
            db,
            between: Mutex::new(Some(between)),
            slow: Mutex::default(),
            full: AtomicBool::default(),
        })
    }

    async fn between(&self) {
        let between = self.between.lock().unwrap().take();
        if let Some(between) = between {
            between.await;
        }
    }
}

impl Store for Late {
    async fn begin_run(&self, run: NewRun) -> Result<RunId, StoreError> {
        self.between().await;
        self.db.begin_run(run).await
    }

    async fn resume_run(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        self.between().await;
        self.db.resume_run(run, at).await
    }

    async fn run_sent(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        self.db.run_sent(run, at).await
    }

    async fn end_run(&self, run: RunId, at: Moment) -> Result<bool, StoreError> {
        self.db.end_run(run, at).await
    }

    async fn close_run(&self, run: RunId, at: Moment) -> Result<(), StoreError> {
        self.db.close_run(run, at).await
    }

    async fn record_intent(&self, intent: Intent) -> Result<Recorded, StoreError> {
        self.db.record_intent(intent).await
    }

    fn record(&self, record: Record) -> impl Future<Output = Result<Recorded, StoreError>> + Send + 'static {
        let full = self.full.load(Ordering::Relaxed);
        let recorded = (!full).then(|| self.db.record(record));
        async move {
            match recorded {
                Some(recorded) => recorded.await,
                None => Err(StoreError::Failed("disk full".to_owned())),
            }
        }
    }

    async fn last_known(
        &self,
        sites: &[SiteUrl],
        policy: &Policy,
        now: Moment,
    ) -> Result<Vec<Newest>, StoreError> {
        let known = self.db.last_known(sites, policy, now).await;
        let slow = self.slow.lock().unwrap().take();
        if let Some(slow) = slow {
            slow.await;
        }
        known
    }

    fn adopt<'a>(&self, newest: impl IntoIterator<Item = (&'a SiteUrl, &'a Newest)>) {
        self.db.adopt(newest);
    }

    async fn runs(&self, count: usize) -> Result<Vec<RunRecord>, StoreError> {
        self.db.runs(count).await
    }

    async fn unfinished_runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        self.db.unfinished_runs().await
    }

    async fn live_runs(&self) -> Result<Vec<LiveRun>, StoreError> {
        self.db.live_runs().await
    }

    async fn run_sites(&self, run: RunId) -> Result<Vec<RunSite>, StoreError> {
        self.db.run_sites(run).await
    }

    async fn site_runs(&self, site: &SiteUrl, count: usize) -> Result<Vec<SiteRun>, StoreError> {
        self.db.site_runs(site, count).await
    }

    async fn attempts(
        &self,
        run: Option<RunId>,
        site: Option<&SiteUrl>,
        count: usize,
    ) -> Result<Vec<StoredAttempt>, StoreError> {
        self.db.attempts(run, site, count).await
    }

    async fn timeline(&self, site: &SiteUrl, count: usize) -> Result<Vec<Seen>, StoreError> {
        self.db.timeline(site, count).await
    }

    async fn was_served(&self, key: &PublishableKey) -> Result<bool, StoreError> {
        self.db.was_served(key).await
    }

    async fn standing(&self, key: &PublishableKey) -> Result<Option<(Standing, Timestamp)>, StoreError> {
        self.db.standing(key).await
    }

    async fn remember_standing(
        &self,
        key: &PublishableKey,
        standing: Standing,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.db.remember_standing(key, standing, at).await
    }

    async fn list(&self, of: &str) -> Result<Option<Vec<SiteUrl>>, StoreError> {
        self.db.list(of).await
    }

    async fn keep_list(&self, of: &str, sites: Vec<SiteUrl>) -> Result<(), StoreError> {
        self.db.keep_list(of, sites).await
    }

    async fn acknowledge(
        &self,
        sites: &[SiteUrl],
        acknowledgement: Option<Acknowledgement>,
    ) -> Result<(), StoreError> {
        self.db.acknowledge(sites, acknowledgement).await
    }

    async fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        self.db.acknowledged().await
    }

    async fn told(&self) -> Result<Told, StoreError> {
        self.db.told().await
    }

    async fn tell(&self, changes: Vec<Change>, at: Timestamp) -> Result<Vec<Change>, StoreError> {
        self.db.tell(changes, at).await
    }

    async fn has_changed(&self) -> Result<bool, StoreError> {
        self.db.has_changed().await
    }

    async fn prune(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.db.prune(before).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_replaces_what_an_older_run_has_stored_just_before() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let (db, between) = (store.beside(), {
        let (shops, list) = (Arc::clone(&shops), Arc::clone(&list));
        async move {
            let mut quick = Process::begin(&shops, &store, &list, clock).await;
            quick.push("One");
            quick.for_seconds(5).await;
            assert_eq!(quick.words(0), (Push::Stored, Verify::Serving));
        }
    });
    let late = Late::new(db, between);
    let mut process = Process::begin(&shops, &late, &list, clock).await;
    process.push("Two");
    process.for_seconds(800).await;
    assert_eq!((shops.puts(), shops.last_put()), (2, key("Two")));
    assert_eq!(process.words(0), (Push::Stored, Verify::Verified));
    assert_eq!(process.phase, Some(RunPhase::Settled));
    let runs = late.runs(9).await.unwrap();
    assert!(runs.len() == 2 && runs.iter().all(|run| run.ended.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_push_replaces_what_a_process_that_died_just_before_may_have_stored() {
    let (shops, store, clock) = stage();
    let list = sites(&["a", "b", "c", "d", "e"]);
    let (db, between) = (store.beside(), {
        let (shops, list) = (Arc::clone(&shops), Arc::clone(&list));
        async move {
            let _left = left_by_a_dead_process(&shops, &store, &list, clock).await;
        }
    });
    let late = Late::new(db, between);
    let mut process = Process::begin(&shops, &late, &list, clock).await;
    process.push("Two");
    process.for_seconds(800).await;
    let stored = shops.stored.lock().unwrap().clone();
    assert!(
        stored.len() == 5 && stored.values().all(|stored| *stored == key("Two")),
        "{stored:?}"
    );
    for site in 0..5 {
        assert_eq!(process.words(site), (Push::Stored, Verify::Verified));
    }
    assert_eq!(process.phase, Some(RunPhase::Settled));
    assert!(late.unfinished_runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_cancelled_there_ends() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let (db, between) = (store.beside(), {
        let (shops, list) = (Arc::clone(&shops), Arc::clone(&list));
        async move {
            let _left = left_by_a_dead_process(&shops, &store, &list, clock).await;
        }
    });
    let late = Late::new(db, between);
    let mut process = Process::begin(&shops, &late, &list, clock).await;
    process.push("Two");
    process.handle.send(Command::Cancel);
    process.for_seconds(800).await;
    assert_eq!(shops.puts(), 1, "nothing of it was sent");
    assert_eq!(process.words(0).0, Push::Cancelled);
    assert_eq!(process.phase, Some(RunPhase::Settled));
    let newest = late.runs(1).await.unwrap().remove(0);
    assert!(
        newest.ended.is_some() && newest.counts.contains_key("cancelled"),
        "{newest:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_that_another_process_took_up_just_before_goes_on_where_that_left_it() {
    let (shops, store, clock) = stage();
    let list = sites(&["a", "b", "c", "d", "e"]);
    let (store, run) = left_by_a_dead_process(&shops, &store, &list, clock).await;
    let before = shops.puts();
    let (db, between) = (store.beside(), {
        let (shops, list, run) = (Arc::clone(&shops), Arc::clone(&list), run.clone());
        async move {
            let mut quick = Process::begin(&shops, &store, &list, clock).await;
            quick.resume(&run);
            quick.for_seconds(20).await;
            assert_eq!(quick.words(4), (Push::Stored, Verify::Serving));
            quick.leave().await;
            let _dead = store.reopen();
        }
    });
    let late = Late::new(db, between);
    let mut process = Process::begin(&shops, &late, &list, clock).await;
    process.resume(&run);
    process.for_seconds(1000).await;
    assert_eq!(shops.puts() - before, 5, "nothing is sent twice");
    for site in 0..5 {
        assert_eq!(process.words(site), (Push::Stored, Verify::Verified));
    }
    assert_eq!(process.phase, Some(RunPhase::Settled));
    assert!(late.unfinished_runs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_read_slowly_holds_up_no_order_and_takes_nothing_back() {
    let (shops, store, clock) = stage();
    let list = sites(&["a", "b"]);
    let late = Late::new(store.beside(), std::future::ready(()));
    let mut process = Process::begin(&shops, &late, &list, clock).await;
    let minute: Between = Box::pin(tokio::time::sleep(std::time::Duration::from_mins(1)));
    *late.slow.lock().unwrap() = Some(minute);
    process.handle.send(Command::Refresh { tells_all: true });
    process.for_a_moment().await;
    assert!(late.slow.lock().unwrap().is_none(), "it is read");
    process.push("Two");
    process.for_seconds(10).await;
    assert_eq!(shops.puts(), 2);
    assert_eq!(process.words(0), (Push::Stored, Verify::Serving));
    assert_eq!(process.refreshed, 0);
    process.for_seconds(60).await;
    assert_eq!(process.refreshed, 1);
    assert_eq!(process.words(0), (Push::Stored, Verify::Serving));
    process.for_seconds(400).await;
    assert_eq!(process.words(1), (Push::Stored, Verify::Verified));
    assert_eq!(process.phase, Some(RunPhase::Settled));
}

/// The key is to replace "Old", and no other.
fn push_over_old(process: &Process, tail: &str) {
    let unseen = SiteState::default();
    let all = (0..process.sites.len()).map(SiteId::at);
    let mut plan = Plan::new(key(tail), all, &process.sites, |_| &unseen, Allow::default());
    for row in &mut plan.rows {
        row.serves = Served::Key(key("Old"));
    }
    process.handle.send(Command::Push(plan));
}

#[tokio::test(start_paused = true)]
async fn the_right_to_send_is_kept_until_the_store_has_answered() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let (db, between) = (store.beside(), {
        let (shops, list) = (Arc::clone(&shops), Arc::clone(&list));
        async move {
            let mut quick = Process::begin(&shops, &store, &list, clock).await;
            quick.push("One");
            quick.for_seconds(5).await;
        }
    });
    let late = Late::new(db, between);
    let mut process = Process::begin(&shops, &late, &list, clock).await;
    push_over_old(&process, "Two");
    for _second in 0..1000 {
        process.for_seconds(1).await;
        assert_ne!(process.phase, Some(RunPhase::Halted));
    }
    assert_eq!(process.phase, Some(RunPhase::Settled));
    assert_eq!(process.words(0), (Push::Stored, Verify::Verified));
    assert_eq!((shops.puts(), shops.last_put()), (2, key("Two")));
    assert!(process.refused.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_its_own_look_has_shown_is_not_replaced_unasked() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let (db, between) = (store.beside(), {
        let (shops, list) = (Arc::clone(&shops), Arc::clone(&list));
        async move {
            let mut quick = Process::begin(&shops, &store, &list, clock).await;
            quick.push("One");
            quick.for_seconds(5).await;
            // Somebody else puts another one there.
            shops
                .stored
                .lock()
                .unwrap()
                .insert("a".to_owned(), key("Foreign"));
        }
    });
    let late = Late::new(db, between);
    let mut process = Process::begin(&shops, &late, &list, clock).await;
    push_over_old(&process, "Two");
    process.for_seconds(1000).await;
    assert_eq!(shops.puts(), 1, "nobody has said that it may be replaced");
    assert_eq!(process.words(0).0, Push::Skipped(SkipReason::ChangedMeanwhile));
    assert_eq!(process.phase, Some(RunPhase::Settled));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_ended_sends_nothing_more_whatever_the_store_says() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    *shops.refuses.lock().unwrap() = true;
    let mut older = Process::begin(&shops, &store, &list, clock).await;
    older.push("One");
    // Until what it has seen is no longer new.
    older.for_seconds(400).await;
    *shops.refuses.lock().unwrap() = false;
    shops
        .stored
        .lock()
        .unwrap()
        .insert("a".to_owned(), key("Foreign"));
    let mut process = Process::begin(&shops, &Arc::new(store.beside()), &list, clock).await;
    push_over_old(&process, "Two");
    process.for_seconds(10).await;
    assert_eq!(process.words(0).0, Push::Skipped(SkipReason::ChangedMeanwhile));
    assert_eq!(process.phase, Some(RunPhase::Settled));
    older.retry();
    older.for_seconds(10).await;
    assert_eq!((shops.puts(), shops.last_put()), (2, key("One")));
    // Its own look is answered with that.
    process.look(None);
    process.for_seconds(10).await;
    assert_eq!((process.words(0).0, shops.puts()), (Push::Cancelled, 2));
    assert_eq!(process.states[0].expected, Some(key("One")));
    assert_eq!(process.phase, Some(RunPhase::Settled));
    process.push("Three");
    process.for_seconds(800).await;
    assert!(process.refused.is_empty(), "{:?}", process.refused);
    assert_eq!((shops.puts(), shops.last_put()), (3, key("Three")));
    assert_eq!(process.words(0), (Push::Stored, Verify::Verified));
    assert_eq!(process.phase, Some(RunPhase::Settled));
}

#[tokio::test(start_paused = true)]
async fn of_two_readings_the_newer_counts() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let late = Late::new(store.beside(), std::future::ready(()));
    let mut process = Process::begin(&shops, &late, &list, clock).await;
    let seconds =
        |seconds| -> Between { Box::pin(tokio::time::sleep(std::time::Duration::from_secs(seconds))) };
    *late.slow.lock().unwrap() = Some(seconds(30));
    process.handle.send(Command::Refresh { tells_all: false });
    process.for_a_moment().await;
    let mut other = Process::begin(&shops, &store, &list, clock).await;
    other.push("One");
    other.for_seconds(5).await;
    *late.slow.lock().unwrap() = Some(seconds(60));
    process.handle.send(Command::Refresh { tells_all: false });
    process.for_seconds(40).await;
    assert_eq!((process.refreshed, process.words(0).0), (1, Push::Idle));
    process.for_seconds(40).await;
    assert_eq!(process.refreshed, 2);
    assert_eq!(process.words(0), (Push::Stored, Verify::Serving));
    // The other way round.
    *late.slow.lock().unwrap() = Some(seconds(600));
    process.handle.send(Command::Refresh { tells_all: false });
    process.for_a_moment().await;
    other.for_seconds(400).await;
    process.handle.send(Command::Refresh { tells_all: false });
    process.for_seconds(10).await;
    assert_eq!(process.words(0), (Push::Stored, Verify::Verified));
    process.for_seconds(600).await;
    assert_eq!(process.refreshed, 4);
    assert_eq!(process.words(0), (Push::Stored, Verify::Verified));
}

#[tokio::test(start_paused = true)]
async fn what_the_store_did_not_take_is_not_forgotten_when_it_is_read() {
    let (shops, store, clock) = stage();
    let list = sites(&["a"]);
    let late = Late::new(store.beside(), std::future::ready(()));
    let mut process = Process::begin(&shops, &late, &list, clock).await;
    late.full.store(true, Ordering::Relaxed);
    process.look(None);
    process.for_seconds(5).await;
    let old = Served::Key(key("Old"));
    assert_eq!(process.states[0].now, old);
    process.handle.send(Command::Refresh { tells_all: true });
    process.for_seconds(5).await;
    assert_eq!((process.refreshed, &process.states[0].now), (1, &old));
    // Once it takes something of the site again, what it knows is worth as much.
    late.full.store(false, Ordering::Relaxed);
    process.look(None);
    process.for_seconds(5).await;
    let mut other = Process::begin(&shops, &store, &list, clock).await;
    other.push("One");
    other.for_seconds(5).await;
    process.handle.send(Command::Refresh { tells_all: false });
    process.for_seconds(5).await;
    assert_eq!(process.words(0), (Push::Stored, Verify::Serving));
}
