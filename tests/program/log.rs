//! The log of the real binary: where it is, who can read it, what is in it and what never is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use stage::Stage;
use stripe_propagate::config::{LogLevel, LogSettings};

#[path = "../stage/mod.rs"]
mod stage;

impl Stage {
    /// A command of its own home, in the stage's folder, under an open umask.
    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new("sh");
        command
            .args(["-c", "umask 000; exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_stripe-propagate"))
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .current_dir(self.folder.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait_with_output().unwrap()
    }
}

fn attempts(output: &Output) -> usize {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let lines = text.lines().map(stage::schema::line);
    lines.filter(|line| line["event"] == "attempt").count()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn each_attempt_is_a_line_that_the_user_alone_can_read_and_no_key_is_in_it() {
    let stage = Stage::of(4);
    stage.heal();
    let push = ["push", "--yes", "--json", "--wait", "0", "--key-file", "key.txt"];
    let pushed = stage.run(&[&push[..], &["--log", "here.log", "-v"]].concat());
    let told = attempts(&pushed);
    assert!(told >= 8, "{pushed:?}");
    let log = stage.path("here.log");
    let text = fs::read_to_string(&log).unwrap();
    let lines = text.lines().filter(|line| line.contains(" attempt ")).count();
    assert_eq!(lines, told, "{text}");
    assert!(!text.contains(stage.key()), "{text}");
    assert!(!text.contains(stage.fleet.master_key()), "{text}");
    assert_eq!(mode(&log), 0o600);
    let elsewhere = stage.path("state/stripe-propagate/stripe-propagate.log");
    assert!(!elsewhere.exists(), "--log goes before the usual place");
    stage.run(&[&push[..], &["--site", "nowhere"]].concat());
    assert!(
        !elsewhere.exists(),
        "nothing is logged before there is something to do"
    );
}

#[test]
fn processes_at_once_share_a_log() {
    let stage = Stage::of(4);
    stage.heal();
    let both = [(); 2].map(|()| stage.start(&["verify", "--json"]));
    let told: usize = both
        .map(|child| attempts(&child.wait_with_output().unwrap()))
        .iter()
        .sum();
    let log = stage.path("state/stripe-propagate/stripe-propagate.log");
    let text = fs::read_to_string(&log).unwrap();
    assert!(told >= 8, "{text}");
    assert_eq!(
        text.lines().filter(|line| line.contains(" attempt ")).count(),
        told
    );
    assert_eq!(mode(&log), 0o600);
    assert_eq!(mode(log.parent().unwrap()), 0o700);
}

#[test]
fn a_log_that_cannot_be_written_is_a_warning() {
    let stage = Stage::of(1);
    let link = stage.path("link.log");
    let target = stage.path("target");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let ended = stage.run(&["verify", "--json", "--log", "link.log"]);
    let said = String::from_utf8(ended.stderr.clone()).unwrap();
    assert!(
        said.contains("warning: no log: ") && said.contains("is a link"),
        "{said}"
    );
    assert_eq!(said.matches("warning").count(), 1, "{said}");
    assert!(attempts(&ended) > 0, "it goes on without");
    assert!(!target.exists());
}

#[test]
fn the_command_line_goes_before_the_config() {
    let config = LogSettings {
        file: Some("config.log".into()),
        level: LogLevel::Warn,
    };
    let file = |path: &str| Some(PathBuf::from(path));
    let of = |path, verbose| {
        let settings = config.clone().overridden(path, verbose);
        (settings.file, settings.level)
    };
    assert_eq!(of(None, 0), (file("config.log"), LogLevel::Warn));
    assert_eq!(of(file("here.log"), 1), (file("here.log"), LogLevel::Debug));
    assert_eq!(of(None, 2), (file("config.log"), LogLevel::Trace));
    assert_eq!(of(None, 200), (file("config.log"), LogLevel::Trace));
    let trace = LogSettings {
        level: LogLevel::Trace,
        ..config
    };
    assert_eq!(
        trace.overridden(None, 1).level,
        LogLevel::Trace,
        "-v never logs less"
    );
}
