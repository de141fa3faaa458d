use std::collections::{BTreeMap, HashMap};
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::Told;
use super::silence::{Change, SILENCE, Silent};
use crate::engine::{Clock, Level};
use crate::rules::retry::Policy;
use crate::site::SiteUrl;
use crate::store::workers::{BusyWorker, ChunkId, Heard, NewChunk, Workers};
use crate::store::{RunId, StoreError};

/// How often what workers did is asked for, should nobody have told that something is there.
const POLL: Duration = Duration::from_secs(1);
/// Between two questions.
const REST: Duration = Duration::from_millis(100);
/// How long is waited behind a failure, and how many are borne of a store that is reached.
const BETWEEN: Duration = Duration::from_secs(1);
const FAILURES: usize = 5;
/// So many chunks are handed over at once.
const AT_ONCE: usize = 100;
/// Between two answers that are longer apart the store was away.
const GAP: Duration = Duration::from_secs(5);
/// So long nobody may have taken anything before that is told.
const PATIENCE: Duration = Duration::from_secs(15);

/// Sites of a chunk that is to be.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Part {
    pub(in crate::engine) run: RunId,
    pub(in crate::engine) wave: usize,
    pub(in crate::engine) backend: Arc<str>,
    pub(in crate::engine) puts: bool,
    pub(in crate::engine) sites: Vec<SiteUrl>,
}

/// Carries orders to the workers and brings what they tell.
pub(super) struct Carrier {
    workers: Arc<dyn Workers>,
    others: Option<watch::Receiver<u64>>,
    trouble: Option<watch::Receiver<Option<StoreError>>>,
    policy: Policy,
    clock: Clock,
    tell: UnboundedSender<Told>,
    /// The number of the last chunk of each run.
    last: HashMap<RunId, u64>,
    /// Chunks that are not given back, with their sites for who gets them back in vain.
    out: BTreeMap<ChunkId, Part>,
    /// Chunks that were given back, until the store knows that this is known.
    known: Vec<ChunkId>,
    /// Since when nobody has taken anything.
    idle_since: Option<Instant>,
    /// Workers that have sites and of which nothing is heard.
    silent: Silent,
    /// Since when the store answers without a gap, and when it did last: while it is away, nobody is heard of.
    answers: Option<(Instant, Instant)>,
}

/// Until the engine ends.
pub(super) async fn carry(
    mut carrier: Carrier,
    mut parts: UnboundedReceiver<Part>,
    mut lets: UnboundedReceiver<(RunId, bool)>,
) {
    loop {
        let none = carrier.out.is_empty();
        tokio::select! {
            // That nothing more is sent goes before all else.
            biased;
            told = lets.recv() => {
                let Some((run, may)) = told else { return };
                carrier.let_send(run, may).await;
            }
            part = parts.recv() => {
                let Some(part) = part else { return };
                let mut all = vec![part];
                while all.len() < AT_ONCE && let Ok(part) = parts.try_recv() {
                    all.push(part);
                }
                carrier.hand_over(all).await;
            }
            () = wait_for_news(&mut carrier.others, none) => carrier.hear().await,
        }
    }
}

/// Until others have written, or it is time to ask all the same.
async fn wait_for_news(others: &mut Option<watch::Receiver<u64>>, none: bool) {
    if none {
        return pending().await;
    }
    sleep(REST).await;
    let told = async {
        match others {
            Some(others) => match others.changed().await {
                Ok(()) => {}
                Err(_) => pending().await,
            },
            None => pending().await,
        }
    };
    // What was not told is asked for.
    let _late = timeout(POLL, told).await;
}

impl Carrier {
    pub(super) fn new(
        workers: Arc<dyn Workers>,
        (others, trouble): (
            Option<watch::Receiver<u64>>,
            Option<watch::Receiver<Option<StoreError>>>,
        ),
        policy: Policy,
        clock: Clock,
        tell: UnboundedSender<Told>,
    ) -> Self {
        Self {
            workers,
            others,
            trouble,
            policy,
            clock,
            tell,
            last: HashMap::new(),
            out: BTreeMap::new(),
            known: Vec::new(),
            idle_since: None,
            silent: Silent::default(),
            answers: None,
        }
    }

    fn tell(&self, told: Told) {
        // The engine has ended.
        let _gone = self.tell.send(told);
    }

    async fn let_send(&self, run: RunId, may: bool) {
        let workers = Arc::clone(&self.workers);
        if let Err(error) = self.until_done(|| workers.let_send(run, may)).await {
            self.tell(Told::Unheard(error));
        }
    }

    async fn hand_over(&mut self, parts: Vec<Part>) {
        let mut chunks = Vec::with_capacity(parts.len());
        let mut refused = Vec::new();
        for part in parts {
            match self.number(part.run).await {
                Ok(number) => chunks.push((
                    ChunkId {
                        run: part.run,
                        number,
                    },
                    part,
                )),
                Err(error) => refused.push((part, error)),
            }
        }
        for (part, error) in refused {
            self.tell(Told::Refused(part, error));
        }
        if chunks.is_empty() {
            return;
        }
        let new = |(id, part): &(ChunkId, Part)| NewChunk {
            id: *id,
            wave: part.wave,
            backend: Arc::clone(&part.backend),
            puts: part.puts,
            sites: part.sites.clone(),
        };
        let new: Vec<NewChunk> = chunks.iter().map(new).collect();
        let workers = Arc::clone(&self.workers);
        match self.until_done(|| workers.hand_over(&new)).await {
            Ok(()) => {
                self.idle_since.get_or_insert_with(Instant::now);
                self.out.extend(chunks);
            }
            Err(error) => {
                for (_, part) in chunks {
                    self.tell(Told::Refused(part, error.clone()));
                }
            }
        }
    }

    async fn number(&mut self, run: RunId) -> Result<u64, StoreError> {
        let last = if let Some(last) = self.last.get(&run) {
            *last
        } else {
            let workers = Arc::clone(&self.workers);
            self.until_done(|| workers.last_chunk(run)).await?
        };
        self.last.insert(run, last + 1);
        Ok(last + 1)
    }

    /// Again and again while the store is not reached.
    async fn until_done<T, Answer>(&self, ask: impl Fn() -> Answer) -> Result<T, StoreError>
    where
        Answer: Future<Output = Result<T, StoreError>>,
    {
        let mut failures = 0;
        loop {
            let error = match ask().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let is_away = self
                .trouble
                .as_ref()
                .is_some_and(|trouble| trouble.borrow().is_some());
            failures += usize::from(!is_away);
            if failures >= FAILURES || self.tell.is_closed() {
                return Err(error);
            }
            sleep(BETWEEN).await;
        }
    }

    async fn hear(&mut self) {
        let heard = self
            .workers
            .heard(&self.known, &self.policy, self.clock.now())
            .await;
        let heard = match heard {
            Ok(heard) => heard,
            Err(error) => {
                // It is asked again: what was lost with it is seen when its chunk is given back.
                tracing::debug!(%error, "what workers did is not heard of");
                self.answers = None;
                return sleep(BETWEEN).await;
            }
        };
        self.known.clear();
        self.watch_for_the_first(&heard);
        for news in heard.news {
            self.tell(Told::News(news));
        }
        for (id, sites) in heard.back {
            self.known.push(id);
            if self.out.remove(&id).is_some() {
                self.tell(Told::Back(id.run, sites));
            }
        }
        self.watch_for_silence(heard.workers).await;
    }

    fn watch_for_the_first(&mut self, heard: &Heard) {
        let Some(since) = self.idle_since else { return };
        if heard.taken {
            self.idle_since = None;
        } else if since.elapsed() > PATIENCE {
            // Once: an hour from now again.
            self.idle_since = Some(Instant::now() + Duration::from_hours(1));
            self.tell(Told::Idle);
        }
    }

    /// Tells of workers that are lost, and of those that are back.
    async fn watch_for_silence(&mut self, workers: Vec<BusyWorker>) {
        let now = Instant::now();
        let goes_on = self.answers.filter(|(_, last)| now - *last < GAP);
        let since = goes_on.map_or(now, |(since, _)| since);
        self.answers = Some((since, now));
        if now - since < SILENCE {
            // The store, or the way to it, was away: then the workers could not be heard of either.
            return;
        }
        for change in self.silent.take(workers) {
            let level = match change {
                Change::Lost(_) => Level::Warning,
                Change::Back(_) => Level::Info,
            };
            // Where it is not told how many others there are, there may be some.
            let others = self.workers.living().await.map_or(1, |living| living.len());
            self.tell(Told::Silence(level, change.sentence(others)));
        }
    }
}
