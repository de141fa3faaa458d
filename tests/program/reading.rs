//! The commands that only read, in the real binary: what they print in each format, and what the schemas say of it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use stage::Stage;

mod flags;
mod formats;
mod help;
mod metrics;
mod set_up;
#[path = "../stage/mod.rs"]
mod stage;
mod words;

impl Stage {
    /// A command of its own home and environment, on the fleet's config, in its folder.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(arguments);
        command
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("STRIPE_PROPAGATE_CONFIG", self.path("config.toml"))
            .current_dir(self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Pushes the fleet's key to all sites.
    fn push(&self) {
        let mut child = self
            .command(&["push", "--key-stdin", "--yes", "--wait", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(self.key().as_bytes())
            .unwrap();
        child.wait_with_output().unwrap();
    }
}

/// A command with nothing in its environment.
fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

#[track_caller]
fn out(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
