use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::engine::{Clock, Command, Event, RunInfo};
use crate::key::{KeyMode, PublishableKey};
use crate::policy::{self, Deed, Denied, Sending, Who};
use crate::rules::moment::Moment;
use crate::rules::plan::Plan;
use crate::rules::retry;
use crate::rules::run::RunId;
use crate::site::{Site, SiteId, SiteUrl};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// How long the machine's user directory may take to say who is in which group. [`Denied::Unanswered`] tells it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who asks whether root's policy lets this user send something. Every order that sends passes it (`session/local.rs`), and so does every reading of a master key.
pub(super) enum Gate {
    /// The demo's sites are inside this machine and nobody's: no policy binds them.
    Demo,
    /// The operator's own sites.
    Bound(Box<Bound>),
}

/// What must be known to judge an order.
pub(super) struct Bound {
    pub(super) sites: Arc<[Site]>,
    pub(super) store: Arc<SqliteStore>,
    /// The store's file.
    pub(super) file: PathBuf,
    pub(super) clock: Clock,
    pub(super) retry: retry::Policy,
    /// What was allowed last and has not begun yet.
    pub(super) ordered: Mutex<Option<Ordered>>,
}

/// An order that was allowed, and of which a run is to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ordered {
    deed: Deed,
    /// Which run, if it is one of before.
    run: Option<RunId>,
    at: Moment,
}

/// A run that has begun here.
pub(super) struct Begun {
    pub(super) deed: Deed,
    pub(super) run: RunInfo,
    /// The store's file.
    pub(super) file: PathBuf,
}

/// Why an order was not given.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("the store does not say which keys would go out: {0}")]
    Store(#[from] StoreError),
}

/// Whether this user may use the master key at all.
///
/// # Errors
/// What is missing, and who can change that.
pub(super) async fn may_push() -> Result<(), Denied> {
    judge(Sending::of(Deed::Check)).await
}

async fn judge(sending: Sending) -> Result<(), Denied> {
    let judged = tokio::task::spawn_blocking(move || {
        let Some(policy) = policy::read()? else {
            return Ok(());
        };
        policy.judge(&Who::of_process(policy.groups()), &sending)
    });
    match tokio::time::timeout(PATIENCE, judged).await {
        Ok(Ok(judged)) => judged,
        // Whoever cannot be judged does not push.
        Ok(Err(_)) | Err(_) => Err(Denied::Unanswered),
    }
}

impl Gate {
    /// Whether this order may be given, which is so of all that send nothing.
    ///
    /// # Errors
    /// What is missing, and who can change that.
    pub(super) async fn judge(&self, order: &Command) -> Result<(), Refused> {
        let Self::Bound(bound) = self else {
            return Ok(());
        };
        let sending = match order {
            Command::Push(plan) => Sending::of_plan(plan),
            Command::Retry { sites, .. } => bound.repeats(Deed::Retry, sites).await?,
            Command::Resume(run) => {
                let sending = bound.repeats(Deed::Resume, &run.sites).await?;
                Sending {
                    is_live: sending.is_live || run.key.mode() == KeyMode::Live,
                    ..sending
                }
            }
            _ => return Ok(()),
        };
        Ok(judge(sending).await?)
    }

    /// As [`Gate::judge`], of an order to the run of another process, which has this key. Where it is not known yet, it
    /// may be a live one.
    ///
    /// # Errors
    /// What is missing, and who can change that.
    pub(super) async fn judge_there(
        &self,
        order: &Command,
        key: Option<&PublishableKey>,
    ) -> Result<(), Refused> {
        let Self::Bound(bound) = self else {
            return Ok(());
        };
        let sending = match order {
            Command::Retry { sites, .. } => bound.repeats(Deed::Retry, sites).await?,
            Command::GoOn => Sending::of(Deed::Resume),
            _ => return Ok(()),
        };
        let is_live = sending.is_live || key.is_none_or(|key| key.mode() == KeyMode::Live);
        Ok(judge(Sending { is_live, ..sending }).await?)
    }

    /// As [`Gate::judge`], of a push, before anybody is asked about it.
    ///
    /// # Errors
    /// What is missing, and who can change that.
    pub(super) async fn may_send(&self, plan: &Plan) -> Result<(), Denied> {
        match self {
            Self::Demo => Ok(()),
            Self::Bound(_) => judge(Sending::of_plan(plan)).await,
        }
    }

    /// Whether the master key may be tried on sites.
    pub(super) async fn may_check(&self) -> Result<(), Denied> {
        match self {
            Self::Demo => Ok(()),
            Self::Bound(_) => may_push().await,
        }
    }

    /// Takes note of an order that goes to the engine now.
    pub(super) fn note(&self, order: &Command) {
        let Self::Bound(bound) = self else { return };
        let (deed, run) = match order {
            Command::Push(plan) => (plan.kind.into(), None),
            Command::Resume(run) => (Deed::Resume, Some(run.id)),
            // It goes on with a run that has begun.
            _ => return,
        };
        let at = bound.clock.now();
        bound.put(Some(Ordered { deed, run, at }));
    }

    /// The run that has begun here, if this is what the engine tells.
    pub(super) fn begun(&self, event: &Event) -> Option<Begun> {
        let Self::Bound(bound) = self else {
            return None;
        };
        match event {
            Event::Run(run) => {
                let ordered = bound.take_if(|ordered| match ordered.run {
                    Some(id) => id == run.id,
                    None => run.started.since_start >= ordered.at.since_start,
                })?;
                Some(Begun {
                    deed: ordered.deed,
                    run: run.clone(),
                    file: bound.file.clone(),
                })
            }
            Event::NotBegun(_) | Event::Refused(_) => {
                bound.put(None);
                None
            }
            _ => None,
        }
    }
}

impl Bound {
    /// What goes out when these sites get what was planned for them before.
    async fn repeats(&self, deed: Deed, sites: &[SiteId]) -> Result<Sending, Refused> {
        if !asks_for_modes().await? {
            return Ok(Sending::of(deed));
        }
        let named: BTreeSet<SiteId> = sites.iter().copied().collect();
        let urls: Vec<SiteUrl> = named
            .into_iter()
            .map(|id| self.sites[id.index()].url.clone())
            .collect();
        let known = self
            .store
            .last_known(&urls, &self.retry, self.clock.now())
            .await?;
        let mut keys = known.iter().filter_map(|newest| newest.state.planned_key());
        Ok(Sending {
            is_live: keys.any(|key| key.mode() == KeyMode::Live),
            ..Sending::of(deed)
        })
    }

    fn put(&self, ordered: Option<Ordered>) {
        *self.ordered.lock().unwrap_or_else(PoisonError::into_inner) = ordered;
    }

    fn take_if(&self, is_it: impl FnOnce(&mut Ordered) -> bool) -> Option<Ordered> {
        self.ordered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_if(is_it)
    }
}

/// Whether the policy minds which keys go out.
async fn asks_for_modes() -> Result<bool, Denied> {
    let read = tokio::task::spawn_blocking(policy::read).await;
    let policy = read.map_err(|_panicked| Denied::Unanswered)??;
    Ok(policy.is_some_and(|policy| policy.asks_for_modes()))
}
