use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Steer;
use crate::engine::sleep_until;
use crate::site::{Site, SiteId, SiteUrl};
use crate::store::{LiveRun, RunId, Store, StoreError};
use crate::tui::{Message, OthersRun};

/// How often the runs of others are asked for while there are some: that one has died is nothing written.
const AGAIN: Duration = Duration::from_secs(5);

/// The runs of others, or why they cannot be read.
type Found = Result<Vec<OthersRun>, StoreError>;

/// The runs of others, as they were found last.
#[derive(Default)]
pub(super) struct Beside {
    runs: Vec<OthersRun>,
    /// One reading at a time.
    reading: JoinSet<Found>,
    /// Whether something was written since it began.
    stale: bool,
    due: Option<Instant>,
}

impl Beside {
    /// What was read; none where it is time to read again.
    pub(super) async fn next(&mut self) -> Option<Found> {
        let due = self.due;
        tokio::select! {
            Some(found) = self.reading.join_next() => {
                // A reading that has panicked has found nothing.
                Some(found.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string()))))
            }
            () = sleep_until(due) => None,
        }
    }
}

impl Steer {
    /// Reads, beside all else, which runs of other processes go on; where the store has one at a time, the screen
    /// attaches to that.
    pub(super) fn read_others(&mut self) {
        self.beside.due = None;
        if self.told_by_store.is_none() {
            return;
        }
        self.beside.stale = !self.beside.reading.is_empty();
        if self.beside.stale {
            return;
        }
        let (store, sites) = (Arc::clone(&self.session.store), Arc::clone(&self.session.sites));
        let known = self.beside.runs.clone();
        let remote = self.remote.as_ref();
        let attached = remote.and_then(|remote| remote.run.as_ref().map(|run| run.id).or(remote.holder.run));
        self.beside.reading.spawn(async move {
            let own = std::process::id();
            let is_own = |live: &LiveRun| live.holder.by.pid == own && !live.holder.is_elsewhere;
            let mut found = Vec::new();
            for live in store.live_runs().await? {
                if !is_own(&live) && Some(live.run.id) != attached {
                    found.push(others_run(&*store, &sites, &known, live).await?);
                }
            }
            Ok(found)
        });
    }

    pub(super) fn take_others(&mut self, found: Option<Found>) {
        let Some(found) = found else {
            return self.read_others();
        };
        match found {
            Ok(runs) => {
                if runs != self.beside.runs {
                    self.beside.runs.clone_from(&runs);
                    self.say(Message::Others(runs));
                }
            }
            // That the store is away is told elsewhere.
            Err(error) => tracing::warn!(%error, "the runs of others cannot be read"),
        }
        self.beside.due = (!self.beside.runs.is_empty()).then(|| Instant::now() + AGAIN);
        if self.beside.stale {
            self.read_others();
        }
    }
}

/// A run with its sites, which are read once: no other ones come to it.
async fn others_run(
    store: &impl Store,
    sites: &[Site],
    known: &[OthersRun],
    live: LiveRun,
) -> Result<OthersRun, StoreError> {
    let run = live.run.id;
    let known = known.iter().find(|known| known.run == run);
    let sites = if let Some(known) = known {
        Arc::clone(&known.sites)
    } else {
        sends_to(store, sites, run).await?
    };
    Ok(OthersRun {
        run,
        sends: live.run.sent.is_none(),
        holder: live.holder,
        sites,
    })
}

/// The sites that a run holds, as far as they are in our list.
async fn sends_to(store: &impl Store, sites: &[Site], run: RunId) -> Result<Arc<[SiteId]>, StoreError> {
    let places: HashMap<&SiteUrl, usize> = sites.iter().map(|site| &site.url).zip(0..).collect();
    let planned = store.run_sites(run).await?;
    let sends = planned
        .iter()
        .filter(|row| row.planned.left_out.is_none() || row.puts > 0);
    let here = sends.filter_map(|row| places.get(&row.planned.site));
    Ok(here.map(|place| SiteId::at(*place)).collect())
}
