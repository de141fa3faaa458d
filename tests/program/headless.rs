//! The real binary without a screen, on a real fleet: what it prints is compared with what the fleet saw.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use stage::Stage;
use stripe_propagate::config;
use stripe_propagate::demo::faults::Fault;
use stripe_propagate::engine::Clock;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::outcome::{Answer, LookVerdict};
use stripe_propagate::rules::state::SiteState;
use stripe_propagate::store::sqlite::SqliteStore;
use stripe_propagate::store::{Operator, Record, Recorded, Store};
use stripe_propagate::text::CleanText;

#[path = "../stage/mod.rs"]
mod stage;
#[path = "headless/keys.rs"]
mod keys;
#[path = "headless/list.rs"]
mod list;
#[path = "headless/thousand.rs"]
mod thousand;

/// What a command came to.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(stage::schema::line).collect()
    }

    fn events(&self, event: &str) -> Vec<Value> {
        let mut lines = self.json();
        lines.retain(|line| line["event"] == event);
        lines
    }
}

impl Stage {
    /// A command of its own home and environment, on the fleet's config.
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

    fn run(&self, arguments: &[&str], input: &str) -> Ended {
        let mut child = self.command(arguments).spawn().unwrap();
        // A program that refuses before it reads closes the pipe.
        let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A site with this fault, by its name.
    fn name(&self, fault: Fault) -> &str {
        let site = self.fleet.sites().iter().find(|site| site.fault == fault);
        &site.unwrap().name
    }

    fn index(&self, name: &str) -> usize {
        self.fleet
            .sites()
            .iter()
            .position(|site| site.name == name)
            .unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("state/stripe-propagate/stripe-propagate.log")).unwrap_or_default()
    }

    /// Neither the master key nor the secret that a site exposes is anywhere.
    fn keeps_secrets(&self, ended: &Ended) {
        for text in [&ended.out, &ended.err, &self.log()] {
            assert!(!text.contains(self.fleet.master_key()));
            assert!(!text.contains("sk_live_51Demo"));
        }
    }
}

#[test]
fn a_push_tells_what_the_fleet_saw() {
    let stage = Stage::of(24);
    let ended = stage.run(&["push", "--key-stdin", "--yes", "--json"], stage.key());
    assert_eq!(ended.code, Some(1), "some sites fail by design: {}", ended.err);
    stage.keeps_secrets(&ended);
    let record = stage.fleet.record();
    let attempts = ended.events("attempt");
    for result in ended.events("result") {
        let name = result["site"].as_str().unwrap();
        let index = stage.index(name);
        let told = |request: &str| {
            let of_site = |line: &&Value| line["site"] == name && line["request"] == request;
            attempts.iter().filter(of_site).count()
        };
        if stage.fleet.sites()[index].fault != Fault::Dead {
            assert_eq!(told("put"), record.puts(index).len(), "{name}");
            assert_eq!(told("get"), record.gets(index).len(), "{name}");
            assert!(
                record.auth_checks(index).is_empty(),
                "that is what a preflight does"
            );
        }
        assert_eq!(result["attempts"].as_u64().unwrap(), told("put") as u64, "{name}");
        if result["verify"] == "verified" {
            let serves = stage.fleet.serves_now(index);
            assert!(
                serves.iter().all(|served| served.as_deref() == Some(stage.key())),
                "{name}"
            );
        }
    }
    assert_eq!(ended.events("result").len(), 24);
    let summary = ended.events("summary").remove(0);
    assert_eq!(summary["verify"]["verified"], 16);
    assert_eq!(summary["exit"], 1);
    assert_eq!(summary["old_keys_may_expire"], false);
    assert!(stage.log().contains("attempt"), "each attempt is in the log");
}

#[test]
fn what_waits_or_is_over_holds_no_connection() {
    let stage = Stage::of(120);
    let config = std::fs::read_to_string(stage.path("config.toml")).unwrap();
    let narrow = config.replace("[push]", "[push]\nconcurrency = 4");
    std::fs::write(stage.path("config.toml"), narrow).unwrap();
    let ended = stage.run(&["push", "--key-stdin", "--yes", "--wait", "0"], stage.key());
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let record = stage.fleet.record();
    assert!(record.most_connections <= 4, "{}", record.most_connections);
}

#[test]
fn a_fleet_without_a_fault_ends_well() {
    let stage = Stage::of(24);
    stage.heal();
    let ended = stage.run(&["push", "--key-stdin", "--yes", "--json"], stage.key());
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert_eq!(ended.events("summary")[0]["old_keys_may_expire"], true);
    for index in 0..24 {
        let serves = stage.fleet.serves_now(index);
        assert!(
            serves.iter().all(|served| served.as_deref() == Some(stage.key())),
            "{}",
            stage.fleet.sites()[index].name
        );
    }
}

#[test]
fn a_healthy_site_is_verified_or_still_waits_for_its_proof() {
    let stage = Stage::of(6);
    let site = stage.name(Fault::Healthy).to_owned();
    let one = ["push", "--key-stdin", "--yes", "--site", &site];
    let waits = stage.run(&[&one[..], &["--wait", "0"]].concat(), stage.key());
    assert_eq!(waits.code, Some(3), "{}", waits.err);
    assert!(waits.out.contains("serving"), "{}", waits.out);
    let proven = stage.run(&one, stage.key());
    assert_eq!(proven.code, Some(0), "{}", proven.err);
    assert!(proven.out.contains("1 verified"), "{}", proven.out);
    let looked = stage.run(&["verify", "--key-stdin", "--site", &site], stage.key());
    assert_eq!(looked.code, Some(0), "{}", looked.out);
    let other = stage.run(
        &["verify", "--key-stdin", "--site", &site],
        "pk_test_51AnotherKeyThatNoSiteServesAtAll",
    );
    assert_eq!(other.code, Some(1), "{}", other.out);
    let seen = stage.run(&["verify", "--site", &site], "");
    assert_eq!(
        (seen.code, seen.out.contains("verified")),
        (Some(0), true),
        "{}",
        seen.out
    );
}

#[test]
fn what_must_not_be_pushed_is_refused_before_anything_is_sent() {
    let stage = Stage::of(3);
    let secret = "sk_live_51ThisMustNeverBeShownAnywhere";
    std::fs::write(stage.path("secret.txt"), secret).unwrap();
    let file = stage.path("secret.txt");
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str, &str); 7] = [
        (&["push", "--key-stdin", "--yes"], secret, "a SECRET key"),
        (&["push", "--key-file", file, "--yes"], "", "a SECRET key"),
        (&["push", "--yes", secret], "", "never given as an argument"),
        (
            &["push", "--yes", "--key=sk_live_51ThisMustNeverBeShownAnywhere"],
            "",
            "never given as an argument",
        ),
        (
            &["push", "--yes", "ThisMustNeverBeShownAnywhere"],
            "",
            "never given as an argument",
        ),
        (&["push", "--key-stdin"], stage.key(), "give --yes"),
        (&["push", "--yes"], "", "which key?"),
    ];
    for (arguments, input, why) in cases {
        let ended = stage.run(arguments, input);
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(ended.err.contains(why), "{arguments:?}: {}", ended.err);
        let said = ended.out + &ended.err + &stage.log();
        assert!(!said.contains("ThisMustNeverBeShownAnywhere"), "{said}");
    }
    let unknown = stage.run(
        &["push", "--key-stdin", "--yes", "--site", "nowhere"],
        stage.key(),
    );
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown.err.contains("no site is called nowhere"),
        "{}",
        unknown.err
    );
    assert!(stage.fleet.record().requests.is_empty());
}

#[test]
fn a_key_that_was_cut_is_not_sent_by_a_script_unless_it_says_so() {
    let stage = Stage::of(3);
    assert_eq!(stage.run(&["verify"], "").code, Some(0));
    let cut = &stage.key()[..60];
    let ended = stage.run(&["push", "--key-stdin", "--yes"], cut);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("the key has 60 characters"), "{}", ended.err);
    assert!(ended.err.contains("--allow-other-length"), "{}", ended.err);
    let record = stage.fleet.record();
    assert!((0..3).all(|site| record.puts(site).is_empty()));
    let healthy = stage.name(Fault::Healthy);
    let push = [
        "push",
        "--key-stdin",
        "--yes",
        "--wait",
        "0",
        "--allow-other-length",
        "--allow-unknown-key",
    ];
    let ended = stage.run(&[&push[..], &["--site", healthy]].concat(), cut);
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    assert_eq!(stage.fleet.stored(stage.index(healthy)).as_deref(), Some(cut));
}

#[test]
fn a_variable_that_is_no_text_is_refused_and_not_repeated() {
    use std::os::unix::ffi::OsStrExt;

    let stage = Stage::of(3);
    let output = stage
        .command(&["push", "--key-env", "KEY", "--yes"])
        .env("KEY", std::ffi::OsStr::from_bytes(b"sk_live_51NeverShown\xff"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("variable KEY") && !said.contains("NeverShown"),
        "{said}"
    );
    assert!(stage.fleet.record().requests.is_empty());
}

#[test]
fn a_master_key_that_cannot_be_read_sends_nothing() {
    let stage = Stage::of(3);
    std::fs::remove_file(stage.path("master.key")).unwrap();
    let ended = stage.run(&["push", "--key-stdin", "--yes"], stage.key());
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("master.key"), "{}", ended.err);
    assert!(stage.fleet.record().requests.is_empty());
}

#[test]
fn an_interrupted_push_cancels_the_rest_and_tells_so() {
    let stage = Stage::of(24);
    let mut child = stage
        .command(&["push", "--key-stdin", "--yes", "--json"])
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stage.key().as_bytes())
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    // From its first line on the run goes.
    out.read_line(&mut first).unwrap();
    assert!(first.contains("run_started"), "{first}");
    interrupt(&child);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let ended = Ended {
        code: Some(130),
        out: rest,
        err: String::new(),
    };
    let results = ended.events("result");
    assert_eq!(results.len(), 24);
    assert!(
        results
            .iter()
            .all(|result| !matches!(result["push"].as_str(), Some("queued" | "sending" | "retrying"))),
        "no request is left half counted"
    );
    for (index, site) in stage.fleet.sites().iter().enumerate() {
        let told = ended
            .events("attempt")
            .into_iter()
            .filter(|line| line["site"] == site.name.as_str() && line["request"] == "put");
        if site.fault != Fault::Dead {
            assert_eq!(
                told.count(),
                stage.fleet.record().puts(index).len(),
                "{}",
                site.name
            );
        }
    }
}

#[test]
fn an_interrupt_while_the_master_key_is_read_sends_nothing() {
    let stage = Stage::of(3);
    let began = stage.path("began");
    let command = format!(
        "command = ['sh', '-c', 'echo > {}; exec sleep 9']",
        began.display()
    );
    let config = std::fs::read_to_string(stage.path("config.toml")).unwrap();
    std::fs::write(
        stage.path("config.toml"),
        config.replace("file = \"master.key\"", &command),
    )
    .unwrap();
    let key = stage.path("key.txt").display().to_string();
    let mut child = stage
        .command(&["push", "--yes", "--key-file", &key])
        .spawn()
        .unwrap();
    while !began.exists() {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(stage.fleet.record().requests.is_empty());
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[test]
fn without_a_terminal_the_screen_names_the_commands() {
    let stage = Stage::of(3);
    let ended = stage.run(&[], "");
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("stripe-propagate push"), "{}", ended.err);
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_run() {
    let stage = Stage::of(6);
    let mut child = stage
        .command(&[
            "push",
            "--key-stdin",
            "--yes",
            "--json",
            "--site",
            stage.name(Fault::Healthy),
        ])
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stage.key().as_bytes())
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let index = stage.index(stage.name(Fault::Healthy));
    assert_eq!(stage.fleet.stored(index).as_deref(), Some(stage.key()));
}

impl Stage {
    /// Has another `[rollout]`.
    fn rolls_out(&self, rollout: &str) {
        let path = self.path("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, after) = ("canary = 0\nstop_after = \"never\"", rollout);
        assert!(text.contains(before));
        std::fs::write(&path, text.replace(before, after)).unwrap();
    }

    /// The sites that saw a PUT of a key.
    fn sites_with_a_put(&self) -> Vec<usize> {
        let record = self.fleet.record();
        let saw = |index: &usize| !record.puts(*index).is_empty();
        (0..self.fleet.sites().len()).filter(saw).collect()
    }
}

#[test]
fn a_canary_that_fails_stops_all_else_until_somebody_goes_on() {
    let stage = Stage::of(24);
    let canary = stage.name(Fault::SaysNotStored).to_owned();
    stage.rolls_out(&format!("canary = [\"{canary}\"]\nstop_after = \"never\""));
    let ended = stage.run(&["push", "--key-stdin", "--yes", "--json"], stage.key());
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert_eq!(
        stage.sites_with_a_put(),
        [stage.index(&canary)],
        "the fleet saw no other PUT"
    );
    let halted = ended.events("halted");
    assert_eq!((halted.len(), &halted[0]["why"]), (1, &Value::from("canary")));
    let results = ended.events("result");
    let not_started = results
        .iter()
        .filter(|line| line["push"] == "not_started")
        .count();
    assert_eq!((results.len(), not_started), (24, 23));
    assert_eq!(ended.events("summary")[0]["exit"], 4);
    // What was not sent is left over.
    let ended = stage.run(&["resume", "--yes", "--json", "--wait", "0"], "");
    assert_eq!(ended.code, Some(1), "some fail by design: {}", ended.err);
    assert!(stage.sites_with_a_put().len() > 15);
}

impl Stage {
    /// The site showed so long ago what it serves, and that is on record.
    fn was_seen(&self, index: usize, ago: Duration) {
        let served = self.fleet.serves_now(index)[0].clone().unwrap();
        self.showed(index, ago, &served);
    }

    /// The site showed this key so long ago, and that is on record.
    fn showed(&self, index: usize, ago: Duration, served: &str) {
        let config = config::load(&self.path("config.toml")).unwrap();
        let at = Clock::start().now() - ago;
        let answer = Answer {
            verdict: LookVerdict::Serves(PublishableKey::parse(served).unwrap()),
            http: Some(200),
            took: Duration::from_millis(20),
            retry_after: None,
            detail: CleanText::default(),
            alarm: None,
        };
        let mut state = SiteState::default();
        state.order_look(None, 1, at);
        state.looked(&answer, &config.policy(), at, 0.0);
        let record = Record {
            site: config.sites[index].url.clone(),
            at,
            outcome: None,
            state,
            note: CleanText::default(),
        };
        let folder = self.path("state/stripe-propagate");
        std::fs::create_dir_all(&folder).unwrap();
        let store = SqliteStore::open(&folder.join("store.db"), Operator::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let recorded = runtime.block_on(store.record(record)).unwrap();
        assert_eq!(recorded, Recorded::Known);
    }
}

#[test]
fn a_look_of_yesterday_tells_which_site_goes_first() {
    let stage = Stage::of(3);
    stage.rolls_out("canary = 1\nstop_after = \"never\"");
    let seen = 2;
    stage.was_seen(seen, Duration::from_hours(26));
    let ended = stage.run(
        &["push", "--key-stdin", "--yes", "--json", "--wait", "0"],
        stage.key(),
    );
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    let mut puts = ended.events("attempt").into_iter();
    let first = puts.find(|line| line["request"] == "put").unwrap();
    assert_eq!(first["site"], stage.fleet.sites()[seen].name.as_str());
}

#[test]
fn a_run_halts_where_too_many_sites_fail() {
    let stage = Stage::of(60);
    stage.rolls_out("canary = 0\nstop_after = 2");
    let path = stage.path("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("[push]\n", "[push]\nconcurrency = 4\n")).unwrap();
    let ended = stage.run(&["push", "--key-stdin", "--yes", "--json"], stage.key());
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert_eq!(ended.events("halted")[0]["why"], "threshold");
    let failed = |line: &Value| line["push"] == "failed";
    let bad = ended.events("result").into_iter().filter(failed).count();
    assert!(bad < 2 + 4, "{bad} failed: more than were out");
}

#[test]
fn a_push_that_halts_tells_of_no_wait_that_is_none() {
    let stage = Stage::of(60);
    stage.rolls_out("canary = 0\nstop_after = 2");
    let ended = stage.run(&["push", "--key-stdin", "--yes"], stage.key());
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    let told = format!("{}{}", ended.out, ended.err);
    assert!(told.contains("`stripe-propagate resume` goes on"), "{told}");
    assert!(!told.contains("waits for proofs"), "{told}");
}

/// Two that refuse it, and one more for each that takes longer than the patience for it, on a busy machine; and those
/// that answer 500 or 429 before they look at the key, which tell nothing of it.
#[test]
fn a_wrong_master_key_is_found_on_a_few_of_a_hundred_sites() {
    let stage = Stage::of(100);
    stage.heal();
    std::fs::write(stage.path("master.key"), "a-master-key-of-another-fleet").unwrap();
    let ended = stage.run(&["push", "--key-stdin", "--yes", "--json"], stage.key());
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    let asked = stage.sites_with_a_put();
    assert!((2..10).contains(&asked.len()), "{asked:?}");
    let says_so = |site: &&usize| {
        stage
            .fleet
            .record()
            .puts(**site)
            .iter()
            .any(|put| put.status == 403)
    };
    let refused = asked.iter().filter(says_so).count();
    assert_eq!(ended.events("halted")[0]["why"], "refused_key");
    let results = ended.events("result");
    let told = |push: &str| {
        let has = |line: &&Value| line["push"] == push && line["cause"] == "refused_key";
        results.iter().filter(has).count()
    };
    assert_eq!((told("failed"), told("not_started")), (refused, 100 - refused));
}
