//! What outlives a run, in the terms of the domain: intents, outcomes, results. One implementation a
//! database; today there is one in memory.

use std::future::Future;

use jiff::Timestamp;

use crate::key::PublishableKey;
use crate::rules::outcome::Cause;
use crate::rules::state::Served;
use crate::site::SiteUrl;
use crate::text::CleanText;

/// In memory: for the time until the program ends, and for tests.
pub mod memory;

/// A run's number, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct RunId(pub u64);

/// What is known when a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// The key that goes out.
    pub key: PublishableKey,
    /// When.
    pub at: Timestamp,
    /// The sites that get a PUT.
    pub sites: Vec<SiteUrl>,
}

/// A PUT that is about to be sent. On disk before it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// In which run.
    pub run: RunId,
    /// To which site.
    pub site: SiteUrl,
    /// Which of the site's PUTs in this run, from 1.
    pub number: u32,
    /// When.
    pub at: Timestamp,
}

/// Which request an attempt made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// The PUT of the key.
    Put,
    /// The GET that shows it.
    Get,
}

impl Request {
    /// Its method.
    pub fn word(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Get => "GET",
        }
    }
}

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// In which run; none for a look outside of one.
    pub run: Option<RunId>,
    /// To which site.
    pub site: SiteUrl,
    /// PUT or GET.
    pub request: Request,
    /// Which of the site's PUTs (or GETs) in this run, from 1.
    pub number: u32,
    /// When the answer came, or the wait for it ended.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// The HTTP status, if one came.
    pub http: Option<u16>,
    /// Why it failed, if it did.
    pub cause: Option<Cause>,
    /// What the site served, if the request was a look that showed it.
    pub served: Served,
    /// What happened, in words; cleaned and without secrets.
    pub note: CleanText,
}

/// Why something could not be recorded. A PUT that cannot be recorded is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Where runs are recorded.
pub trait Store: Send + Sync + 'static {
    /// Records a run and gives it its number.
    fn begin_run(&self, run: NewRun) -> impl Future<Output = Result<RunId, StoreError>> + Send;

    /// Records that a PUT is about to be sent. It is durable when this returns.
    fn record_intent(&self, intent: Intent) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records what came of a request.
    fn record_outcome(&self, outcome: Outcome) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records that nothing of the run is left to do or to wait for.
    fn end_run(&self, run: RunId, at: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;
}
