use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use stripe_propagate::config::{self, Place};
use stripe_propagate::demo::faults::Fault;
use stripe_propagate::demo::{Fleet, FleetOptions};
use stripe_propagate::engine::{Left, Settings};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::secret::MasterKey;
use stripe_propagate::site::{MasterKeyId, Site};
use stripe_propagate::site_api::{HttpSettings, HttpSiteApi};

/// The argument that makes this program serve a fleet.
pub(crate) const SERVE: &str = "serve-a-fleet";
/// Long enough for no healthy site to fail while the machine is busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// Serves a fleet with so many healthy sites until standard input ends: says where they are.
pub(crate) async fn serve(healthy: usize) -> anyhow::Result<()> {
    // A tenth of a large fleet is odd, and two dozen sites of a small one.
    let sites = healthy + healthy / 8 + 24;
    let fleet = Fleet::start(FleetOptions {
        sites,
        ..FleetOptions::default()
    })
    .await?;
    let well: Vec<usize> = (0..sites)
        .filter(|&index| fleet.sites()[index].fault == Fault::Healthy)
        .collect();
    let offer = Offer {
        config: fleet.config_toml(),
        ca_pem: fleet.ca_pem().to_owned(),
        master_key: fleet.master_key().to_owned(),
        healthy: well,
    };
    println!("{}", serde_json::to_string(&offer)?);
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

/// All that one must know to push to a fleet.
#[derive(serde::Serialize, serde::Deserialize)]
struct Offer {
    config: String,
    ca_pem: String,
    master_key: String,
    /// The places of the healthy sites in the config.
    healthy: Vec<usize>,
}

/// Healthy sites, served by another process until this is dropped.
pub(crate) struct Shops {
    pub(crate) sites: Arc<[Site]>,
    pub(crate) api: Arc<HttpSiteApi>,
    child: Child,
    /// Its end is the child's.
    stdin: Option<ChildStdin>,
}

impl Shops {
    pub(crate) fn open(count: usize) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([SERVE, &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        let stdout = child.stdout.take().context("the fleet has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let offer: Offer = serde_json::from_str(&line).context("the fleet did not start")?;
        let place = Place {
            path: Path::new("config.toml"),
            home: None,
            owner_only: true,
        };
        let all = config::parse(&offer.config, place)?.sites;
        let healthy = offer.healthy.iter().take(count);
        let sites: Arc<[Site]> = healthy.map(|&index| all[index].clone()).collect();
        anyhow::ensure!(sites.len() == count, "only {} sites are well", sites.len());
        let api = HttpSiteApi::new(&HttpSettings {
            connect_timeout: PATIENCE,
            timeout: PATIENCE,
            proxy: None,
            ca_pem: Some(offer.ca_pem.into_bytes()),
            sites: count,
            per_backend: 2,
        })?;
        api.set_master_key(MasterKeyId(0), MasterKey::parse(offer.master_key)?);
        Ok(Self {
            sites,
            api: Arc::new(api),
            child,
            stdin,
        })
    }
}

impl Drop for Shops {
    fn drop(&mut self) {
        self.stdin = None;
        let _ended = self.child.wait();
    }
}

/// The program's defaults, but for the settle time: each push is proven by the look behind its PUT.
pub(crate) fn settings() -> Settings {
    Settings {
        policy: Policy {
            settle: Duration::ZERO,
            timeout: PATIENCE,
            ..Policy::default()
        },
        left: Left::Alone,
        ..Settings::default()
    }
}

/// A key of the usual length that differs by `number`.
pub(crate) fn key(number: usize) -> anyhow::Result<PublishableKey> {
    Ok(PublishableKey::parse(&format!("pk_test_51Bench{number:0>92}"))?)
}
