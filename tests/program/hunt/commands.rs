//! Each command with each way of telling.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::echo::ECHOES;
use super::ground::Ground;

/// What answers each question that a push may have.
const ALLOWS: &[&str] = &[
    "--allow-unrecognised",
    "--allow-changed",
    "--allow-mode-change",
    "--allow-unknown-key",
];

/// Each command, in an order in which there is something to tell. `KEY` is the file with the key to push, `OUT.` a file
/// that is to be written; behind `push`, `retry` and `rollback` comes [`ALLOWS`]. The demo has a run of its own; so have workers,
/// in a build of their own (`tests/cluster`).
const RUNS: &[&str] = &[
    "push --json --yes --key-file KEY --wait 0 --allow-list-change",
    "push --dry-run --key-file KEY",
    "resume --yes",
    "resume --yes --json",
    "history",
    "history --format json",
    "history --run 1 --attempts --format csv",
    "history --run 1 --attempts --format markdown",
    "history --run 1 --attempts --format table",
    "history --run 1 --format json --output OUT.json",
    "status",
    "status --json",
    "status --old-key --format table",
    "status --format json",
    "status --format csv",
    "status --format markdown --output OUT.md",
    "status --format openmetrics",
    "export OUT.html",
    "export OUT.csv",
    "export OUT.json",
    "export OUT.md",
    "sites --format table",
    "sites --format json --output OUT.json",
    "sites --format csv",
    "sites --format markdown",
    // It needs a database: `program/pg_store/copy.rs` hunts for that one's password.
    "store copy --help",
    "info --format table",
    "info --format json",
    "acknowledge --site plain --reason moves",
    "acknowledge --list",
    "acknowledge --list --json",
    "retry --yes --json --site plain --site page --site hex --site base64",
    "retry --yes --dry-run",
    "rollback --yes --site header --site drifts",
    "rollback --json --dry-run",
    "check --auth",
    "check --auth --json",
    "init OUT.toml",
    "completions bash",
    "man",
    "man --output OUT.man",
    "demo --sites 1 --serve OUT.demo",
    "worker",
];

/// Runs that read no master key, and keep no words of a site: who knows no key can clear none from them.
const LOOKS: &[&str] = &["verify", "verify --json --key-file KEY"];

impl Ground {
    #[track_caller]
    fn runs(&self, number: usize, line: &str) -> Output {
        let key = self.path("key.txt");
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for word in &mut words {
            if word == "KEY" {
                word.clone_from(&key);
            } else if let Some(ending) = word.strip_prefix("OUT") {
                *word = self.path(&format!("work/{number}{ending}"));
            }
        }
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        if ["push", "retry", "rollback"].contains(&arguments[0]) {
            arguments.extend(ALLOWS);
        }
        let output = self.run("config.toml", &arguments, "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(2), "{line}: {said}");
        output
    }
}

/// That each echo has come, was seen, and was masked.
fn each_echo_is_told_of(pushed: &Output) {
    let lines = String::from_utf8(pushed.stdout.clone()).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (name, _) in ECHOES {
        let mut results = lines.iter().filter(|line| line["event"] == "result");
        let result = results
            .find(|line| line["site"] == *name)
            .unwrap_or_else(|| panic!("{name} has no result"));
        let is_clean = *name == "drifts";
        let note = result["note"].as_str().unwrap_or_default();
        let is_told = result["verify"] == "exposed_secret" || note.contains("stood in its answer (not kept)");
        assert_eq!(is_told, !is_clean, "{name}: {result}");
    }
}

#[test]
fn no_command_tells_a_secret_or_leaves_one_behind() {
    let ground = Ground::new();
    for (number, line) in RUNS
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.starts_with("demo") && **line != "worker")
    {
        let output = ground.runs(number, line);
        if number == 0 {
            each_echo_is_told_of(&output);
            assert!(ECHOES.iter().all(|(name, _)| ground.echo.has_master_key(name)));
        }
        ground.files_hold_nothing();
    }
    ground.echo.serves_clean_keys();
    for (number, line) in LOOKS.iter().enumerate() {
        ground.runs(1000 + number, line);
    }
    watches(&ground);
    serves_a_demo(&ground);
    ground.files_hold_nothing();
    ground.children_saw_nothing(&["secret", "listing", "notice"]);
    assert_eq!(ground.echo.bare(), Vec::<String>::new());
}

/// A watch that has something to tell to a command and a webhook.
fn watches(ground: &Ground) {
    ground.echo.drift();
    let child = ground
        .command(
            "config.toml",
            &["verify", "--watch", "--json", "--site", "drifts"],
        )
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_mins(1);
    while ground.echo.posted().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    ground.process_shows_nothing(child.id().try_into().unwrap());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    ground.says_nothing("verify --watch", &[output.stdout, output.stderr].concat());
    assert!(!ground.echo.posted().is_empty(), "nothing was posted");
    ground.says_nothing("what is posted", ground.echo.posted().concat().as_bytes());
}

/// It serves until it is stopped.
fn serves_a_demo(ground: &Ground) {
    let folder = ground.path("demo");
    let mut child = ground
        .command("config.toml", &["demo", "--sites", "1", "--serve", &folder])
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    ground.process_shows_nothing(child.id().try_into().unwrap());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    ground.says_nothing("demo --serve", &[said.into_bytes(), output.stderr].concat());
    // They are there to be used, and of no worth.
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn each_command_is_hunted_in_each_way_of_telling() {
    let all = stripe_propagate::cli::command();
    let has = |command: &str, words: &[&str]| {
        let mut runs = RUNS
            .iter()
            .chain(LOOKS)
            .map(|line| line.split(' ').collect::<Vec<_>>());
        runs.any(|run| run[0] == command && words.iter().all(|word| run.contains(word)))
    };
    let mut missing = BTreeSet::new();
    for command in all.get_subcommands() {
        let name = command.get_name();
        if !has(name, &[]) {
            missing.insert(name.to_owned());
        }
        for flag in ["json", "output"] {
            let takes = command
                .get_arguments()
                .any(|known| known.get_long() == Some(flag));
            let flag = format!("--{flag}");
            if takes && !has(name, &[&flag]) {
                missing.insert(format!("{name} {flag}"));
            }
        }
        let format = command
            .get_arguments()
            .find(|known| known.get_long() == Some("format"));
        for value in format.into_iter().flat_map(clap::Arg::get_possible_values) {
            if !has(name, &["--format", value.get_name()]) {
                missing.insert(format!("{name} --format {}", value.get_name()));
            }
        }
    }
    assert!(missing.is_empty(), "without a row in RUNS: {missing:?}");
}
