use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stripe_propagate::engine::Clock;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, PutVerdict};
use stripe_propagate::rules::run::Kind;
use stripe_propagate::rules::state::{Allow, Call, Served, SiteState};
use stripe_propagate::site::SiteUrl;
use stripe_propagate::store::memory::MemoryStore;
use stripe_propagate::store::sqlite::SqliteStore;
use stripe_propagate::store::{
    Intent, NewRun, Operator, Outcome, PlannedSite, Record, Recorded, Request, RunId, Store, StoreError,
};
use stripe_propagate::text::CleanText;

use crate::fleet::{key, settings};
use crate::{Sizes, Spread, cpu, float, folder};

/// How many wait for the store at once: as many as a push has requests out.
const WAITERS: usize = 64;
/// How often each is measured.
const ROUNDS: usize = 3;
/// What is told of a site in a push: the look, that the PUT is about to go, what came of it, the look behind it.
const RECORDS: usize = 4;

/// A record that is not durable yet.
type OnItsWay = Pin<Box<dyn Future<Output = Result<Recorded, StoreError>> + Send>>;

/// A run on a store, without anything that is sent.
struct Bare<Db> {
    store: Arc<Db>,
    run: RunId,
    urls: Vec<SiteUrl>,
    key: PublishableKey,
    clock: Clock,
}

impl<Db: Store> Bare<Db> {
    async fn begin(store: Db, sites: usize) -> anyhow::Result<Self> {
        let (clock, key) = (Clock::start(), key(1)?);
        let url = |index: usize| SiteUrl::parse(&format!("https://shop-{index:06}.example.com"));
        let urls = (0..sites).map(url).collect::<Result<Vec<_>, _>>()?;
        let planned = |url: &SiteUrl| PlannedSite {
            site: url.clone(),
            name: url.default_name(),
            group: None,
            left_out: None,
            key: key.clone(),
            serves: Served::Unknown,
        };
        let new = NewRun {
            kind: Kind::Push,
            parent: None,
            key: key.clone(),
            allow: Allow::default(),
            at: clock.now(),
            sites: urls.iter().map(planned).collect(),
        };
        Ok(Self {
            run: store.begin_run(new).await?,
            store: Arc::new(store),
            urls,
            key,
            clock,
        })
    }

    fn record(&self, site: usize, request: Request, number: u32, state: &SiteState) -> Record {
        let at = self.clock.now();
        let (served, note) = match request {
            Request::Put => (Served::Unknown, "stored".to_owned()),
            Request::Get => (state.now.clone(), format!("serves {}", self.key)),
        };
        Record {
            site: self.urls[site].clone(),
            at,
            outcome: Some(Outcome {
                run: Some(self.run),
                request,
                number,
                at,
                ms: 20,
                http: Some(200),
                cause: None,
                served,
                note: CleanText::note(&note),
            }),
            state: state.clone(),
            note: CleanText::default(),
        }
    }

    /// What a push tells of a site. As in a push only the PUT waits: until its intent is durable. Returns what is
    /// still on its way.
    async fn push(&self, site: usize) -> anyhow::Result<[OnItsWay; RECORDS - 1]> {
        let policy = settings().policy;
        let now = || self.clock.now();
        let old = key(0)?;
        let mut state = SiteState::default();
        state.run = Some(self.run);
        let _next = state.order_push(self.key.clone(), Allow::default(), false, now());
        state.calling(Call::LookBefore, &policy, now());
        let _next = state.looked_before(&answer(LookVerdict::Serves(old)), &policy, now(), 0.0);
        let looked = self.record(site, Request::Get, 1, &state);
        let looked: OnItsWay = Box::pin(self.store.record(looked));
        state.calling(Call::Put, &policy, now());
        let intent = Intent {
            run: self.run,
            site: self.urls[site].clone(),
            number: state.puts,
            key: self.key.clone(),
            at: now(),
        };
        self.store.record_intent(intent).await?;
        let _next = state.put_answered(&answer(PutVerdict::Stored), &policy, now(), 0.0);
        let stored = self.record(site, Request::Put, 1, &state);
        let stored: OnItsWay = Box::pin(self.store.record(stored));
        state.calling(Call::Look, &policy, now());
        let serves = LookVerdict::Serves(self.key.clone());
        let _next = state.looked(&answer(serves), &policy, now(), 0.0);
        let proven = self.store.record(self.record(site, Request::Get, 2, &state));
        Ok([looked, stored, Box::pin(proven)])
    }

    /// Tells of all sites, [`WAITERS`] at once, until all is durable.
    async fn push_all(self: &Arc<Self>) -> anyhow::Result<()> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut waiters = tokio::task::JoinSet::new();
        for _ in 0..WAITERS {
            let (bare, next) = (Arc::clone(self), Arc::clone(&next));
            waiters.spawn(async move {
                let mut on_their_way = Vec::new();
                loop {
                    let site = next.fetch_add(1, Ordering::Relaxed);
                    if site >= bare.urls.len() {
                        break;
                    }
                    on_their_way.extend(bare.push(site).await?);
                }
                for recorded in on_their_way {
                    anyhow::ensure!(recorded.await? == Recorded::Known, "taken over");
                }
                Ok(())
            });
        }
        waiters.join_all().await.into_iter().collect()
    }
}

fn answer<Verdict>(verdict: Verdict) -> Answer<Verdict> {
    Answer {
        verdict,
        http: Some(200),
        took: Duration::from_millis(20),
        retry_after: None,
        detail: CleanText::default(),
        alarm: None,
    }
}

/// Records as fast as the store takes them: how many a second, and what each costs.
pub(crate) async fn storm(sizes: Sizes) -> anyhow::Result<()> {
    println!(
        "The store alone: {} intents and records, {WAITERS} waiters, {ROUNDS} rounds of each in turn:\n",
        RECORDS * sizes.storm
    );
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = folder()?;
        let sqlite = SqliteStore::open(&folder.path().join("store.db"), Operator::default())?;
        with.push(storm_on(sqlite, sizes.storm).await?);
        without.push(storm_on(MemoryStore::default(), sizes.storm).await?);
    }
    println!("| store | records/s: median | least | most | CPU µs a record |");
    println!("| --- | --: | --: | --: | --: |");
    for (name, rounds) in [("in memory", without), ("SQLite", with)] {
        let speed = Spread::of(rounds.iter().map(|round| round.0));
        let cpu = Spread::of(rounds.iter().map(|round| round.1));
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.1} |",
            speed.median, speed.least, speed.most, cpu.median
        );
    }
    println!();
    Ok(())
}

/// Records a second, and microseconds of CPU a record.
async fn storm_on<Db: Store>(store: Db, sites: usize) -> anyhow::Result<(f64, f64)> {
    let bare = Arc::new(Bare::begin(store, sites).await?);
    let (begin, cpu_before) = (Instant::now(), cpu());
    bare.push_all().await?;
    let (took, cpu) = (begin.elapsed(), cpu().saturating_sub(cpu_before));
    let records = float(RECORDS * sites);
    Ok((records / took.as_secs_f64(), cpu.as_secs_f64() * 1e6 / records))
}

/// How long it takes to learn what is known of all sites, right after a start.
pub(crate) async fn known(sizes: Sizes) -> anyhow::Result<()> {
    println!("What is known of each site after a push, asked for at a start, {ROUNDS} times:\n");
    println!("| sites | ms: median | least | most | the file, MB |");
    println!("| --: | --: | --: | --: | --: |");
    for sites in sizes.known {
        let folder = folder()?;
        let path = folder.path().join("store.db");
        let bare = Arc::new(Bare::begin(SqliteStore::open(&path, Operator::default())?, sites).await?);
        bare.push_all().await?;
        bare.store.end_run(bare.run, bare.clock.now()).await?;
        let (urls, clock) = (bare.urls.clone(), bare.clock);
        drop(bare);
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            let store = SqliteStore::open(&path, Operator::default())?;
            let begin = Instant::now();
            let states = store.last_known(&urls, &settings().policy, clock.now()).await?;
            took.push(begin.elapsed().as_secs_f64() * 1000.0);
            anyhow::ensure!(
                states.iter().all(|newest| newest.state.puts == 1),
                "a site is forgotten"
            );
        }
        let (took, bytes) = (Spread::of(took), std::fs::metadata(&path)?.len());
        println!(
            "| {sites} | {:.0} | {:.0} | {:.0} | {} |",
            took.median,
            took.least,
            took.most,
            bytes / 1_000_000
        );
    }
    Ok(())
}
