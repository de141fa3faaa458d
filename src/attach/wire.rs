use std::io::{self, ErrorKind};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::engine::{Command, Event, RunInfo};
use crate::rules::plan::PlanRow;
use crate::site::SiteId;
use crate::store::{Operator, RunId};
use crate::text::CleanText;

/// Counts up whenever another version would misread a line. Fields that may be left out do not count.
pub(super) const PROTOCOL: u32 = 3;
/// The longest line that a server takes, in bytes.
pub(super) const FROM_CLIENT: usize = 1024 * 1024;
/// The longest line that a client takes, in bytes.
pub(super) const FROM_SERVER: usize = 4 * 1024 * 1024;
/// How long either side waits for each line of the greeting.
pub(super) const GREETING: Duration = Duration::from_secs(5);
/// How long a client may take no byte of what it is told.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// What the first line of either side has in every version of the program.
#[derive(Debug, Deserialize)]
pub(super) struct Preamble {
    pub(super) protocol: u32,
    #[serde(default)]
    pub(super) version: CleanText,
    /// The run's number, if it has begun.
    #[serde(default)]
    pub(super) run: Option<RunId>,
    /// Whether something of it is still to be sent.
    #[serde(default)]
    pub(super) sends: bool,
}

/// The first line of a client.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ClientHello {
    pub(super) protocol: u32,
    pub(super) version: CleanText,
    pub(super) wants: Wants,
}

impl ClientHello {
    pub(super) fn new(wants: Wants) -> Self {
        Self {
            protocol: PROTOCOL,
            version: CleanText::note(env!("CARGO_PKG_VERSION")),
            wants,
        }
    }
}

/// What a client has come for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wants {
    /// The server's hello.
    Hello,
    /// All of it, to the end.
    Events,
}

/// The first line of a server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ServerHello {
    pub(super) protocol: u32,
    pub(super) version: CleanText,
    pub(super) pid: u32,
    pub(super) run: Option<RunId>,
    pub(super) sends: bool,
    pub(super) by: Operator,
    pub(super) info: Option<RunInfo>,
    /// How many sites its list has.
    pub(super) sites: u32,
}

/// A line of a client after its hello.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClientLine {
    /// Rows of the plan of the order that follows.
    Rows(Vec<PlanRow>),
    /// Sites of the order that follows.
    Sites(Vec<SiteId>),
    /// An order, without its rows and sites.
    Order(Command),
}

/// A line of a server after its hello.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ServerLine {
    /// The URLs of the next sites of its list.
    Sites(Vec<String>),
    /// What happened.
    Event(Event),
}

/// As [`ServerLine::Event`], borrowed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told<'a> {
    Event(&'a Event),
}

/// Reads lines of bounded length.
pub(super) struct Lines<Source> {
    source: BufReader<Source>,
    line: Vec<u8>,
    /// The longest line that is taken, in bytes.
    limit: usize,
}

impl<Source: AsyncRead + Unpin> Lines<Source> {
    pub(super) fn new(source: Source, limit: usize) -> Self {
        Self {
            source: BufReader::with_capacity(64 * 1024, source),
            line: Vec::new(),
            limit,
        }
    }

    /// The next line without its end; none behind the last. A line that was cut off counts as none.
    pub(super) async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let most = self.limit as u64 + 1;
        let mut source = (&mut self.source).take(most);
        source.read_until(b'\n', &mut self.line).await?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            return Ok(Some(&self.line));
        }
        if self.line.len() > self.limit {
            return Err(invalid(format!("a line of more than {} bytes", self.limit)));
        }
        Ok(None)
    }

    /// The next line, read.
    pub(super) async fn read<Line: DeserializeOwned>(&mut self) -> io::Result<Option<Line>> {
        self.next().await?.map(parse).transpose()
    }
}

/// What a line says.
pub(super) fn parse<Line: DeserializeOwned>(line: &[u8]) -> io::Result<Line> {
    // The error quotes names and types at most, cleaned where it is shown.
    serde_json::from_slice(line).map_err(|error| invalid(error.to_string()))
}

/// Appends a line.
pub(super) fn append(lines: &mut Vec<u8>, line: &impl Serialize, limit: usize) -> io::Result<()> {
    let before = lines.len();
    serde_json::to_writer(&mut *lines, line)?;
    lines.push(b'\n');
    if lines.len() - before > limit {
        lines.truncate(before);
        return Err(invalid(format!("a line of more than {limit} bytes")));
    }
    Ok(())
}

/// Writes all of it, and gives up where nothing of it is taken for `patience`.
pub(super) async fn write(
    sink: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    patience: Duration,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = within(patience, sink.write(bytes)).await?;
        if taken == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        bytes = &bytes[taken..];
    }
    Ok(())
}

/// What comes of it within that time.
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let timed = tokio::time::timeout(limit, work).await;
    timed.unwrap_or_else(|_late| Err(ErrorKind::TimedOut.into()))
}

/// Something that must not come over a socket.
pub(super) fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.into())
}
