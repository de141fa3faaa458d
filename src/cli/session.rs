use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as Locked};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use super::gate::Bound;
use super::{Globals, syslog, who};
use crate::attach::{About, Hub, Offer};
use crate::config::{self, Config, FailedSource, Found, NotifySettings, Searched, WatchSettings};
use crate::engine::preflight::Preflight;
use crate::engine::{self, Clock, Command, Event, Left, Rates, RunInfo, Settings, Standings};
use crate::notify;
use crate::rules::acknowledgement::Acknowledged;
use crate::rules::crew::Crew;
use crate::rules::retry::Policy;
use crate::rules::rollout::{self, Rollout};
use crate::rules::run::RunPhase;
use crate::rules::state::SiteState;
use crate::secret::open_plain;
use crate::site::{Site, SiteId, SiteUrl};
use crate::site_api::{HttpSettings, HttpSiteApi};
use crate::store::any::AnyStore;
use crate::store::{Operator, Store, StoreError};
use crate::stripe::AskStripe;
use crate::text::CleanText;
use crate::tui::actions::bound;
use crate::tui::theme::Theme;

/// Every order passes here on its way to the engine.
mod local;
/// The master keys, each read at its first need.
mod master_keys;
/// Where the store is, and how it is opened.
mod place;
/// How sites are reached, once somebody wants to.
mod reach;
use local::take_orders;
pub(super) use local::{Judged, Local};
pub(super) use master_keys::MasterKeys;
use place::prune;
pub(super) use place::{
    StoreAt, StorePlace, known, known_in, open_store, open_unasked, read_url, state_folder, store_at,
    where_is,
};
pub(super) use reach::Reach;
use reach::ReachStripe;

/// The config that the command line, the environment or the usual places name; or where it was looked for.
pub(super) fn find_config(globals: &Globals) -> anyhow::Result<Result<Config, Searched>> {
    match config::find(&config::Surroundings::of_process(globals.config.clone())) {
        Found::File(path) => {
            let config = config::load(&path)?;
            // What only the screen's tables can tell is wrong for every command.
            Theme::of(&config)?;
            bound(&config)?;
            Ok(Ok(config))
        }
        Found::Nowhere(searched) => Ok(Err(searched)),
    }
}

/// How long the store may take to write what it was told last, behind what other processes write.
const LAST_RECORDS: Duration = Duration::from_secs(20);

/// How long the store may take to say which workers are there.
const CREW: Duration = Duration::from_secs(5);

/// The store of the program.
pub(super) type Db = AnyStore;

/// A config brought to life.
pub(super) struct Session {
    pub(super) sites: Arc<[Site]>,
    /// Sources that could not be read: their sites are missing.
    pub(super) failed_sources: Vec<FailedSource>,
    /// How many sites are held back, since a row that speaks of them could not be read.
    pub(super) held_back: usize,
    /// How much at once, and how patiently.
    settings: Settings,
    /// What the store knew of each site when the session began.
    pub(super) known: Vec<SiteState>,
    /// Sites that the operator knows to be bad.
    pub(super) acknowledged: Acknowledged,
    pub(super) local: Local,
    pub(super) events: UnboundedReceiver<Event>,
    hub: Hub,
    /// Where its run is offered to other processes: the folder of the store.
    pub(super) folder: PathBuf,
    by: Operator,
    offer: Option<Offer>,
    /// Ends when who was attached to its last run has been told all of it.
    farewell: Option<JoinHandle<()>>,
    /// Drops what is old.
    prunes: Option<JoinHandle<()>>,
    /// Lines on their way to the system's log.
    lines: Vec<JoinHandle<()>>,
    pub(super) store: Arc<Db>,
    /// What Stripe says of keys.
    pub(super) standings: Arc<Standings<Db>>,
    pub(super) clock: Clock,
    pub(super) policy: Policy,
    pub(super) watch: WatchSettings,
    notify: NotifySettings,
    http: HttpSettings,
}

impl Session {
    /// Starts an engine on the config's sites. `ca_pem` is a certificate authority besides the system's.
    pub(super) async fn open(
        config: &Config,
        ca_pem: Option<Vec<u8>>,
        place: StorePlace,
        left: Left,
        judged: Judged,
    ) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let http = http_settings(config, ca_pem);
        let api = Arc::new(Reach::new(http.clone()));
        let stripe = stripe(config, &api);
        let sites = Arc::clone(&config.sites);
        let policy = config.policy();
        let urls: Vec<SiteUrl> = sites.iter().map(|site| site.url.clone()).collect();
        let store = place.store;
        let newest = store.last_known(&urls, &policy, clock.now()).await?;
        let known: Vec<SiteState> = newest.iter().map(|newest| newest.state.clone()).collect();
        let store = Arc::new(store);
        let bound = || Bound {
            sites: Arc::clone(&sites),
            store: Arc::clone(&store),
            store_name: place.name,
            clock,
            retry: policy.clone(),
            ordered: Locked::default(),
            rollout: config.rollout.clone(),
            run: Locked::default(),
        };
        let gate = judged.gate(bound);
        let standings = Arc::new(Standings::new(stripe, Arc::clone(&store), clock));
        let (handle, told) = engine::start_asking(
            Arc::clone(&sites),
            newest,
            Arc::clone(&api),
            Arc::clone(&standings),
            Arc::clone(&store),
            settings(config, left),
            clock,
        );
        let (hub, events) = Hub::start(Arc::clone(&sites), known.clone(), told);
        let master_keys = MasterKeys::new(config, &sites, api).unless(store.workers().is_some());
        Ok(Self {
            sites,
            failed_sources: config.listed.failed.clone(),
            held_back: config.listed.held_back,
            settings: settings(config, left),
            known,
            acknowledged: Acknowledged::default(),
            local: Local::new(handle, master_keys, gate),
            events,
            hub,
            folder: place.folder,
            by: who::operator(),
            offer: None,
            farewell: None,
            prunes: None,
            lines: Vec::new(),
            store,
            standings,
            clock,
            policy,
            watch: config.watch.clone(),
            notify: config.notify.clone(),
            http,
        })
    }

    /// As [`Session::open`], with the config's own certificate authority and store.
    pub(super) async fn of_config(config: &Config, globals: &Globals, left: Left) -> anyhow::Result<Self> {
        Self::of_the_screen(config, globals, left)
            .await?
            .within_reach()
            .await
    }

    /// As [`Session::of_config`], for a screen that is about to open. Where only the system's certificate authorities
    /// count, nothing waits for these: they are read beside all else.
    pub(super) async fn of_the_screen(
        config: &Config,
        globals: &Globals,
        left: Left,
    ) -> anyhow::Result<Self> {
        let ca_pem = ca_pem(config)?;
        let store = open_store(config, globals).await?;
        let session = Self::open(config, ca_pem, store, left, Judged::ByPolicy).await?;
        let session = session.rid_of_old_runs(config);
        if config.ca_file.is_some() {
            return session.within_reach().await;
        }
        Ok(session)
    }

    /// With the client that reaches its sites.
    async fn within_reach(self) -> anyhow::Result<Self> {
        self.reach().await.map_err(anyhow::Error::msg)?;
        Ok(self)
    }

    /// Makes the client that reaches the sites, unless it is made already. Without it no look comes back.
    ///
    /// # Errors
    /// When it cannot be made: why not, and what to do.
    pub(super) fn reach(&self) -> impl Future<Output = Result<(), String>> + Send + 'static + use<> {
        let api = Arc::clone(&self.local.master_keys.api);
        async move { api.client().await.map(drop).map_err(ToString::to_string) }
    }

    /// As [`Session::of_config`], to tell what would be sent: it leaves nothing in the store.
    pub(super) async fn to_read(config: &Config, globals: &Globals) -> anyhow::Result<Self> {
        let ca_pem = ca_pem(config)?;
        let store = open_store(config, globals).await?;
        let session = Self::open(config, ca_pem, store, Left::Alone, Judged::ByPolicy).await?;
        session.standings.only_read();
        session.within_reach().await
    }

    fn rid_of_old_runs(mut self, config: &Config) -> Self {
        let prunes = prune(Arc::clone(&self.store), config.store.retention);
        self.prunes = Some(tokio::spawn(prunes));
        self
    }

    /// As [`Session::of_config`], and nothing is asked: the terminal is the screen's.
    pub(super) async fn behind_the_screen(
        config: &Config,
        globals: &Globals,
        left: Left,
    ) -> anyhow::Result<Self> {
        let ca_pem = ca_pem(config)?;
        let store = open_unasked(config, globals).await?;
        let session = Self::open(config, ca_pem, store, left, Judged::ByPolicy).await?;
        session.rid_of_old_runs(config).within_reach().await
    }

    /// Takes note of what the engine tells: while it has a run, that is offered to other processes, which may
    /// steer it.
    pub(super) fn take_note(&mut self, event: &Event) {
        if let Event::Acknowledged {
            sites,
            acknowledgement,
        } = event
        {
            for site in sites {
                let url = self.sites[site.index()].url.clone();
                self.acknowledged.set(url, acknowledgement.clone());
            }
        }
        if let Some(begun) = self.local.gate.begun(event) {
            // Nothing waits for it but the end of the process.
            self.lines
                .push(tokio::spawn(syslog::tell(begun, self.by.clone())));
        }
        let Event::Run(run) = event else { return };
        if run.phase == RunPhase::Settled {
            self.farewell = self.offer.take().map(|offer| tokio::spawn(offer.close()));
        } else if self.offer.is_none() {
            let about = About {
                pid: self.by.pid,
                by: self.by.clone(),
                version: CleanText::note(env!("CARGO_PKG_VERSION")),
            };
            let (order, orders) = unbounded_channel();
            match self.hub.offer(&self.folder, about, order) {
                Ok(offer) => self.offer = Some(offer),
                Err(error) => tracing::warn!(%error, "no other screen can attach to this run"),
            }
            tokio::spawn(take_orders(self.local.clone(), orders));
        }
    }

    /// Ends a session behind which another one begins: its engine too, which gives up the looks that are out. No run
    /// of its own may be open.
    pub(super) async fn end(mut self) {
        self.local.send(Command::End);
        let ended = async { while self.events.recv().await.is_some() {} };
        if tokio::time::timeout(LAST_RECORDS, ended).await.is_err() {
            tracing::warn!("the engine of the config before has not ended yet");
        }
        self.close().await;
    }

    /// Tells who is attached all that has happened, before the process ends.
    pub(super) async fn close(mut self) {
        if let Some(prunes) = self.prunes.take() {
            // The next process goes on with it.
            prunes.abort();
        }
        let store = Arc::clone(&self.store);
        let written = tokio::task::spawn_blocking(move || store.flush(LAST_RECORDS)).await;
        if let Ok(Err(error)) = written {
            let _closed = writeln!(
                std::io::stderr(),
                "warning: the last records may be lost: {error}"
            );
        }
        for line in self.lines.drain(..) {
            // It has a time limit, and says in our log what it could not do.
            let _told = line.await;
        }
        if let Some(offer) = self.offer.take() {
            offer.close().await;
        }
        if let Some(farewell) = self.farewell.take() {
            // It only waits: nothing of it can fail.
            let _told = farewell.await;
        }
    }

    /// The workers that are there, where they make the calls of its runs. Where the store does not say, what begins next
    /// tells why.
    pub(super) async fn crew(&self) -> Option<Crew> {
        let workers = self.store.workers()?;
        let asked = tokio::time::timeout(CREW, workers.living()).await;
        asked.ok()?.ok().map(Crew::of)
    }

    /// The run that went last, if it has ended.
    pub(super) async fn last_run(&self) -> anyhow::Result<Option<RunInfo>> {
        let newest = self.store.runs(1).await?.into_iter().next();
        Ok(newest.filter(|run| run.ended.is_some()).map(|run| RunInfo {
            id: run.id,
            kind: run.kind,
            puts: self
                .known
                .iter()
                .filter(|state| state.run == Some(run.id))
                .count(),
            key: run.key,
            rollout: Rollout::default(),
            halt: None,
            phase: RunPhase::Settled,
            started: run.began,
            ended: run.ended,
        }))
    }

    /// What is on record of each site now, for a question: what the engine knows is its own affair.
    pub(super) async fn read(&self) -> Result<Vec<SiteState>, StoreError> {
        let urls: Vec<SiteUrl> = self.sites.iter().map(|site| site.url.clone()).collect();
        let newest = self
            .store
            .last_known(&urls, &self.policy, self.clock.now())
            .await?;
        Ok(newest.into_iter().map(|newest| newest.state).collect())
    }

    /// A preflight of these sites, once there is the client that reaches them.
    pub(super) fn preflight(
        &self,
        sites: Vec<SiteId>,
        auth: bool,
    ) -> impl FnOnce(Arc<HttpSiteApi>) -> Preflight + Send + use<> {
        let (all, settings, clock) = (Arc::clone(&self.sites), self.settings.clone(), self.clock);
        move |api| Preflight {
            api,
            all,
            settings,
            clock,
            sites,
            auth,
        }
    }

    /// Who is told what a watch finds. A command of it sees no variable that holds a secret.
    pub(super) fn notify_settings(&self) -> notify::Settings {
        notify::Settings {
            command: self.notify.command.clone(),
            webhook: self.notify.webhook.clone(),
            hidden: self.local.master_keys.hidden.clone(),
            http: HttpSettings {
                sites: 1,
                ..self.http.clone()
            },
        }
    }

    /// What the store calls its list of sites.
    pub(super) fn list_name(&self) -> Option<&str> {
        self.settings.list.as_deref()
    }

    /// When a run halts.
    pub(super) fn rollout(&self) -> &rollout::Settings {
        &self.settings.rollout
    }

    /// Every site, in the order of the list.
    pub(super) fn all(&self) -> Vec<SiteId> {
        (0..).map(SiteId).take(self.sites.len()).collect()
    }
}

/// Reaches the config's sites.
pub(super) fn http(config: &Config, ca_pem: Option<Vec<u8>>) -> Reach {
    Reach::new(http_settings(config, ca_pem))
}

/// How sites are reached.
pub(super) fn http_settings(config: &Config, ca_pem: Option<Vec<u8>>) -> HttpSettings {
    HttpSettings {
        connect_timeout: config.push.connect_timeout,
        timeout: config.push.timeout,
        proxy: config.push.proxy.clone(),
        ca_pem,
        sites: config.sites.len(),
        per_backend: config.push.per_backend,
    }
}

/// Who is asked of keys, if the config wants that.
fn stripe(config: &Config, sites: &Arc<Reach>) -> Option<Arc<dyn AskStripe>> {
    let stripe = || ReachStripe::new(Arc::clone(sites), config.stripe.api.clone());
    config
        .stripe
        .check
        .then(|| Arc::new(stripe()) as Arc<dyn AskStripe>)
}

/// What the store calls the list of sites of a config: the config's path, wherever the program is started; with the
/// machine, where several share the store. None where there is no config.
pub(super) fn list_name(config: &Config) -> Option<String> {
    let path = std::fs::canonicalize(&config.path).ok()?;
    let path = path.to_string_lossy().into_owned();
    Some(match config.store.url {
        Some(_) => format!("{}:{path}", who::operator().host),
        None => path,
    })
}

/// How much at once, and how patiently.
pub(super) fn settings(config: &Config, left: Left) -> Settings {
    Settings {
        concurrency: config.push.concurrency,
        per_backend: config.push.per_backend,
        rate: Rates {
            overall: config.push.rate_per_second,
            per_backend: config.push.backend_rate_per_second,
        },
        rollout: config.rollout.clone(),
        policy: config.policy(),
        left,
        list: list_name(config),
        host: who::operator().host,
    }
}

/// Certificate authorities take at most so many bytes.
const CA_FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// The certificate authority that the config names.
pub(super) fn ca_pem(config: &Config) -> anyhow::Result<Option<Vec<u8>>> {
    let read = |path: &PathBuf| read_ca_file(path).with_context(|| format!("tls.ca_file {}", path.display()));
    config.ca_file.as_ref().map(read).transpose()
}

fn read_ca_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let (file, _) = open_plain(path)?;
    let mut pem = Vec::new();
    file.take(CA_FILE_LIMIT).read_to_end(&mut pem)?;
    Ok(pem)
}
