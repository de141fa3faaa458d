//! The master key and every secret that was typed, pasted or shown by a site are nowhere in what a run leaves behind:
//! store, its log, lock and log file; and what holds them in memory cannot be read by others.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pty::Run;
use stage::Stage;

#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;

/// Secrets that an operator may paste by mistake.
const PASTED: [&str; 4] = [
    "sk_live_51CanaryCanaryCanaryCanary0001",
    "rk_test_51CanaryCanaryCanaryCanary0002",
    "whsec_CanaryCanaryCanaryCanaryCanary0003",
    "ek_live_CanaryCanaryCanaryCanaryCana0004",
];

impl Stage {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"));
        command.arg("--config").arg(self.path("config.toml"));
        command.arg("--store").arg(self.path("state/store.db"));
        command
            .arg("--log")
            .arg(self.path("state/all.log"))
            .arg("-vv")
            .args(arguments);
        command
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// What a site of the demo shows to the public.
const SHOWN: &str = "sk_live_51DemoThisMustNeverBeShown0000";

/// All files in a folder, at any depth.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    folders
        .iter()
        .flat_map(|folder| self::files(folder))
        .chain(files)
        .collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Into the key field, and where an export asks for a file name.
fn secrets_are_typed_everywhere(stage: &Stage) {
    let run = Run::of(env!("CARGO_BIN_EXE_stripe-propagate")).size(120, 40);
    let arguments = [
        "--config",
        "config.toml",
        "--store",
        "state/store.db",
        "--log",
        "state/screen.log",
    ];
    let arguments = arguments.map(|argument| match argument.strip_prefix("--") {
        Some(_) => argument.to_owned(),
        None => stage.path(argument).display().to_string(),
    });
    let mut pty = arguments.into_iter().fold(run, Run::arg).arg("-vv").start();
    pty.sees("24 sites");
    for secret in PASTED {
        pty.key("e")
            .sees("paste or type")
            .paste(secret)
            .sees("SECRET")
            .key("Esc");
        pty.sees_no("paste or type")
            .key("h")
            .sees(" push  pk_test")
            .key("e")
            .sees("write it to a file");
        pty.type_(secret)
            .sees("typed as a file name and dropped")
            .key("Esc")
            .key("Esc");
        pty.sees_no("history  (");
    }
    for secret in PASTED {
        pty.never_saw(&secret[12..]);
    }
    pty.key("q");
    pty.wait_exit();
}

#[test]
fn no_secret_outlives_a_run_anywhere() {
    let stage = Stage::of(24);
    let key = stage.path("key.txt").display().to_string();
    let mut ends = Vec::new();
    for arguments in [
        &["push", "--yes", "--wait", "0", "--key-file", &key][..],
        &["verify", "--json"],
        &["resume", "--yes", "--json", "--wait", "0"],
        &["export", stage.path("state/run.html").to_str().unwrap()],
        &["export", stage.path("state/run.json").to_str().unwrap()],
    ] {
        let ended = stage.command(arguments).output().unwrap();
        ends.push((arguments.join(" "), [ended.stdout, ended.stderr].concat()));
    }
    secrets_are_typed_everywhere(&stage);

    let master = stage.fleet.master_key().to_owned();
    let left = files(&stage.path("state"));
    assert!(left.iter().any(|path| path.ends_with("store.db")), "{left:?}");
    assert!(left.iter().any(|path| path.ends_with("all.log")), "{left:?}");
    let written = left
        .iter()
        .map(|path| (path.display().to_string(), std::fs::read(path).unwrap()));
    for (place, bytes) in written.chain(ends) {
        for secret in PASTED.into_iter().chain([&*master, SHOWN]) {
            assert!(!holds(&bytes, &secret[8..]), "{secret} is in {place}");
        }
    }
}

#[test]
fn no_core_is_dumped() {
    let stage = Stage::of(6);
    let key = stage.path("key.txt").display().to_string();
    let mut push = stage
        .command(&["push", "--yes", "--key-file", &key])
        .spawn()
        .unwrap();
    // By the time that a site has heard of it the program is well beyond its beginning.
    while stage.fleet.record().requests.is_empty() {
        assert!(push.try_wait().unwrap().is_none(), "it ended without a request");
        std::thread::yield_now();
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", push.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(
        core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(),
        ["0", "0"],
        "{core}"
    );
    push.kill().unwrap();
    push.wait().unwrap();
}
