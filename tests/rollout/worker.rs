use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use stripe_propagate::engine::{self, Chunk, Command, Event, Handle, Settings};
use stripe_propagate::rules::outcome::Problem;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::{Kind, RunId};
use stripe_propagate::rules::state::{Allow, Served};
use stripe_propagate::site::{Site, SiteId};
use stripe_propagate::store::memory::MemoryStore;
use stripe_propagate::store::workers::ChunkId;
use stripe_propagate::store::{NewRun, PlannedSite, Store};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout, timeout_at};

use super::world::{Asked, DAY, Reply, World, key, sites, well};

/// How long a site takes for its PUT.
const SLOW: Duration = Duration::from_secs(1);

/// A worker's engine, and the store in which it has the right to send.
struct Worker {
    world: Arc<World>,
    store: Arc<MemoryStore>,
    sites: Arc<[Site]>,
    handle: Handle,
    events: UnboundedReceiver<Event>,
    open: HashSet<ChunkId>,
}

impl Worker {
    fn of(count: usize, behaviour: impl Fn(Asked) -> (Reply, Duration) + Send + Sync + 'static) -> Self {
        let world = World::of(behaviour);
        let store = Arc::new(MemoryStore::default());
        let sites = sites(count, None);
        let (handle, events) = engine::start(
            Arc::clone(&sites),
            Vec::new(),
            Arc::clone(&world),
            Arc::clone(&store),
            Settings::default(),
            world.clock,
        );
        Self {
            world,
            store,
            sites,
            handle,
            events,
            open: HashSet::new(),
        }
    }

    /// A run of these sites begins, and has the right to send.
    async fn begins(&self, of: Range<usize>) -> RunId {
        let planned = |site: &Site| PlannedSite {
            site: site.url.clone(),
            name: site.name.clone(),
            group: None,
            left_out: None,
            key: key("New"),
            serves: Served::Unknown,
        };
        let run = NewRun {
            kind: Kind::Push,
            parent: None,
            key: key("New"),
            allow: Allow::default(),
            at: self.world.clock.now(),
            sites: self.sites[of].iter().map(planned).collect(),
        };
        self.store.begin_run(run).await.unwrap()
    }

    /// The right to send goes from one run to the other: this store gives it to one at a time.
    async fn turns(&self, from: RunId, to: RunId) {
        let now = self.world.clock.now();
        self.store.run_sent(from, now).await.unwrap();
        self.store.resume_run(to, now).await.unwrap();
    }

    async fn takes(&mut self, run: RunId, number: u64, of: Range<usize>) {
        let urls: Vec<_> = self.sites[of.clone()]
            .iter()
            .map(|site| site.url.clone())
            .collect();
        let now = self.world.clock.now();
        let known = self
            .store
            .last_known(&urls, &Policy::default(), now)
            .await
            .unwrap();
        let id = ChunkId { run, number };
        self.open.insert(id);
        self.handle.send(Command::TakeChunk(Box::new(Chunk {
            id,
            wave: 0,
            puts: true,
            key: key("New"),
            sites: of.map(SiteId::at).zip(known).collect(),
        })));
    }

    fn take(&mut self, event: &Event) {
        if let Event::ChunkOver(id) = event {
            assert!(self.open.remove(id), "{id:?}");
        }
    }

    async fn for_millis(&mut self, millis: u64) {
        let until = Instant::now() + Duration::from_millis(millis);
        while let Ok(event) = timeout_at(until, self.events.recv()).await {
            self.take(&event.unwrap());
        }
    }

    async fn has_done_all(&mut self) {
        while !self.open.is_empty() {
            let event = timeout(DAY, self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("never done with: {:?}", self.open));
            self.take(&event.unwrap());
        }
    }

    /// How many of these sites saw a PUT.
    fn puts(&self, of: &Range<usize>) -> usize {
        let record = self.world.record.lock().unwrap();
        record.puts().filter(|put| of.contains(&put.site)).count()
    }
}

/// Has a chunk of one run while the key is on trial, then one of another run, and then one more of the first.
async fn with_chunks_of_two_runs(
    behaviour: impl Fn(Asked) -> (Reply, Duration) + Send + Sync + 'static,
) -> (usize, usize) {
    let (one, other) = (0..20, 20..30);
    let mut worker = Worker::of(30, behaviour);
    let first = worker.begins(one.clone()).await;
    worker.takes(first, 1, 0..10).await;
    worker.for_millis(300).await;
    worker
        .store
        .run_sent(first, worker.world.clock.now())
        .await
        .unwrap();
    let second = worker.begins(other.clone()).await;
    worker.takes(second, 1, other.clone()).await;
    worker.for_millis(300).await;
    assert_eq!((worker.puts(&one), worker.puts(&other)), (2, 2));
    // What the PUTs of each are answered lets others of the same run go.
    worker.turns(second, first).await;
    worker.for_millis(600).await;
    worker.turns(first, second).await;
    worker.for_millis(5000).await;
    worker.turns(second, first).await;
    worker.takes(first, 2, 10..20).await;
    worker.has_done_all().await;
    (worker.puts(&one), worker.puts(&other))
}

#[tokio::test(start_paused = true)]
async fn a_worker_with_chunks_of_two_runs_leaves_no_site_of_either_waiting() {
    let slowly = |asked: Asked| {
        if asked.is_put {
            (Reply::Well, SLOW)
        } else {
            well(asked)
        }
    };
    assert_eq!(with_chunks_of_two_runs(slowly).await, (20, 10));
}

#[tokio::test(start_paused = true)]
async fn a_worker_tries_a_wrong_key_on_two_sites_of_each_run_however_their_chunks_alternate() {
    let refuses = |asked: Asked| {
        if asked.is_put {
            (Reply::Bad(Problem::RefusedKey), SLOW)
        } else {
            well(asked)
        }
    };
    assert_eq!(with_chunks_of_two_runs(refuses).await, (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_site_of_which_a_later_run_comes_while_a_look_of_the_first_is_out_leaves_no_chunk_open() {
    let looks_slowly = |asked: Asked| {
        if asked.is_put || asked.number == 1 {
            well(asked)
        } else {
            (Reply::Well, SLOW)
        }
    };
    let mut worker = Worker::of(1, looks_slowly);
    let first = worker.begins(0..1).await;
    worker.takes(first, 1, 0..1).await;
    worker.for_millis(300).await;
    assert_eq!(worker.puts(&(0..1)), 1);
    let now = worker.world.clock.now();
    worker.store.run_sent(first, now).await.unwrap();
    let second = worker.begins(0..1).await;
    worker.takes(second, 1, 0..1).await;
    worker.has_done_all().await;
    assert_eq!(worker.puts(&(0..1)), 2);
    let record = worker.world.record.lock().unwrap();
    assert_eq!(record.most_of_backend.values().max(), Some(&1));
}
