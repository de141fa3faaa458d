use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::About;
use super::mirror::Next;
use super::order::Orders;
use super::shared::{Listener, Shared};
use super::socket::{SocketFile, may_attach};
use super::wire::{
    ClientHello, FROM_CLIENT, FROM_SERVER, GREETING, Lines, PROTOCOL, Preamble, STALL, ServerHello,
    ServerLine, Told, Wants, append, parse, within, write,
};
use crate::engine::{Command, RunInfo};

/// How many connections there may be at once; more wait for their turn.
const CONNECTIONS: usize = 64;
/// How many events go out in one write: about 64 KiB.
const EVENTS: usize = 64;
/// URLs go out in lines of about so many bytes.
const URLS: usize = 64 * 1024;
/// How long to wait where the system has no resources for another connection.
const EXHAUSTED: Duration = Duration::from_secs(1);
/// How long the end of an offer waits for clients to take what they have not been told.
const FAREWELL: Duration = Duration::from_secs(2);

/// A run on its socket. Dropped, it deletes the socket; clients are told what has happened until then, and
/// their connections end.
#[derive(Debug)]
pub struct Offer {
    file: SocketFile,
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl Offer {
    pub(super) fn start(
        listener: UnixListener,
        file: SocketFile,
        about: About,
        orders: UnboundedSender<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        let ending = CancellationToken::new();
        let tasks = TaskTracker::new();
        let host = Arc::new(Host {
            about,
            orders,
            shared,
            ending: ending.clone(),
        });
        tasks.spawn(accept(listener, host, tasks.clone()));
        Self { file, ending, tasks }
    }

    /// Ends the offer at once. What it returns waits, for two seconds at most, until each client has been told all
    /// that has happened: for a process that is about to exit.
    pub fn close(self) -> impl Future<Output = ()> + Send + 'static {
        let tasks = self.tasks.clone();
        drop(self);
        tasks.close();
        async move {
            let told = tokio::time::timeout(FAREWELL, tasks.wait()).await;
            if told.is_err() {
                tracing::warn!("an attached screen was not told the last of the run: it takes nothing");
            }
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.file.delete();
        self.ending.cancel();
    }
}

/// What each connection needs.
struct Host {
    about: About,
    orders: UnboundedSender<Command>,
    shared: Arc<Shared>,
    ending: CancellationToken,
}

/// Takes connections until the offer ends.
async fn accept(listener: UnixListener, host: Arc<Host>, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let connection = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = host.ending.cancelled() => return,
            connection = connection => connection,
        };
        match accepted {
            Ok((stream, _)) => {
                let host = Arc::clone(&host);
                tasks.spawn(async move {
                    let _place = place;
                    if let Err(error) = host.serve(stream).await {
                        tracing::info!(%error, "the connection of an attached screen ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a screen could not be attached");
                tokio::select! {
                    () = host.ending.cancelled() => return,
                    () = tokio::time::sleep(EXHAUSTED) => {}
                }
            }
        }
    }
}

/// Whether something of the run is still to be sent.
pub(super) fn sends(run: &RunInfo) -> bool {
    run.phase.is_sending()
}

impl Host {
    async fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        if !may_attach(stream.peer_cred()?.uid()) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        let (source, mut sink) = stream.split();
        let mut lines = Lines::new(source, FROM_CLIENT);
        let Some(hello) = within(GREETING, lines.next()).await? else {
            return Ok(());
        };
        let protocol = parse::<Preamble>(hello)?.protocol;
        let wants = if protocol == PROTOCOL {
            parse::<ClientHello>(hello)?.wants
        } else {
            // It learns from our hello that it cannot have more.
            Wants::Hello
        };
        let mut out = Vec::new();
        append(&mut out, &self.hello(), FROM_SERVER)?;
        write(&mut sink, &out, GREETING).await?;
        if wants == Wants::Hello {
            return sink.shutdown().await;
        }
        let listener = Listener::new(Arc::clone(&self.shared));
        let mut taking = pin!(self.take_orders(&mut lines));
        let telling = self.tell(&mut sink, &listener);
        tokio::select! {
            read = &mut taking => read,
            told = telling => match told {
                Ok(()) => Ok(()),
                // A screen that is left closes its connection behind its last order.
                Err(error) => within(GREETING, taking).await.and(Err(error)),
            },
        }
    }

    fn hello(&self) -> ServerHello {
        let info = self.shared.mirror().run().cloned();
        ServerHello {
            protocol: PROTOCOL,
            version: self.about.version.clone(),
            pid: self.about.pid,
            run: info.as_ref().map(|run| run.id),
            sends: info.as_ref().is_some_and(sends),
            by: self.about.by.clone(),
            info,
            sites: u32::try_from(self.shared.sites.len()).unwrap_or(u32::MAX),
        }
    }

    /// Passes a client's orders on until it leaves.
    async fn take_orders(&self, lines: &mut Lines<impl AsyncRead + Unpin>) -> io::Result<()> {
        let mut orders = Orders::new(self.shared.sites.len());
        while let Some(line) = lines.read().await? {
            if let Some(order) = orders.take(line)?
                && self.orders.send(order).is_err()
            {
                // Nobody would answer it: that the connection ends is the answer.
                return Err(io::Error::new(
                    ErrorKind::BrokenPipe,
                    "no orders are taken any more",
                ));
            }
        }
        Ok(())
    }

    /// Tells a client everything until nothing happens any more, or the offer ends.
    async fn tell(&self, sink: &mut (impl AsyncWrite + Unpin), listener: &Listener) -> io::Result<()> {
        self.tell_sites(sink).await?;
        let mut out = Vec::new();
        loop {
            // Before the look at what is left, so that nothing falls between the two.
            let is_ending = self.ending.is_cancelled();
            let events = match listener.next(EVENTS) {
                Next::Events(events) => events,
                Next::Nothing if !is_ending => {
                    tokio::select! {
                        () = listener.wake.notified() => {}
                        () = self.ending.cancelled() => {}
                    }
                    continue;
                }
                Next::Nothing | Next::End => return sink.shutdown().await,
                Next::TooSlow => return Err(ErrorKind::TimedOut.into()),
            };
            out.clear();
            for event in events {
                if let Err(error) = append(&mut out, &Told::Event(&event), FROM_SERVER) {
                    tracing::error!(%error, "attached screens are not told of an event");
                }
            }
            write(sink, &out, STALL).await?;
        }
    }

    async fn tell_sites(&self, sink: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut urls = Vec::new();
        let mut bytes = 0;
        let mut out = Vec::new();
        for (index, site) in self.shared.sites.iter().enumerate() {
            let url = site.url.to_string();
            bytes += url.len();
            urls.push(url);
            if bytes >= URLS || index + 1 == self.shared.sites.len() {
                out.clear();
                append(
                    &mut out,
                    &ServerLine::Sites(std::mem::take(&mut urls)),
                    FROM_SERVER,
                )?;
                write(sink, &out, STALL).await?;
                bytes = 0;
            }
        }
        Ok(())
    }
}
