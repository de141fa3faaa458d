//! A process whose engine is played by the test, and screens.

use std::path::Path;
use std::time::Duration;

use stripe_propagate::attach::{self, About, Attached, Found, Hub, Offer};
use stripe_propagate::engine::{Attempt, Attempts, Command, Event, Level, Message, RunInfo};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::store::{Operator, Request, RunId};
use stripe_propagate::text::CleanText;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

pub(crate) fn site(name: &str) -> Site {
    let url = SiteUrl::parse(&format!("https://{name}.example.com")).unwrap();
    Site {
        name: CleanText::note(name),
        backend: url.backend().into(),
        url,
        group: None,
        mode: SiteMode::Any,
        master_key: MasterKeyId(0),
        enabled: true,
    }
}

pub(crate) fn sites(names: &str) -> Vec<Site> {
    names.split(' ').map(site).collect()
}

pub(crate) fn many(count: usize) -> Vec<Site> {
    (0..count).map(|index| site(&format!("shop{index}"))).collect()
}

pub(crate) fn state(http: u16) -> SiteState {
    let mut state = SiteState::default();
    state.http = Some(http);
    state
}

pub(crate) fn changed(site: u32, http: u16) -> Event {
    Event::Site {
        site: SiteId(site),
        state: Box::new(state(http)),
    }
}

pub(crate) fn moment() -> Moment {
    Moment::from((7, 7))
}

pub(crate) fn said(text: &str) -> Event {
    Event::Message(Message {
        at: moment(),
        level: Level::Info,
        text: text.to_owned(),
    })
}

pub(crate) fn key() -> PublishableKey {
    PublishableKey::parse("pk_test_51ExampleExampleExample").unwrap()
}

pub(crate) fn run(id: u64, phase: RunPhase) -> Event {
    Event::Run(RunInfo {
        kind: stripe_propagate::rules::run::Kind::Push,
        halt: None,
        rollout: stripe_propagate::rules::rollout::Rollout::default(),
        id: RunId(id),
        key: key(),
        phase,
        started: moment(),
        ended: None,
        puts: 3,
    })
}

pub(crate) fn attempt(site: u32, number: u32) -> Event {
    Event::Attempt(Attempt {
        run: Some(RunId(1)),
        site: SiteId(site),
        request: Request::Put,
        number,
        at: moment(),
        took: Duration::from_millis(3),
        http: Some(200),
        cause: None,
        note: CleanText::note("stored"),
    })
}

pub(crate) fn retry(sites: &[u32]) -> Command {
    Command::Retry {
        sites: sites.iter().copied().map(SiteId).collect(),
        allow: Allow::default(),
    }
}

pub(crate) fn look(sites: &[u32]) -> Command {
    Command::Look {
        sites: sites.iter().copied().map(SiteId).collect(),
        expected: None,
        attempts: Attempts::One,
        background: false,
    }
}

/// A process with a run, its engine played by the test.
pub(crate) struct Process {
    pub(crate) hub: Hub,
    pub(crate) engine: UnboundedSender<Event>,
    pub(crate) local: UnboundedReceiver<Event>,
    pub(crate) orders: UnboundedReceiver<Command>,
    pub(crate) offer: Offer,
}

pub(crate) fn about(pid: u32) -> About {
    About {
        pid,
        by: Operator {
            user: CleanText::note("ann"),
            pid,
            ..Operator::default()
        },
        version: CleanText::note("0.1.0"),
    }
}

impl Process {
    pub(crate) fn start(folder: &Path, pid: u32, sites: Vec<Site>, known: Vec<SiteState>) -> Self {
        let (engine, events) = mpsc::unbounded_channel();
        let (hub, local) = Hub::start(sites.into(), known, events);
        let (give, orders) = mpsc::unbounded_channel();
        let offer = hub.offer(folder, about(pid), give).unwrap();
        Self {
            hub,
            engine,
            local,
            orders,
            offer,
        }
    }

    /// Lets the engine tell these events, and waits until the hub knows of them.
    pub(crate) async fn happens(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.engine.send(event.clone()).unwrap();
            assert_eq!(self.local.recv().await, Some(event));
        }
    }
}

pub(crate) async fn found(folder: &Path) -> Found {
    let [found] = attach::find(folder).await.try_into().unwrap();
    found
}

pub(crate) async fn attached(folder: &Path, sites: &[Site]) -> Attached {
    found(folder).await.attach(sites).await.unwrap()
}

/// Everything up to and with the message.
pub(crate) async fn until(events: &mut UnboundedReceiver<Event>, text: &str) -> Vec<Event> {
    let mut told = Vec::new();
    loop {
        told.push(events.recv().await.unwrap());
        if matches!(told.last(), Some(Event::Message(message)) if message.text == text) {
            return told;
        }
    }
}

/// A connection that speaks for itself.
pub(crate) async fn raw(folder: &Path, pid: u32, hello: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(folder.join(format!("{pid}.sock")))
        .await
        .unwrap();
    // A process that has read enough does not read the rest.
    let _refused = stream.write_all(format!("{hello}\n").as_bytes()).await;
    BufReader::new(stream)
}

pub(crate) const HELLO: &str = r#"{"protocol":3,"version":"0.1.0","wants":"events"}"#;
