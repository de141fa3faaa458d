//! Sites that are known to be bad, in the real binary on a real fleet.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use stage::Stage;
use stripe_propagate::demo::faults::Fault;

#[path = "../stage/mod.rs"]
mod stage;

impl Stage {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"));
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .arg("--config")
            .arg(self.path("config.toml"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(arguments).spawn().unwrap();
        // A program that refuses before it reads closes the pipe.
        let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn named(&self, fault: Fault) -> &str {
        let site = self.fleet.sites().iter().find(|site| site.fault == fault);
        &site.unwrap().name
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn events(output: &Output, event: &str) -> Vec<Value> {
    let lines = out(output);
    let lines = lines.lines().map(stage::schema::line);
    lines.filter(|line| line["event"] == event).collect()
}

#[test]
fn what_is_acknowledged_is_tried_and_shown_and_does_not_count() {
    let stage = Stage::of(24);
    let bad: Vec<&str> = [Fault::OtherMasterKey, Fault::Dead]
        .map(|fault| stage.named(fault))
        .into();
    let all = ["--site", bad[0], "--site", bad[1]];
    let push = ["push", "--key-stdin", "--yes", "--wait", "0", "--json"];
    let pushed = |extra: &[&str]| stage.run(&[&push[..], extra].concat(), stage.key());
    assert_eq!(pushed(&all).status.code(), Some(1), "both fail");
    let reason = ["--reason", "the domain moves", "--until", "2 days"];
    let said = stage.run(&[&["acknowledge"], &all[..], &reason].concat(), "");
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    assert!(
        out(&said).starts_with("2 sites acknowledged until "),
        "{}",
        out(&said)
    );
    let again = pushed(&all);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert_eq!(events(&again, "summary")[0]["acknowledged"], 2);
    for result in events(&again, "result") {
        assert_eq!(
            (&result["acknowledged"], &result["push"]),
            (&true.into(), &"failed".into())
        );
        let note = result["note"].as_str().unwrap();
        assert!(note.starts_with("acknowledged until "), "{note}");
    }
    let refuses = stage
        .fleet
        .sites()
        .iter()
        .position(|site| site.name == bad[0])
        .unwrap();
    assert_eq!(
        stage.fleet.record().puts(refuses).len(),
        2,
        "it is tried all the same"
    );
    let plain = stage.run(
        &[&["push", "--key-stdin", "--yes", "--wait", "0"], &all[..]].concat(),
        stage.key(),
    );
    assert!(
        out(&plain).contains("2 sites are bad and acknowledged: "),
        "{}",
        out(&plain)
    );
}

#[test]
fn what_is_acknowledged_is_listed_until_it_is_taken_back() {
    let stage = Stage::of(24);
    let bad: Vec<&str> = [Fault::OtherMasterKey, Fault::Dead]
        .map(|fault| stage.named(fault))
        .into();
    let all = ["--site", bad[0], "--site", bad[1]];
    let reason = ["--reason", "the domain moves", "--until", "taken back"];
    let said = stage.run(&[&["acknowledge"], &all[..], &reason].concat(), "");
    assert!(
        out(&said).starts_with("2 sites acknowledged until taken back: "),
        "{}",
        out(&said)
    );
    let listed = stage.run(&["acknowledge", "--list", "--json"], "");
    let listed: Value = serde_json::from_str(&out(&listed)).unwrap();
    let rows = listed["acknowledged"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["reason"] == "the domain moves"));
    let back = stage.run(&["acknowledge", "--site", bad[1], "--take-back"], "");
    assert_eq!(back.status.code(), Some(0));
    let push = ["push", "--key-stdin", "--yes", "--wait", "0"];
    let pushed = stage.run(&[&push[..], &all].concat(), stage.key());
    assert_eq!(pushed.status.code(), Some(1), "one is not acknowledged any more");
    let listed = out(&stage.run(&["acknowledge", "--list"], ""));
    assert!(listed.contains(bad[0]) && !listed.contains(bad[1]), "{listed}");
}

#[test]
fn a_secret_that_a_site_shows_is_never_acknowledged_away() {
    let stage = Stage::of(24);
    let shows = stage.named(Fault::ExposesSecret);
    let known = ["acknowledge", "--site", shows, "--reason", "known"];
    assert_eq!(stage.run(&known, "").status.code(), Some(0));
    let looked = stage.run(&["verify", "--site", shows, "--json"], "");
    assert_eq!(looked.status.code(), Some(1), "{looked:?}");
    assert_eq!(events(&looked, "result")[0]["verify"], "exposed_secret");
}

#[test]
fn what_says_no_reason_or_no_end_acknowledges_nothing() {
    let stage = Stage::of(24);
    let site = stage.named(Fault::Healthy);
    let secret = format!("as told in sk_live_{}", "x".repeat(30));
    for wrong in [
        &["--site", site][..],
        &["--site", site, "--reason", " "],
        &["--site", site, "--reason", "r", "--until", "soon"],
        &["--site", site, "--reason", "r", "--until", "2001-01-01"],
        &["--site", "nobody", "--reason", "r"],
        &["--site", site, "--reason", &secret],
        &["--reason", "r"],
    ] {
        let ended = stage.run(&[&["acknowledge"], wrong].concat(), "");
        assert_eq!(ended.status.code(), Some(2), "{wrong:?}");
        assert!(!String::from_utf8(ended.stderr).unwrap().contains("xxxx"));
    }
    assert_eq!(
        out(&stage.run(&["acknowledge", "--list"], "")),
        "no site is acknowledged\n"
    );
}
