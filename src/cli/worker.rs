use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::gate::may_push;
use super::sending::say;
use super::session::{Session, read_url};
use super::signals::Signals;
use super::sources::{self, ListArgs, config_with_sites};
use super::status::Status;
use super::who::operator;
use super::{Globals, log};
use crate::engine::{Command, Event, Left, Level};
use crate::store::StoreError;
use crate::store::postgres::Queue;
use crate::text::{CleanText, Count};

/// What is done with each chunk.
mod desk;
/// What is told of the runs that it works on.
mod runs;
use desk::Desk;

/// How often it is asked whether a run is held.
const RECALLS: Duration = Duration::from_secs(1);
/// So many chunks are worked on at once at most: each has one backend to itself.
const CHUNKS: usize = 64;

/// `worker`: takes work until it is told to stop.
pub(super) async fn run(globals: &Globals) -> anyhow::Result<Status> {
    if globals.read_only {
        bail!("--read-only promises that nothing is sent, and `worker` sends: leave out one of the two");
    }
    if globals.store.is_some() {
        bail!("workers find their work in the database of store.url: leave --store out");
    }
    let mut signals = Signals::listen()?;
    let asked = async { may_push().await.context("no work taken") };
    signals.unless_stopped(asked).await?;
    let mut config = config_with_sites(globals, &mut signals).await?;
    sources::may_send(&config, ListArgs::default(), false)?;
    let Some(url) = config.store.url.clone() else {
        bail!("workers find their work in a database: say where that is by url in [store] (docs/workers.md)");
    };
    log::start(&config.log, globals);
    let url = signals.unless_stopped(read_url(&config, &url)).await?;
    // What it makes itself are the calls of others' runs.
    config.cluster.enabled = false;
    let at_once = config.push.concurrency.min(CHUNKS);
    let queue = Queue::new(&url, at_once)?;
    let session = match Session::of_config(&config, globals, Left::Alone).await {
        Err(error) if error.is::<StoreError>() => return Ok(without_store(&error)),
        opened => opened?,
    };
    let enabled = session
        .all()
        .into_iter()
        .filter(|site| session.sites[site.index()].enabled);
    let enabled: Vec<_> = enabled.collect();
    let loaded = signals
        .unless_stopped(session.local.master_keys.load(&enabled))
        .await;
    loaded.context("no work taken")?;
    tracing::info!(pid = operator().pid, host = %operator().host, "a worker begins");
    say(&format!(
        "worker: PID {} on {} takes work on {}, of {at_once} backends at once, until SIGTERM",
        operator().pid,
        operator().host,
        Count(enabled.len(), "site")
    ));
    let desk = Arc::new(Desk::new(&session));
    if let Err(error) = desk.announce().await {
        return Ok(without_store(&error.into()));
    }
    work(session, desk, queue, &mut signals).await
}

/// A config that is wrong stays so; a store is there again some time, and whoever starts workers anew goes by the status.
fn without_store(error: &anyhow::Error) -> Status {
    let error = CleanText::note(&format!("{error:#}"));
    tracing::error!(%error, "no work taken");
    say(&format!("error: no work taken: {error}"));
    Status::Bad
}

async fn work(
    mut session: Session,
    desk: Arc<Desk>,
    queue: Queue,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    let stop = CancellationToken::new();
    let serving = tokio::spawn(queue.serve(Desk::work(&desk), stop.clone()));
    let mut recalls = interval(RECALLS);
    recalls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        tokio::select! {
            event = session.events.recv() => match event {
                Some(event) => take(&desk, &event),
                // Without the engine nothing that is taken goes on.
                None if !stop.is_cancelled() => {
                    desk.stop();
                    stop.cancel();
                    desk.give_all_back();
                    let _ended = serving.await;
                    bail!("the engine has ended: please report this");
                }
                None => break Ok(Status::Good),
            },
            _ = recalls.tick() => {
                desk.take_recalls();
                desk.tell_of_runs(false);
            }
            () = desk.is_denied(), if !stop.is_cancelled() => {
                desk.stop();
                stop.cancel();
                session.local.send(Command::Leave);
            }
            _ = signals.ended() => {
                if stop.is_cancelled() {
                    // Asked for twice: what is out is not waited for.
                    break Ok(Status::Interrupted);
                }
                say("worker: takes no more work; what is out is waited for");
                desk.stop();
                stop.cancel();
                session.local.send(Command::Leave);
            }
        }
    };
    if matches!(ended, Ok(Status::Good)) {
        // What was not sent goes back; nothing of it is left in the engine.
        desk.give_all_back();
        let _ended = serving.await;
    } else {
        serving.abort();
    }
    desk.tell_of_runs(true);
    session.close().await;
    match desk.denied() {
        Some(denied) => Err(anyhow::Error::new(denied).context("no more work taken")),
        None => ended,
    }
}

fn take(desk: &Desk, event: &Event) {
    match event {
        Event::ChunkOver(id) => desk.is_over(*id),
        Event::Site { site, state } => desk.sees(*site, state),
        Event::KeyRefused(run, key) => desk.key_refused(*run, *key),
        Event::Message(message) if message.level >= Level::Warning => say(&message.text),
        Event::Store { note, .. } => say(note),
        _ => {}
    }
}
