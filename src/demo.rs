//! A fleet of template sites on loopback, over real TLS, with every fault that real ones show. For trying
//! the program without touching a shop, and for its tests. It keeps its own record of each request.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::key::PublishableKey;
use crate::site::SiteUrl;

/// Which faults are asked for.
pub mod asked;
/// What a healthy template site answers: database, processes, caches.
mod template;
/// What is said byte by byte.
mod wire;
/// FAULTS: every way in which a site of the fleet can be odd.
pub mod faults;
/// What the fleet saw.
pub mod record;
/// Names, keys and faults of a fleet, from its seed.
mod cast;
/// The certificates of its sites, good and odd.
mod certificates;
/// Handshakes that are none.
mod shaken;
/// Connections whose bytes are counted.
mod counted;
/// Connections on which a site speaks byte by byte.
mod raw;
/// Listeners, TLS and connections.
mod server;
/// Stripe, as the fleet plays it.
mod stripe;
/// One site of the fleet, with its fault.
mod shop;

use asked::AskedFault;
use faults::{Fault, Plays};
use record::{Record, Recorder};
use server::Server;
use shop::Shop;
use stripe::Stripe;

/// How many sites share a loopback address: each has a port of its own, and an address has about 28,000.
const SITES_PER_ADDRESS: usize = 5000;

/// What fleet to start.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// How many sites.
    pub sites: usize,
    /// The same seed makes the same fleet.
    pub seed: u64,
    /// What some of them play, while the rest is healthy; without any, the usual cast.
    pub faults: Vec<AskedFault>,
    /// How many of those that share a server share one.
    pub of_a_server: usize,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            sites: 24,
            seed: 1,
            faults: Vec::new(),
            of_a_server: 2,
        }
    }
}

/// One site of a fleet.
#[derive(Debug, Clone)]
pub struct FleetSite {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: SiteUrl,
    /// What is odd about it; its sentence is in [`faults::FAULTS`].
    pub fault: Fault,
    /// Whether it serves a key at first that Stripe has expired.
    pub has_expired_key: bool,
    /// The server that it shares with others, if it does.
    pub backend: Option<String>,
}

/// A fleet that serves until it is dropped.
#[derive(Debug)]
pub struct Fleet {
    sites: Vec<FleetSite>,
    shops: Vec<Arc<Shop>>,
    server: Arc<Server>,
    ca_pem: String,
    master_key: String,
    new_key: PublishableKey,
    /// What its sites serve at first, and the new key.
    keys: HashSet<String>,
    stripe: Arc<Stripe>,
    stripe_url: String,
    recorder: Arc<Recorder>,
    _stop: DropGuard,
}

impl Fleet {
    /// Starts a fleet. Raises the process's limit of open files as far as it can.
    ///
    /// # Errors
    /// When the faults that are asked for need more sites than there are, when no certificate can be made, or no port
    /// is free.
    pub async fn start(options: FleetOptions) -> anyhow::Result<Self> {
        raise_descriptor_limit();
        asked::fits(&options.faults, options.sites)?;
        let cast = cast::cast(&options);
        let halt = CancellationToken::new();
        let recorder = Arc::new(Recorder::new(cast.roles.len()));
        let addresses: Vec<IpAddr> = (0..=cast.roles.len() / SITES_PER_ADDRESS).map(address).collect();
        let odd = cast.roles.iter().filter_map(|role| match role.fault.row().plays {
            Plays::Shakes(handshake) => Some(handshake),
            _ => None,
        });
        let server = Server::new(&addresses, odd, Arc::clone(&recorder), halt.clone())?;
        let server = Arc::new(server);
        let target = server.redirect_target(addresses[0]).await?;
        let stripe = Arc::new(Stripe::default());
        let stripe_url = stripe.open(&server, addresses[0]).await?;
        let mut backends: HashMap<String, Arc<AtomicUsize>> = HashMap::new();
        let mut sites = Vec::with_capacity(cast.roles.len());
        let mut shops = Vec::with_capacity(cast.roles.len());
        for (index, role) in cast.roles.into_iter().enumerate() {
            let at_once = role
                .backend
                .clone()
                .map(|backend| Arc::clone(backends.entry(backend).or_default()));
            let shop = Arc::new(Shop::new(
                index,
                &role,
                &cast.keys,
                target.clone(),
                at_once.unwrap_or_default(),
            ));
            let port = server.open(addresses[index / SITES_PER_ADDRESS], Arc::clone(&shop))?;
            let url = format!("https://{}:{port}", addresses[index / SITES_PER_ADDRESS]);
            let url = SiteUrl::parse(&url).with_context(|| format!("the fleet's own address {url}"))?;
            sites.push(FleetSite {
                name: role.name,
                url,
                fault: role.fault,
                has_expired_key: role.expired,
                backend: role.backend,
            });
            shops.push(shop);
        }
        Ok(Self {
            sites,
            shops,
            ca_pem: server.ca_pem().to_owned(),
            server,
            keys: cast.keys.publishable().map(str::to_owned).into(),
            master_key: cast.keys.master,
            new_key: cast.keys.new,
            stripe,
            stripe_url,
            recorder,
            _stop: halt.drop_guard(),
        })
    }

    /// Its sites, in order.
    pub fn sites(&self) -> &[FleetSite] {
        &self.sites
    }

    /// The certificate of the authority that was made for it.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The master key that its sites take (but one, which has another).
    pub fn master_key(&self) -> &str {
        &self.master_key
    }

    /// A test key that no site serves yet.
    pub fn new_key(&self) -> &PublishableKey {
        &self.new_key
    }

    /// What it saw until now.
    pub fn record(&self) -> Record {
        self.recorder.snapshot()
    }

    /// Waits until what it has seen is so, at most `limit`; whether it came so. Blocks the thread.
    pub fn wait_until(&self, limit: Duration, is_so: impl Fn(&Record) -> bool) -> bool {
        self.recorder.wait_until(limit, is_so)
    }

    /// From now on all its sites are so many times faster than usual: answers, waits that they ask for, caches.
    pub fn hurry(&self, times: u32) {
        self.shops.iter().for_each(|shop| shop.hurry(times));
    }

    /// The next PUT to the site at `index` is held back on its way, until [`Fleet::let_go`]. Its client may give
    /// up or be gone then: it arrives all the same.
    pub fn hold_next_put(&self, index: usize) {
        self.shops[index].hold_next_put();
    }

    /// What is held back on its way to the site at `index` arrives.
    pub fn let_go(&self, index: usize) {
        self.shops[index].let_go();
    }

    /// What each process of the site at `index` would answer to a GET now; `None` for no key or a fault.
    pub fn serves_now(&self, index: usize) -> Vec<Option<String>> {
        self.shops[index].serves_now()
    }

    /// The key in the database of the site at `index`.
    pub fn stored(&self, index: usize) -> Option<String> {
        self.shops[index].stored()
    }

    /// Where it plays Stripe.
    pub fn stripe_url(&self) -> &str {
        &self.stripe_url
    }

    /// From now on its Stripe says that this key has expired.
    pub fn roll(&self, key: &str) {
        self.stripe.roll(key);
    }

    /// From now on its Stripe knows only the keys of the fleet, and those that contain `Known`: a mistyped key is one that
    /// it does not know.
    pub fn know_only_its_keys(&self) {
        self.stripe.know_only(self.keys.clone());
    }

    /// Mends the sick sites; returns how many there were.
    pub fn heal(&self) -> usize {
        let healed = self.shops.iter().filter(|shop| shop.heal()).count();
        self.server.open_the_dead();
        healed
    }

    /// A config for the real command; `ca.pem` and `master.key` stand beside it. Its runs go to all sites at once and
    /// never halt.
    pub fn config_toml(&self) -> String {
        self.toml("", CARELESS)
    }

    /// As [`Fleet::config_toml`], with a canary, waves and a halt.
    pub fn rollout_toml(&self) -> String {
        self.toml("", ROLLOUT)
    }

    fn toml(&self, more: &str, rollout: &str) -> String {
        let stripe = &self.stripe_url;
        let mut text = format!("{CONFIG_HEAD}{more}{rollout}\n[stripe]\napi = \"{stripe}\"\n");
        for site in &self.sites {
            // Writing into a string cannot fail.
            let _written = writeln!(
                text,
                "\n[[sites]]\nname = \"{}\"\nurl = \"{}\"",
                site.name, site.url
            );
            if let Some(backend) = &site.backend {
                let _written = writeln!(text, "backend = \"{backend}\"");
            }
        }
        text
    }

    /// Writes `config.toml`, `ca.pem`, `master.key` and `key.txt` (a key to push) into `folder`, readable by
    /// the user alone.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_files(&self, folder: &Path, rollout: bool) -> anyhow::Result<()> {
        self.write(folder, "", rollout)
    }

    /// As [`Fleet::write_files`], and what the program leaves of its runs is in `folder`, too: no run on these sites
    /// stands in the store of the operator's own shops, where their screens would find it. The store of a demo before
    /// goes: it is of sites that are gone, whose place in the list these would have to take.
    ///
    /// # Errors
    /// When a file cannot be written, or the store of a demo before not removed.
    pub fn write_files_with_a_store(&self, folder: &Path, rollout: bool) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
        refuse_while_a_run_goes_on(folder)?;
        self.write(folder, OWN_STORE, rollout)?;
        for name in ["store.db", "store.db-wal", "store.db-shm"] {
            let path = folder.join(name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn write(&self, folder: &Path, more: &str, rollout: bool) -> anyhow::Result<()> {
        let config = self.toml(more, if rollout { ROLLOUT } else { CARELESS });
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
        refuse_another_config(folder)?;
        for (name, text) in [
            ("config.toml", config),
            ("ca.pem", self.ca_pem.clone()),
            ("master.key", self.master_key.clone()),
            ("key.txt", self.new_key.as_str().to_owned()),
        ] {
            let path = folder.join(name);
            write_private(&path, &text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

const CONFIG_HEAD: &str = r#"# The demo fleet of stripe-propagate: sites on this machine, on loopback, with a key of no worth. Some of
# them fail by design. The times are short so that a run is over within half a minute.

[master_key]
file = "master.key"

[push]
connect_timeout = "1s"
timeout = "3s"
attempts = 3
backoff = "200ms"

[verify]
settle = "8s"

[tls]
ca_file = "ca.pem"
"#;

const OWN_STORE: &str = r#"
[store]
path = "store.db"

[log]
file = "stripe-propagate.log"
"#;

const CARELESS: &str = r#"
# Some sites fail by design: a run goes to all at once, and never halts. `demo --rollout` has it otherwise.
[rollout]
canary = 0
stop_after = "never"
"#;

const ROLLOUT: &str = r#"
# One site first, then a quarter of them, then all; and a run halts where too many fail.
[rollout]
canary = 1
waves = ["25%", "100%"]
pause = "ask"
stop_after = "20%"
"#;

/// Who works on a run holds one of its locks.
fn refuse_while_a_run_goes_on(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let kind = path.extension().and_then(OsStr::to_str);
        let is_lock = name.starts_with("store.db.") && matches!(kind, Some("lock" | "live"));
        if is_lock
            && let Ok(file) = File::open(&path)
            && matches!(file.try_lock(), Err(TryLockError::WouldBlock))
        {
            anyhow::bail!(
                "a run on the sites of the demo before goes on in {}: end it first, or name another folder",
                folder.display()
            );
        }
    }
    Ok(())
}

/// What stands in the folder is replaced where it is of a demo before, and nothing else is: it may be a real master key.
fn refuse_another_config(folder: &Path) -> anyhow::Result<()> {
    let stands = |name: &str| folder.join(name).symlink_metadata().is_ok();
    let first = CONFIG_HEAD.lines().next().unwrap_or_default();
    let begins = |name: &str, with: &str| {
        let mut head = vec![0; with.len()];
        let opened = crate::secret::open_plain(&folder.join(name));
        opened.is_ok_and(|(mut file, _)| file.read_exact(&mut head).is_ok() && head == with.as_bytes())
    };
    // A real master key may have been put beside a demo's config.
    let is_of_a_demo = begins("config.toml", first) && begins("master.key", cast::MASTER_KEY);
    if !is_of_a_demo
        && ["config.toml", "ca.pem", "master.key", "key.txt", "store.db"]
            .into_iter()
            .any(stands)
    {
        anyhow::bail!(
            "{} has files that no demo has written, and the demo would replace them: name another folder",
            folder.display()
        );
    }
    Ok(())
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    // Also where it stood there before with another mode.
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

fn address(index: usize) -> IpAddr {
    let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// A fleet of 1,000 sites needs thousands of descriptors, and many systems give 1,024 at first.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If it may not be raised, opening a port says so later, with its own error.
    let _as_far_as_allowed = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}
