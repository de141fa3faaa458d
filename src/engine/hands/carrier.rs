use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::silence::{Change, SILENCE, Silent};
use super::words::Held;
use super::{BETWEEN, FAILURES, Told};
use crate::engine::{Clock, Level};
use crate::rules::retry::Policy;
use crate::site::SiteUrl;
use crate::store::workers::{BusyWorker, ChunkId, NewChunk, Workers};
use crate::store::{RunId, StoreError};

/// How often what workers did is asked for, should nobody have told that something is there.
const POLL: Duration = Duration::from_secs(1);
/// Between two questions.
const REST: Duration = Duration::from_millis(100);
/// How often it is seen whether all chunks are on record, and in the queue.
const MENDS: Duration = Duration::from_secs(10);
/// So many chunks are in the queue for each worker that has some, and for one more: what the queue takes to find the next
/// job grows with them.
const BEFOREHAND: usize = 128;
/// So many of them are of one backend at most: one is worked on at a time, and the next is there when that is done. More
/// would take the room of others, whose workers would have nothing to do.
const OF_BACKEND: usize = 2;
/// So many chunks are handed over at once.
const AT_ONCE: usize = 100;
/// Between two answers that are longer apart the store was away.
const GAP: Duration = Duration::from_secs(5);
/// So long no worker may be there before that is told.
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

/// Hands over to the workers, and brings what they tell.
pub(super) struct Carrier {
    workers: Arc<dyn Workers>,
    others: Option<watch::Receiver<u64>>,
    trouble: Option<watch::Receiver<Option<StoreError>>>,
    held: watch::Receiver<Held>,
    policy: Policy,
    clock: Clock,
    tell: UnboundedSender<Told>,
    /// The number of the last chunk of each run.
    last: HashMap<RunId, u64>,
    /// To be handed over, with the numbers that they have had before.
    waiting: Vec<(Option<ChunkId>, Part)>,
    /// When that is tried next, and how often it was in vain though the store was reached.
    next_try: Instant,
    failures: usize,
    /// When it was asked last what workers did, and how often that was in vain since, though the store was reached.
    heard_at: Instant,
    unheard: usize,
    /// Chunks that are not given back, with their sites for who gets them back in vain.
    out: BTreeMap<ChunkId, Part>,
    /// Chunks that were given back, until the store knows that this is known.
    known: Vec<ChunkId>,
    /// When it was seen last whether all chunks are on record and in the queue.
    mended_at: Instant,
    /// How many workers have chunks.
    busy: usize,
    /// Since when something waits and no worker is there, and whether that was told since one was.
    idle_since: Option<Instant>,
    is_idle_told: bool,
    /// Workers that have sites and of which nothing is heard.
    silent: Silent,
    /// Since when the store answers without a gap, and when it did last: while it is away, nobody is heard of.
    answers: Option<(Instant, Instant)>,
}

/// Until the engine ends.
pub(super) async fn carry(mut carrier: Carrier, mut parts: UnboundedReceiver<Part>) {
    loop {
        let (waits, hears) = (!carrier.waiting.is_empty(), !carrier.has_nothing());
        tokio::select! {
            biased;
            part = parts.recv() => {
                let Some(part) = part else { return };
                carrier.waiting.push((None, part));
                while let Ok(part) = parts.try_recv() {
                    carrier.waiting.push((None, part));
                }
            }
            () = sleep_until(carrier.next_try), if waits => carrier.hand_over().await,
            () = wait_for_news(&mut carrier.others, carrier.heard_at), if hears => {
                carrier.hear().await;
                carrier.heard_at = Instant::now();
            }
        }
    }
}

/// Until others have written, or it is time to ask all the same. However often this is begun anew, what counts is when
/// that was asked last.
async fn wait_for_news(others: &mut Option<watch::Receiver<u64>>, heard_at: Instant) {
    let rested = heard_at + REST;
    sleep_until(rested).await;
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
    let _late = timeout_at(rested + POLL, told).await;
}

impl Carrier {
    pub(super) fn new(
        workers: Arc<dyn Workers>,
        (others, trouble): (
            Option<watch::Receiver<u64>>,
            Option<watch::Receiver<Option<StoreError>>>,
        ),
        held: watch::Receiver<Held>,
        (policy, clock): (Policy, Clock),
        tell: UnboundedSender<Told>,
    ) -> Self {
        Self {
            workers,
            others,
            trouble,
            held,
            policy,
            clock,
            tell,
            last: HashMap::new(),
            waiting: Vec::new(),
            next_try: Instant::now(),
            failures: 0,
            heard_at: Instant::now(),
            unheard: 0,
            out: BTreeMap::new(),
            known: Vec::new(),
            busy: 0,
            mended_at: Instant::now(),
            idle_since: None,
            is_idle_told: false,
            silent: Silent::default(),
            answers: None,
        }
    }

    fn tell(&self, told: Told) {
        // The engine has ended.
        let _gone = self.tell.send(told);
    }

    /// Whether the store is not reached: another line tells of that.
    fn is_away(&self) -> bool {
        let trouble = self.trouble.as_ref();
        trouble.is_some_and(|trouble| trouble.borrow().is_some())
    }

    /// Whether workers have nothing, and are to get nothing.
    fn has_nothing(&self) -> bool {
        self.out.is_empty() && self.waiting.is_empty()
    }

    /// Tries to hand over what waits, as much as goes at once. While the store is not reached that is tried again and
    /// again.
    async fn hand_over(&mut self) {
        self.next_try = Instant::now();
        let held = self.held.borrow().clone();
        if !self.keep_back(&held).await {
            self.next_try += BETWEEN;
            return;
        }
        let goes = self.next(&held);
        if goes.is_empty() {
            self.next_try += REST;
            return;
        }
        match self.try_to_hand_over(&goes).await {
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.failures += usize::from(!self.is_away());
                self.next_try += BETWEEN;
                if self.failures >= FAILURES {
                    self.failures = 0;
                    for (_, part) in std::mem::take(&mut self.waiting) {
                        self.tell(Told::Refused(part, error.clone()));
                    }
                }
            }
        }
    }

    /// The places of what is handed over next: backend by backend in turn, so that a large one keeps no other waiting.
    fn next(&self, held: &Held) -> Vec<usize> {
        let room = (BEFOREHAND * (self.busy + 1)).saturating_sub(self.out.len());
        if room == 0 {
            return Vec::new();
        }
        let mut of_backend: HashMap<&str, usize> = HashMap::new();
        for part in self.out.values() {
            *of_backend.entry(&part.backend).or_default() += 1;
        }
        let mut turns: [Vec<usize>; OF_BACKEND] = Default::default();
        for (place, (_, part)) in self.waiting.iter().enumerate() {
            if held.unheard.contains_key(&part.run) {
                continue;
            }
            let before = of_backend.entry(&part.backend).or_default();
            if let Some(turn) = turns.get_mut(*before) {
                turn.push(place);
                *before += 1;
            }
        }
        turns.into_iter().flatten().take(room.min(AT_ONCE)).collect()
    }

    /// What waits of runs that may not send goes back without having been handed over, but for what may be on record. False
    /// where the store does not tell what is known of its sites.
    async fn keep_back(&mut self, held: &Held) -> bool {
        let goes_back =
            |(id, part): &(Option<ChunkId>, Part)| id.is_none() && part.puts && held.all.contains(&part.run);
        let (back, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(goes_back);
        self.waiting = waiting;
        let mut back: Vec<Part> = back.into_iter().map(|(_, part)| part).collect();
        // What was recorded of their sites before goes before, as with what is handed over.
        if !back.is_empty() && self.workers.hand_over(&[]).await.is_err() {
            self.waiting.extend(back.into_iter().map(|part| (None, part)));
            return false;
        }
        while !back.is_empty() {
            let rest = back.split_off(back.len().min(AT_ONCE));
            let sites: Vec<SiteUrl> = back.iter().flat_map(|part| &part.sites).cloned().collect();
            let known = self.workers.known(&sites, &self.policy, self.clock.now());
            let Ok(newest) = known.await else {
                back.extend(rest);
                self.waiting.extend(back.into_iter().map(|part| (None, part)));
                return false;
            };
            let mut newest = newest.into_iter();
            for part in back {
                let known = part.sites.into_iter().zip(newest.by_ref()).collect();
                self.tell(Told::Back(part.run, known));
            }
            back = rest;
        }
        true
    }

    /// Those at these places, in one transaction. What was tried before keeps its number: it may be on record.
    async fn try_to_hand_over(&mut self, places: &[usize]) -> Result<(), StoreError> {
        let mut chunks = Vec::with_capacity(places.len());
        for &place in places {
            let run = self.waiting[place].1.run;
            let id = match self.waiting[place].0 {
                Some(id) => id,
                None => self.number(run).await?,
            };
            let (numbered, part) = &mut self.waiting[place];
            *numbered = Some(id);
            chunks.push(NewChunk {
                id,
                wave: part.wave,
                backend: Arc::clone(&part.backend),
                puts: part.puts,
                sites: part.sites.clone(),
            });
        }
        self.workers.hand_over(&chunks).await?;
        let done: BTreeSet<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
        for (id, part) in std::mem::take(&mut self.waiting) {
            match id.filter(|id| done.contains(id)) {
                Some(id) => drop(self.out.insert(id, part)),
                None => self.waiting.push((id, part)),
            }
        }
        Ok(())
    }

    async fn number(&mut self, run: RunId) -> Result<ChunkId, StoreError> {
        let last = match self.last.get(&run) {
            Some(last) => *last,
            None => self.workers.last_chunk(run).await?,
        };
        let number = last + 1;
        self.last.insert(run, number);
        Ok(ChunkId { run, number })
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
                (self.answers, self.idle_since) = (None, None);
                if !self.is_away() {
                    self.unheard += 1;
                    if self.unheard == FAILURES {
                        self.tell(Told::Deaf(error));
                    }
                }
                return sleep(BETWEEN).await;
            }
        };
        if std::mem::take(&mut self.unheard) >= FAILURES {
            self.tell(Told::HearsAgain);
        }
        self.known.clear();
        self.busy = heard.workers.len();
        for news in heard.news {
            self.tell(Told::News(news));
        }
        for (id, sites) in heard.back {
            self.known.push(id);
            if self.is_back(id) {
                self.tell(Told::Back(id.run, sites));
            }
        }
        self.watch_for_any().await;
        self.watch_for_silence(heard.workers).await;
        for run in self.runs() {
            if !heard.own.contains(&run) {
                self.leave(run).await;
            }
        }
        // Who has nothing out of a run does not notice that another process has made chunks of it.
        let runs = self.runs();
        self.last.retain(|run, _| runs.contains(run));
        if self.mended_at.elapsed() > MENDS {
            self.mended_at = Instant::now();
            self.mend().await;
        }
    }

    /// No worker has the chunk any more. Whether it was to come back here: also where it was handed over, and no answer came
    /// to that.
    fn is_back(&mut self, id: ChunkId) -> bool {
        let waited = self.waiting.len();
        self.waiting.retain(|(numbered, _)| *numbered != Some(id));
        self.out.remove(&id).is_some() || self.waiting.len() < waited
    }

    /// Takes back what the store has lost: with what it knows of the sites, which may be of some time ago.
    async fn mend(&mut self) {
        let out: Vec<ChunkId> = self.out.keys().copied().collect();
        let lost = self.workers.mend(&out).await.unwrap_or_default();
        for id in lost {
            let Some(part) = self.out.get(&id) else { continue };
            let known = self.workers.known(&part.sites, &self.policy, self.clock.now());
            // Where it is not told, it is asked again.
            let Ok(newest) = known.await else { return };
            tracing::warn!(
                run = id.run.0,
                chunk = id.number,
                "the store has lost a chunk: its sites are planned anew"
            );
            if let Some(part) = self.out.remove(&id) {
                self.tell(Told::Back(id.run, part.sites.into_iter().zip(newest).collect()));
            }
        }
    }

    /// The runs of which workers have something, or are to get it.
    fn runs(&self) -> BTreeSet<RunId> {
        let waiting = self.waiting.iter().map(|(_, part)| part.run);
        self.out.keys().map(|id| id.run).chain(waiting).collect()
    }

    /// Another process has taken the run up: nothing of it comes back here.
    async fn leave(&mut self, run: RunId) {
        let waiting = self.waiting.iter().map(|(_, part)| part);
        let parts = self.out.values().chain(waiting);
        let of_run = parts.filter(|part| part.run == run);
        let sites: Vec<SiteUrl> = of_run.flat_map(|part| &part.sites).cloned().collect();
        match self.workers.known(&sites, &self.policy, self.clock.now()).await {
            Ok(newest) => {
                self.out.retain(|id, _| id.run != run);
                self.waiting.retain(|(_, part)| part.run != run);
                self.tell(Told::TakenUp(run, sites.into_iter().zip(newest).collect()));
            }
            // It is asked again, as what comes back is.
            Err(error) => tracing::debug!(%error, "what became of a run is not heard of"),
        }
    }

    /// Tells when something waits for a worker and none is there: also where the last has ended in the midst of a run.
    async fn watch_for_any(&mut self) {
        if self.out.is_empty() {
            self.idle_since = None;
            return;
        }
        // Where it is not told who is there, somebody may be.
        let is_there = self.busy > 0
            || self
                .workers
                .living()
                .await
                .map_or(true, |living| !living.is_empty());
        if is_there {
            (self.idle_since, self.is_idle_told) = (None, false);
            return;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE && !std::mem::replace(&mut self.is_idle_told, true) {
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

#[cfg(test)]
mod tests;
