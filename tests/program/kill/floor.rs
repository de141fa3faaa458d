use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use stripe_propagate::config::{self, Config};
use stripe_propagate::demo::FleetOptions;
use stripe_propagate::demo::faults::Fault;

use super::stage::Stage;

/// What is waited for must come within this.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// So much shorter than usual is what the fleet's sites take and keep: then caches are empty within half a second.
const HURRY: u32 = 10;

/// A fleet in a hurry, and a home for processes that work on it.
pub(crate) struct Floor {
    pub(crate) stage: Stage,
    pub(crate) config: Config,
}

impl Floor {
    /// With a settle time that is longer than any cache of the hurried fleet.
    pub(crate) fn of(options: FleetOptions, settle: &str) -> Self {
        let stage = Stage::with(options);
        stage.fleet.hurry(HURRY);
        let path = stage.path("config.toml");
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (usual, here) in [
            (r#"settle = "8s""#, format!(r#"settle = "{settle}""#)),
            (r#"backoff = "200ms""#, r#"backoff = "50ms""#.to_owned()),
            // Nothing but what is held back takes so long, however busy the machine is.
            (
                r#"connect_timeout = "1s""#,
                r#"connect_timeout = "10s""#.to_owned(),
            ),
            ("\ntimeout = \"3s\"", "\ntimeout = \"20s\"".to_owned()),
        ] {
            assert!(text.contains(usual), "{text}");
            text = text.replace(usual, &here);
        }
        std::fs::write(&path, text).unwrap();
        let config = config::load(&path).unwrap();
        Self { stage, config }
    }

    pub(crate) fn state_folder(&self) -> PathBuf {
        self.stage.path("state/stripe-propagate")
    }

    pub(crate) fn store_file(&self) -> PathBuf {
        self.state_folder().join("store.db")
    }

    /// The first site with this fault, by its place in the list.
    pub(crate) fn site_with(&self, fault: Fault) -> usize {
        let sites = self.stage.fleet.sites();
        sites.iter().position(|site| site.fault == fault).unwrap()
    }

    pub(crate) fn name(&self, site: usize) -> &str {
        &self.stage.fleet.sites()[site].name
    }

    /// Whether each process of the site answers the key.
    pub(crate) fn serves_the_key(&self, site: usize) -> bool {
        let serves = self.stage.fleet.serves_now(site);
        serves
            .iter()
            .all(|served| served.as_deref() == Some(self.stage.key()))
    }

    /// Starts the program, with nothing of this process's environment.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let out = tempfile::NamedTempFile::new_in(self.stage.folder.path()).unwrap();
        let err = tempfile::NamedTempFile::new_in(self.stage.folder.path()).unwrap();
        let write = |file: &tempfile::NamedTempFile| Stdio::from(File::create(file.path()).unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"))
            .env_clear()
            .env("HOME", self.stage.folder.path())
            .env("XDG_STATE_HOME", self.stage.path("state"))
            .arg("--config")
            .arg(self.stage.path("config.toml"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(write(&out))
            .stderr(write(&err))
            .spawn()
            .unwrap();
        Process { child, out, err }
    }

    /// A push of the key to all sites.
    pub(crate) fn push(&self) -> Process {
        self.push_of("key.txt")
    }

    /// A push of the key in this file.
    pub(crate) fn push_of(&self, file: &str) -> Process {
        let file = self.stage.path(file).display().to_string();
        self.start(&["push", "--key-file", &file, "--yes"])
    }

    /// Waits until nothing is on its way to a site any more.
    pub(crate) fn comes_to_rest(&self) {
        let rests = self
            .stage
            .fleet
            .wait_until(PATIENCE, |record| record.at_work == 0);
        assert!(rests, "the fleet never comes to rest");
    }
}

/// The program, while it runs. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    out: tempfile::NamedTempFile,
    err: tempfile::NamedTempFile,
}

/// What it came to.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Process {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub(crate) fn ends(mut self) -> Ended {
        let read = |file: &tempfile::NamedTempFile| std::fs::read_to_string(file.path()).unwrap();
        let code = self.child.wait().unwrap().code();
        Ended {
            code,
            out: read(&self.out),
            err: read(&self.err),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
