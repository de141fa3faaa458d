use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::config::{self, Config, Found, Searched};
use crate::engine::{self, Clock, Event, Handle, Settings};
use crate::secret::{MasterKey, SecretSource, Surroundings, open_plain};
use crate::site::{MasterKeyId, Site, SiteId};
use crate::site_api::{HttpSettings, HttpSiteApi};
use crate::store::memory::MemoryStore;

/// The config that the command line, the environment or the usual places name; or where it was looked for.
pub(super) fn find_config(explicit: Option<PathBuf>) -> anyhow::Result<Result<Config, Searched>> {
    match config::find(&config::Surroundings::of_process(explicit)) {
        Found::File(path) => Ok(Ok(config::load(&path)?)),
        Found::Nowhere(searched) => Ok(Err(searched)),
    }
}

/// A config brought to life.
pub(super) struct Session {
    pub(super) sites: Arc<[Site]>,
    pub(super) handle: Handle,
    pub(super) events: UnboundedReceiver<Event>,
    pub(super) master_keys: Arc<MasterKeys>,
    pub(super) clock: Clock,
    /// How long caches may answer an old key.
    pub(super) settle: Duration,
}

impl Session {
    /// Starts an engine on the config's sites. `ca_pem` is a certificate authority besides the system's.
    pub(super) fn open(config: &Config, ca_pem: Option<Vec<u8>>) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let api = HttpSiteApi::new(&HttpSettings {
            connect_timeout: config.push.connect_timeout,
            timeout: config.push.timeout,
            proxy: config.push.proxy.clone(),
            ca_pem,
            sites: config.sites.len(),
        })?;
        let api = Arc::new(api);
        let sites: Arc<[Site]> = config.sites.clone().into();
        let settings = Settings {
            concurrency: config.push.concurrency,
            per_backend: config.push.per_backend,
            policy: config.policy(),
        };
        let (handle, events) = engine::start(
            Arc::clone(&sites),
            Vec::new(),
            Arc::clone(&api),
            Arc::new(MemoryStore::default()),
            settings,
            clock,
        );
        let master_keys = MasterKeys {
            sources: config.master_keys.clone(),
            sites: Arc::clone(&sites),
            api,
            reading: Mutex::new(()),
        };
        Ok(Self {
            sites,
            handle,
            events,
            master_keys: Arc::new(master_keys),
            clock,
            settle: config.policy().settle,
        })
    }

    /// As [`Session::open`], with the config's own certificate authority.
    pub(super) fn of_config(config: &Config) -> anyhow::Result<Self> {
        let read =
            |path: &PathBuf| read_ca_file(path).with_context(|| format!("tls.ca_file {}", path.display()));
        let ca_pem = config.ca_file.as_ref().map(read).transpose()?;
        Self::open(config, ca_pem)
    }

    /// Every site, in the order of the list.
    pub(super) fn all(&self) -> Vec<SiteId> {
        (0..).map(SiteId).take(self.sites.len()).collect()
    }
}

/// Certificate authorities take at most so many bytes.
const CA_FILE_LIMIT: u64 = 16 * 1024 * 1024;

fn read_ca_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let (file, _) = open_plain(path)?;
    let mut pem = Vec::new();
    file.take(CA_FILE_LIMIT).read_to_end(&mut pem)?;
    Ok(pem)
}

/// The master keys of the config, each read once, at its first need.
pub(super) struct MasterKeys {
    sources: Vec<SecretSource>,
    sites: Arc<[Site]>,
    api: Arc<HttpSiteApi>,
    /// Held while keys are read, so that no command is started twice.
    reading: Mutex<()>,
}

impl MasterKeys {
    /// Reads what `sites` need and is not read yet.
    ///
    /// # Errors
    /// When one cannot be read: what was tried, and what to do.
    pub(super) async fn load(&self, sites: &[SiteId]) -> anyhow::Result<()> {
        let _reading = self.reading.lock().await;
        let needed: BTreeSet<MasterKeyId> =
            sites.iter().map(|id| self.sites[id.index()].master_key).collect();
        for id in needed.into_iter().filter(|id| !self.api.has_master_key(*id)) {
            let source = self.sources.get(id.0 as usize);
            let source =
                source.ok_or_else(|| anyhow!("a site names a master key that the config has not"))?;
            let key = source
                .read(Surroundings::of_process(), &self.variables())
                .await
                .with_context(|| self.whose(id))?;
            self.api.set_master_key(id, key);
        }
        Ok(())
    }

    /// Gives the global key, where it is known already.
    pub(super) fn set(&self, key: MasterKey) {
        self.api.set_master_key(MasterKeyId::default(), key);
    }

    /// The variables that hold master keys: a command must not see them.
    fn variables(&self) -> Vec<String> {
        let names = self.sources.iter().filter_map(|source| match source {
            SecretSource::Env(names) => Some(names.clone()),
            _ => None,
        });
        names.flatten().collect()
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
