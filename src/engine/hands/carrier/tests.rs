use std::sync::{Mutex, MutexGuard};

use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::rules::moment::Moment;
use crate::store::Newest;
use crate::store::workers::{Heard, ToCome};
use crate::text::CleanText;

/// What a database has of the workers, for who asks it.
#[derive(Default)]
struct Tables {
    chunks: Mutex<BTreeMap<ChunkId, NewChunk>>,
    /// What was given back, and is told with the next answer.
    back: Mutex<Vec<ChunkId>>,
    /// Whether what is handed over is kept, but the answer to that is lost.
    loses_answers: Mutex<bool>,
    living: Mutex<Vec<CleanText>>,
    /// Whether it cannot be told what workers did.
    is_mute: Mutex<bool>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Tables {
    fn chunks_of(&self, backend: &str) -> Vec<ChunkId> {
        let chunks = locked(&self.chunks);
        let of = chunks.values().filter(|chunk| &*chunk.backend == backend);
        of.map(|chunk| chunk.id).collect()
    }
}

impl Workers for Tables {
    fn last_chunk(&self, _: RunId) -> ToCome<'_, u64> {
        Box::pin(async { Ok(0) })
    }

    fn hand_over<'a>(&'a self, chunks: &'a [NewChunk]) -> ToCome<'a, ()> {
        for chunk in chunks {
            locked(&self.chunks)
                .entry(chunk.id)
                .or_insert_with(|| chunk.clone());
        }
        let is_lost = *locked(&self.loses_answers);
        let answer = if is_lost {
            Err(StoreError::Failed("the connection is gone".to_owned()))
        } else {
            Ok(())
        };
        Box::pin(async { answer })
    }

    fn let_send(&self, _: RunId, _: bool) -> ToCome<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn heard<'a>(&'a self, known: &'a [ChunkId], _: &'a Policy, _: Moment) -> ToCome<'a, Heard> {
        if *locked(&self.is_mute) {
            return Box::pin(async { Err(StoreError::Failed("a row cannot be read".to_owned())) });
        }
        locked(&self.back).retain(|id| !known.contains(id));
        let chunks = locked(&self.chunks);
        let with_sites = |id: &ChunkId| {
            let sites = chunks[id].sites.iter();
            (*id, sites.map(|site| (site.clone(), Newest::default())).collect())
        };
        let heard = Heard {
            back: locked(&self.back).iter().map(with_sites).collect(),
            own: vec![RunId(1)],
            ..Heard::default()
        };
        Box::pin(async { Ok(heard) })
    }

    fn mend<'a>(&'a self, _: &'a [ChunkId]) -> ToCome<'a, Vec<ChunkId>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn living(&self) -> ToCome<'_, Vec<CleanText>> {
        let living = locked(&self.living).clone();
        Box::pin(async { Ok(living) })
    }

    fn known<'a>(&'a self, sites: &'a [SiteUrl], _: &'a Policy, _: Moment) -> ToCome<'a, Vec<Newest>> {
        Box::pin(async { Ok(vec![Newest::default(); sites.len()]) })
    }
}

fn carrier(tables: &Arc<Tables>) -> (Carrier, UnboundedReceiver<Told>) {
    let (tell, told) = unbounded_channel();
    let (_, held) = watch::channel(Held::default());
    let by = (Policy::default(), Clock::start());
    let workers = Arc::clone(tables);
    (Carrier::new(workers, (None, None), held, by, tell), told)
}

fn part(backend: &str, number: usize) -> (Option<ChunkId>, Part) {
    let part = Part {
        run: RunId(1),
        wave: 0,
        backend: backend.into(),
        puts: true,
        sites: vec![SiteUrl::parse(&format!("https://{backend}-{number}.example.com")).unwrap()],
    };
    (None, part)
}

fn told_back(told: &mut UnboundedReceiver<Told>) -> Vec<String> {
    let mut back = Vec::new();
    while let Ok(told) = told.try_recv() {
        if let Told::Back(_, sites) = told {
            back.extend(sites.into_iter().map(|(site, _)| site.to_string()));
        }
    }
    back
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_was_handed_over_without_an_answer_and_is_done_at_once_comes_back() {
    let tables = Arc::new(Tables::default());
    let (mut carrier, mut told) = carrier(&tables);
    carrier.waiting.push(part("one", 1));
    *locked(&tables.loses_answers) = true;
    carrier.hand_over().await;
    let id = tables.chunks_of("one")[0];
    *locked(&tables.back) = vec![id];
    carrier.hear().await;
    assert_eq!(told_back(&mut told), ["https://one-1.example.com"]);
    *locked(&tables.loses_answers) = false;
    carrier.hand_over().await;
    carrier.hear().await;
    assert!(carrier.has_nothing(), "it is out for ever");
    assert!(told_back(&mut told).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_large_backend_keeps_no_other_waiting_and_has_its_next_chunk_when_one_is_back() {
    let tables = Arc::new(Tables::default());
    let (mut carrier, _told) = carrier(&tables);
    carrier.waiting = (0..500).map(|number| part("large", number)).collect();
    carrier
        .waiting
        .extend(["one", "two", "three"].map(|name| part(name, 1)));
    carrier.hand_over().await;
    for small in ["one", "two", "three"] {
        assert_eq!(tables.chunks_of(small).len(), 1, "{small}");
    }
    let large = tables.chunks_of("large");
    assert_eq!(large.len(), 2);
    carrier.hand_over().await;
    assert_eq!(tables.chunks_of("large"), large);
    *locked(&tables.back) = vec![large[0]];
    carrier.hear().await;
    carrier.hand_over().await;
    assert_eq!(tables.chunks_of("large").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn that_no_worker_is_there_is_told_each_time_that_the_last_is_gone() {
    let tables = Arc::new(Tables::default());
    let (mut carrier, mut told) = carrier(&tables);
    carrier.waiting.push(part("one", 1));
    carrier.hand_over().await;
    for _ in 0..2 {
        for (there, lines) in [(1, 0), (0, 1)] {
            *locked(&tables.living) = vec![CleanText::note("shops-a"); there];
            for _ in 0..40 {
                carrier.hear().await;
                sleep(POLL).await;
            }
            let mut idle = 0;
            while let Ok(told) = told.try_recv() {
                idle += usize::from(matches!(told, Told::Idle));
            }
            assert_eq!(idle, lines, "with {there} there");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn that_nothing_can_be_heard_of_workers_is_told_once_and_that_it_can_again_once() {
    let tables = Arc::new(Tables::default());
    let (mut carrier, mut told) = carrier(&tables);
    carrier.waiting.push(part("one", 1));
    carrier.hand_over().await;
    for (is_mute, times) in [(true, FAILURES - 1), (false, 3), (true, FAILURES * 3), (false, 3)] {
        *locked(&tables.is_mute) = is_mute;
        for _ in 0..times {
            carrier.hear().await;
        }
    }
    assert!(matches!(told.try_recv(), Ok(Told::Deaf(_))));
    assert!(matches!(told.try_recv(), Ok(Told::HearsAgain)));
    assert!(told.try_recv().is_err());
}
