use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::{Clock, Command, Event, LeftRun, RunInfo};
use crate::key::{KeyMode, PublishableKey};
use crate::policy::{self, Deed, Denied, Sending, Who};
use crate::rules::moment::Moment;
use crate::rules::plan::{Plan, PlanAction, left_out};
use crate::rules::retry;
use crate::rules::rollout::{self, Candidate};
use crate::rules::run::{Halt, Kind, RunId, RunPhase};
use crate::rules::state::{Allow, RetryPlan, SiteState};
use crate::site::{Site, SiteId, SiteUrl};
use crate::store::any::AnyStore;
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
    pub(super) store: Arc<AnyStore>,
    /// What the system's log calls the store.
    pub(super) store_name: String,
    pub(super) clock: Clock,
    pub(super) retry: retry::Policy,
    /// What was allowed last and has not begun yet.
    pub(super) ordered: Mutex<Option<Ordered>>,
    /// Who goes first, of what a run has left.
    pub(super) rollout: rollout::Settings,
    /// The run of this process, as it was told of last.
    pub(super) run: Mutex<Option<RunInfo>>,
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
    /// What the system's log calls the store.
    pub(super) store_name: String,
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
            Command::Push(plan) => bound.sends(plan).await?,
            Command::Retry { sites, allow } => bound.retries(sites, *allow).await?,
            Command::Resume(run) => bound.resumes(run).await?,
            Command::GoOn => match bound.halted_to_prove() {
                Some(run) => bound.goes_on(Some(&run)).await?,
                None => return Ok(()),
            },
            // Who coordinates its run was judged by how much goes out at once.
            // A rollback may send another key than its run's to single sites.
            Command::TakeChunk(chunk) => Sending {
                is_live: chunk.key.mode() == KeyMode::Live
                    || is_live(chunk.sites.iter().map(|(_, newest)| &newest.state)),
                ..Sending::of(Deed::Resume)
            },
            _ => return Ok(()),
        };
        Ok(judge(sending).await?)
    }

    /// As [`Gate::judge`], of an order to this run of another process. Where it is not known yet, its key may be a live
    /// one.
    ///
    /// # Errors
    /// What is missing, and who can change that.
    pub(super) async fn judge_there(&self, order: &Command, run: Option<&RunInfo>) -> Result<(), Refused> {
        let Self::Bound(bound) = self else {
            return Ok(());
        };
        let sending = match order {
            Command::Retry { sites, allow } => bound.retries(sites, *allow).await?,
            Command::GoOn => bound.goes_on(run).await?,
            _ => return Ok(()),
        };
        let is_live = sending.is_live || run.is_none_or(|run| run.key.mode() == KeyMode::Live);
        Ok(judge(Sending { is_live, ..sending }).await?)
    }

    /// As [`Gate::judge`], of a push, before anybody is asked about it.
    ///
    /// # Errors
    /// What is missing, and who can change that.
    pub(super) async fn may_send(&self, plan: &Plan) -> Result<(), Refused> {
        match self {
            Self::Demo => Ok(()),
            Self::Bound(bound) => Ok(judge(bound.sends(plan).await?).await?),
        }
    }

    /// Whether the run of this process holds before most of it was sent.
    pub(super) fn is_halted_to_prove(&self) -> bool {
        matches!(self, Self::Bound(bound) if bound.halted_to_prove().is_some())
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
                *lock(&bound.run) = Some(run.clone());
                let ordered = bound.take_if(|ordered| match ordered.run {
                    Some(id) => id == run.id,
                    None => run.started.since_start >= ordered.at.since_start,
                })?;
                Some(Begun {
                    deed: ordered.deed,
                    run: run.clone(),
                    store_name: bound.store_name.clone(),
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
    /// What a plan sends.
    async fn sends(&self, plan: &Plan) -> Result<Sending, Refused> {
        let sending = Sending::of_plan(plan);
        if sending.deed != Deed::Retry || !asks_for_keys().await? {
            return Ok(sending);
        }
        let proved = Proved::by(&self.known().await?);
        let puts = plan.rows.iter().filter(|row| row.action == PlanAction::Put);
        let first = puts.filter(|row| !sending.has_canary || row.wave == 0);
        Ok(Sending {
            at_once: first.filter(|row| !proved.has(&row.key)).count(),
            ..sending
        })
    }

    /// What goes out when these sites get again what was planned for them before.
    async fn retries(&self, sites: &[SiteId], allow: Allow) -> Result<Sending, Refused> {
        if !asks_for_keys().await? {
            return Ok(Sending::of(Deed::Retry));
        }
        let known = self.known().await?;
        let proved = Proved::by(&known);
        let named: BTreeSet<SiteId> = sites.iter().copied().collect();
        let puts = |plan| match plan {
            RetryPlan::Push | RetryPlan::OtherRun => true,
            RetryPlan::Ask(_) => allow != Allow::default(),
            _ => false,
        };
        let states = || named.iter().map(|site| &known[site.index()]);
        let unproved = |state: &&SiteState| state.planned_key().is_some_and(|key| !proved.has(key));
        Ok(Sending {
            is_live: is_live(states()),
            at_once: states()
                .filter(|state| puts(state.retry_plan()))
                .filter(unproved)
                .count(),
            ..Sending::of(Deed::Retry)
        })
    }

    /// What goes out when a run that was left is taken up. It has waves as a run of its kind.
    async fn resumes(&self, run: &LeftRun) -> Result<Sending, Refused> {
        if !asks_for_keys().await? {
            return Ok(Sending::of(Deed::Resume));
        }
        let known = self.known().await?;
        let proved = Proved::by(&known);
        let candidate = |site: &SiteId| {
            let (listed, state) = (&self.sites[site.index()], &known[site.index()]);
            let key = state.planned_key()?;
            // As the engine does: what is left out goes neither first nor later.
            left_out(listed, key).is_none().then(|| Candidate {
                site: *site,
                name: listed.name.as_str(),
                key,
                state,
            })
        };
        let puts: Vec<Candidate<'_>> = run.sites.iter().filter_map(candidate).collect();
        let serves = |key: &PublishableKey| known.iter().any(|state| state.now.key() == Some(key));
        let (rollout, waves) = self.rollout.assign(run.kind, &puts, serves, self.clock.now());
        let has_canary = rollout.canary && rollout.waves > 1;
        let first = puts
            .iter()
            .zip(waves)
            .filter(|(_, wave)| !has_canary || *wave == 0);
        Ok(Sending {
            is_live: run.key.mode() == KeyMode::Live || is_live(puts.iter().map(|put| put.state)),
            at_once: first.filter(|(put, _)| !proved.has(put.key)).count(),
            has_canary,
            // What takes keys back goes on doing so.
            deed: match run.kind {
                Kind::Rollback => Deed::Rollback,
                Kind::Push | Kind::Retry => Deed::Resume,
            },
        })
    }

    /// What goes out when a run that is held goes on: behind a canary that failed, all that is left of it.
    async fn goes_on(&self, run: Option<&RunInfo>) -> Result<Sending, Refused> {
        let sending = Sending::of(Deed::Resume);
        let Some(run) = run else {
            return Ok(sending);
        };
        let is_unproved = run.halt == Some(Halt::Canary)
            && asks_for_keys().await?
            && !Proved::by(&self.known().await?).has(&run.key);
        Ok(Sending {
            is_live: run.key.mode() == KeyMode::Live,
            at_once: if is_unproved { run.puts } else { 0 },
            ..sending
        })
    }

    /// The run that is halted before most of it was sent: at its canary, or by a master key that sites refuse.
    fn halted_to_prove(&self) -> Option<RunInfo> {
        let halts = |halt| matches!(halt, Halt::Canary | Halt::RefusedKey { .. });
        lock(&self.run)
            .clone()
            .filter(|run| run.phase != RunPhase::Settled && run.halt.is_some_and(halts))
    }

    /// What is on record of each site now.
    async fn known(&self) -> Result<Vec<SiteState>, StoreError> {
        let urls: Vec<SiteUrl> = self.sites.iter().map(|site| site.url.clone()).collect();
        let newest = self
            .store
            .last_known(&urls, &self.retry, self.clock.now())
            .await?;
        Ok(newest.into_iter().map(|newest| newest.state).collect())
    }

    fn put(&self, ordered: Option<Ordered>) {
        *lock(&self.ordered) = ordered;
    }

    fn take_if(&self, is_it: impl FnOnce(&mut Ordered) -> bool) -> Option<Ordered> {
        lock(&self.ordered).take_if(is_it)
    }
}

/// Keys that some site is verified with.
struct Proved(BTreeSet<PublishableKey>);

impl Proved {
    fn by(known: &[SiteState]) -> Self {
        Self(
            known
                .iter()
                .filter_map(|state| state.verified_key())
                .cloned()
                .collect(),
        )
    }

    fn has(&self, key: &PublishableKey) -> bool {
        self.0.contains(key)
    }
}

fn is_live<'a>(mut states: impl Iterator<Item = &'a SiteState>) -> bool {
    states.any(|state| state.planned_key().is_some_and(|key| key.mode() == KeyMode::Live))
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the policy minds which keys go out.
async fn asks_for_keys() -> Result<bool, Denied> {
    let read = tokio::task::spawn_blocking(policy::read).await;
    let policy = read.map_err(|_panicked| Denied::Unanswered)??;
    Ok(policy.is_some_and(|policy| policy.asks_for_keys()))
}
