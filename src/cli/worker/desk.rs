use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use super::runs::Runs;
use crate::cli::gate::Refused;
use crate::cli::sending::say;
use crate::cli::session::{Db, Local, Session};
use crate::cli::who;
use crate::engine::{Chunk, Clock, Command};
use crate::policy::Denied;
use crate::rules::moment::Moment;
use crate::rules::note::note;
use crate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use crate::rules::retry::Policy;
use crate::rules::run::RunId;
use crate::rules::state::{Call, SiteState};
use crate::rules::status::Push;
use crate::site::{MasterKeyId, SiteId, SiteUrl};
use crate::store::any::AnyStore;
use crate::store::postgres::{NotDone, PostgresStore, Work};
use crate::store::workers::{ChunkId, Take, TakenChunk};
use crate::store::{Newest, Record, Store, StoreError};
use crate::text::CleanText;

/// How long is waited before the store is asked again.
const BETWEEN: Duration = Duration::from_secs(1);
/// How long the job of a chunk that another worker may have rests at most: what ends sooner is seen as soon as this.
const RESTS: Duration = Duration::from_secs(5);

/// Brings what the queue hands out to the engine, and back.
pub(super) struct Desk {
    store: Arc<Db>,
    local: Local,
    policy: Policy,
    clock: Clock,
    places: HashMap<SiteUrl, SiteId>,
    /// The chunks that this process works on, and who waits for each.
    open: Mutex<HashMap<ChunkId, Option<oneshot::Sender<()>>>>,
    /// What was told of the runs that it works on.
    runs: Mutex<Runs>,
    /// Whether nothing more is begun.
    stops: AtomicBool,
    /// Whether the engine has ended.
    has_ended: AtomicBool,
    /// Who asks what is recalled has it.
    recalls: Arc<tokio::sync::Mutex<()>>,
    denied: Mutex<Option<Refused>>,
    is_denied: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    pub(super) fn new(session: &Session) -> Self {
        let places = (0..).map(SiteId).zip(session.sites.iter());
        Self {
            store: Arc::clone(&session.store),
            local: session.local.clone(),
            policy: session.policy.clone(),
            clock: session.clock,
            places: places.map(|(id, site)| (site.url.clone(), id)).collect(),
            open: Mutex::default(),
            runs: Mutex::default(),
            stops: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            recalls: Arc::default(),
            denied: Mutex::default(),
            is_denied: Notify::new(),
        }
    }

    /// Tells the others that here is a worker.
    pub(super) async fn announce(&self) -> Result<(), StoreError> {
        self.database().map_err(StoreError::Failed)?.takes_work().await
    }

    /// What the queue calls.
    pub(super) fn work(desk: &Arc<Self>) -> Work {
        let desk = Arc::clone(desk);
        Arc::new(move |id| {
            let desk = Arc::clone(&desk);
            Box::pin(async move { desk.work_on(id).await })
        })
    }

    /// Until the policy lets this user send no more.
    pub(super) async fn is_denied(&self) {
        self.is_denied.notified().await;
    }

    pub(super) fn denied(&self) -> Option<Refused> {
        lock(&self.denied).take()
    }

    /// The engine has done with a chunk.
    pub(super) fn is_over(&self, id: ChunkId) {
        let waits = lock(&self.open).get_mut(&id).and_then(Option::take);
        if let Some(waits) = waits {
            // Where nobody waits, it was given back.
            let _nobody = waits.send(());
        }
    }

    /// What has become of a site.
    pub(super) fn sees(&self, site: SiteId, state: &SiteState) {
        lock(&self.runs).sees(site, state);
    }

    /// Two sites have refused a master key of this worker.
    pub(super) fn key_refused(&self, run: RunId, key: MasterKeyId) {
        let place = CleanText::note(&self.local.master_keys.place(key));
        tracing::error!(run = run.0, %place, "two sites refuse a master key");
        say(&format!(
            "run {}: two sites refused a master key that this worker has, and it asks no other with that: mend it \
             ({place}), start the worker anew, and have them retried",
            run.0
        ));
    }

    /// Tells of which runs nothing is here any more; `ends`, that nothing more comes.
    pub(super) fn tell_of_runs(&self, ends: bool) {
        let mut runs = lock(&self.runs);
        let lines = if ends {
            runs.all_ended()
        } else {
            runs.ended(Instant::now())
        };
        for line in lines {
            say(&line);
        }
    }

    /// Nothing more is begun.
    pub(super) fn stop(&self) {
        self.stops.store(true, Ordering::SeqCst);
    }

    /// The engine has ended.
    pub(super) fn give_all_back(&self) {
        self.stop();
        self.has_ended.store(true, Ordering::SeqCst);
        let all: Vec<ChunkId> = lock(&self.open).keys().copied().collect();
        for id in all {
            self.is_over(id);
        }
    }

    /// Asks which chunks may send no more, and has the engine give them back; unless that is asked yet.
    pub(super) fn take_recalls(self: &Arc<Self>) {
        // What is not taken yet is not this process's to send, and would seem to be recalled.
        let taken = |(id, waits): (&ChunkId, &Option<_>)| waits.is_some().then_some(*id);
        let open: Vec<ChunkId> = lock(&self.open).iter().filter_map(taken).collect();
        if open.is_empty() {
            return;
        }
        let Ok(alone) = Arc::clone(&self.recalls).try_lock_owned() else {
            return;
        };
        let desk = Arc::clone(self);
        tokio::spawn(async move {
            let _alone = alone;
            let Ok(store) = desk.database() else { return };
            // Where the store is away, no PUT has its intent on record either.
            for id in store.recalled(open).await.unwrap_or_default() {
                desk.local.send(Command::GiveBack(id));
            }
        });
    }

    fn database(&self) -> Result<&PostgresStore, String> {
        match &*self.store {
            AnyStore::Postgres(store) => Ok(store),
            AnyStore::Sqlite(_) => Err("the store is a file".to_owned()),
        }
    }

    fn stops(&self) -> bool {
        self.stops.load(Ordering::SeqCst)
    }

    /// Whether nothing else in this process works on it: then it is open.
    fn begins_with(&self, id: ChunkId) -> bool {
        match lock(&self.open).entry(id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(None);
                true
            }
        }
    }

    /// From the job to its end. An error gives the job to the next that asks.
    async fn work_on(&self, id: ChunkId) -> Result<(), NotDone> {
        let (tell, over) = oneshot::channel();
        while !self.begins_with(id) {
            // The queue took this process for dead while it was not.
            sleep(BETWEEN).await;
        }
        let worked = self.take_and_work(id, tell, over).await;
        lock(&self.open).remove(&id);
        worked
    }

    async fn take_and_work(
        &self,
        id: ChunkId,
        tell: oneshot::Sender<()>,
        over: oneshot::Receiver<()>,
    ) -> Result<(), NotDone> {
        let Some(chunk) = self.take(id).await? else {
            return Ok(());
        };
        lock(&self.open).insert(id, Some(tell));
        // Whoever ends looks at what is open behind that.
        let worked = if self.has_ended.load(Ordering::SeqCst) {
            Ok(())
        } else {
            self.work_with(id, *chunk, over).await
        };
        if !self.give_back(id).await? {
            return Err("another worker has this chunk".to_owned().into());
        }
        Ok(worked?)
    }

    /// Takes the chunk, unless somebody else may have a PUT of it out; none where nothing of it is left to do.
    async fn take(&self, id: ChunkId) -> Result<Option<Box<TakenChunk>>, NotDone> {
        let store = self.database()?;
        loop {
            if self.stops() {
                return Err("this worker stops".to_owned().into());
            }
            match store.take_chunk(id).await {
                Ok(Take::Taken(chunk)) => return Ok(Some(chunk)),
                Ok(Take::Over) => return Ok(None),
                // The jobs of a worker that died would keep all hands from what others wait for.
                Ok(Take::Held(seconds)) => {
                    return Err(NotDone {
                        why: "another worker may have this chunk".to_owned(),
                        rests: RESTS.min(Duration::from_secs(seconds)),
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, run = id.run.0, chunk = id.number, "a chunk cannot be taken");
                }
            }
            sleep(BETWEEN).await;
        }
    }

    /// False where another worker has it by now.
    async fn give_back(&self, id: ChunkId) -> Result<bool, String> {
        let store = self.database()?;
        loop {
            match store.give_back(id).await {
                Ok(given) => return Ok(given),
                Err(error) => {
                    tracing::warn!(%error, run = id.run.0, chunk = id.number, "a chunk cannot be given back yet");
                }
            }
            sleep(BETWEEN).await;
        }
    }

    async fn work_with(
        &self,
        id: ChunkId,
        chunk: TakenChunk,
        over: oneshot::Receiver<()>,
    ) -> Result<(), String> {
        let (run, sites) = (id.run, chunk.sites.len());
        tracing::info!(
            run = run.0,
            chunk = id.number,
            wave = chunk.wave,
            sites,
            "a chunk is taken"
        );
        if let Some(line) = lock(&self.runs).takes(run, chunk.kind, &chunk.key) {
            say(&line);
        }
        let worked = self.work_through(id, chunk, over).await;
        lock(&self.runs).lets_go(run, Instant::now());
        tracing::info!(run = run.0, chunk = id.number, "a chunk is done with");
        worked
    }

    async fn work_through(
        &self,
        id: ChunkId,
        chunk: TakenChunk,
        over: oneshot::Receiver<()>,
    ) -> Result<(), String> {
        let urls: Vec<SiteUrl> = chunk.sites.iter().map(|(site, _)| site.clone()).collect();
        let newest = self.known(&urls).await?;
        let mut sites = Vec::with_capacity(urls.len());
        let mut strange = Vec::new();
        let mut names = Vec::new();
        for ((url, name), newest) in chunk.sites.into_iter().zip(newest) {
            if let Some(site) = self.places.get(&url) {
                sites.push((*site, newest));
            } else {
                strange.push((url, newest));
                names.push(name);
            }
        }
        if let Some(line) = lock(&self.runs).does_not_know(id.run, names) {
            tracing::warn!(chunk = id.number, "{line}");
            say(&line);
        }
        self.fail(strange, chunk.puts).await;
        if sites.is_empty() {
            return Ok(());
        }
        let order = Command::TakeChunk(Box::new(Chunk {
            id,
            wave: chunk.wave,
            puts: chunk.puts,
            key: chunk.key,
            sites,
        }));
        if let Err(refused) = self.begin(order).await {
            let words = refused.to_string();
            *lock(&self.denied) = Some(refused);
            self.is_denied.notify_one();
            return Err(words);
        }
        // Where the engine has ended, nothing more comes of it.
        let _ended = over.await;
        Ok(())
    }

    /// Once it can be judged whether the order may be given.
    async fn begin(&self, order: Command) -> Result<(), Refused> {
        loop {
            match self.local.begin(order.clone()).await {
                Err(Refused::Denied(Denied::Unanswered) | Refused::Store(_)) if !self.stops() => {
                    tracing::warn!("nobody says who may send");
                }
                judged => return judged,
            }
            sleep(BETWEEN).await;
        }
    }

    async fn known(&self, urls: &[SiteUrl]) -> Result<Vec<Newest>, String> {
        loop {
            match self.store.last_known(urls, &self.policy, self.clock.now()).await {
                Ok(newest) => return Ok(newest),
                Err(error) => tracing::warn!(%error, "what is on record cannot be read"),
            }
            if self.stops() {
                return Err("this worker stops".to_owned());
            }
            sleep(BETWEEN).await;
        }
    }

    /// Sites that this worker's config does not know: they are not asked.
    async fn fail(&self, sites: Vec<(SiteUrl, Newest)>, puts: bool) {
        for (url, newest) in sites {
            let now = self.clock.now();
            self.store.adopt([(&url, &newest)]);
            let mut state = newest.state;
            fail(&mut state, puts, &self.policy, now);
            let words = note(&state, &|moment| format!("{:.0}", moment.wall));
            let record = Record {
                site: url,
                at: now,
                outcome: None,
                state,
                note: CleanText::note(&words),
            };
            if let Err(StoreError::Failed(error) | StoreError::Damaged(error)) =
                self.store.record(record).await
            {
                tracing::warn!(error, "that a site is not known here could not be recorded");
            }
        }
    }
}

fn fail(state: &mut SiteState, puts: bool, policy: &Policy, now: Moment) {
    let host = who::operator().host;
    // Who coordinates the run says so of all such sites in one line.
    let detail = CleanText::note(&format!("the worker on {host}"));
    let dice = 0.0;
    if let (Push::Unknown(cause), true) = (state.push, puts) {
        // A look would tell, and only who knows the site can make it.
        let _not_sent = state.order_rest(now);
        let _rests = state.stays_unknown(cause, detail, policy, now);
    } else if puts && state.is_left_over() {
        let _not_sent = state.order_rest(now);
        let answer = Answer::none(PutVerdict::Problem(Problem::UnknownToWorker), detail);
        let _none = state.put_answered(&answer, policy, now, dice);
    } else if state.awaits_look() {
        state.calling(Call::Look, policy, now);
        let answer = Answer::none(LookVerdict::Problem(Problem::UnknownToWorker), detail);
        let _later = state.looked(&answer, policy, now, dice);
    }
}
