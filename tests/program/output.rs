//! The commands that send, in the real binary on a real fleet: who they are for, what they would do, and what becomes
//! of them when nobody reads what they print, or no disk takes it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stage::Stage;
use stripe_propagate::demo::faults::Fault;

#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;

#[path = "output/again.rs"]
mod again;
#[path = "output/flags.rs"]
mod flags;
#[path = "output/full.rs"]
mod full;
#[path = "output/progress.rs"]
mod progress;
#[path = "output/selection.rs"]
mod selection;

/// What a command came to.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn events(&self, event: &str) -> Vec<Value> {
        let lines = self.out.lines();
        let mut lines: Vec<Value> = lines.map(stage::schema::line).collect();
        lines.retain(|line| line["event"] == event);
        lines
    }

    /// The sites of these lines, in the order of the list.
    fn sites(&self, event: &str, is_it: impl Fn(&Value) -> bool) -> Vec<String> {
        let lines = self.events(event).into_iter().filter(|line| is_it(line));
        lines
            .map(|line| line["site"].as_str().unwrap().to_owned())
            .collect()
    }

    fn says(&self, words: &str) -> &Self {
        assert!(self.err.contains(words), "{words}: {}", self.err);
        self
    }

    fn ends(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

impl Stage {
    /// The program with a home of its own; `before` stands before it.
    fn program(&self, before: &[&str], arguments: &[&str]) -> Command {
        let mut line = before.to_vec();
        line.push(env!("CARGO_BIN_EXE_stripe-propagate"));
        let config = self.path("config.toml");
        line.extend(["--config", config.to_str().unwrap()]);
        line.extend(arguments);
        let mut command = Command::new(line[0]);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.program(&[], arguments).spawn().unwrap())
    }

    /// `push` with the fleet's key, and these flags.
    fn push(&self, flags: &[&str]) -> Ended {
        self.run(&self.pushes(flags).iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn pushes(&self, flags: &[&str]) -> Vec<String> {
        let key = self.path("key.txt").display().to_string();
        let push = ["push", "--key-file", &key].map(str::to_owned);
        push.into_iter()
            .chain(flags.iter().map(ToString::to_string))
            .collect()
    }

    fn program_pushes(&self, before: &[&str], flags: &[&str]) -> Command {
        let push = self.pushes(flags);
        self.program(before, &push.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn name(&self, fault: Fault) -> &str {
        let site = self.fleet.sites().iter().find(|site| site.fault == fault);
        &site.unwrap().name
    }

    fn index(&self, name: &str) -> usize {
        let mut sites = self.fleet.sites().iter();
        sites.position(|site| site.name == name).unwrap()
    }

    fn requests(&self) -> usize {
        self.fleet.record().requests.len()
    }

    /// The sites with a PUT, in the order of the list.
    fn put_to(&self) -> Vec<String> {
        let record = self.fleet.record();
        let sites = self.fleet.sites().iter().enumerate();
        let put = sites.filter(|(index, _)| !record.puts(*index).is_empty());
        put.map(|(_, site)| site.name.clone()).collect()
    }

    /// Another text in the config.
    fn configures(&self, before: &str, after: &str) {
        let path = self.path("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(before));
        std::fs::write(&path, text.replace(before, after)).unwrap();
    }

    /// Healthy sites have no caches: what they answer after a second is proof enough.
    fn settles_soon(&self) {
        self.configures("settle = \"8s\"", "settle = \"1s\"");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("state/stripe-propagate/stripe-propagate.log")).unwrap_or_default()
    }
}

fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

const JSON: [&str; 4] = ["--yes", "--json", "--wait", "0"];

#[test]
fn a_reader_that_has_seen_enough_holds_up_no_run_and_changes_no_end() {
    let stage = Stage::of(3);
    let site = stage.name(Fault::Healthy);
    let one = [&JSON[..], &["--site", site]].concat();
    let mut child = stage.program_pushes(&[], &one).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    assert!(first.contains("run_started"), "{first}");
    drop(out);
    ended(child).ends(3);
    assert_eq!(stage.put_to(), [site]);
    // Who reads what is on record may leave, too.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    ended(stage.program(&[], &["status"]).stdout(writer).spawn().unwrap()).ends(0);
}

#[test]
fn a_run_goes_on_without_standard_output_and_error() {
    let stage = Stage::of(3);
    stage.settles_soon();
    let site = stage.name(Fault::Healthy);
    let closed = ["sh", "-c", "exec \"$@\" >&- 2>&-", "sh"];
    for json in [&["--json"][..], &[]] {
        let flags = [&["--yes", "--site", site], json].concat();
        ended(stage.program_pushes(&closed, &flags).spawn().unwrap()).ends(0);
    }
    assert_eq!(stage.put_to(), [site]);
}

#[test]
fn a_second_interrupt_ends_at_once_and_what_is_out_is_on_record() {
    let stage = Stage::of(3);
    stage.heal();
    stage.configures("timeout = \"3s\"", "timeout = \"60s\"");
    let site = stage.name(Fault::Healthy).to_owned();
    let index = stage.index(&site);
    stage.fleet.hold_next_put(index);
    let mut child = stage
        .program_pushes(&[], &["--yes", "--site", &site])
        .spawn()
        .unwrap();
    assert!(
        stage
            .fleet
            .wait_until(Duration::from_secs(30), |record| record.held == [index])
    );
    // A run of another process is no reason not to tell what a push would do.
    stage.push(&["--dry-run"]).ends(0);
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let interrupt = || kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    interrupt();
    let mut line = String::new();
    while !line.contains("once more stops at once") {
        line.clear();
        assert!(
            told.read_line(&mut line).unwrap() > 0,
            "the run ended at the first"
        );
    }
    // Two signals within 300 ms are one: this is no wait for something to happen.
    std::thread::sleep(Duration::from_millis(350));
    interrupt();
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("panicked"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(stage.fleet.record().held, [index], "its PUT is on its way still");
    let status = stage.run(&["status", "--json", "--site", &site]);
    let known: Value = serde_json::from_str(&status.ends(0).out).unwrap();
    assert_eq!(known["sites"][0]["push"], "unknown", "{known}");
    stage.fleet.let_go(index);
    let arrived = |record: &stripe_propagate::demo::record::Record| record.held.is_empty();
    assert!(stage.fleet.wait_until(Duration::from_secs(30), arrived));
    // A look decides: it is not sent again.
    let resumed = stage.run(&["resume", "--yes", "--json", "--wait", "0"]);
    let results = resumed.events("result");
    assert_eq!(results[0]["push"], "stored", "{}{}", resumed.out, resumed.err);
    assert_eq!(stage.fleet.record().puts(index).len(), 1);
}
