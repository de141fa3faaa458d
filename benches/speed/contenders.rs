use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::floor::FLOOR;
use crate::measured::{Taken, taken};
use crate::shops::{MASTER_KEY, Seen, Shops};
use crate::{AT_ONCE, Job, SETTLE, folder, key};

/// The variable that names another build of the program, to be measured in place of this one.
const OTHER_BUILD: &str = "SPEED_PROGRAM";

/// Of so many servers the program remembers the TLS sessions.
const RESUMED: usize = 20_000;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// A bare hyper and rustls loop.
    Floor,
    /// The program, as it is built for release.
    Program,
    /// A script.
    Aiohttp,
    /// `curl --parallel`.
    Curl,
}

impl Who {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Program => "program",
            Self::Aiohttp => "aiohttp",
            Self::Curl => "curl",
        }
    }

    /// Whether it can be measured here.
    pub(crate) fn is_here(self) -> bool {
        match self {
            Self::Floor | Self::Program => true,
            Self::Aiohttp => ends_well("python3", &["-c", "import aiohttp"]),
            Self::Curl => ends_well("curl", &["--version"]),
        }
    }

    /// curl knows no order between its transfers, and no wait.
    pub(crate) fn can(self, job: Job) -> bool {
        self != Self::Curl || job != Job::PushAndLook
    }
}

fn ends_well(program: &str, arguments: &[&str]) -> bool {
    let ended = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ended.is_ok_and(|ended| ended.success())
}

/// Shops, and the files that lead to some of them.
pub(crate) struct Arena {
    shops: Shops,
    folder: TempDir,
    /// How many keys were pushed.
    keys: usize,
    sites: usize,
}

impl Arena {
    pub(crate) fn open(sites: usize) -> anyhow::Result<Self> {
        let shops = Shops::open(sites)?;
        let arena = Self {
            shops,
            folder: folder()?,
            keys: 0,
            sites,
        };
        let mut lines = String::new();
        for address in &arena.shops.addresses {
            writeln!(lines, "{address}")?;
        }
        arena.write("addresses", &lines)?;
        arena.write("ca.pem", &arena.shops.ca_pem)?;
        arena.write("master.key", MASTER_KEY)?;
        // The defaults, but for the settle time; Stripe is not asked of keys that are not its own.
        for (name, settle) in [
            ("at-once.toml", "0s".to_owned()),
            ("settles.toml", format!("{}s", SETTLE.as_secs())),
        ] {
            let mut config = format!(
                "[master_key]\nfile = \"master.key\"\n[tls]\nca_file = \"ca.pem\"\n[stripe]\ncheck = false\n\
                 [verify]\nsettle = \"{settle}\"\n"
            );
            for (number, address) in arena.shops.addresses.iter().enumerate() {
                write!(
                    config,
                    "\n[[sites]]\nname = \"shop-{number:06}\"\nurl = \"https://{address}\"\n"
                )?;
            }
            arena.write(name, &config)?;
        }
        Ok(arena)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has `who` do the job, and makes sure that it was done.
    pub(crate) fn measure(&mut self, who: Who, job: Job) -> anyhow::Result<Taken> {
        if job != Job::Verify {
            self.keys += 1;
        }
        let new = key(self.keys)?;
        self.write("key", new.as_str())?;
        let store = folder()?;
        let command = match who {
            Who::Floor => self.floor(job)?,
            Who::Program => self.program(job, store.path()),
            Who::Aiohttp => self.aiohttp(job)?,
            Who::Curl => self.curl(job)?,
        };
        self.shops.seen(new.as_str())?;
        let taken = taken(command, &self.path("key"), &self.path("errors"))
            .with_context(|| format!("{} of {} sites by {}", job.word(), self.sites, who.word()))?;
        let seen = self.shops.seen(new.as_str())?;
        self.check(who, job, seen).with_context(|| {
            format!(
                "{} of {} sites by {}: {seen:?}",
                job.word(),
                self.sites,
                who.word()
            )
        })?;
        Ok(taken)
    }

    /// The program pushes to all sites, and its store is `store`.
    pub(crate) fn push_into(&mut self, store: &Path) -> anyhow::Result<()> {
        self.keys += 1;
        self.write("key", key(self.keys)?.as_str())?;
        taken(
            self.program(Job::Push, store),
            &self.path("key"),
            &self.path("errors"),
        )?;
        Ok(())
    }

    /// The program's screen.
    pub(crate) fn screen(&self, store: &Path) -> Vec<OsString> {
        self.begin("at-once.toml", store)
    }

    /// All send the same.
    fn check(&self, who: Who, job: Job, seen: Seen) -> anyhow::Result<()> {
        let (gets, puts, connections) = match job {
            Job::Push => (2, 1, 1),
            Job::PushAndLook => (3, 1, 2),
            Job::Verify => (1, 0, 1),
        };
        ensure!(seen.serving == self.sites, "not all serve the key");
        ensure!(seen.others == 0, "requests that no shop understands");
        ensure!(
            seen.gets == gets * self.sites && seen.puts == puts * self.sites,
            "other requests"
        );
        // curl opens as many as it likes. Sites that the program has looked at before the first PUT has proven the master key
        // wait for that without a connection, and others are looked at meanwhile.
        let (least, most) = match who {
            Who::Floor | Who::Aiohttp => (connections * self.sites, connections * self.sites),
            Who::Program => (connections * self.sites, connections * self.sites + 4 * AT_ONCE),
            Who::Curl => (0, usize::MAX),
        };
        ensure!((least..=most).contains(&seen.connections), "other connections");
        let resumes = matches!(who, Who::Floor | Who::Program) && self.sites <= RESUMED;
        ensure!(
            !resumes || seen.resumed >= (connections - 1) * self.sites,
            "TLS was not resumed"
        );
        Ok(())
    }

    fn floor(&self, job: Job) -> anyhow::Result<Vec<OsString>> {
        Ok(vec![
            std::env::current_exe()?.into(),
            FLOOR.into(),
            job.word().into(),
            self.path("addresses").into(),
            self.path("ca.pem").into(),
            key(self.keys)?.as_str().into(),
        ])
    }

    fn begin(&self, config: &str, store: &Path) -> Vec<OsString> {
        let built = || env!("CARGO_BIN_EXE_stripe-propagate").into();
        vec![
            std::env::var_os(OTHER_BUILD).unwrap_or_else(built),
            "--config".into(),
            self.path(config).into(),
            "--store".into(),
            store.join("store.db").into(),
        ]
    }

    fn program(&self, job: Job, store: &Path) -> Vec<OsString> {
        let config = if job == Job::PushAndLook {
            "settles.toml"
        } else {
            "at-once.toml"
        };
        let mut command = self.begin(config, store);
        command.extend([job.command().into(), "--key-stdin".into()]);
        if job != Job::Verify {
            command.push("--yes".into());
        }
        command
    }

    fn aiohttp(&self, job: Job) -> anyhow::Result<Vec<OsString>> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/speed/with_aiohttp.py");
        Ok(vec![
            "python3".into(),
            script.into(),
            job.word().into(),
            self.path("addresses").into(),
            self.path("ca.pem").into(),
            key(self.keys)?.as_str().into(),
            MASTER_KEY.into(),
            AT_ONCE.to_string().into(),
            SETTLE.as_secs().to_string().into(),
        ])
    }

    fn curl(&self, job: Job) -> anyhow::Result<Vec<OsString>> {
        let ca = self.path("ca.pem");
        let always = format!("cacert = \"{}\"\noutput = \"/dev/null\"\nfail\n", ca.display());
        let body = format!("{{\\\"value\\\":\\\"{}\\\"}}", key(self.keys)?.as_str());
        let mut transfers = Vec::new();
        for address in &self.shops.addresses {
            let get = format!("url = \"https://{address}/api/stripe-pk\"\n{always}");
            if job == Job::Verify {
                transfers.push(get);
                continue;
            }
            let put = format!(
                "url = \"https://{address}/api/export/settings/stripe_publishable_key\"\n{always}request = \"PUT\"\n\
                 header = \"X-API-Key: {MASTER_KEY}\"\nheader = \"Content-Type: application/json\"\n\
                 data = \"{body}\"\n"
            );
            transfers.extend([get.clone(), put, get]);
        }
        self.write("curl", &transfers.join("next\n"))?;
        Ok(vec![
            "curl".into(),
            "--silent".into(),
            "--show-error".into(),
            "--parallel".into(),
            "--parallel-immediate".into(),
            "--parallel-max".into(),
            AT_ONCE.to_string().into(),
            "--config".into(),
            self.path("curl").into(),
        ])
    }
}
