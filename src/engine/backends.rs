use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::schedule::Shown;
use crate::rules::moment::Moment;
use crate::site::SiteId;

/// How many calls a backend has had is told so often at most.
const EVERY: Duration = Duration::from_secs(1);

/// What was told of a backend last.
#[derive(Debug)]
struct Told {
    shown: Shown,
    at: Moment,
    /// One of its sites.
    site: SiteId,
}

/// What was told of backends: of those that are, or were, treated in another way than at first. Pure.
#[derive(Debug, Default)]
pub(super) struct Backends {
    told: HashMap<Arc<str>, Told>,
}

impl Backends {
    /// Whether the calls of a backend are told as they grow: something was told of it, and not just now.
    pub(super) fn is_due(&self, backend: &str, now: Moment) -> bool {
        let told = self.told.get(backend);
        told.is_some_and(|told| now.since(told.at) >= EVERY)
    }

    /// The backend of `site` is treated so now. Whether that is to be told: it is none of what was told before.
    pub(super) fn is_news(&mut self, backend: &Arc<str>, site: SiteId, shown: Shown, now: Moment) -> bool {
        let told = Told { shown, at: now, site };
        let before = self.told.insert(Arc::clone(backend), told);
        before.is_none_or(|before| before.shown != shown)
    }

    /// A site of each backend that something was told of.
    pub(super) fn sites(&self) -> Vec<SiteId> {
        self.told.values().map(|told| told.site).collect()
    }
}
