//! What a site says on a connection byte by byte, where no server of HTTP would.

use super::template::{Body, Reply};

/// What a site says to one request.
#[derive(Debug)]
pub(super) struct Spoken {
    /// The status that it tells, for the record.
    pub(super) status: u16,
    /// What it does, in order. Where none of it ends the connection, the next request follows on it.
    pub(super) steps: Vec<Step>,
}

/// One thing that a site does on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Writes.
    Says(Vec<u8>),
    /// Writes a byte a second.
    Drips(Vec<u8>),
    /// Writes this again and again, until the client is gone.
    Forever(Vec<u8>),
    /// Does nothing until the client is gone.
    Waits,
    /// Resets the connection.
    Resets,
    /// Ends the connection in good order.
    Closes,
}

impl Spoken {
    /// `status` is the one that `steps` tell.
    pub(super) fn new(status: u16, steps: impl Into<Vec<Step>>) -> Self {
        Self {
            status,
            steps: steps.into(),
        }
    }

    /// What a server of HTTP would make of `reply`.
    pub(super) fn whole(reply: &Reply) -> Self {
        let body = bytes(&reply.body);
        let mut said = head(reply, body.len()).into_bytes();
        said.extend_from_slice(body);
        Self::new(reply.status, [Step::Says(said)])
    }
}

/// Status line and headers of an answer whose body announces `length`, and the empty line behind them.
pub(super) fn head(reply: &Reply, length: usize) -> String {
    let status = reply.status;
    let lines = reply
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let lines: String = lines.collect();
    format!("HTTP/1.1 {status} Demo\r\n{lines}Content-Length: {length}\r\n\r\n")
}

/// The bytes of a body.
pub(super) fn bytes(body: &Body) -> &[u8] {
    match body {
        Body::Empty => &[],
        Body::Text(text) => text.as_bytes(),
        Body::Bytes(bytes) => bytes,
    }
}
