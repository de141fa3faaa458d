use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::template::Asked;

/// One request, as the fleet saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRequest {
    /// Which site.
    pub site: usize,
    /// When the site took it, since the fleet started: its answer may be later, or never leave.
    pub at: Duration,
    /// `GET` or `PUT`.
    pub method: String,
    /// The path.
    pub path: String,
    /// Whether the header `X-API-Key` was there.
    pub had_master_key: bool,
    /// The key that a PUT brought.
    pub value: Option<String>,
    /// Whether it is a PUT with the body `{}`, which asks about the master key and stores nothing.
    pub without_value: bool,
    /// The status that was answered; 0 where none was.
    pub status: u16,
    /// Which of the site's processes answered.
    pub process: usize,
}

/// One request to the fleet's Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedStripe {
    /// The key that it was asked of: the user name without a password; empty where there was none.
    pub key: String,
    /// Whether it was the one request that is allowed.
    pub is_question: bool,
    /// Whether the header `X-API-Key` was there.
    pub had_master_key: bool,
}

/// What a fleet saw.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Each request that a site took.
    pub requests: Vec<RecordedRequest>,
    /// Connections (TLS and all) that were open at once, at most.
    pub most_connections: usize,
    /// Connections in all.
    pub connections: usize,
    /// Connections that this side still works on: without any, nothing is on its way to a site.
    pub at_work: usize,
    /// The sites with a PUT that is held back on its way.
    pub held: Vec<usize>,
    /// Requests under way at once to each shared backend, at most.
    pub most_of_backend: BTreeMap<String, usize>,
    /// Each request to Stripe, which the fleet plays.
    pub asked_stripe: Vec<AskedStripe>,
    /// Connections and requests to where the redirecting site points.
    pub to_redirect_target: usize,
    /// How many connections each site took, whatever became of their handshakes.
    pub accepted: Vec<usize>,
    /// The most bytes that each site could write on one connection, before they were encrypted. Some of them may be in
    /// buffers of the system's still.
    pub wrote: Vec<u64>,
}

impl Record {
    /// The PUTs that the site at `index` saw, but those of [`Record::auth_checks`].
    pub fn puts(&self, index: usize) -> Vec<&RecordedRequest> {
        let mut puts = self.of(index, "PUT");
        puts.retain(|put| !put.without_value);
        puts
    }

    /// The PUTs with the body `{}` that the site at `index` saw.
    pub fn auth_checks(&self, index: usize) -> Vec<&RecordedRequest> {
        let mut puts = self.of(index, "PUT");
        puts.retain(|put| put.without_value);
        puts
    }

    /// The GETs that the site at `index` saw.
    pub fn gets(&self, index: usize) -> Vec<&RecordedRequest> {
        self.of(index, "GET")
    }

    fn of(&self, index: usize, method: &str) -> Vec<&RecordedRequest> {
        self.requests
            .iter()
            .filter(|request| request.site == index && request.method == method)
            .collect()
    }
}

/// Writes the record.
#[derive(Debug)]
pub(super) struct Recorder {
    start: Instant,
    record: Mutex<Record>,
    changed: Condvar,
    /// As [`Record::wrote`].
    wrote: Vec<AtomicU64>,
    /// A second handle of each connection that this side has not closed.
    open: Mutex<BTreeMap<RawFd, OwnedFd>>,
}

impl Recorder {
    pub(super) fn new(sites: usize) -> Self {
        let record = Record {
            requests: Vec::with_capacity(sites * 4),
            accepted: vec![0; sites],
            ..Record::default()
        };
        Self {
            start: Instant::now(),
            record: Mutex::new(record),
            changed: Condvar::new(),
            wrote: (0..sites).map(|_| AtomicU64::new(0)).collect(),
            open: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> Record {
        let wrote = self.wrote.iter().map(|bytes| bytes.load(Ordering::Relaxed));
        Record {
            wrote: wrote.collect(),
            ..self.lock().clone()
        }
    }

    fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until it is so, at most `limit`; whether it came so.
    pub(super) fn wait_until(&self, limit: Duration, is_so: impl Fn(&Record) -> bool) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), limit, |record| !is_so(record))
            .unwrap_or_else(PoisonError::into_inner);
        is_so(&waited.0)
    }

    pub(super) fn accepted(&self, site: usize) {
        self.lock().accepted[site] += 1;
    }

    /// The site could write so many bytes on a connection by now.
    pub(super) fn wrote(&self, site: usize, bytes: u64) {
        self.wrote[site].fetch_max(bytes, Ordering::Relaxed);
    }

    /// The site at `site` took a request on a connection of `process`, and answers it with `status`.
    pub(super) fn took(&self, asked: Asked, site: usize, process: usize, status: u16) {
        let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let value = body.get("value").and_then(|value| value.as_str());
        let request = RecordedRequest {
            site,
            at: self.start.elapsed(),
            value: value.map(str::to_owned),
            without_value: asked.is_without_value(),
            method: asked.method,
            path: asked.path,
            had_master_key: asked.master_key.is_some(),
            status,
            process,
        };
        self.change(|record| record.requests.push(request));
    }

    /// A PUT to this site is held back until the returned guard is dropped.
    pub(super) fn held(&self, site: usize) -> impl Drop + '_ {
        self.change(|record| record.held.push(site));
        Guard(move || {
            self.change(|record| {
                if let Some(place) = record.held.iter().position(|held| *held == site) {
                    record.held.remove(place);
                }
            });
        })
    }

    /// A connection is worked on until the returned guard is dropped.
    pub(super) fn at_work(&self) -> impl Drop + '_ {
        self.change(|record| record.at_work += 1);
        Guard(|| self.change(|record| record.at_work -= 1))
    }

    pub(super) fn of_backend(&self, backend: &str, at_once: usize) {
        let mut record = self.lock();
        let most = record.most_of_backend.entry(backend.to_owned()).or_default();
        *most = at_once.max(*most);
    }

    pub(super) fn asked_stripe(&self, asked: AskedStripe) {
        self.change(|record| record.asked_stripe.push(asked));
    }

    pub(super) fn to_redirect_target(&self) {
        self.lock().to_redirect_target += 1;
    }

    /// A connection was opened; it is over when the returned guard is dropped, if not before.
    ///
    /// # Errors
    /// No more descriptors: one counts the connection.
    pub(super) fn connection(&self, stream: impl AsFd) -> io::Result<OpenConnection<'_>> {
        let watch = stream.as_fd().try_clone_to_owned()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = watch.as_raw_fd();
        open.insert(number, watch);
        let now = not_hung_up(open.values());
        drop(open);
        let mut record = self.lock();
        record.connections += 1;
        record.most_connections = record.most_connections.max(now);
        Ok(OpenConnection {
            recorder: self,
            number,
        })
    }
}

/// Does something when it is dropped.
struct Guard<Done: Fn()>(Done);

impl<Done: Fn()> Drop for Guard<Done> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// How many of these connections the other side has not closed: the system's word, for this side may learn of
/// it late.
fn not_hung_up<'a>(connections: impl Iterator<Item = &'a OwnedFd>) -> usize {
    let mut polled: Vec<PollFd<'_>> = connections
        .map(|watch| PollFd::new(watch, PollFlags::RDHUP))
        .collect();
    // Where it cannot be asked all of them count.
    let _asked = rustix::event::poll(&mut polled, Some(&Timespec::default()));
    polled.iter().filter(|asked| asked.revents().is_empty()).count()
}

pub(super) struct OpenConnection<'a> {
    recorder: &'a Recorder,
    number: RawFd,
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        let mut open = self.recorder.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.number);
    }
}
