//! Runs of other processes: each process with a live run offers it on a socket; screens attach to it, watch
//! it and steer it.
//!
//! A socket is `<pid>.sock` in the state folder, for its own user and root alone. What goes over it is one
//! JSON object a line. The client says hello, then the server; each names its protocol and its version. A
//! client that wants more than this hello is told the server's sites by URL, then the newest state of each,
//! the run, the newest messages and attempts, then what happens, where a site is its place in the server's
//! list. It sends commands, with those places.
//!
//! Nothing waits for a client: each has a set of sites whose newest state it has not been told, and bounded
//! queues for the rest. What comes over a socket is never trusted, on either side.

use std::time::Duration;

use crate::store::{Operator, RunId};
use crate::text::CleanText;

/// Lines, their bounds, and what they say.
mod wire;
/// Large orders in lines of bounded length, and back.
mod order;
/// Where sockets are, and whose.
mod socket;
/// What a server knows, and what each of its clients has not been told yet. Pure.
mod mirror;
/// The mirror, and who listens to it.
mod shared;
/// One list's sites in the terms of another. Pure.
mod remap;
/// A process's own run, for whoever listens.
mod hub;
/// A run on its socket.
mod offer;
/// The runs of other processes.
mod client;
/// What changes in the state folder.
mod watch;

pub use client::{Attached, Found, find};
pub use hub::Hub;
pub use offer::Offer;
pub use watch::{Changed, Watch};

/// A process that offers its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its number.
    pub pid: u32,
    /// Who started it.
    pub by: Operator,
    /// The version of its program.
    pub version: CleanText,
}

/// Why a run could not be attached to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// Its process speaks another protocol.
    #[error("{} belongs to another version of the program ({version}): leave it to that one", name(*.run, *.pid))]
    OtherVersion {
        /// Which run, if it has begun.
        run: Option<RunId>,
        /// The process.
        pid: u32,
        /// The version of its program.
        version: CleanText,
    },
    /// Its process has ended, or ends.
    #[error("{} is gone: its process (PID {pid}) takes no connection any more ({why})", name(*.run, *.pid))]
    Gone {
        /// Which run, if it had begun.
        run: Option<RunId>,
        /// The process.
        pid: u32,
        /// What the system said.
        why: String,
    },
    /// Its process does not answer: it is stopped, or the machine is overloaded.
    #[error("{} does not answer within {} s: is its process (PID {pid}) stopped?", name(*.run, *.pid), .limit.as_secs())]
    Silent {
        /// Which run, if it has begun.
        run: Option<RunId>,
        /// The process.
        pid: u32,
        /// How long an answer was waited for.
        limit: Duration,
    },
    /// What answered is no such process, or is broken.
    #[error("{} cannot be attached to: its process (PID {pid}) sent what makes no sense ({why})", name(*.run, *.pid))]
    Unreadable {
        /// Which run, if it has begun.
        run: Option<RunId>,
        /// The process.
        pid: u32,
        /// What is wrong with it.
        why: String,
    },
}

/// A run in a sentence.
fn name(run: Option<RunId>, pid: u32) -> String {
    run.map_or_else(
        || format!("the run of process {pid}"),
        |run| format!("run {}", run.0),
    )
}
