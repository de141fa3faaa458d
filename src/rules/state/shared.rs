use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Facts;

/// All that is known of one site ([`Facts`]). Who clones it shares it, until one of them changes it: engine, screen and
/// those that are attached each know all sites, and of a hundred thousand one copy is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SiteState(Arc<Facts>);

impl Deref for SiteState {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl DerefMut for SiteState {
    /// From here on it is its own.
    fn deref_mut(&mut self) -> &mut Facts {
        Arc::make_mut(&mut self.0)
    }
}
