//! Stripe is asked whether it knows a key: over real TLS, on the demo fleet, which plays Stripe; in virtual time where
//! time matters.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pty::{Pty, Run};
use serde_json::Value;
use stage::Stage;

#[path = "stripe/late.rs"]
mod late;
#[path = "../pty/mod.rs"]
mod pty;
#[path = "stripe/slow.rs"]
mod slow;
#[path = "../stage/mod.rs"]
mod stage;

/// What a command came to.
struct Ended {
    code: Option<i32>,
    out: Vec<Value>,
    err: String,
}

impl Ended {
    /// What VERIFY is of each site, in the order of the list.
    fn verify(&self) -> Vec<(&str, &str)> {
        let results = self.out.iter().filter(|line| line["event"] == "result");
        results
            .map(|line| (line["site"].as_str().unwrap(), line["verify"].as_str().unwrap()))
            .collect()
    }

    /// The sites that are called dead.
    fn dead(&self) -> Vec<&str> {
        let dead = self
            .verify()
            .into_iter()
            .filter(|(_, verify)| *verify == "dead_key");
        dead.map(|(site, _)| site).collect()
    }
}

/// As long as Stripe's own.
fn key_with(word: &str) -> String {
    format!("{:A<107}", format!("pk_test_51Demo{word}"))
}

impl Stage {
    /// With this in the place of that in its config.
    fn configured(self, changes: &[(&str, &str)]) -> Self {
        let path = self.path("config.toml");
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        std::fs::write(path, text).unwrap();
        self
    }

    fn run(&self, arguments: &[&str], key: Option<&str>) -> Ended {
        let path = self.path("pushed.txt");
        let mut command = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"));
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .arg("--config")
            .arg(self.path("config.toml"))
            .args(arguments)
            .arg("--json")
            .stdin(Stdio::null());
        if let Some(key) = key {
            std::fs::write(&path, key).unwrap();
            command.arg("--key-file").arg(&path);
        }
        let output = command.output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        Ended {
            code: output.status.code(),
            out: out.lines().map(stage::schema::line).collect(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn puts(&self) -> usize {
        let requests = self.fleet.record().requests;
        requests.iter().filter(|request| request.method == "PUT").count()
    }

    /// The keys that Stripe was asked of, in order; nothing else was sent there.
    fn questions(&self) -> Vec<String> {
        let asked = self.fleet.record().asked_stripe;
        assert!(
            asked
                .iter()
                .all(|asked| asked.is_question && !asked.had_master_key)
        );
        asked.into_iter().map(|asked| asked.key).collect()
    }

    /// The different publishable keys that the sites serve.
    fn served(&self) -> BTreeSet<String> {
        let sites = 0..self.fleet.sites().len();
        let served = sites.flat_map(|site| self.fleet.serves_now(site)).flatten();
        served.filter(|key| key.starts_with("pk_")).collect()
    }

    fn screen(&self, size: (u16, u16)) -> Pty {
        Run::of(env!("CARGO_BIN_EXE_stripe-propagate"))
            .size(size.0, size.1)
            .arg("--config")
            .arg(self.path("config.toml"))
            .start()
    }
}

/// A match is proof at once.
const AT_ONCE: (&str, &str) = ("settle = \"8s\"", "settle = \"0s\"");

#[test]
fn a_key_that_stripe_does_not_know_or_has_expired_reaches_no_site() {
    let stage = Stage::of(2).configured(&[AT_ONCE]);
    for (word, says) in [("Unknown", "is not known to Stripe"), ("Expired", "has expired")] {
        let key = key_with(word);
        let before = stage.questions().len();
        let ended = stage.run(&["push", "--yes"], Some(&key));
        assert_eq!((ended.code, ended.out.len()), (Some(2), 0), "{}", ended.err);
        assert!(ended.err.contains(says), "{}", ended.err);
        assert!(ended.err.contains("--allow-unknown-key"), "{}", ended.err);
        assert!(!ended.err.contains(&key), "{}", ended.err);
        assert_eq!(stage.questions()[before..], [key]);
        assert_eq!(stage.fleet.record().requests, [], "no site was asked anything");
    }
    // The operator's word goes before. It was asked within the hour.
    let key = key_with("Unknown");
    let ended = stage.run(&["push", "--yes", "--allow-unknown-key"], Some(&key));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert_eq!(ended.dead().len(), 2, "{:?}", ended.out);
    assert!(stage.puts() >= 2);
    let again = stage
        .questions()
        .into_iter()
        .filter(|asked| *asked == key)
        .count();
    assert_eq!(again, 1);
}

#[test]
fn stripe_out_of_reach_stops_no_push() {
    let stage = Stage::of(1);
    let real = stage.fleet.stripe_url().to_owned();
    let stage = stage.configured(&[AT_ONCE, (&real, "http://127.0.0.1:1")]);
    let refused = stage.run(&["push", "--yes"], Some(stage.key()));
    assert_eq!(refused.code, Some(0), "{}", refused.err);
    let warnings = |ended: &Ended| ended.err.matches("warning: Stripe could not be asked: ").count();
    assert_eq!(warnings(&refused), 1, "{}", refused.err);
    assert_eq!(stage.puts(), 1);
}

#[test]
fn a_stripe_that_says_nothing_holds_a_push_up_for_seconds_only() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", silent.local_addr().unwrap());
    let stage = Stage::of(1);
    let real = stage.fleet.stripe_url().to_owned();
    let stage = stage.configured(&[AT_ONCE, (&real, &address)]);
    let begin = Instant::now();
    let ended = stage.run(&["push", "--yes"], Some(stage.key()));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(begin.elapsed() >= Duration::from_secs(3), "it was waited for");
    assert!(
        ended.err.contains("warning: Stripe could not be asked: "),
        "{}",
        ended.err
    );
    assert_eq!((stage.puts(), stage.questions().len()), (1, 0));
}

#[test]
fn where_stripe_is_not_to_be_asked_nothing_is_asked() {
    let stage = Stage::of(1).configured(&[AT_ONCE, ("[stripe]", "[stripe]\ncheck = false")]);
    let ended = stage.run(&["push", "--yes"], Some(&key_with("Unknown")));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.verify()[0].1, "verified");
    assert_eq!((stage.puts(), stage.questions().len()), (1, 0));
}

#[test]
fn sites_with_an_expired_key_are_named_after_one_question_for_each_key() {
    let stage = Stage::of(24);
    let expired = stage
        .fleet
        .sites()
        .iter()
        .find(|site| site.has_expired_key)
        .unwrap();
    let served = stage.served();
    let first = stage.run(&["verify"], None);
    assert_eq!((first.code, first.dead()), (Some(1), vec![expired.name.as_str()]));
    let questions = stage.questions();
    assert_eq!(questions.len(), served.len());
    assert_eq!(questions.iter().cloned().collect::<BTreeSet<_>>(), served);
    let of_site = first
        .out
        .iter()
        .find(|line| line["site"] == expired.name && line["event"] == "result");
    let note = of_site.unwrap()["note"].as_str().unwrap().to_owned();
    assert!(note.contains("an expired key"), "{note}");
    // It is remembered for a day, by the next process too.
    let healthy = stage
        .fleet
        .sites()
        .iter()
        .position(|site| site.name == "quai-neuf")
        .unwrap();
    let rolled = stage.fleet.serves_now(healthy)[0].clone().unwrap();
    stage.fleet.roll(&rolled);
    let second = stage.run(&["verify"], None);
    assert_eq!(
        (second.dead(), stage.questions().len()),
        (first.dead(), served.len())
    );
    // Unless it is to be asked anew.
    let third = stage.run(&["verify", "--ask-stripe-again"], None);
    assert_eq!(stage.questions().len(), 2 * served.len());
    let has_rolled = |index: &usize| stage.fleet.serves_now(*index).contains(&Some(rolled.clone()));
    let of_rolled = (0..24).filter(has_rolled).count();
    assert!(third.dead().contains(&"quai-neuf"));
    assert_eq!(third.dead().len(), of_rolled + 1, "{:?}", third.verify());
}

#[test]
fn a_dead_key_on_the_screen_takes_a_word_of_its_own() {
    let stage = Stage::of(6);
    let mut pty = stage.screen((120, 40));
    let key = key_with("Unknown");
    pty.sees("6 sites").key("e").sees("paste or type").paste(&key);
    pty.sees("✗ Stripe does not know it: mistyped, cut off?")
        .key("Enter");
    pty.sees("P reviews and pushes 6").key("P");
    pty.sees("Stripe does not know the key")
        .sees("type 6 dead to push");
    pty.type_("6").key("Enter").sees("these are not the words above");
    assert_eq!(stage.puts(), 0);
    pty.key("Esc").sees_no("type 6 dead");
    // Another key has its own verdict.
    pty.key("e")
        .paste(stage.key())
        .sees("✓ Stripe knows it")
        .key("Enter");
    pty.sees("P push 6")
        .sees_no("✗ Stripe")
        .key("P")
        .sees("type 6 to push")
        .key("Esc");
    let asked: Vec<String> = stage.questions();
    for key in [&key, stage.key()] {
        assert_eq!(asked.iter().filter(|asked| *asked == key).count(), 1);
    }
    pty.sees_no("type 6 to push");
    pty.key("q");
    assert_eq!(pty.wait_exit(), 0);
}
