use std::cmp::Reverse;
use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{JoinHandle, JoinSet};

use super::remap::{Remap, clean};
use super::socket::{self, SocketFile};
use super::wire::{
    ClientHello, FROM_CLIENT, FROM_SERVER, GREETING, Lines, PROTOCOL, Preamble, STALL, ServerHello,
    ServerLine, Wants, append, invalid, parse, within, write,
};
use super::{About, AttachError, name, order};
use crate::engine::{Clock, Command, Event, Level, Message, RunInfo};
use crate::site::{Site, SiteId};
use crate::store::{Operator, RunId};
use crate::text::Count;

/// How long a process may take to say what it works on. All are asked at once.
const HELLO: Duration = Duration::from_secs(2);
/// More sites than any process can have: a list that is longer is none.
const MOST_SITES: u32 = 4_000_000;

/// A living process that offers its run.
#[derive(Debug, Clone)]
pub struct Found {
    /// The process. Of one that speaks another protocol little is known.
    pub about: About,
    /// The number of its run, if that has begun.
    pub number: Option<RunId>,
    /// Its run, as far as it could be read.
    pub run: Option<RunInfo>,
    /// Whether something of the run is still to be sent: it sends, is paused or halted.
    pub sends: bool,
    path: PathBuf,
}

/// A connection to the run of another process.
#[derive(Debug)]
pub struct Attached {
    /// The process.
    pub about: About,
    /// Its run when it was attached to.
    pub run: Option<RunInfo>,
    /// How many sites it has that our list has not: nothing is told of them.
    pub foreign_sites: usize,
    /// Sites of our list that it has not: what is ordered for them is not done there.
    pub own_sites: HashSet<SiteId>,
    /// The newest state of each site that both lists have, the run, its newest messages and attempts, then what
    /// happens. It ends when the process does, or the connection.
    pub events: UnboundedReceiver<Event>,
    /// Orders to the run.
    pub orders: UnboundedSender<Command>,
    /// Ends when what was ordered is on its way, after `orders` and `events` are dropped; or with the connection.
    pub connection: JoinHandle<()>,
}

/// The living processes that offer a run in this folder: first the one that sends, then the newest run.
///
/// Sockets that a dead process has left are deleted.
pub async fn find(folder: &Path) -> Vec<Found> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "runs of other processes are not seen");
            return Vec::new();
        }
    };
    let mut asked = JoinSet::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if let Some(pid) = socket::pid_of(&path) {
            asked.spawn(async move {
                let answer = within(HELLO, ask(path.clone(), pid)).await;
                answer.inspect_err(
                    |error| tracing::info!(path = %path.display(), %error, "no run is offered there"),
                )
            });
        }
    }
    let mut found: Vec<Found> = asked.join_all().await.into_iter().flatten().collect();
    found.sort_by_key(|found| (Reverse(found.sends), Reverse(found.number), found.about.pid));
    found
}

async fn ask(path: PathBuf, pid: u32) -> io::Result<Found> {
    let file = SocketFile::at(path)?;
    let stream = match socket::connect(&file.path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            file.delete();
            return Err(error);
        }
        stream => stream?,
    };
    let (mut lines, _sink) = greet(stream, Wants::Hello).await?;
    let (preamble, hello) = hello(&mut lines).await?;
    let about = About {
        pid,
        by: Operator::default(),
        version: preamble.version,
    };
    let mut found = Found {
        about,
        number: preamble.run,
        run: None,
        sends: preamble.sends,
        path: file.path,
    };
    if let Some(hello) = hello {
        found.about.by = hello.by;
        found.run = hello.info;
    }
    Ok(found)
}

/// Says hello.
async fn greet(stream: UnixStream, wants: Wants) -> io::Result<(Lines<OwnedReadHalf>, OwnedWriteHalf)> {
    let (source, mut sink) = stream.into_split();
    let mut out = Vec::new();
    append(&mut out, &ClientHello::new(wants), FROM_CLIENT)?;
    write(&mut sink, &out, GREETING).await?;
    Ok((Lines::new(source, FROM_SERVER), sink))
}

/// Hears hello: what every version says, and the rest if it is ours.
async fn hello(lines: &mut Lines<impl AsyncRead + Unpin>) -> io::Result<(Preamble, Option<ServerHello>)> {
    let line = within(GREETING, lines.next()).await?;
    let line = line.ok_or(ErrorKind::UnexpectedEof)?;
    let preamble: Preamble = parse(line)?;
    let hello = (preamble.protocol == PROTOCOL).then(|| parse(line)).transpose()?;
    Ok((preamble, hello))
}

impl Found {
    /// Attaches to its run, for a screen with these sites.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`AttachError`], with words for the operator.
    pub async fn attach(&self, sites: &[Site]) -> Result<Attached, AttachError> {
        let failed = |error: io::Error| self.failed(&error);
        let stream = within(GREETING, socket::connect(&self.path)).await;
        let greeted = greet(stream.map_err(failed)?, Wants::Events).await;
        let (mut lines, sink) = greeted.map_err(failed)?;
        let (preamble, hello) = hello(&mut lines).await.map_err(failed)?;
        let Some(hello) = hello else {
            return Err(AttachError::OtherVersion {
                run: preamble.run,
                pid: self.about.pid,
                version: preamble.version,
            });
        };
        let urls = site_list(&mut lines, hello.sites).await.map_err(failed)?;
        let remap = Remap::new(sites, &urls);
        let (foreign_sites, own_sites) = (remap.foreign(), remap.own());
        let (told, events) = mpsc::unbounded_channel();
        let (orders, given) = mpsc::unbounded_channel();
        let work = Connection {
            remap,
            whose: name(preamble.run, self.about.pid),
            told,
        };
        Ok(Attached {
            about: About {
                pid: self.about.pid,
                by: hello.by,
                version: hello.version,
            },
            run: hello.info,
            foreign_sites,
            own_sites,
            events,
            orders,
            connection: tokio::spawn(work.run(lines, sink, given)),
        })
    }

    fn failed(&self, error: &io::Error) -> AttachError {
        let (run, pid) = (self.number, self.about.pid);
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => AttachError::Silent {
                run,
                pid,
                limit: GREETING,
            },
            ErrorKind::InvalidData => AttachError::Unreadable {
                run,
                pid,
                why: clean(&error.to_string()),
            },
            _ => AttachError::Gone {
                run,
                pid,
                why: error.to_string(),
            },
        }
    }
}

/// The URLs of the server's sites.
async fn site_list(lines: &mut Lines<impl AsyncRead + Unpin>, count: u32) -> io::Result<Vec<String>> {
    if count > MOST_SITES {
        return Err(invalid(format!("a list of {count} sites")));
    }
    let mut urls = Vec::new();
    while urls.len() < count as usize {
        match within(GREETING, lines.read()).await? {
            Some(ServerLine::Sites(more)) if !more.is_empty() => urls.extend(more),
            Some(_) => return Err(invalid("no list of sites")),
            None => return Err(ErrorKind::UnexpectedEof.into()),
        }
    }
    if urls.len() > count as usize {
        return Err(invalid("more sites than it said"));
    }
    Ok(urls)
}

/// What becomes of a connection after its greeting.
struct Connection {
    remap: Remap,
    /// The run, in a sentence.
    whose: String,
    told: UnboundedSender<Event>,
}

impl Connection {
    /// Until it ends on the other side, or nobody on ours listens and steers any more.
    async fn run(
        self,
        mut lines: Lines<impl AsyncRead + Unpin>,
        mut sink: impl AsyncWrite + Unpin,
        mut given: UnboundedReceiver<Command>,
    ) {
        let ended = tokio::select! {
            read = self.listen(&mut lines) => read,
            written = self.steer(&mut sink, &mut given) => written,
        };
        if let Err(error) = ended {
            let why = clean(&error.to_string());
            tracing::warn!(run = self.whose, why, "the connection broke");
        }
    }

    async fn listen(&self, lines: &mut Lines<impl AsyncRead + Unpin>) -> io::Result<()> {
        while let Some(line) = lines.read().await? {
            let ServerLine::Event(event) = line else {
                return Err(invalid("a list of sites out of place"));
            };
            if let Some(event) = self.remap.event(event) {
                // Where nobody listens any more, orders may still be on their way.
                let _gone = self.told.send(event);
            }
        }
        Ok(())
    }

    async fn steer(
        &self,
        sink: &mut (impl AsyncWrite + Unpin),
        given: &mut UnboundedReceiver<Command>,
    ) -> io::Result<()> {
        let mut out = Vec::new();
        while let Some(order) = given.recv().await {
            let (order, kept, dropped) = self.remap.order(order);
            if dropped > 0 {
                self.say_dropped(kept, dropped);
            }
            if kept == 0 && dropped > 0 {
                if order.is_answered() {
                    let _gone = self.told.send(Event::Taken);
                }
                continue;
            }
            for line in order::split(order) {
                out.clear();
                append(&mut out, &line, FROM_CLIENT)?;
                write(sink, &out, STALL).await?;
            }
        }
        self.told.closed().await;
        Ok(())
    }

    fn say_dropped(&self, kept: usize, dropped: usize) {
        let whose = &self.whose;
        let text = if kept == 0 {
            format!("nothing is ordered: the process of {whose} has none of these sites in its list")
        } else {
            let sites = Count(dropped, "site");
            format!("left out of the order: {sites} that the process of {whose} does not have in its list")
        };
        let _gone = self.told.send(Event::Message(Message {
            at: Clock::start().now(),
            level: Level::Warning,
            text,
        }));
    }
}
