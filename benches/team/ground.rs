use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::clocks::{of_process, of_server};
use crate::measured::taken;
use crate::servers::{Kind, Server, run};
use crate::shops::{MASTER_KEY, Shops};
use crate::{How, Took, folder, key};

/// Shops, what leads to them, and a server.
pub(crate) struct Ground<'a> {
    server: &'a Server,
    shops: Shops,
    folder: TempDir,
    sites: usize,
    /// How many keys were pushed.
    keys: usize,
}

impl<'a> Ground<'a> {
    pub(crate) fn open(server: &'a Server, sites: usize, of_a_backend: usize) -> anyhow::Result<Self> {
        let ground = Self {
            server,
            shops: Shops::open(sites)?,
            folder: folder()?,
            sites,
            keys: 0,
        };
        let mut rest =
            "\n[master_key]\nfile = \"master.key\"\n[tls]\nca_file = \"ca.pem\"\n[stripe]\ncheck = false\n\
                        [verify]\nsettle = \"0s\"\n[rollout]\ncanary = 0\n"
                .to_owned();
        for (number, address) in ground.shops.addresses.iter().enumerate() {
            let backend = number / of_a_backend;
            write!(
                rest,
                "\n[[sites]]\nname = \"shop-{number:06}\"\nurl = \"https://{address}\"\nbackend = \"server-{backend}\"\n"
            )?;
        }
        let by_url = "[store]\nurl = { file = \"url\" }\n";
        ground.write("file.toml", &rest)?;
        ground.write("postgres.toml", &format!("{by_url}{rest}"))?;
        ground.write(
            "workers.toml",
            &format!("{by_url}[cluster]\nenabled = true\n{rest}"),
        )?;
        ground.write("master.key", MASTER_KEY)?;
        ground.write("ca.pem", &ground.shops.ca_pem)?;
        Ok(ground)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Pushes a new key on a new record, and sees to it that all shops serve it.
    pub(crate) fn measure(&mut self, how: How) -> anyhow::Result<Took> {
        self.keys += 1;
        let new = key(self.keys)?;
        self.write("key", new.as_str())?;
        let first = Kind::Postgres.url(self.server.port, "postgres");
        let name = format!("bench_{}_{}", std::process::id(), self.keys + self.sites * 100);
        let order = |statement: String| {
            run(Kind::Postgres, &first, &statement).map_err(|error| anyhow::anyhow!("{statement}: {error}"))
        };
        order(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))?;
        order(format!("CREATE DATABASE {name}"))?;
        self.write("url", &Kind::Postgres.url(self.server.port, &name))?;
        let home = folder()?;
        let (config, count) = match how {
            How::File => ("file.toml", 0),
            How::Postgres => ("postgres.toml", 0),
            How::Workers(count) => ("workers.toml", count),
        };
        let mut push = self.program(config, &["push", "--key-stdin", "--yes"]);
        if how == How::File {
            push.extend(["--store".into(), home.path().join("store.db").into()]);
        }
        let workers = (0..count).map(|number| self.worker(&format!("worker-{number}")));
        let workers: Vec<Worker> = workers.collect::<anyhow::Result<_>>()?;
        let before = (of_all(&workers)?, of_server(&self.server.folder)?);
        self.shops.seen(new.as_str())?;
        let pushed = taken(push, &self.path("key"), &self.path("errors"))?;
        let after = (of_all(&workers)?, of_server(&self.server.folder)?);
        drop(workers);
        let seen = self.shops.seen(new.as_str())?;
        ensure!(
            seen.serving == self.sites && seen.puts == self.sites,
            "not all of {} shops took the key once: {seen:?}",
            self.sites
        );
        order(format!("DROP DATABASE {name} WITH (FORCE)"))?;
        Ok(Took {
            wall: pushed.wall,
            pushes: pushed.cpu,
            workers: after.0.saturating_sub(before.0),
            server: after.1.saturating_sub(before.1),
        })
    }

    fn program(&self, config: &str, arguments: &[&str]) -> Vec<OsString> {
        let mut command: Vec<OsString> = vec![
            env!("CARGO_BIN_EXE_stripe-propagate").into(),
            "--config".into(),
            self.path(config).into(),
        ];
        command.extend(arguments.iter().map(OsString::from));
        command
    }

    /// One that is ready.
    fn worker(&self, name: &str) -> anyhow::Result<Worker> {
        let log = self.path(name);
        let command = self.program("workers.toml", &["worker"]);
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .arg("--log")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut errors = BufReader::new(child.stderr.take().context("no standard error")?);
        let worker = Worker(child);
        let mut line = String::new();
        while errors.read_line(&mut line)? > 0 {
            if line.contains("takes work on") {
                std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
                return Ok(worker);
            }
        }
        bail!("a worker did not begin: {line}");
    }
}

fn of_all(workers: &[Worker]) -> anyhow::Result<Duration> {
    workers
        .iter()
        .map(|worker| of_process(worker.0.id(), false))
        .sum()
}

/// Ends with this.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
