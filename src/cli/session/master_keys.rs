use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use tokio::sync::Mutex;

use super::reach::Reach;
use crate::cli::gate::may_push;
use crate::config::Config;
use crate::secret::{MasterKey, SecretSource, Surroundings};
use crate::site::{MasterKeyId, Site, SiteId};
use crate::site_api::HttpSiteApi;

/// The master keys of the config, each read at its first need; and anew at the next one behind a site that has refused it,
/// since the operator may have mended its source meanwhile.
pub(in crate::cli) struct MasterKeys {
    sources: Vec<SecretSource>,
    /// The variables that may hold secrets: a command must not see them.
    pub(super) hidden: Vec<String>,
    sites: Arc<[Site]>,
    pub(in crate::cli) api: Arc<Reach>,
    /// Those that were read from their sources. Held while keys are read, so that no command is started twice.
    reading: Mutex<BTreeSet<MasterKeyId>>,
    /// Whether workers send, each with its own: then none is read.
    are_workers: bool,
}

impl MasterKeys {
    /// Of this config, for these sites; none is read yet.
    pub(in crate::cli) fn new(config: &Config, sites: &Arc<[Site]>, api: Arc<Reach>) -> Self {
        Self {
            sources: config.master_keys.clone(),
            hidden: config.secret_variables(),
            sites: Arc::clone(sites),
            api,
            reading: Mutex::default(),
            are_workers: false,
        }
    }

    /// Reads none where workers send.
    #[must_use]
    pub(in crate::cli) fn unless(self, are_workers: bool) -> Self {
        Self { are_workers, ..self }
    }

    /// Reads what `sites` need and is not read yet, or was refused since.
    ///
    /// # Errors
    /// When one cannot be read: what was tried, and what to do.
    pub(in crate::cli) async fn load(&self, sites: &[SiteId]) -> anyhow::Result<()> {
        let api = self.client().await?;
        let mut read = self.reading.lock().await;
        let needed: BTreeSet<MasterKeyId> =
            sites.iter().map(|id| self.sites[id.index()].master_key).collect();
        let mut missing = needed
            .into_iter()
            .filter(|id| !api.has_master_key(*id) || (read.contains(id) && api.is_refused(*id)))
            .collect::<Vec<_>>()
            .into_iter()
            .peekable();
        if missing.peek().is_some() {
            // Whoever may not push has no master key read: without one the engine sends no PUT.
            may_push().await?;
        }
        if self.are_workers {
            return Ok(());
        }
        for id in missing {
            let source = self.sources.get(id.0 as usize);
            let source =
                source.ok_or_else(|| anyhow!("a site names a master key that the config has not"))?;
            let key = source
                .read(Surroundings::of_process(), &self.hidden)
                .await
                .with_context(|| self.whose(id))?;
            api.set_master_key(id, key);
            read.insert(id);
        }
        Ok(())
    }

    /// Where it is read.
    #[cfg(feature = "cluster")]
    pub(in crate::cli) fn place(&self, id: MasterKeyId) -> String {
        let source = self.sources.get(id.0 as usize);
        source.map(SecretSource::place).unwrap_or_default()
    }

    /// The sites whose master key was refused by one of them since it was read.
    pub(in crate::cli) fn sites_of_refused(&self) -> Vec<SiteId> {
        let Some(api) = self.api.made() else {
            return Vec::new();
        };
        let sites = (0..self.sites.len()).map(SiteId::at);
        sites
            .filter(|id| api.is_refused(self.sites[id.index()].master_key))
            .collect()
    }

    /// Whether a site has refused its master key since that was read.
    pub(in crate::cli) fn is_any_refused(&self) -> bool {
        self.api.made().is_some_and(|api| api.is_any_refused())
    }

    /// Gives the global key, where it is known already.
    ///
    /// # Errors
    /// When sites cannot be reached at all: why not, and what to do.
    pub(in crate::cli) async fn set(&self, key: MasterKey) -> anyhow::Result<()> {
        self.client().await?.set_master_key(MasterKeyId::default(), key);
        Ok(())
    }

    /// The client that sends them.
    ///
    /// # Errors
    /// When it cannot be made: why not, and what to do.
    pub(in crate::cli) async fn client(&self) -> anyhow::Result<&Arc<HttpSiteApi>> {
        self.api.client().await.map_err(|error| anyhow!("{error}"))
    }

    fn whose(&self, id: MasterKeyId) -> String {
        if id == MasterKeyId::default() {
            return "the master key".to_owned();
        }
        let site = self.sites.iter().find(|site| site.master_key == id);
        site.map_or_else(
            || "a master key".to_owned(),
            |site| format!("the master key of {}", site.name),
        )
    }
}
