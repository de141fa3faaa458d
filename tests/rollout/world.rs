use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use stripe_propagate::engine::{self, Clock, Command, Event, Handle, RunInfo, Settings, Shown};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::rollout;
use stripe_propagate::rules::run::{Halt, RunPhase};
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::site_api::SiteApi;
use stripe_propagate::store::Store;
use stripe_propagate::store::memory::MemoryStore;
use stripe_propagate::text::CleanText;
use tokio::sync::mpsc::UnboundedReceiver;

pub(super) fn key(tail: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_live_51ExampleExampleExample{tail}")).unwrap()
}

/// Longer than anything waits: a test that hangs fails.
pub(super) const DAY: Duration = Duration::from_hours(24);

/// A request that a site of the world gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) site: usize,
    pub(super) is_put: bool,
    /// Seconds since the world began.
    pub(super) at: f64,
    /// Which of the site's PUTs, or GETs, from 1.
    pub(super) number: usize,
    /// Requests that its backend works on, this one counted.
    pub(super) at_once: usize,
}

/// What comes of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    /// A PUT is stored; a GET shows what is.
    Well,
    Bad(Problem),
    /// With `Retry-After`, in seconds.
    Wait(Problem, u64),
}

/// What a site replies, and how long that takes.
pub(super) type Behaviour = Box<dyn Fn(Asked) -> (Reply, Duration) + Send + Sync>;

/// Answers at once, and well.
pub(super) fn well(_: Asked) -> (Reply, Duration) {
    (Reply::Well, Duration::from_millis(50))
}

#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) asked: Vec<Asked>,
    out: BTreeMap<String, usize>,
    pub(super) most_of_backend: BTreeMap<String, usize>,
    stored: BTreeMap<usize, PublishableKey>,
}

impl Record {
    /// How many sites saw a PUT.
    pub(super) fn sites_with_a_put(&self) -> usize {
        let sites = self.asked.iter().filter(|asked| asked.is_put);
        let mut sites: Vec<usize> = sites.map(|asked| asked.site).collect();
        sites.sort_unstable();
        sites.dedup();
        sites.len()
    }

    pub(super) fn puts(&self) -> impl Iterator<Item = &Asked> {
        self.asked.iter().filter(|asked| asked.is_put)
    }
}

/// Sites that behave as they are told. The engine is tested against the trait, the edge behind it against real sites.
pub(super) struct World {
    pub(super) clock: Clock,
    behaviour: Behaviour,
    pub(super) record: Mutex<Record>,
}

impl World {
    pub(super) fn of(behaviour: impl Fn(Asked) -> (Reply, Duration) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            clock: Clock::with_wall(|| Timestamp::UNIX_EPOCH),
            behaviour: Box::new(behaviour),
            record: Mutex::default(),
        })
    }

    async fn ask(&self, site: &Site, is_put: bool) -> (usize, Reply) {
        let index: usize = site.name.as_str().trim_start_matches("shop").parse().unwrap();
        let asked = {
            let mut record = self.record.lock().unwrap();
            let before = record
                .asked
                .iter()
                .filter(|asked| asked.site == index && asked.is_put == is_put);
            let number = before.count() + 1;
            let out = record.out.entry(site.backend.to_string()).or_default();
            *out += 1;
            let at_once = *out;
            let most = record
                .most_of_backend
                .entry(site.backend.to_string())
                .or_default();
            *most = (*most).max(at_once);
            let asked = Asked {
                site: index,
                is_put,
                at: self.clock.now().since_start.as_secs_f64(),
                number,
                at_once,
            };
            record.asked.push(asked);
            asked
        };
        let (reply, takes) = (self.behaviour)(asked);
        tokio::time::sleep(takes).await;
        *self.record.lock().unwrap().out.get_mut(&*site.backend).unwrap() -= 1;
        (index, reply)
    }
}

fn answer<V>(verdict: V, reply: Reply) -> Answer<V> {
    let (http, retry_after) = match reply {
        Reply::Well => (Some(200), None),
        Reply::Bad(problem) => (status(problem), None),
        Reply::Wait(problem, seconds) => (status(problem), Some(Duration::from_secs(seconds))),
    };
    Answer {
        verdict,
        http,
        took: Duration::from_millis(50),
        retry_after,
        detail: CleanText::default(),
        alarm: None,
    }
}

/// None where no answer came.
fn status(problem: Problem) -> Option<u16> {
    match problem {
        Problem::Timeout | Problem::Connect | Problem::ConnectTimeout | Problem::ConnectionLost => None,
        Problem::RefusedKey => Some(401),
        problem => problem.row().statuses.first().copied(),
    }
}

impl SiteApi for World {
    async fn look(&self, site: &Site, _limit: Duration, _close: bool) -> Answer<LookVerdict> {
        let (index, reply) = self.ask(site, false).await;
        let verdict = match reply {
            Reply::Well => {
                let stored = self.record.lock().unwrap().stored.get(&index).cloned();
                LookVerdict::Serves(stored.unwrap_or_else(|| key("Old")))
            }
            Reply::Bad(problem) | Reply::Wait(problem, _) => LookVerdict::Problem(problem),
        };
        answer(verdict, reply)
    }

    async fn put(&self, site: &Site, sent: &PublishableKey) -> Answer<PutVerdict> {
        let (index, reply) = self.ask(site, true).await;
        let verdict = match reply {
            Reply::Well => {
                self.record.lock().unwrap().stored.insert(index, sent.clone());
                PutVerdict::Stored
            }
            Reply::Bad(problem) | Reply::Wait(problem, _) => PutVerdict::Problem(problem),
        };
        answer(verdict, reply)
    }
}

/// Sites that each have a backend of their own, if `backend` is none.
pub(super) fn sites(count: usize, backend: Option<&str>) -> Arc<[Site]> {
    let site = |index| {
        let url = SiteUrl::parse(&format!("https://shop{index}.example.com")).unwrap();
        Site {
            name: CleanText::note(&format!("shop{index}")),
            backend: backend.map_or_else(|| url.backend(), str::to_owned).into(),
            url,
            group: None,
            mode: SiteMode::Any,
            master_key: MasterKeyId(0),
            enabled: true,
        }
    };
    (0..count).map(site).collect()
}

/// A run in the world, in virtual time.
pub(super) struct Play {
    pub(super) world: Arc<World>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) sites: Arc<[Site]>,
    pub(super) states: Vec<SiteState>,
    pub(super) run: Option<RunInfo>,
    pub(super) halts: Vec<Halt>,
    pub(super) backends: BTreeMap<String, Vec<Shown>>,
    handle: Option<Handle>,
    events: UnboundedReceiver<Event>,
}

impl Play {
    /// A push of a new live key to all sites begins.
    pub(super) fn begins(
        sites: Arc<[Site]>,
        behaviour: impl Fn(Asked) -> (Reply, Duration) + Send + Sync + 'static,
        settings: Settings,
        rollout: &rollout::Settings,
    ) -> Self {
        let world = World::of(behaviour);
        let store = Arc::new(MemoryStore::default());
        let clock = world.clock;
        let (handle, events) = engine::start(
            Arc::clone(&sites),
            Vec::new(),
            Arc::clone(&world),
            Arc::clone(&store),
            settings,
            clock,
        );
        let states = vec![SiteState::default(); sites.len()];
        let all = (0..sites.len()).map(SiteId::at);
        let state = |id: SiteId| &states[id.index()];
        let plan = Plan::new(key("New"), all, &sites, state, Allow::default());
        let plan = plan.in_waves(rollout, &sites, state, clock.now());
        handle.send(Command::Push(plan));
        Self {
            world,
            store,
            sites,
            states,
            run: None,
            halts: Vec::new(),
            backends: BTreeMap::new(),
            handle: Some(handle),
            events,
        }
    }

    /// The process is gone; the next one begins with what is on record.
    pub(super) async fn dies(self) -> Self {
        let urls: Vec<SiteUrl> = self.sites.iter().map(|site| site.url.clone()).collect();
        let store = Arc::new(self.store.reopen());
        let now = self.world.clock.now();
        let known = store.last_known(&urls, &Policy::default(), now).await.unwrap();
        let states = known.iter().map(|newest| newest.state.clone()).collect();
        let (handle, events) = engine::start(
            Arc::clone(&self.sites),
            known,
            Arc::clone(&self.world),
            Arc::clone(&store),
            Settings::default(),
            self.world.clock,
        );
        Self {
            store,
            states,
            run: None,
            halts: Vec::new(),
            handle: Some(handle),
            events,
            ..self
        }
    }

    /// A push of the new key to all sites, by what is known by now.
    pub(super) fn plan(&self, rollout: &rollout::Settings) -> Plan {
        let all = (0..self.sites.len()).map(SiteId::at);
        let state = |id: SiteId| &self.states[id.index()];
        let plan = Plan::new(key("New"), all, &self.sites, state, Allow::default());
        plan.in_waves(rollout, &self.sites, state, self.world.clock.now())
    }

    pub(super) fn order(&self, command: Command) {
        self.handle.as_ref().unwrap().send(command);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Site { site, state } => self.states[site.index()] = *state,
            Event::Run(run) => self.run = Some(run),
            Event::Halted(halt, _) => self.halts.push(halt),
            Event::Backend { backend, shown } => {
                self.backends.entry(backend.to_string()).or_default().push(shown);
            }
            Event::NotBegun(error) => panic!("{error}"),
            Event::Refused(why) => panic!("{why}"),
            Event::Attempt(_)
            | Event::Alarm(..)
            | Event::Message(_)
            | Event::Acknowledged { .. }
            | Event::Refreshed { .. }
            | Event::Store { .. }
            | Event::ChunkOver(_)
            | Event::KeyRefused(..)
            | Event::Taken => {}
        }
    }

    /// Until the run is in this phase; nothing is out then, unless it sends.
    pub(super) async fn until(&mut self, phase: RunPhase) {
        let sends = phase == RunPhase::Sending;
        while self.run.as_ref().map(|run| run.phase) != Some(phase) || (self.is_calling() && !sends) {
            let event = tokio::time::timeout(DAY, self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("nothing happens any more: {:?}", self.run));
            self.take(event.unwrap());
        }
    }

    /// Takes in what happens within so many seconds.
    pub(super) async fn for_seconds(&mut self, seconds: u64) {
        let until = tokio::time::Instant::now() + Duration::from_secs(seconds);
        while let Ok(event) = tokio::time::timeout_at(until, self.events.recv()).await {
            self.take(event.unwrap());
        }
    }

    fn is_calling(&self) -> bool {
        self.states.iter().any(|state| state.is_calling())
    }

    /// Until the engine has nothing more to do.
    pub(super) async fn runs_to_its_end(&mut self) {
        self.handle = None;
        while let Some(event) = tokio::time::timeout(DAY, self.events.recv()).await.unwrap() {
            self.take(event);
        }
        assert!(!self.is_calling());
    }

    /// How many sites have these words.
    pub(super) fn count(&self, push: &str, verify: &str) -> usize {
        let has = |state: &&SiteState| state.push.look().word == push && state.verify.look().word == verify;
        self.states.iter().filter(has).count()
    }

    pub(super) fn sites_with_a_put(&self) -> usize {
        self.world.record.lock().unwrap().sites_with_a_put()
    }
}
