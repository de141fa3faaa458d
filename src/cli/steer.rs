use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch as watch_channel;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reading;
use super::session::Session;
use super::watching::{Wants, Watching};
use crate::attach::{Attached, Changed, Found, Watch, find};
use crate::demo::Fleet;
use crate::engine::{Command, Event, Level, Message as Told, RunInfo, sleep_until};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::run::RunPhase;
use crate::rules::standing::Purpose;
use crate::site::SiteId;
use crate::store::{Holder, Store, StoreError};
use crate::tui::setup::SetupOrder;
use crate::tui::{Effect, Message, PreflightNews, PreflightOrder, PreflightTold, Wanted};

/// How long a run of another process may take to hear the last order.
const FAREWELL: Duration = Duration::from_secs(1);
/// What other processes write is read at most so often.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Stands between the screen and what it steers: the engine of this process, or the run of another one that it is
/// attached to. Carries out what the screen orders, and tells it what happens.
pub(super) struct Steer {
    session: Session,
    /// The demo's sites, which `H` mends.
    fleet: Option<Arc<Fleet>>,
    /// Who carries out what is ordered about the config.
    setup: UnboundedSender<SetupOrder>,
    tell: UnboundedSender<Message>,
    /// Whether the screen only watches.
    read_only: bool,
    remote: Option<Remote>,
    /// Notices other processes.
    others: Option<Watch>,
    /// As that, where the store itself tells what other machines write.
    told_by_store: Option<watch_channel::Receiver<u64>>,
    /// The runs of others, where the store has several at once.
    beside: Beside,
    /// Asks which workers are there.
    _crew: JoinSet<()>,
    /// Whether a run of this process goes on.
    own_run: bool,
    /// When the store is read again, since another process has written to it.
    read_at: Option<Instant>,
    /// Asks it whether one has. A store that is away is slow to say that.
    asking: JoinSet<Result<bool, StoreError>>,
    /// Until when it is not, since the last time took long.
    rests_until: Instant,
    /// Since when it is read.
    reads_since: Option<Instant>,
    /// Whether what nobody works on is to be asked about once it was read.
    asks: bool,
    /// What stops the preflights that go on: one, and while master keys are read for another one, that too.
    preflights: Vec<CancellationToken>,
    /// Looks at all sites again and again, if that is wanted.
    watching: Option<Watching>,
    /// Orders to the run of another process that are being judged.
    judging: JoinSet<Judged>,
    /// How many times that run was ordered to send nothing more.
    holds: u64,
}

/// Runs of others beside it.
mod beside;
/// The workers that make the calls of runs.
mod crew;
/// Orders to the run of another process.
mod there;
/// The watch of a screen.
mod watch;

use beside::Beside;
use crew::tell_of_workers;
use there::Judged;

/// The run of another process.
struct Remote {
    attached: Attached,
    holder: Holder,
    /// Its run, once that is known.
    run: Option<RunInfo>,
    sends: bool,
}

impl Steer {
    pub(super) fn new(
        session: Session,
        setup: UnboundedSender<SetupOrder>,
        fleet: Option<Arc<Fleet>>,
        tell: UnboundedSender<Message>,
        read_only: bool,
    ) -> Self {
        let others = Watch::new(&session.folder);
        let others = others.inspect_err(|error| tracing::warn!(%error, "other processes are not noticed"));
        let told_by_store = session.store.others();
        Self {
            _crew: tell_of_workers(&session.store, tell.clone()),
            session,
            fleet,
            setup,
            tell,
            read_only,
            remote: None,
            others: others.ok(),
            told_by_store,
            beside: Beside::default(),
            own_run: false,
            read_at: None,
            asking: JoinSet::new(),
            rests_until: Instant::now(),
            reads_since: None,
            asks: false,
            preflights: Vec::new(),
            watching: None,
            judging: JoinSet::new(),
            holds: 0,
        }
    }

    /// Until the screen is left; gives back the session then.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Effect>) -> Session {
        self.look_for_runs().await;
        self.tell_of_what_was_left().await;
        self.read_others();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.carry_out(order),
                    None => break,
                },
                Some(event) = self.session.events.recv() => self.take_own(event).await,
                event = next_event(&mut self.remote) => match event {
                    Some(event) => self.take_remote(event).await,
                    None => self.detached(),
                },
                Some(Ok(judged)) = self.judging.join_next() => self.pass_on(judged),
                changed = next_change(&mut self.others) => match changed {
                    Changed::Runs => self.look_for_runs().await,
                    Changed::Store => self.read_soon(),
                },
                found = self.beside.next() => self.take_others(found),
                () = next_told(&mut self.told_by_store) => self.read_within(READ_EVERY / 4),
                () = sleep_until(self.watching.as_ref().and_then(Watching::due)) => self.watch_ticks().await,
                wants = beside_watch(&mut self.watching) => self.watch_wants(wants).await,
                () = sleep_until(self.read_at.filter(|_| self.reads_since.is_none())) => self.read_again(),
                Some(Ok(changed)) = self.asking.join_next() => self.has_changed(changed),
            }
        }
        stop_all(&self.preflights);
        while let Ok(Some(Ok(judged))) = tokio::time::timeout(FAREWELL, self.judging.join_next()).await {
            self.pass_on(judged);
        }
        if let Some(remote) = self.remote {
            let Attached {
                connection,
                orders,
                events,
                ..
            } = remote.attached;
            drop((orders, events));
            // What was ordered last is on its way then.
            let _stalled = tokio::time::timeout(FAREWELL, connection).await;
        }
        self.session
    }

    /// Attaches to the run of another process, if one goes on and none of this process does.
    async fn look_for_runs(&mut self) {
        if self.own_run || self.remote.is_some() {
            return;
        }
        let own = std::process::id();
        for found in find(&self.session.folder).await {
            if found.about.pid == own {
                continue;
            }
            match found.attach(&self.session.sites).await {
                Ok(attached) => return self.attach(&found, attached),
                Err(error) => self.warn(error.to_string()),
            }
        }
    }

    fn attach(&mut self, found: &Found, attached: Attached) {
        let since = found
            .run
            .as_ref()
            .map_or_else(jiff::Timestamp::now, |run| run.started.wall);
        let holder = Holder {
            run: found.number,
            by: crate::store::Operator {
                pid: found.about.pid,
                ..found.about.by.clone()
            },
            since,
            is_elsewhere: false,
            free_in: None,
        };
        if attached.foreign_sites > 0 {
            self.warn(format!(
                "{} of that run are not in this config: nothing is shown of them",
                crate::text::Count(attached.foreign_sites, "site")
            ));
        }
        self.say(Message::Attached(Some(holder.clone())));
        self.remote = Some(Remote {
            attached,
            holder,
            run: found.run.clone(),
            sends: found.sends,
        });
        self.read_others();
    }

    /// The run of another process has ended, or its process has.
    fn detached(&mut self) {
        self.asks = true;
        self.shows_own();
    }

    /// What is shown from now on is what this process knows: what is on record, and what goes on here.
    fn shows_own(&mut self) {
        self.remote = None;
        self.say(Message::Attached(None));
        self.read_others();
        self.refresh(true);
    }

    async fn take_remote(&mut self, event: Event) {
        if let (Event::Run(run), Some(remote)) = (&event, &mut self.remote) {
            remote.sends = run.phase.is_sending();
            remote.holder.run = Some(run.id);
            remote.run = Some(run.clone());
        }
        self.watch_takes(&event).await;
        self.say(Message::Engine(event));
    }

    async fn take_own(&mut self, event: Event) {
        self.session.take_note(&event);
        if matches!(event, Event::Refreshed { .. }) {
            self.watch_takes(&event).await;
            return self.refreshed().await;
        }
        let mut settled = false;
        if let Event::Run(run) = &event {
            settled = run.phase == RunPhase::Settled;
            self.own_run = !settled;
        }
        let is_shown = self.shows(&event);
        if is_shown {
            self.watch_takes(&event).await;
            self.say(Message::Engine(event));
        }
        if settled {
            // What others have written meanwhile was not read.
            self.read_soon();
            self.look_for_runs().await;
        }
    }

    /// While the run of another process is shown, what stands still here is not; sites that are only here are, and what
    /// is on record of other runs: that process need not read it.
    fn shows(&self, event: &Event) -> bool {
        let Some(remote) = &self.remote else {
            return true;
        };
        match event {
            Event::Site { site, state } => {
                let of = remote.run.as_ref().map(|run| run.id);
                let is_anothers = of.is_some() && state.run.is_some() && state.run != of;
                remote.attached.own_sites.contains(site) || is_anothers && self.told_by_store.is_some()
            }
            event => !matches!(event, Event::Run(_)),
        }
    }

    /// Of a store in a file: what others write while a run of this process goes on is read when that has settled.
    fn read_soon(&mut self) {
        self.read_within(READ_EVERY);
    }

    fn read_within(&mut self, time: Duration) {
        let soon = (Instant::now() + time).max(self.rests_until);
        self.read_at = self.read_at.or(Some(soon));
    }

    fn read_again(&mut self) {
        self.read_at = None;
        let store = Arc::clone(&self.session.store);
        let is_away = store.trouble().is_some_and(|trouble| trouble.borrow().is_some());
        if is_away || !self.asking.is_empty() {
            // What others have written meanwhile is read behind that.
            return self.read_soon();
        }
        // Where others may send at once, a run of ours hides nothing of theirs.
        if self.told_by_store.is_some() || self.remote.is_none() && !self.own_run {
            self.asking.spawn(async move { store.has_changed().await });
        }
    }

    fn has_changed(&mut self, changed: Result<bool, StoreError>) {
        match changed {
            Ok(true) => {
                self.refresh(false);
                self.read_others();
            }
            Ok(false) => {}
            Err(error) => {
                self.warn(error.to_string());
                self.read_soon();
            }
        }
    }

    /// Has the engine read what is on record: it alone knows what of that may replace what it knows.
    fn refresh(&mut self, tells_all: bool) {
        self.reads_since = Some(Instant::now());
        self.session.local.send(Command::Refresh { tells_all });
    }

    /// What is on record was read, and what was new is told.
    async fn refreshed(&mut self) {
        if let Some(begun) = self.reads_since.take() {
            // A large store is read less often.
            self.rests_until = Instant::now() + begun.elapsed() * 10;
            self.read_at = self.read_at.map(|at| at.max(self.rests_until));
        }
        if std::mem::take(&mut self.asks) {
            // Beside all else: a store may be slow to answer.
            tokio::spawn(self.tell_of_what_was_left());
            self.look_for_runs().await;
        }
    }

    /// Runs that nobody works on, oldest first: the newest is asked about last, and stands on top.
    fn tell_of_what_was_left(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (store, tell) = (Arc::clone(&self.session.store), self.tell.clone());
        let clock = self.session.clock;
        async move {
            match store.unfinished_runs().await {
                Ok(runs) => {
                    for run in runs.into_iter().rev() {
                        let _left = tell.send(Message::Left(Box::new(run)));
                    }
                }
                Err(error) => {
                    let _left = tell.send(warning(clock.now(), error.to_string()));
                }
            }
        }
    }

    fn carry_out(&mut self, order: Effect) {
        match order {
            Effect::Engine(command) => self.order(command),
            Effect::Watch(on) => self.watch(on),
            Effect::Heal => {
                let healed = self.fleet.as_ref().map_or(0, |fleet| fleet.heal());
                self.say(Message::Healed(healed));
            }
            Effect::Read(wanted) => self.read(wanted),
            Effect::Preflight(order) => self.check(order),
            Effect::AskStripe(key) => self.ask_stripe(key),
            Effect::Setup(order) => {
                // If it has ended by a fault, that is told when the screen is left.
                let _ended = self.setup.send(order);
            }
            // What concerns the terminal is done by the screen itself.
            Effect::Copy(_) | Effect::Redraw | Effect::Suspend | Effect::Quit(_) => {}
        }
    }

    fn order(&mut self, command: Command) {
        let begins = matches!(command, Command::Push(_) | Command::Resume(_));
        match &self.remote {
            Some(remote) if begins && remote.sends => {
                let busy = StoreError::Busy(Box::new(remote.holder.clone()));
                self.say(Message::Engine(Event::NotBegun(busy)));
                self.say(Message::Engine(Event::Taken));
            }
            Some(_) if begins => {
                // What that run still waits for, it goes on to wait for.
                self.shows_own();
                self.session.local.order(command);
            }
            Some(remote) if matches!(command, Command::Look { .. }) => {
                let (here, there) = split(&command, &remote.attached.own_sites);
                if let Some(here) = here {
                    self.session.local.order(here);
                }
                // It is asked before the screen knows that it is attached, too: who only watches has nothing looked at
                // there.
                if let Some(there) = there.filter(|_| !self.read_only) {
                    let _ended = remote.attached.orders.send(there);
                }
            }
            Some(remote) if matches!(command, Command::Acknowledge { .. }) => {
                // Who sends has to know of it at once; on record it is whoever sends.
                let _ended = remote.attached.orders.send(command.clone());
                self.session.local.order(command);
            }
            Some(_) if !matches!(command, Command::Close(_)) => self.order_there(command),
            _ => self.session.local.order(command),
        }
    }

    /// Begins a preflight beside all else, or has those that go on begin nothing more.
    fn check(&mut self, order: PreflightOrder) {
        let PreflightOrder::Begin { number, sites, auth } = order else {
            return stop_all(&std::mem::take(&mut self.preflights));
        };
        let stop = CancellationToken::new();
        let before = self.preflights.clone();
        self.preflights.push(stop.clone());
        let local = self.session.local.clone();
        let preflight = self.session.preflight(sites.clone(), auth);
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let say = |told| {
                let _left = tell.send(Message::Preflight(PreflightNews { number, told }));
            };
            if auth && let Err(denied) = local.gate.may_check().await {
                return say(PreflightTold::Refused(denied.to_string()));
            }
            if auth && let Err(error) = local.master_keys.load(&sites).await {
                return say(PreflightTold::Refused(format!("{error:#}")));
            }
            let preflight = match local.master_keys.client().await {
                Ok(client) => preflight(Arc::clone(client)),
                Err(error) => return say(PreflightTold::Refused(error.to_string())),
            };
            // Only now: if no master key can be read, what goes on without them goes on.
            stop_all(&before);
            say(PreflightTold::Begun);
            let (find, mut found) = unbounded_channel();
            let work = tokio::spawn(preflight.run(stop, find));
            while let Some(news) = found.recv().await {
                say(PreflightTold::Found(news));
            }
            // It has ended: nothing else lets go of its channel.
            let _ended = work.await;
            say(PreflightTold::Ended);
        });
    }

    /// Reads beside all else: a long history holds up nothing.
    fn read(&self, wanted: Wanted) {
        let (store, sites) = (Arc::clone(&self.session.store), Arc::clone(&self.session.sites));
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let _left = tell.send(Message::Read(reading::read(&*store, &sites, wanted).await));
        });
    }

    /// Asks beside all else: the screen waits for no network.
    fn ask_stripe(&self, key: PublishableKey) {
        let standings = Arc::clone(&self.session.standings);
        let tell = self.tell.clone();
        tokio::spawn(async move {
            if let Some(asked) = standings.of(&key, Purpose::Push).await {
                let _left = tell.send(Message::Asked(key, asked));
            }
        });
    }

    fn warn(&self, text: String) {
        self.say(warning(self.session.clock.now(), text));
    }

    fn say(&self, message: Message) {
        // The screen is being left: what is told now is told by who follows.
        let _left = self.tell.send(message);
    }
}

fn warning(at: Moment, text: String) -> Message {
    let level = Level::Warning;
    Message::Engine(Event::Message(Told { at, level, text }))
}

fn stop_all(preflights: &[CancellationToken]) {
    preflights.iter().for_each(CancellationToken::cancel);
}

/// A look at sites that only this process has, and one at the others.
fn split(look: &Command, own: &HashSet<SiteId>) -> (Option<Command>, Option<Command>) {
    let of = |mine: bool| {
        let mut look = look.clone();
        let Command::Look { sites, .. } = &mut look else {
            return None;
        };
        sites.retain(|site| own.contains(site) == mine);
        (!sites.is_empty()).then_some(look)
    };
    (of(true), of(false))
}

async fn beside_watch(watching: &mut Option<Watching>) -> Wants {
    match watching {
        Some(watching) => watching.beside().await,
        None => pending().await,
    }
}

async fn next_event(remote: &mut Option<Remote>) -> Option<Event> {
    match remote {
        Some(remote) => remote.attached.events.recv().await,
        None => pending().await,
    }
}

/// The store tells that others have written; one that does not tell is waited for in vain.
async fn next_told(told: &mut Option<watch_channel::Receiver<u64>>) {
    let Some(receiver) = told else {
        return pending().await;
    };
    if receiver.changed().await.is_err() {
        // The store is gone.
        pending::<()>().await;
    }
}

async fn next_change(others: &mut Option<Watch>) -> Changed {
    match others {
        Some(others) => others.changed().await,
        None => pending().await,
    }
}
